"""Which steps run, in what order, and what is said of the phase shift."""

import json

import numpy as np
import pytest

import make_spikeglx
import small_recording
from driftcli import presets
from driftcli.preprocess import bandpass, global_median, phase_shift
from driftcli.recording.open import open_recording
from driftcli.reporter import Reporter
from driftcli.workflow.detect import detect
from driftcli.workflow.steps import (
    lined_up,
    phase_shift_facts,
    phase_shift_of_steps,
    preprocess_steps,
    warning_of_shifts,
)
from driftcli.workflow.stream import BLOCK_SAMPLES, Stream
from driftcli.workflow.work import Work
from oracles.bandpass import filter_whole
from oracles.phase_shift import delay_whole

BY_CATGT = {"catGTCmdline0": "<CatGT -dir=/data -run=made -g=0 -t=0 -ap -prb=0 -gblcar>"}
ALL = [phase_shift.Step, bandpass.Step, global_median.Step]


def spikeglx(folder, samples=200, kind="NP1", **values):
    text = make_spikeglx.with_values(make_spikeglx.made_meta(kind), **values)
    return open_recording(make_spikeglx.make_spikeglx(folder, text, samples), reporter=Reporter())


def raw(folder, data=None):
    data = small_recording.samples(400, 12) if data is None else data
    binary, probe = small_recording.write(folder, data)
    return open_recording(binary, probe=probe, reporter=Reporter())


def kinds(settings, recording):
    return [type(step) for step in preprocess_steps(settings, recording)]


def filtered(recording, changes, **work):
    steps = preprocess_steps(presets.load(None, changes), recording)
    stream = Stream(recording, steps, 0, **work)
    spans = stream.map(lambda span: piece_of(stream, span), stream.blocks(), Reporter(), "stage")
    return np.concatenate(list(spans))


def piece_of(stream, span):
    piece = stream.piece(*span)
    return piece.traces[piece.first : piece.last].copy()


def test_the_steps_of_spikeglx_in_their_order(tmp_path):
    recording, default = spikeglx(tmp_path), presets.load()
    assert kinds(default, recording) == ALL
    assert kinds(presets.load(None, ["shift.method=none"]), recording) == ALL[1:]
    assert kinds(presets.load(None, ["filter.method=none"]), recording) == [ALL[0], ALL[2]]
    off = [f"{stage}.method=none" for stage in ("shift", "filter", "reference")]
    assert kinds(presets.load(None, off), recording) == []


def test_nothing_is_shifted_where_nothing_is_known_or_catgt_was_there(tmp_path):
    (tmp_path / "a").mkdir()
    assert kinds(presets.load(), raw(tmp_path / "raw")) == ALL[1:]
    assert kinds(presets.load(), spikeglx(tmp_path / "a", **BY_CATGT)) == ALL[1:]


def test_a_raw_recording_gives_the_same_bytes_with_the_stage_or_without(tmp_path):
    recording = raw(tmp_path, small_recording.samples(BLOCK_SAMPLES + 3000, 12))
    one, other = (filtered(recording, changes, jobs=1, chunk_s=1) for changes in ([], ["shift.method=none"]))
    assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("kind", ["NP1", "NP2 four shanks"])
def test_blocks_chunks_and_threads_are_the_exact_delay_of_the_whole_file(tmp_path, kind):
    rng = np.random.default_rng(0)
    data = rng.normal(0, 8, (2 * BLOCK_SAMPLES + 3000, 49)).cumsum(axis=0) * 0.05 + rng.integers(-90, 90, 49)
    for channel in range(48):
        for start in rng.integers(0, len(data) - 30, 30):
            data[start : start + 20, channel] -= 200 * np.hanning(20)
    data = np.rint(data).astype("<i2")
    recording = spikeglx(tmp_path, data, kind)
    changes = ["reference.method=none"]
    got = filtered(recording, changes, jobs=1, chunk_s=60)
    assert got.tobytes() == filtered(recording, changes, jobs=3, chunk_s=0.1).tobytes()
    turns, of_a_sample = (12, 13) if kind == "NP1" else (16, 16)
    shifts = np.arange(48) // 2 % turns / of_a_sample
    exact = filter_whole(delay_whole(data[:, :48] * recording.gain_to_uv, shifts), 30_000.0)
    inside = slice(1000, -1000)  # the ends of the file are continued in another way
    np.testing.assert_allclose(got[inside], exact[inside], atol=0.05 * recording.gain_to_uv[0])
    unshifted = filtered(recording, [*changes, "shift.method=none"], jobs=1, chunk_s=60)
    assert np.abs(got - unshifted)[inside].max() > 20 * recording.gain_to_uv[0]


def test_what_is_said_of_the_shift(tmp_path):
    for name in "abc":
        (tmp_path / name).mkdir()
    default, off, kept_raw = (
        presets.load(None, changes) for changes in ([], ["shift.method=none"], ["apply.signal=raw"])
    )
    one = spikeglx(tmp_path / "a")
    assert phase_shift_facts(default, one) == {"applied": True, "reason": "probe type 0"}
    assert phase_shift_facts(off, one) == {"applied": False, "reason": "switched off"}
    assert phase_shift_facts(kept_raw, one) == {"applied": False, "reason": "the raw signal is corrected"}
    assert phase_shift_of_steps(kept_raw, one) == phase_shift_of_steps(default, one) == phase_shift_facts(default, one)
    assert "inter_sample_shift" in warning_of_shifts(default, one)
    assert warning_of_shifts(off, one) is warning_of_shifts(kept_raw, one) is None

    before = spikeglx(tmp_path / "b", **BY_CATGT)
    facts = phase_shift_facts(default, before)
    assert not facts["applied"]
    assert "CatGT" in facts["reason"]
    assert phase_shift_facts(off, before) == phase_shift_facts(kept_raw, before) == facts
    for settings in (default, off, kept_raw):
        assert "inter_sample_shift" in warning_of_shifts(settings, before)

    unknown = spikeglx(tmp_path / "c", **{"~muxTbl": "(1,1)(0)"})
    assert not phase_shift_facts(default, unknown)["applied"]
    for recording in (unknown, raw(tmp_path / "raw")):
        assert not lined_up(default, recording)
        assert warning_of_shifts(default, recording) is None


def test_detect_records_what_was_done(tmp_path):
    samples = make_spikeglx.noise(24_000, make_spikeglx.meta_values(make_spikeglx.made_meta("NP1")))
    for start in range(300, 23_000, 700):
        samples[start : start + 20, 5:8] -= (300 * np.hanning(20)[:, None]).astype("<i2")
    recording = spikeglx(tmp_path, samples)
    detect(recording, presets.load("rigid_fast"), tmp_path / "out.h5", Work(jobs=1))
    log = json.loads((tmp_path / "run.json").read_text())["outputs"]["out.h5"]
    assert log["phase_shift"] == {"applied": True, "reason": "probe type 0"}
    assert log["preset"]["shift"] == {"method": "phase_shift"}
