import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftcli.interpolate.pieces import TOLERANCE_UM, cut
from driftcli.joining import SHORT_BIN_S
from driftcli.model import Motion
from oracles import interpolate as oracle

WINDOWS_UM = np.array([50.0, 150.0, 300.0])
DEPTHS_UM = np.array([0.0, 80.0, 150.0, 260.0, 400.0])


def _per_sample(pieces, depths_um, num_samples):
    """Displacement (samples, contacts) that the pieces give."""
    owner = np.searchsorted(pieces.starts, np.arange(num_samples), side="right") - 1
    return np.array([pieces.displacement_at(piece, depths_um) for piece in range(len(pieces.starts))])[owner]


def _random_walk(rng, num_bins, bin_s, step_um, start_s=0.0):
    bins = start_s + bin_s * (np.arange(num_bins) + 0.5)
    return Motion(np.cumsum(rng.normal(0, step_um, (num_bins, 3)), axis=0), bins, WINDOWS_UM)


@pytest.mark.parametrize("rate", [1000.0, 999.7, 30000.0 / 7])
@pytest.mark.parametrize(("num_bins", "bin_s"), [(1, 2.0), (2, 0.5), (7, 0.1), (40, 0.0007), (6, 0.0001)])
def test_nearest_bin_is_the_bin_of_every_sample(rate, num_bins, bin_s):
    motion = _random_walk(np.random.default_rng(3), num_bins, bin_s, 2.0)
    pieces = cut(motion, "nearest_bin", rate, 400)
    assert pieces.starts[0] == 0
    assert (np.diff(pieces.starts) > 0).all()
    expected = [
        [
            oracle.displacement(
                motion.displacement_um, motion.temporal_bins_s, WINDOWS_UM, n / rate, depth, "nearest_bin"
            )
            for depth in DEPTHS_UM
        ]
        for n in range(400)
    ]
    within_um = 1e-12 if bin_s >= SHORT_BIN_S else TOLERANCE_UM + 1e-9
    assert np.abs(_per_sample(pieces, DEPTHS_UM, 400) - expected).max() <= within_um


def test_a_bin_edge_on_a_sample_belongs_to_the_later_bin():
    bins = np.array([0.05, 0.15, 0.25])  # edges at 0.1 and 0.2, which are samples 3000 and 6000
    pieces = cut(Motion(np.array([[1.0], [2.0], [3.0]]), bins, np.array([0.0])), "nearest_bin", 30000.0, 9000)
    times = np.arange(9000) / 30000.0
    expected = 1 + (times >= (bins[0] + bins[1]) / 2) + (times >= (bins[1] + bins[2]) / 2)
    np.testing.assert_array_equal(_per_sample(pieces, np.zeros(1), 9000)[:, 0], expected)


@pytest.mark.parametrize("rate", [1000.0, 999.7])
@pytest.mark.parametrize(
    ("num_bins", "bin_s", "step_um", "start_s"),
    [
        (1, 2.0, 1.0, 0.0),
        (2, 0.5, 30.0, 0.2),
        (30, 0.1, 0.2, -1.0),
        (30, 0.1, 5.0, 1.0),
        (300, 0.009, 0.05, 0.0),
        (9, 1e-4, 9.0, 0.0),
    ],
)
def test_linear_is_within_tolerance_of_the_motion_at_every_sample(rate, num_bins, bin_s, step_um, start_s):
    motion = _random_walk(np.random.default_rng(5), num_bins, bin_s, step_um, start_s)
    pieces = cut(motion, "linear", rate, 3000)
    assert pieces.starts[0] == 0
    assert (np.diff(pieces.starts) > 0).all()
    samples = np.arange(0, 3000, 7)
    expected = [
        [
            oracle.displacement(motion.displacement_um, motion.temporal_bins_s, WINDOWS_UM, n / rate, depth, "linear")
            for depth in DEPTHS_UM
        ]
        for n in samples
    ]
    assert np.abs(_per_sample(pieces, DEPTHS_UM, 3000)[samples] - expected).max() <= TOLERANCE_UM + 1e-9


