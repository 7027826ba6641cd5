"""What methods share whose weights are covariances times the inverse of covariances.

The inverse and the products are plain loops rather than LAPACK and BLAS: those give other last bits with another
number of threads, and the corrected traces must not.
"""

from __future__ import annotations

import numba
import numpy as np

NO_COVARIANCE = 1e-20  # far below any ridge: such a source changes no weight by more than 1e-11


@numba.njit(nogil=True, cache=True)
def predict(covariance, inverse, wanted):  # type: ignore[no-untyped-def]
    """Rows of covariance @ inverse where wanted, else zeros; contacts without covariance are skipped."""
    weights = np.zeros(covariance.shape)
    for target in range(covariance.shape[0]):
        if not wanted[target]:
            continue
        for source in range(covariance.shape[1]):
            factor = covariance[target, source]
            if factor > NO_COVARIANCE:
                for column in range(inverse.shape[1]):
                    weights[target, column] += factor * inverse[source, column]
    return weights


@numba.njit(nogil=True, cache=True)
def invert_positive_definite(matrix):  # type: ignore[no-untyped-def]
    """Inverse by Cholesky factors, rows at a time: matrix = L L', X = L^-1, inverse = X' X."""
    n = matrix.shape[0]
    reduced = matrix.copy()
    factor_inverse = np.eye(n)
    for pivot in range(n):
        scale = 1.0 / np.sqrt(reduced[pivot, pivot])
        for column in range(pivot, n):
            reduced[pivot, column] *= scale
        for column in range(pivot + 1):
            factor_inverse[pivot, column] *= scale
        for row in range(pivot + 1, n):
            factor = reduced[pivot, row]
            for column in range(row, n):
                reduced[row, column] -= factor * reduced[pivot, column]
            for column in range(pivot + 1):
                factor_inverse[row, column] -= factor * factor_inverse[pivot, column]
    inverse = np.zeros((n, n))
    for row in range(n):
        for i in range(row + 1):
            factor = factor_inverse[row, i]
            for j in range(row + 1):
                inverse[i, j] += factor * factor_inverse[row, j]
    return inverse
