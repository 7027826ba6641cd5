"""Cholesky factors of banded matrices by plain loops.

Libraries sum in another order with another number of threads; here the same matrix always gives the same bits.
"""

from __future__ import annotations

import numba
import numpy as np

# A pivot of which less than this share of the diagonal is left is rounding, and raised to it.
_LEAST_PIVOT = 1e-15


@numba.njit(nogil=True, cache=True)
def factorize(columns):  # type: ignore[no-untyped-def]
    """Replace the lower half of a positive definite matrix A (n, n) by that of its Cholesky factor.

    columns: (n, 1 + bands) float64, entry [j, d] is A[j + d, j]; what lies beyond the matrix is 0. A pivot that
    rounding has made 0 or negative becomes a very small one; the diagonal must be positive.
    """
    n, width = columns.shape
    least = _LEAST_PIVOT * columns[:, 0]
    for j in range(n):
        column = columns[j]
        column[0] = np.sqrt(max(column[0], least[j]))
        column[1:] /= column[0]
        for d in range(1, min(width, n - j)):
            share = column[d]
            if share == 0:
                continue
            later = columns[j + d]
            for e in range(d, width):
                later[e - d] -= share * column[e]


@numba.njit(nogil=True, cache=True)
def solve(columns, x):  # type: ignore[no-untyped-def]
    """Replace x (n,) by the solution of A @ solution = x, `columns` being what `factorize` has made of A."""
    n, width = columns.shape
    for j in range(n):
        x[j] /= columns[j, 0]
        for d in range(1, min(width, n - j)):
            x[j + d] -= columns[j, d] * x[j]
    for j in range(n - 1, -1, -1):
        rest = x[j]
        for d in range(1, min(width, n - j)):
            rest -= columns[j, d] * x[j + d]
        x[j] = rest / columns[j, 0]
