"""import: motions come back as they were, and what doesn't go with the recording is refused."""

import csv
from dataclasses import replace

import h5py
import numpy as np
import pytest

import small_recording
from driftcli import presets
from driftcli.errors import InputError, OutputError, UsageError
from driftcli.model import Motion
from driftcli.recording.facts import facts_of
from driftcli.recording.open import open_recording
from driftcli.reporter import Reporter
from driftcli.store.motion import read_motion, write_motion
from driftcli.workflow.apply import apply
from driftcli.workflow.export import default_output, export
from driftcli.workflow.import_ import import_motion, read_source
from driftcli.workflow.work import Work

SETTINGS = presets.load("rigid_fast", ["apply.signal=raw", "interpolate.method=nearest"])


@pytest.fixture
def recorded(tmp_path, drifting):
    """A recording on two shanks and its motion.h5, with a shank that has one temporal bin only."""
    places = small_recording.positions_um(12)
    places = np.concatenate([places, places + np.array([250.0, 0.0])])
    binary, probe = small_recording.write(tmp_path, drifting, places=places, shank_ids=["0"] * 12 + ["1"] * 12)
    recording = open_recording(binary, probe=probe, gain_to_uv=2.34375, reporter=Reporter())
    rng = np.random.default_rng(0)
    moving = Motion(rng.normal(0, 20, (29, 2)), (np.arange(29) + 0.5) / 10, np.array([30.0, 80.0]))
    still = Motion(np.zeros((1, 1)), np.array([1.45]), np.array([55.0]))
    facts = facts_of(recording)
    write_motion(tmp_path / "motion.h5", {0: moving, 1: still}, recording.duration_s, facts, SETTINGS)
    return recording, tmp_path / "motion.h5"


def imported(source, out, like=None, reporter=None, **options):
    read = read_source(source, like, **options)
    settings = presets.load() if read.handover is None else presets.resolve(read.handover.preset)
    return import_motion(read, settings, out, Work(reporter=reporter or Reporter()))


@pytest.mark.parametrize("to", ["csv", "npz", "spikeinterface"])
@pytest.mark.parametrize("like", [True, False])
def test_a_motion_comes_back_as_the_same_bytes(tmp_path, recorded, reporter, to, like):
    motion = recorded[1]
    exported = default_output(motion, to)
    export(motion, to, SETTINGS, exported, Work())
    imported(exported, tmp_path / "again.h5", motion if like else None, reporter)
    if like or to != "csv":
        assert (tmp_path / "again.h5").read_bytes() == motion.read_bytes()
        assert reporter.messages == []
        return
    (message,) = reporter.messages
    assert "--like" in message
    again, first = read_motion(tmp_path / "again.h5"), read_motion(motion)
    assert again.facts is None
    assert again.duration_s == pytest.approx(2.9)
    for shank in first.motions:
        np.testing.assert_array_equal(again.motions[shank].displacement_um, first.motions[shank].displacement_um)
    # it applies all the same, where the recording's own facts are given
    apply(recorded[0], tmp_path / "again.h5", SETTINGS, tmp_path / "out.bin", Work())


@pytest.mark.parametrize("to", ["csv", "npz", "spikeinterface"])
def test_steps_come_back(tmp_path, recorded, reporter, to):
    """A table has no place for them: then those of --like are taken; the bytes are the same again."""
    file = read_motion(recorded[1])
    stepping = {0: replace(file.motions[0], steps_s=np.array([0.3, 1.23])), 1: file.motions[1]}
    write_motion(tmp_path / "steps.h5", stepping, file.duration_s, file.facts, SETTINGS)
    exported = default_output(tmp_path / "steps.h5", to)
    export(tmp_path / "steps.h5", to, SETTINGS, exported, Work(reporter=reporter))
    if to != "npz":
        assert "steps" in reporter.messages[-1]
    imported(exported, tmp_path / "again.h5", tmp_path / "steps.h5" if to == "csv" else None)
    assert (tmp_path / "again.h5").read_bytes() == (tmp_path / "steps.h5").read_bytes()
    imported(exported, tmp_path / "alone.h5")
    np.testing.assert_array_equal(
        read_motion(tmp_path / "alone.h5").motions[0].steps_s, [] if to == "csv" else [0.3, 1.23]
    )


def test_steps_of_its_own_are_kept(tmp_path, recorded):
    """--like hands on steps to a motion that came without them, and to no other."""
    file = read_motion(recorded[1])
    for name, steps_s in (("ours", [0.5]), ("theirs", [0.9, 1.1])):
        stepping = {shank: replace(motion, steps_s=np.array(steps_s)) for shank, motion in file.motions.items()}
        write_motion(tmp_path / f"{name}.h5", stepping, file.duration_s, file.facts, SETTINGS)
        export(tmp_path / f"{name}.h5", "npz", SETTINGS, tmp_path / f"{name}.npz", Work())
    export(recorded[1], "npz", SETTINGS, tmp_path / "none.npz", Work())
    for name, wanted in (("ours", [0.5]), ("none", [0.9, 1.1])):
        imported(tmp_path / f"{name}.npz", tmp_path / f"{name}_again.h5", tmp_path / "theirs.h5")
        for motion in read_motion(tmp_path / f"{name}_again.h5").motions.values():
            np.testing.assert_array_equal(motion.steps_s, wanted)


