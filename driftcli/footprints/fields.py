"""Footprints of groups of peaks, as they would be at any displacement, from what was seen at some.

The means of a group's spikes, displacement by displacement, are noisy where it fired little. All of them look at one
field, the footprint beside the probe, from contacts at other places of it: a Gaussian process joins them, with the
means' noise by their counts. So what one displacement missed another tells.

What weights are fitted to are second moments of the fields. They hold the field's own uncertainty too: with means
alone as regressors weights would be drawn to zero by noise that the traces to be corrected don't have.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from driftcli.footprints import components, local
from driftcli.model import Footprints

_COMPONENTS = 5  # of a unit's time courses
LEAST_PEAKS = 30  # a group of fewer says too little
_OF_PEAK = 0.1  # variance of a footprint over its reach, of its largest square
_LEAST_VARIANCE = 1e-4  # the same, of the noise of one spike, for components that are noise only
_SHARED = 0.5  # of the traces' noise, which neighbouring contacts have in common
_FULL = 0.3  # places with so many of the spikes of the fullest tell how large the unit is, and where
_PLACES_A_BIN = 0.5  # places of a field within so much of a bin of displacement are one
_JITTER = 1e-9
_ROUNDING_UM = 1e-3  # of distances: any two contacts of a group are neighbours


class Prior(NamedTuple):
    """What is known of footprints and noise before any spike was seen.

    covary: (A, 2) and (B, 2) places in µm to the (A, B) covariance of a footprint there, 1 at the same place.
    noise_variance: of one sample of one contact, in the snippets' unit squared.
    noise_length_um: distance at which the noise that contacts share has fallen to 1/e.
    """

    covary: Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]
    noise_variance: float
    noise_length_um: float


def learn(
    snippets: NDArray[np.float32] | NDArray[np.int16],
    contacts: NDArray[np.int32],
    labels: NDArray[np.int64],
    displacement_um: NDArray[np.float64],
    positions_um: NDArray[np.float64],
    prior: Prior,
    bin_um: float,
    jobs: int = 1,
) -> Footprints:
    """Footprints from the grouped peaks of one shank; they cover the displacements of these peaks, and 0.

    snippets, contacts, displacement_um: as `groups.group` has them; labels: (P,) what it gives.
    positions_um: (C, 2) of all contacts of the shank; those that no snippet has, as bad ones, have footprints as well.
    bin_um: width of the bins of displacement that spikes are averaged in. jobs: threads, which change no byte.
    """
    bins = np.rint(displacement_um / bin_um).astype(np.int64)
    lowest = min(0, int(bins.min(initial=0)))
    num_bins = max(0, int(bins.max(initial=0))) - lowest + 1
    moved_um = bin_um * np.arange(lowest, lowest + num_bins, dtype=np.float64)
    neighbours = local.around(positions_um, positions_um, 2 * local.REACH_UM + _ROUNDING_UM)
    displaced, resting = (np.zeros((num_bins, *neighbours.shape)) for _ in range(2))
    order = np.argsort(labels, kind="stable")
    bounds = np.searchsorted(labels[order], np.arange(int(labels.max(initial=-1)) + 2))
    large = [order[first:last] for first, last in pairwise(bounds) if last - first >= LEAST_PEAKS]

    def moments_of(peaks: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
        means, counts = _means(snippets, contacts, peaks, bins[peaks] - lowest, num_bins, len(positions_um))
        fullest = np.argmax(np.bincount(bins[peaks] - lowest))
        near = _near(means[fullest], counts[fullest], positions_um)
        seen = means[:, near], counts[:, near], positions_um[near]
        return near, *_moments(*seen, moved_um, -lowest, prior, _PLACES_A_BIN * bin_um)

    with ThreadPoolExecutor(jobs) as pool:
        try:
            for near, of_displaced, of_resting in pool.map(moments_of, large):
                size = np.trace(of_displaced, axis1=1, axis2=2).max()
                _add(neighbours, near, of_displaced, of_resting, size, displaced, resting)
        finally:
            pool.shutdown(cancel_futures=True)
    return Footprints(bin_um, lowest, neighbours, displaced.astype(np.float32), resting.astype(np.float32))


def _near(mean: NDArray[np.float64], counts: NDArray[np.int64], positions_um: NDArray[np.float64]) -> NDArray[np.int64]:
    """The contacts around the one with the largest mean spike (C, T), of those that have enough of them."""
    largest = positions_um[np.argmax(np.where(counts >= _FULL * counts.max(), np.ptp(mean, axis=1), -1))]
    return np.flatnonzero(np.hypot(*(positions_um - largest).T) <= local.REACH_UM)


def _moments(
    means: NDArray[np.float64],
    counts: NDArray[np.int64],
    positions_um: NDArray[np.float64],
    moved_um: NDArray[np.float64],
    rest: int,
    prior: Prior,
    grid_um: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(D, K, K) moments of one group's field at K contacts: both displaced; the first at rest.

    means: (D, K, T) and their counts (D, K); moved_um: (D,), of which index `rest` is 0.
    grid_um: places of the field in one cell of this grid count as one: on most probes contacts that have moved by their
        pitch look at the places of their neighbours.
    """
    places_um, place = _places(positions_um, moved_um, grid_um)
    count_at = np.zeros((len(moved_um), len(places_um)))
    np.put_along_axis(count_at, place, counts, axis=1)
    sums = np.zeros((len(places_um), means.shape[2]))
    np.add.at(sums, place, means * counts[:, :, None])
    seen = np.flatnonzero(count_at.any(axis=0))
    count = count_at[:, seen].sum(axis=0)
    basis, values = _reduced(sums[seen] / count[:, None], count)
    everywhere = prior.covary(places_um, places_um)
    among = everywhere[np.ix_(seen, seen)] + _JITTER * np.eye(len(seen))
    noise = _noise(places_um[seen], count_at[:, seen], prior.noise_length_um) * prior.noise_variance
    full = count >= _FULL * count.max()
    field = np.zeros_like(everywhere)
    for component in range(len(basis)):
        power = np.max(values[full, component] ** 2) - prior.noise_variance / count.max()
        variance = max(_OF_PEAK * power, _LEAST_VARIANCE * prior.noise_variance, np.finfo(float).tiny)
        system = np.column_stack([among + noise / variance, everywhere[seen], values[:, component]])
        _eliminate(system)
        _add_component(system[:, len(seen) :], variance, everywhere, field)
    return field[place[:, :, None], place[:, None, :]], field[place[rest][None, :, None], place[:, None, :]]


