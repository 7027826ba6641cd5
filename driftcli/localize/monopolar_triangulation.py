"""Position of the point source whose 1/distance decay fits a peak's amplitudes best.

Boussard, Varol, Lee, Dethe, Paninski 2021, "Three-dimensional spike localization and improved motion correction for
Neuropixels recordings"; mirrors `monopolar_triangulation` of SpikeInterface 0.105.3 with its default optimizer. With
w the amplitudes on the n contacts around the peak's divided by their maximum, q = 1 / distance to (x, y, z) and
alpha = sum(q w) / sum(q q), the position minimizes

    mean((w - alpha q) ** 2) - log(1 + 10 z) / 10000

within max_distance_um of the centre of mass in x and y, and 1 <= z <= 10 max_distance_um; it starts at the centre of
mass and z = 20. The minimum is found by Gauss-Newton steps with Levenberg-Marquardt damping, alpha projected out, and
is tighter than the peer's, which stops where the gradient falls below 1e-5.

With enforce_decrease the amplitudes are lowered before the fit. The peer computes the lowered amplitudes as well, but
discards them and fits the others: to get its positions, set enforce_decrease to false.

Where there is nothing to fit (one contact in reach, no amplitude, NaN or infinity), the location is that of the
peak's contact, with z = 0 and alpha = 0, which no fit gives.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from driftcli import model
from driftcli.localize import waveforms

_START_Z_UM, _LEAST_Z_UM = 20.0, 1.0
_LOG_SLOPE, _LOG_WEIGHT = 10.0, 1e-4
_MOST_STEPS = 100
# with less, rounding would push x along a probe of one column, where no residual depends on it
_LEAST_DAMPING = 1e-7
_SHORTEST_STEP_UM = 1e-3
_PARENT_RINGS = 3


class Parameters(waveforms.Parameters):
    """radius_um: contacts within this distance of the peak's contact, on its shank, take part.
    max_distance_um: how far from the centre of mass the source may be in x and y; ten times that in z.
    feature: amplitude of a contact: peak-to-peak, energy (L2 norm), or |voltage| at the peak.
    enforce_decrease: lower amplitudes that are larger than those of the contacts between them and the peak's contact.
    """

    radius_um: float = Field(default=75.0, ge=0)
    max_distance_um: float = Field(default=150.0, gt=_LEAST_Z_UM / 10)
    feature: Literal["ptp", "energy", "peak_voltage"] = "ptp"
    enforce_decrease: bool = True


class _Rules(NamedTuple):
    """Which amplitudes may not exceed which, for a peak on each contact; places count within a contact's neighbours.

    For contact c, in this order: rule r in starts[c]:starts[c + 1] says that the amplitude at place targets[r] is not
    more than the largest one at the places parents[parent_starts[r]:parent_starts[r + 1]].
    """

    starts: NDArray[np.int64]
    targets: NDArray[np.int64]
    parent_starts: NDArray[np.int64]
    parents: NDArray[np.int64]


class Localizer:
    """Localizes peaks in blocks of traces. margin_samples: rows needed on each side of the peaks."""

    columns = ("x_um", "y_um", "z_um", "alpha")

    def __init__(self, parameters: Parameters, geometry: model.Geometry, sampling_frequency_hz: float) -> None:
        self._span = waveforms.Span.of(parameters, sampling_frequency_hz)
        self._feature = waveforms.FEATURES[parameters.feature]
        self._positions = geometry.positions_um
        self._near = geometry.neighbours(parameters.radius_um)
        self._rules = _radial_rules(geometry, *self._near) if parameters.enforce_decrease else _rules(len(geometry), [])
        self._max_distance = parameters.max_distance_um
        self.margin_samples = self._span.margin_samples

    def __call__(
        self, traces: NDArray[np.float32], rows: NDArray[np.int64], channels: NDArray[np.int32]
    ) -> NDArray[np.float32]:
        """(N, 4) x, y, z in µm and alpha (amplitude unit times µm) of the peaks at `rows` and `channels` of `traces`
        (samples, channels)."""
        span = self._span
        values = waveforms.features(traces, rows, channels, span.before, span.after, self._feature, *self._near)
        return _locate(values, channels, self._near, self._rules, self._positions, self._max_distance)


def _radial_rules(geometry: model.Geometry, starts: NDArray[np.int64], contacts: NDArray[np.int64]) -> _Rules:
    """Rules from the rings of equal distance around each contact.

    From the second ring on, a contact's parents are those of its own three nearest rings that lie in rings further
    inside.
    """
    difference = geometry.positions_um[:, None] - geometry.positions_um[None]
    # rounded, so that equal distances in different directions make one ring
    distance = np.round(np.sqrt((difference**2).sum(axis=2)), 6)
    distance[geometry.shanks[:, None] != geometry.shanks[None]] = np.inf
    reach = [np.unique(row[np.isfinite(row)])[: _PARENT_RINGS + 1][-1] for row in distance]
    rules = []
    for contact in range(len(geometry)):
        near = contacts[starts[contact] : starts[contact + 1]]
        ring = np.unique(distance[contact, near], return_inverse=True)[1]
        for target in np.argsort(ring, kind="stable"):
            inner = (ring < ring[target]) & (distance[near[target], near] <= reach[near[target]])
            if ring[target] >= 2 and inner.any():
                rules.append((contact, int(target), np.flatnonzero(inner)))
    return _rules(len(geometry), rules)


def _rules(n_contacts: int, rules: list[tuple[int, int, NDArray[np.int64]]]) -> _Rules:
    counts = np.bincount([contact for contact, _, _ in rules], minlength=n_contacts) if rules else np.zeros(n_contacts)
    parents = [parents for _, _, parents in rules]
    return _Rules(
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        np.array([target for _, target, _ in rules], dtype=np.int64),
        np.cumsum([0, *(len(p) for p in parents)], dtype=np.int64),
        np.concatenate([np.zeros(0, np.int64), *parents]).astype(np.int64),
    )


@numba.njit(nogil=True, cache=True)
def _locate(values, channels, near, rules, positions, max_distance):  # type: ignore[no-untyped-def]
    starts, contacts = near
    located = np.zeros((channels.size, 4), np.float32)
    first = 0
    for i in range(channels.size):
        channel = channels[i]
        here = contacts[starts[channel] : starts[channel + 1]]
        amplitudes = np.abs(values[first : first + here.size])
        first += here.size
        _decrease(amplitudes, channel, rules)
        largest = amplitudes.max()
        located[i, 0], located[i, 1] = positions[channel, 0], positions[channel, 1]
        if here.size > 1 and np.isfinite(amplitudes.sum()) and largest > 0:
            at, alpha = _fit(amplitudes / largest, positions[here], max_distance)
            located[i, 0], located[i, 1], located[i, 2], located[i, 3] = at[0], at[1], at[2], alpha * largest
    return located


@numba.njit(nogil=True, cache=True)
def _decrease(amplitudes, channel, rules):  # type: ignore[no-untyped-def]
    for r in range(rules.starts[channel], rules.starts[channel + 1]):
        most = amplitudes[rules.parents[rules.parent_starts[r] : rules.parent_starts[r + 1]]].max()
        amplitudes[rules.targets[r]] = min(amplitudes[rules.targets[r]], most)


@numba.njit(nogil=True, cache=True)
def _fit(amplitudes, places, max_distance):  # type: ignore[no-untyped-def]
    """Position (3,) and alpha that minimize the objective for amplitudes (n,) with maximum 1 at places (n, 2)."""
    centre = np.array([(amplitudes * places[:, 0]).sum(), (amplitudes * places[:, 1]).sum()]) / amplitudes.sum()
    at = np.array([centre[0], centre[1], _START_Z_UM])
    low = np.array([centre[0] - max_distance, centre[1] - max_distance, _LEAST_Z_UM])
    high = np.array([centre[0] + max_distance, centre[1] + max_distance, 10 * max_distance])
    at[2] = min(at[2], high[2])
    gradient, curvature, step = np.empty(3), np.empty((3, 3)), np.empty(3)
    ahead_gradient, ahead_curvature = np.empty(3), np.empty((3, 3))
    value, alpha = _objective(at, amplitudes, places, gradient, curvature)
    damping = 1e-3
    for _ in range(_MOST_STEPS):
        _damped_step(at, gradient, curvature, damping, low, high, step)
        ahead = np.minimum(np.maximum(at + step, low), high)
        length = np.abs(ahead - at).max()
        ahead_value, ahead_alpha = _objective(ahead, amplitudes, places, ahead_gradient, ahead_curvature)
        if ahead_value <= value:
            at, value, alpha = ahead, ahead_value, ahead_alpha
            gradient, ahead_gradient = ahead_gradient, gradient
            curvature, ahead_curvature = ahead_curvature, curvature
            damping = max(0.2 * damping, _LEAST_DAMPING)
        else:
            damping *= 5
        if length < _SHORTEST_STEP_UM:
            break
    return at, alpha


@numba.njit(nogil=True, cache=True)
def _objective(at, amplitudes, places, gradient, curvature):  # type: ignore[no-untyped-def]
    """Value of the objective and alpha at a position; writes the gradient (3,) and Gauss-Newton's curvature (3, 3).

    As alpha is the best one, the gradient is that at fixed alpha; the curvature is that of the residuals with the
    part along q, which alpha takes up, projected out.
    """
    n = amplitudes.size
    product = norm = 0.0
    for k in range(n):
        distance2 = (at[0] - places[k, 0]) ** 2 + (at[1] - places[k, 1]) ** 2 + at[2] ** 2
        product += amplitudes[k] / np.sqrt(distance2)
        norm += 1 / distance2
    alpha = product / norm
    gradient[:] = 0
    curvature[:] = 0
    squares, along, slope = 0.0, np.zeros(3), np.empty(3)
    for k in range(n):
        dx, dy, dz = at[0] - places[k, 0], at[1] - places[k, 1], at[2]
        q = 1 / np.sqrt(dx * dx + dy * dy + dz * dz)
        residual = amplitudes[k] - alpha * q
        squares += residual * residual
        factor = alpha * q * q * q
        slope[0], slope[1], slope[2] = factor * dx, factor * dy, factor * dz
        for a in range(3):
            gradient[a] += 2 / n * residual * slope[a]
            along[a] += q * slope[a]
            for b in range(3):
                curvature[a, b] += 2 / n * slope[a] * slope[b]
    for a in range(3):
        for b in range(3):
            curvature[a, b] -= 2 / n * along[a] * along[b] / norm
    inside = 1 + _LOG_SLOPE * at[2]
    gradient[2] -= _LOG_WEIGHT * _LOG_SLOPE / inside
    curvature[2, 2] += _LOG_WEIGHT * (_LOG_SLOPE / inside) ** 2
    return squares / n - _LOG_WEIGHT * np.log(inside), alpha


@numba.njit(nogil=True, cache=True)
def _damped_step(at, gradient, curvature, damping, low, high, step):  # type: ignore[no-untyped-def]
    """Write the step that solves (curvature + damping) step = -gradient, with coordinates that push against a bound
    held where they are."""
    matrix = curvature.copy()
    largest = max(matrix[0, 0], matrix[1, 1], matrix[2, 2])
    for a in range(3):
        matrix[a, a] += damping * largest + 1e-15
        step[a] = -gradient[a]
    for a in range(3):
        if (at[a] <= low[a] and gradient[a] > 0) or (at[a] >= high[a] and gradient[a] < 0):
            matrix[a, :] = 0
            matrix[:, a] = 0
            matrix[a, a] = 1
            step[a] = 0
    # Gauss-Jordan; the matrix is positive definite, so no pivoting is needed
    for a in range(3):
        for b in range(3):
            if b != a:
                ratio = matrix[b, a] / matrix[a, a]
                for c in range(a, 3):
                    matrix[b, c] -= ratio * matrix[a, c]
                step[b] -= ratio * step[a]
    for a in range(3):
        step[a] /= matrix[a, a]
