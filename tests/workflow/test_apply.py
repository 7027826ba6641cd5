"""apply: what the corrected binary holds."""

import json

import h5py
import numpy as np
import pytest
from probeinterface import read_probeinterface

import small_recording
from driftcli import presets
from driftcli.errors import InputError
from driftcli.model import Motion
from driftcli.recording.facts import facts_of
from driftcli.recording.open import open_recording
from driftcli.reporter import Reporter
from driftcli.store.motion import write_motion
from driftcli.workflow.apply import apply
from driftcli.workflow.work import Work


def corrected(folder, data, motion, changes=(), *, dtype=None, reporter=None, **probe):
    """Apply a motion to data; returns the binary's path."""
    reporter = reporter or Reporter()
    binary, probe_file = small_recording.write(folder, data, **probe)
    facts = {"dtype": data.dtype.name, "num_channels": data.shape[1]}
    recording = open_recording(binary, probe=probe_file, reporter=reporter, **facts)
    settings = presets.load("rigid_fast", changes)
    motions = motion if isinstance(motion, dict) else {0: motion}
    write_motion(folder / "motion.h5", motions, recording.duration_s, facts_of(recording), settings)
    apply(recording, folder / "motion.h5", settings, folder / "out.bin", Work(jobs=2, reporter=reporter), dtype=dtype)
    return folder / "out.bin"


def constant(displacement_um, duration_s):
    return Motion(np.full((3, 1), float(displacement_um)), np.linspace(0.1, duration_s, 3), np.array([100.0]))


def still(duration_s):
    return constant(0.0, duration_s)


@pytest.mark.parametrize("dtype", ["int16", "float32"])
@pytest.mark.parametrize("method", ["kriging", "idw", "nearest"])
def test_no_motion_gives_the_raw_file_back(tmp_path, drifting, dtype, method):
    data = np.column_stack([drifting, np.arange(len(drifting)) % 30_000]).astype(dtype)
    changes = ["apply.signal=raw", f"interpolate.method={method}", "interpolate.border_mode=force_extrapolate"]
    columns = np.arange(drifting.shape[1])
    out = corrected(tmp_path, data, still(3.0), changes, columns=columns)
    assert out.read_bytes() == (tmp_path / "rec.bin").read_bytes()


def test_a_file_with_an_odd_offset_and_no_motion_comes_back_without_it(tmp_path, drifting):
    binary, probe = small_recording.write(tmp_path, drifting)
    binary.write_bytes(b"header!" + binary.read_bytes())
    recording = open_recording(binary, probe=probe, offset_bytes=7, reporter=Reporter())
    settings = presets.load(None, ["apply.signal=raw"])
    write_motion(tmp_path / "m.h5", {0: still(3.0)}, recording.duration_s, facts_of(recording), settings)
    apply(recording, tmp_path / "m.h5", settings, tmp_path / "out.bin", Work())
    assert (tmp_path / "out.bin").read_bytes() == drifting.tobytes()


def test_a_shift_by_one_row_moves_traces_by_one_row(tmp_path):
    """In one column of contacts 20 µm apart, a displacement of 20 µm takes each contact's trace from the next one."""
    data = np.random.default_rng(0).normal(0, 100, (40_000, 12)).astype("<i2")
    places = np.column_stack([np.zeros(12), np.arange(12) * 20.0])
    changes = ["apply.signal=raw", "interpolate.method=nearest", "interpolate.border_mode=force_extrapolate"]
    out = corrected(tmp_path, data, constant(20.0, 2.0), changes, places=places)
    moved = np.fromfile(out, "<i2").reshape(data.shape)
    offsets = np.median(data, axis=0).round().astype(int)
    expected = data[:, 1:].astype(int) - offsets[1:] + offsets[:-1]
    assert np.abs(moved[:, :-1] - expected).max() <= 1


def test_offsets_do_not_leak_into_steps_where_the_motion_steps(tmp_path):
    """Contacts with offsets of thousands of counts and no signal: the corrected ones keep their own offset."""
    rng = np.random.default_rng(1)
    offsets = rng.integers(-4000, 4000, 24)
    data = (rng.normal(0, 2, (60_000, 24)) + offsets).astype("<i2")
    motion = Motion(np.array([[-12.0], [17.0]]), np.array([0.5, 1.5]), np.array([100.0]))
    out = np.fromfile(corrected(tmp_path, data, motion, ["apply.signal=raw"]), "<i2").reshape(data.shape)
    assert np.abs(np.median(out[:30_000], axis=0) - offsets).max() <= 2
    assert np.abs(np.median(out[30_000:], axis=0) - offsets).max() <= 2


@pytest.mark.parametrize("time", ["nearest_bin", "linear"])
def test_a_motion_steps_at_the_first_sample_of_a_file(tmp_path, time):
    """Contacts 20 µm apart: up to the step every trace stays, from it on it comes from the next contact."""
    data = np.random.default_rng(0).normal(0, 100, (40_000, 12)).astype("<i2")
    data -= np.median(data, axis=0).astype("<i2")
    places = np.column_stack([np.zeros(12), np.arange(12) * 20.0])
    step = 17_001
    motion = Motion(
        np.array([[0.0], [0], [20], [20]]), np.array([0.2, 0.4, 0.9, 1.1]), np.zeros(1), np.array([step / 30_000])
    )
    changes = ["apply.signal=raw", "interpolate.method=nearest", f"interpolate.time={time}"]
    moved = np.fromfile(corrected(tmp_path, data, motion, changes, places=places), "<i2").reshape(data.shape)
    assert np.abs(moved[:step].astype(int) - data[:step]).max() <= 1
    assert np.abs(moved[step:, :-1].astype(int) - data[step:, 1:]).max() <= 1


