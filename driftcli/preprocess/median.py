"""Exact medians of many rows of float32, as `numpy.median` gives them, but fast: what the methods share.

A processor counts the numbers up to a pivot 8 or 16 at once. A pivot that half of the numbers are up to tells the
median: the largest of these, or its mean with the smallest of the others. The pivot starts at the median of the row
before, goes on by the distance that its rank is off, then between the pivots known to be too low and too high. Where
that leads to none in a few steps, as among equal numbers, the search is by halves. The result is that of the row alone
wherever the search began.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

_SMALLEST = np.int32(-(2**31))
_LARGEST = np.int32(2**31 - 1)
_INFINITY = np.int32(0x7F800000)  # the bits of infinity; those of NaN, its sign aside, are larger
_GUESSES = 8  # pivots to try before halving makes sure of an end
_ROWS = 4  # whose pivots are looked for at once; `_count` has that many


def row_medians(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Median of each row of (R, N) with N > 0; NaN where a row holds NaN."""
    rows, medians = np.ascontiguousarray(rows, np.float32), np.empty(len(rows), np.float32)
    _row_medians(rows, rows.view(np.int32), medians)
    return medians


def subtract_row_medians(rows: NDArray[np.float32]) -> None:
    """Take off each row of (R, N) its median, in place."""
    _subtract_row_medians(rows, rows.view(np.int32))


def subtract_row_medians_of(rows: NDArray[np.float32], runs: NDArray[np.int64]) -> None:
    """Take off each row of (R, N) the median of some of its numbers, in place.

    runs: (K, 2), where these begin and end in a row: what lies next to each other is copied at once.
    """
    some = np.empty((_ROWS, int((runs[:, 1] - runs[:, 0]).sum())), np.float32)
    _subtract_row_medians_of(rows, runs, some, some.view(np.int32))


# All kernels are in this one file: numba's cache would not see that a kernel of another file has changed. `bits` is
# another view of the same memory: read as integers, the bits of float32 can be put in order 16 at once, NaN or not.


@numba.njit(nogil=True, cache=True)
def _row_medians(rows, bits, medians):  # type: ignore[no-untyped-def]
    pace, floats, counts = _new_search()
    for start in range(0, len(rows), _ROWS):
        stop = min(start + _ROWS, len(rows))
        _guess(rows, start, stop, pace, floats, counts)
        for row in range(start, stop):
            medians[row] = _row_median(bits[row], floats[:, row - start], counts[0, row - start])


@numba.njit(nogil=True, cache=True)
def _subtract_row_medians(rows, bits):  # type: ignore[no-untyped-def]
    pace, floats, counts = _new_search()
    for start in range(0, len(rows), _ROWS):
        stop = min(start + _ROWS, len(rows))
        _guess(rows, start, stop, pace, floats, counts)
        for row in range(start, stop):
            median = _row_median(bits[row], floats[:, row - start], counts[0, row - start])
            numbers = rows[row]
            for i in range(len(numbers)):  # without a loop, the differences would go to an array of their own first
                numbers[i] -= median


@numba.njit(nogil=True, cache=True)
def _subtract_row_medians_of(rows, runs, some, bits):  # type: ignore[no-untyped-def]
    pace, floats, counts = _new_search()
    for start in range(0, len(rows), _ROWS):
        num_rows = min(len(rows) - start, _ROWS)
        for i in range(num_rows):
            _copy_runs(rows[start + i], runs, some[i])
        _guess(some, 0, num_rows, pace, floats, counts)
        for i in range(num_rows):
            median = _row_median(bits[i], floats[:, i], counts[0, i])
            numbers = rows[start + i]
            for k in range(len(numbers)):
                numbers[k] -= median


@numba.njit(nogil=True, cache=True)
def _copy_runs(numbers, runs, some):  # type: ignore[no-untyped-def]
    filled = 0
    for run in range(len(runs)):
        count = runs[run, 1] - runs[run, 0]
        source, target = numbers[runs[run, 0] : runs[run, 1]], some[filled : filled + count]
        for k in range(count):
            target[k] = source[k]
        filled += count


@numba.njit(nogil=True, cache=True)
def _new_search():  # type: ignore[no-untyped-def]
    """What is kept from row to row: [where to start, distance between numbers next in rank]; and for _ROWS rows:
    pivots, the highest known to be too low and the lowest too high, and how many numbers are up to each of the three.
    """
    return np.array([0.0, 1.0], np.float32), np.empty((3, _ROWS), np.float32), np.empty((3, _ROWS), np.int32)


