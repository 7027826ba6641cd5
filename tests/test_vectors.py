"""Each instruction on vectors against numpy, on lanes that are not aligned to anything."""

import numba
import numpy as np
import pytest

from driftcli.vectors import fma, load, only, splat, store

LANES = 16


@numba.njit
def _copy(source, target):
    store(target, 1, 2, load(source, 2, 3, LANES))


@numba.njit
def _arithmetic(one, other, factor, target):
    a, b = load(one, 0, 1, LANES), load(other, 0, 1, LANES)
    store(target, 0, 0, a + b)
    store(target, 1, 0, a * b)
    store(target, 2, 0, -a)
    store(target, 3, 0, fma(a, b, splat(factor, LANES)))


@numba.njit
def _only(values, keep, target):
    store(target, 0, 0, only(load(values, 0, 0, LANES), load(keep, 0, 0, LANES)))


@pytest.mark.parametrize("source", [np.float32, np.float64])
@pytest.mark.parametrize("target", [np.float32, np.float64])
def test_lanes_are_copied_and_rounded(source, target):
    values = np.random.default_rng(0).normal(size=(4, 30)).astype(source)
    copied = np.zeros((3, 20), target)
    _copy(values, copied)
    expected = np.zeros((3, 20), target)
    expected[1, 2:18] = values[2, 3:19].astype(target)
    np.testing.assert_array_equal(copied, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arithmetic(dtype):
    rng = np.random.default_rng(1)
    one, other = rng.normal(size=(2, 1, 20)).astype(dtype)
    result = np.empty((4, LANES), dtype)
    _arithmetic(one, other, dtype(0.3), result)
    a, b = one[0, 1:17], other[0, 1:17]
    np.testing.assert_array_equal(result[:3], [a + b, a * b, -a])
    exact = a.astype(np.longdouble) * b + dtype(0.3)
    np.testing.assert_array_equal(result[3], exact.astype(dtype))
    if dtype == np.float32:
        assert (result[3] != a * b + dtype(0.3)).any()  # which rounds twice


def test_only_some_lanes_count():
    values = np.array([[np.nan, np.inf, -0.0, 1.5] * 4], np.float32)
    keep = np.array([[0] * 8 + [-1] * 8], np.int32)
    result = np.empty((1, LANES), np.float32)
    _only(values, keep, result)
    np.testing.assert_array_equal(result[0, 8:].view(np.int32), values[0, 8:].view(np.int32))
    assert (result[0, :8] == 0).all()
    assert np.signbit(result[0, :8]).all()


def test_lanes_that_do_not_lie_next_to_each_other_are_refused():
    """They would be taken for others."""
    for turned in (np.zeros((30, 4), np.float32).T, np.zeros((4, 60), np.float32)[:, ::2], np.zeros(30, np.float32)):
        with pytest.raises(numba.core.errors.TypingError):
            _copy(turned, np.zeros((3, 20), np.float32))
