"""Butterworth band-pass, applied forward and backward: no phase, twice the order.

The textbook design (analog prototype, frequency transformation, bilinear transform with prewarped edges; Oppenheim and
Schafer, Discrete-Time Signal Processing, ch. 7), the same filter as `scipy.signal.iirfilter` and `sosfiltfilt`. It is
designed here, as importing scipy.signal takes longer than a minute of recording, and because sections that each pass a
band have the numerator 1 - z^-2, which is cheaper and keeps offsets out of every section. The gains of all sections,
there and back, are applied at once. Designed in float64, run in float32 on many channels at once. Where the lower edge
is so low that rounding in float32 would be heard (below about 280 Hz with order 5 at 30 kHz), the sections run in
float64.

Such a filter never ends, so a block needs rows on either side that are thrown away. The number of rows is how long the
filter's slowest pole takes to die down to one millionth, or to less where it is slow and transients add up for longer.
A jump of 10,000 counts anywhere, just outside of the rows that were read too, or a signal that wanders over ±20,000
counts, then makes a difference of less than 0.05 counts to filtering the whole file at once in float64.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from driftcli import model
from driftcli.errors import UsageError
from driftcli.vectors import fma, load, splat, store  # digest fd8ed755d3e7

_FLOAT32_DECAY_SAMPLES = 60  # slower poles are too close to 1 for float32
_REMAINDER, _SLOW_REMAINDER = 1e-6, 3e-7  # of a transient at the end of the margin, for poles up to that and slower
_LONGEST_MARGIN_S = 1.0  # bounds the memory that a block takes
_LANES = 64  # channels that are filtered together: the states of a section are two vectors of so many lanes
_ROWS = 64  # rows that all sections run over while they are in the cache
_REAL = 1e-12  # imaginary part of poles that are real but for rounding
_SILENCE = 1e-20  # far below any signal, far above the denormal numbers that slow processors down


class Parameters(model.Parameters):
    """Parameters of the band-pass.

    freq_min_hz: lower edge of the band, where a single pass lets half of the power through.
    freq_max_hz: upper edge of the band, likewise.
    order: of the low-pass the band-pass is made of, as in scipy; forward and backward together have twice of it.
    """

    freq_min_hz: float = Field(300.0, gt=0)
    freq_max_hz: float = Field(6000.0, gt=0)
    order: int = Field(5, ge=1, le=10)


class Step:
    """Band-pass of blocks of traces.

    margin_samples: rows at either end of a block that are not right.

    Raises UsageError if the band is empty, reaches beyond half the sampling frequency, or has so low or sharp edges
    that blocks would need margins of more than a second.
    """

    def __init__(self, parameters: Parameters, geometry: model.Geometry, sampling_frequency_hz: float) -> None:
        _check_band(parameters, sampling_frequency_hz)
        sections = _sections(parameters, sampling_frequency_hz)
        slowest = max(np.abs(np.roots([1.0, a1, a2])).max() for _, a1, a2 in sections)
        decay_samples = -1 / math.log(slowest)
        fast = decay_samples < _FLOAT32_DECAY_SAMPLES
        self.margin_samples = math.ceil(-math.log(_REMAINDER if fast else _SLOW_REMAINDER) * decay_samples)
        _check_margin(self.margin_samples / sampling_frequency_hz)
        dtype = np.float32 if fast else np.float64
        self._sections, self._gain = sections[:, 1:].astype(dtype), dtype(np.prod(sections[:, 0]) ** 2)

    def __call__(self, traces: NDArray[np.float32]) -> NDArray[np.float32]:
        """Filter C-contiguous traces (S, C) in place and return them. Before the first row, the signal is constant."""
        if traces.size:
            _filter(traces, self._sections, self._gain)
        return traces


def _check_band(parameters: Parameters, sampling_frequency_hz: float) -> None:
    low, high = parameters.freq_min_hz, parameters.freq_max_hz
    if low >= high:
        raise UsageError(
            f"the band-pass from {low:g} to {high:g} Hz is empty", "freq_min_hz must be less than freq_max_hz"
        )
    if high >= sampling_frequency_hz / 2:
        raise UsageError(
            f"the band-pass up to {high:g} Hz needs a sampling frequency of more than {2 * high:g} Hz, "
            f"the recording has {sampling_frequency_hz:g} Hz",
            f"set freq_max_hz below {sampling_frequency_hz / 2:g}, or check the sampling frequency",
        )


def _check_margin(margin_s: float) -> None:
    if margin_s > _LONGEST_MARGIN_S:
        raise UsageError(
            f"the band-pass rings for {margin_s:.3g} s, {_LONGEST_MARGIN_S:g} s is the most that can be done",
            "use a higher freq_min_hz, a wider band or a lower order",
        )


def _sections(parameters: Parameters, sampling_frequency_hz: float) -> NDArray[np.float64]:
    """(order, 3): g, a1, a2 of sections g (1 - z^-2) / (1 + a1 z^-1 + a2 z^-2), each of gain 1 amid the band."""
    rate, order = 2 * sampling_frequency_hz, parameters.order
    low, high = (
        rate * math.tan(math.pi * edge_hz / sampling_frequency_hz)
        for edge_hz in (parameters.freq_min_hz, parameters.freq_max_hz)
    )
    prototype = np.exp(1j * np.pi * (2 * np.arange(order) + order + 1) / (2 * order))
    half: NDArray[np.complex128] = prototype * (high - low) / 2
    apart = np.sqrt(half**2 - low * high)
    analog = np.concatenate([half + apart, half - apart])
    pairs = _conjugate_pairs((rate + analog) / (rate - analog))
    middle = np.exp(-2j * math.atan(math.sqrt(low * high) / rate))  # z^-1 amid the band
    sections = []
    for one, other in pairs:
        a1, a2 = -(one + other).real, (one * other).real
        sections.append((abs((1 + a1 * middle + a2 * middle**2) / (1 - middle**2)), a1, a2))
    return np.array(sections, dtype=np.float64)


def _conjugate_pairs(poles: NDArray[Any]) -> list[tuple[complex, complex]]:
    """The real poles two by two, then each one above the axis with its mirror image, low and high ones in turn.

    Turns, as sections at the lower edge amplify each other's rounding (measured); the slowest comes last.
    """
    real = np.sort(poles.real[np.abs(poles.imag) < _REAL])
    above = poles[poles.imag >= _REAL]
    above = above[np.argsort(np.angle(above))]
    above = np.array([above[-1 - turn // 2] if turn % 2 else above[turn // 2] for turn in range(len(above))][::-1])
    pairs = list(zip(real[::2], real[1::2], strict=True))
    return [(complex(one), complex(other)) for one, other in [*pairs, *zip(above, above.conjugate(), strict=True)]]


@numba.njit(nogil=True, cache=True)
def _filter(traces, sections, gain):  # type: ignore[no-untyped-def]
    """Filter traces (S, C) in place, tile by tile: some rows of some channels, which stay in the cache meanwhile."""
    samples, channels = traces.shape
    groups = (channels + _LANES - 1) // _LANES
    states = np.zeros((groups, len(sections), 2, _LANES), sections.dtype)
    tile = np.zeros((_ROWS, _LANES), sections.dtype)
    # The band-pass leaves nothing of a constant, so taking off the first row is the same as starting in the steady
    # state that belongs to it, and keeps large offsets out of the sums.
    first = traces[:1].copy()
    for start in range(0, samples, _ROWS):
        rows = traces[start : start + _ROWS]
        for group in range(groups):
            _take(rows, group * _LANES, first, tile)
            _scale(tile, gain)
            _run(tile, 0, len(rows), 1, sections, states[group])
            _put(rows, group * _LANES, tile)
    first[:] = 0
    states[:] = 0
    for stop in range(samples, 0, -_ROWS):
        rows = traces[max(stop - _ROWS, 0) : stop]
        for group in range(groups):
            _take(rows, group * _LANES, first, tile)
            _run(tile, len(rows) - 1, -1, -1, sections, states[group])
            _put(rows, group * _LANES, tile)


@numba.njit(nogil=True, cache=True)
def _take(rows, begin, offsets, tile):  # type: ignore[no-untyped-def]
    """Copy channels of the rows from `begin` on, as many as there are, into a tile, less their offsets."""
    lanes = min(rows.shape[1] - begin, _LANES)
    if lanes < _LANES:
        for t in range(len(rows)):
            for lane in range(lanes):
                tile[t, lane] = rows[t, begin + lane] - offsets[0, begin + lane]
        return
    offset = load(offsets, 0, begin, _LANES)
    for t in range(len(rows)):
        store(tile, t, 0, load(rows, t, begin, _LANES) + -offset)


@numba.njit(nogil=True, cache=True)
def _scale(tile, gain):  # type: ignore[no-untyped-def]
    gains = splat(gain, _LANES)
    for t in range(len(tile)):
        store(tile, t, 0, load(tile, t, 0, _LANES) * gains)


@numba.njit(nogil=True, cache=True)
def _put(rows, begin, tile):  # type: ignore[no-untyped-def]
    """Copy the channels back."""
    lanes = min(rows.shape[1] - begin, _LANES)
    if lanes < _LANES:
        rows[:, begin : begin + lanes] = tile[: len(rows), :lanes]
        return
    for t in range(len(rows)):
        store(rows, t, begin, load(tile, t, 0, _LANES))


@numba.njit(nogil=True, cache=True)
def _run(tile, first, end, step, sections, states):  # type: ignore[no-untyped-def]
    for index in range(len(sections)):
        _section(tile, first, end, step, sections[index], states[index])


@numba.njit(nogil=True, cache=True)
def _section(rows, first, end, step, section, state):  # type: ignore[no-untyped-def]
    """One section over some rows in place; transposed direct form II."""
    a1, a2 = splat(-section[0], _LANES), splat(-section[1], _LANES)
    s0, s1 = load(state, 0, 0, _LANES), load(state, 1, 0, _LANES)
    for t in range(first, end, step):
        before = load(rows, t, 0, _LANES)
        after = before + s0
        s0 = fma(a1, after, s1)
        s1 = fma(a2, after, -before)
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
