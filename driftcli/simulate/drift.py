"""How the tissue moves: the displacement over time, and how much of it there is at each depth."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from driftcli.model import Motion

_STEP_S = 0.05  # between two points of the truth, with straight lines between them
_JUMP_S = 0.5  # that a bump takes
_JUMP_PERIODS = 0.3  # at most, and
_JUMP_SHARE = 0.9  # of the shortest time to the next bump: it must be over by then
_SMOOTHING_S = 0.5  # of the random walk

Times = NDArray[np.float64]


def make_motion(
    drift: str,
    drift_um: float,
    period_s: float,
    bump_jitter: float,
    gradient: float,
    span_s: tuple[float, float],
    span_um: tuple[float, float],
    rng: np.random.Generator,
) -> Motion:
    """Motion that is 0 up to `span_s[0]` and then drifts up to `span_s[1]`.

    bump_jitter: by which share of its average the time between two bumps differs from it at most.
    gradient: by which share the displacement is less at `span_um[1]` than at `span_um[0]`; straight between them.
    """
    start_s, end_s = span_s
    times_s = _STEP_S * np.arange(int(np.ceil(end_s / _STEP_S)) + 1, dtype=np.float64)
    shape = np.zeros(len(times_s))
    drifting = times_s >= start_s
    if drifting.any():
        shape[drifting] = _SHAPES[drift](times_s[drifting] - start_s, period_s, bump_jitter, rng)
    if gradient == 0 or span_um[0] == span_um[1]:
        return Motion(drift_um * shape[:, None], times_s, np.array([sum(span_um) / 2]))
    return Motion(drift_um * np.outer(shape, [1.0, 1.0 - gradient]), times_s, np.array(span_um, np.float64))


def _none(times_s: Times, period_s: float, bump_jitter: float, rng: np.random.Generator) -> Times:
    return np.zeros(len(times_s))


def _zigzag(times_s: Times, period_s: float, bump_jitter: float, rng: np.random.Generator) -> Times:
    """Up to 1/2, down to -1/2 and back within a period, at a constant speed."""
    return np.arcsin(np.sin(2 * np.pi * times_s / period_s)) / np.pi


def _bumps(times_s: Times, period_s: float, bump_jitter: float, rng: np.random.Generator) -> Times:
    """Jumps to and fro over the middle, to one level after another, after half a period each, give or take."""
    shortest, longest = 1 - bump_jitter, 1 + bump_jitter
    count = int(np.ceil(times_s[-1] / (shortest / 2 * period_s))) + 1
    intervals_s = period_s / 2 * rng.uniform(shortest, longest, count)
    jumps_s = np.cumsum(intervals_s) - (shortest - 0.1) * period_s / 2  # the first comes soon
    levels = np.concatenate([[0.0], rng.uniform(0.5, 1.0, count) * (-1.0) ** np.arange(count)])
    duration_s = min(_JUMP_S, _JUMP_PERIODS * period_s, _JUMP_SHARE * shortest / 2 * period_s)
    knots_s = np.column_stack([jumps_s, jumps_s + duration_s]).ravel()
    return _stretched(np.interp(times_s, knots_s, np.column_stack([levels[:-1], levels[1:]]).ravel()))


def _random_walk(times_s: Times, period_s: float, bump_jitter: float, rng: np.random.Generator) -> Times:
    """A walk that is drawn back to where it began, smoothed."""
    steps = rng.standard_normal(len(times_s))
    kept = np.exp(-_STEP_S / period_s)
    walk = np.zeros(len(times_s))
    for i in range(1, len(walk)):
        walk[i] = kept * walk[i - 1] + steps[i]
    walk = gaussian_filter1d(walk, _SMOOTHING_S / _STEP_S, mode="nearest")
    return _stretched(walk - walk[0])


def _stretched(displacement: Times) -> Times:
    """To a range of 1; what doesn't move stays still."""
    reach = float(np.ptp(displacement))
    return displacement / reach if reach > 0 else displacement


_SHAPES: dict[str, Callable[[Times, float, float, np.random.Generator], Times]] = {
    "none": _none,
    "zigzag": _zigzag,
    "bumps": _bumps,
    "random_walk": _random_walk,
}
