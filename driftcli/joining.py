"""Neighbouring bins of a motion taken as one: a motion sampled at any rate is as many runs as it takes to follow it.

Bins that are exactly equal are one run, always. Short bins, which no estimate makes, are one run as well for as long
as one displacement is within a tolerance of all of theirs, in every window; so a slow motion has few runs however
finely it was sampled. No run crosses a step, and none mixes bins in which the motion is zero with others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

# Estimates have bins of 0.1 s and more: in less, a shank has too few spikes to tell where it is. Shorter ones come from
# other sensors or are made up between estimated ones.
SHORT_BIN_S = 0.05


@dataclass(frozen=True)
class Runs:
    """Runs of neighbouring bins, in order.

    first, last: (R,) int64, the first and the last bin of each.
    displacement_um: (R, W) float64, per window the middle of the range of its bins; of equal bins exactly theirs.
    still: (R,) bool, whether the motion is zero in every window and bin of the run.
    """

    first: NDArray[np.int64]
    last: NDArray[np.int64]
    displacement_um: NDArray[np.float64]
    still: NDArray[np.bool_]


def join(
    displacement_um: NDArray[np.float64],
    temporal_bins_s: NDArray[np.float64],
    parted: NDArray[np.bool_],
    tolerance_um: float,
) -> Runs:
    """Join the bins of a motion into runs, from the first bin on, each as long as it can be.

    The arrays are those of a `Motion`: displacement_um (T, W), temporal_bins_s (T,), parted (T - 1,).
    """
    num_bins, num_windows = displacement_um.shape
    first, middle_um, still = (
        np.empty(num_bins, np.int64),
        np.empty((num_bins, num_windows)),
        np.empty(num_bins, bool),
    )
    count = _join(displacement_um, _short(temporal_bins_s), parted, 2 * tolerance_um, first, middle_um, still)
    first = first[:count].copy()
    return Runs(first, np.append(first[1:], num_bins) - 1, middle_um[:count].copy(), still[:count].copy())


def _short(temporal_bins_s: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(T,) which bins are shorter than any real one; the outer ones are as long as the distance to the next centre."""
    if len(temporal_bins_s) == 1:
        return np.zeros(1, bool)
    distances_s = np.pad(np.diff(temporal_bins_s), 1, mode="edge")
    return (distances_s[1:] + distances_s[:-1]) / 2 < SHORT_BIN_S


@numba.njit(nogil=True, cache=True)
def _join(displacement_um, short, parted, widest_um, first, middle_um, still):  # type: ignore[no-untyped-def]
    """Fill in the first bins, middles and stillness of the runs; give their number."""
    num_bins, num_windows = displacement_um.shape
    low, high = displacement_um[0].copy(), displacement_um[0].copy()
    count, only_short = 0, short[0]
    first[0], still[0] = 0, not low.any()
    for index in range(1, num_bins):
        equal, within, zero = True, only_short and short[index], True
        for window in range(num_windows):
            value = displacement_um[index, window]
            equal = equal and low[window] == value and high[window] == value
            within = within and max(high[window], value) - min(low[window], value) <= widest_um
            zero = zero and value == 0
        within = within and not zero and not still[count]
        if parted[index - 1] or not (equal or within):
            middle_um[count] = (low + high) / 2
            count += 1
            first[count], still[count], only_short = index, zero, short[index]
            low[:], high[:] = displacement_um[index], displacement_um[index]
        else:
            only_short = only_short and short[index]
            low, high = np.minimum(low, displacement_um[index]), np.maximum(high, displacement_um[index])
    middle_um[count] = (low + high) / 2
    return count + 1
