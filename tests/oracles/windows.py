"""Spatial windows that fit the shank, one weight at a time."""

import math

import numpy as np


def centres_um(lowest, highest, step, margin):
    """Centres a step apart, as many as fit between the ends less the margin, with what is left over split evenly."""
    low, high = lowest - margin, highest + margin
    count = math.floor((high - low) / step) + 1
    border = (high - low - (count - 1) * step) / 2
    return [low + border + n * step for n in range(count)]


def weights(shape, bins_um, centre, scale):
    """Weight of each bin: a Gaussian of sigma `scale`, or a rectangle or triangle `scale` wide."""
    distances = [abs(y - centre) for y in bins_um]
    if shape == "gaussian":
        return [math.exp(-((d / scale) ** 2) / 2) for d in distances]
    if shape == "rect":
        return [1.0 if d < scale / 2 else 0.0 for d in distances]
    inside = [d for d in distances if d <= scale / 2]
    nearest, farthest = min(inside), max(inside)
    return [(farthest - d) / (farthest - nearest) if d <= scale / 2 else 0.0 for d in distances]


def all_weights(span_um, bins_um, shape="gaussian", step=200.0, scale=300.0, margin=None, rigid=False, threshold=None):
    """(W, D) weight of each bin in each window; with `threshold` lower ones are 0 and each window's sum is 1."""
    if rigid:
        windows = [[1.0] * len(bins_um)]
    else:
        middles = centres_um(*span_um, step, -scale / 2 if margin is None else margin)
        windows = [weights(shape, bins_um, middle, scale) for middle in middles]
    if threshold is not None:
        windows = [[w if w >= threshold else 0.0 for w in window] for window in windows]
        windows = [[w / sum(window) for w in window] for window in windows]
    return np.array(windows)
