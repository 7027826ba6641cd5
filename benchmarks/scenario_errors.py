"""How far a motion is from the truth, at all times and depths, and how well it lines up each unit's peaks."""

from typing import NamedTuple

import numpy as np

from driftcli.model import Motion
from driftcli.simulate.truth import Truth

STEP_S, STEP_UM = 0.1, 20.0  # of the grid on which the error is taken
BURST_UM = 5.0
JUMP_UM_PER_S, NEAR_JUMP_S = 10.0, 2.0  # bins of a second or two can't follow a jump of the tissue right there
SPIKE_SAMPLES, SPIKE_UM = 15, 50.0  # within which a peak is of a spike
FEWEST_PEAKS = 50  # of a unit whose spread counts


class Errors(NamedTuple):
    """Absolute errors: error_um (S, D) is the mean of each second at each depth, largest_um (S,) the largest one.

    near_jump: (S,) seconds that are too near to a jump of the tissue to say what a burst of error is.
    """

    depths_um: np.ndarray
    error_um: np.ndarray
    largest_um: np.ndarray
    near_jump: np.ndarray
    numbers: dict[str, float]


def errors_of(motion: Motion, truth: Motion, span_um: tuple[float, float], seconds: int) -> Errors:
    """Less the median difference, as drift has no absolute zero. `bursts` counts stretches above `BURST_UM`."""
    times_s = STEP_S * (np.arange(round(seconds / STEP_S)) + 0.5)[:, None]
    depths_um = np.arange(span_um[0], span_um[1] + 1, STEP_UM)
    true_um = truth.at(times_s, depths_um)
    difference_um = motion.at(times_s, depths_um) - true_um
    error_um = np.abs(difference_um - np.median(difference_um))
    by_second = error_um.reshape(seconds, -1, len(depths_um))
    largest_um, near_jump = by_second.max(axis=(1, 2)), near_jumps(true_um, seconds)
    burst = (largest_um > BURST_UM) & ~near_jump
    numbers = {
        "mean_um": float(error_um.mean()),
        "p95_um": float(np.percentile(error_um, 95)),
        "max_um": float(error_um.max()),
        "bursts": int(np.count_nonzero(np.diff(burst.astype(int), prepend=0) > 0)),
        "burst_s": int(burst.sum()),
    }
    return Errors(depths_um, by_second.mean(axis=1), largest_um, near_jump, numbers)


def near_jumps(true_um: np.ndarray, seconds: int) -> np.ndarray:
    jumping = np.abs(np.diff(true_um, axis=0, prepend=true_um[:1])).max(axis=1) > JUMP_UM_PER_S * STEP_S
    around = np.ones(2 * round(NEAR_JUMP_S / STEP_S) + 1)
    return np.convolve(jumping, around, "same").reshape(seconds, -1).any(axis=1)


def units_of(sample: np.ndarray, depth_um: np.ndarray, truth: Truth, rate_hz: float) -> np.ndarray:
    """The unit whose spike each peak is, -1 for none: of the spikes at that time the nearest in depth."""
    spike_um = truth.unit_positions_um[truth.spike_unit, 1]
    spike_um = spike_um + truth.motion.at(truth.spike_sample / rate_hz, spike_um)
    first, last = (np.searchsorted(truth.spike_sample, sample + side) for side in (-SPIKE_SAMPLES, SPIKE_SAMPLES + 1))
    unit, nearest_um = np.full(len(sample), -1), np.full(len(sample), SPIKE_UM)
    for place in range(int((last - first).max(initial=0))):
        spike = np.minimum(first + place, len(spike_um) - 1)
        distance_um = np.abs(spike_um[spike] - depth_um)
        nearer = (first + place < last) & (distance_um < nearest_um)
        unit[nearer], nearest_um[nearer] = truth.spike_unit[spike[nearer]], distance_um[nearer]
    return unit


def spread_um(unit: np.ndarray, corrected_um: np.ndarray) -> float:
    """Spread of the corrected depths of a unit's peaks (1.48 times their median distance from their median): the
    median over units."""
    spreads = []
    for each in np.flatnonzero(np.bincount(unit[unit >= 0]) >= FEWEST_PEAKS):
        its_um = corrected_um[unit == each]
        spreads.append(1.4826 * np.median(np.abs(its_um - np.median(its_um))))
    return float(np.median(spreads)) if spreads else np.nan
