"""Blocks moved to where they fit, against every peak under every move."""

import tracemalloc

import numpy as np
import pytest

from driftcli.estimate import blocks, recovery
from driftcli.model import DepthPeaks, Motion
from driftcli.reporter import Reporter
from oracles import likelihood as oracle

BLOCK_S, REACH_UM = 2.0, 60.0


def layout_of(span_um, duration_s=20.0):
    return blocks.Layout.of(span_um, duration_s, BLOCK_S, 300.0, REACH_UM)


def some_peaks(span_um, moved_um=lambda time_s, depth_um: 0 * time_s, count=900, units=14, seed=0, duration_s=20.0):
    """Of units along the span, some of them beyond it."""
    rng = np.random.default_rng(seed)
    unit, time_s = rng.integers(0, units, count), np.sort(rng.uniform(0, duration_s, count))
    depth_um = rng.uniform(span_um[0] - 20, span_um[1] + 20, units)[unit]
    found_um = depth_um + moved_um(time_s, depth_um) + rng.normal(0, 2, count)
    return time_s, found_um, -np.exp(rng.normal(4, 0.5, units)[unit] + rng.normal(0, 0.08, count))


def coarse_of(layout, moved_um):
    times_s, depths_um = (np.arange(layout.n_blocks) + 0.5) * layout.block_s, layout.centres_um
    return Motion(moved_um(times_s[:, None], depths_um[None]) + np.zeros(len(depths_um)), times_s, depths_um)


def still(time_s, depth_um):
    return 0.0 * time_s


def jump(time_s, depth_um):
    """By 45 µm at the tip, and less the farther up; after 11 s."""
    return 45.0 * (time_s >= 11) * (1 - depth_um / 1000)


SPANS_UM = [(0.0, 150.0), (0.0, 400.0), (0.0, 800.0)]  # one, two and three windows


def moved_of(peaks, coarse, layout):
    found = recovery.proposal(DepthPeaks(*peaks), coarse, layout, Reporter())
    return np.zeros(coarse.displacement_um.shape) if found is None else found.displacement_um - coarse.displacement_um


@pytest.mark.parametrize("span_um", SPANS_UM)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_proposal_is_the_oracles(span_um, seed):
    """Blocks are where they were until 11 s, and the coarse motion knows nothing of the jump."""
    peaks, layout = some_peaks(span_um, jump, seed=seed), layout_of(span_um)
    coarse = coarse_of(layout, still)
    expected = oracle.recovery(peaks, coarse.displacement_um, span_um, BLOCK_S, REACH_UM)
    np.testing.assert_array_equal(moved_of(peaks, coarse, layout), expected)
    assert np.abs(expected).max() >= 20


@pytest.mark.parametrize("span_um", SPANS_UM)
def test_a_jump_that_the_coarse_motion_has_missed_is_found(span_um):
    peaks, layout = some_peaks(span_um, jump, units=30 if span_um[1] > 200 else 8), layout_of(span_um)
    found = recovery.proposal(DepthPeaks(*peaks), coarse_of(layout, still), layout, Reporter())
    error_um = found.displacement_um - coarse_of(layout, jump).displacement_um
    assert np.abs(error_um)[:5].max() < 10
    assert np.abs(error_um)[6:].max() < 15  # within reach of the rounds that follow


@pytest.mark.parametrize("span_um", SPANS_UM)
def test_a_single_window_that_is_lost_is_found(span_um):
    """The last window of the coarse motion leaves by 40 µm at 11 s, though nothing moves."""
    layout = layout_of(span_um)
    last_um = layout.centres_um[-1]
    coarse = coarse_of(layout, lambda time_s, depth_um: 40.0 * (time_s >= 11) * (depth_um == last_um))
    found = recovery.proposal(DepthPeaks(*some_peaks(span_um, units=30)), coarse, layout, Reporter())
    assert np.abs(coarse.displacement_um).max() == 40
    assert np.abs(found.displacement_um).max() <= 10


@pytest.mark.parametrize("span_um", SPANS_UM)
@pytest.mark.parametrize("moved_um", [still, jump])
def test_blocks_that_are_right_stay(span_um, moved_um):
    layout = layout_of(span_um)
    peaks = some_peaks(span_um, moved_um, count=4000, units=30)
    assert recovery.proposal(DepthPeaks(*peaks), coarse_of(layout, moved_um), layout, Reporter()) is None


def test_blocks_without_peaks_go_with_those_before():
    span_um, layout = (0.0, 400.0), layout_of((0.0, 400.0))
    time_s, depth_um, amplitude = some_peaks(span_um, jump, count=2000)
    there = (time_s < 4) | ((time_s > 8) & (time_s < 14)) | (time_s > 16)
    peaks = time_s[there], depth_um[there], amplitude[there]
    moved = moved_of(peaks, coarse_of(layout, still), layout)
    np.testing.assert_array_equal(moved[2:4], moved[1:2].repeat(2, 0))
    np.testing.assert_array_equal(moved[7], moved[6])
    assert np.abs(moved[7]).max() >= 20


