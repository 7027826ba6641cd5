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
    compared = snippets[:: math.ceil(len(snippets) / 3000)]
    courses = compared.transpose(0, 2, 1).reshape(-1, snippets.shape[1])
    courses = courses[~np.isnan(courses).any(axis=1)]
    basis = np.linalg.eigh(courses.T @ courses)[1][:, ::-1][:, :5].T
    features = []
    for snippet, place, moved in zip(np.nan_to_num(snippets), places, displacement, strict=True):
        apart = np.hypot(*(positions - place).T)
        near = np.where(apart <= 110, np.exp(-0.5 * (apart / 50) ** 2), 0)
        feature = (near[:, None] * (weights_at(np.rint(moved)) @ snippet.T @ basis.T)).ravel()
        features.append(feature / math.sqrt(np.linalg.norm(feature)))
    return np.array(features)


def k_means(features, count):
    apart = (features**2).sum(axis=1)
    means = []
    for index in range(count):
        total = np.cumsum(apart)
        means.append(features[np.flatnonzero(total > ((index + 0.5) * GOLDEN % 1) * total[-1])[0]])
        apart = np.minimum(apart, ((features - means[-1]) ** 2).sum(axis=1))
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
        size = np.trace(one[list(all_bins).index(0)])
        displaced[np.ix_(range(len(all_bins)), near, near)] += one / size
        resting[np.ix_(range(len(all_bins)), near, near)] += other / size
    return all_bins * bin_um, displaced, resting


def field_moments(snippets, bins, positions, covary, noise_variance, noise_length, bin_um, all_bins):
    """Of one group: the contacts around its largest spike, and its moments there."""
    fullest = max(sorted(set(bins)), key=lambda b: (bins == b).sum())
    there = snippets[bins == fullest]
    largest = max(
        (c for c in range(len(positions)) if not np.isnan(there[:, 0, c]).all()),
        key=lambda c: np.ptp(np.nanmean(there[:, :, c], axis=0)),
    )
    near = np.flatnonzero(np.hypot(*(positions - positions[largest]).T) <= 110)
    seen = [
        (b, c, (~np.isnan(snippets[bins == b, 0, c])).sum())
        for b in sorted(set(bins))
        for c in near
        if (~np.isnan(snippets[bins == b, 0, c])).any()
    ]
    courses = np.array([np.nanmean(snippets[bins == b, :, c], axis=0) for b, c, _ in seen])
    counts = np.array([n for _, _, n in seen])
    basis = np.linalg.eigh((courses.T * counts) @ courses)[1][:, ::-1][:, :5].T
    places = np.array([positions[c] - [0, b * bin_um] for b, c, _ in seen])
    everywhere = np.array([positions[c] - [0, b * bin_um] for b in all_bins for c in near])
    noise = np.zeros((len(seen), len(seen)))
    for i, (b, c, n) in enumerate(seen):
        for j, (b2, c2, n2) in enumerate(seen):
            if b == b2:
                shared = 0.5 * math.exp(-math.dist(positions[c], positions[c2]) / noise_length) + 0.5 * (c == c2)
                noise[i, j] = noise_variance * shared / max(n, n2)
    mean_product = np.zeros((len(everywhere), len(everywhere)))
    for component in basis:
        values = courses @ component
        power = max(values[counts >= 0.3 * counts.max()] ** 2) - noise_variance / counts.max()
        variance = max(0.1 * power, 1e-4 * noise_variance)
        prior = variance * covary(everywhere, everywhere)
        to_seen = variance * covary(everywhere, places)
        inverse = np.linalg.inv(variance * (covary(places, places) + 1e-9 * np.eye(len(places))) + noise)
        mean = to_seen @ inverse @ values
        mean_product += np.outer(mean, mean) + prior - to_seen @ inverse @ to_seen.T
    k = len(near)
    rest = list(all_bins).index(0) * k
    blocks = [slice(i * k, (i + 1) * k) for i in range(len(all_bins))]
    return (
        near,
        np.array([mean_product[block, block] for block in blocks]),
        np.array([mean_product[rest : rest + k, block] for block in blocks]),
    )


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
        differences.append(interpolate.drop_smallest(difference, 0.02))
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
