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
_TINY = 1e-300  # keeps from a division by zero
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
            at, alpha = _fit(amplitudes / largest, positions[here].T.copy(), max_distance)
            located[i, 0], located[i, 1], located[i, 2], located[i, 3] = at[0], at[1], at[2], alpha * largest
    return located


@numba.njit(nogil=True, cache=True)
def _decrease(amplitudes, channel, rules):  # type: ignore[no-untyped-def]
    for r in range(rules.starts[channel], rules.starts[channel + 1]):
        most = amplitudes[rules.parents[rules.parent_starts[r] : rules.parent_starts[r + 1]]].max()
        amplitudes[rules.targets[r]] = min(amplitudes[rules.targets[r]], most)


@numba.njit(nogil=True, cache=True)
def _fit(amplitudes, places, max_distance):  # type: ignore[no-untyped-def]
    """Position (3,) and alpha that minimize the objective for amplitudes (n,) with maximum 1 at places (2, n)."""
    centre = np.array([(amplitudes * places[0]).sum(), (amplitudes * places[1]).sum()]) / amplitudes.sum()
    at = np.array([centre[0], centre[1], _START_Z_UM])
    low = np.array([centre[0] - max_distance, centre[1] - max_distance, _LEAST_Z_UM])
    high = np.array([centre[0] + max_distance, centre[1] + max_distance, 10 * max_distance])
    at[2] = min(at[2], high[2])
    # all arrays are made here, as making one takes longer than filling it
    gradient, curvature, ahead = np.empty(3), np.empty((3, 3)), np.empty(3)
    ahead_gradient, ahead_curvature = np.empty(3), np.empty((3, 3))
    matrix, terms = np.empty((3, 3)), np.empty((5, amplitudes.size))
    value, alpha = _objective(at, amplitudes, places, gradient, curvature, terms)
    damping = 1e-3
    for _ in range(_MOST_STEPS):
        _damped_step(at, gradient, curvature, damping, low, high, matrix, ahead)
        length = max(abs(ahead[0] - at[0]), abs(ahead[1] - at[1]), abs(ahead[2] - at[2]))
        ahead_value, ahead_alpha = _objective(ahead, amplitudes, places, ahead_gradient, ahead_curvature, terms)
        if ahead_value <= value:
            # less than half of what the curvature promised means that it is too small: steps would lead to and fro
            gain = (value - ahead_value) / max(_promise(at, ahead, gradient, curvature), _TINY)
            damping = max(damping * min(max(1 - (2 * gain - 1) ** 3, 0.2), 2.0), _LEAST_DAMPING)
            value, alpha = ahead_value, ahead_alpha
            at, ahead = ahead, at
            gradient, ahead_gradient = ahead_gradient, gradient
            curvature, ahead_curvature = ahead_curvature, curvature
        else:
            damping *= 5
        if length < _SHORTEST_STEP_UM:
            break
    return at, alpha


@numba.njit(nogil=True, cache=True)
def _promise(at, ahead, gradient, curvature):  # type: ignore[no-untyped-def]
    """By how much the objective would fall on the way ahead if it had this curvature all along."""
    fall = 0.0
    for a in range(3):
        fall -= (ahead[a] - at[a]) * gradient[a]
        for b in range(3):
            fall -= 0.5 * (ahead[a] - at[a]) * curvature[a, b] * (ahead[b] - at[b])
    return fall


@numba.njit(nogil=True, cache=True)
def _objective(at, amplitudes, places, gradient, curvature, terms):  # type: ignore[no-untyped-def]
    """Value of the objective and alpha at a position; writes the gradient (3,) and Gauss-Newton's curvature (3, 3).

    As alpha is the best one, the gradient is that at fixed alpha; the curvature is that of the residuals with the
    part along q, which alpha takes up, projected out. terms: (5, n), room for what each contact adds; the loops that
    fill it hold no sums, so that contacts are worked on several at once.
    """
    n = amplitudes.size
    q, residuals, slopes = terms[0], terms[1], terms[2:]
    for k in range(n):
        dx, dy, dz = at[0] - places[0, k], at[1] - places[1, k], at[2]
        q[k] = 1 / np.sqrt(dx * dx + dy * dy + dz * dz)
    norm = _dot(q, q)
    alpha = _dot(amplitudes, q) / norm
    for k in range(n):
        dx, dy, dz = at[0] - places[0, k], at[1] - places[1, k], at[2]
        residuals[k] = amplitudes[k] - alpha * q[k]
        factor = alpha * q[k] * q[k] * q[k]
        slopes[0, k], slopes[1, k], slopes[2, k] = factor * dx, factor * dy, factor * dz
    along = (_dot(q, slopes[0]), _dot(q, slopes[1]), _dot(q, slopes[2]))
    for a in range(3):
        gradient[a] = 2 / n * _dot(residuals, slopes[a])
        for b in range(a + 1):
            curvature[a, b] = 2 / n * (_dot(slopes[a], slopes[b]) - along[a] * along[b] / norm)
            curvature[b, a] = curvature[a, b]
    inside = 1 + _LOG_SLOPE * at[2]
    gradient[2] -= _LOG_WEIGHT * _LOG_SLOPE / inside
    curvature[2, 2] += _LOG_WEIGHT * (_LOG_SLOPE / inside) ** 2
    return _dot(residuals, residuals) / n - _LOG_WEIGHT * np.log(inside), alpha


@numba.njit(nogil=True, cache=True)
def _dot(a, b):  # type: ignore[no-untyped-def]
    """A plain loop: a library's product would depend on the library, and takes longer to call than so few terms do."""
    total = 0.0
    for k in range(a.size):
        total += a[k] * b[k]
    return total


@numba.njit(nogil=True, cache=True)
def _damped_step(at, gradient, curvature, damping, low, high, matrix, ahead):  # type: ignore[no-untyped-def]
    """Write where the step leads that solves (curvature + damping) step = -gradient, kept between the bounds; held are
    coordinates that push against one. matrix: room for one like `curvature`."""
    step = ahead  # up to the last line
    matrix[:] = curvature
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
        ahead[a] = min(max(at[a] + step[a] / matrix[a, a], low[a]), high[a])
