"""Simulated recordings: each shank's own motion is found, and what a mask covers doesn't harm the estimate."""

import json
import re

import known_recordings as known
import numpy as np
import pytest

from driftcli import presets
from driftcli.errors import InputError
from driftcli.mask.spans import of_reason
from driftcli.model import MASK_REASONS
from driftcli.store.motion import read_motion
from driftcli.store.peaks import read_peaks
from driftcli.workflow.apply import apply
from driftcli.workflow.detect import detect
from driftcli.workflow.estimate import estimate, foresee_memory
from driftcli.workflow.peak_finder import noise_of
from driftcli.workflow.work import Work

# What harm a defect does is seen best in what DREDGE makes of it; the default preset is hardly moved by most of them.
DREDGE, DEFAULT = presets.load("dredge_fast"), presets.load()
RATE_HZ = known.RATE_HZ


def side_by_side(folder, *recordings, reporter=None):
    """One recording of which each (simulation, samples) is a shank."""
    places = [simulation.positions_um + np.array([250.0 * i, 0]) for i, (simulation, _) in enumerate(recordings)]
    shank_ids = np.repeat(np.arange(len(places)).astype(str), [len(each) for each in places]).tolist()
    samples = np.concatenate([samples for _, samples in recordings], axis=1)
    return known.opened(folder, samples, np.concatenate(places), reporter, shank_ids=shank_ids)


# --- shanks ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def zigzag():
    return known.simulated(1, num_channels=32, num_units=8)


@pytest.fixture(scope="module")
def walking():
    return known.simulated(2, num_channels=32, num_units=16, drift="random_walk")


@pytest.fixture(scope="module")
def other_zigzag():
    """Other units, the same drift."""
    return known.simulated(3, num_channels=32, num_units=8)


@pytest.mark.parametrize("settings", [DREDGE, DEFAULT], ids=["dredge_fast", "default"])
def test_each_shank_gets_its_own_motion(tmp_path, zigzag, walking, settings):
    motions = known.estimated(side_by_side(tmp_path, zigzag, walking), settings)
    truths = [zigzag[0], walking[0]]
    own = [known.error_um(motions[shank], truths[shank]) for shank in (0, 1)]
    of_other = [known.error_um(motions[shank], truths[1 - shank]) for shank in (0, 1)]
    assert max(own) < 2.0
    assert min(of_other) > 4 * max(own)


def test_a_shank_is_estimated_as_if_it_were_alone(tmp_path, zigzag, walking):
    """Reference and mask aside, which ask the contacts of all shanks."""
    settings = presets.load("dredge_fast", ["reference.method=none", "mask.method=none"])
    together = known.estimated(side_by_side(tmp_path / "both", zigzag, walking), settings)
    for shank, one in enumerate((zigzag, walking)):
        (alone,) = known.estimated(side_by_side(tmp_path / str(shank), one), settings).values()
        np.testing.assert_array_equal(together[shank].displacement_um, alone.displacement_um)


def test_pooled_shanks_are_better_only_if_they_move_together(tmp_path, zigzag, other_zigzag, walking):
    recording = side_by_side(tmp_path / "same", zigzag, other_zigzag)
    each = known.estimated(recording, DREDGE)
    pooled = known.estimated(recording, DREDGE, shanks="together")
    np.testing.assert_array_equal(pooled[0].displacement_um, pooled[1].displacement_um)
    for shank, (simulation, _) in enumerate((zigzag, other_zigzag)):
        assert known.error_um(pooled[shank], simulation) <= known.error_um(each[shank], simulation)
    recording = side_by_side(tmp_path / "other", zigzag, walking)
    each = known.estimated(recording, DREDGE)
    pooled = known.estimated(recording, DREDGE, shanks="together")
    worst = [max(known.error_um(m[i], s) for i, (s, _) in enumerate((zigzag, walking))) for m in (each, pooled)]
    assert worst[1] > 3 * worst[0]


def test_windows_fit_each_shank(tmp_path, reporter):
    """Contacts that span 620 µm get smaller windows, those that span 140 µm none."""
    long, short = known.simulated(4, num_channels=64, duration_s=10), known.simulated(5, 16, duration_s=10)
    motions = known.estimated(side_by_side(tmp_path, long, short), DREDGE, reporter)
    assert any(each.startswith("shank 0: the spatial windows don't fit") for each in reporter.messages)
    assert "shank 1: the contacts span 140 µm, less than one win_step_um of 400: the estimate is rigid" in (
        reporter.messages
    )
    assert [motions[shank].displacement_um.shape[1] for shank in (0, 1)] == [2, 1]
    assert 0 <= motions[0].spatial_bins_um.min() < motions[0].spatial_bins_um.max() <= 620


