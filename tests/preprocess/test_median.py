import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from driftcli.preprocess.median import row_medians
from oracles.noise import median

SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12)


def check(rows):
    expected = np.array([median(row) for row in rows], np.float32)
    np.testing.assert_array_equal(row_medians(rows), expected)


@settings(max_examples=300, deadline=None)
@given(hnp.arrays(np.float32, SHAPES, elements=st.floats(-(2.0**100), 2.0**100, width=32)))
def test_any_numbers(rows):
    check(rows)


@settings(max_examples=200, deadline=None)
@given(hnp.arrays(np.float32, SHAPES, elements=st.integers(-3, 3).map(float)))
def test_ties(rows):
    check(rows)


@pytest.mark.parametrize("length", [1, 2, 3, 64, 383, 384])
@pytest.mark.parametrize("kind", ["noise", "counts", "jumping", "heavy", "constant", "two values"])
def test_as_numpy(length, kind):
    rng = np.random.default_rng(length)
    noise = rng.normal(0, 10, (200, length))
    rows = {
        "noise": noise,
        "counts": np.rint(noise + 500),
        "jumping": noise + rng.choice([0, 1e6, -1e-6], (200, 1)),
        "heavy": noise * 10.0 ** rng.uniform(-30, 30, (200, length)),
        "constant": np.zeros_like(noise) + rng.normal(0, 1, (200, 1)),
        "two values": np.where(noise > 0, 1e30, -1e-30),
    }[kind].astype(np.float32)
    np.testing.assert_array_equal(row_medians(rows), np.median(rows, axis=1))


def test_a_row_does_not_depend_on_the_row_before():
    rng = np.random.default_rng(0)
    rows = (rng.normal(0, 1, (300, 40)) * 10.0 ** rng.uniform(-10, 10, (300, 1))).astype(np.float32)
    order = rng.permutation(300)
    np.testing.assert_array_equal(row_medians(rows[order]), row_medians(rows)[order])


def test_nan_and_infinity():
    rows = np.array(
        [
            [1, 2, np.nan, 4],
            [1, 2, -np.nan, 4],
            [np.nan] * 4,
            [1, 2, 3, np.inf],
            [-np.inf, -np.inf, -np.inf, 3],
            [-np.inf, -1, np.inf, np.inf],
            [5, 1, 2, 3],
        ],
        np.float32,
    )
    np.testing.assert_array_equal(row_medians(rows), [np.nan, np.nan, np.nan, 2.5, -np.inf, np.inf, 2.5])


def test_no_rows():
    assert row_medians(np.empty((0, 3), np.float32)).shape == (0,)


def test_ends_after_long_stretches_without_a_change():
    rows = np.full((9000, 8), 7.0, np.float32)  # teach it that ranks are no distance apart
    rows[-2, :5] = 2.0
    rows[-1] = np.geomspace(1e-30, 1e30, 8)
    np.testing.assert_array_equal(row_medians(rows), np.median(rows, axis=1))


@settings(max_examples=500, deadline=None)
@given(hnp.arrays(np.float32, SHAPES, elements=st.sampled_from([-1.0, -1e-45, -0.0, 0.0, 1e-45, 3.0, np.inf, -np.inf])))
def test_around_zero(rows):
    """Two zeros are one number with two sets of bits; the search must end, and tell 0, not -0."""
    medians = row_medians(rows)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(medians, [median(row) for row in rows])
    assert not np.signbit(medians[medians == 0]).any()


@settings(max_examples=300, deadline=None)
@given(hnp.arrays(np.float32, SHAPES, elements=st.floats(-(2.0**126), 2.0**126, width=32) | st.just(np.inf)))
def test_numbers_of_any_size(rows):
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(row_medians(rows), [median(row) for row in rows])
