"""Slow, obvious versions of the conversions between file values and traces."""

import math


def to_traces(samples, columns, gains, pad_before, pad_after):
    """Rows of values times gain, with odd reflections about the first and the last row."""
    rows = [[float(row[column]) * gain for column, gain in zip(columns, gains, strict=True)] for row in samples]
    last = len(rows) - 1

    def reflected(edge, k):
        return [2 * a - b for a, b in zip(rows[edge], rows[k], strict=True)]

    before = [reflected(0, min(k, last)) for k in range(pad_before, 0, -1)]
    after = [reflected(last, max(last - k, 0)) for k in range(1, pad_after + 1)]
    return before + rows + after


def to_int16(value):
    """(int16, whether it was clipped) of a value in file units."""
    low, high = -32768, 32767
    below = math.floor(value)
    above_half = value - below
    nearest = below if above_half < 0.5 or (above_half == 0.5 and below % 2 == 0) else below + 1
    return min(max(nearest, low), high), not low <= nearest <= high
