"""The leading components of a small symmetric matrix, as of the time courses of spikes.

By Jacobi's rotations rather than LAPACK, whose last bits depend on the number of its threads.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

_MOST_SWEEPS = 30  # 6 to 8 do


def leading(matrix: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """(count, T) orthonormal eigenvectors of the symmetric (T, T) matrix, that of the largest eigenvalue first.

    Each has its largest element positive; count is at most T.
    """
    values, vectors = _rotated(np.array(matrix, np.float64), _MOST_SWEEPS)
    chosen = vectors[:, np.argsort(-values, kind="stable")[:count]].T
    largest = chosen[np.arange(len(chosen)), np.argmax(np.abs(chosen), axis=1)]
    return np.ascontiguousarray(chosen * np.where(largest < 0, -1.0, 1.0)[:, None])


@numba.njit(nogil=True, cache=True)
def _rotated(matrix, most_sweeps):  # type: ignore[no-untyped-def]
    """Eigenvalues and eigenvectors (columns); the matrix is overwritten."""
    n = len(matrix)
    vectors = np.eye(n)
    negligible = 1e-24 * (matrix * matrix).sum()
    for _ in range(most_sweeps):
        beside = 0.0
        for row in range(n):
            for column in range(row):
                beside += matrix[row, column] ** 2
        if beside <= negligible:
            break
        for p in range(n - 1):
            for q in range(p + 1, n):
                if matrix[p, q] == 0.0:
                    continue
                ratio = (matrix[q, q] - matrix[p, p]) / (2 * matrix[p, q])
                tangent = (1.0 if ratio >= 0 else -1.0) / (abs(ratio) + np.sqrt(ratio * ratio + 1))
                cosine = 1 / np.sqrt(tangent * tangent + 1)
                sine = tangent * cosine
                for k in range(n):
                    left, right = matrix[k, p], matrix[k, q]
                    matrix[k, p], matrix[k, q] = cosine * left - sine * right, sine * left + cosine * right
                for k in range(n):
                    left, right = matrix[p, k], matrix[q, k]
                    matrix[p, k], matrix[q, k] = cosine * left - sine * right, sine * left + cosine * right
                for k in range(n):
                    left, right = vectors[k, p], vectors[k, q]
                    vectors[k, p], vectors[k, q] = cosine * left - sine * right, sine * left + cosine * right
    return np.diag(matrix).copy(), vectors
