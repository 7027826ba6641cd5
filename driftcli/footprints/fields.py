"""Footprints of groups of peaks, as they would be at any displacement, from what was seen at some.

The means of a group's spikes, displacement by displacement, are noisy where it fired little. All of them look at one
field, the footprint beside the probe, from contacts at other places of it: a Gaussian process joins them, with the
means' noise by their counts. So what one displacement missed another tells.

What weights are fitted to are second moments of the fields. They hold the field's own uncertainty too: with means
alone as regressors weights would be drawn to zero by noise that the traces to be corrected don't have.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from driftcli.footprints import components, local
from driftcli.model import Footprints

_COMPONENTS = 5  # of a unit's time courses
_LEAST_PEAKS = 30  # a group of fewer says too little
_OF_PEAK = 0.1  # variance of a footprint over its reach, of its largest square
_LEAST_VARIANCE = 1e-4  # the same, of the noise of one spike, for components that are noise only
_SHARED = 0.5  # of the traces' noise, which neighbouring contacts have in common
_FULL = 0.3  # bins with this many of the spikes of the fullest tell how large a component is
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
) -> Footprints:
    """Footprints from the grouped peaks of one shank; they cover the displacements of these peaks, and 0.

    snippets, contacts, displacement_um: as `groups.group` has them; labels: (P,) what it gives.
    positions_um: (C, 2) of all contacts of the shank; those that no snippet has, as bad ones, have footprints as well.
    bin_um: width of the bins of displacement that spikes are averaged in.
    """
    bins = np.rint(displacement_um / bin_um).astype(np.int64)
    lowest = min(0, int(bins.min(initial=0)))
    num_bins = max(0, int(bins.max(initial=0))) - lowest + 1
    moved_um = bin_um * np.arange(lowest, lowest + num_bins, dtype=np.float64)
    neighbours = local.around(positions_um, positions_um, 2 * local.REACH_UM + _ROUNDING_UM)
    displaced, resting = (np.zeros((num_bins, *neighbours.shape)) for _ in range(2))
    order = np.argsort(labels, kind="stable")
    bounds = np.searchsorted(labels[order], np.arange(int(labels.max(initial=-1)) + 2))
    for first, last in pairwise(bounds):
        if last - first < _LEAST_PEAKS:
            continue
        peaks = order[first:last]
        means, counts = _means(snippets, contacts, peaks, bins[peaks] - lowest, num_bins, len(positions_um))
        fullest = np.argmax(np.bincount(bins[peaks] - lowest))
        near = _near(means[fullest], counts[fullest], positions_um)
        moments = _moments(means[:, near], counts[:, near], positions_um[near], moved_um, -lowest, prior)
        _add(neighbours, near, *moments, np.trace(moments[0][-lowest]), displaced, resting)
    return Footprints(bin_um, lowest, neighbours, displaced.astype(np.float32), resting.astype(np.float32))


def _near(mean: NDArray[np.float64], counts: NDArray[np.int64], positions_um: NDArray[np.float64]) -> NDArray[np.int64]:
    """The contacts around the one with the largest mean spike (C, T), of those that have spikes at all."""
    largest = positions_um[np.argmax(np.where(counts > 0, np.ptp(mean, axis=1), -1))]
    return np.flatnonzero(np.hypot(*(positions_um - largest).T) <= local.REACH_UM)


def _moments(
    means: NDArray[np.float64],
    counts: NDArray[np.int64],
    positions_um: NDArray[np.float64],
    moved_um: NDArray[np.float64],
    rest: int,
    prior: Prior,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(D, K, K) moments of one group's field at K contacts: both displaced; the first at rest.

    means: (D, K, T) and their counts (D, K); moved_um: (D,), of which index `rest` is 0.
    """
    num_bins, num_contacts = counts.shape
    at_bin, at_contact = np.nonzero(counts)
    count = counts[at_bin, at_contact]
    basis, values = _reduced(means[at_bin, at_contact], count)
    everywhere_um = (positions_um[None] - np.stack([np.zeros(num_bins), moved_um], axis=1)[:, None]).reshape(-1, 2)
    seen_um = everywhere_um[at_bin * num_contacts + at_contact]
    among = prior.covary(seen_um, seen_um) + _JITTER * np.eye(len(seen_um))
    to_all = prior.covary(seen_um, everywhere_um)
    noise = _noise(seen_um, at_bin, count, prior.noise_length_um) * prior.noise_variance
    same = prior.covary(positions_um, positions_um)
    from_rest = prior.covary(positions_um, everywhere_um)
    full = count >= _FULL * count.max()
    displaced, resting = (np.zeros((num_bins, num_contacts, num_contacts)) for _ in range(2))
    for component in range(len(basis)):
        power = np.max(values[full, component] ** 2) - prior.noise_variance / count.max()
        variance = max(_OF_PEAK * power, _LEAST_VARIANCE * prior.noise_variance, np.finfo(float).tiny)
        system = np.column_stack([among + noise / variance, to_all, values[:, component]])
        _eliminate(system)
        solved = system[:, len(seen_um) :]
        _add_component(solved, variance, same, from_rest, rest, displaced, resting)
    return displaced, resting


