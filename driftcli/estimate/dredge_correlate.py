"""Where temporal bins match best: weighted, normalized cross-correlation along depth of pairs of them.

The depth is cut into short segments whose spectra are multiplied and summed before one short inverse transform a
pair: the cost hardly grows with the number of lags, and only the wanted lags are made.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft
from scipy.ndimage import maximum_filter1d

from driftcli.vectors import fma, load, store  # digest fd8ed755d3e7

# Templates and inputs that are correlated at once: their spectra and products should fit a core's cache.
_TEMPLATES, _INPUTS = 32, 16
# Rows whose float64 spectra are held at once while their means and variances are taken.
_ROWS = 32
# A variance is what rounding leaves of an even patch if it is below this share of the patch's largest second moment
# at any lag (single precision), or below this share of the row's largest square (double precision).
_ROUNDING_OF_PATCH, _ROUNDING_OF_ROW = 1e-6, 1e-13
# Lags at which the weights overlap by less than this share of their largest overlap say nothing.
_LEAST_OVERLAP = 1e-6
# Lags that are searched together for the largest correlation.
_GROUP = 16
_LANES = 16  # frequencies that are multiplied together

Span = tuple[int, int]
Weights = tuple[NDArray[np.float64], NDArray[np.float64]]


def sides_of(window: NDArray[np.float64], gaussian: bool, max_lag: int) -> list[Weights]:
    """Weights along depth of the earlier and the later bin of a pair, for each side from which pairs are seen.

    window: (D,), a Gaussian or another shape.
    """
    if gaussian or np.ptp(window) == 0:
        # The window's root on both: the same from either side.
        return [(np.sqrt(window), np.sqrt(window))]
    # A window with an end would lose what is shifted across it.
    near = maximum_filter1d((window > 0).astype(np.float64), 2 * max_lag + 1, mode="constant")
    return [(window, near), (near, window)]


def correlator_bytes(n_rows: int, n_bins: int, max_lag: int) -> int:
    """What a `Correlator` of so many rows and depth bins holds, the raster aside."""
    segments = _Segments.best(n_bins, max_lag)
    spectrum = segments.count * _lanes(segments.n_fft)
    in_double = 16 * spectrum + 8 * (n_bins + segments.count * segments.n_fft)
    return 8 * n_rows * (spectrum + segments.n_lags) + 4 * max(_ROWS, _TEMPLATES) * in_double


@dataclass(frozen=True)
class Block:
    """The best match of a few rows, the templates, with a few others, the inputs.

    lag: (I, J) int32, depth bins by which row `first_template + i` is found deeper in row `first_input + j`.
    correlation: (I, J) float32 at that lag.
    """

    first_template: int
    first_input: int
    lag: NDArray[np.int32]
    correlation: NDArray[np.float32]


class Correlator:
    """Correlates the rows of a raster with each other and those after.

    At a lag, template bin k meets input bin k + lag; the pair of bins counts with the product of the template's weight
    at k and the input's at k + lag. `centered` takes off the weighted means, `normalized` divides by the weighted
    standard deviations; a row without variance correlates with 0.

    raster: (N, D) float32. template_weights, input_weights: (D,) float64, not all 0. max_lag: in depth bins.
    """

    def __init__(
        self,
        raster: NDArray[np.float32],
        template_weights: NDArray[np.float64],
        input_weights: NDArray[np.float64],
        max_lag: int,
        centered: bool = True,
        normalized: bool = True,
    ) -> None:
        used = np.flatnonzero((template_weights > 0) | (input_weights > 0))
        within = slice(used[0], used[-1] + 1)
        self._template_weights, self._input_weights = template_weights[within], input_weights[within]
        self._raster = raster[:, within]
        self._offsets = np.zeros((len(raster), 1), np.float32)
        if centered:  # covariances don't feel a constant, but single precision does
            self._offsets = self._raster.mean(axis=1, keepdims=True)
        self._centered, self._normalized = centered, normalized
        self._segments = _Segments.best(self._raster.shape[1], max_lag)
        self._per_overlap = _per_overlap(self._template_weights, self._input_weights, max_lag)
        self._measure_inputs()

    def best(self, n_templates: int, reach: int) -> Iterator[Block]:
        """The best lags of the first `n_templates` rows with themselves and up to `reach` rows after, block by block.

        Blocks at the borders also hold a few pairs farther apart, or in the other order.
        """
        for start in range(0, n_templates, _TEMPLATES):
            stop = min(start + _TEMPLATES, n_templates)
            yield from self._against(start, stop, start, min(len(self._raster), stop + reach))

    def between(self, templates: Span, inputs: Span) -> Iterator[Block]:
        """The best lags of the rows of one span with each row of another one, block by block."""
        for start in range(*templates, _TEMPLATES):
            yield from self._against(start, min(start + _TEMPLATES, templates[1]), *inputs)

    def _against(self, start: int, stop: int, lowest: int, highest: int) -> Iterator[Block]:
        """The templates from `start` to before `stop` with the inputs from `lowest` to before `highest`."""
        per_overlap = self._per_overlap.astype(np.float32)
        templates, template_means, template_scales = self._measure_templates(start, stop)
        for low in range(lowest, highest, _INPUTS):
            high = min(low + _INPUTS, highest)
            covariance = self._segments.multiply(templates, self._inputs[low:high])
            means, scales = self._means[low:high], self._scales[low:high]
            best = _best_lags(covariance, per_overlap, template_means, template_scales, means, scales)
            yield Block(start, low, *best)

    def _rows(self, chunk: slice) -> NDArray[np.float64]:
        return (self._raster[chunk] - self._offsets[chunk]).astype(np.float64)

    def _measure_inputs(self) -> None:
        """Spectra of all rows as inputs, and their mean and inverse deviation at every lag."""
        n_rows, segments = len(self._raster), self._segments
        self._inputs = np.empty((n_rows, segments.count, 2, _lanes(segments.n_fft)), np.float32)
        self._means = np.empty((n_rows, segments.n_lags), np.float32)
        self._scales = np.empty((n_rows, segments.n_lags), np.float32)
        against = segments.template_spectra(self._template_weights[None])
        for start in range(0, n_rows, _ROWS):
            chunk = slice(start, min(start + _ROWS, n_rows))
            rows = self._rows(chunk)
            spectra = segments.input_spectra(rows * self._input_weights)
            squares = segments.input_spectra(rows**2 * self._input_weights)
            first, second = (segments.multiply(against, each)[0] for each in (spectra, squares))
            self._inputs[chunk] = spectra
            self._means[chunk], self._scales[chunk] = self._moments(rows, first, second)

    def _measure_templates(
        self, start: int, stop: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Spectra of some rows as templates, and their mean and inverse deviation at every lag."""
        segments, rows = self._segments, self._rows(slice(start, stop))
        against = segments.input_spectra(self._input_weights[None])
        spectra = segments.template_spectra(rows * self._template_weights)
        squares = segments.template_spectra(rows**2 * self._template_weights)
        first, second = (segments.multiply(each, against)[:, 0] for each in (spectra, squares))
        return (spectra.astype(np.float32), *self._moments(rows, first, second))

    def _moments(
        self, rows: NDArray[np.float64], first: NDArray[np.float64], second: NDArray[np.float64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(rows, lags) mean to take off and factor to apply, from weighted sums of the rows and of their squares."""
        n_lags = self._segments.n_lags
        mean = first[:, :n_lags] * self._per_overlap if self._centered else np.zeros((len(rows), n_lags))
        scale = np.ones((len(rows), n_lags))
        if self._normalized:
            second = second[:, :n_lags] * self._per_overlap
            variance = second - mean**2
            rounding = np.maximum(
                _ROUNDING_OF_PATCH * second.max(axis=1, keepdims=True),
                _ROUNDING_OF_ROW * (rows**2).max(axis=1, keepdims=True),
            )
            scale = 1 / np.sqrt(np.where(variance > rounding, variance, np.inf))
        return mean.astype(np.float32), scale.astype(np.float32)


@dataclass(frozen=True)
class _Segments:
    """How the depth is cut: segment s of a template covers bins s * length to (s + 1) * length, the same segment of
    an input `max_lag` bins more on either side, so that all lags fit into transforms of `n_fft` bins."""

    n_bins: int
    max_lag: int
    count: int
    length: int
    n_fft: int

    @classmethod
    def best(cls, n_bins: int, max_lag: int) -> _Segments:
        """The cut with the least work a pair: four multiplications a segment and frequency, one transform."""
        plans = []
        for count in range(1, min(n_bins, 64) + 1):
            length = -(-n_bins // count)
            n_fft = next_fast_len(length + 2 * max_lag, real=True)
            plans.append((2 * count * n_fft + 4 * n_fft * np.log2(n_fft), count, length, n_fft))
        _, count, length, n_fft = min(plans)
        return cls(n_bins, max_lag, count, length, n_fft)

    @property
    def n_lags(self) -> int:
        return 2 * self.max_lag + 1

    def template_spectra(self, rows: NDArray[Any]) -> NDArray[Any]:
        """(rows, count, 2, frequencies in whole lanes), real and imaginary parts, in the rows' precision."""
        padded = np.pad(rows, ((0, 0), (0, self.count * self.length - self.n_bins)))
        return _spectra(padded.reshape(len(rows), self.count, self.length), self.n_fft)

    def input_spectra(self, rows: NDArray[Any]) -> NDArray[Any]:
        """As `template_spectra`, each segment with `max_lag` more bins on either side, 0 beyond the ends."""
        after = self.count * self.length - self.n_bins + self.max_lag
        padded = np.pad(rows, ((0, 0), (self.max_lag, after)))
        width = self.length + 2 * self.max_lag
        cut = np.lib.stride_tricks.sliding_window_view(padded, width, axis=1)[:, :: self.length]
        return _spectra(cut, self.n_fft)

    def multiply(self, templates: NDArray[Any], inputs: NDArray[Any]) -> NDArray[Any]:
        """(I, J, n_fft) sums over depth of template * input shifted by -max_lag, ..., max_lag (and nothing of use)."""
        n_frequencies = self.n_fft // 2 + 1
        products = np.empty((len(templates), len(inputs), 2 * n_frequencies), templates.dtype)
        lanes = templates.shape[-1]
        rows = templates.reshape(-1, lanes), inputs.reshape(-1, lanes)
        _multiply(*rows, len(templates), len(inputs), products)
        complex_type = np.complex64 if products.dtype == np.float32 else np.complex128
        result: NDArray[Any] = irfft(products.view(complex_type), n=self.n_fft, axis=2, workers=1)
        return result


def _per_overlap(
    template_weights: NDArray[np.float64], input_weights: NDArray[np.float64], max_lag: int
) -> NDArray[np.float64]:
    """(lags,) one over the sum of the products of weights that meet; 0 where they hardly do."""
    met = np.lib.stride_tricks.sliding_window_view(np.pad(input_weights, max_lag), len(template_weights))
    overlap = np.array([(template_weights * weights).sum() for weights in met])
    enough = overlap > _LEAST_OVERLAP * overlap.max()
    return np.divide(1, overlap, out=np.zeros_like(overlap), where=enough)


def _spectra(cut: NDArray[Any], n_fft: int) -> NDArray[Any]:
    """Real and imaginary parts, with zeros up to whole lanes."""
    spectra = rfft(cut, n=n_fft, axis=2, workers=1)
    parts = np.zeros((*spectra.shape[:2], 2, _lanes(n_fft)), spectra.real.dtype)
    parts[..., 0, : spectra.shape[2]], parts[..., 1, : spectra.shape[2]] = spectra.real, spectra.imag
    return parts


def _lanes(n_fft: int) -> int:
    """Numbers that a row of frequencies takes."""
    return -(-(n_fft // 2 + 1) // _LANES) * _LANES


@numba.njit(nogil=True, cache=True)
def _multiply(templates, inputs, n_templates, n_inputs, products):  # type: ignore[no-untyped-def]
    """conj(template) * input, summed over segments, to products (I, J, 2 F): real and imaginary parts in turn.

    templates (I segments 2, lanes) and inputs (J segments 2, lanes): rows of F frequencies and zeros up to whole lanes,
    the real and the imaginary part of a segment one after the other. Two templates and two inputs at a time, so that
    each number read is used twice; where one is left over, it stands for both.
    """
    rows_i, rows_j = len(templates) // n_templates, len(inputs) // n_inputs
    sums = np.empty((8, templates.shape[1]), dtype=templates.dtype)
    zero = np.zeros((1, _LANES), templates.dtype)
    for i in range(0, n_templates, 2):
        next_i = min(i + 1, n_templates - 1)
        for j in range(0, n_inputs, 2):
            next_j = min(j + 1, n_inputs - 1)
            for f in range(0, templates.shape[1], _LANES):
                none = load(zero, 0, 0, _LANES)
                ac, ad, au, av, pc, pd, pu, pv = none, none, none, none, none, none, none, none
                for row in range(0, rows_i, 2):
                    a, b = _part(templates, i * rows_i + row, f), _part(templates, i * rows_i + row + 1, f)
                    p, q = _part(templates, next_i * rows_i + row, f), _part(templates, next_i * rows_i + row + 1, f)
                    c, d = _part(inputs, j * rows_j + row, f), _part(inputs, j * rows_j + row + 1, f)
                    u, v = _part(inputs, next_j * rows_j + row, f), _part(inputs, next_j * rows_j + row + 1, f)
                    ac, ad = fma(b, d, fma(a, c, ac)), fma(-b, c, fma(a, d, ad))
                    au, av = fma(b, v, fma(a, u, au)), fma(-b, u, fma(a, v, av))
                    pc, pd = fma(q, d, fma(p, c, pc)), fma(-q, c, fma(p, d, pd))
                    pu, pv = fma(q, v, fma(p, u, pu)), fma(-q, u, fma(p, v, pv))
                store(sums, 0, f, ac)
                store(sums, 1, f, ad)
                store(sums, 2, f, au)
                store(sums, 3, f, av)
                store(sums, 4, f, pc)
                store(sums, 5, f, pd)
                store(sums, 6, f, pu)
                store(sums, 7, f, pv)
            _interleave(sums[0], sums[1], products[i, j])
            _interleave(sums[2], sums[3], products[i, next_j])
            _interleave(sums[4], sums[5], products[next_i, j])
            _interleave(sums[6], sums[7], products[next_i, next_j])


@numba.njit(nogil=True, cache=True)
def _part(rows, row, f):  # type: ignore[no-untyped-def]
    return load(rows, row, f, _LANES)


@numba.njit(nogil=True, cache=True)
def _interleave(real, imaginary, product):  # type: ignore[no-untyped-def]
    for f in range(len(product) // 2):
        product[2 * f], product[2 * f + 1] = real[f], imaginary[f]


@numba.njit(nogil=True, cache=True)
def _best_lags(  # type: ignore[no-untyped-def]
    covariance, per_overlap, template_mean, template_scale, input_mean, input_scale
):
    """Lag, counted from 0 at the middle, and value of the first largest correlation of every pair."""
    n_templates, n_inputs = covariance.shape[:2]
    n_lags = len(per_overlap)
    lag = np.empty((n_templates, n_inputs), dtype=np.int32)
    correlation = np.empty((n_templates, n_inputs), dtype=np.float32)
    values = np.full(-(-n_lags // _GROUP) * _GROUP, -np.inf, dtype=np.float32)
    for i in range(n_templates):
        for j in range(n_inputs):
            for m in range(n_lags):
                values[m] = (covariance[i, j, m] * per_overlap[m] - template_mean[i, m] * input_mean[j, m]) * (
                    template_scale[i, m] * input_scale[j, m]
                )
            best = _first_largest(values)
            lag[i, j] = best - n_lags // 2
            correlation[i, j] = values[best]
    return lag, correlation


@numba.njit(nogil=True, cache=True)
def _first_largest(values):  # type: ignore[no-untyped-def]
    """Index of the first of the largest values, looked for in groups first: that needs fewer decisions."""
    largest, group = values[0], 0
    for start in range(0, len(values), _GROUP):
        largest_here = values[start]
        for m in range(start + 1, start + _GROUP):
            largest_here = max(largest_here, values[m])
        if largest_here > largest:
            largest, group = largest_here, start
    best = group
    while values[best] < largest:
        best += 1
    return best
