"""estimate and run on a recording's local field potential: what is found, and what is refused."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

import small_recording
from driftcli import presets
from driftcli.errors import InputError, UsageError
from driftcli.estimate.timeline import Timeline
from driftcli.model import CONTACT_LABELS, Geometry
from driftcli.recording.open import open_recording
from driftcli.reporter import Reporter
from driftcli.store.motion import read_motion
from driftcli.workflow.apply import apply
from driftcli.workflow.assess import assess
from driftcli.workflow.estimate import Memory, estimate
from driftcli.workflow.estimate_traces import _foresee_memory, estimate_traces
from driftcli.workflow.info import info
from driftcli.workflow.run import run
from driftcli.workflow.verify import verify
from driftcli.workflow.work import Work
from make_spikeglx import SHARED_METAS, lf_text, make_spikeglx, read_meta_text
from oracles import lfp as made

RATE_HZ, SECONDS, ROWS = 2500.0, 6.0, 80
CHANGES = ["estimate.chunk_len_s=1.5", "estimate.max_disp_um=100"]
SPAN_UM = 20.0 * (ROWS - 1)


def settings(*changes):
    return presets.load("dredge_lfp", [*CHANGES, *changes])


def counts(rate_hz=RATE_HZ, seconds=SECONDS, rows=ROWS):
    """(S, C) of two columns of contacts: the potential at 250 Hz, and straight lines between."""
    places = np.column_stack([np.tile([0.0, 32.0], rows), np.repeat(np.arange(rows) * 20.0, 2)])
    slow_s, time_s = np.arange(-0.01, seconds + 0.01, 0.004), np.arange(int(seconds * rate_hz)) / rate_hz
    slow = made.potential_uv(slow_s, places[::2, 1], SPAN_UM)
    row = np.clip(np.searchsorted(slow_s, time_s, side="right") - 1, 0, len(slow_s) - 2)
    share = ((time_s - slow_s[row]) / 0.004)[:, None]
    values = np.repeat((1 - share) * slow[row] + share * slow[row + 1], 2, axis=1)
    values += np.random.default_rng(1).normal(0, 3, values.shape) + np.tile([200.0, -300.0], rows)
    return np.clip(np.rint(values), -32768, 32767).astype("<i2"), places


@pytest.fixture(scope="module")
def lf(tmp_path_factory):
    data, places = counts()
    return small_recording.write(tmp_path_factory.mktemp("lf"), data, places=places)


def opened(files, rate_hz=RATE_HZ, **how):
    return open_recording(files[0], probe=files[1], sampling_frequency_hz=rate_hz, reporter=Reporter(), **how)


def error_um(path):
    (motion,) = read_motion(path).motions.values()
    true = made.truth_um(motion.temporal_bins_s[:, None], motion.spatial_bins_um[None], SPAN_UM)
    error = motion.displacement_um - true
    return np.abs(error - np.median(error)).mean(), np.abs(true - np.median(true)).mean()


def test_the_motion_of_an_lf_band_is_found(lf, tmp_path, reporter):
    facts = estimate_traces(opened(lf), settings(), tmp_path / "m.h5", Work(reporter=reporter))
    error, moved = error_um(tmp_path / "m.h5")
    assert moved > 10
    assert error < 4
    file = read_motion(tmp_path / "m.h5")
    assert file.duration_s == SECONDS
    assert len(file.motions[0].temporal_bins_s) == 1500
    np.testing.assert_allclose(np.diff(file.motions[0].temporal_bins_s), 0.004)
    assert file.facts.geometry.positions_um.shape == (2 * ROWS, 2)
    assert facts["counts"]["depths"] == ROWS
    assert json.loads((tmp_path / "run.json").read_text())["outputs"]["m.h5"]["counts"] == facts["counts"]
    assert any(text.startswith("the estimate takes about") for text in reporter.messages)
    assert any("not looked for in an LF band" in text for text in reporter.messages)


def test_windows_move_by_themselves(lf, tmp_path):
    nonrigid = settings("estimate.rigid=false", "estimate.win_step_um=600", "estimate.win_scale_um=500")
    estimate_traces(opened(lf), nonrigid, tmp_path / "m.h5", Work())
    error, _ = error_um(tmp_path / "m.h5")
    (motion,) = read_motion(tmp_path / "m.h5").motions.values()
    assert motion.displacement_um.shape == (1500, 2)
    assert motion.displacement_um[:, 0].std() > motion.displacement_um[:, 1].std() + 0.3
    assert error < 3.6


def test_chunks_and_threads_change_no_byte(lf, tmp_path):
    found = []
    for jobs, chunk_s in ((1, 1.0), (2, 0.3), (3, 20.0)):
        out = tmp_path / f"{jobs}.h5"
        estimate_traces(opened(lf, end_s=2.0), settings(), out, Work(jobs=jobs, chunk_s=chunk_s))
        found.append(out.read_bytes())
    assert found[0] == found[1] == found[2]


def test_two_files_may_step_and_excluded_times_are_bridged(lf, tmp_path):
    data, places = counts(seconds=4.0)
    one, probe = small_recording.write(tmp_path, data[:5003], "one", places=places)
    other, _ = small_recording.write(tmp_path, data[5003:], "other", places=places)
    recording = open_recording(
        [one, other], probe=probe, sampling_frequency_hz=RATE_HZ, concatenate=True, reporter=Reporter()
    )
    estimate_traces(recording, settings(), tmp_path / "m.h5", Work(), exclude_times="0.5-0.8")
    (motion,) = read_motion(tmp_path / "m.h5").motions.values()
    assert motion.steps_s.tolist() == [5003 / RATE_HZ]
    assert error_um(tmp_path / "m.h5")[0] < 5
    left_out = (motion.temporal_bins_s > 0.5) & (motion.temporal_bins_s < 0.8)
    assert np.abs(np.diff(motion.displacement_um[left_out, 0], 2)).max() < 1e-6  # a straight line
    assert len(motion.temporal_bins_s) == 501 + 500


def test_bad_channels_are_not_used(lf, tmp_path):
    data, places = counts()
    data[:, 31] = np.random.default_rng(5).integers(-30_000, 30_000, len(data))
    noisy = small_recording.write(tmp_path, data, places=places)
    found = []
    for name, how in (("as it is", {}), ("left out", {"bad_channels": "31"})):
        out = tmp_path / f"{name}.h5"
        estimate_traces(opened(noisy, **how), settings(), out, Work())
        found.append(error_um(out)[0])
    assert found[1] < 4 < 6 < found[0]
    assert read_motion(tmp_path / "left out.h5").facts.labels[31] == CONTACT_LABELS.index("excluded")


def test_shanks_move_apart_or_together(tmp_path):
    data, places = counts(seconds=1.2)
    both = np.concatenate([places, places + np.array([300.0, 0.0])])
    shank_ids = ["0"] * len(places) + ["1"] * len(places)
    files = small_recording.write(tmp_path, np.hstack([data, data[:, ::-1]]), places=both, shank_ids=shank_ids)
    for shanks in ("each", "together"):
        estimate_traces(opened(files), settings(), tmp_path / f"{shanks}.h5", Work(), shanks=shanks)
    apart, together = (read_motion(tmp_path / f"{shanks}.h5").motions for shanks in ("each", "together"))
    assert sorted(apart) == sorted(together) == [0, 1]
    assert np.array_equal(together[0].displacement_um, together[1].displacement_um)
    assert not np.array_equal(apart[0].displacement_um, apart[1].displacement_um)


def test_a_run_corrects_a_wide_band_recording_without_peaks(tmp_path, reporter):
    data, places = counts(rate_hz=15_000.0, seconds=2.0)
    files = small_recording.write(tmp_path, data, places=places)
    recording, folder = opened(files, 15_000.0), tmp_path / "out"
    wanted = settings("bad_channels.method=none")
    facts = run(recording, wanted, folder, Work(reporter=reporter))
    assert sorted(path.name for path in folder.iterdir()) == ["corrected.bin", "motion.h5", "probe.json", "run.json"]
    assert list(facts) == ["estimate", "apply"]
    assert sum("no verdict and no pictures" in text for text in reporter.messages) == 1
    estimate_traces(recording, wanted, tmp_path / "alone.h5", Work())
    assert np.array_equal(
        read_motion(tmp_path / "alone.h5").motions[0].displacement_um,
        read_motion(folder / "motion.h5").motions[0].displacement_um,
    )
    written = (folder / "corrected.bin").read_bytes()
    run(recording, wanted, folder, Work(resume=True))
    assert (folder / "corrected.bin").read_bytes() == written
    assert not verify(folder, Work()).wrong
    with pytest.raises(UsageError, match="the verdict is on peaks"):
        run(recording, wanted, tmp_path / "other", Work(), if_better=True)


@pytest.mark.skipif(not SHARED_METAS.is_dir(), reason=f"the real meta files are not there: {SHARED_METAS}")
def test_the_motion_of_the_lf_band_corrects_the_ap_band(tmp_path):
    text = read_meta_text(SHARED_METAS / "Noise_g0_t0.imec0.ap.meta")
    ap = make_spikeglx(tmp_path, text, 40_000)
    lf = make_spikeglx(tmp_path, lf_text(text), 3_333)
    motion, corrected = tmp_path / "m.h5", tmp_path / "out" / "moved_g0_t0.imec0.ap.bin"
    wanted = settings("bad_channels.method=none", "filter.method=none")
    estimate_traces(open_recording(lf, lf_ok=True, reporter=Reporter()), wanted, motion, Work())
    recording = open_recording(ap, reporter=Reporter())
    apply(recording, motion, wanted, corrected, Work())
    assert corrected.stat().st_size == ap.stat().st_size
    assert not verify(corrected, Work()).wrong
    span = open_recording(lf, lf_ok=True, start_s=0.2, reporter=Reporter())
    estimate_traces(span, wanted, tmp_path / "span.h5", Work())
    with pytest.raises(InputError, match="a span of another band"):
        apply(recording, tmp_path / "span.h5", wanted, tmp_path / "other_g0_t0.imec0.ap.bin", Work())


def test_the_traces_of_all_shanks_are_foreseen(lf, tmp_path, monkeypatch):
    """Four shanks of 40 depths each, one after the other: the traces of three wait."""
    foreseen = {}
    monkeypatch.setattr(Memory, "tell_or_refuse", lambda memory, work, _: foreseen.update({shanks: memory.n_bytes}))
    places = np.column_stack([np.repeat(250.0 * np.arange(4), 40), np.tile(20.0 * np.arange(40), 4)])
    timeline = Timeline.of(3600.0, 0.004, np.empty(0), np.empty((0, 2)))
    for shanks in (1, 4):
        geometry = Geometry(places[: 40 * shanks], np.repeat(np.arange(shanks), 40))
        recording = SimpleNamespace(geometry=geometry)
        _foresee_memory(recording, settings(), timeline, "each", Work())
    assert foreseen[4] - foreseen[1] == pytest.approx(3 * 40 * 4 * 900_000)


def test_what_does_not_go_together_is_refused(lf, tmp_path):
    recording = opened(lf, end_s=1.0)
    with pytest.raises(UsageError, match="dredge_ap works on peaks, and this is a recording") as refused:
        estimate_traces(recording, presets.load("dredge_fast"), tmp_path / "m.h5", Work())
    assert "--preset dredge_lfp" in refused.value.hint
    np.savez(tmp_path / "p.npz", time_s=np.arange(5.0), depth_um=np.arange(5.0), amplitude_uv=np.arange(1.0, 6))
    for refuse, but in (
        (lambda: estimate(tmp_path / "p.npz", settings(), tmp_path / "m.h5", Work()), "these are peaks"),
        (
            lambda: assess(tmp_path / "p.npz", tmp_path / "m.h5", settings(), tmp_path / "a.h5", Work()),
            "assess works on peaks",
        ),
        (lambda: info(recording, settings(), tmp_path / "folder", Work()), "info foresees a run with peaks"),
    ):
        with pytest.raises(UsageError, match=f"dredge_lfp works on a recording, and {but}"):
            refuse()
    with pytest.raises(UsageError, match="more than the 50 MB of --max-memory"):
        estimate_traces(recording, settings(), tmp_path / "m.h5", Work(max_memory_bytes=50e6))
    with pytest.raises(InputError, match="no contact is left"):
        estimate_traces(opened(lf, bad_channels="0:160"), settings(), tmp_path / "m.h5", Work())
    assert not (tmp_path / "m.h5").exists()