@pytest.mark.parametrize("time", ["nearest_bin", "linear"])
def test_a_motion_at_the_rate_of_the_recording_applies(tmp_path, drifting, reporter, monkeypatch, time):
    """Read in batches with its bins joined, and whole: the same within a count, whatever the threads and chunks."""
    num_samples = len(drifting)
    times_s = np.arange(num_samples) / 30_000
    swing = 6 * np.sin(2 * np.pi * times_s)[:, None] * [1.0, 0.4]
    motion = Motion(swing, times_s, np.array([20.0, 120.0]))
    changes = ["apply.signal=raw", f"interpolate.time={time}"]
    whole = np.fromfile(corrected(tmp_path, drifting, motion, changes, reporter=reporter), "<i2")
    assert not [told for told in reporter.messages if "joined" in told]
    monkeypatch.setattr("driftcli.store.motion._MOST_VALUES", 1000)
    settings = presets.load("rigid_fast", changes)
    recording = open_recording(tmp_path / "rec.bin", probe=tmp_path / "rec.json", reporter=Reporter())
    outputs = []
    for jobs, chunk_s in ((1, 0.1), (3, 1.0)):
        work = Work(jobs=jobs, chunk_s=chunk_s, overwrite=True, reporter=reporter)
        apply(recording, tmp_path / "motion.h5", settings, tmp_path / "out.bin", work)
        outputs.append(np.fromfile(tmp_path / "out.bin", "<i2"))
    np.testing.assert_array_equal(*outputs)
    assert [told for told in reporter.messages if "joined" in told]
    difference = np.abs(outputs[0].astype(int) - whole)
    assert (difference <= 1).mean() > 0.9999
    assert difference.max() <= 3


def test_removed_channels_leave_the_binary_and_the_probe(tmp_path, drifting):
    data = np.column_stack([drifting[:, :5], np.full(len(drifting), 7), drifting[:, 5:]]).astype("<i2")
    columns = np.delete(np.arange(data.shape[1]), 5)
    changes = ["interpolate.border_mode=remove_channels", "apply.signal=raw"]
    out = corrected(tmp_path, data, constant(25.0, 3.0), changes, columns=columns)
    (probe,) = read_probeinterface(out.with_name("out.probe.json")).probes
    depths = small_recording.positions_um(drifting.shape[1])[:, 1]
    kept = np.flatnonzero(depths + 25.0 <= depths.max())
    np.testing.assert_array_equal(probe.contact_positions[:, 1], depths[kept])
    written = np.fromfile(out, "<i2").reshape(len(data), len(kept) + 1)
    np.testing.assert_array_equal(written[:, 5], 7)
    np.testing.assert_array_equal(probe.device_channel_indices, np.where(kept < 5, kept, kept + 1))


def test_values_beyond_int16_are_clipped_and_told(tmp_path, reporter):
    data = np.zeros((20_000, 24), "<f4")
    data[100:110, 3] = 40_000
    changes = ["apply.signal=raw", "interpolate.method=nearest", "interpolate.border_mode=force_extrapolate"]
    out = corrected(tmp_path, data, constant(0.0, 1.0), changes, dtype="int16", reporter=reporter)
    assert np.fromfile(out, "<i2").reshape(data.shape)[100:110, 3].tolist() == [32767] * 10
    assert any("10 values" in message and "clipped" in message for message in reporter.messages)
    log = json.loads((tmp_path / "run.json").read_text())
    assert log["outputs"]["out.bin"]["counts"]["clipped_values"] == 10


def test_float_output_is_the_int_output_unrounded(tmp_path, drifting):
    motion = constant(8.0, 3.0)
    whole = np.fromfile(corrected(tmp_path / "i", drifting, motion), "<i2")
    exact = np.fromfile(corrected(tmp_path / "f", drifting, motion, dtype="float32"), "<f4")
    np.testing.assert_array_equal(np.rint(exact), whole)
    assert (exact != whole).any()


def test_shanks_are_corrected_by_their_own_motion(tmp_path, drifting):
    places = small_recording.positions_um(12)
    places = np.concatenate([places, places + np.array([250.0, 0.0])])
    shank_ids = ["0"] * 12 + ["1"] * 12
    motions = {0: still(3.0), 1: constant(20.0, 3.0)}
    changes = ["apply.signal=raw", "interpolate.method=nearest", "interpolate.border_mode=force_extrapolate"]
    out = corrected(tmp_path, drifting, motions, changes, places=places, shank_ids=shank_ids)
    written = np.fromfile(out, "<i2").reshape(drifting.shape)
    np.testing.assert_array_equal(written[:, :12], drifting[:, :12])
    assert (written[:, 12:] != drifting[:, 12:]).any(axis=0).sum() == 10  # the last of each column has no next one


@pytest.mark.parametrize("wrong", ["shank", "short", "probe"])
def test_a_motion_that_does_not_fit_is_refused(tmp_path, drifting, wrong):
    binary, probe = small_recording.write(tmp_path, drifting)
    recording = open_recording(binary, probe=probe, reporter=Reporter())
    settings = presets.load("rigid_fast")
    number, duration_s = (3, 2.9) if wrong == "shank" else (0, 1.0 if wrong == "short" else recording.duration_s)
    write_motion(tmp_path / "m.h5", {number: still(3.0)}, duration_s, facts_of(recording), settings)
    if wrong == "probe":
        with h5py.File(tmp_path / "m.h5", "a") as file:
            file["recording/contact_positions_um"][0, 1] += 5
    with pytest.raises(InputError, match={"shank": "shank 0", "short": "covers", "probe": "other contact"}[wrong]):
        apply(recording, tmp_path / "m.h5", settings, tmp_path / "out.bin", Work())
    assert not (tmp_path / "out.bin").exists()
