"""export: the formats of a motion, and Kilosort4's probe for what apply writes."""

import json
from dataclasses import replace

import numpy as np
import pytest
from probeinterface import read_probeinterface

import small_recording
from driftcli import presets
from driftcli.errors import InputError, OutputError, UsageError
from driftcli.model import CONTACT_LABELS, GOOD, Geometry, Motion
from driftcli.recording.facts import facts_of
from driftcli.recording.open import open_recording
from driftcli.reporter import Reporter
from driftcli.store.motion import write_motion
from driftcli.workflow.apply import apply
from driftcli.workflow.export import default_output, export
from driftcli.workflow.work import Work

COLUMNS = np.array([3, 1, 0, 2, 12, 11, 10, 9, 8, 7, 6, 5])  # column 4 holds no contact


def shifted(displacement_um):
    return Motion(np.full((3, 1), displacement_um), np.array([0.1, 0.3, 0.5]), np.array([60.0]))


@pytest.fixture
def recorded(tmp_path):
    """A recording of two shanks of six contacts on permuted columns and its motion.h5."""
    data = np.random.default_rng(0).normal(0, 50, (18_000, 13)).astype("<i2")
    places = small_recording.positions_um(6)
    places = np.concatenate([places, places + np.array([250.0, 0.0])])
    shanks = ["0"] * 6 + ["1"] * 6
    binary, probe = small_recording.write(tmp_path, data, columns=COLUMNS, places=places, shank_ids=shanks)
    recording = open_recording(binary, probe=probe, num_channels=13, reporter=Reporter())
    motions = {0: shifted(15.0), 1: shifted(-12.0)}
    settings = presets.load("rigid_fast")
    write_motion(tmp_path / "motion.h5", motions, recording.duration_s, facts_of(recording), settings)
    return recording, tmp_path / "motion.h5"


@pytest.mark.parametrize("border_mode", ["force_extrapolate", "remove_channels"])
def test_kilosorts_probe_is_that_of_the_corrected_recording(tmp_path, recorded, reporter, border_mode):
    recording, motion = recorded
    settings = presets.load("rigid_fast", [f"interpolate.border_mode={border_mode}"])
    work = Work(jobs=1, reporter=reporter)
    counts = apply(recording, motion, settings, tmp_path / "corrected.bin", work)["counts"]
    facts = export(motion, "kilosort", settings, tmp_path / "ks.json", work)
    probe = json.loads((tmp_path / "ks.json").read_text())
    (theirs,) = read_probeinterface(tmp_path / "probe.json").probes
    assert probe["chanMap"] == theirs.device_channel_indices.tolist()
    np.testing.assert_array_equal(np.column_stack([probe["xc"], probe["yc"]]), theirs.contact_positions)
    assert [str(k) for k in probe["kcoords"]] == theirs.shank_ids.tolist()
    assert probe["n_chan"] == (12 if border_mode == "force_extrapolate" else 8)
    assert facts["kilosort"] == {"n_chan_bin": counts["columns"], "fs": 30_000.0, "nblocks": 0}
    assert any("nblocks=0" in message for message in reporter.messages)


@pytest.mark.parametrize("bad_channels", ["interpolate", "keep", "zero"])
@pytest.mark.parametrize("border_mode", ["force_extrapolate", "remove_channels"])
def test_bad_contacts_are_columns_but_none_of_kilosorts(tmp_path, recorded, reporter, border_mode, bad_channels):
    recording, motion = recorded
    labels = np.zeros(12, np.uint8)
    labels[[0, 3, 11]] = [CONTACT_LABELS.index(name) for name in ("out_of_brain", "dead", "excluded")]
    facts = replace(facts_of(recording), labels=labels)
    motions = {0: shifted(15.0), 1: shifted(-12.0)}
    changes = [f"interpolate.border_mode={border_mode}", f"interpolate.bad_channels={bad_channels}"]
    settings = presets.load("rigid_fast", changes)
    write_motion(motion, motions, recording.duration_s, facts, settings)
    counts = apply(recording, motion, settings, tmp_path / "corrected.bin", Work(jobs=1))["counts"]
    told = export(motion, "kilosort", settings, tmp_path / "ks.json", Work(reporter=reporter))
    probe = json.loads((tmp_path / "ks.json").read_text())
    (theirs,) = read_probeinterface(tmp_path / "probe.json").probes
    bad_places = recording.geometry.positions_um[labels != GOOD].tolist()
    good = np.array([place.tolist() not in bad_places for place in theirs.contact_positions])
    assert not good.all() or border_mode == "remove_channels"
    assert probe["chanMap"] == theirs.device_channel_indices[good].tolist()
    np.testing.assert_array_equal(np.column_stack([probe["xc"], probe["yc"]]), theirs.contact_positions[good])
    assert [str(k) for k in probe["kcoords"]] == theirs.shank_ids[good].tolist()
    assert probe["n_chan"] == good.sum()
    assert told["kilosort"]["n_chan_bin"] == counts["columns"]
    assert told["columns_left_out"] == theirs.device_channel_indices[~good].tolist()
    assert any("leaves out" in message for message in reporter.messages) == (not good.all())


def test_kilosorts_probe_needs_a_good_contact(tmp_path, recorded):
    recording, motion = recorded
    labels = np.array([GOOD, CONTACT_LABELS.index("dead")], np.uint8)[[0, 1] * 6]
    settings = presets.load("rigid_fast", ["interpolate.border_mode=remove_channels", "interpolate.bad_channels=keep"])
    motions = {0: shifted(500.0), 1: shifted(500.0)}
    facts = replace(facts_of(recording), labels=labels)
    write_motion(motion, motions, recording.duration_s, facts, settings)
    with pytest.raises(InputError, match="no good contact is left"):
        export(motion, "kilosort", settings, tmp_path / "ks.json", Work())
    assert not (tmp_path / "ks.json").exists()