def test_a_silent_shank_gets_nothing_of_its_neighbour(tmp_path, zigzag, reporter):
    simulation, samples = zigzag
    silent = np.zeros_like(samples)
    recording = side_by_side(tmp_path, zigzag, (simulation, silent))
    settings = presets.load("dredge_fast", ["apply.signal=raw"])
    motions = known.estimated(recording, settings, reporter)
    assert "shank 1: there are no peaks; its motion is taken as zero" in reporter.messages
    assert not motions[1].displacement_um.any()
    assert known.error_um(motions[0], simulation) < 2.0
    apply(recording, tmp_path / "motion.h5", settings, tmp_path / "out.bin", Work(jobs=2))
    out = np.fromfile(tmp_path / "out.bin", "<i2").reshape(len(samples), -1)
    assert not out[:, 32:].any()
    assert out[:, :32].any(axis=0).all()


# --- breaks ---------------------------------------------------------------------------------------------------------


# preset: mean error, that within a second of the break, and the share of the step that is found, at least
BREAKS = {"dredge_fast": (1.5, 4.0, 0.6), "kilosort_like": (1.5, 4.0, 0.6), "likelihood": (0.3, 0.5, 0.9)}


@pytest.mark.parametrize("preset", BREAKS)
def test_the_motion_steps_where_another_file_begins(tmp_path, preset):
    """Two files, 13.4 s and 13.7 s, of a drift that went on by 28 µm in the time between them.

    Up to the break the motion is that of the last bin's centre: at 4 µm/s and bins of 1 s that is some µm behind.
    """
    most, near, least = BREAKS[preset]
    truth, samples = known.simulated(1)
    first_s, later_s = 13.4, 26.3
    files = [samples[: round(first_s * RATE_HZ)], samples[round(later_s * RATE_HZ) :]]
    recording = known.opened(tmp_path, files, truth.positions_um)
    (motion,) = known.estimated(recording, presets.load(preset)).values()
    np.testing.assert_array_equal(motion.steps_s, [first_s])
    time_s = np.arange(0.05, recording.duration_s, 0.1)
    true_time_s = np.where(time_s < first_s, time_s, time_s - first_s + later_s)
    depth_um = truth.units.positions_um[:, 1]
    difference = motion.at(time_s[:, None], depth_um) - truth.motion.at(true_time_s[:, None], depth_um)
    error = np.abs(difference - np.median(difference))
    assert error.mean() < most
    assert error[np.abs(time_s - first_s) < 1.0].mean() < near
    before, after = motion.at([np.nextafter(first_s, 0), first_s], 300.0)
    true_before, true_after = truth.motion.at([first_s, later_s], 300.0)
    assert least < (after - before) / (true_after - true_before) < 1.0


# --- masks ----------------------------------------------------------------------------------------------------------

LOST = known.spans_of([8.6, 28.0], 2.3)  # two bins and more, during which the drift goes on at its speed
# What does the defect, its spans, the reason that the mask must give, and how many times larger the error must be
# without a mask, so that this proves something.
DEFECTS = {
    "artifact every 20 s": (known.with_artifacts, known.spans_of([5.0, 25.0], 0.02), "artifact", 0),
    "artifact every 2 s": (known.with_artifacts, known.spans_of(np.arange(0.7, 40, 2.0), 0.02), "artifact", 2),
    "zeros": (known.with_zeros, LOST, "gap", 1.3),
    "lines": (known.with_lines, LOST, "gap", 1.3),
    "saturation": (known.with_saturation, LOST, "saturation", 4),
}
WITHIN = 1.10
TINY_UM = 0.1


@pytest.fixture(scope="module")
def simulation():
    return known.simulated(1)


@pytest.fixture(scope="module")
def clean_errors_um(simulation, tmp_path_factory):
    """Of DREDGE and of DEFAULT, which has the same peaks."""
    truth, samples = simulation
    folder = tmp_path_factory.mktemp("clean")
    (motion,) = known.estimated(known.opened(folder, samples, truth.positions_um), DREDGE).values()
    by_default = estimate_again(folder / "peaks.h5", DEFAULT)
    return known.error_um(motion, truth), known.error_um(by_default, truth)


@pytest.fixture
def clean_error_um(clean_errors_um):
    return clean_errors_um[0]


def test_the_default_preset_is_far_nearer_to_the_truth(clean_errors_um):
    dredge_um, default_um = clean_errors_um
    assert default_um < 0.3
    assert default_um < 0.4 * dredge_um


