"""Peaks, found by asking each sample in turn."""

import math


def extrema(traces, thresholds, sign):
    """(row, channel) of local minima ("neg") or maxima ("pos") in time at or beyond the threshold, or of "both"."""
    found = []
    for row in range(1, len(traces) - 1):
        for channel in range(traces.shape[1]):
            before, here, after = (float(traces[row + k, channel]) for k in (-1, 0, 1))
            bottom = here <= -thresholds[channel] and here < before and here <= after
            top = here >= thresholds[channel] and here > before and here >= after
            if (bottom and sign != "pos") or (top and sign != "neg"):
                found.append((row, channel))
    return found


def locally_exclusive(traces, thresholds, sign, sweep, positions, shanks, radius):
    """(row, channel, amplitude) of each extremum that no larger one is near to."""
    candidates = extrema(traces, thresholds, sign)

    def size(row, channel):
        return abs(float(traces[row, channel])) / thresholds[channel]

    def near(a, b):
        same = shanks[a[1]] == shanks[b[1]]
        return same and abs(a[0] - b[0]) <= sweep and math.dist(positions[a[1]], positions[b[1]]) <= radius

    def beats(a, b):
        return (-size(*a), *a) < (-size(*b), *b)

    return [
        (*peak, traces[peak])
        for peak in candidates
        if not any(beats(other, peak) for other in candidates if near(other, peak))
    ]


def by_channel(traces, thresholds, sign, sweep):
    """(row, channel, amplitude) of each sample that its channel has nothing as low (or high) around."""
    found = []
    for row in range(sweep, len(traces) - sweep):
        for channel in range(traces.shape[1]):
            for side in {"neg": [-1], "pos": [1], "both": [-1, 1]}[sign]:
                here = side * traces[row, channel]
                before = [side * traces[row - k, channel] for k in range(1, sweep + 1)]
                after = [side * traces[row + k, channel] for k in range(1, sweep + 1)]
                stands_out = all(here > v for v in before) and all(here >= v for v in after)
                if float(here) > thresholds[channel] and stands_out:
                    found.append((row, channel, traces[row, channel]))
    return found
