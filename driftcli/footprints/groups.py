"""Groups of peaks that look alike: about one per unit, without a spike sorter.

What makes a spike of a unit is looked for in the recording's own time courses: each snippet is put down by a few
numbers per contact, those of the leading components. The displacement is taken out, so that a unit's peaks compare
wherever the tissue was, and contacts count by how near the peak they are. k-means makes more groups than there are
units; neighbouring groups that no valley parts then become one.

A group is as local as its peaks: all of it is sums over the few contacts around a peak, however long the shank.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise, repeat

import numba
import numpy as np
from numpy.typing import NDArray

from driftcli.footprints import components, local

UNGROUPED = -1

_COMPONENTS = 5  # of time courses; fewer join units, more add noise
_MOST_COMPARED = 5000  # peaks that the components come from, and the groups' beginnings
_NEAR_UM = 50.0  # standard deviation of the weight that contacts have around a peak
_GROUP_UM = 1280 / 150  # depth per group before any are joined: several times the units that can be told apart
_PEAKS_A_GROUP = 30  # on average at least, so that few peaks don't make groups of nothing
_ITERATIONS = 8
_LEAST_PEAKS = 10  # a group of fewer is nobody's
_NEIGHBOURS = 4
_VALLEY = 0.4  # density between two groups, of that at the lower of the two, from which they are one
_CHANCE = 2.0  # standard deviations of a count that are allowed for
_BIN_UM = 2.0  # in which the displacement is taken out; finer than a peak's depth is known
_GOLDEN = (np.sqrt(5) - 1) / 2  # its multiples fall evenly between 0 and 1


def group(
    snippets: NDArray[np.float32] | NDArray[np.int16],
    contacts: NDArray[np.int32],
    positions_um: NDArray[np.float64],
    places_um: NDArray[np.float64],
    displacement_um: NDArray[np.float64],
    weights_at: Callable[[float], NDArray[np.float64]],
    jobs: int = 1,
) -> NDArray[np.int64]:
    """(P,) the group of each peak, counted from 0, `UNGROUPED` for those of no group; the same for the same input.

    snippets: (P, T, K) traces around the peaks of one shank, at the K contacts around each.
    contacts: (P, K) which contacts those are, -1 where there are fewer: those within
        `local.SNIPPETS_UM` of where the peak was seen.
    positions_um: (C, 2) of the shank's contacts that snippets are from.
    places_um: (P, 2) of the peaks, x and corrected depth. displacement_um: (P,) of the tissue there and then.
    weights_at: (C, C) weights (targets, sources) that take out one displacement, as those of an interpolation method.
    jobs: threads, which change no label.
    """
    if len(snippets) < _LEAST_PEAKS:
        return np.full(len(snippets), UNGROUPED, np.int64)
    seen = local.around(places_um, positions_um, local.REACH_UM)
    features = _features(snippets, contacts, positions_um, places_um, displacement_um, weights_at, seen)
    extent_um = np.ptp(places_um[:, 1])
    count = max(1, min(int(extent_um / _GROUP_UM), len(snippets) // _PEAKS_A_GROUP))
    labels = _nearest_of_means(features, seen, places_um[:, 1], len(positions_um), count, jobs)
    return _joined(features, seen, places_um[:, 1], labels, len(positions_um))


def _features(
    snippets: NDArray[np.float32] | NDArray[np.int16],
    contacts: NDArray[np.int32],
    positions_um: NDArray[np.float64],
    places_um: NDArray[np.float64],
    displacement_um: NDArray[np.float64],
    weights_at: Callable[[float], NDArray[np.float64]],
    seen: NDArray[np.int32],
) -> NDArray[np.float32]:
    """(P, R, components): each snippet's components at the contacts `seen` around its corrected place.

    Scaled to the square root of its size: units of all sizes count, and a large one isn't split by its spikes' sizes.
    """
    step = -(-len(snippets) // _MOST_COMPARED)
    compared = np.ascontiguousarray(snippets[::step])
    among = _products_of_times(compared, np.ascontiguousarray(contacts[::step]))
    basis = components.leading(among, min(_COMPONENTS, len(among))).astype(np.float32)
    features = np.zeros((*seen.shape, len(basis)), np.float32)
    bins = np.rint(displacement_um / _BIN_UM).astype(np.int64)
    for displaced in np.unique(bins):
        weights = weights_at(float(displaced * _BIN_UM)).astype(np.float32)
        peaks = np.flatnonzero(bins == displaced)
        _take_out(snippets, contacts, positions_um, places_um, peaks, basis, weights, seen, _NEAR_UM, features)
    size = np.sqrt(np.square(features, dtype=np.float64).sum(axis=(1, 2)))
    features /= np.sqrt(np.maximum(size, 1e-12))[:, None, None].astype(np.float32)
    return features


def _nearest_of_means(
    features: NDArray[np.float32],
    seen: NDArray[np.int32],
    depths_um: NDArray[np.float64],
    num_contacts: int,
    count: int,
    jobs: int,
) -> NDArray[np.int64]:
    """(P,) labels of k-means."""
    some = slice(None, None, -(-len(features) // _MOST_COMPARED))
    means, centres_um = _starts(features[some], seen[some], depths_um[some], num_contacts, count)
    labels = np.zeros(len(features), np.int64)
    bounds = np.linspace(0, len(features), jobs + 1).astype(np.int64)
    parts = [slice(first, last) for first, last in pairwise(bounds)]
    peaks = [[each[part] for part in parts] for each in (features, seen, depths_um)]
    with ThreadPoolExecutor(jobs) as pool:
        for _ in range(_ITERATIONS):
            order = np.argsort(centres_um, kind="stable")
            along = np.ascontiguousarray(means[order].transpose(1, 2, 0))
            to_each = pool.map(_nearest, *peaks, repeat(along), repeat(centres_um[order]), repeat(2 * local.REACH_UM))
            labels = order[np.concatenate([nearest for nearest, _ in to_each])]
            _average(features, seen, depths_um, labels, means, centres_um)
    return labels


def _starts(
    features: NDArray[np.float32],
    seen: NDArray[np.int32],
    depths_um: NDArray[np.float64],
    num_contacts: int,
    count: int,
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Means (count, C, R) and their depths to start from: peaks that lie far from those before, without chance. The
    next is where the running sum of squared distances passes an even share of its total."""
    size_sq = np.square(features, dtype=np.float64).sum(axis=(1, 2))
    apart_sq = size_sq.copy()  # from the nearest that was chosen; at first from nothing at all
    means = np.zeros((count, num_contacts, features.shape[2]), np.float32)
    centres_um = np.zeros(count)
    for index in range(count):
        running = np.cumsum(apart_sq)
        first = np.searchsorted(running, ((index + 0.5) * _GOLDEN % 1) * running[-1], side="right")
        chosen = min(int(first), len(features) - 1)
        centres_um[index] = depths_um[chosen]
        means[index, seen[chosen][seen[chosen] >= 0]] = features[chosen][seen[chosen] >= 0]
        one = np.ascontiguousarray(means[index, :, :, None])
        distance_sq = _nearest(features, seen, depths_um, one, centres_um[index : index + 1], 2 * local.REACH_UM)[1]
        apart_sq = np.minimum(apart_sq, np.maximum(distance_sq + size_sq, 0))
    return means, centres_um


