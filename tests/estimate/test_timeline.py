"""The estimate's own time: any breaks, masks and bins against one bin and one peak at a time."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from driftcli.errors import InputError
from driftcli.estimate.histogram import temporal_bins
from driftcli.estimate.timeline import Timeline
from driftcli.model import DepthPeaks, DepthTraces, Motion
from oracles import timeline as oracle

TICK_S = 1 / 16  # sums of such times are exact
NO_SPANS, NO_BREAKS = np.empty((0, 2)), np.empty(0)
LAYOUTS = settings(deadline=None, max_examples=150)


@st.composite
def layouts(draw):
    """(duration, bin length, breaks, masked spans), all whole ticks, so that bounds often meet."""
    length = draw(st.integers(1, 160))
    bin_s = draw(st.integers(1, 40)) * TICK_S
    inside = st.integers(1, max(length - 1, 1))
    breaks = sorted(draw(st.sets(inside, max_size=4)) if length > 1 else [])
    ends = sorted(draw(st.sets(st.integers(0, length), max_size=10)))
    spans = np.reshape(ends[: len(ends) // 2 * 2], (-1, 2)) * TICK_S
    return length * TICK_S, bin_s, np.array(breaks, float) * TICK_S, spans


def peaks_at(time_s):
    """Peaks that can be told from each other."""
    index = np.arange(len(time_s), dtype=float)
    return DepthPeaks(np.asarray(time_s, float), 1000 + index, -index)


def timeline_of(layout):
    """The timeline; layouts without a bin to work on are left to another test."""
    duration_s, bin_s, breaks_s, spans_s = layout
    assume(any(oracle.kept(duration_s, bin_s, breaks_s, spans_s)))
    return Timeline.of(*layout)


@LAYOUTS
@given(layout=layouts())
@example(layout=(3.0, 1.0, np.array([1.5]), NO_SPANS))
@example(layout=(3.0, 1.0, NO_BREAKS, np.array([[1.0, 2.0]])))
@example(layout=(2.5, 1.0, NO_BREAKS, np.array([[2.0, 2.5]])))
def test_bins_are_those_of_the_oracle(layout):
    timeline = timeline_of(layout)
    expected = oracle.bins(*layout[:3])
    np.testing.assert_array_equal(timeline.stretch_of, [stretch for stretch, _, _ in expected])
    np.testing.assert_array_equal(timeline.starts_s, [start for _, start, _ in expected])
    np.testing.assert_array_equal(timeline.ends_s, [end for _, _, end in expected])
    np.testing.assert_array_equal(timeline.kept, oracle.kept(*layout))


@LAYOUTS
@given(layout=layouts(), more=st.lists(st.floats(0, 1, exclude_max=True), max_size=10))
def test_peaks_are_taken_as_the_oracle_takes_them(layout, more):
    timeline = timeline_of(layout)
    duration_s = layout[0]
    time_s = np.sort(np.concatenate([np.arange(0, duration_s, TICK_S), np.array(more, float) * duration_s]))
    peaks = peaks_at(time_s)
    taken = timeline.take(peaks)
    expected = oracle.take(time_s, *layout)
    index = [each for each, _ in expected]
    np.testing.assert_array_equal(taken.depth_um, peaks.depth_um[index])
    np.testing.assert_array_equal(taken.amplitude, peaks.amplitude[index])
    np.testing.assert_allclose(taken.time_s, [time for _, time in expected], rtol=0, atol=1e-8)
    assert (np.diff(taken.time_s) >= 0).all()


@LAYOUTS
@given(layout=layouts(), seed=st.integers(0, 1000))
def test_motion_is_restored_as_the_oracle_does(layout, seed):
    timeline = timeline_of(layout)
    _, bin_s, breaks_s, _ = layout
    edges_s = temporal_bins(timeline.duration_s, bin_s)  # what a method works with
    displacement_um = np.random.default_rng(seed).normal(0, 20, (len(edges_s) - 1, 2))
    windows_um = np.array([100.0, 300.0])
    restored = timeline.restore(Motion(displacement_um, (edges_s[1:] + edges_s[:-1]) / 2, windows_um))
    centres, rows = oracle.restore(displacement_um, *layout)
    np.testing.assert_allclose(restored.displacement_um, rows, rtol=0, atol=1e-9)
    np.testing.assert_allclose(restored.temporal_bins_s, centres, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(restored.spatial_bins_um, windows_um)
    np.testing.assert_array_equal(restored.steps_s, breaks_s)
    assert restored.deviation_um is None
    sides = np.searchsorted(breaks_s, restored.temporal_bins_s, side="right")
    np.testing.assert_array_equal(sides, timeline.stretch_of)  # no bin is looked up on another side than its own


@LAYOUTS
@given(layout=layouts(), seed=st.integers(0, 1000))
def test_deviations_are_restored_as_the_oracle_does(layout, seed):
    timeline = timeline_of(layout)
    edges_s = temporal_bins(timeline.duration_s, layout[1])
    moved_um, deviation_um = np.random.default_rng(seed).uniform(0.1, 20, (2, len(edges_s) - 1, 2))
    motion = Motion(moved_um, (edges_s[1:] + edges_s[:-1]) / 2, np.array([100.0, 300.0]), deviation_um=deviation_um)
    restored = timeline.restore(motion)
    expected_um = oracle.deviations(deviation_um, moved_um, *layout)
    np.testing.assert_allclose(restored.deviation_um, expected_um, rtol=0, atol=1e-9)
    np.testing.assert_allclose(restored.displacement_um, oracle.restore(moved_um, *layout)[1], rtol=0, atol=1e-9)


@settings(deadline=None, max_examples=300)
@given(
    bin_s=st.floats(0.01, 7),
    rate_hz=st.floats(1000, 40_000),
    lengths=st.lists(st.integers(1, 100_000), min_size=1, max_size=4),
    share=st.floats(0, 0.9),
)
def test_any_floats_fit_together(bin_s, rate_hz, lengths, share):
    """Times as a real recording has them, where nothing is exact: as many bins are worked on as are put back, and each
    peak stays in the bin that its time is in."""
    bounds = np.cumsum([0, *lengths])
    assume(bounds[-1] / rate_hz / bin_s < 2000)
    span_s = np.array([[0.0, share * bounds[-1] / rate_hz]])
    try:
        timeline = Timeline.of(bounds[-1] / rate_hz, bin_s, bounds[1:-1] / rate_hz, span_s)
    except InputError:
        assume(False)
    edges_s = temporal_bins(timeline.duration_s, bin_s)
    number = len(edges_s) - 1
    assert timeline.is_whole or number == timeline.place[timeline.kept][-1] + 1
    assert not timeline.is_whole or number == timeline.kept.sum()
    time_s = np.unique(np.concatenate([np.linspace(0, bounds[-1] - 1, 50).astype(int), bounds[:-1]])) / rate_hz
    taken = timeline.take(peaks_at(time_s))
    original_s = time_s[(taken.depth_um - 1000).astype(int)]
    worked_bin = np.clip(np.searchsorted(edges_s, taken.time_s, side="right") - 1, 0, number - 1)
    kept = np.flatnonzero(timeline.kept)
    of_place = dict(zip(timeline.place[kept].tolist(), kept.tolist(), strict=True))
    recorded_bin = [of_place[place] for place in worked_bin.tolist()]  # no peak is in an empty bin
    rounding = 1e-9 * (1 + bounds[-1] / rate_hz)
    assert (original_s >= timeline.starts_s[recorded_bin] - rounding).all()
    assert (original_s <= timeline.ends_s[recorded_bin] + rounding).all()
    assert (np.diff(taken.time_s) >= 0).all()


def worked_on(timeline, values):
    """A motion of the method's time with these values in the kept bins; what is in the others must not matter."""
    edges_s = temporal_bins(timeline.duration_s, timeline.bin_s)
    displacement_um = np.full((len(edges_s) - 1, 1), 999.0)
    displacement_um[timeline.place[timeline.kept], 0] = values
    return Motion(displacement_um, (edges_s[1:] + edges_s[:-1]) / 2, np.zeros(1))


