import numpy as np
import pytest

from driftcli.estimate import banded


def positive_definite(n, bands, seed=0):
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(n, n)) * (np.abs(np.subtract.outer(np.arange(n), np.arange(n))) <= bands)
    matrix = (matrix + matrix.T) / 2
    return matrix + np.diag(np.abs(matrix).sum(axis=1) + 1)


def columns_of(matrix, bands):
    """Entry [j, d] is matrix[j + d, j]."""
    n = len(matrix)
    return np.array([[matrix[j + d, j] if j + d < n else 0.0 for d in range(bands + 1)] for j in range(n)])


@pytest.mark.parametrize(("n", "bands"), [(1, 0), (1, 3), (2, 1), (30, 0), (30, 4), (30, 29), (30, 40), (250, 120)])
def test_factor_and_solution_are_the_dense_ones(n, bands):
    matrix, target = positive_definite(n, bands), np.random.default_rng(1).normal(size=n)
    columns, x = columns_of(matrix, bands), target.copy()
    banded.factorize(columns)
    np.testing.assert_allclose(columns, columns_of(np.linalg.cholesky(matrix), bands), atol=1e-12)
    banded.solve(columns, x)
    np.testing.assert_allclose(matrix @ x, target, atol=1e-10)


def test_a_matrix_of_which_rounding_leaves_nothing_still_has_a_factor():
    columns = columns_of(np.array([[1.0, -1.0, 0.0], [-1.0, 1.0, 0.0], [0.0, 0.0, 4.0]]), 1)
    banded.factorize(columns)
    x = np.array([0.0, 0.0, 8.0])
    banded.solve(columns, x)
    np.testing.assert_allclose(x, [0, 0, 2])
    assert (columns[:, 0] > 0).all()