def _places(
    positions_um: NDArray[np.float64], moved_um: NDArray[np.float64], grid_um: float
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(U, 2) places of the field that contacts (K, 2) look at, and (D, K) which of them at each displacement."""
    looked_at_um = positions_um - np.stack([np.zeros_like(moved_um), moved_um], axis=1)[:, None]
    rounded = np.rint(looked_at_um.reshape(-1, 2) / grid_um)
    _, first, place = np.unique(rounded, axis=0, return_index=True, return_inverse=True)
    return looked_at_um.reshape(-1, 2)[first], place.reshape(looked_at_um.shape[:2])


def _reduced(courses: NDArray[np.float64], count: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The components of a group's time courses (N, T), which are means of so many spikes, and (N, components)."""
    among = np.einsum("nt,nu->tu", courses * count[:, None], courses)
    basis = components.leading(among, min(_COMPONENTS, len(among)))
    return basis, np.einsum("nt,rt->nr", courses, basis)


def _noise(places_um: NDArray[np.float64], count_at: NDArray[np.float64], length_um: float) -> NDArray[np.float64]:
    """(N, N) covariance of means of noise of variance 1. count_at: (D, N) of spikes at each displacement."""
    apart_um = np.hypot(*(places_um[:, None] - places_um[None]).transpose(2, 0, 1))
    of_one = _SHARED * np.exp(-apart_um / length_um) + (1 - _SHARED) * np.eye(len(places_um))
    # spikes that both places have: means of other displacements are of others, and who has fewer shares all of them
    of_both: NDArray[np.float64] = of_one * _of_both(count_at)
    return of_both / (count_at.sum(axis=0)[:, None] * count_at.sum(axis=0))


@numba.njit(nogil=True, cache=True)
def _of_both(count_at):  # type: ignore[no-untyped-def]
    """(N, N) sums over displacements of the smaller of two counts (D, N)."""
    num_places = count_at.shape[1]
    both = np.zeros((num_places, num_places))
    for counts in count_at:
        for one in range(num_places):
            for other in range(num_places):
                both[one, other] += min(counts[one], counts[other])
    return both


@numba.njit(nogil=True, cache=True)
def _means(snippets, contacts, peaks, bins, num_bins, num_contacts):  # type: ignore[no-untyped-def]
    """(D, C, T) mean snippets by displacement, and how many each contact has; zeros where none."""
    means = np.zeros((num_bins, num_contacts, snippets.shape[1]))
    counts = np.zeros((num_bins, num_contacts), np.int64)
    for index in range(len(peaks)):
        peak = peaks[index]
        for slot in range(contacts.shape[1]):
            contact = contacts[peak, slot]
            if contact >= 0:
                counts[bins[index], contact] += 1
                for time in range(snippets.shape[1]):
                    means[bins[index], contact, time] += snippets[peak, time, slot]
    for displaced in range(num_bins):
        for contact in range(num_contacts):
            if counts[displaced, contact]:
                for time in range(snippets.shape[1]):
                    means[displaced, contact, time] /= counts[displaced, contact]
    return means, counts


@numba.njit(nogil=True, cache=True)
def _eliminate(system):  # type: ignore[no-untyped-def]
    """In place, of (N, N + M): with the first N columns L L', the others, X, become L^-1 X."""
    n = system.shape[0]
    for pivot in range(n):
        of_pivot = system[pivot, pivot:]
        of_pivot *= 1.0 / np.sqrt(of_pivot[0])
        for row in range(pivot + 1, n):
            factor = system[pivot, row]
            if factor != 0.0:
                of_row, above = system[row, row:], system[pivot, row:]
                for column in range(len(of_row)):
                    of_row[column] -= factor * above[column]


@numba.njit(nogil=True, cache=True)
def _add_component(solved, variance, prior, field):  # type: ignore[no-untyped-def]
    """Add to the second moments of a field (U, U) those of one component, given what was seen: mean times mean plus
    covariance. solved: (N, U + 1), the last column the values'; prior: (U, U) covariance before."""
    num_places = len(field)
    mean = np.zeros(num_places)
    for row in range(len(solved)):
        for place in range(num_places):
            mean[place] += solved[row, place] * solved[row, -1]
    less = np.empty(num_places)
    for one in range(num_places):
        known = less[: one + 1]  # it is symmetric
        known[:] = 0.0
        for row in range(len(solved)):
            factor, of_row = solved[row, one], solved[row, : one + 1]
            for other in range(len(known)):
                known[other] += factor * of_row[other]
        for other in range(one + 1):
            field[one, other] += mean[one] * mean[other] + variance * (prior[one, other] - known[other])
            field[other, one] = field[one, other]


@numba.njit(nogil=True, cache=True)
def _add(neighbours, near, of_displaced, of_resting, size, displaced, resting):  # type: ignore[no-untyped-def]
    """Add one group's moments, scaled to size 1, where the pairs of its contacts are kept."""
    for one in range(len(near)):
        other = 0
        for slot in range(neighbours.shape[1]):
            # both lists ascend, and all that are near are neighbours of each other
            if other < len(near) and neighbours[near[one], slot] == near[other]:
                for bin_index in range(len(displaced)):
                    displaced[bin_index, near[one], slot] += of_displaced[bin_index, one, other] / size
                    resting[bin_index, near[one], slot] += of_resting[bin_index, one, other] / size
                other += 1
