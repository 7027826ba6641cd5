"""Noise levels, medians and references, one channel or sample at a time."""

import numpy as np


def median(values):
    """Middle value of a list; the average of the two middle ones of an even number; NaN if there is any."""
    values = [float(value) for value in values]
    if any(value != value for value in values):
        return float("nan")
    values.sort()
    middle = len(values) // 2
    if len(values) % 2:
        return values[middle]
    return float(np.float32(np.float32(values[middle - 1] + values[middle]) / 2))


def mad_noise_level(traces):
    levels = []
    for channel in np.asarray(traces).T:
        center = np.float32(median(channel))
        levels.append(median(np.abs(channel - center)) / 0.6744897501960817)
    return np.array(levels)


def without_median(traces):
    return np.array([row - np.float32(median(row)) for row in traces])
