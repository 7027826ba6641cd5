import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftcli.joining import SHORT_BIN_S, join
from driftcli.model import Motion
from oracles import joining as oracle

TOLERANCE_UM = 0.25


@st.composite
def uneven_motions(draw):
    """Long and short bins by turns, displacements that are often equal, often zero, often near each other."""
    distances = draw(st.lists(st.sampled_from([0.001, 0.02, 0.04, 0.07, 1.0]), min_size=0, max_size=25))
    bins = np.cumsum([0.0, *distances])
    values = st.sampled_from([-0.0, 0.0, 0.0, 0.1, 0.3, 0.4, 0.6, 5.0])
    num_windows = draw(st.integers(1, 2))
    displacement = [draw(st.tuples(*[values] * num_windows)) for _ in bins]
    steps = sorted(draw(st.sets(st.sampled_from(list(bins)), max_size=2)))
    return Motion(np.array(displacement), bins, np.arange(float(num_windows)), np.array(steps))


def joined(motion, tolerance_um=TOLERANCE_UM):
    return join(motion.displacement_um, motion.temporal_bins_s, motion.parted, tolerance_um)


@settings(deadline=None, max_examples=200)
@given(motion=uneven_motions())
def test_runs_are_those_of_the_oracle(motion):
    runs = joined(motion)
    plain, bins = motion.displacement_um.tolist(), motion.temporal_bins_s.tolist()
    expected = oracle.runs(plain, bins, motion.steps_s.tolist(), TOLERANCE_UM, SHORT_BIN_S)
    assert [list(range(a, b + 1)) for a, b in zip(runs.first, runs.last, strict=True)] == expected
    np.testing.assert_array_equal(runs.displacement_um, [oracle.middle(plain, run) for run in expected])
    np.testing.assert_array_equal(runs.still, [not motion.displacement_um[run].any() for run in expected])


def test_bins_as_estimates_have_them_stay_bit_for_bit():
    rng = np.random.default_rng(0)
    motion = Motion(rng.normal(0, 0.01, (50, 3)), 0.1 * (np.arange(50) + 0.5), np.arange(3.0))
    runs = joined(motion)
    assert runs.displacement_um.tobytes() == motion.displacement_um.tobytes()
    np.testing.assert_array_equal(runs.first, np.arange(50))


@pytest.mark.parametrize("num_bins", [3, 300, 30_000])
def test_a_ramp_has_as_many_runs_however_finely_it_is_sampled(num_bins):
    """10 µm at half a µm a run; the three bins are too long to be joined."""
    ramp = np.linspace(0, 10, num_bins)[:, None]
    motion = Motion(ramp, np.linspace(0, 5, num_bins), np.array([100.0]))
    assert len(joined(motion).first) == 3 if num_bins == 3 else 20 <= len(joined(motion).first) <= 22