def _joined(
    features: NDArray[np.float32],
    seen: NDArray[np.int32],
    depths_um: NDArray[np.float64],
    labels: NDArray[np.int64],
    num_contacts: int,
) -> NDArray[np.int64]:
    """Labels after neighbours were joined, the nearest first, round after round, until valleys part all of them."""
    while True:
        labels = _without_small(labels)
        count = int(labels.max()) + 1
        means = np.zeros((count, num_contacts, features.shape[2]), np.float32)
        centres_um = np.zeros(count)
        _average(features, seen, depths_um, labels, means, centres_um)
        order = np.argsort(labels, kind="stable")
        bounds = np.searchsorted(labels[order], np.arange(count + 1))
        free = np.ones(count, bool)
        for one, other in _neighbours(means, centres_um):
            if free[one] and free[other]:
                members = order[bounds[one] : bounds[one + 1]], order[bounds[other] : bounds[other + 1]]
                along = _project(features, seen, members[0], means[one], means[other])
                back = _project(features, seen, members[1], means[other], means[one])
                if _is_one(np.concatenate([along, 1 - back])):
                    labels[members[1]] = one
                    free[one] = free[other] = False
        if free.all():
            return labels


def _without_small(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Groups of too few peaks dissolved, the others counted from 0 again."""
    sizes = np.bincount(labels[labels >= 0])
    kept = sizes >= _LEAST_PEAKS
    renamed = np.where(kept, np.cumsum(kept) - 1, UNGROUPED)
    return np.where(labels >= 0, renamed[labels], UNGROUPED).astype(np.int64)


def _neighbours(means: NDArray[np.float32], centres_um: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Pairs of groups of which one is among the nearest of the other, the closest pair first."""
    apart_sq = _between(means, centres_um, 2 * local.REACH_UM)
    nearest = np.argsort(apart_sq, axis=1, kind="stable")[:, :_NEIGHBOURS]
    pairs = {(min(i, int(j)), max(i, int(j))) for i, row in enumerate(nearest) for j in row}
    return sorted((pair for pair in pairs if apart_sq[pair] < np.inf), key=lambda pair: (apart_sq[pair], pair))


def _is_one(along: NDArray[np.float64]) -> bool:
    """Whether peaks along the line between the means of two groups, at 0 and 1, have no valley between them."""
    density = [np.count_nonzero((along >= at - 0.1) & (along < at + 0.1)) for at in np.arange(11) / 10]
    lowest = min(density[3:8])
    # of few peaks some tenth has few by chance: a valley is one that chance doesn't explain
    return bool(lowest + _CHANCE * np.sqrt(lowest) > _VALLEY * min(max(density[:3]), max(density[8:])))


@numba.njit(nogil=True, cache=True)
def _products_of_times(snippets, contacts):  # type: ignore[no-untyped-def]
    """(T, T) sums over peaks and contacts of the products of a snippet's samples."""
    num_times = snippets.shape[1]
    sums = np.zeros((num_times, num_times))
    course = np.empty(num_times)
    for peak in range(len(snippets)):
        for slot in range(contacts.shape[1]):
            if contacts[peak, slot] >= 0:
                for time in range(num_times):
                    course[time] = snippets[peak, time, slot]
                for one in range(num_times):
                    for other in range(num_times):
                        sums[one, other] += course[one] * course[other]
    return sums


@numba.njit(nogil=True, cache=True)
def _take_out(  # type: ignore[no-untyped-def]
    snippets, contacts, positions_um, places_um, peaks, basis, weights, seen, near_um, features
):
    """Fill in the features of some peaks of one displacement: components, moved by the weights, the near ones most."""
    num_components = len(basis)
    reduced = np.empty((contacts.shape[1], num_components), np.float32)
    for peak in peaks:
        for slot in range(contacts.shape[1]):
            for component in range(num_components):
                total = np.float32(0)
                for time in range(snippets.shape[1]):
                    total += basis[component, time] * np.float32(snippets[peak, time, slot])
                reduced[slot, component] = total
        for place in range(seen.shape[1]):
            target = seen[peak, place]
            if target < 0:
                break
            across = positions_um[target, 0] - places_um[peak, 0]
            along = positions_um[target, 1] - places_um[peak, 1]
            near = np.float32(np.exp(-0.5 * (across * across + along * along) / near_um**2))
            for slot in range(contacts.shape[1]):
                source = contacts[peak, slot]
                if source >= 0:
                    factor = near * weights[target, source]
                    for component in range(num_components):
                        features[peak, place, component] += factor * reduced[slot, component]


@numba.njit(nogil=True, cache=True)
def _nearest(features, seen, depths_um, means, centres_um, reach_um):  # type: ignore[no-untyped-def]
    """(P,) the nearest mean, the lowest of several, and the squared distance to it less the peak's own square.

    means: (C, R, M), centres_um ascending: a mean farther along the shank than the reach shares no contact with a peak.
    """
    num_components, count = means.shape[1:]
    size_sq = np.zeros(count)
    for contact in range(len(means)):
        for component in range(num_components):
            for index in range(count):
                size_sq[index] += np.float64(means[contact, component, index]) ** 2
    labels = np.zeros(len(features), np.int64)
    least = np.zeros(len(features))
    shared = np.empty(count, np.float32)
    smallest = np.argmin(size_sq)
    for peak in range(len(features)):
        first = np.searchsorted(centres_um, depths_um[peak] - reach_um)
        last = np.searchsorted(centres_um, depths_um[peak] + reach_um, side="right")
        within = shared[first:last]
        within[:] = 0.0
        for place in range(seen.shape[1]):
            contact = seen[peak, place]
            if contact < 0:
                break
            for component in range(num_components):
                feature = features[peak, place, component]
                mean = means[contact, component, first:last]
                for index in range(len(within)):
                    within[index] += feature * mean[index]
        labels[peak], least[peak] = smallest, size_sq[smallest]
        for index in range(first, last):
            distance_sq = size_sq[index] - 2 * np.float64(shared[index])
            if distance_sq < least[peak] or (distance_sq == least[peak] and index < labels[peak]):
                labels[peak], least[peak] = index, distance_sq
    return labels, least


@numba.njit(nogil=True, cache=True)
def _average(features, seen, depths_um, labels, means, centres_um):  # type: ignore[no-untyped-def]
    """Means of the groups and of their depths; those of an empty group stay."""
    sums = np.zeros(means.shape)
    depths = np.zeros(len(means))
    counts = np.zeros(len(means), np.int64)
    for peak in range(len(features)):
        label = labels[peak]
        if label < 0:
            continue
        counts[label] += 1
        depths[label] += depths_um[peak]
        for place in range(seen.shape[1]):
            contact = seen[peak, place]
            if contact < 0:
                break
            for component in range(means.shape[2]):
                sums[label, contact, component] += features[peak, place, component]
    for label in range(len(means)):
        if counts[label]:
            centres_um[label] = depths[label] / counts[label]
            for contact in range(means.shape[1]):
                for component in range(means.shape[2]):
                    means[label, contact, component] = sums[label, contact, component] / counts[label]


@numba.njit(nogil=True, cache=True)
def _between(means, centres_um, reach_um):  # type: ignore[no-untyped-def]
    """(groups, groups) squared distances between the means, infinite to itself and beyond the reach."""
    apart_sq = np.full((len(means), len(means)), np.inf)
    for one in range(len(means)):
        for other in range(one):
            if abs(centres_um[one] - centres_um[other]) <= reach_um:
                total = 0.0
                for contact in range(means.shape[1]):
                    for component in range(means.shape[2]):
                        total += (means[one, contact, component] - means[other, contact, component]) ** 2
                apart_sq[one, other] = apart_sq[other, one] = total
    return apart_sq


@numba.njit(nogil=True, cache=True)
def _project(features, seen, peaks, own, other):  # type: ignore[no-untyped-def]
    """Where all peaks of a group lie along the line from its mean, 0, to the mean of another, 1.

    Each peak is left out of its own group's mean: of few, all would lie near the mean for the noise that they put
    into it, with a valley before the other.
    """
    count = max(len(peaks), 2)
    own_sq = other_sq = both = 0.0
    for contact in range(own.shape[0]):
        for component in range(own.shape[1]):
            own_sq += np.float64(own[contact, component]) ** 2
            other_sq += np.float64(other[contact, component]) ** 2
            both += np.float64(own[contact, component]) * other[contact, component]
    along = np.empty(len(peaks))
    for index in range(len(peaks)):
        size_sq = with_own = with_other = 0.0
        for place in range(seen.shape[1]):
            contact = seen[peaks[index], place]
            if contact < 0:
                break
            for component in range(own.shape[1]):
                feature = np.float64(features[peaks[index], place, component])
                size_sq += feature * feature
                with_own += feature * own[contact, component]
                with_other += feature * other[contact, component]
        # the same products with the mean of the others: (count * own - peak) / (count - 1)
        rest_sq = (count**2 * own_sq - 2 * count * with_own + size_sq) / (count - 1) ** 2
        with_rest = (count * with_own - size_sq) / (count - 1)
        rest_other = (count * both - with_other) / (count - 1)
        length_sq = other_sq - 2 * rest_other + rest_sq
        along[index] = (with_other - with_rest - rest_other + rest_sq) / max(length_sq, 1e-300)
    return along