def test_of_very_many_peaks_some_are_enough():
    """More than are looked at, in every block."""
    span_um, layout = (0.0, 400.0), layout_of((0.0, 400.0), 8.0)
    peaks = some_peaks(span_um, lambda time_s, depth_um: 40.0 * (time_s >= 4), count=2600, duration_s=8.0)
    coarse = coarse_of(layout, still)
    expected = oracle.recovery(peaks, coarse.displacement_um, span_um, BLOCK_S, REACH_UM)
    np.testing.assert_array_equal(moved_of(peaks, coarse, layout), expected)
    np.testing.assert_allclose(expected[-1], 40, atol=5)
    cells = recovery._Cells.of(DepthPeaks(*peaks), layout)
    block, share = recovery._Block.of(DepthPeaks(*peaks), coarse, layout, cells, 1)
    inside = (peaks[0] >= 2) & (peaks[0] < 4) & (peaks[1] > 0) & (peaks[1] < 400)
    assert (len(block.rows), share) == (500, 500 / inside.sum())


@pytest.mark.parametrize("amplitude", [0.0, -50.0])
def test_amplitudes_that_are_all_the_same(amplitude):
    span_um, layout = (0.0, 400.0), layout_of((0.0, 400.0))
    time_s, depth_um, _ = some_peaks(span_um, jump, units=8)
    peaks = time_s, depth_um, np.full(len(time_s), amplitude)
    coarse = coarse_of(layout, still)
    expected = oracle.recovery(peaks, coarse.displacement_um, span_um, BLOCK_S, REACH_UM)
    np.testing.assert_array_equal(moved_of(peaks, coarse, layout), expected)


def test_where_nothing_can_be_moved_nothing_is():
    layout = blocks.Layout.of((0.0, 100.0), 20.0, BLOCK_S, 300.0, 5.0)
    peaks = DepthPeaks(*some_peaks((0.0, 100.0), jump))
    assert recovery.proposal(peaks, coarse_of(layout, still), layout, Reporter()) is None


def test_a_block_may_need_several_moves():
    """Two windows of three are lost at the same time, which no single move mends."""
    span_um, layout = (0.0, 800.0), layout_of((0.0, 800.0))
    peaks = some_peaks(span_um, units=30, count=2000)
    coarse = coarse_of(layout, lambda time_s, depth_um: (time_s >= 11) * np.array([45.0, 0.0, 45.0]))
    expected = oracle.recovery(peaks, coarse.displacement_um, span_um, BLOCK_S, REACH_UM)
    moved = moved_of(peaks, coarse, layout)
    np.testing.assert_array_equal(moved, expected)
    assert np.abs(coarse.displacement_um + moved)[6:].max() <= 10


def test_a_block_goes_no_farther_from_the_one_before_than_is_looked_for():
    """By 25 µm the coarse motion has followed a jump by 70 µm; another 45 µm would be too far for 60 µm."""
    span_um, layout = (0.0, 400.0), layout_of((0.0, 400.0))
    peaks = some_peaks(span_um, lambda time_s, depth_um: 70.0 * (time_s >= 12), count=2000)
    coarse = coarse_of(layout, lambda time_s, depth_um: 25.0 * (time_s >= 12))
    expected = oracle.recovery(peaks, coarse.displacement_um, span_um, BLOCK_S, REACH_UM)
    moved = moved_of(peaks, coarse, layout)
    np.testing.assert_array_equal(moved, expected)
    assert np.abs(np.diff(coarse.displacement_um + moved, axis=0)).max() <= 60
    farther = blocks.Layout.of(span_um, 20.0, BLOCK_S, 300.0, 90.0)
    np.testing.assert_allclose(moved_of(peaks, coarse, farther)[-1], 45, atol=5)


def test_moves_of_less_than_10_um_are_left_to_the_rounds():
    span_um, layout = (0.0, 150.0), layout_of((0.0, 150.0))
    peaks = some_peaks(span_um, lambda time_s, depth_um: 5.0 * (time_s >= 12), count=6000, units=4)
    assert recovery.proposal(DepthPeaks(*peaks), coarse_of(layout, still), layout, Reporter()) is None


def test_amplitudes_of_more_than_a_hundredfold_share_cells():
    span_um, layout = (0.0, 400.0), layout_of((0.0, 400.0))
    time_s, depth_um, amplitude = some_peaks(span_um, jump, units=20)
    peaks = time_s, depth_um, np.sign(amplitude) * np.abs(amplitude) ** 5 / 1e7
    assert np.ptp(np.log(np.abs(peaks[2]))) > 6
    coarse = coarse_of(layout, still)
    expected = oracle.recovery(peaks, coarse.displacement_um, span_um, BLOCK_S, REACH_UM)
    np.testing.assert_array_equal(moved_of(peaks, coarse, layout), expected)
    assert np.abs(expected).max() >= 20


def test_progress_is_told_for_every_block():
    told = []

    class Listener(Reporter):
        def progress(self, stage, done, total, recording_s=0.0):
            told.append((stage, done, total))

    layout = layout_of((0.0, 400.0))
    recovery.proposal(DepthPeaks(*some_peaks((0.0, 400.0))), coarse_of(layout, still), layout, Listener())
    assert told == [("estimate", done, 10) for done in range(1, 11)]


def test_memory_is_foreseen():
    span_um, layout = (0.0, 3840.0), blocks.Layout.of((0.0, 3840.0), 60.0, BLOCK_S, 300.0, 150.0)
    rng = np.random.default_rng(0)
    peaks = some_peaks(span_um, units=300, count=3000, duration_s=60.0)
    peaks = DepthPeaks(*peaks[:2], np.exp(rng.uniform(0, 4.7, 3000)))
    coarse = coarse_of(layout, still)
    recovery.proposal(peaks, coarse, layout, Reporter())
    tracemalloc.start()
    recovery.proposal(peaks, coarse, layout, Reporter())
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0.6 * recovery.proposal_bytes(layout) < taken < recovery.proposal_bytes(layout)
