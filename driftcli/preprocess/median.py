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
_LARGEST_DISTANCE = np.float32(1e30)
_GUESSES = 8  # pivots to try before halving makes sure of an end


def row_medians(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Median of each row of (R, N) with N > 0; NaN where a row holds NaN."""
    rows, medians = np.ascontiguousarray(rows, np.float32), np.empty(len(rows), np.float32)
    _row_medians(rows, rows.view(np.int32), medians)
    return medians


def subtract_row_medians(rows: NDArray[np.float32]) -> None:
    """Take off each row of (R, N) its median, in place."""
    _subtract_row_medians(rows, rows.view(np.int32))


# All kernels are in this one file: numba's cache would not see that a kernel of another file has changed. `bits` is
# another view of the same memory: read as integers, the bits of float32 can be put in order 16 at once, NaN or not.


@numba.njit(nogil=True, cache=True)
def _row_medians(rows, bits, medians):  # type: ignore[no-untyped-def]
    pace = _new_pace()
    for row in range(len(rows)):
        medians[row] = _row_median(rows[row], bits[row], pace)


@numba.njit(nogil=True, cache=True)
def _subtract_row_medians(rows, bits):  # type: ignore[no-untyped-def]
    pace = _new_pace()
    for row in range(len(rows)):
        rows[row] -= _row_median(rows[row], bits[row], pace)


@numba.njit(nogil=True, cache=True)
def _new_pace():  # type: ignore[no-untyped-def]
    """What is kept from row to row: where to start, and the distance between numbers next in rank."""
    return np.array([0.0, 1.0], np.float32)


@numba.njit(nogil=True, cache=True)
def _row_median(row, bits, pace):  # type: ignore[no-untyped-def]
    wanted = (len(row) + 1) // 2
    pivot, found = _guess(row, wanted, pace)
    if not found:
        pivot = _halve(bits, wanted)
    count, below, above, nans = _around(bits, _key(pivot))
    if nans:
        return np.float32(np.nan)
    median = below
    if len(row) % 2 == 0 and count == wanted:
        median = (below + above) / np.float32(2)
    return median + np.float32(0)  # makes 0 of -0: of equal numbers, which was found may depend on the pivot


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _guess(row, wanted, pace):  # type: ignore[no-untyped-def]
    """A pivot that `wanted` numbers of the row are up to, and whether one was found."""
    pivot, stride = pace[0], pace[1]
    low, up_to_low, high, up_to_high = -np.float32(np.inf), 0, np.float32(np.inf), len(row)
    first_miss = 0
    for guess in range(_GUESSES):
        count = _count(row, pivot)
        if count == wanted:
            _learn(pace, pivot, first_miss)
            return pivot + np.float32(0), True  # no -0: 0 would not be up to its key
        if guess == 0:
            first_miss = wanted - count
        if count < wanted:
            low, up_to_low = pivot, count
        else:
            high, up_to_high = pivot, count
        if np.isfinite(high - low):
            pivot = low + (high - low) * np.float32((wanted - up_to_low) / (up_to_high - up_to_low))
        else:
            pivot += np.float32(wanted - count) * stride
            stride *= np.float32(2)
        if not low < pivot < high:
            break
    return pivot, False


@numba.njit(nogil=True, cache=True)
def _learn(pace, pivot, first_miss):  # type: ignore[no-untyped-def]
    """Start the next row here, with the distance between ranks as it was on the way."""
    if first_miss != 0:
        distance = min(abs((pivot - pace[0]) / np.float32(first_miss)), _LARGEST_DISTANCE)
        pace[1] += np.float32(0.1) * (distance - pace[1])
    pace[0] = pivot


@numba.njit(nogil=True, cache=True)
def _count(row, pivot):  # type: ignore[no-untyped-def]
    count = np.int32(0)
    for i in range(len(row)):
        count += np.int32(row[i] <= pivot)
    return count


@numba.njit(nogil=True, cache=True)
def _halve(bits, wanted):  # type: ignore[no-untyped-def]
    """The number of rank `wanted`, which is always between two numbers of the row."""
    low, high = -np.float32(np.inf), np.float32(np.inf)
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
