"""Traces times sparse weights.

Contacts that lie next to each other get their corrected traces from nearly the same contacts. So weights are kept for
16 targets at a time, as vectors, for every contact that gives something to any of them; a vector times one value of a
trace adds to 16 corrected traces at once.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from driftcli.vectors import fma, load, only, splat, store  # digest fd8ed755d3e7

_LANES = 16
_ROWS = 8  # rows whose sums are under way at once; `_sum_rows` has that many
_NONE = -1


class PackedWeights(NamedTuple):
    """Weights of G groups of 16 targets; lanes beyond the last target are empty.

    starts: (G + 1,) int64, group g has the vectors starts[g] <= i < starts[g + 1].
    sources: (V,) int64, the column of the traces that a vector of weights is for, ascending in each group.
    values: (V, 16) float32.
    keep: (V, 16) int32, -1 where a value is not zero.
    zeros: (G, 16) float32, what sums begin with: -0, which added to -0 stays -0, or 0 where no weight follows.
    columns: (G, 16) int64, the columns that the sums go to, -1 in empty lanes.
    in_a_row: (G,) bool, whether a group has 16 columns one after the other.
    """

    starts: NDArray[np.int64]
    sources: NDArray[np.int64]
    values: NDArray[np.float32]
    keep: NDArray[np.int32]
    zeros: NDArray[np.float32]
    columns: NDArray[np.int64]
    in_a_row: NDArray[np.bool_]


def pack(weights: NDArray[np.float64], contacts: NDArray[np.int64], columns: NDArray[np.int64]) -> PackedWeights:
    """Pack (T targets, S sources) weights of the trace columns `contacts` (S,), sums of which go to `columns` (T,).

    Targets should be in order of place: the fewer contacts the targets of a group share, the slower.
    """
    num_groups = -(-len(weights) // _LANES)
    padded = np.zeros((num_groups * _LANES, weights.shape[1]), np.float32)
    padded[: len(weights)] = weights
    groups = padded.reshape(num_groups, _LANES, -1)
    group, source = np.nonzero(groups.any(axis=1))
    targets = np.full((num_groups, _LANES), _NONE, np.int64)
    targets.flat[: len(columns)] = columns
    values = np.ascontiguousarray(groups[group, :, source])
    return PackedWeights(
        np.searchsorted(group, np.arange(num_groups + 1)).astype(np.int64),
        contacts[source].astype(np.int64),
        values,
        -(values != 0).astype(np.int32),
        np.where(groups.any(axis=2), np.float32(-0.0), np.float32(0.0)),
        targets,
        (np.diff(targets, axis=1) == 1).all(axis=1) & (targets[:, 0] != _NONE),
    )


@numba.njit(nogil=True, cache=True)
def add_up(traces, first, last, starts, sources, values, keep, zeros, columns, in_a_row, corrected):  # type: ignore[no-untyped-def]
    """Write the weighted sums of rows [first, last) of `traces` (S, C) into the same rows of `corrected` (S, C_out).

    The weights are those of `PackedWeights`. Sums are float32, in the order of the sources, each product and sum
    rounded once, each sample on its own: the result of a sample is the same whatever rows come with it. A contact
    without weight is never touched, so its NaN does not spread.
    """
    sums = np.empty((_ROWS, _LANES), np.float32)
    for row in range(first, last, _ROWS):
        for group in range(len(starts) - 1):
            begin, end = starts[group], starts[group + 1]
            zero = load(zeros, group, 0, _LANES)
            if row + _ROWS <= last:
                _sum_rows(traces, row, begin, end, sources, values, keep, zero, sums)
            else:
                for i in range(last - row):
                    _sum_row(traces, row + i, begin, end, sources, values, keep, zero, sums, i)
            _put(sums, min(_ROWS, last - row), columns, in_a_row, group, corrected, row)


@numba.njit(nogil=True, cache=True)
def _sum_rows(traces, row, begin, end, sources, values, keep, zero, sums):  # type: ignore[no-untyped-def]
    """Sums of a group for _ROWS rows at a time: a processor goes on with others while it waits for one."""
    sum0, sum1, sum2, sum3, sum4, sum5, sum6, sum7 = zero, zero, zero, zero, zero, zero, zero, zero
    for i in range(begin, end):
        source, weight, kept = sources[i], load(values, i, 0, _LANES), load(keep, i, 0, _LANES)
        sum0 = fma(weight, only(splat(traces[row, source], _LANES), kept), sum0)
        sum1 = fma(weight, only(splat(traces[row + 1, source], _LANES), kept), sum1)
        sum2 = fma(weight, only(splat(traces[row + 2, source], _LANES), kept), sum2)
        sum3 = fma(weight, only(splat(traces[row + 3, source], _LANES), kept), sum3)
        sum4 = fma(weight, only(splat(traces[row + 4, source], _LANES), kept), sum4)
        sum5 = fma(weight, only(splat(traces[row + 5, source], _LANES), kept), sum5)
        sum6 = fma(weight, only(splat(traces[row + 6, source], _LANES), kept), sum6)
        sum7 = fma(weight, only(splat(traces[row + 7, source], _LANES), kept), sum7)
    store(sums, 0, 0, sum0)
    store(sums, 1, 0, sum1)
    store(sums, 2, 0, sum2)
    store(sums, 3, 0, sum3)
    store(sums, 4, 0, sum4)
    store(sums, 5, 0, sum5)
    store(sums, 6, 0, sum6)
    store(sums, 7, 0, sum7)


@numba.njit(nogil=True, cache=True)
def _sum_row(traces, row, begin, end, sources, values, keep, total, sums, i):  # type: ignore[no-untyped-def]
    """The same for one row."""
    for vector in range(begin, end):
        value = only(splat(traces[row, sources[vector]], _LANES), load(keep, vector, 0, _LANES))
        total = fma(load(values, vector, 0, _LANES), value, total)
    store(sums, i, 0, total)


@numba.njit(nogil=True, cache=True)
def _put(sums, num_rows, columns, in_a_row, group, corrected, row):  # type: ignore[no-untyped-def]
    for i in range(num_rows):
        if in_a_row[group]:
            store(corrected, row + i, columns[group, 0], load(sums, i, 0, _LANES))
        else:
            for lane in range(_LANES):
                if columns[group, lane] >= 0:
                    corrected[row + i, columns[group, lane]] = sums[i, lane]