@numba.njit(nogil=True, cache=True)
def _row_median(bits, known, count):  # type: ignore[no-untyped-def]
    """The median of a row, given what is known of it: the pivot, of which `count` numbers are up to, and its bounds."""
    wanted, pivot = (len(bits) + 1) // 2, known[0]
    if count != wanted:
        pivot = _halve(bits, wanted, known[1], known[2])
    count, below, above, nans = _around(bits, _key(pivot + np.float32(0)))  # as numbers, 0 is up to -0 too
    if nans:
        return np.float32(np.nan)
    median = below
    if len(bits) % 2 == 0 and count == wanted:
        median = (below + above) / np.float32(2)
    return median + np.float32(0)  # makes 0 of -0: of equal numbers, which was found may depend on the pivot


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _guess(rows, start, stop, pace, floats, ranks):  # type: ignore[no-untyped-def]
    """Look for a pivot that half of the numbers are up to, in several rows at once: they don't wait for each other."""
    wanted = np.int32((rows.shape[1] + 1) // 2)
    num_rows, stride = stop - start, pace[1]
    pivots, low, high = floats
    counts, up_to_low, up_to_high = ranks
    pivots[:], low[:], high[:] = pace[0], -np.inf, np.inf
    up_to_low[:], up_to_high[:] = 0, rows.shape[1]
    for _ in range(_GUESSES):
        _count(rows, start, stop, pivots, counts)
        missed = 0
        for i in range(num_rows):
            if counts[i] == wanted:
                continue
            missed += 1
            if not np.isfinite(pivots[i]):
                continue
            if counts[i] < wanted:
                low[i], up_to_low[i] = pivots[i], counts[i]
            else:
                high[i], up_to_high[i] = pivots[i], counts[i]
            width, between = high[i] - low[i], np.float32(up_to_high[i] - up_to_low[i])
            if np.isfinite(width):
                pivots[i] = low[i] + width * (np.float32(wanted - up_to_low[i]) / between)
                pace[1] += np.float32(0.01) * (width / between - pace[1])
            else:
                pivots[i] += np.float32(wanted - counts[i]) * stride
        if missed == 0:
            break
        stride *= np.float32(2)
    if np.isfinite(pivots[0]):
        pace[0] = pivots[0]


@numba.njit(nogil=True, cache=True)
def _count(rows, start, stop, pivots, counts):  # type: ignore[no-untyped-def]
    """How many numbers of each row are up to its pivot."""
    if stop - start == _ROWS:
        one, two, three, four = rows[start], rows[start + 1], rows[start + 2], rows[start + 3]
        up_to_one, up_to_two, up_to_three, up_to_four = np.int32(0), np.int32(0), np.int32(0), np.int32(0)
        for i in range(rows.shape[1]):
            up_to_one += np.int32(one[i] <= pivots[0])
            up_to_two += np.int32(two[i] <= pivots[1])
            up_to_three += np.int32(three[i] <= pivots[2])
            up_to_four += np.int32(four[i] <= pivots[3])
        counts[0], counts[1], counts[2], counts[3] = up_to_one, up_to_two, up_to_three, up_to_four
        return
    for row in range(start, stop):
        count = np.int32(0)
        for i in range(rows.shape[1]):
            count += np.int32(rows[row, i] <= pivots[row - start])
        counts[row - start] = count


@numba.njit(nogil=True, cache=True)
def _halve(bits, wanted, low, high):  # type: ignore[no-untyped-def]
    """The number of rank `wanted`, which is between low and high: both move from number to number of the row."""
    while low < high:
        middle = np.int32((np.int64(_key(low)) + np.int64(_key(high))) >> 1)
        count, below, above, _ = _around(bits, middle)
        if count < wanted:
            low = above
        else:
            high = below
    return high


@numba.njit(nogil=True, cache=True)
def _around(bits, limit):  # type: ignore[no-untyped-def]
    """How many numbers have keys up to a limit, the largest of them, the smallest of the others, how many are NaN."""
    count, nans, below, above = np.int32(0), np.int32(0), _SMALLEST, _LARGEST
    for i in range(len(bits)):
        key = bits[i] ^ ((bits[i] >> 31) & _LARGEST)
        within = key <= limit
        count += np.int32(within)
        nans += np.int32((bits[i] & _LARGEST) > _INFINITY)
        below = max(below, key if within else _SMALLEST)
        above = min(above, _LARGEST if within else key)
    return count, _value(below), _value(above), nans


@numba.njit(nogil=True, cache=True)
def _key(value):  # type: ignore[no-untyped-def]
    """An integer that sorts as the number does: its bits, turned around if it is negative."""
    bits = np.float32(value).view(np.int32)
    return np.int32(bits ^ ((bits >> 31) & _LARGEST))


@numba.njit(nogil=True, cache=True)
def _value(key):  # type: ignore[no-untyped-def]
    return np.int32(key ^ ((key >> 31) & _LARGEST)).view(np.float32)