def test_linear_has_no_more_pieces_than_it_needs():
    """10 µm at half a µm a piece, however finely the motion was sampled."""
    for num_bins in (2, 11, 2001):
        ramp = np.linspace(0, 10, num_bins)[:, None]
        motion = Motion(ramp, np.linspace(0, 5, num_bins), np.array([100.0]))
        assert 20 <= len(cut(motion, "linear", 1000.0, 5000).starts) <= 21


@pytest.mark.parametrize("time", ["nearest_bin", "linear"])
def test_the_largest_displacements_there_can_be(time):
    """1e5 µm is all that a motion may hold: 400,000 pieces a bin, of which those that hold a sample are kept."""
    displacement = 1e5 * np.array([[0, 0, 0], [1, -1, 0.5], [-1, 1, 0], [0, 0, 0.0]])
    motion = Motion(displacement, np.arange(4) + 0.5, WINDOWS_UM)
    tracemalloc.start()
    pieces = cut(motion, time, 1000.0, 4000)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 200e6
    assert len(pieces.starts) <= 4000
    samples = np.arange(0, 4000, 7)
    expected = [
        [
            oracle.displacement(displacement, motion.temporal_bins_s, WINDOWS_UM, n / 1000.0, depth, time)
            for depth in DEPTHS_UM
        ]
        for n in samples
    ]
    assert np.abs(_per_sample(pieces, DEPTHS_UM, 4000)[samples] - expected).max() <= TOLERANCE_UM + 1e-6


def test_linear_pieces_do_not_depend_on_the_length_of_the_recording():
    motion = _random_walk(np.random.default_rng(7), 50, 0.1, 1.0)
    long, short = (cut(motion, "linear", 1000.0, num_samples) for num_samples in (5000, 2000))
    kept = len(short.starts)
    np.testing.assert_array_equal(long.starts[:kept], short.starts)
    np.testing.assert_array_equal(long.displacement_um[: kept - 1], short.displacement_um[:-1])


@pytest.mark.parametrize("time", ["nearest_bin", "linear"])
def test_still_samples(time):
    """Zero, then a swing that is zero on average, then zero again."""
    displacement = np.array([0, 0, 0, 0.2, -0.2, 0, 0, 0])[:, None]
    motion = Motion(displacement, np.arange(8) + 0.5, np.array([0.0]))
    pieces = cut(motion, time, 1000.0, 8000)
    still = np.repeat(pieces.still, np.diff(pieces.starts, append=8000))
    moving = {"nearest_bin": (3000, 5000), "linear": (2500, 5500)}[time]
    np.testing.assert_array_equal(np.flatnonzero(~still), np.arange(*moving))


def test_one_window_that_moves_is_not_still():
    motion = Motion(np.array([[0.0, 0, 0.1]]), np.array([1.0]), WINDOWS_UM)
    for time in ("nearest_bin", "linear"):
        assert cut(motion, time, 1000.0, 100).still.tolist() == [False]


def _at_every_sample(motion, time, rate, num_samples):
    return motion.at(np.arange(num_samples)[:, None] / rate, DEPTHS_UM, time)