@pytest.mark.parametrize(
    ("labels", "dtype", "apart_um", "expected"),
    [
        (np.zeros(4, np.uint8), "int16", 250.0, []),
        (None, "int16", 250.0, ["doesn't say which contacts are bad"]),
        (np.zeros(4, np.uint8), "float32", 250.0, ["data_dtype='float32'"]),
        (np.zeros(4, np.uint8), "int16", 0.0, ["shank_idx=[0, 1]"]),
        (np.zeros(4, np.uint8), "int16", 32.0, ["shank_idx=[0, 1]"]),
        (np.zeros(4, np.uint8), "int16", 33.0, []),
    ],
)
def test_what_kilosort_cannot_know_is_told(tmp_path, recorded, reporter, labels, dtype, apart_um, expected):
    places = np.array([[0.0, 0.0], [0.0, 20.0], [apart_um, 0.0], [apart_um, 20.0]])
    geometry = Geometry(places, np.array([0, 0, 1, 1]))
    facts = replace(
        facts_of(recorded[0]), geometry=geometry, columns=np.arange(4), gain_to_uv=None, labels=labels, dtype=dtype
    )
    settings = presets.load("rigid_fast")
    write_motion(tmp_path / "m.h5", {0: shifted(0.0), 1: shifted(0.0)}, 0.6, facts, settings)
    export(tmp_path / "m.h5", "kilosort", settings, tmp_path / "ks.json", Work(reporter=reporter))
    told = [message for message in reporter.messages if "nblocks=0" not in message]
    assert len(told) == len(expected)
    for message, words in zip(told, expected, strict=True):
        assert words in message


def test_kilosorts_probe_needs_a_recording(tmp_path):
    settings = presets.load("rigid_fast")
    write_motion(tmp_path / "motion.h5", {0: shifted(0.0)}, 1.0, None, settings)
    with pytest.raises(InputError, match="carries no recording"):
        export(tmp_path / "motion.h5", "kilosort", settings, tmp_path / "ks.json", Work())
    assert not (tmp_path / "ks.json").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("interpolate.sigma_um=30", ["spatial_interpolation_method='kriging'", "sigma_um=30.0", "split_by('group')"]),
        ("interpolate.border_mode=remove_channels", ["border_mode='remove_channels'"]),
        ("interpolate.time=linear", ["interpolation_time_bin_size_s"]),
        ("interpolate.method=idw", ["spatial_interpolation_method='idw'", "otherwise"]),
    ],
)
def test_the_call_that_gives_the_same_traces_is_told(tmp_path, recorded, reporter, change, words):
    changed = presets.load("rigid_fast", [change])
    export(recorded[1], "spikeinterface", changed, tmp_path / "si", Work(reporter=reporter))
    for word in words:
        assert word in reporter.messages[-1]
    assert "recording.shift_times(-recording.get_start_time())" in reporter.messages[-1]
    assert "not of one length" not in reporter.messages[-1]


def test_bins_that_spikeinterface_takes_otherwise_are_told(tmp_path, reporter):
    settings = presets.load("rigid_fast")
    uneven = Motion(np.zeros((3, 1)), np.array([0.1, 0.2, 0.5]), np.array([60.0]))
    write_motion(tmp_path / "motion.h5", {0: uneven}, 1.0, None, settings)
    export(tmp_path / "motion.h5", "spikeinterface", settings, tmp_path / "si", Work(reporter=reporter))
    assert "not of one length" in reporter.messages[-1]


@pytest.mark.parametrize("to", ["csv", "npz", "spikeinterface", "kilosort"])
def test_what_is_there_stays_unless_it_may_go(tmp_path, recorded, to):
    motion, settings = recorded[1], presets.load("rigid_fast")
    out = default_output(motion, to)
    assert out.parent == motion.parent
    export(motion, to, settings, out, Work())
    with pytest.raises(OutputError, match="exists already"):
        export(motion, to, settings, out, Work())
    export(motion, to, settings, out, Work(overwrite=True))
    with pytest.raises(OutputError, match="is the input"):
        export(motion, to, settings, motion, Work(overwrite=True))
    other = tmp_path / "other"
    other.mkdir()
    (other / "precious.txt").write_text("")
    with pytest.raises(OutputError):
        export(motion, to, settings, other, Work(overwrite=True))
    assert (other / "precious.txt").exists()


@pytest.mark.parametrize(("to", "name"), [("csv", "rec.bin"), ("npz", "m.dat"), ("kilosort", "rec.ap.meta")])
def test_a_file_of_another_kind_is_never_replaced(tmp_path, recorded, to, name):
    (tmp_path / name).write_text("precious")
    with pytest.raises(UsageError, match="is no name for"):
        export(recorded[1], to, presets.load("rigid_fast"), tmp_path / name, Work(overwrite=True))
    assert (tmp_path / name).read_text() == "precious"


def test_a_table_longer_than_spreadsheets_is_told(tmp_path, recorded, reporter, monkeypatch):
    monkeypatch.setattr("driftcli.workflow.export.SPREADSHEET_ROWS", 3)
    export(recorded[1], "csv", presets.load("rigid_fast"), tmp_path / "m.csv", Work(reporter=reporter))
    assert reporter.messages == ["m.csv has 4 rows; spreadsheets open the first 3 only"]