def _reduced(courses: NDArray[np.float64], count: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The components of a group's time courses (N, T), which are means of so many spikes, and (N, components)."""
    among = np.einsum("nt,nu->tu", courses * count[:, None], courses)
    basis = components.leading(among, min(_COMPONENTS, len(among)))
    return basis, np.einsum("nt,rt->nr", courses, basis)


def _noise(
    places_um: NDArray[np.float64], at_bin: NDArray[np.int64], count: NDArray[np.int64], length_um: float
) -> NDArray[np.float64]:
    """(N, N) covariance of means of noise of variance 1: means of other displacements are of other spikes."""
    apart_um = np.hypot(*(places_um[:, None] - places_um[None]).transpose(2, 0, 1))
    of_one = _SHARED * np.exp(-apart_um / length_um) + (1 - _SHARED) * np.eye(len(places_um))
    # a contact that misses some of the spikes shares all it has with one that misses none
    return (at_bin[:, None] == at_bin[None]) * of_one / np.maximum(count[:, None], count[None])


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
        scale = 1.0 / np.sqrt(system[pivot, pivot])
        for column in range(pivot, system.shape[1]):
            system[pivot, column] *= scale
        for row in range(pivot + 1, n):
            factor = system[pivot, row]
            if factor != 0.0:
                for column in range(row, system.shape[1]):
                    system[row, column] -= factor * system[pivot, column]


@numba.njit(nogil=True, cache=True)
def _add_component(solved, variance, same, from_rest, rest, displaced, resting):  # type: ignore[no-untyped-def]
    """Mean times mean plus covariance of the field, given what was seen. solved: (N, D * K + 1), the last the values'.

    same: (K, K) prior covariance of contacts at one displacement; from_rest: (K, D * K) of those at rest with all.
    """
    num_bins, num_contacts = displaced.shape[:2]
    mean = np.zeros(num_bins * num_contacts)
    for row in range(len(solved)):
        for place in range(len(mean)):
            mean[place] += solved[row, place] * solved[row, -1]
    at_rest = rest * num_contacts
    for one in range(num_contacts):
        for bin_index in range(num_bins):
            first = bin_index * num_contacts
            for other in range(num_contacts):
                displaced[bin_index, one, other] += mean[first + one] * mean[first + other]
                displaced[bin_index, one, other] += variance * same[one, other]
                resting[bin_index, one, other] += mean[at_rest + one] * mean[first + other]
                resting[bin_index, one, other] += variance * from_rest[one, first + other]
    for row in range(len(solved)):
        for bin_index in range(num_bins):
            first = bin_index * num_contacts
            for one in range(num_contacts):
                moving = variance * solved[row, first + one]
                still = variance * solved[row, at_rest + one]
                for other in range(num_contacts):
                    displaced[bin_index, one, other] -= moving * solved[row, first + other]
                    resting[bin_index, one, other] -= still * solved[row, first + other]


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