@st.composite
def stepping_walks(draw):
    """Walks in bins of 1 ms to 0.3 s, some of them still for a while, with steps at samples of 1 kHz and elsewhere."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    bins = draw(st.floats(-0.5, 0.5)) + np.cumsum(rng.choice(draw(st.sampled_from([[0.3], [0.001, 0.01, 0.3]])), 30))
    walk = np.cumsum(rng.normal(0, draw(st.sampled_from([0.02, 0.3, 4.0])), (30, 3)), axis=0)
    walk[: draw(st.integers(0, 20))] = 0
    steps = draw(st.sets(st.integers(-100, 1200), max_size=4))
    return Motion(walk, bins, WINDOWS_UM, np.array(sorted(steps)) / draw(st.sampled_from([1000.0, 977.0])))


@pytest.mark.parametrize("time", ["nearest_bin", "linear"])
@settings(deadline=None, max_examples=100)
@given(motion=stepping_walks())
def test_pieces_give_the_motion_at_every_sample(time, motion):
    pieces = cut(motion, time, 1000.0, 1200)
    assert pieces.starts[0] == 0
    assert (np.diff(pieces.starts) > 0).all()
    ours, wanted = _per_sample(pieces, DEPTHS_UM, 1200), _at_every_sample(motion, time, 1000.0, 1200)
    assert np.abs(ours - wanted).max() <= TOLERANCE_UM + 1e-9
    if time == "nearest_bin" and np.diff(motion.temporal_bins_s).min() > SHORT_BIN_S:
        np.testing.assert_allclose(ours, wanted, atol=1e-12)
    still = np.repeat(pieces.still, np.diff(pieces.starts, append=1200))
    assert not _at_every_sample(motion, time, 1000.0, 1200)[still].any()
    for edge_s in motion.temporal_edges_s[motion.parted]:
        first = np.searchsorted(np.arange(1200) / 1000.0, edge_s)
        assert first == 1200 or first in pieces.starts


@pytest.mark.parametrize("time", ["nearest_bin", "linear"])
@pytest.mark.parametrize("rate", [30000.0, 29999.95, 2500.0])
def test_a_step_at_a_sample_begins_a_piece_there(time, rate):
    """However little the motion steps, also where no bin is near, and between bins that are equal."""
    for jump_um in (50.0, 0.01, 0.0):
        displacement = np.array([0.1, 0.1, 0.1 + jump_um, 0.1 + jump_um])[:, None]
        step = int(3.7 * rate) + 1
        motion = Motion(displacement, np.array([1.0, 2.0, 6.0, 7.0]), np.array([0.0]), np.array([step / rate]))
        num_samples = int(8 * rate)
        pieces = cut(motion, time, rate, num_samples)
        assert step in pieces.starts
        samples = np.array([step - 1, step])
        owner = np.searchsorted(pieces.starts, samples, side="right") - 1
        wanted = motion.at(samples / rate, 0.0, time)
        assert np.abs(pieces.displacement_um[owner, 0] - wanted).max() <= (0 if jump_um == 50 else TOLERANCE_UM)


def test_short_bins_have_as_many_pieces_as_linear_ones():
    """A breathing brain, 10 µm 4 times a second, sampled ever more finely: 800 µm at half a µm a piece."""
    for rate_hz in (1000, 30_000):
        times = np.arange(10 * rate_hz) / rate_hz
        motion = Motion(5 * np.sin(2 * np.pi * 4 * times)[:, None] * [1, 0.5, 0.1], times, WINDOWS_UM)
        counts = [len(cut(motion, time, 30_000.0, 300_000).starts) for time in ("nearest_bin", "linear")]
        assert 1400 <= min(counts) <= max(counts) <= 1600


def test_millions_of_bins_take_little_memory_beside_them():
    num_bins = 3_000_000
    times = np.arange(num_bins) / 30_000.0
    motion = Motion(8 * np.sin(times)[:, None], times, np.array([0.0]))
    own_bytes = motion.displacement_um.nbytes + times.nbytes
    for time in ("nearest_bin", "linear"):
        cut(motion, time, 1.0, 1)  # compiled, if it has to be
        tracemalloc.start()
        pieces = cut(motion, time, 30_000.0, num_bins)
        peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(pieces.starts) < 1200
        assert peak_bytes < 5 * own_bytes


def test_overlapping_pieces():
    bins = np.array([0.5, 1.5, 2.5])
    pieces = cut(Motion(np.array([[1.0], [2.0], [3.0]]), bins, np.array([0.0])), "nearest_bin", 10.0, 30)
    assert pieces.starts.tolist() == [0, 10, 20]
    assert pieces.overlapping(0, 10) == range(0, 1)
    assert pieces.overlapping(9, 11) == range(0, 2)
    assert pieces.overlapping(10, 30) == range(1, 3)
    assert len(pieces.overlapping(10, 10)) == 0
    assert len(pieces.overlapping(15, 15)) <= 1
