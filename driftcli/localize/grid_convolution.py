"""Mean of the positions of the made-up templates that fit a peak best, on a fine grid over and around the probe.

A template is a point of the grid together with a falloff: how its amplitude decays over the contacts. Its score is
the product of a peak's waveforms with a Gaussian in time and that falloff. Of the templates near the peak's contact
whose score isn't negative, the best `percentile` are averaged, weighted by their scores; z is the average of the
numbers that name the falloffs.

Mirrors `grid_convolution` of SpikeInterface 0.105.3 (gaussian_2d resembles Kilosort 2.5's localization), shank by
shank. Where no template has a positive score (a peak of the other sign, an empty or a NaN waveform), the location is
that of the peak's contact, with z = 0; there the peer gives (0, 0, 0).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray
from pydantic import Discriminator, Field, Tag

from driftcli import model
from driftcli.localize import waveforms

_TEMPLATES_AT_ONCE = 256
_LEAST_LOGARITHM = np.log(1e-7)
_NO_ENTRIES = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))


class _Falloff(model.Parameters):
    """sparsity_threshold: share of a falloff's norm below which a contact is left out; None: half of the share that
    each contact would have if all were equal.
    """

    sparsity_threshold: float | None = Field(default=None, ge=0, le=1)


class Gaussian2D(_Falloff):
    """Amplitudes fall with the distance along the probe's plane as Gaussians.

    sigma_list_um: widths of the Gaussians.
    """

    mode: Literal["gaussian_2d"] = "gaussian_2d"
    sigma_list_um: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        default=(5.0, 10.0, 15.0, 20.0, 25.0), min_length=1
    )

    @property
    def names_um(self) -> tuple[float, ...]:
        """The numbers that name the falloffs, averaged into z."""
        return self.sigma_list_um

    def logarithm(self, distance_um: NDArray[np.float64], name_um: float) -> NDArray[np.float64]:
        """Logarithm of the amplitude at a distance."""
        return -(distance_um**2) / (2 * name_um**2)


class Exponential3D(_Falloff):
    """Amplitudes fall exponentially with the distance in space.

    z_list_um: distances of the sources from the probe's plane.
    sigma_3d: distance over which amplitudes fall by a factor of e, in µm.
    """

    mode: Literal["exponential_3d"] = "exponential_3d"
    z_list_um: tuple[Annotated[float, Field(ge=0)], ...] = Field(default=(0.0, 30.0, 60.0, 90.0, 120.0), min_length=1)
    sigma_3d: float = Field(default=2.5, gt=0)

    @property
    def names_um(self) -> tuple[float, ...]:
        """The numbers that name the falloffs, averaged into z."""
        return self.z_list_um

    def logarithm(self, distance_um: NDArray[np.float64], name_um: float) -> NDArray[np.float64]:
        """Logarithm of the amplitude at a distance."""
        return -np.sqrt(distance_um**2 + name_um**2) / self.sigma_3d


def _mode(value: Any) -> str:
    return value.get("mode", "exponential_3d") if isinstance(value, dict) else getattr(value, "mode", "")


class Parameters(waveforms.Parameters):
    """radius_um: templates within this distance of the peak's contact are tried.
    upsampling_um: spacing of the grid.
    sigma_ms: width of the Gaussian in time.
    margin_um: how far the grid reaches beyond the contacts.
    percentile: share of the best scores that counts, in percent.
    peak_sign: sign of the Gaussian in time.
    weight_method: the falloffs of the templates, by `mode`.
    """

    radius_um: float = Field(default=40.0, gt=0)
    upsampling_um: float = Field(default=5.0, gt=0)
    sigma_ms: float = Field(default=0.25, gt=0)
    margin_um: float = Field(default=50.0, ge=0)
    percentile: float = Field(default=5.0, ge=0, le=100)
    peak_sign: Literal["neg", "pos"] = "neg"
    weight_method: Annotated[
        Annotated[Exponential3D, Tag("exponential_3d")] | Annotated[Gaussian2D, Tag("gaussian_2d")],
        Discriminator(_mode),
    ] = Exponential3D()


class _Grid(NamedTuple):
    """The templates, as flat lists for the kernel. With D falloffs, row D * t + d is template t's falloff d.

    The templates near contact c are near[near_starts[c]:near_starts[c + 1]]; the contacts these templates reach are
    listed in `reach` in the same way. A row's contacts and weights are contacts[starts[row]:starts[row + 1]] and
    weights[...], each row of norm 1.
    """

    positions_um: NDArray[np.float64]
    names_um: NDArray[np.float64]
    near_starts: NDArray[np.int32]
    near: NDArray[np.int32]
    reach_starts: NDArray[np.int32]
    reach: NDArray[np.int32]
    starts: NDArray[np.int32]
    contacts: NDArray[np.int32]
    weights: NDArray[np.float32]


class Localizer:
    """Localizes peaks in blocks of traces. margin_samples: rows needed on each side of the peaks."""

    columns = ("x_um", "y_um", "z_um")

    def __init__(self, parameters: Parameters, geometry: model.Geometry, sampling_frequency_hz: float) -> None:
        span = waveforms.Span.of(parameters, sampling_frequency_hz)
        time_ms = np.arange(-span.before, span.after) * 1000.0 / sampling_frequency_hz
        gaussian = np.exp(-(time_ms**2) / (2 * parameters.sigma_ms**2))
        self._prototype = -gaussian if parameters.peak_sign == "neg" else gaussian
        self._before = span.before
        self._rank = 1 - parameters.percentile / 100
        self._positions = geometry.positions_um
        self._grid = _build_grid(parameters, geometry)
        self.margin_samples = span.margin_samples

    def __call__(
        self, traces: NDArray[np.float32], rows: NDArray[np.int64], channels: NDArray[np.int32]
    ) -> NDArray[np.float32]:
        """(N, 3) x, y and z in µm of the peaks at `rows` and `channels` of `traces` (samples, channels)."""
        starts = rows - self._before
        return _locate(traces, starts, channels, self._prototype, self._rank, self._grid, self._positions)


def _build_grid(parameters: Parameters, geometry: model.Geometry) -> _Grid:
    positions, near, weights, first = [np.zeros((0, 2))], [_NO_ENTRIES], [_NO_ENTRIES], 0
    reached = np.zeros((len(geometry), len(geometry)), np.bool_)
    names_um = np.array(parameters.weight_method.names_um, dtype=np.float64)
    for _, shank in geometry.each_shank():
        contacts_um = geometry.positions_um[shank]
        for templates in _grid_points(contacts_um, parameters):
            distance = _distances(templates, contacts_um)
            used = (distance <= parameters.radius_um).any(axis=1)
            if not used.any():
                continue
            distance = distance[used]
            here = _in_reach(distance, parameters)
            contacts, distance = shank[here], distance[:, here]
            is_near, rows = distance <= parameters.radius_um, _weights(distance, len(shank), parameters)
            positions.append(templates[used])
            near.append(_entries(is_near, first, contacts))
            weights.append(_entries(rows, first * len(names_um), contacts))
            touched = rows.reshape(-1, len(names_um), len(contacts)).max(axis=1) > 0
            for place, contact in enumerate(contacts):
                reached[contact, contacts] |= touched[is_near[:, place]].any(axis=0)
            first += len(distance)
    templates_near, contacts_near, _ = map(np.concatenate, zip(*near, strict=True))
    row, contact, weight = map(np.concatenate, zip(*weights, strict=True))
    reaching, reached_contacts = np.nonzero(reached)
    return _Grid(
        np.concatenate(positions),
        names_um,
        *_lists(contacts_near, templates_near, len(geometry)),
        *_lists(reaching, reached_contacts, len(geometry)),
        *_lists(row, contact, first * len(names_um)),
        weight.astype(np.float32),
    )


def _distances(templates_um: NDArray[np.float64], contacts_um: NDArray[np.float64]) -> NDArray[np.float64]:
    """(t, c) distance of each template from each contact."""
    x, y = (templates_um[:, axis, None] - contacts_um[:, axis] for axis in (0, 1))
    return np.sqrt(x * x + y * y)


def _in_reach(distance_um: NDArray[np.float64], parameters: Parameters) -> NDArray[np.bool_]:
    """Contacts that are near a template or may have a weight in one; there are few, whatever the length of the shank.

    A weight is lost where its logarithm is far below that of the template's nearest contact. Logarithms fall with the
    distance, so none of a contact's is above that at its least distance from any template.
    """
    least, farthest_nearest = distance_um.min(axis=0), distance_um.min(axis=1).max()
    in_reach: NDArray[np.bool_] = least <= parameters.radius_um
    for name in parameters.weight_method.names_um:
        logarithm = parameters.weight_method.logarithm
        in_reach |= logarithm(least, name) - logarithm(farthest_nearest, name) > _LEAST_LOGARITHM
    return in_reach


def _entries(
    values: NDArray[Any], first_row: int, contacts: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]:
    """Row, contact and value of what isn't 0, row after row; `values` has the columns of a shank's contacts."""
    rows, columns = np.nonzero(values)
    return rows + first_row, contacts[columns], values[rows, columns]


def _lists(
    owners: NDArray[np.int64], members: NDArray[np.int64], n_owners: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Where each owner's members start, and the members of one owner after the other, in the order they come in."""
    starts = np.concatenate([[0], np.cumsum(np.bincount(owners, minlength=n_owners))])
    return starts.astype(np.int32), members[np.argsort(owners, kind="stable")].astype(np.int32)


