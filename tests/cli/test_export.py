"""`driftcli export` and `driftcli import` as a user meets them."""

import json
import subprocess
import sys

import numpy as np
import pytest

from driftcli import presets
from driftcli.model import Geometry, Motion, RecordingFacts
from driftcli.store.motion import write_motion

PROBE = '{"specification": "probeinterface", "version": "0.2.24", "probes": []}'


def driftcli(*arguments):
    command = [sys.executable, "-m", "driftcli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.fixture
def motion(tmp_path):
    geometry = Geometry(np.column_stack([np.zeros(5), np.arange(5) * 20.0]), np.zeros(5, np.int64))
    facts = RecordingFacts(30_000.0, 120_000, 6, "int16", 0, geometry, np.arange(5), None, PROBE)
    moving = Motion(np.arange(8.0).reshape(4, 2) / 3, np.arange(4) + 0.5, np.array([20.0, 60.0]))
    write_motion(tmp_path / "motion.h5", {0: moving}, 4.0, facts, presets.load("rigid_fast"))
    return tmp_path / "motion.h5"


@pytest.mark.parametrize(("to", "name"), [("csv", "motion.csv"), ("npz", "motion.npz"), ("spikeinterface", "")])
def test_out_and_in_again(motion, to, name):
    out = driftcli("export", motion, "--to", to, "--json")
    assert out.returncode == 0, out.stderr
    facts = json.loads(out.stdout)
    assert facts["output"] == str(motion.with_name(name or "motion_spikeinterface"))
    assert facts["counts"] == {"shanks": 1, "temporal_bins": 4, "spatial_windows": 2}
    again = driftcli("import", facts["output"], "--like", motion)
    assert again.returncode == 0, again.stderr
    assert "displacement +0.0 to +2.3 µm" in " ".join(again.stdout.split())
    stem = motion.with_name(name or "motion_spikeinterface").stem
    assert motion.with_name(f"{stem}_imported.h5").read_bytes() == motion.read_bytes()
    log = json.loads(motion.with_name("run.json").read_text())
    assert {facts["verb"] for facts in log["outputs"].values()} == {"export", "import"}


def test_kilosort_is_told_to_leave_drift_alone(motion):
    done = driftcli("export", motion, "--to", "kilosort", "--set", "interpolate.border_mode=remove_channels")
    assert done.returncode == 0, done.stderr
    assert "nblocks=0" in done.stderr
    assert "n_chan_bin=5, fs=30000, nblocks=0" in done.stdout
    probe = json.loads(motion.with_name("kilosort_probe.json").read_text())
    assert probe["chanMap"] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("shank0_time_s,shank0_displacement_um_at_20_um\n0.5,1\n1.5,\n", "row 3"),
        ("time,shank0_displacement_um_at_20_um\n0.5,1\n", "column 'time' is unknown"),
        ("shank0_time_s,shank0_displacement_um_at_20_um\n1.5,1\n0.5,1\n", "out of order"),
        ("shank0_time_s,shank0_displacement_um_at_20_um\n0.5,1\n1.5,1\n3.5,1\n4.5,1\n", "there is a gap"),
    ],
)
def test_a_bad_table_is_one_line_with_a_hint_and_writes_nothing(motion, text, word):
    table = motion.with_name("bad.csv")
    table.write_text(text)
    done = driftcli("import", table, "--like", motion)
    assert done.returncode == 3, done.stderr
    assert done.stderr.count("\n") == 1
    assert "error:" in done.stderr
    assert "Try:" in done.stderr
    assert word in done.stderr
    assert {path.name for path in motion.parent.iterdir()} == {"motion.h5", "bad.csv"}


def test_options_that_change_nothing_are_refused(motion):
    done = driftcli("export", motion, "--to", "csv", "--set", "interpolate.time=linear")
    assert done.returncode == 2
    assert "takes no --preset" in done.stderr


def test_outputs_that_exist_are_kept(motion):
    motion.with_name("motion.csv").write_text("precious")
    refused = driftcli("export", motion, "--to", "csv")
    assert refused.returncode == 4
    assert "--overwrite" in refused.stderr
    assert motion.with_name("motion.csv").read_text() == "precious"
    assert driftcli("export", motion, "--to", "csv", "--overwrite").returncode == 0
