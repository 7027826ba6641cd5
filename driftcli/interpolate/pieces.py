"""The motion of one shank over time as pieces of constant displacement, each beginning at a fixed sample.

With `nearest_bin` a piece is a temporal bin, from halfway to the bin before it until halfway to the next one, or a run
of equal bins. With `linear` the motion moves on between bin centres, and a piece goes on for as long as one
displacement is within 0.25 µm of the motion at every depth; so a slow drift has few pieces, however finely it was
sampled. The same holds for `nearest_bin` where bins are shorter than any real one (see `driftcli.joining`).

At a step that stands between two bins a piece begins, at the first sample at or after it. Where pieces begin depends
on the motion and the sampling rate alone, never on how a recording is cut into chunks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from driftcli.joining import join
from driftcli.model import Motion, TimeLookup

TOLERANCE_UM = 0.25


@dataclass(frozen=True)
class Pieces:
    """Pieces in order of time; the first begins at sample 0, the last goes on to the end.

    starts: (P,) int64, the first sample of each piece.
    displacement_um: (P, W) float64, per spatial window.
    still: (P,) bool, whether the motion itself is zero in every window and sample of the piece.
    spatial_bins_um: (W,) float64, centres of the windows.
    """

    starts: NDArray[np.int64]
    displacement_um: NDArray[np.float64]
    still: NDArray[np.bool_]
    spatial_bins_um: NDArray[np.float64]

    def overlapping(self, start_sample: int, stop_sample: int) -> range:
        """Indices of the pieces that hold any of these samples."""
        first = int(np.searchsorted(self.starts, start_sample, side="right")) - 1
        return range(first, int(np.searchsorted(self.starts, stop_sample, side="left")))

    def displacement_at(self, piece: int, depths_um: NDArray[np.float64]) -> NDArray[np.float64]:
        """(C,) displacement of a piece at each depth in µm."""
        constant = Motion(self.displacement_um[piece : piece + 1], np.zeros(1), self.spatial_bins_um)
        return constant.at(0.0, depths_um)


def cut(motion: Motion, time: TimeLookup, sampling_frequency_hz: float, num_samples: int) -> Pieces:
    """Cut a motion into the pieces of a recording of `num_samples`; sample n is at n / sampling_frequency_hz."""
    if time == "nearest_bin":
        runs = join(motion.displacement_um, motion.temporal_bins_s, motion.parted, TOLERANCE_UM)
        starts = _first_samples_at(motion.temporal_edges_s[runs.first[1:] - 1], sampling_frequency_hz)
        starts = np.concatenate([np.zeros(1, np.int64), starts])
        displacement, still = runs.displacement_um, runs.still
    else:
        bounds_s, displacement, still = _cut_linear(*_knots(motion, num_samples / sampling_frequency_hz))
        starts = _first_samples_at(bounds_s, sampling_frequency_hz)
    starts = np.maximum(starts, 0)
    # of pieces that begin at the same sample only the last one holds any
    kept = np.append(starts[1:] > starts[:-1], True) & (starts < max(num_samples, 1))
    return Pieces(starts[kept], displacement[kept], still[kept], motion.spatial_bins_um)


def _first_samples_at(times_s: NDArray[np.float64], sampling_frequency_hz: float) -> NDArray[np.int64]:
    """The first sample at or after each time, exact also where time * rate is rounded."""
    samples = np.rint(times_s * sampling_frequency_hz).astype(np.int64) - 2
    for _ in range(4):
        samples += samples / sampling_frequency_hz < times_s
    return samples


def _knots(motion: Motion, duration_s: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Times between which the motion is linear and its displacements there, the outer ones before and after everything.

    A step between two bins is the same time twice: with the displacement of the bin before it and of the one after.
    """
    centres, parted = motion.temporal_bins_s, np.flatnonzero(motion.parted)
    places = np.repeat(parted + 1, 2)
    times = np.insert(centres, places, np.repeat(motion.temporal_edges_s[parted], 2))
    bins = np.insert(np.arange(len(centres)), places, np.column_stack([parted, parted + 1]).ravel())
    times = np.concatenate([[min(centres[0], 0) - 1], times, [max(centres[-1], duration_s) + 1]])
    return times, motion.displacement_um[np.pad(bins, 1, mode="edge")]


def _cut_linear(
    times_s: NDArray[np.float64], displacement_um: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Times at which the pieces of a piecewise linear motion begin, their displacements (P, W), whether still."""
    # a piece ends after a window went twice the tolerance, at a step, or where standing still begins or ends
    travel = np.abs(np.diff(displacement_um, axis=0)).max(axis=1).sum()
    most = int(travel / (2 * TOLERANCE_UM)) + 2 * len(times_s)
    bounds, middle, still = (np.empty(most), np.empty((most, displacement_um.shape[1])), np.empty(most, np.bool_))
    count = _follow(times_s, displacement_um, 2 * TOLERANCE_UM, bounds, middle, still)
    return bounds[:count].copy(), middle[:count].copy(), still[:count].copy()


@numba.njit(nogil=True, cache=True)
def _follow(times_s, displacement_um, widest_um, bounds_s, middle_um, still):  # type: ignore[no-untyped-def]
    """Fill in the pieces' beginnings, middles of the range of each window and stillness; give their number."""
    num_windows = displacement_um.shape[1]
    low, high = displacement_um[0].copy(), displacement_um[0].copy()
    count = 0
    bounds_s[0] = times_s[0]
    still[0] = _both_zero(displacement_um, 0)
    for segment in range(len(times_s) - 1):
        before, after = displacement_um[segment], displacement_um[segment + 1]
        if times_s[segment] == times_s[segment + 1]:  # a step, with another segment behind it
            middle_um[count] = (low + high) / 2
            count += 1
            bounds_s[count] = times_s[segment]
            still[count] = _both_zero(displacement_um, segment + 1)
            low[:], high[:] = after, after
            continue
        if _both_zero(displacement_um, segment) != still[count]:
            middle_um[count] = (low + high) / 2
            count += 1
            bounds_s[count] = times_s[segment]
            still[count] = not still[count - 1]
            low[:], high[:] = before, before
        while True:
            # the share of the segment at which the first window leaves its widest range
            share = 1.0
            for window in range(num_windows):
                step = after[window] - before[window]
                room = low[window] + widest_um - before[window]
                if step < 0:
                    room = high[window] - widest_um - before[window]
                if abs(step) > abs(room):
                    share = min(share, max(room / step, 0.0))
            reached = before + share * (after - before)
            # rounding must not carry it past the motion's own values: a contact on the border would step outside
            reached = np.maximum(np.minimum(reached, np.maximum(before, after)), np.minimum(before, after))
            low, high = np.minimum(low, reached), np.maximum(high, reached)
            if share == 1.0:
                break
            middle_um[count] = (low + high) / 2
            count += 1
            bounds_s[count] = times_s[segment] + share * (times_s[segment + 1] - times_s[segment])
            still[count] = False
            low[:], high[:] = reached, reached
    middle_um[count] = (low + high) / 2
    return count + 1


@numba.njit(nogil=True, cache=True)
def _both_zero(displacement_um, segment):  # type: ignore[no-untyped-def]
    return not (displacement_um[segment].any() or displacement_um[segment + 1].any())
