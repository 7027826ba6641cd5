"""Bad contacts as the International Brain Laboratory finds them: by coherence with the shank and by power up high.

The method of the IBL's white paper (Spike sorting pipeline for the International Brain Laboratory, 2022) and of its
program ibl-neuropixel, `ibldsp.voltage.detect_bad_channels`; SpikeInterface 0.105.3 has it as `coherence+psd`. In a
slice of the recording, the median of all contacts is the reference. The coherence of a contact is its covariance with
the reference over the variance of the reference: about 1 for a contact that sees what all see. The trend is the
coherence through a median filter along the shank, and the detrended coherence is what is left without it.

dead          detrended coherence too low, or no signal at all (constant, or values that are not finite)
noisy         detrended coherence too high, or too much power in the top fifth of the band
out_of_brain  contacts at the end of the shank, all with a trend too low; for them the signal is high-passed, as slow
              potentials reach beyond the surface

A contact that is several of these is out of the brain rather than noisy, noisy rather than dead (as in
SpikeInterface). The filter is the IBL's, run twice forward instead of forward and backward: the power is the same.

The thresholds were found on Neuropixels 1.0 in the brain. Elsewhere they call good contacts bad, which costs more than
a bad contact that is not found. What differs from the IBL, to call fewer contacts bad and never more:

- Coherence is judged only if the reference holds a signal that contacts share. The median of independent noise has a
  coherence too, and that only says which contact is louder (simulations, saline, a shank in the air).
- Where the trend is above 1 or below -1, the thresholds grow with it. Beside a loud unit, or where slow potentials
  cancel each other in the reference, all coherences are large and so are their differences.
- A noisy contact's power is also clearly above that of the shank's median contact: on a noisy amplifier all contacts
  are above the IBL's limit. Where the gain is not known, only this comparison is left.
- Where dead and noisy ones are more than half of the contacts with a signal, none is: then the half is no standard.
- A whole shank is never out of the brain. Nor is anything said of shanks with fewer than 8 contacts or of slices
  shorter than 0.1 s, other than which contacts have no signal. Without signal on a whole shank, as in a gap, all are
  good. Where there are fewer contacts than the median filter is long, it is as long as there are contacts, if odd.

Two things are not meant to call fewer bad: each shank has its own reference, and what the slow potentials drift by in a
line is taken off with the mean. Neuropixels 1.0 filters such drift away, other probes do not.

Coherence is computed from rows at about 7.5 kHz, power from 8 windows of 10 ms, of which it is the median.
"""

from __future__ import annotations

import math
from typing import Literal

import numba
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator
from scipy.fft import rfft

from driftcli import model
from driftcli.errors import UsageError
from driftcli.preprocess.median import row_medians
from driftcli.vectors import fma, load, splat, store  # digest fd8ed755d3e7

_DEAD, _NOISY, _OUT_OF_BRAIN = (model.CONTACT_LABELS.index(name) for name in ("dead", "noisy", "out_of_brain"))

_SHORTEST_S = 0.1
_FEWEST_CONTACTS = 8
_COHERENCE_HZ = 7500.0  # rows that coherence is computed from: neighbouring samples say nearly the same
_SHARED = 4.0  # times the power that the reference of independent contacts would have
_WINDOWS, _WINDOW_S = 8, 0.01
_TOP_OF_BAND = 0.8  # of half the sampling frequency
_QUALITIES = (1.0, 1.0, 0.5)  # of the three sections that are a Butterworth high-pass of order 3, run twice
_SETTLED = 3.0  # periods of the edge after which the filter has forgotten how the slice began, or half of the slice
_FLOAT32_EDGE = 0.009  # of the sampling frequency; below, rounding in float32 would be heard
_LANES = 64  # channels that are filtered together
_ROWS = 64  # rows that all sections run over while they are in the cache
_SILENCE = 1e-20  # far below any signal, far above the denormal numbers that slow processors down


class Parameters(model.Parameters):
    """Thresholds of the IBL's detection of bad channels.

    dead_coherence: detrended coherence below which a contact is dead.
    noisy_coherence: detrended coherence above which a contact is noisy.
    noisy_power_uv2_per_hz: power in the top fifth of the band above which a contact is noisy, if it is also above
        noisy_power_factor. The IBL takes 1.4 for files of slow potentials. Without effect if the gain is not known.
    noisy_power_factor: times the power of the shank's median contact above which a contact is noisy.
    outside_coherence: trend of the high-passed coherence, less 1, below which contacts are out of the brain.
    outside: the end of the shank that may be out of the brain; `top` is where y is largest.
    neighbours: contacts under the median filter, an odd number.
    highpass_hz: edge of the high-pass.
    """

    dead_coherence: float = Field(-0.5, lt=0)
    noisy_coherence: float = Field(1.0, gt=0)
    noisy_power_uv2_per_hz: float = Field(0.02, ge=0)
    noisy_power_factor: float = Field(4.0, ge=1)
    outside_coherence: float = Field(-0.75, lt=0)
    outside: Literal["top", "bottom", "both"] = "top"
    neighbours: int = Field(11, ge=3)
    highpass_hz: float = Field(300.0, gt=0)

    @field_validator("neighbours")
    @classmethod
    def _odd(cls, neighbours: int) -> int:
        if neighbours % 2 == 0:
            raise ValueError("the median filter needs an odd number")
        return neighbours