@pytest.mark.parametrize("defect", DEFECTS)
def test_what_is_masked_does_no_harm(tmp_path, simulation, clean_errors_um, clean_error_um, defect):
    """Within 10 % of the recording without the defect; and where the mask is ignored, far from it."""
    truth, samples = simulation
    damage, spans, reason, worse = DEFECTS[defect]
    recording = known.opened(tmp_path, damage(samples, spans), truth.positions_um)
    (motion,) = known.estimated(recording, DREDGE).values()
    assert known.error_um(motion, truth) < WITHIN * clean_error_um + TINY_UM
    assert len(motion.temporal_bins_s) == 40
    check_mask(read_peaks(tmp_path / "peaks.h5").mask, tmp_path, spans, reason)
    by_default = estimate_again(tmp_path / "peaks.h5", DEFAULT)
    assert known.error_um(by_default, truth) < WITHIN * clean_errors_um[1]
    assert (by_default.deviation_um > 0).all()
    ignored = estimate_again(tmp_path / "peaks.h5", DREDGE, ignore_mask=True)
    assert (ignored.displacement_um != motion.displacement_um).any()
    assert known.error_um(ignored, truth) > worse * clean_error_um


def check_mask(mask, folder, spans, reason):
    """All of the defect is masked for its reason, and no more than 25 ms on either side."""
    found = of_reason(mask, reason)
    if reason == "artifact":  # a few spikes at once are taken for one, too
        near = [((found[:, 0] < stop) & (found[:, 1] > start)).any() for start, stop in spans]
        assert all(near)
        found = np.array([span for span in found if any(span[0] < stop and span[1] > start for start, stop in spans)])
    assert len(found) == len(spans)
    edge = 0.002 * RATE_HZ if reason == "artifact" else 0  # a burst begins softly
    for (start, stop), (first, last) in zip(spans, found, strict=True):
        assert start - 0.025 * RATE_HZ <= first <= start + edge
        assert stop - edge <= last <= stop + 0.025 * RATE_HZ
    share = json.loads((folder / "run.json").read_text())["outputs"]["peaks.h5"]["mask"]["share"]
    expected = {name: sum(np.diff(of_reason(mask, name)).ravel()) / (40 * RATE_HZ) for name in MASK_REASONS}
    assert {name: share[name] for name in MASK_REASONS} == pytest.approx(expected, abs=1e-5)
    assert max(expected.values()) <= share["any"] + 1e-5
    assert share == json.loads((folder / "run.json").read_text())["outputs"]["motion.h5"]["mask"]["share"]


def test_a_gap_is_corrected_by_the_motion_between_its_ends(tmp_path):
    """Drifting up throughout: over three bins of nothing, the motion goes on from one end to the other."""
    truth, samples = known.simulated(6, duration_s=12.0, period_s=48.0)
    gap = known.spans_of([7.0], 3.0)
    recording = known.opened(tmp_path, known.with_zeros(samples, gap), truth.positions_um)
    (motion,) = known.estimated(recording, DREDGE).values()
    np.testing.assert_array_equal(motion.temporal_bins_s, np.arange(12) + 0.5)
    inside, ends = motion.displacement_um[7:10], motion.displacement_um[[6, 10]]
    np.testing.assert_allclose(inside, ends[:1] + np.outer([0.25, 0.5, 0.75], ends[1] - ends[0]), atol=1e-9)
    assert (ends[1] - ends[0] > 4).all()
    assert known.error_um(motion, truth) < 1.5
    # with the signal back in place, the time of the gap is corrected as any other
    settings = presets.load("dredge_fast", ["apply.signal=raw"])
    whole = known.opened(tmp_path / "whole", samples, truth.positions_um)
    apply(whole, tmp_path / "motion.h5", settings, tmp_path / "out.bin", Work(jobs=2))
    corrected = np.fromfile(tmp_path / "out.bin", "<i2").reshape(samples.shape)
    start, stop = gap[0]
    assert (corrected[start:stop] != samples[start:stop]).mean() > 0.3


@pytest.mark.parametrize("damage", [known.with_zeros, known.with_lines, known.with_saturation])
def test_noise_levels_are_those_of_the_rest(tmp_path, simulation, damage):
    """Else a gap of 30 % lets the threshold sink by as much."""
    truth, samples = simulation
    levels = []
    for name, data in {"clean": samples, "lost": damage(samples, known.spans_of([3.0, 23.3], 6.0))}.items():
        recording = known.opened(tmp_path / name, data, truth.positions_um)
        levels.append(noise_of(recording, DREDGE, Work(jobs=2)))
    for clean, lost in zip(*levels, strict=True):
        np.testing.assert_allclose(lost, clean, rtol=0.06)


