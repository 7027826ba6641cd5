"""Spatial windows that fit the shank, one weight at a time."""

import math


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
