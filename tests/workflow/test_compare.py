"""What compare refuses: too few or too many runs, those of different recordings, and names of no picture."""

import json
from dataclasses import replace

import numpy as np
import pytest

from driftcli import presets
from driftcli.errors import InputError, UsageError
from driftcli.model import Geometry, Mask, Motion, Peaks, RecordingFacts
from driftcli.store.motion import write_motion
from driftcli.store.peaks import write_peaks
from driftcli.workflow.compare import compare
from driftcli.workflow.work import Work

GEOMETRY = Geometry(np.column_stack([np.zeros(4), np.arange(4) * 20.0]), np.zeros(4, np.int64))
FACTS = RecordingFacts(1_000.0, 10_000, 4, "int16", 0, GEOMETRY, np.arange(4), None, "{}")


def write(folder, facts=FACTS, digest=None):
    folder.mkdir(parents=True)
    settings, one = presets.load("rigid_fast"), np.zeros(1, np.float32)
    peaks = Peaks(np.array([5]), np.array([0], np.int32), one - 20, {"x_um": one, "y_um": one})
    write_peaks(folder / "peaks.h5", [peaks], 1, ["x_um", "y_um"], facts, settings, np.ones(4), Mask())
    motion = Motion(np.zeros((1, 1)), np.array([5.0]), np.array([30.0]))
    write_motion(folder / "motion.h5", {0: motion}, facts.duration_s, facts, settings)
    if digest:
        inputs = {"recording": {"path": "/rec.bin", "sha256_of_ends": digest}}
        outputs = {"peaks.h5": {"verb": "detect", "inputs": inputs}}
        (folder / "run.json").write_text(json.dumps({"format": "driftcli run", "outputs": outputs}))
    return folder


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (replace(FACTS, num_samples=20_000), "duration 20 s, not 10 s"),
        (replace(FACTS, sampling_frequency_hz=2_000.0), "sampling frequency"),
        (replace(FACTS, origin=7), "first sample 7, not 0"),
        (replace(FACTS, geometry=Geometry(GEOMETRY.positions_um + 1, GEOMETRY.shanks)), "in other places"),
    ],
)
def test_runs_of_different_recordings_are_refused(tmp_path, other, words):
    with pytest.raises(InputError, match=words):
        compare([write(tmp_path / "a"), write(tmp_path / "b", other)], tmp_path / "c.png", Work())
    assert not (tmp_path / "c.png").exists()


def test_recordings_of_one_length_with_other_content_are_refused(tmp_path):
    folders = [write(tmp_path / name, digest=name) for name in "ab"]
    with pytest.raises(InputError, match="another content"):
        compare(folders, tmp_path / "c.png", Work())
    compare([folders[0], write(tmp_path / "c", digest="a")], tmp_path / "c.png", Work())


def test_how_many_runs_and_which_names(tmp_path):
    folders = [write(tmp_path / str(number)) for number in range(7)]
    for given, words in ((folders[:1], "nothing to compare"), (folders, "don't fit"), (folders[:1] * 2, "twice")):
        with pytest.raises(UsageError, match=words):
            compare(given, tmp_path / "c.png", Work())
    with pytest.raises(UsageError, match="no name of a picture"):
        compare(folders[:2], tmp_path / "c.pdf", Work())


@pytest.mark.parametrize(
    ("folders", "names"),
    [
        (["fast/rec.driftcli", "slow/rec.driftcli"], ["fast/rec", "slow/rec"]),
        (["a/rec", "b/rec.driftcli"], ["a/rec", "b/rec"]),
        (["rec", "rec.driftcli"], ["rec", "rec.driftcli"]),
        (["a/rec.driftcli", "a/rec", "b/rec"], ["a/rec.driftcli", "a/rec", "b/rec"]),
    ],
)
def test_folders_of_one_name_are_told_apart(tmp_path, monkeypatch, folders, names):
    seen = []
    monkeypatch.setattr("driftcli.workflow.compare.comparison", lambda views: seen.append(list(views)))
    monkeypatch.setattr("driftcli.workflow.compare.rendered", lambda figure, kind: b"")
    compare([write(tmp_path / folder) for folder in folders], tmp_path / "c.png", Work())
    assert seen == [names]
