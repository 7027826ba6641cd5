"""`driftcli estimate` of a recording, as a user meets it, and the same from Python."""

import json
import subprocess
import sys

import numpy as np
import pytest

import driftcli
import small_recording
from driftcli.store.motion import read_motion
from oracles import lfp

RATE = ("--sampling-frequency", "2000")


def run(*arguments):
    command = [sys.executable, "-m", "driftcli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """A short recording of the local field potential, and its probe."""
    depths_um = np.arange(48) * 20.0
    values = lfp.potential_uv(np.arange(1600) / 2000.0, depths_um, depths_um[-1], noise_uv=5.0)
    places = np.column_stack([np.zeros(48), depths_um])
    return small_recording.write(tmp_path_factory.mktemp("lf"), np.rint(values).astype("<i2"), places=places)


def test_a_recording_takes_the_place_of_peaks(recording, tmp_path):
    binary, probe = recording
    done = run("estimate", binary, "--probe", probe, *RATE, "--preset", "dredge_lfp", "--json")
    assert done.returncode == 0, done.stderr
    motion = binary.parent / "rec.driftcli" / "motion.h5"
    assert json.loads(done.stdout)["output"] == str(motion)
    assert len(read_motion(motion).motions[0].temporal_bins_s) == 200
    how = {"probe": probe, "sampling_frequency": 2000.0, "preset": "dredge_lfp"}
    found = driftcli.estimate_file(binary, out=tmp_path / "m.h5", **how)
    assert np.array_equal(found.motion[0].displacement_um, read_motion(motion).motions[0].displacement_um)
    assert found.facts["counts"]["depths"] == 48


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), ["likelihood works on peaks, and this is a recording", "--preset dredge_lfp"]),
        (("--preset", "dredge_lfp", "--span-um", "0", "900"), ["--span-um is for peaks"]),
        (("--preset", "dredge_lfp", "--ignore-mask"), ["--ignore-mask is for peaks"]),
    ],
)
def test_what_is_not_of_a_recording_is_refused(recording, options, words):
    binary, probe = recording
    done = run("estimate", binary, "--probe", probe, *RATE, *options, "--out", binary.parent / "other.h5")
    assert done.returncode == 2
    for word in words:
        assert word in " ".join(done.stderr.split())


def test_what_is_not_of_peaks_is_refused(recording, tmp_path):
    peaks = tmp_path / "p.npz"
    np.savez(peaks, time_s=np.arange(5.0), depth_um=np.arange(5.0), amplitude_uv=np.arange(1.0, 6))
    done = run("estimate", peaks, "--probe", recording[1])
    assert done.returncode == 2
    assert "--probe is for a recording, and these are peaks" in " ".join(done.stderr.split())
    done = run("estimate", peaks, "--preset", "dredge_lfp")
    assert done.returncode == 2
    assert "dredge_lfp works on a recording" in " ".join(done.stderr.split())
    with pytest.raises(driftcli.UsageError, match="gain_to_uv is for a recording"):
        driftcli.estimate_file(peaks, gain_to_uv=2.0)
    with pytest.raises(driftcli.UsageError, match="dredge_lfp works on a recording"):
        driftcli.estimate(np.arange(5.0), np.arange(5.0), np.arange(1.0, 6), preset="dredge_lfp")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gone.ap.bin", ["there is no file", "check the path"]),
        ("gone.cbin", ["gone.cbin", "check the path"]),
        ("gone.h5", ["gone.h5 does not exist", "give the path of a peaks.h5"]),
        ("gone", ["gone does not exist", "give the path of a peaks.h5"]),
    ],
)
def test_what_is_not_there_is_asked_for_by_what_it_is_called(tmp_path, name, words):
    with pytest.raises(driftcli.InputError) as refused:
        driftcli.estimate_file(tmp_path / name, preset="dredge_lfp")
    told = f"{refused.value.message} {refused.value.hint}"
    assert all(word in told for word in words)
    assert ("peaks" in told) == ("peaks.h5" in words[-1])


def test_work_that_is_shared_out_is_refused(recording, tmp_path):
    binary, probe = recording
    done = run("submit", binary, "--probe", probe, *RATE, "--preset", "dredge_lfp", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "dredge_lfp works on a recording, and work that is shared out needs peaks" in " ".join(done.stderr.split())
    assert not (tmp_path / "out").exists()
