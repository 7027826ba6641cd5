"""Exact medians of many rows of float32, as `numpy.median` gives them, but fast: what the methods share.

The bits of a float32, read as an integer, sort as the numbers do once the negative ones are turned around. Of such
keys a processor counts those up to a pivot, 8 or 16 at once. The pivot starts at the median of the row before, goes on
by the distance that its rank is off, and after a few steps by halves; the search ends at the very key that has the
middle rank, so the result is that of the row alone wherever the search began.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

_SMALLEST = -(2**31)
_LARGEST = 2**31 - 1
_SIGN_ASIDE = np.int32(_LARGEST)
_INFINITY = np.int32(0x7F800000)  # the bits of infinity; those of NaN, its sign aside, are larger
_LARGEST_DISTANCE = 1e30
_GUESSES = 12  # steps by rank, before halving makes sure of an end


def row_medians(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Median of each row of (R, N) with N > 0; NaN where a row holds NaN."""
    medians = np.empty(len(rows), np.float32)
    _row_medians(np.ascontiguousarray(rows, np.float32).view(np.int32), medians)
    return medians


def subtract_row_medians(rows: NDArray[np.float32]) -> None:
    """Take off each row of (R, N) its median, in place."""
    _subtract_row_medians(rows, rows.view(np.int32))


# All kernels are in this one file: numba's cache would not see that a kernel of another file has changed.


@numba.njit(nogil=True, cache=True)
def _row_medians(bits, medians):  # type: ignore[no-untyped-def]
    keys, pace = _new_search(bits.shape[1])
    for row in range(len(bits)):
        medians[row] = _row_median(bits[row], keys, pace)


@numba.njit(nogil=True, cache=True)
def _subtract_row_medians(rows, bits):  # type: ignore[no-untyped-def]
    """`bits` is another view of the same memory."""
    keys, pace = _new_search(rows.shape[1])
    for row in range(len(rows)):
        rows[row] -= _row_median(bits[row], keys, pace)


@numba.njit(nogil=True, cache=True)
def _new_search(length):  # type: ignore[no-untyped-def]
    """What is kept from row to row: room for keys, and [where to start, distance between ranks]."""
    return np.empty(length, np.int32), np.array([0.0, 1.0])


@numba.njit(nogil=True, cache=True)
def _row_median(bits, keys, pace):  # type: ignore[no-untyped-def]
    """Median of one row of float32, given as the int32 `bits` (N,) of it; `keys` and `pace` are of `_new_search`."""
    if _fill_keys(bits, keys):
        return np.float32(np.nan)
    lower, upper = _middle_keys(keys, pace)
    if lower == upper:
        return _value(lower)
    return (_value(lower) + _value(upper)) / np.float32(2)


@numba.njit(nogil=True, cache=True)
def _fill_keys(bits, keys):  # type: ignore[no-untyped-def]
    """Keys that sort as the numbers; tells if any is NaN."""
    nans = np.int32(0)
    for i in range(len(bits)):
        keys[i] = bits[i] ^ ((bits[i] >> 31) & _SIGN_ASIDE)
        nans += np.int32((bits[i] & _SIGN_ASIDE) > _INFINITY)
    return nans > 0


@numba.njit(nogil=True, cache=True)
def _middle_keys(keys, pace):  # type: ignore[no-untyped-def]
    """The keys of rank (N - 1) // 2 and N // 2."""
    wanted, odd = (len(keys) + 1) // 2, len(keys) % 2 == 1
    low, high = np.int64(_SMALLEST), np.int64(_LARGEST)  # the lower one of the two is within
    pivot = _key(pace[0])
    count, below, above = _around(keys, pivot)
    first_miss = wanted - count
    step = 0
    while count != wanted and low != high:
        if count < wanted:
            low = np.int64(above)
        else:
            high = np.int64(below)
        step += 1
        pivot = _next_pivot(pivot, wanted - count, above, low, high, step, pace[1])
        count, below, above = _around(keys, pivot)
    _learn(pace, _value(below), first_miss)
    return below, (below if odd or count > wanted else above)


@numba.njit(nogil=True, cache=True)
def _next_pivot(pivot, miss, above, low, high, step, distance):  # type: ignore[no-untyped-def]
    """From a pivot that `miss` more keys should be up to, to a better one between low and high."""
    if step > _GUESSES:
        return np.int32((low + high) >> 1)
    if miss == 1:
        return above
    guess = np.int64(_key(_value(pivot) + miss * distance))
    return np.int32(min(max(guess, low), high))


@numba.njit(nogil=True, cache=True)
def _learn(pace, median, first_miss):  # type: ignore[no-untyped-def]
    """Start the next row at this median, with the distance between ranks as it was on the way here."""
    if np.isfinite(median):
        if first_miss != 0:
            distance = min(abs((median - pace[0]) / first_miss), _LARGEST_DISTANCE)
            pace[1] += 0.1 * (distance - pace[1])
        pace[0] = median


@numba.njit(nogil=True, cache=True)
def _around(keys, pivot):  # type: ignore[no-untyped-def]
    """How many keys are up to the pivot, the largest of them, and the smallest of the others."""
    count, below, above = np.int32(0), np.int32(_SMALLEST), np.int32(_LARGEST)
    for i in range(len(keys)):
        key = keys[i]
        within = key <= pivot
        count += np.int32(within)
        below = max(below, key if within else np.int32(_SMALLEST))
        above = min(above, np.int32(_LARGEST) if within else key)
    return count, below, above


@numba.njit(nogil=True, cache=True)
def _key(value):  # type: ignore[no-untyped-def]
    bits = np.float32(value).view(np.int32)
    return np.int32(bits ^ ((bits >> 31) & _SIGN_ASIDE))


@numba.njit(nogil=True, cache=True)
def _value(key):  # type: ignore[no-untyped-def]
    return np.int32(key ^ ((key >> 31) & _SIGN_ASIDE)).view(np.float32)