@pytest.mark.parametrize("duration_s", [0.3, 3.0, 3.2, 7.9])
def test_without_breaks_and_masks_nothing_is_touched(duration_s):
    timeline = Timeline.of(duration_s, 1.0, NO_BREAKS, NO_SPANS)
    peaks = peaks_at(np.arange(0, duration_s, 0.01))
    motion = Motion(np.zeros((3, 1)), np.arange(3) + 0.5, np.zeros(1))
    assert timeline.is_whole
    assert timeline.duration_s == duration_s
    assert timeline.take(peaks) is peaks
    assert timeline.restore(motion) is motion


def test_a_mask_that_leaves_all_bins_takes_off_its_peaks_alone():
    timeline = Timeline.of(10.0, 1.0, NO_BREAKS, np.array([[2.25, 2.5]]))
    peaks = peaks_at([2.0, 2.24, 2.25, 2.4, 2.5, 9.0])
    taken = timeline.take(peaks)
    assert timeline.is_whole
    np.testing.assert_array_equal(taken.time_s, [2.0, 2.24, 2.5, 9.0])
    np.testing.assert_array_equal(taken.amplitude, peaks.amplitude[[0, 1, 4, 5]])


def test_masked_bins_get_what_is_between_their_neighbours():
    """Bins 0 to 9 of 1 s; 3 to 6 are masked, three quarters of 8 too, and of 1 no more than half."""
    timeline = Timeline.of(10.0, 1.0, NO_BREAKS, np.array([[1.5, 2.0], [3.0, 7.0], [8.0, 8.75]]))
    np.testing.assert_array_equal(np.flatnonzero(~timeline.kept), [3, 4, 5, 6, 8])
    assert timeline.duration_s == 10.0
    restored = timeline.restore(worked_on(timeline, [0, 1, 2, 12, 20]))
    np.testing.assert_allclose(restored.displacement_um[:, 0], [0, 1, 2, 4, 6, 8, 10, 12, 16, 20])
    np.testing.assert_array_equal(restored.temporal_bins_s, np.arange(10) + 0.5)