class Finder:
    """Finds what is wrong with the contacts in slices of the raw signal.

    Raises UsageError if the high-pass lies beyond half the sampling frequency.
    """

    def __init__(
        self, parameters: Parameters, geometry: model.Geometry, sampling_frequency_hz: float, gain_known: bool
    ) -> None:
        edge = parameters.highpass_hz / sampling_frequency_hz
        _check_edge(parameters.highpass_hz, sampling_frequency_hz)
        self._parameters = parameters
        self._sampling_frequency_hz = sampling_frequency_hz
        self._least_power = parameters.noisy_power_uv2_per_hz if gain_known else 0.0
        self._shanks = [_along(geometry, contacts) for _, contacts in geometry.each_shank()]
        self._sections = _sections(edge).astype(np.float32 if edge >= _FLOAT32_EDGE else np.float64)
        self._settled = math.ceil(_SETTLED / edge)
        self._every = max(int(sampling_frequency_hz / _COHERENCE_HZ), 1)
        self._shortest = math.ceil(_SHORTEST_S * sampling_frequency_hz)

    def __call__(self, traces: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Labels (C,), indices of `CONTACT_LABELS`, of one slice: traces (S, C), not filtered, in µV or file units."""
        labels = np.full(traces.shape[1], model.GOOD, np.uint8)
        if not traces.size:
            return labels
        traces = np.ascontiguousarray(traces, np.float32)
        varies, finite = _look(traces)
        if not finite.all():
            traces = np.where(finite, traces, np.float32(0))
        judged = len(traces) >= self._shortest
        if judged:
            raw = _without_line(traces[:: self._every])
            settled = min(self._settled, len(traces) // 2)
            filtered = _highpassed(traces, self._sections, settled, self._every)
            power = _power_up_high(traces, self._sampling_frequency_hz)
        for contacts in self._shanks:
            heard = contacts[(varies & finite)[contacts]]
            if len(heard):
                labels[contacts] = _DEAD
                labels[heard] = model.GOOD
            if judged and len(heard) >= _FEWEST_CONTACTS:
                labels[heard] = self._judge(_columns(raw, heard), _columns(filtered, heard), power[heard])
        return labels

    def _judge(
        self, raw: NDArray[np.float32], filtered: NDArray[np.float32], power: NDArray[np.float64]
    ) -> NDArray[np.uint8]:
        """Labels of the contacts of one shank, from one end to the other: rows of them (N, C) and power (C,)."""
        limits = self._parameters
        labels = np.full(len(power), model.GOOD, np.uint8)
        noisy = power > np.maximum(self._least_power, limits.noisy_power_factor * np.median(power))
        coherence = shared_coherence(raw)
        if coherence is not None:
            trend = median_filter(coherence, limits.neighbours)
            detrended = (coherence - trend) / np.maximum(np.abs(trend), 1.0)
            labels[detrended < limits.dead_coherence] = _DEAD
            noisy |= detrended > limits.noisy_coherence
        labels[noisy] = _NOISY
        outside = self._outside(filtered)
        if 2 * np.count_nonzero(labels[~outside]) > np.count_nonzero(~outside):
            labels[:] = model.GOOD
        labels[outside] = _OUT_OF_BRAIN
        return labels

    def _outside(self, filtered: NDArray[np.float32]) -> NDArray[np.bool_]:
        """(C,) which contacts at the ends of a shank are out of the brain."""
        coherence = shared_coherence(filtered)
        if coherence is None:
            return np.zeros(filtered.shape[1], np.bool_)
        inside = median_filter(coherence, self._parameters.neighbours) - 1 >= self._parameters.outside_coherence
        outside = np.zeros(len(inside), np.bool_)
        if inside.any() and self._parameters.outside != "bottom":
            outside |= np.cumsum(inside[::-1])[::-1] == 0
        if inside.any() and self._parameters.outside != "top":
            outside |= np.cumsum(inside) == 0
        return outside


def vote(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The commonest label (C,) of each contact over slices (N, C). Of equally common ones good wins, then the first."""
    counts = [np.count_nonzero(labels == label, axis=0) for label in range(len(model.CONTACT_LABELS))]
    return np.argmax(counts, axis=0).astype(np.uint8)


def shared_coherence(rows: NDArray[np.float32]) -> NDArray[np.float64] | None:
    """Coherence (C,) of rows (N, C) with their medians, or None if the contacts share too little for it to mean much.

    The median of many independent normal numbers has pi / 2 of the variance that their mean would have.
    """
    reference = row_medians(rows).astype(np.float64)
    reference -= reference.mean()
    products, squares = _sums(rows, reference)
    power = (reference**2).sum()
    if not power > _SHARED * (math.pi / 2) * np.median(squares) / rows.shape[1]:
        return None
    return np.asarray(products / power, np.float64)


def median_filter(values: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    """Running median of an odd length; at the ends of those that are there."""
    half = (min(length, len(values)) - 1) // 2
    beyond = np.full(half, np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(np.concatenate([beyond, values, beyond]), 2 * half + 1)
    filtered = np.median(windows, axis=1)
    for end in (*range(half), *range(len(values) - half, len(values))):
        filtered[end] = np.median(values[max(end - half, 0) : end + half + 1])
    return np.asarray(filtered, np.float64)


def _check_edge(edge_hz: float, sampling_frequency_hz: float) -> None:
    if edge_hz >= sampling_frequency_hz / 2:
        raise UsageError(
            f"the high-pass of the search for bad channels, {edge_hz:g} Hz, needs a sampling frequency of more than "
            f"{2 * edge_hz:g} Hz, the recording has {sampling_frequency_hz:g} Hz",
            "set bad_channels.highpass_hz lower, or check the sampling frequency",
        )


def _along(geometry: model.Geometry, contacts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Contacts in order of depth, then x."""
    x, y = geometry.positions_um[contacts].T
    return contacts[np.lexsort([x, y])]


def _columns(rows: NDArray[np.float32], contacts: NDArray[np.int64]) -> NDArray[np.float32]:
    whole = len(contacts) == rows.shape[1] and np.array_equal(contacts, np.arange(len(contacts)))
    return rows if whole else np.take(rows, contacts, axis=1)


def _without_line(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows (N, C) less the line that fits each column best."""
    rows = rows - rows[0]
    time = np.arange(len(rows)) - (len(rows) - 1) / 2
    sums, slopes = _sums(rows, np.ones(len(rows)))[0], _sums(rows, time)[0]
    slopes = slopes / max((time**2).sum(), 1.0)
    _subtract_lines(rows, sums / len(rows), slopes, time)
    return rows


def _sections(edge: float) -> NDArray[np.float64]:
    """(3, 3): g, a1, a2 of sections g (1 - z^-1)^2 / (1 + a1 z^-1 + a2 z^-2), by the bilinear transform.

    edge: as a fraction of the sampling frequency.
    """
    k = math.tan(math.pi * edge)
    sections = []
    for quality in _QUALITIES:
        gain = 1 / (1 + k / quality + k * k)
        sections.append((gain, 2 * (k * k - 1) * gain, (1 - k / quality + k * k) * gain))
    return np.array(sections)


def _power_up_high(traces: NDArray[np.float32], sampling_frequency_hz: float) -> NDArray[np.float64]:
    """(C,) mean power density in the top of the band: the median of windows spread evenly over the slice.

    Their mean, as in Welch's method, would also hold the sharp edges that a few spikes may have in simulations.
    """
    length = max(round(_WINDOW_S * sampling_frequency_hz), 8)
    starts = np.linspace(0, len(traces) - length, _WINDOWS).astype(np.int64)
    taper = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    powers = [_top_of_band(traces[start : start + length], taper) for start in starts]
    return np.asarray(np.median(powers, axis=0) / (sampling_frequency_hz * (taper**2).sum()), np.float64)


def _top_of_band(window: NDArray[np.float32], taper: NDArray[np.float64]) -> NDArray[np.float64]:
    """(C,) mean of the tapered window's power over the frequencies in the top of the band."""
    length = len(window)
    first = math.floor(_TOP_OF_BAND * length / 2) + 1
    window = (window - window.mean(axis=0)) * taper.astype(np.float32)[:, np.newaxis]
    spectrum = rfft(window, axis=0)[first:]
    power = spectrum.real**2 + spectrum.imag**2
    power[: (length - 1) // 2 + 1 - first] *= 2  # half of it is at negative frequencies, but for the highest one's
    return np.asarray(power.mean(axis=0, dtype=np.float64), np.float64)


def _highpassed(
    traces: NDArray[np.float32], sections: NDArray[np.floating], settled: int, every: int
) -> NDArray[np.float32]:
    """Every so many rows of the high-passed traces (S, C), from the row `settled` on."""
    samples, channels = traces.shape
    rows = np.empty((-(-(samples - settled) // every), channels), np.float32)
    _highpass(traces, sections[:, 1:], sections.dtype.type(np.prod(sections[:, 0])), settled, every, rows)
    return rows


@numba.njit(nogil=True, cache=True)
def _sums(rows, factors):  # type: ignore[no-untyped-def]
    """(C,) sums of the products of each column and the factors (N,), and of the columns' squares."""
    products, squares = np.zeros(rows.shape[1]), np.zeros(rows.shape[1])
    for t in range(len(rows)):
        for c in range(rows.shape[1]):
            value = np.float64(rows[t, c])
            products[c] += value * factors[t]
            squares[c] += value * value
    return products, squares


@numba.njit(nogil=True, cache=True)
def _subtract_lines(rows, means, slopes, time):  # type: ignore[no-untyped-def]
    for t in range(len(rows)):
        for c in range(rows.shape[1]):
            rows[t, c] -= means[c] + slopes[c] * time[t]


@numba.njit(nogil=True, cache=True)
def _look(traces):  # type: ignore[no-untyped-def]
    """(C,) whether a column is not constant, and whether all its values are finite."""
    varies, zero = np.zeros(traces.shape[1], np.bool_), np.zeros(traces.shape[1], np.float32)
    first = traces[0]
    for t in range(len(traces)):
        row = traces[t]
        for c in range(traces.shape[1]):
            varies[c] |= row[c] != first[c]
            zero[c] += row[c] * np.float32(0)  # NaN as soon as a value is not finite
    return varies, zero == 0


@numba.njit(nogil=True, cache=True)
def _highpass(traces, sections, gain, settled, every, out):  # type: ignore[no-untyped-def]
    """Filter traces (S, C) tile by tile, and keep every so many rows from `settled` on."""
    samples, channels = traces.shape
    groups = (channels + _LANES - 1) // _LANES
    states = np.zeros((groups, len(sections), 2, _LANES), sections.dtype)
    tile = np.zeros((_ROWS, _LANES), sections.dtype)
    first = traces[:1]  # as if the signal had been constant before, of which a high-pass leaves nothing
    kept = 0
    for start in range(0, samples, _ROWS):
        rows = traces[start : start + _ROWS]
        skipped = settled - start if start < settled else (settled - start) % every
        for group in range(groups):
            _take(rows, group * _LANES, first, gain, tile)
            for index in range(len(sections)):
                _section(tile, len(rows), sections[index], states[group, index])
            _keep(tile, skipped, len(rows), every, out, kept, group * _LANES)
        kept += len(range(skipped, len(rows), every))


@numba.njit(nogil=True, cache=True)
def _take(rows, begin, offsets, gain, tile):  # type: ignore[no-untyped-def]
    """Copy channels of the rows from `begin` on, as many as there are, into a tile, less their offsets."""
    lanes = min(rows.shape[1] - begin, _LANES)
    if lanes < _LANES:
        for t in range(len(rows)):
            for lane in range(lanes):
                tile[t, lane] = (rows[t, begin + lane] - offsets[0, begin + lane]) * gain
        return
    offset, gains = load(offsets, 0, begin, _LANES), splat(np.float32(gain), _LANES)
    for t in range(len(rows)):
        store(tile, t, 0, (load(rows, t, begin, _LANES) + -offset) * gains)


@numba.njit(nogil=True, cache=True)
def _section(rows, count, section, state):  # type: ignore[no-untyped-def]
    """One section over the first rows in place; transposed direct form II."""
    a1, a2, twice = splat(-section[0], _LANES), splat(-section[1], _LANES), splat(rows.dtype.type(-2), _LANES)
    s0, s1 = load(state, 0, 0, _LANES), load(state, 1, 0, _LANES)
    for t in range(count):
        before = load(rows, t, 0, _LANES)
        after = before + s0
        s0 = fma(a1, after, fma(twice, before, s1))
        s1 = fma(a2, after, before)
        store(rows, t, 0, after)
    store(state, 0, 0, s0)
    store(state, 1, 0, s1)
    _flush(state)


@numba.njit(nogil=True, cache=True)
def _flush(state):  # type: ignore[no-untyped-def]
    """Silence stays silent: in long stretches of zeros the states would get denormal."""
    for i in range(2):
        for lane in range(_LANES):
            if abs(state[i, lane]) < _SILENCE:
                state[i, lane] = 0


@numba.njit(nogil=True, cache=True)
def _keep(tile, first, end, every, out, at, begin):  # type: ignore[no-untyped-def]
    """Copy every so many rows of the tile to the rows of `out` from `at` on, the columns from `begin` on."""
    lanes = min(out.shape[1] - begin, _LANES)
    for t in range(first, end, every):
        for lane in range(lanes):
            out[at, begin + lane] = tile[t, lane]
        at += 1
