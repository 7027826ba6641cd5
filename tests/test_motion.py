"""The motion's lookups, with steps that none of them crosses, against a plain one time after another."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from driftcli.errors import InputError
from driftcli.model import Motion
from oracles import interpolate as oracle

WINDOWS_UM = np.array([50.0, 150.0])
DEPTHS_UM = [0.0, 80.0, 150.0, 200.0]


@st.composite
def stepping_motions(draw):
    """Up to 7 bins and up to 5 steps on a grid of quarter seconds, so that they often meet."""
    grid = st.integers(-4, 24).map(lambda quarter: quarter / 4)
    bins = sorted(draw(st.sets(grid, min_size=1, max_size=7)))
    steps = sorted(draw(st.sets(grid, max_size=5)))
    values = draw(st.lists(st.integers(-30, 30), min_size=2 * len(bins), max_size=2 * len(bins)))
    return Motion(np.reshape(values, (-1, 2)).astype(float), np.array(bins), WINDOWS_UM, np.array(steps, float))


def two_files(steps_s):
    return Motion(np.array([[0, 1], [2, 3], [10, 20.0]]), np.array([0.5, 1.5, 2.25]), WINDOWS_UM, np.array(steps_s))


@pytest.mark.parametrize("how", ["nearest_bin", "linear"])
@settings(deadline=None, max_examples=200)
@given(motion=stepping_motions(), more=st.lists(st.floats(-3, 8), max_size=5))
@example(motion=two_files([2.0]), more=[])
@example(motion=two_files([1.6, 1.7, 2.2]), more=[1.65, 1.8, 2.1])
@example(motion=two_files([-1.0, 1.5, 2.25, 4.0]), more=[])
def test_lookups_are_those_of_the_side(how, motion, more):
    centres, steps = motion.temporal_bins_s, motion.steps_s
    just_before = np.nextafter(np.concatenate([steps, centres]), -np.inf)
    times = np.concatenate([centres, steps, just_before, motion.temporal_edges_s, np.array(more)])
    expected = [
        [
            oracle.displacement(motion.displacement_um, centres, WINDOWS_UM, time, depth, how, steps)
            for depth in DEPTHS_UM
        ]
        for time in times
    ]
    np.testing.assert_allclose(motion.at(times[:, None], DEPTHS_UM, how), expected, atol=1e-9)


def test_a_step_is_where_it_is_said():
    motion = two_files([2.0])
    times = [np.nextafter(2.0, 0), 2.0]
    for how in ("nearest_bin", "linear"):
        np.testing.assert_array_equal(motion.at(times, 50.0, how), [2, 10])
    np.testing.assert_array_equal(motion.temporal_edges_s, [1.0, 2.0])
    np.testing.assert_array_equal(motion.parted, [False, True])


def test_without_steps_the_lookup_is_as_ever():
    motion = two_files([])
    assert motion.at(1.0, 50.0) == 1.0
    np.testing.assert_array_equal(motion.temporal_edges_s, [1.0, 1.875])
    assert not motion.parted.any()
    assert len(Motion(np.zeros((1, 1)), np.zeros(1), np.zeros(1)).steps_s) == 0


@pytest.mark.parametrize(
    ("steps_s", "word"),
    [
        ([2.0, 1.0], "ascending"),
        ([1.0, 1.0], "ascending"),
        ([[1.0, 2.0]], "list of times"),
        ([np.nan], "NaN"),
        ([np.inf], "NaN or infinity"),
    ],
)
def test_steps_that_make_no_sense_are_refused(steps_s, word):
    with pytest.raises(InputError, match=word):
        two_files(steps_s)


@pytest.mark.parametrize(
    ("displacement", "bins", "windows"),
    [((3, 1), (2,), (1,)), ((2,), (2,), (1,)), ((2, 1), (2, 1), (1,)), ((2, 1), (), (2,)), ((0, 1), (0,), (1,))],
)
def test_arrays_of_other_shapes_are_refused(displacement, bins, windows):
    with pytest.raises(InputError, match="does not fit"):
        Motion(np.zeros(displacement), np.zeros(bins), np.zeros(windows))


def test_a_motion_may_say_how_certain_it_is():
    bins = np.array([0.5, 1.5])
    deviation_um = np.array([[1.0, 2.0], [3.0, 0.0]])
    motion = Motion(np.zeros((2, 2)), bins, WINDOWS_UM, deviation_um=deviation_um)
    np.testing.assert_array_equal(motion.deviation_um, deviation_um)
    assert Motion(np.zeros((2, 2)), bins, WINDOWS_UM).deviation_um is None


@pytest.mark.parametrize(
    ("deviation_um", "word"),
    [
        (np.ones((2, 1)), "do not fit a motion of shape"),
        (np.ones(2), "do not fit"),
        (np.ones((2, 2, 1)), "do not fit"),
        (np.array([[1.0, np.nan], [1.0, 1.0]]), "NaN or infinity"),
        (np.full((2, 2), np.inf), "NaN or infinity"),
    ],
)
def test_deviations_that_make_no_sense_are_refused(deviation_um, word):
    with pytest.raises(InputError, match=word):
        Motion(np.zeros((2, 2)), np.array([0.5, 1.5]), WINDOWS_UM, deviation_um=deviation_um)
