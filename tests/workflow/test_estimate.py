"""estimate: peaks of real and made recordings, shanks, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from driftcli import presets
from driftcli.errors import UsageError
from driftcli.store.motion import read_motion
from driftcli.workflow.estimate import estimate
from driftcli.workflow.work import Work

REAL_PEAKS = Path(__file__).parents[3] / "shared/data/real_peaks/np_1800s.npz"
METHODS = {"rigid_fast": 1, "kilosort_like": None, "nonrigid_accurate": None, "dredge_fast": None, "likelihood": None}


def made_peaks(path, duration_s=60.0, seed=0):
    """Peaks of units along 1000 µm that move together; returns the motion as a function of time."""
    rng = np.random.default_rng(seed)
    count = 12_000
    time_s = np.sort(rng.uniform(0, duration_s, count))
    units = rng.uniform(60, 940, 40)
    unit = rng.integers(0, 40, count)
    amplitude_uv = -rng.lognormal(4.3, 0.4, 40)[unit] * rng.normal(1, 0.08, count)

    def truth_um(at_s):
        return 14 * np.sin(2 * np.pi * np.asarray(at_s) / 40)

    depth_um = units[unit] + truth_um(time_s) + rng.normal(0, 3, count)
    np.savez(path, time_s=time_s, depth_um=depth_um, amplitude_uv=amplitude_uv)
    return truth_um


@pytest.mark.parametrize("preset", METHODS)
def test_the_motion_of_made_peaks_is_found(tmp_path, preset):
    truth_um = made_peaks(tmp_path / "p.npz")
    estimate(tmp_path / "p.npz", presets.load(preset), tmp_path / "m.h5", Work(), span_um=(0.0, 1000.0))
    file = read_motion(tmp_path / "m.h5")
    (motion,) = file.motions.values()
    error = motion.displacement_um - truth_um(motion.temporal_bins_s)[:, None]
    error -= np.median(error)
    assert np.abs(error).mean() < 1.5
    assert np.ptp(motion.displacement_um) > 20
    assert file.duration_s == 60


SPATIAL_PRIOR = ("nonrigid_accurate", ["estimate.spatial_prior=true"])


@pytest.mark.parametrize(("preset", "changes"), [*((name, []) for name in METHODS), SPATIAL_PRIOR])
def test_threads_change_no_byte(tmp_path, preset, changes):
    made_peaks(tmp_path / "p.npz")
    outs = [tmp_path / f"{jobs}.h5" for jobs in (1, 2, 4)]
    for jobs, out in zip((1, 2, 4), outs, strict=True):
        estimate(tmp_path / "p.npz", presets.load(preset, changes), out, Work(jobs=jobs))
    assert outs[0].read_bytes() == outs[1].read_bytes() == outs[2].read_bytes()


def test_the_log_says_what_was_found(tmp_path):
    made_peaks(tmp_path / "p.npz")
    facts = estimate(tmp_path / "p.npz", presets.load("rigid_fast"), tmp_path / "m.h5", Work())
    assert facts["counts"]["peaks"] == 12_000
    assert facts["counts"]["spatial_windows"] == 1
    log = json.loads((tmp_path / "run.json").read_text())
    assert log["outputs"]["m.h5"]["counts"] == facts["counts"]
    assert log["outputs"]["m.h5"]["inputs"]["peaks"]["path"] == "p.npz"  # beside the log


def test_the_log_says_how_uncertain_the_motion_is_where_the_method_tells_it(tmp_path):
    made_peaks(tmp_path / "p.npz")
    facts = estimate(tmp_path / "p.npz", presets.load("likelihood"), tmp_path / "m.h5", Work())
    (motion,) = read_motion(tmp_path / "m.h5").motions.values()
    expected = {"median": np.median(motion.deviation_um), "largest": motion.deviation_um.max()}
    assert facts["counts"]["deviation_um"] == pytest.approx(expected, abs=0.0006)
    other = estimate(tmp_path / "p.npz", presets.load("rigid_fast"), tmp_path / "other.h5", Work())
    assert "deviation_um" not in other["counts"]


@pytest.mark.parametrize(("options", "told"), [({}, False), ({"exclude_times": "10-13"}, True)])
def test_times_left_out_by_an_option_are_told(tmp_path, reporter, options, told):
    made_peaks(tmp_path / "p.npz")
    work = Work(reporter=reporter)
    estimate(tmp_path / "p.npz", presets.load("rigid_fast"), tmp_path / "m.h5", work, **options)
    expected = ["left out of the estimate: 5.00% of the time (excluded 5.00%)"] if told else []
    assert [each for each in reporter.messages if each.startswith("left out")] == expected


def test_a_span_is_refused_where_the_contacts_say_it(tmp_path, drifting, run_verbs):
    peaks = run_verbs(drifting, "rec") / "peaks.h5"
    with pytest.raises(UsageError, match="span"):
        estimate(peaks, presets.load("rigid_fast"), tmp_path / "m.h5", Work(), span_um=(0.0, 100.0))


@pytest.mark.skipif(not REAL_PEAKS.exists(), reason="the real peaks are not here")
@pytest.mark.parametrize("preset", METHODS)
def test_real_peaks_line_up_better_after_correction(tmp_path, preset):
    estimate(REAL_PEAKS, presets.load(preset), tmp_path / "m.h5", Work())
    (motion,) = read_motion(tmp_path / "m.h5").motions.values()
    assert motion.temporal_bins_s[-1] + np.diff(motion.temporal_bins_s[-2:])[0] >= 1799
    peaks = np.load(REAL_PEAKS)
    before = peaks["depth_um"].astype(float)
    after = before - motion.at(peaks["time_s"], before)
    assert sharpness(after) > 1.1 * sharpness(before)


def sharpness(depth_um):
    """How unevenly peaks are spread over depth: 1 if evenly, more where they line up."""
    counts, _ = np.histogram(depth_um, bins=np.arange(-700, 800, 5.0))
    return len(counts) * (counts.astype(float) ** 2).sum() / counts.sum() ** 2
