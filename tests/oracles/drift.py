"""Peaks of a drifting shank whose displacement is known, as plain arrays."""

import numpy as np


def truth_um(time_s, depth_um, span_um):
    """Displacement at a time and depth: a slow wave and a step, the top of the shank moves half as much as the tip."""
    return (10 * np.sin(time_s / 5) + 6 * (time_s > 23)) * (1 - 0.5 * depth_um / span_um)


def peaks(duration_s=40.0, span_um=800.0, count=12_000, gap_s=(0.0, 0.0), seed=3):
    """time_s (sorted), depth_um, amplitude of `count` peaks of 60 units, none within `gap_s`."""
    rng = np.random.default_rng(seed)
    unit_depth, unit_amplitude = rng.uniform(0, span_um, 60), rng.uniform(40, 200, 60)
    time_s = np.sort(rng.uniform(0, duration_s, count))
    unit = rng.integers(0, 60, count)
    depth = unit_depth[unit] + truth_um(time_s, unit_depth[unit], span_um) + rng.normal(0, 4, count)
    amplitude = -unit_amplitude[unit] * rng.normal(1, 0.1, count)
    kept = (time_s < gap_s[0]) | (time_s >= gap_s[1])
    return time_s[kept], depth[kept], amplitude[kept]


def mean_error_um(displacement_um, temporal_bins_s, spatial_bins_um, span_um):
    """Mean absolute difference from the truth at the bins' centres, less the median difference."""
    true = truth_um(np.asarray(temporal_bins_s)[:, None], np.asarray(spatial_bins_um)[None], span_um)
    error = displacement_um - true
    return float(np.abs(error - np.median(error)).mean())


def lost_truth_um(time_s, depth_um):
    """A jump by 70 µm at the tip, and a fifth of that at the top of 800 µm."""
    return -70.0 * (time_s >= 22) * (1 - depth_um / 1000)


def lost_peaks(seed=0):
    """The same for 40 s of 24 units that move by `lost_truth_um`, while rates rise and fall 37-fold: of some seeds a
    coarse motion has all that follows the jump in a wrong place."""
    rng = np.random.default_rng(seed)
    unit_depth, unit_size = rng.uniform(0, 800, 24), np.exp(rng.normal(4.3, 0.5, 24))
    time_s, unit = np.sort(rng.uniform(0, 40, 12_000)), rng.integers(0, 24, 12_000)
    phase = rng.uniform(0, 2 * np.pi, 8)[(unit_depth / 150).astype(int)][unit] + 2 * np.pi * time_s / 60
    fires = rng.uniform(size=len(time_s)) < 37 ** ((np.sin(phase) - 1) / 2)
    time_s, unit = time_s[fires], unit[fires]
    depth = unit_depth[unit] + lost_truth_um(time_s, unit_depth[unit]) + rng.normal(0, 2, len(time_s))
    return time_s, depth, -unit_size[unit] * np.exp(rng.normal(0, 0.08, len(time_s)))
