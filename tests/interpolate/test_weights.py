import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from driftcli.interpolate import weights as shared
from oracles import interpolate as oracle


@settings(deadline=None)  # the first call compiles
@given(
    hnp.arrays(np.float64, st.tuples(st.integers(0, 4), st.integers(1, 12)), elements=st.integers(-60, 60)),
    st.sampled_from([0.0, 10.0, 64.0, 1000.0]),
)
def test_drop_smallest(weights, limit):
    """Whole numbers: sums are exact in any order, and there are ties."""
    expected = oracle.drop_smallest(weights, limit)
    shared.drop_smallest(weights, limit)
    np.testing.assert_array_equal(weights, expected)


def test_drop_smallest_of_small_and_large_weights():
    weights = np.exp(np.random.default_rng(1).normal(-10, 5, (40, 300)))
    expected = oracle.drop_smallest(weights, 1e-4)
    dropped = weights.copy()
    shared.drop_smallest(dropped, 1e-4)
    np.testing.assert_array_equal(dropped, expected)
    lost = (weights - dropped).sum(axis=1)
    assert lost.max() <= 1e-4
    assert lost.min() > 0


def test_inside_includes_the_ends():
    positions = np.array([[0.0, 0.0], [5.0, 20.0], [0.0, 40.0]])
    assert shared.inside(positions, np.array([0.0, -20.0, 0.0]), positions).tolist() == [True, True, True]
    assert shared.inside(positions, np.array([-0.1, 20.1, 0.1]), positions).tolist() == [False, False, False]
    moves = np.array([[0.0, 0, 0], [1, 1, 1]])
    assert shared.inside(positions, moves, positions).tolist() == [[True] * 3, [True, True, False]]
    assert shared.inside(positions, moves, positions[:2]).tolist() == [[True, True, False], [True, False, False]]


@pytest.mark.parametrize(("field", "default"), [("border_mode", "force_extrapolate"), ("time", "nearest_bin")])
def test_defaults_of_all_methods(field, default):
    assert getattr(shared.InterpolateParameters(), field) == default