def test_times_to_exclude_are_as_good_as_a_mask_that_is_found(tmp_path, simulation, clean_error_um):
    truth, samples = simulation
    recording = known.opened(tmp_path, known.with_saturation(samples, LOST), truth.positions_um)
    settings, times = presets.load("dredge_fast", ["mask.method=none"]), "8.59-10.91, 27.99-30.31"
    (given_to_detect,) = known.estimated(recording, settings, exclude_times=times).values()
    assert known.error_um(given_to_detect, truth) < WITHIN * clean_error_um + TINY_UM
    mask = read_peaks(tmp_path / "peaks.h5").mask
    np.testing.assert_array_equal(mask.in_seconds(RATE_HZ), [[8.59, 10.91], [27.99, 30.31]])
    assert set(mask.reasons.tolist()) == {MASK_REASONS.index("excluded")}
    detected = tmp_path / "peaks.h5"
    ignored = estimate_again(detected, settings, ignore_mask=True)
    assert known.error_um(ignored, truth) > 3 * clean_error_um
    given_to_estimate = estimate_again(detected, settings, ignore_mask=True, exclude_times=times)
    np.testing.assert_array_equal(given_to_estimate.displacement_um, given_to_detect.displacement_um)


def estimate_again(peaks, settings, **options):
    out = peaks.with_name("again.h5")
    estimate(peaks, settings, out, Work(jobs=2, overwrite=True), **options)
    (motion,) = read_motion(out).motions.values()
    return motion


def test_without_a_mask_it_is_as_if_the_mask_were_ignored(tmp_path):
    truth, samples = known.simulated(6, duration_s=12.0, period_s=48.0)
    recording = known.opened(tmp_path, known.with_zeros(samples, known.spans_of([7.0], 3.0)), truth.positions_um)
    masked, unmasked = (presets.load("dredge_fast", changes) for changes in ([], ["mask.method=none"]))
    (with_mask,) = known.estimated(recording, masked).values()
    ignored = estimate_again(tmp_path / "peaks.h5", masked, ignore_mask=True)
    (without,) = known.estimated(recording, unmasked).values()
    assert not len(read_peaks(tmp_path / "peaks.h5").mask)
    np.testing.assert_array_equal(ignored.displacement_um, without.displacement_um)
    assert np.abs(with_mask.displacement_um - without.displacement_um).max() > 1


def test_files_too_short_for_a_temporal_bin_are_told(tmp_path, reporter):
    truth, samples = known.simulated(6, duration_s=12.0, period_s=48.0)
    parts = [samples[: 3 * RATE_HZ], samples[4 * RATE_HZ : 4 * RATE_HZ + 9000], samples[5 * RATE_HZ : 8 * RATE_HZ]]
    known.estimated(known.opened(tmp_path, parts, truth.positions_um), DREDGE, reporter)
    assert any(each.startswith("1 of 3 files have no temporal bin") for each in reporter.messages)


def test_memory_is_foretold_for_the_time_that_is_worked_on(tmp_path, reporter):
    truth, samples = known.simulated(6, duration_s=12.0, period_s=48.0)
    recording = known.opened(tmp_path, np.split(samples, 4), truth.positions_um)
    foresee_memory(recording, DREDGE, Work(reporter=reporter), "each")
    known.estimated(recording, DREDGE, reporter)
    bins = [found[0] for each in reporter.messages if (found := re.findall(r"(\d+) temporal bins", each))]
    assert bins == ["36", "36"]  # 12 of 1 s, and 8 between any two files
    assert recording.duration_s == 12


def test_a_mask_of_everything_is_an_input_error(tmp_path):
    truth, samples = known.simulated(6, duration_s=12.0, period_s=48.0)
    recording = known.opened(tmp_path, samples, truth.positions_um)
    with pytest.raises(InputError, match="leaves no temporal bin"):
        known.estimated(recording, DREDGE, exclude_times="0-")


@pytest.mark.parametrize("select", ["all", "uniform"])
def test_chunks_and_threads_change_no_byte_of_mask_and_labels(tmp_path, select):
    truth, samples = known.simulated(6, duration_s=12.0, period_s=48.0)
    samples = known.with_artifacts(samples[: 5 * RATE_HZ], known.spans_of([0.54, 3.0], 0.02))
    samples = known.with_saturation(known.with_zeros(samples, known.spans_of([1.6], 0.1)), known.spans_of([2.7], 0.03))
    samples[:, 11] = 0
    recording = known.opened(tmp_path, samples, truth.positions_um)
    settings = presets.load("rigid_fast", [f"select.method={select}", "estimate.bin_s=0.5"])
    outs = []
    for jobs, chunk_s in ((1, 3600.0), (2, 0.1), (4, 0.777)):
        work = Work(jobs=jobs, chunk_s=chunk_s, overwrite=True)
        detect(recording, settings, tmp_path / "peaks.h5", work)
        outs.append((tmp_path / "peaks.h5").read_bytes())
    assert outs[0] == outs[1] == outs[2]
    file = read_peaks(tmp_path / "peaks.h5")
    assert set(file.mask.reasons.tolist()) == {MASK_REASONS.index(each) for each in ("artifact", "gap", "saturation")}
    assert np.flatnonzero(file.facts.labels).tolist() == [11]
