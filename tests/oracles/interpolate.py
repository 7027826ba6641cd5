"""Interpolation of traces, slow and obvious: weights of each method, lookup of the motion, corrected traces."""

import math

import numpy as np


def kriging_weights(positions, displacement, sigma, p, extrapolate, sources=None):
    """Dense (targets, sources) weights by numpy's general pseudo-inverse, as the reference program has them.

    sources: here and below, positions of the contacts whose traces are used, if not of all.
    """
    sources = positions if sources is None else sources
    moved = positions.copy()
    moved[:, 1] += displacement

    def covariance(a, b):
        return math.exp(-((math.dist(a, b) / sigma) ** p))

    among = np.array([[covariance(a, b) for b in sources] for a in sources])
    to_targets = np.array([[covariance(a, b) for b in sources] for a in moved])
    weights = to_targets @ np.linalg.pinv(among + 1e-6 * np.eye(len(sources)))
    for target in range(len(weights)):
        if is_inside(sources, moved[target]):
            weights[target] /= weights[target].sum()
        elif not extrapolate:
            weights[target] = 0
    return weights


def gaussian_process_weights(
    positions,
    displacement,
    spike_length,
    spike_offset,
    noise_length,
    shared_noise,
    own_noise,
    extrapolate,
    sources=None,
):
    """Dense (targets, sources) weights by numpy's general inverse, row by row scaled to sum 1."""
    sources = positions if sources is None else sources

    def covariance(a, b):
        apart = math.dist(a, b)
        beyond = math.sqrt(apart**2 + spike_offset**2) - spike_offset
        return (1 - shared_noise) * math.exp(-beyond / spike_length) + shared_noise * math.exp(-apart / noise_length)

    among = np.array([[covariance(a, b) for b in sources] for a in sources])
    inverse = np.linalg.inv(among + own_noise * np.eye(len(sources)))
    weights = np.zeros((len(positions), len(sources)))
    for target, (x, y) in enumerate(positions):
        here = (x, y + displacement[target])
        if extrapolate or is_inside(sources, here):
            row = np.array([covariance(here, source) for source in sources]) @ inverse
            weights[target] = row / max(row.sum(), 0.5)
    return weights


def idw_weights(positions, displacement, num_closest, extrapolate, sources=None):
    """1 / distance of the closest contacts, scaled to sum 1; a contact at distance 0 alone; ties to the lower index."""
    sources = positions if sources is None else sources
    weights = np.zeros((len(positions), len(sources)))
    for target, (x, y) in enumerate(positions):
        here = (x, y + displacement[target])
        if not extrapolate and not is_inside(sources, here):
            continue
        closest = sorted((math.dist(here, source), index) for index, source in enumerate(sources))[:num_closest]
        if closest[0][0] == 0:
            weights[target, closest[0][1]] = 1
            continue
        total = sum(1 / distance for distance, _ in closest)
        for distance, index in closest:
            weights[target, index] = 1 / distance / total
    return weights


def nearest_weights(positions, displacement, extrapolate, sources=None):
    """1 for the nearest contact, the lowest of several."""
    sources = positions if sources is None else sources
    weights = np.zeros((len(positions), len(sources)))
    for target, (x, y) in enumerate(positions):
        here = (x, y + displacement[target])
        if extrapolate or is_inside(sources, here):
            weights[target, min((math.dist(here, s), i) for i, s in enumerate(sources))[1]] = 1
    return weights


def is_inside(sources, point):
    """Whether a point lies between the lowest and the highest source, both included."""
    return min(sources[:, 1]) <= point[1] <= max(sources[:, 1])


def drop_smallest(weights, limit):
    """Zero the smallest weights of each row, one after another, while the sum of what was zeroed stays <= limit."""
    result = weights.copy()
    for row in result:
        dropped = 0.0
        for index in sorted(range(len(row)), key=lambda i: (abs(row[i]), i)):
            dropped += abs(row[index])
            if dropped > limit:
                break
            row[index] = 0
    return result


def displacement(motion, bins, windows, time, depth, how, steps=()):
    """Displacement at one time and depth. motion: (bins, windows); how: nearest_bin or linear.

    Only bins of the time's side of all steps count; where there is none, the nearest of all bins.
    """

    def side(when):
        return sum(step <= when for step in steps)

    there = [index for index in range(len(bins)) if side(bins[index]) == side(time)]
    if not there:
        there, how = list(range(len(bins))), "nearest_bin"
    bins, motion = [bins[index] for index in there], [motion[index] for index in there]
    if how == "linear":
        return float(np.interp(time, bins, [np.interp(depth, windows, row) for row in motion]))
    best = 0
    for index in range(1, len(bins)):
        if time >= (bins[index - 1] + bins[index]) / 2:
            best = index
    return float(np.interp(depth, windows, motion[best]))


def corrected(traces, weights_of_sample):
    """Sample by sample: that sample's weights (targets, sources) times its values; no weight, no part in the sum."""
    result = []
    for sample, values in enumerate(traces):
        weights = weights_of_sample(sample)
        result.append([sum(float(w) * float(v) for w, v in zip(row, values, strict=True) if w != 0) for row in weights])
    return np.array(result)
