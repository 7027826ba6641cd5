"""Two halves of the peaks, and what their motions say of that of all of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from driftcli.model import DepthPeaks, Motion

_SEED = 0  # of the draw: the same peaks have the same halves
_ROWS = 1 << 20
_AROUND_S = 10.0  # over which differences of halves are averaged: that of a single bin is one draw of its error


def in_first_half(n_peaks: int) -> NDArray[np.bool_]:
    """(N,) which peaks are of the first half, drawn one by one."""
    return np.random.Generator(np.random.PCG64(_SEED)).random(n_peaks) < 0.5


def some(peaks: DepthPeaks, which: NDArray[np.bool_]) -> DepthPeaks:
    """Those of the peaks that are flagged."""
    return DepthPeaks(peaks.time_s[which], peaks.depth_um[which], peaks.amplitude[which])


def corrected(peaks: DepthPeaks, motion: Motion) -> DepthPeaks:
    """The peaks at their depths less the displacement there and then."""
    depth_um = np.empty(len(peaks))
    for start in range(0, len(peaks), _ROWS):  # a lookup takes several times what it gives
        rows = slice(start, start + _ROWS)
        depth_um[rows] = peaks.depth_um[rows] - motion.at(peaks.time_s[rows], peaks.depth_um[rows])
    return DepthPeaks(peaks.time_s, depth_um, peaks.amplitude)


def corrected_by_the_other_half(peaks: DepthPeaks, halves: tuple[Motion, Motion]) -> DepthPeaks:
    """Each half of the peaks, corrected by the motion of the other half, which knows nothing of it.

    The two motions are first brought to the same zero: what they differ by all the time is no error of either.
    """
    first = in_first_half(len(peaks))
    offset_um = np.median(difference(*halves))
    depth_um = corrected(peaks, halves[0]).depth_um
    np.copyto(depth_um, corrected(peaks, halves[1]).depth_um - offset_um, where=first)
    return DepthPeaks(peaks.time_s, depth_um, peaks.amplitude)


def on_bins_of(motion: Motion, other: Motion) -> NDArray[np.float64]:
    """(T, W) the displacements of another motion at the bins of `motion`."""
    return other.at(motion.temporal_bins_s[:, None], motion.spatial_bins_um)


def difference(motion: Motion, other: Motion) -> NDArray[np.float64]:
    """(T, W) how much larger a motion is than another one, at the bins of the first."""
    return motion.displacement_um - on_bins_of(motion, other)


def split_half_um(motion: Motion, halves: tuple[Motion, Motion]) -> NDArray[np.float64]:
    """(T, W) difference of the motions of two halves at the bins of `motion`, their median difference taken off."""
    first, second = (on_bins_of(motion, half) for half in halves)
    return centred(first - second)


def expected_error_um(
    motion: Motion, halves: tuple[Motion, Motion], residual_um: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(T, W) expected error of a motion at its bins, as a standard deviation.

    If the errors of two halves are independent, and each has twice the variance of the whole's, half the difference
    of theirs varies as the whole's does. What the motion differs from the mean of both, and what is still found in the
    corrected peaks (`residual_um`), comes on top. Squares are averaged over some seconds around each bin.
    """
    middle = (on_bins_of(motion, halves[0]) + on_bins_of(motion, halves[1])) / 2
    squares = (split_half_um(motion, halves) / 2) ** 2
    squares += centred(motion.displacement_um - middle) ** 2 + residual_um**2
    bin_s = float(np.median(np.diff(motion.temporal_bins_s))) if len(squares) > 1 else _AROUND_S
    averaged = uniform_filter1d(squares, max(round(_AROUND_S / bin_s), 1) | 1, axis=0, mode="nearest")
    return np.sqrt(np.maximum(averaged, 0.0))  # its running sums may end a rounding below 0


def centred(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values less their median: drift has no absolute zero."""
    return values - np.median(values)
