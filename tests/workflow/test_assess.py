"""assess: verdicts on made motions, what is refused, and apply that heeds them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

import make_spikeglx
import small_recording
from driftcli import presets
from driftcli.assess.alignment import alignment_of
from driftcli.assess.halves import in_first_half
from driftcli.errors import InputError, OutputError, UsageError
from driftcli.model import HELPS, DepthPeaks, Motion
from driftcli.recording.open import open_recording
from driftcli.reporter import Reporter
from driftcli.store.assessment import read_assessment
from driftcli.store.motion import read_motion, write_motion
from driftcli.store.peaks import read_peaks
from driftcli.workflow.apply import apply
from driftcli.workflow.assess import assess, default_assessment
from driftcli.workflow.correct_peaks import correct_peaks
from driftcli.workflow.detect import detect
from driftcli.workflow.estimate import estimate
from driftcli.workflow.run import run
from driftcli.workflow.work import Work

SPAN_UM, DURATION_S = (0.0, 1000.0), 60.0
SETTINGS = presets.load("kilosort_like", ["estimate.bin_s=1"])


def made_peaks(path, reach_um=14.0, n=20_000, n_units=40, seed=0):
    """Peaks of units along 1000 µm that move together by a sine; returns their displacement at a time."""
    rng = np.random.default_rng(seed)
    time_s, unit = np.sort(rng.uniform(0, DURATION_S, n)), rng.integers(0, n_units, n)
    size = -rng.lognormal(4.3, 0.4, n_units)[unit] * rng.normal(1, 0.08, n)

    def moved_um(at_s):
        return reach_um * np.sin(2 * np.pi * np.asarray(at_s) / 40)

    depth_um = rng.uniform(60, 940, n_units)[unit] + moved_um(time_s) + rng.normal(0, 3, n)
    np.savez(path, time_s=time_s, depth_um=depth_um, amplitude_uv=size)
    return moved_um


def assessed(folder, settings=SETTINGS, motion="m.h5", **options):
    out = folder / "a.h5"
    assess(folder / "p.npz", folder / motion, settings, out, Work(overwrite=True), span_um=SPAN_UM, **options)
    return read_assessment(out).assessment


def estimated(folder, settings=SETTINGS):
    estimate(folder / "p.npz", settings, folder / "m.h5", Work(overwrite=True), span_um=SPAN_UM)
    return read_motion(folder / "m.h5")


def write_other(folder, change):
    file = read_motion(folder / "m.h5")
    moved = {0: replace(file.motions[0], displacement_um=change(file.motions[0].displacement_um))}
    write_motion(folder / "other.h5", moved, file.duration_s, file.facts, SETTINGS)


def test_a_motion_that_is_there_helps_and_its_error_is_foretold(tmp_path):
    moved_um = made_peaks(tmp_path / "p.npz")
    motion = estimated(tmp_path).motions[0]
    found = assessed(tmp_path)
    scores = found.shanks[0].scores
    assert found.verdict == "helps"
    assert scores.alignment_before < 0.7 < 0.95 < scores.alignment_after
    error_um = motion.displacement_um - moved_um(motion.temporal_bins_s)[:, None]
    true_um = np.sqrt(((error_um - np.median(error_um)) ** 2).mean())
    assert 0.3 * true_um < scores.error_um < 3 * true_um
    assert scores.error_um == pytest.approx(np.sqrt((found.shanks[0].error_um ** 2).mean()))
    assert found.shanks[0].error_um.shape == motion.displacement_um.shape
    assert 20 < scores.range_um < 36


def test_where_nothing_moves_no_drift_is_found(tmp_path):
    made_peaks(tmp_path / "p.npz", reach_um=0.0)
    estimated(tmp_path)
    assert assessed(tmp_path).verdict == "no drift found"


def test_the_wrong_way_makes_it_worse_and_is_found_again(tmp_path):
    made_peaks(tmp_path / "p.npz")
    estimated(tmp_path)
    write_other(tmp_path, np.negative)
    found = assessed(tmp_path, motion="other.h5")
    assert found.verdict == "makes it worse"
    assert found.shanks[0].scores.residual_um > 15
    assert found.shanks[0].scores.error_um > 15


def test_noise_on_a_motion_is_seen_as_jumps_and_error(tmp_path):
    made_peaks(tmp_path / "p.npz")
    estimated(tmp_path)
    plain = assessed(tmp_path).shanks[0].scores
    rng = np.random.default_rng(0)
    write_other(tmp_path, lambda um: um + rng.normal(0, 4, um.shape))
    noisy = assessed(tmp_path, motion="other.h5").shanks[0].scores
    assert noisy.jumps > plain.jumps + 10
    assert noisy.unsupported_jumps > plain.unsupported_jumps + 10
    assert noisy.alignment_after < plain.alignment_after - 0.02
    assert noisy.error_um > plain.error_um + 2


def test_a_motion_of_noise_alone_is_not_said_to_help(tmp_path):
    """Bins so short that the estimate follows the scatter of their few peaks: which therefore line up."""
    made_peaks(tmp_path / "p.npz", reach_um=0.0, n=900, n_units=6)
    settings = presets.load("kilosort_like", ["estimate.bin_s=0.5"])
    estimated(tmp_path, settings)
    found = assessed(tmp_path, settings)
    scores = found.shanks[0].scores
    assert found.verdict != "helps"
    assert scores.gain_held_out < scores.gain


def test_few_peaks_are_unsure_and_what_is_unknown_is_none(tmp_path):
    made_peaks(tmp_path / "p.npz", n=30)
    estimated(tmp_path)
    found = assessed(tmp_path)
    assert found.verdict == "unsure"
    assert found.shanks[0].scores.gain is None
    assert "too few" in found.reasons[0]


def test_halves_that_cannot_be_estimated_leave_errors_unknown(tmp_path):
    """One peak: one of the halves is empty."""
    made_peaks(tmp_path / "p.npz", n=1)
    estimated(tmp_path)
    found = assessed(tmp_path)
    assert found.verdict == "unsure"
    assert found.shanks[0].scores.error_um is None
    assert np.isnan(found.shanks[0].error_um).all()


def test_what_the_estimate_left_out_is_left_out(tmp_path):
    """A wrong half minute, which the motion knows of."""
    made_peaks(tmp_path / "p.npz")
    with np.load(tmp_path / "p.npz") as file:
        arrays = dict(file)
    wrong = arrays["time_s"] > 40
    arrays["depth_um"][wrong] = np.random.default_rng(0).uniform(0, 1000, wrong.sum())
    np.savez(tmp_path / "p.npz", **arrays)
    options = {"span_um": SPAN_UM, "exclude_times": "40-"}
    estimate(tmp_path / "p.npz", SETTINGS, tmp_path / "m.h5", Work(), **options)
    scores = assessed(tmp_path).shanks[0].scores
    assert scores.peaks == (~wrong).sum()
    assert scores.alignment_after > 0.95


def test_the_same_bytes_whatever_the_threads(tmp_path):
    made_peaks(tmp_path / "p.npz")
    estimated(tmp_path)
    for jobs in (1, 3):
        assess(tmp_path / "p.npz", tmp_path / "m.h5", SETTINGS, tmp_path / f"{jobs}.h5", Work(jobs=jobs))
    assert (tmp_path / "1.h5").read_bytes() == (tmp_path / "3.h5").read_bytes()


def test_memory_is_bounded_before_it_begins(tmp_path):
    made_peaks(tmp_path / "p.npz")
    estimated(tmp_path)
    with pytest.raises(UsageError, match="memory"):
        assess(tmp_path / "p.npz", tmp_path / "m.h5", SETTINGS, tmp_path / "a.h5", Work(max_memory_bytes=1e6))
    assert not (tmp_path / "a.h5").exists()


def test_a_motion_of_several_shanks_is_none_of_an_npz(tmp_path):
    made_peaks(tmp_path / "p.npz")
    file = estimated(tmp_path)
    write_motion(tmp_path / "other.h5", {0: file.motions[0], 1: file.motions[0]}, 60.0, None, SETTINGS)
    with pytest.raises(InputError, match="2 shanks"):
        assessed(tmp_path, motion="other.h5")


def test_the_log_holds_verdict_and_scores_and_resume_keeps_the_file(tmp_path):
    made_peaks(tmp_path / "p.npz")
    estimated(tmp_path)
    facts = assess(tmp_path / "p.npz", tmp_path / "m.h5", SETTINGS, tmp_path / "a.h5", Work())
    log = json.loads((tmp_path / "run.json").read_text())["outputs"]["a.h5"]
    found = read_assessment(tmp_path / "a.h5").assessment
    assert log["verdict"] == facts["verdict"] == found.verdict
    assert log["counts"]["shanks"]["0"]["range_um"] == pytest.approx(found.shanks[0].scores.range_um, abs=1e-4)
    before = (tmp_path / "a.h5").stat().st_mtime_ns
    assess(tmp_path / "p.npz", tmp_path / "m.h5", SETTINGS, tmp_path / "a.h5", Work(resume=True))
    assert (tmp_path / "a.h5").stat().st_mtime_ns == before
    again = assess(tmp_path / "p.npz", tmp_path / "m.h5", SETTINGS, tmp_path / "a.h5", Work())
    assert again["verdict"] == facts["verdict"]  # who asks is told; of other work it is refused
    other = presets.load("rigid_fast")
    with pytest.raises(OutputError, match="not of this work"):
        assess(tmp_path / "p.npz", tmp_path / "m.h5", other, tmp_path / "a.h5", Work())


def test_shanks_are_judged_apart_or_together(tmp_path, drifting, run_verbs):
    shank_ids = ["0"] * 12 + ["1"] * 12
    out = run_verbs(drifting, "two", shank_ids=shank_ids)
    apart = read_assessment(out / "assessment.h5").assessment
    assert sorted(apart.shanks) == [0, 1]
    peaks = read_peaks(out / "peaks.h5")
    on_first = int((peaks.facts.geometry.shanks[peaks.peaks.channel_index] == 0).sum())
    assert apart.shanks[0].scores.peaks == on_first
    settings = presets.resolve(read_motion(out / "motion.h5").preset)
    estimate(out / "peaks.h5", settings, tmp_path / "m.h5", Work(), shanks="together")
    assess(out / "peaks.h5", tmp_path / "m.h5", settings, tmp_path / "a.h5", Work())
    together = read_assessment(tmp_path / "a.h5").assessment
    assert together.shanks[0].scores == together.shanks[1].scores
    assert together.shanks[0].scores.peaks == len(peaks.peaks)


def test_a_motion_of_the_whole_is_judged_on_a_span_of_it(tmp_path, drifting):
    """Times of the motion count from the first sample that it was estimated on."""
    binary, probe = small_recording.write(tmp_path, drifting)
    settings = presets.load("rigid_fast", ["estimate.bin_s=0.5", "detect.detect_threshold=6"])
    for name, start_s in (("whole", None), ("late", 1.0)):
        recording = open_recording(binary, probe=probe, start_s=start_s, reporter=Reporter())
        detect(recording, settings, tmp_path / f"{name}.h5", Work())
    estimate(tmp_path / "whole.h5", settings, tmp_path / "m.h5", Work())
    assess(tmp_path / "late.h5", tmp_path / "m.h5", settings, tmp_path / "a.h5", Work())
    correct_peaks(tmp_path / "late.h5", tmp_path / "m.h5", settings, tmp_path / "c.h5", Work())
    peaks = read_peaks(tmp_path / "c.h5")
    on_all = read_assessment(tmp_path / "a.h5").assessment.shanks[0].error_um
    assert np.isnan(on_all[0]).all()
    assert np.isfinite(on_all[-1]).all()
    time_s = peaks.peaks.sample_index / peaks.facts.sampling_frequency_hz
    depth_um = peaks.peaks.location["y_corrected_um"].astype(float)
    corrected = DepthPeaks(time_s, depth_um, peaks.peaks.amplitude.astype(float))
    expected = alignment_of(corrected, peaks.facts.duration_s, (-100.0, 330.0)).value
    scores = read_assessment(tmp_path / "a.h5").assessment.shanks[0].scores
    assert scores.alignment_after == pytest.approx(expected, abs=1e-4)
    assert scores.alignment_after != scores.alignment_before


def test_what_was_left_out_is_left_out_of_a_span_at_its_own_time(tmp_path, drifting):
    binary, probe = small_recording.write(tmp_path, drifting)
    settings = presets.load("rigid_fast", ["estimate.bin_s=0.5", "detect.detect_threshold=6"])
    for name, start_s in (("whole", None), ("late", 1.0)):
        recording = open_recording(binary, probe=probe, start_s=start_s, reporter=Reporter())
        detect(recording, settings, tmp_path / f"{name}.h5", Work())
    estimate(tmp_path / "whole.h5", settings, tmp_path / "m.h5", Work(), exclude_times="0.2-0.8,1.5-2")
    assess(tmp_path / "late.h5", tmp_path / "m.h5", settings, tmp_path / "a.h5", Work())
    peaks = read_peaks(tmp_path / "late.h5")
    time_s = peaks.peaks.sample_index / peaks.facts.sampling_frequency_hz
    used = read_assessment(tmp_path / "a.h5").assessment.shanks[0].scores.peaks
    assert used == ((time_s < 0.5) | (time_s >= 1.0)).sum()


@pytest.mark.parametrize(
    "spoilt",
    [
        pytest.param(lambda um, depths_um: um + depths_um, id="all to one depth"),
        pytest.param(lambda um, depths_um: um + depths_um / 2, id="squeezed"),
        pytest.param(lambda um, depths_um: um + 700.0, id="off the probe"),
    ],
)
def test_a_motion_that_destroys_what_it_lines_up_does_not_help(tmp_path, spoilt):
    made_peaks(tmp_path / "p.npz")
    file = estimated(tmp_path)
    motion = file.motions[0]
    assert assessed(tmp_path).verdict == HELPS
    assert len(motion.spatial_bins_um) > 1
    moved = {0: replace(motion, displacement_um=spoilt(motion.displacement_um, motion.spatial_bins_um))}
    write_motion(tmp_path / "other.h5", moved, file.duration_s, file.facts, SETTINGS)
    assert assessed(tmp_path, motion="other.h5").verdict != HELPS


def test_the_verdict_is_right_of_many_and_error_is_in_order(tmp_path):
    """Drift or none, few peaks or many; the motion as found, negated, with noise, or none."""
    expected, true, verdicts = [], [], []
    rng = np.random.default_rng(0)
    for seed, (reach_um, n) in enumerate([(0.0, 20_000), (3.0, 20_000), (14.0, 20_000), (14.0, 3_000), (40.0, 8_000)]):
        moved_um = made_peaks(tmp_path / "p.npz", reach_um, n, seed=seed)
        for settings in (SETTINGS, presets.load("dredge_fast")):
            found = estimated(tmp_path, settings).motions[0].displacement_um
            for um in (found, -found, found + rng.normal(0, 4, found.shape), 0 * found):
                write_other(tmp_path, lambda _, um=um: um)
                scores = assessed(tmp_path, settings, motion="other.h5").shanks[0]
                motion = read_motion(tmp_path / "other.h5").motions[0]
                truth = moved_um(motion.temporal_bins_s)[:, None]
                errors = [rms(um - truth), rms(-truth)]
                verdicts.append((scores.verdict, *errors))
                expected.append(scores.scores.error_um)
                true.append(errors[0])
    assert spearmanr(expected, true).statistic > 0.75
    assert all(error < without for verdict, error, without in verdicts if verdict == HELPS)
    assert all(error > 0.8 * without for verdict, error, without in verdicts if verdict == "makes it worse")
    assert {HELPS, "makes it worse", "no drift found"} <= {verdict for verdict, *_ in verdicts}


def rms(values):
    return np.sqrt(((values - np.median(values)) ** 2).mean())


def test_each_half_has_half_of_the_peaks():
    assert abs(in_first_half(1000).sum() - 500) < 60


# Where the correction depends on it.


@pytest.fixture
def made(tmp_path, drifting):
    """A recording, its settings, and its peaks, motion and assessment in a folder."""
    binary, probe = small_recording.write(tmp_path, drifting)
    recording = open_recording(binary, probe=probe, reporter=Reporter())
    settings = presets.load("rigid_fast", ["estimate.bin_s=0.5", "detect.detect_threshold=6"])
    run(recording, settings, tmp_path / "out", Work())
    return recording, settings, tmp_path / "out"


def spoil(folder, settings):
    """A motion the wrong way, and its assessment."""
    file = read_motion(folder / "motion.h5")
    motion = file.motions[0]
    far = Motion(20 * np.sign(motion.displacement_um - 1.0), motion.temporal_bins_s, motion.spatial_bins_um)
    write_motion(folder / "motion.h5", {0: far}, file.duration_s, file.facts, settings)
    assess(folder / "peaks.h5", folder / "motion.h5", settings, folder / "assessment.h5", Work(overwrite=True))
    return read_assessment(folder / "assessment.h5").assessment.verdict


def test_the_correction_is_applied_where_it_helps(made, monkeypatch):
    recording, settings, folder = made
    said(monkeypatch, HELPS)
    facts = apply(recording, folder / "motion.h5", settings, folder / "if_better.bin", Work(), if_better=True)
    assert facts["corrected"] is True
    assert (folder / "if_better.bin").read_bytes() == (folder / "corrected.bin").read_bytes()


def said(monkeypatch, verdict):
    from driftcli.workflow import apply as module

    plain = module.read_assessment

    def read(path):
        file = plain(path)
        return replace(file, assessment=replace(file.assessment, verdict=verdict))

    monkeypatch.setattr(module, "read_assessment", read)


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_the_signal_stays_where_it_is_if_the_correction_does_not_help(made, reporter, dtype):
    recording, settings, folder = made
    verdict = spoil(folder, settings)
    assert verdict != HELPS
    out, work = folder / "as_it_was.bin", Work(reporter=reporter)
    facts = apply(recording, folder / "motion.h5", settings, out, work, if_better=True, dtype=dtype)
    assert (facts["corrected"], facts["verdict"]) == (False, verdict)
    assert any(verdict in message and "without interpolation" in message for message in reporter.messages)
    still = read_motion(folder / "motion.h5")
    zero = {0: replace(still.motions[0], displacement_um=0 * still.motions[0].displacement_um)}
    write_motion(folder / "zero.h5", zero, still.duration_s, still.facts, settings)
    apply(recording, folder / "zero.h5", settings, folder / "zero.bin", Work(), dtype=dtype)
    assert out.read_bytes() == (folder / "zero.bin").read_bytes()


def test_it_is_the_preprocessed_signal_but_for_rounding(made):
    recording, settings, folder = made
    spoil(folder, settings)
    apply(recording, folder / "motion.h5", settings, folder / "kept.bin", Work(), if_better=True)
    nearest = presets.resolve(settings.to_dict(), ["interpolate.method=nearest"])
    apply(recording, folder / "motion.h5", nearest, folder / "nearest.bin", Work(), if_better=True)
    ours, plain = (np.fromfile(folder / name, "<i2") for name in ("kept.bin", "nearest.bin"))
    assert np.abs(ours.astype(int) - plain).max() <= 1  # where a value lies halfway between two
    assert (ours != plain).mean() < 1e-3


def test_an_assessment_of_another_motion_is_refused(made):
    recording, settings, folder = made
    file = read_motion(folder / "motion.h5")
    moved = {0: replace(file.motions[0], displacement_um=file.motions[0].displacement_um + 1)}
    write_motion(folder / "motion.h5", moved, file.duration_s, file.facts, settings)
    with pytest.raises(InputError, match="another motion"):
        apply(recording, folder / "motion.h5", settings, folder / "x.bin", Work(), if_better=True)
    assert not (folder / "x.bin").exists()


def test_without_an_assessment_one_is_asked_for(made):
    recording, settings, folder = made
    (folder / "assessment.h5").unlink()
    with pytest.raises(InputError, match=r"assessment\.h5"):
        apply(recording, folder / "motion.h5", settings, folder / "x.bin", Work(), if_better=True)


# 10 s of a recording that moves a lot or not at all, so that the verdict is beyond doubt
LONG = presets.load("kilosort_like", ["estimate.bin_s=0.5", "detect.detect_threshold=6"])


@pytest.fixture(scope="module")
def moving():
    return small_recording.samples(300_000, drift_um=30.0)


@pytest.fixture(scope="module")
def still():
    return small_recording.samples(300_000, drift_um=0.0)


def run_if_better(folder, data, reporter=None, **options):
    binary, probe = small_recording.write(folder, data)
    recording = open_recording(binary, probe=probe, reporter=Reporter())
    return run(recording, LONG, folder / "out", Work(reporter=reporter or Reporter()), **options)


def test_run_corrects_if_it_helps(tmp_path, moving):
    facts = run_if_better(tmp_path / "a", moving, if_better=True, report=False)
    assert facts["assess"]["verdict"] == facts["apply"]["verdict"] == "helps"
    assert facts["apply"]["corrected"] is True
    plain = run_if_better(tmp_path / "b", moving)
    assert "corrected" not in plain["apply"]
    ours, theirs = ((tmp_path / name / "out/corrected.bin").read_bytes() for name in "ab")
    assert ours == theirs


def test_run_leaves_it_if_it_does_not_help(tmp_path, still, reporter):
    facts = run_if_better(tmp_path / "a", still, reporter, if_better=True, report=False)
    assert facts["assess"]["verdict"] == "no drift found"
    assert facts["apply"]["corrected"] is False
    assert any("no drift found" in each and "without interpolation" in each for each in reporter.messages)
    run_if_better(tmp_path / "b", still)
    ours, theirs = (np.fromfile(tmp_path / name / "out/corrected.bin", "<i2").astype(int) for name in "ab")
    assert np.abs(ours - theirs).max() > 1  # a correction would have moved it
    log = json.loads((tmp_path / "a/out/run.json").read_text())["outputs"]
    assert log["corrected.bin"]["corrected"] is False


def test_a_resumed_run_keeps_what_it_did(tmp_path, still):
    facts = run_if_better(tmp_path, still, if_better=True)
    binary = tmp_path / "rec.bin"
    recording = open_recording(binary, probe=tmp_path / "rec.json", reporter=Reporter())
    again = run(recording, LONG, tmp_path / "out", Work(resume=True), if_better=True)
    assert again["apply"]["counts"] == facts["apply"]["counts"]
    with pytest.raises(OutputError, match="if_better"):
        run(recording, LONG, tmp_path / "out", Work(resume=True))


@pytest.mark.parametrize(("verdict", "line"), [("helps", "motion.h5"), ("unsure", "none: unsure")])
def test_a_spikeglx_meta_says_what_was_moved(tmp_path, monkeypatch, drifting, verdict, line):
    text = make_spikeglx.made_meta("NP1", saved=24)
    ap = make_spikeglx.make_spikeglx(tmp_path, text, np.column_stack([drifting, np.zeros(len(drifting), "<i2")]))
    said(monkeypatch, verdict)
    run(open_recording(ap, reporter=Reporter()), LONG, tmp_path / "out", Work(), if_better=True)
    (meta,) = (tmp_path / "out").glob("*.meta")
    assert f"driftcliMotion={line}" in meta.read_text().splitlines()


def test_the_assessment_of_a_motion_lies_beside_it():
    assert default_assessment(Path("a/motion.h5")) == Path("a/assessment.h5")
    assert default_assessment(Path("a/edited.h5")) == Path("a/edited_assessment.h5")
