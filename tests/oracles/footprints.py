"""Footprints of groups of peaks, slow and dense: groups with every peak at every contact, fields by general inverses.

A snippet is (T, C) with NaN at the contacts that it lacks.
"""

import math

import numpy as np

from oracles import interpolate

GOLDEN = (math.sqrt(5) - 1) / 2


# --- groups -----------------------------------------------------------------------------------------------------------


def group(snippets, positions, places, displacement, weights_at):
    """Labels (P,) from snippets (P, T, C): features, k-means, and neighbours joined."""
    features = all_features(snippets, positions, places, displacement, weights_at)
    count = max(1, min(int(np.ptp(places[:, 1]) / (1280 / 150)), len(snippets) // 30))
    return join(features, k_means(features, count))


def all_features(snippets, positions, places, displacement, weights_at):
    """(P, C * 5) components at the contacts, displacement taken out, weighed by nearness, over the root of the size."""
    compared = snippets[:: math.ceil(len(snippets) / 5000)]
    courses = compared.transpose(0, 2, 1).reshape(-1, snippets.shape[1])
    courses = courses[~np.isnan(courses).any(axis=1)]
    basis = np.linalg.eigh(courses.T @ courses)[1][:, ::-1][:, :5].T
    features = []
    for snippet, place, moved in zip(np.nan_to_num(snippets), places, displacement, strict=True):
        apart = np.hypot(*(positions - place).T)
        near = np.where(apart <= 110, np.exp(-0.5 * (apart / 50) ** 2), 0)
        feature = (near[:, None] * (weights_at(2 * np.rint(moved / 2)) @ snippet.T @ basis.T)).ravel()
        features.append(feature / math.sqrt(np.linalg.norm(feature)))
    return np.array(features)


def k_means(features, count):
    some = features[:: math.ceil(len(features) / 5000)]
    apart = (some**2).sum(axis=1)
    means = []
    for index in range(count):
        total = np.cumsum(apart)
        means.append(some[np.flatnonzero(total > ((index + 0.5) * GOLDEN % 1) * total[-1])[0]])
        apart = np.minimum(apart, ((some - means[-1]) ** 2).sum(axis=1))
    means = np.array(means)
    for _ in range(8):
        labels = ((features[:, None] - means[None]) ** 2).sum(axis=2).argmin(axis=1)
        means = np.array(
            [features[labels == k].mean(axis=0) if (labels == k).any() else means[k] for k in range(count)]
        )
    return labels


def join(features, labels):
    """Rounds: small groups go; of each group and its four nearest, closest pairs first, those without a valley join."""
    while True:
        for label in set(labels) - {-1}:
            if (labels == label).sum() < 10:
                labels[labels == label] = -1
        kept = sorted(set(labels) - {-1})
        means = {label: features[labels == label].mean(axis=0) for label in kept}
        apart = {(a, b): np.linalg.norm(means[a] - means[b]) for a in kept for b in kept if a != b}
        pairs = {
            (min(a, b), max(a, b))
            for a in kept
            for b in sorted((b for b in kept if b != a), key=lambda b, a=a: apart[a, b])[:4]
        }
        before = labels.copy()
        used = set()
        for a, b in sorted(pairs, key=lambda pair: apart[pair]):
            along = project(features[before == a], means[b])
            back = project(features[before == b], means[a])
            if not {a, b} & used and is_one(np.concatenate([along, 1 - back])):
                labels[labels == b] = a
                used |= {a, b}
        if not used:
            return np.array([kept.index(label) if label >= 0 else -1 for label in labels])


def project(group, mean):
    """Where members lie along the line from the mean of the other members, 0, to the mean of another group, 1."""
    along = []
    for index, feature in enumerate(group):
        start = np.delete(group, index, axis=0).mean(axis=0)
        along.append((feature - start) @ (mean - start) / ((mean - start) @ (mean - start)))
    return np.array(along)


def is_one(along):
    density = [((along >= at / 10 - 0.1) & (along < at / 10 + 0.1)).sum() for at in range(11)]
    lowest = min(density[3:8])
    return lowest + 2 * math.sqrt(lowest) > 0.4 * min(max(density[:3]), max(density[8:]))


# --- fields -----------------------------------------------------------------------------------------------------------


def moments(snippets, labels, displacement, positions, covary, noise_variance, noise_length, bin_um):
    """Displacements (D,), and (D, C, C) moments of what contacts see: both displaced; the first at rest."""
    bins = np.rint(displacement / bin_um).astype(int)
    all_bins = np.arange(min(0, bins.min()), max(0, bins.max()) + 1)
    displaced, resting = np.zeros((2, len(all_bins), len(positions), len(positions)))
    for label in sorted(set(labels) - {-1}):
        members = labels == label
        if members.sum() < 30:
            continue
        near, one, other = field_moments(
            snippets[members], bins[members], positions, covary, noise_variance, noise_length, bin_um, all_bins
        )
        size = max(np.trace(each) for each in one)
        displaced[np.ix_(range(len(all_bins)), near, near)] += one / size
        resting[np.ix_(range(len(all_bins)), near, near)] += other / size
    return all_bins * bin_um, displaced, resting


def field_moments(snippets, bins, positions, covary, noise_variance, noise_length, bin_um, all_bins):
    """Of one group: the contacts around its largest spike, and its moments there."""
    fullest = max(sorted(set(bins)), key=lambda b: (bins == b).sum())
    there = snippets[bins == fullest]
    has = (~np.isnan(there[:, 0])).sum(axis=0)
    largest = max(
        (c for c in range(len(positions)) if has[c] >= 0.3 * has.max()),
        key=lambda c: np.ptp(np.nanmean(there[:, :, c], axis=0)),
    )
    near = np.flatnonzero(np.hypot(*(positions - positions[largest]).T) <= 110)
    places = {}  # of the field, by what counts as one place: the spikes seen there, and those of each bin
    for b in all_bins:
        for c in near:
            moved = positions[c] - [0, b * bin_um]
            place = places.setdefault(grid(moved, bin_um), {"um": moved, "spikes": [], "count": {}})
            spikes = snippets[(bins == b) & ~np.isnan(snippets[:, 0, c])][:, :, c]
            place["spikes"].extend(spikes)
            place["count"][b] = len(spikes)
    everywhere = np.array([place["um"] for place in places.values()])
    seen = [place for place in places.values() if place["spikes"]]
    courses = np.array([np.mean(place["spikes"], axis=0) for place in seen])
    counts = np.array([len(place["spikes"]) for place in seen])
    basis = np.linalg.eigh((courses.T * counts) @ courses)[1][:, ::-1][:, :5].T
    at_seen = np.array([place["um"] for place in seen])
    noise = np.zeros((len(seen), len(seen)))
    for i, one in enumerate(seen):
        for j, other in enumerate(seen):
            shared = 0.5 * math.exp(-math.dist(one["um"], other["um"]) / noise_length) + 0.5 * (i == j)
            both = sum(min(one["count"].get(b, 0), other["count"].get(b, 0)) for b in all_bins)
            noise[i, j] = noise_variance * shared * both / (counts[i] * counts[j])
    mean_product = np.zeros((len(everywhere), len(everywhere)))
    for component in basis:
        values = courses @ component
        power = max(values[counts >= 0.3 * counts.max()] ** 2) - noise_variance / counts.max()
        variance = max(0.1 * power, 1e-4 * noise_variance)
        prior = variance * covary(everywhere, everywhere)
        to_seen = variance * covary(everywhere, at_seen)
        inverse = np.linalg.inv(variance * (covary(at_seen, at_seen) + 1e-9 * np.eye(len(seen))) + noise)
        mean = to_seen @ inverse @ values
        mean_product += np.outer(mean, mean) + prior - to_seen @ inverse @ to_seen.T
    index = {key: number for number, key in enumerate(places)}
    looked_at = [[index[grid(positions[c] - [0, b * bin_um], bin_um)] for c in near] for b in all_bins]
    at_rest = looked_at[list(all_bins).index(0)]
    return (
        near,
        np.array([mean_product[np.ix_(each, each)] for each in looked_at]),
        np.array([mean_product[np.ix_(at_rest, each)] for each in looked_at]),
    )


def grid(place, bin_um):
    return tuple(np.rint(place / (bin_um / 2)))


# --- weights ----------------------------------------------------------------------------------------------------------


def fitted_weights(gaussian, displacement, bins_um, displaced, resting, sources, held):
    """(C, S) weights: those of the Gaussian process, and differences that are linear between bins.

    gaussian: function of a displacement for all contacts, to (C, S) weights. held: (S, S) what holds weights to these.
    """
    differences = []
    for moved, one, other in zip(bins_um, displaced, resting, strict=True):
        start = gaussian(moved)
        one, other = one[np.ix_(sources, sources)], other[:, sources]
        difference = np.linalg.solve(one + held, (other - start @ one).T).T
        kept = interpolate.drop_smallest(difference, 0.02)
        for row in kept:
            row[row != 0] -= row.sum() / max((row != 0).sum(), 1)
        differences.append(kept)
        if moved == 0:
            differences[-1][sources] = 0
    width = bins_um[1] - bins_um[0]
    weights = np.empty_like(differences[0])
    for target, moved in enumerate(displacement):
        weights[target] = gaussian(moved)[target]
        for source in range(len(sources)):
            column = [each[target, source] for each in differences]
            past = max(bins_um[0] - moved, moved - bins_um[-1]) / width
            weights[target, source] += np.interp(moved, bins_um, column) * np.interp(past, [0.5, 1.5], [1, 0])
    return weights
