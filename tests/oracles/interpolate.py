"""Interpolation of traces, slow and obvious: weights of each method, lookup of the motion, corrected traces."""

import math

import numpy as np


def kriging_weights(positions, displacement, sigma, p, extrapolate):
    """Dense (targets, sources) weights by numpy's general pseudo-inverse, as the reference program has them."""
    moved = positions.copy()
    moved[:, 1] += displacement

    def covariance(a, b):
        return math.exp(-((math.dist(a, b) / sigma) ** p))

    among = np.array([[covariance(a, b) for b in positions] for a in positions])
    to_targets = np.array([[covariance(a, b) for b in positions] for a in moved])
    weights = to_targets @ np.linalg.pinv(among + 1e-6 * np.eye(len(positions)))
    for target in range(len(weights)):
        if is_inside(positions, moved[target]):
            weights[target] /= weights[target].sum()
        elif not extrapolate:
            weights[target] = 0
    return weights


def idw_weights(positions, displacement, num_closest, extrapolate):
    """1 / distance of the closest contacts, scaled to sum 1; a contact at distance 0 alone; ties to the lower index."""
    weights = np.zeros((len(positions), len(positions)))
    for target, (x, y) in enumerate(positions):
        here = (x, y + displacement[target])
        if not extrapolate and not is_inside(positions, here):
            continue
        closest = sorted((math.dist(here, source), index) for index, source in enumerate(positions))[:num_closest]
        if closest[0][0] == 0:
            weights[target, closest[0][1]] = 1
            continue
        total = sum(1 / distance for distance, _ in closest)
        for distance, index in closest:
            weights[target, index] = 1 / distance / total
    return weights


def nearest_weights(positions, displacement, extrapolate):
    """1 for the nearest contact, the lowest of several."""
    weights = np.zeros((len(positions), len(positions)))
    for target, (x, y) in enumerate(positions):
        here = (x, y + displacement[target])
        if extrapolate or is_inside(positions, here):
            weights[target, min((math.dist(here, s), i) for i, s in enumerate(positions))[1]] = 1
    return weights


def is_inside(positions, point):
    """Whether a point is in the box that holds all contacts, its sides included."""
    return all(min(positions[:, dim]) <= point[dim] <= max(positions[:, dim]) for dim in (0, 1))


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


def displacement(motion, bins, windows, time, depth, how):
    """Displacement at one time and depth. motion: (bins, windows); how: nearest_bin or linear."""
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
