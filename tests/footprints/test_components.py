import numpy as np
import pytest

from driftcli.footprints import components


@pytest.mark.parametrize("size", [1, 2, 7, 28])
def test_components_are_those_of_lapack(size):
    courses = np.random.default_rng(size).normal(size=(60, size)) * np.exp(-np.arange(size) / 3)
    matrix = courses.T @ courses
    found = components.leading(matrix, min(size, 5))
    values, vectors = np.linalg.eigh(matrix)
    expected = vectors[:, ::-1].T[: min(size, 5)]
    np.testing.assert_allclose(np.abs(np.sum(found * expected, axis=1)), 1, atol=1e-10)
    np.testing.assert_allclose(np.einsum("rt,tu,ru->r", found, matrix, found), values[::-1][: len(found)], rtol=1e-10)


def test_signs_are_settled_and_the_matrix_is_left_alone():
    matrix = np.array([[2.0, -1.9], [-1.9, 2.0]])
    kept = matrix.copy()
    found = components.leading(matrix, 2)
    np.testing.assert_array_equal(matrix, kept)
    assert (found[np.arange(2), np.abs(found).argmax(axis=1)] > 0).all()
    np.testing.assert_allclose(found[0] * np.sign(found[0, 0]), [np.sqrt(0.5), -np.sqrt(0.5)], atol=1e-12)


def test_a_matrix_of_zeros_has_components_too():
    np.testing.assert_array_equal(components.leading(np.zeros((4, 4)), 2), np.eye(4)[:2])
