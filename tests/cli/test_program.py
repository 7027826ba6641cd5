"""The program as a user meets it: exit codes, one-line errors, nothing left behind."""

import json
import os
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

import small_recording

SECONDS = 3


def driftcli(*arguments, **options):
    command = [sys.executable, "-m", "driftcli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **options)


@pytest.fixture(scope="module")
def data():
    return small_recording.samples(int(SECONDS * small_recording.RATE_HZ))


@pytest.fixture
def recording(tmp_path, data):
    return small_recording.write(tmp_path, data)


FAST = ("--preset", "rigid_fast", "--set", "estimate.bin_s=0.5", "--gain-to-uv", "2.34375")


def test_version():
    from driftcli import __version__

    done = driftcli("--version")
    assert (done.returncode, done.stdout) == (0, f"driftcli {__version__}\n")


def test_run_leaves_what_it_promises(recording, data):
    binary, probe = recording
    before = binary.read_bytes()
    done = driftcli("run", binary, "--probe", probe, *FAST)
    assert done.returncode == 0, done.stderr
    folder = binary.with_name("rec.driftcli")
    assert {file.name for file in folder.iterdir()} == {
        "peaks.h5",
        "motion.h5",
        "corrected.bin",
        "probe.json",
        "run.json",
    }
    assert (folder / "corrected.bin").stat().st_size == len(before)
    assert binary.read_bytes() == before
    log = json.loads((folder / "run.json").read_text())
    assert set(log["outputs"]) == {"peaks.h5", "motion.h5", "corrected.bin"}
    facts = log["outputs"]["peaks.h5"]
    assert facts["inputs"]["recording"]["size_bytes"] == len(before)
    assert facts["preset"]["estimate"]["bin_s"] == 0.5
    assert facts["counts"]["peaks"] > 50
    assert facts["times_s"]["total"] > 0
    assert "30000" in done.stderr  # the assumed sampling frequency is said aloud
    assert "done in" in done.stderr  # progress as lines
    assert "× real time" in done.stdout


def test_run_is_its_three_verbs_byte_for_byte(recording, tmp_path):
    binary, probe = recording
    assert driftcli("run", binary, "--probe", probe, *FAST, "--out", tmp_path / "run", "--jobs", 2).returncode == 0
    steps = tmp_path / "steps"
    detected = driftcli("detect", binary, "--probe", probe, *FAST, "--out", steps / "peaks.h5", "--jobs", 1)
    assert detected.returncode == 0, detected.stderr
    estimated = driftcli("estimate", steps / "peaks.h5")
    assert estimated.returncode == 0, estimated.stderr
    applied = driftcli("apply", binary, steps / "motion.h5", "--out", steps / "corrected.bin", "--chunk-s", 0.1)
    assert applied.returncode == 0, applied.stderr
    for name in ("peaks.h5", "motion.h5", "corrected.bin", "probe.json"):
        assert (steps / name).read_bytes() == (tmp_path / "run" / name).read_bytes(), name


def test_quiet_and_json(recording):
    binary, probe = recording
    done = driftcli("run", binary, "--probe", probe, *FAST, "--quiet", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    facts = json.loads(done.stdout.splitlines()[-1])
    assert facts["apply"]["counts"]["samples"] == SECONDS * small_recording.RATE_HZ


def test_estimate_takes_an_npz_and_presets_change_it(tmp_path):
    rng = np.random.default_rng(0)
    time_s = np.sort(rng.uniform(0, 60, 6000))
    depth_um = rng.choice(np.arange(100, 900, 40), 6000) + 10 * np.sin(time_s / 10) + rng.normal(0, 2, 6000)
    np.savez(tmp_path / "p.npz", time_s=time_s, depth_um=depth_um, amplitude_uv=-rng.uniform(50, 200, 6000))
    done = driftcli("estimate", tmp_path / "p.npz", "--preset", "rigid_fast", "--span-um", "0", "1000")
    assert done.returncode == 0, done.stderr
    with h5py.File(tmp_path / "motion.h5") as file:
        assert file["shank0/displacement_um"].shape == (12, 1)
        np.testing.assert_allclose(file["shank0/spatial_bins_um"][:], [500], atol=1)
        motion = file["shank0/displacement_um"][:, 0]
        truth = 10 * np.sin(file["shank0/temporal_bins_s"][:] / 10)
    error = motion - truth
    assert np.abs(error - np.median(error)).max() < 2


def test_correct_peaks_takes_the_motion_off(recording):
    binary, probe = recording
    assert driftcli("run", binary, "--probe", probe, *FAST).returncode == 0
    folder = binary.with_name("rec.driftcli")
    done = driftcli("correct-peaks", folder / "peaks.h5", folder / "motion.h5")
    assert done.returncode == 0, done.stderr
    with h5py.File(folder / "corrected_peaks.h5") as peaks, h5py.File(folder / "motion.h5") as motion:
        time_s = peaks["peaks/sample_index"][:] / small_recording.RATE_HZ
        shift = np.interp(time_s, motion["shank0/temporal_bins_s"][:], motion["shank0/displacement_um"][:, 0])
        np.testing.assert_allclose(peaks["peaks/y_corrected_um"][:], peaks["peaks/y_um"][:] - shift, atol=1e-3)


def test_presets_can_be_listed_shown_and_used(tmp_path):
    listed = driftcli("presets", "list")
    assert listed.returncode == 0
    assert "nonrigid_accurate" in listed.stdout
    shown = driftcli("presets", "show", "kilosort_like", "--set", "estimate.bin_s=4")
    assert shown.returncode == 0
    (tmp_path / "mine.yaml").write_text(shown.stdout)
    again = driftcli("presets", "show", tmp_path / "mine.yaml")
    assert again.stdout == shown.stdout
    assert "bin_s: 4" in shown.stdout


def break_file(binary, how):
    if how == "frames":
        binary.write_bytes(binary.read_bytes()[:-10])
    elif how == "missing":
        binary.unlink()
    elif how == "nan":
        values = np.fromfile(binary, "<i2").astype("<f4")
        values[30_000] = np.nan
        binary.write_bytes(values.tobytes())
    elif how == "silent":
        binary.write_bytes(np.random.default_rng(0).normal(0, 4, (30_000, 24)).astype("<i2").tobytes())


@pytest.mark.parametrize(
    ("how", "arguments", "code", "words"),
    [
        ("missing", (), 3, ["rec.bin"]),
        ("frames", (), 3, ["38 bytes", "24"]),
        ("nan", ("--dtype", "float32"), 3, ["nan", "sample 1250"]),
        ("silent", (), 3, ["no peaks", "noise level", "threshold"]),
        ("", ("--num-channels", 7), 3, ["channels"]),
        ("", ("--dtype", "int8"), 2, ["int8"]),
        ("", ("--preset", "rigid_fats"), 2, ["rigid_fast"]),
        ("", ("--set", "estimate.bin=2"), 2, ["bin_s"]),
        ("", ("--jobs", 0), 2, ["jobs"]),
        ("", ("--chunk-s", 0), 2, ["chunk"]),
        ("", ("--nonsense",), 2, ["nonsense"]),
    ],
)
def test_errors_are_one_line_with_a_hint_and_their_code(recording, how, arguments, code, words):
    binary, probe = recording
    break_file(binary, how)
    done = driftcli("detect", binary, "--probe", probe, *arguments, "--quiet")
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    if "--nonsense" not in arguments and "--jobs" not in arguments:
        assert done.stderr.startswith("error:")
        assert done.stderr.count("\n") == 1, done.stderr
        assert "Try:" in done.stderr
    for word in words:
        assert word in done.stderr
    assert not list(binary.parent.glob("rec.driftcli/*"))


def test_an_output_that_exists_is_kept_without_overwrite(recording):
    binary, probe = recording
    out = binary.with_name("peaks.h5")
    out.write_text("precious")
    refused = driftcli("detect", binary, "--probe", probe, *FAST, "--out", out)
    assert refused.returncode == 4
    assert "--overwrite" in refused.stderr
    assert out.read_text() == "precious"
    assert driftcli("detect", binary, "--probe", probe, *FAST, "--out", out, "--overwrite").returncode == 0
    assert h5py.is_hdf5(out)


def test_the_input_is_never_the_output(recording):
    binary, probe = recording
    assert driftcli("run", binary, "--probe", probe, *FAST).returncode == 0
    motion = binary.with_name("rec.driftcli") / "motion.h5"
    before = binary.read_bytes()
    linked = binary.with_name("link.bin")
    linked.symlink_to(binary)
    for out in (binary, linked):
        done = driftcli("apply", binary, motion, "--out", out, "--overwrite")
        assert done.returncode == 4, done.stderr
    assert binary.read_bytes() == before


def test_a_motion_that_does_not_cover_the_recording_is_refused(tmp_path, data):
    short, probe = small_recording.write(tmp_path, data[:60_000], "short")
    assert driftcli("run", short, "--probe", probe, *FAST).returncode == 0
    long, _ = small_recording.write(tmp_path, data, "long")
    done = driftcli("apply", long, tmp_path / "short.driftcli" / "motion.h5")
    assert done.returncode == 3
    assert "covers 2.000 s" in done.stderr


def test_no_room_is_found_before_work_begins(recording, monkeypatch):
    binary, probe = recording
    code = (
        "import shutil, sys; usage = shutil.disk_usage\n"
        "shutil.disk_usage = lambda path: usage(path)._replace(free=1000)\n"
        "from driftcli.cli.main import main; main()"
    )
    command = [sys.executable, "-c", code, "run", str(binary), "--probe", str(probe), *FAST]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 4
    assert "no room" in done.stderr
    assert "detect and localize" not in done.stderr
    assert not list(binary.parent.glob("rec.driftcli/*"))


def test_debug_shows_the_traceback(recording):
    done = driftcli("detect", recording[0].with_name("none.bin"), "--probe", recording[1], "--debug")
    assert done.returncode == 3
    assert "Traceback" in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_cleanly(tmp_path, data, number, code):
    binary, probe = small_recording.write(tmp_path, np.tile(data, (40, 1)))
    command = [sys.executable, "-m", "driftcli", "run", str(binary), "--probe", str(probe), *FAST, "--chunk-s", "1000"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    folder = tmp_path / "rec.driftcli"
    end = time.monotonic() + 60
    while not folder.exists() and time.monotonic() < end:
        time.sleep(0.01)
    os.kill(process.pid, number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == code, told
    assert "Traceback" not in told
    assert not list(folder.glob("*")) + list(folder.glob(".*"))