def _grid_points(contacts_um: NDArray[np.float64], parameters: Parameters) -> list[NDArray[np.float64]]:
    """Points of the grid around the contacts of a shank, (t, 2) at a time."""
    low = contacts_um.min(axis=0) - parameters.margin_um
    high = contacts_um.max(axis=0) + parameters.margin_um + parameters.upsampling_um / 10
    x, y = np.meshgrid(*(np.arange(a, b, parameters.upsampling_um) for a, b in zip(low, high, strict=True)))
    points = np.stack([x.ravel(), y.ravel()], axis=1)
    return np.array_split(points, -(-len(points) // _TEMPLATES_AT_ONCE))


def _weights(distance_um: NDArray[np.float64], n_contacts: int, parameters: Parameters) -> NDArray[np.float64]:
    """(t * D, c) weight of each contact in each falloff of each template: small ones dropped, norm 1.

    distance_um: (t, c), of those of the shank's `n_contacts` contacts that are in reach.
    """
    method = parameters.weight_method
    logarithm = np.stack([method.logarithm(distance_um, name) for name in method.names_um], axis=1)
    # the norm takes any factor out: the largest weight is set to 1, lest all underflow; float32 won't miss the smallest
    logarithm -= logarithm.max(axis=2, keepdims=True)
    weights = np.exp(logarithm, where=logarithm > _LEAST_LOGARITHM, out=np.zeros_like(logarithm))
    weights /= np.linalg.norm(weights, axis=2, keepdims=True)
    threshold = method.sparsity_threshold
    if threshold is None:
        threshold = 0.5 / np.sqrt(n_contacts)
    weights[weights < threshold] = 0
    norm = np.linalg.norm(weights, axis=2, keepdims=True)
    weights /= np.where(norm > 0, norm, 1)
    return weights.reshape(-1, distance_um.shape[1])


@numba.njit(nogil=True, cache=True)
def _locate(traces, starts, channels, prototype, rank, grid, positions):  # type: ignore[no-untyped-def]
    n_falloffs = grid.names_um.size
    most = np.diff(grid.near_starts).max()
    scores = np.empty(most * n_falloffs, np.float32)
    products = np.empty(len(positions), np.float64)
    located = np.empty((starts.size, 3), np.float32)
    for i in range(starts.size):
        channel = channels[i]
        for contact in grid.reach[grid.reach_starts[channel] : grid.reach_starts[channel + 1]]:
            products[contact] = 0.0
            for r in range(prototype.size):
                products[contact] += prototype[r] * traces[starts[i] + r, contact]
        near = grid.near[grid.near_starts[channel] : grid.near_starts[channel + 1]]
        _score(near, products, grid, scores)
        best = _best(scores[: near.size * n_falloffs], rank)
        if not _average(near, scores, best, grid, located[i]):
            located[i, 0], located[i, 1], located[i, 2] = positions[channel, 0], positions[channel, 1], 0.0
    return located


@numba.njit(nogil=True, cache=True)
def _score(near, products, grid, scores):  # type: ignore[no-untyped-def]
    n = 0
    for template in near:
        for row in range(template * grid.names_um.size, (template + 1) * grid.names_um.size):
            score = 0.0
            for k in range(grid.starts[row], grid.starts[row + 1]):
                score += grid.weights[k] * products[grid.contacts[k]]
            scores[n] = score
            n += 1


@numba.njit(nogil=True, cache=True)
def _best(scores, rank):  # type: ignore[no-untyped-def]
    """The least score that counts: the first at or above the quantile `rank` of the scores that aren't negative.

    A linear quantile lies between two scores, so that the scores at or above it are those from the upper one on.
    """
    valid = scores[scores >= 0]
    if valid.size == 0:
        return np.float32(np.nan)
    # rank * (n - 1) may come out a rounding error above a whole number
    position = int(np.ceil(rank * (valid.size - 1) - 1e-6))
    return np.partition(valid, position)[position]


@numba.njit(nogil=True, cache=True)
def _average(near, scores, least, grid, located):  # type: ignore[no-untyped-def]
    """Write the average of the templates with a score of `least` or more; False if there is none."""
    total = x = y = z = 0.0
    n = 0
    for template in near:
        for name in grid.names_um:
            if scores[n] >= least:
                total += scores[n]
                x += scores[n] * grid.positions_um[template, 0]
                y += scores[n] * grid.positions_um[template, 1]
                z += scores[n] * name
            n += 1
    if not (0 < total < np.inf):
        return False
    located[0], located[1], located[2] = x / total, y / total, z / total
    return True
