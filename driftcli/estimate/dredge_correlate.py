"""Where temporal bins match best: windowed, normalized cross-correlation along depth of every pair of a stretch.

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

# Templates and inputs that are correlated at once: their spectra and products should fit a core's cache.
_TEMPLATES, _INPUTS = 32, 16
# Rows whose float64 spectra are held at once while their means and variances are taken.
_ROWS = 128
# A variance is what rounding leaves of an even patch if it is below this share of the patch's largest second moment
# at any lag (single precision), or below this share of the row's largest square (double precision).
_ROUNDING_OF_PATCH, _ROUNDING_OF_ROW = 1e-6, 1e-13
# Lags that are searched together for the largest correlation.
_GROUP = 16


@dataclass(frozen=True)
class Block:
    """The best match of a few templates with a few inputs; indices count from the start of the stretch.

    lag: (I, J) int32, depth bins by which template `first_template + i` is found deeper in input `first_input + j`.
    correlation: (I, J) float32 at that lag.
    """

    first_template: int
    first_input: int
    lag: NDArray[np.int32]
    correlation: NDArray[np.float32]


class Correlator:
    """Correlates the temporal bins of one stretch of a raster with each other, inside spatial windows.

    The covariance of a template with an input at a lag is taken over the depths where both are known, weighted by
    the window at the template's depth, after DREDge (Windolf et al. 2025). `centered` takes off the weighted means,
    `normalized` divides by the weighted standard deviations; a pair without variance correlates with 0.

    raster: (N, D) float32. windows: (W, D) float64. max_lag: in depth bins, below D.
    """

    def __init__(
        self,
        raster: NDArray[np.float32],
        windows: NDArray[np.float64],
        max_lag: int,
        centered: bool = True,
        normalized: bool = True,
    ) -> None:
        # Covariances don't feel a constant, but single precision does.
        self._raster = raster - raster.mean(axis=1, keepdims=True, dtype=np.float32) if centered else raster
        self._windows = windows
        self._centered, self._normalized = centered, normalized
        self._segments = _Segments.best(raster.shape[1], max_lag)
        self._overlap = self._segments.overlap_sums(windows)
        self._per_overlap = np.divide(1, self._overlap, out=np.zeros_like(self._overlap), where=self._overlap > 0)
        self._measure_inputs()

    def best(self, window: int, first: int, last: int, reach: int, later_only: bool = False) -> Iterator[Block]:
        """The best lags of templates `first` to `last` with all inputs up to `reach` bins away, block by block.

        Blocks at the borders hold a few pairs farther away. `later_only` leaves out blocks of only earlier inputs.
        """
        per_overlap = self._per_overlap[window].astype(np.float32)
        used = self._segments.used_by(self._windows[window])
        for start in range(first, last, _TEMPLATES):
            stop = min(start + _TEMPLATES, last)
            template = self._template_spectra(window, start, stop, used)
            moments = self._template_moments(window, start, stop)
            lowest = start if later_only else max(0, start - reach)
            highest = min(len(self._raster), stop + reach)
            for low in range(lowest, highest, _INPUTS):
                high = min(low + _INPUTS, highest)
                covariance = self._segments.multiply(template, self._inputs[low:high], used.start)
                mean, scale = self._means[window, low:high], self._scales[window, low:high]
                yield Block(start, low, *_best_lags(covariance, per_overlap, *moments, mean, scale))

    def _measure_inputs(self) -> None:
        """Spectra of all rows, and their mean and inverse deviation under every window at every lag."""
        n_rows, segments = len(self._raster), self._segments
        self._inputs = np.empty((n_rows, segments.count, 2, segments.n_fft // 2 + 1), np.float32)
        moments_shape = (len(self._windows), n_rows, segments.n_lags)
        self._means, self._scales = np.empty(moments_shape, np.float32), np.empty(moments_shape, np.float32)
        windows = segments.template_spectra(self._windows)
        for start in range(0, n_rows, _ROWS):
            rows = slice(start, start + _ROWS)
            raster = self._raster[rows].astype(np.float64)
            spectra = segments.input_spectra(raster)
            self._inputs[rows] = spectra
            first = segments.multiply(windows, spectra)[..., : segments.n_lags]
            second = segments.multiply(windows, segments.input_spectra(raster**2))
            second = second[..., : segments.n_lags]
            per_overlap = self._per_overlap[:, None]
            self._means[:, rows], self._scales[:, rows] = self._moments(
                first * per_overlap, second * per_overlap, (raster**2).max(axis=1)
            )

    def _template_spectra(self, window: int, start: int, stop: int, used: slice) -> NDArray[Any]:
        weighted = (self._raster[start:stop] * self._windows[window]).astype(np.float32)
        return np.ascontiguousarray(self._segments.template_spectra(weighted)[:, used])

    def _template_moments(self, window: int, start: int, stop: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        rows = self._raster[start:stop].astype(np.float64)
        weights, per_overlap = self._windows[window], self._per_overlap[window]
        first = self._segments.overlap_sums(rows * weights) * per_overlap
        second = self._segments.overlap_sums(rows**2 * weights) * per_overlap
        return self._moments(first, second, (rows**2).max(axis=1))

    def _moments(
        self, first: NDArray[np.float64], second: NDArray[np.float64], largest_square: NDArray[np.float64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean to take off and factor to apply, of (..., rows, lags) first and second moments."""
        mean = first if self._centered else np.zeros_like(first)
        if not self._normalized:
            return mean.astype(np.float32), np.ones(mean.shape, np.float32)
        variance = second - mean**2
        rounding = _ROUNDING_OF_PATCH * second.max(axis=-1, keepdims=True)
        present = variance > np.maximum(rounding, _ROUNDING_OF_ROW * largest_square[:, None])
        scale = 1 / np.sqrt(np.where(present, variance, np.inf))
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

    def used_by(self, window: NDArray[np.float64]) -> slice:
        """The segments in which a window is not 0 (at least one)."""
        inside = np.flatnonzero(window)
        return slice(inside[0] // self.length, inside[-1] // self.length + 1) if len(inside) else slice(0, 1)

    def template_spectra(self, rows: NDArray[Any]) -> NDArray[Any]:
        """(rows, count, 2, frequencies), real and imaginary parts, in the rows' precision."""
        padded = np.pad(rows, ((0, 0), (0, self.count * self.length - self.n_bins)))
        return _spectra(padded.reshape(len(rows), self.count, self.length), self.n_fft)

    def input_spectra(self, rows: NDArray[Any]) -> NDArray[Any]:
        """As `template_spectra`, each segment with `max_lag` more bins on either side, 0 beyond the ends."""
        after = self.count * self.length - self.n_bins + self.max_lag
        padded = np.pad(rows, ((0, 0), (self.max_lag, after)))
        width = self.length + 2 * self.max_lag
        cut = np.lib.stride_tricks.sliding_window_view(padded, width, axis=1)[:, :: self.length]
        return _spectra(cut, self.n_fft)

    def multiply(self, templates: NDArray[Any], inputs: NDArray[Any], first_segment: int = 0) -> NDArray[Any]:
        """(I, J, n_fft) sums over depth of template * input shifted by -max_lag, ..., max_lag (and nothing of use).

        The templates may hold fewer segments than the inputs, from `first_segment` on.
        """
        products = _multiply(templates, inputs, first_segment)
        complex_type = np.complex64 if products.dtype == np.float32 else np.complex128
        result: NDArray[Any] = irfft(products.view(complex_type), n=self.n_fft, axis=2, workers=1)
        return result

    def overlap_sums(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """(rows, lags) sums over those bins that are still within the raster after shifting by each lag."""
        lag = np.arange(-self.max_lag, self.max_lag + 1)
        low, high = np.maximum(0, -lag), np.minimum(self.n_bins, self.n_bins - lag)
        sums = np.pad(np.cumsum(rows, axis=1), ((0, 0), (1, 0)))
        result: NDArray[np.float64] = sums[:, high] - sums[:, low]
        return result


def _spectra(cut: NDArray[Any], n_fft: int) -> NDArray[Any]:
    spectra = rfft(cut, n=n_fft, axis=2, workers=1)
    return np.stack([spectra.real, spectra.imag], axis=2)


@numba.njit(nogil=True, cache=True)
def _multiply(templates, inputs, first_segment):  # type: ignore[no-untyped-def]
    """conj(template) * input, summed over segments: (I, J, 2 F), real and imaginary parts in turn.

    Two templates and two inputs at a time, so that each number read is used twice; where one is left over, it stands
    for both.
    """
    n_templates, n_segments, _, n_frequencies = templates.shape
    n_inputs = len(inputs)
    products = np.empty((n_templates, n_inputs, 2 * n_frequencies), dtype=templates.dtype)
    sums = np.empty((8, n_frequencies), dtype=templates.dtype)
    for i in range(0, n_templates, 2):
        next_i = min(i + 1, n_templates - 1)
        for j in range(0, n_inputs, 2):
            next_j = min(j + 1, n_inputs - 1)
            sums[:] = 0
            for s in range(n_segments):
                z = first_segment + s
                for f in range(n_frequencies):
                    a, b = templates[i, s, 0, f], templates[i, s, 1, f]
                    p, q = templates[next_i, s, 0, f], templates[next_i, s, 1, f]
                    c, d = inputs[j, z, 0, f], inputs[j, z, 1, f]
                    u, v = inputs[next_j, z, 0, f], inputs[next_j, z, 1, f]
                    sums[0, f] += a * c + b * d
                    sums[1, f] += a * d - b * c
                    sums[2, f] += a * u + b * v
                    sums[3, f] += a * v - b * u
                    sums[4, f] += p * c + q * d
                    sums[5, f] += p * d - q * c
                    sums[6, f] += p * u + q * v
                    sums[7, f] += p * v - q * u
            for f in range(n_frequencies):
                products[i, j, 2 * f], products[i, j, 2 * f + 1] = sums[0, f], sums[1, f]
                products[i, next_j, 2 * f], products[i, next_j, 2 * f + 1] = sums[2, f], sums[3, f]
                products[next_i, j, 2 * f], products[next_i, j, 2 * f + 1] = sums[4, f], sums[5, f]
                products[next_i, next_j, 2 * f], products[next_i, next_j, 2 * f + 1] = sums[6, f], sums[7, f]
    return products


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
