"""Traces times sparse weights."""

from __future__ import annotations

import numba
import numpy as np

_TILE = 128  # samples turned channel by channel at a time, so that a tile of all contacts stays in the cache
_PADDED = _TILE + 16  # rows a power of two apart would share the same few lines of the cache


@numba.njit(nogil=True, cache=True)
def add_up(traces, first, last, contacts, starts, sources, values, columns, corrected):  # type: ignore[no-untyped-def]
    """Write the weighted sums of rows [first, last) of `traces` (S, C) into the same rows of `corrected` (S, C_out).

    Row t of the weights, `values[starts[t]:starts[t + 1]]` of the contacts `contacts[sources[...]]`, gives column
    `columns[t]`. Sums are float32, in the order of the sources, each sample on its own: the result of a sample is the
    same whatever rows come with it. A contact without weight is never touched, so its NaN does not spread.
    """
    num_targets = len(columns)
    before = np.empty((len(contacts), _PADDED), np.float32)
    after = np.empty((num_targets, _PADDED), np.float32)
    for row in range(first, last, _TILE):
        length = min(_TILE, last - row)
        for sample in range(length):
            for index in range(len(contacts)):
                before[index, sample] = traces[row + sample, contacts[index]]
        for target in range(num_targets):
            _sum_sources(before, starts[target], starts[target + 1], sources, values, length, after[target])
        for sample in range(length):
            for target in range(num_targets):
                corrected[row + sample, columns[target]] = after[target, sample]


@numba.njit(nogil=True, cache=True)
def _sum_sources(traces, begin, end, sources, values, length, total):  # type: ignore[no-untyped-def]
    """total[:length] = the sum of values[i] * traces[sources[i]] for i from begin to end, in that order."""
    if begin == end:
        total[:length] = 0.0
        return
    # the first product is assigned, not added to zero: a weight of 1 alone keeps the sign of -0.0
    source, weight = sources[begin], values[begin]
    for sample in range(length):
        total[sample] = weight * traces[source, sample]
    i = begin + 1
    while i + 4 <= end:  # four at a time: a quarter of the loads and stores of the total
        s0, s1, s2, s3 = sources[i], sources[i + 1], sources[i + 2], sources[i + 3]
        w0, w1, w2, w3 = values[i], values[i + 1], values[i + 2], values[i + 3]
        for sample in range(length):
            total[sample] = (
                ((total[sample] + w0 * traces[s0, sample]) + w1 * traces[s1, sample]) + w2 * traces[s2, sample]
            ) + w3 * traces[s3, sample]
        i += 4
    while i < end:
        source, weight = sources[i], values[i]
        for sample in range(length):
            total[sample] += weight * traces[source, sample]
        i += 1
