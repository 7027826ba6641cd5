"""Phase shift: lines up channels that a converter samples one after the other.

A probe has fewer converters than channels, so within one sample of the file channels are up to a sample apart: what
reaches all contacts at once stands in different places. Each trace is delayed by the fraction of a sample that its
channel comes late, as `phase_shift` of SpikeInterface 0.105.3 does with a Fourier transform of the whole chunk.

Here the delay is a finite filter, a sinc in a Kaiser window that is centred on the delay (Laakso et al., Splitting the
unit delay, IEEE Signal Processing Magazine 1996), whose results don't depend on where a block begins. With 16 taps the
error is below 0.01 % of the amplitude up to 0.3 of the sampling frequency (9 kHz of 30 kHz), and 0.1 % at a third of
it; the highest frequencies are weakened, as a delay by half a sample must. After a band-pass to 6 kHz nothing is left
of that.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from driftcli import model
from driftcli.vectors import fma, load, splat, store  # digest fd8ed755d3e7

_TAPS = 16
_AHEAD = _TAPS // 2 - 1  # samples after the present one that are summed; one more lies before it
_CARRIED = _TAPS - 1  # rows that a tile shares with the next one
_BETA = 9.0  # of the Kaiser window: more is closer in the band, less reaches further up
_LANES = 64  # channels of a tile
_ROWS = 64  # rows of a tile
_PART = 16  # channels that are summed together, in four rows at once, which is what fits into the registers


class Parameters(model.Parameters):
    """The phase shift has no parameters: the recording knows when its channels were sampled."""


class Step:
    """Phase shift of blocks of traces.

    margin_samples: rows at either end of a block that are not right.
    """

    margin_samples = _TAPS // 2

    def __init__(self, parameters: Parameters, sample_shifts: NDArray[np.float64]) -> None:
        """sample_shifts: (C,) how late each contact was sampled, as a fraction of a sample, 0 <= shift < 1."""
        self._taps = _lanes_of(_delays(sample_shifts))

    def __call__(self, traces: NDArray[np.float32]) -> NDArray[np.float32]:
        """Shift C-contiguous traces (S, C) in place and return them. The signal counts as constant beyond the block."""
        if traces.size:
            _shift(traces, self._taps)
        return traces


def _delays(shifts: NDArray[np.float64]) -> NDArray[np.float64]:
    """(C, _TAPS) weights of the samples from _TAPS / 2 before the present one to _AHEAD after it; each sums to 1."""
    distance = np.arange(_TAPS // 2, -_AHEAD - 1, -1) - shifts[:, np.newaxis]
    weights = np.sinc(distance) * np.i0(_BETA * np.sqrt(1 - (distance / (_TAPS // 2)) ** 2))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float64)


def _lanes_of(taps: NDArray[np.float64]) -> NDArray[np.float32]:
    """(C, _TAPS) taps as (groups, _TAPS, _LANES), in groups of so many channels; missing ones get zeros."""
    groups = -(-len(taps) // _LANES)
    padded = np.zeros((groups * _LANES, _TAPS), np.float32)
    padded[: len(taps)] = taps
    return np.ascontiguousarray(padded.reshape(groups, _LANES, _TAPS).transpose(0, 2, 1))


@numba.njit(nogil=True, cache=True)
def _shift(traces, taps):  # type: ignore[no-untyped-def]
    """Shift traces (S, C) in place, tile by tile. A tile begins with rows that the one before has overwritten."""
    carried = np.zeros((len(taps), _CARRIED, _LANES), np.float32)
    tile = np.zeros((_CARRIED + _ROWS, _LANES), np.float32)
    for group in range(len(taps)):
        _take(traces, -_TAPS // 2, _CARRIED, group * _LANES, carried[group], 0)
    for start in range(0, len(traces), _ROWS):
        rows = min(len(traces) - start, _ROWS)
        for group in range(len(taps)):
            _copy(carried[group], 0, tile)
            _take(traces, start + _AHEAD, rows, group * _LANES, tile, _CARRIED)
            _sum(tile, rows, taps[group])
            _copy(tile, rows, carried[group])
            _put(traces, start, rows, group * _LANES, tile)


@numba.njit(nogil=True, cache=True)
def _take(traces, start, rows, begin, tile, at):  # type: ignore[no-untyped-def]
    """Copy rows from `start` on of the channels from `begin` on to the rows of the tile from `at` on."""
    lanes, last = min(traces.shape[1] - begin, _LANES), len(traces) - 1
    for t in range(rows):
        row = min(max(start + t, 0), last)
        if lanes == _LANES:
            store(tile, at + t, 0, load(traces, row, begin, _LANES))
        else:
            tile[at + t, :lanes] = traces[row, begin : begin + lanes]


@numba.njit(nogil=True, cache=True)
def _put(traces, start, rows, begin, tile):  # type: ignore[no-untyped-def]
    """Copy the first rows of the tile back."""
    lanes = min(traces.shape[1] - begin, _LANES)
    for t in range(rows):
        if lanes == _LANES:
            store(traces, start + t, begin, load(tile, t, 0, _LANES))
        else:
            traces[start + t, begin : begin + lanes] = tile[t, :lanes]


@numba.njit(nogil=True, cache=True)
def _copy(source, first, target):  # type: ignore[no-untyped-def]
    """The _CARRIED rows from `first` on, to the first rows of the target."""
    for t in range(_CARRIED):
        store(target, t, 0, load(source, first + t, 0, _LANES))


@numba.njit(nogil=True, cache=True)
def _sum(tile, rows, taps):  # type: ignore[no-untyped-def]
    """Each of the first rows becomes the sum of itself and the next ones, times the taps.

    Four rows at a time share the taps. Rows beyond `rows` are filled too where the number is odd: the last tile's only,
    after which nothing is read.
    """
    for part in range(0, _LANES, _PART):
        for t in range(0, rows, 4):
            s0 = s1 = s2 = s3 = splat(np.float32(0), _PART)
            for k in range(_TAPS):
                tap = load(taps, k, part, _PART)
                s0 = fma(tap, load(tile, t + k, part, _PART), s0)
                s1 = fma(tap, load(tile, t + k + 1, part, _PART), s1)
                s2 = fma(tap, load(tile, t + k + 2, part, _PART), s2)
                s3 = fma(tap, load(tile, t + k + 3, part, _PART), s3)
            store(tile, t, part, s0)
            store(tile, t + 1, part, s1)
            store(tile, t + 2, part, s2)
            store(tile, t + 3, part, s3)