def test_an_edited_table_applies(tmp_path, recorded):
    """Shank 0 is put to 20 µm at all times: its contacts take the trace of the next one in their column."""
    recording, motion = recorded
    table = tmp_path / "motion.csv"
    export(motion, "csv", SETTINGS, table, Work())
    with table.open(newline="") as file:
        header, *rows = csv.reader(file)
    edited = [[row[0], "20", "20,0".replace(",", "."), *row[3:]] for row in rows]
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([header, *edited])
    imported(table, tmp_path / "edited.h5", motion)
    apply(recording, tmp_path / "edited.h5", SETTINGS, tmp_path / "out.bin", Work())
    data = np.fromfile(tmp_path / "rec.bin", "<i2").reshape(-1, 24).astype(int)
    out = np.fromfile(tmp_path / "out.bin", "<i2").reshape(-1, 24)
    offsets = np.median(data, axis=0).round().astype(int)
    assert np.abs(out[:, :10] - (data[:, 2:12] - offsets[2:12] + offsets[:10])).max() <= 1
    np.testing.assert_array_equal(out[:, 12:], data[:, 12:])


def with_times(tmp_path, motion, change):
    table = tmp_path / "motion.csv"
    export(motion, "csv", SETTINGS, table, Work())
    with table.open(newline="") as file:
        header, *rows = csv.reader(file)
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([header, *change(rows)])
    return table


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda rows: [[str(1000 * float(row[0])), *row[1:]] for row in rows], "50 to 2850 s, not over 2.9"),
        (lambda rows: rows[:20], "0.05 to 1.95 s, not over 2.9"),
        (lambda rows: rows[:-1], "not over 2.9"),
        (lambda rows: rows[:1], "0.05 to 0.05 s, not over 2.9"),
        (lambda rows: rows[:8] + rows[9:], "row 10: there is a gap"),
        (lambda rows: [row[:3] for row in rows], "no rows for shank 1"),
    ],
    ids=["milliseconds", "end", "last row", "one row", "gap", "shank"],
)
def test_a_table_that_does_not_cover_the_recording_is_refused(tmp_path, recorded, change, words):
    table = with_times(tmp_path, recorded[1], change)
    with pytest.raises(InputError, match=words):
        imported(table, tmp_path / "again.h5", recorded[1])
    assert not (tmp_path / "again.h5").exists()


def test_gaps_that_are_allowed_are_filled_by_what_is_around(tmp_path, recorded):
    table = with_times(tmp_path, recorded[1], lambda rows: rows[:8] + rows[9:20])
    imported(table, tmp_path / "again.h5", recorded[1], gaps_allowed=True)
    first, again = read_motion(recorded[1]), read_motion(tmp_path / "again.h5")
    assert again.duration_s == first.duration_s
    np.testing.assert_array_equal(
        again.motions[0].displacement_um, np.delete(first.motions[0].displacement_um[:20], 8, 0)
    )


def test_uneven_bins_of_the_motion_itself_are_no_gaps(tmp_path):
    uneven = Motion(np.ones((4, 1)), np.array([0.5, 1.5, 2.5, 9.5]), np.array([60.0]))
    write_motion(tmp_path / "motion.h5", {0: uneven}, 12.0, None, SETTINGS)
    export(tmp_path / "motion.h5", "csv", SETTINGS, tmp_path / "m.csv", Work())
    imported(tmp_path / "m.csv", tmp_path / "again.h5", tmp_path / "motion.h5")
    assert (tmp_path / "again.h5").read_bytes() == (tmp_path / "motion.h5").read_bytes()


def test_other_shanks_are_refused(tmp_path, recorded):
    write_motion(tmp_path / "one.h5", {0: read_motion(recorded[1]).motions[0]}, 2.9, None, SETTINGS)
    export(tmp_path / "one.h5", "npz", SETTINGS, tmp_path / "one.npz", Work())
    with pytest.raises(InputError, match=r"has the shanks 0, .* 0, 1"):
        imported(tmp_path / "one.npz", tmp_path / "again.h5", recorded[1])


def test_inputs_and_what_exists_are_kept(tmp_path, recorded):
    motion = recorded[1]
    export(motion, "spikeinterface", SETTINGS, tmp_path / "si", Work())
    with pytest.raises(OutputError, match="exists already"):
        imported(tmp_path / "si", motion)
    with pytest.raises(UsageError, match="lies in the folder"):
        imported(tmp_path / "si", tmp_path / "si/motion.h5")
    read = read_source(tmp_path / "si", motion)
    with pytest.raises(OutputError, match="is the input"):
        import_motion(read, SETTINGS, motion, Work(overwrite=True))
    assert h5py.is_hdf5(motion)


def test_an_option_that_changes_nothing_is_refused(tmp_path, recorded):
    export(recorded[1], "npz", SETTINGS, tmp_path / "m.npz", Work())
    with pytest.raises(UsageError, match="--allow-gaps"):
        read_source(tmp_path / "m.npz", gaps_allowed=True)


@pytest.mark.parametrize("name", ["none.csv", "none.npz", "none", "m.h5", "m.json"])
def test_what_is_no_motion_is_refused(tmp_path, name):
    if not name.startswith("none"):
        (tmp_path / name).write_text("")
    with pytest.raises(InputError, match="does not exist" if name.startswith("none") else "no motion that can be"):
        read_source(tmp_path / name)