def deviations_um(timeline, displacement_um, deviation_um=1.0):
    motion = worked_on(timeline, displacement_um)
    motion = replace(motion, deviation_um=np.full_like(motion.displacement_um, deviation_um))
    return timeline.restore(motion).deviation_um[:, 0]


def test_masked_times_are_the_less_certain_the_longer_they_are():
    """Steps of 1 µm a bin where it is seen: half a walk of n such steps, held at both ends, is off by sqrt(n) / 2."""
    alternating = np.arange(80) % 2
    for masked_s in (1, 9, 99):
        timeline = Timeline.of(80.0 + masked_s, 1.0, NO_BREAKS, np.array([[40.0, 40.0 + masked_s]]))
        inside_um = deviations_um(timeline, alternating)[40 : 40 + masked_s]
        assert inside_um.max() == inside_um[masked_s // 2] == pytest.approx(np.sqrt(1 + (masked_s + 1) / 4), rel=0.02)
        np.testing.assert_allclose(inside_um, inside_um[::-1])


def test_masked_ends_are_the_less_certain_the_farther_they_reach():
    timeline = Timeline.of(10.0, 1.0, NO_BREAKS, np.array([[0.0, 2.0], [6.0, 10.0]]))
    expected_um = np.sqrt(1 + 4 * np.array([2, 1, 0, 0, 0, 0, 1, 2, 3, 4]))
    np.testing.assert_allclose(deviations_um(timeline, [0, 2, 0, 2]), expected_um)


def test_a_file_of_which_nothing_is_known_is_less_certain_than_a_mask():
    """The motion may step at either end of it. How far it does between files is no measure of its steps in one."""
    timeline = Timeline.of(10.0, 1.0, np.array([3.0, 7.0]), np.array([[3.0, 7.0]]))
    expected_um = np.sqrt(1 + 4 * np.array([0, 0, 0, 1, 2, 2, 1, 0, 0, 0]))
    np.testing.assert_allclose(deviations_um(timeline, [0, 2, 0, 100, 102, 100]), expected_um)


def test_without_two_bins_of_a_file_nothing_is_known_of_steps():
    timeline = Timeline.of(5.0, 1.0, NO_BREAKS, np.array([[0.0, 4.0]]))
    np.testing.assert_array_equal(deviations_um(timeline, [7], 3.0), 3.0)


def test_masked_ends_keep_the_last_that_is_known():
    timeline = Timeline.of(5.0, 1.0, NO_BREAKS, np.array([[0.0, 2.0], [4.0, 5.0]]))
    restored = timeline.restore(worked_on(timeline, [3, 7]))
    np.testing.assert_array_equal(restored.displacement_um[:, 0], [3, 3, 3, 7, 7])


def test_the_motion_steps_where_the_recording_breaks():
    """Files of 2.25 s and 3 s, in bins of 1 s: the quarter second is too little for a bin that counts."""
    timeline = Timeline.of(5.25, 1.0, np.array([2.25]), NO_SPANS)
    np.testing.assert_array_equal(timeline.kept, [True, True, False, True, True, True])
    np.testing.assert_array_equal(timeline.take(peaks_at([1.5, 2.1, 2.25, 3.5])).time_s, [1.5, 10.0, 11.25])
    restored = timeline.restore(worked_on(timeline, [1, 2, 10, 11, 12]))
    np.testing.assert_array_equal(restored.displacement_um[:, 0], [1, 2, 2, 10, 11, 12])
    np.testing.assert_array_equal(restored.temporal_bins_s, [0.5, 1.5, 2.125, 2.75, 3.75, 4.75])
    for time in ("nearest_bin", "linear"):
        np.testing.assert_array_equal(restored.at([np.nextafter(2.25, 0), 2.25], 0.0, time), [2, 10])


def test_a_masked_bin_at_a_break_asks_its_own_side():
    timeline = Timeline.of(6.0, 1.0, np.array([3.0]), np.array([[2.0, 4.0]]))
    restored = timeline.restore(worked_on(timeline, [1, 2, 10, 11]))
    np.testing.assert_array_equal(restored.displacement_um[:, 0], [1, 2, 2, 10, 10, 11])


def test_a_long_mask_costs_few_bins():
    timeline = Timeline.of(1000.0, 1.0, NO_BREAKS, np.array([[10.0, 900.0]]))
    assert timeline.duration_s == 118.0


def test_a_stretch_of_which_nothing_is_known_gets_what_is_around_it():
    timeline = Timeline.of(6.0, 1.0, np.array([2.0, 4.0]), np.array([[1.9, 4.0]]))
    assert not timeline.kept[timeline.stretch_of == 1].any()
    restored = timeline.restore(worked_on(timeline, [0, 0, 9, 9]))
    np.testing.assert_allclose(restored.displacement_um[:, 0], [0, 0, 3, 6, 9, 9])
    np.testing.assert_array_equal(restored.steps_s, [2.0, 4.0])


def test_a_file_too_short_for_half_a_bin_is_no_bin_to_work_on():
    timeline = Timeline.of(4.3, 1.0, np.array([2.0, 2.3]), NO_SPANS)
    np.testing.assert_array_equal(timeline.kept, [True, True, False, True, True])
    assert timeline.duration_s == 12.0


def test_files_without_a_bin_are_counted():
    timeline = Timeline.of(4.3, 1.0, np.array([2.0, 2.3]), NO_SPANS)
    assert timeline.unknown_stretches == 1
    assert Timeline.of(4.3, 1.0, np.array([2.0]), NO_SPANS).unknown_stretches == 0


def test_the_last_of_several_files_is_judged_by_what_there_is_of_it():
    timeline = Timeline.of(3.25, 1.0, np.array([1.0, 3.0]), NO_SPANS)
    np.testing.assert_array_equal(timeline.kept, [True, True, True, False])
    assert Timeline.of(0.25, 1.0, NO_BREAKS, NO_SPANS).kept.all()


def test_files_all_too_short_for_a_bin_are_an_input_error_that_blames_no_mask():
    with pytest.raises(InputError, match="every file is shorter than half a temporal bin of 1 s") as caught:
        Timeline.of(1.2, 1.0, np.array([0.4, 0.8]), NO_SPANS)
    assert "bin_s" in caught.value.hint


@pytest.mark.parametrize("breaks_s", [[], [3.0]])
@pytest.mark.parametrize("spans_s", [[[0.0, 5.3]], [[0.0, 2.0], [2.0, 5.3]], [[0.4, 1.0], [1.3, 5.3]]])
def test_a_mask_that_leaves_no_bin_is_an_input_error(breaks_s, spans_s):
    with pytest.raises(InputError, match="leaves no temporal bin") as caught:
        Timeline.of(5.3, 1.0, np.array(breaks_s), np.array(spans_s))
    assert "mask.method=none" in caught.value.hint
    assert "--ignore-mask" in caught.value.hint


@pytest.mark.parametrize("time_s", [59.999, 60.0, math.nextafter(60.0, 0)])
def test_a_peak_at_the_very_end_stays_in_the_last_bin(time_s):
    """Peaks of an .npz may be at the end itself; and just below a whole bin, sums are rounded up."""
    timeline = Timeline.of(60.0, 1.0, np.array([30.0]), np.array([[10.0, 12.0]]))
    (taken_s,) = timeline.take(peaks_at([time_s])).time_s
    assert 67 <= taken_s < timeline.duration_s == 68


def test_rows_of_traces_go_where_the_bins_go():
    timeline = Timeline.of(6.0, 1.0, np.array([3.0]), np.array([[0.9, 2.0]]))
    values = np.arange(12, dtype=np.float32).reshape(6, 2) + 1
    taken = timeline.take_bins(DepthTraces(values, np.array([0.0, 20.0]), 1.0))
    assert len(taken) == round(timeline.duration_s)
    assert np.array_equal(taken.values[timeline.place[timeline.kept]], values[[0, 2, 3, 4, 5]])
    assert np.count_nonzero(taken.values.any(axis=1)) == 5
    whole = DepthTraces(values, np.array([0.0, 20.0]), 1.0)
    assert Timeline.of(6.0, 1.0, NO_BREAKS, NO_SPANS).take_bins(whole) is whole
