"""The program as a user meets it: exit codes, one-line errors, nothing left behind."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

import make_spikeglx
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


OTHERS = ("peaks.h5", "motion.h5", "assessment.h5", "report.html", "figures", "probe.json", "run.json")
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
        "assessment.h5",
        "corrected.bin",
        "probe.json",
        "report.html",
        "figures",
        "run.json",
    }
    assert (folder / "corrected.bin").stat().st_size == len(before)
    assert binary.read_bytes() == before
    log = json.loads((folder / "run.json").read_text())
    assert set(log["outputs"]) == {"peaks.h5", "motion.h5", "assessment.h5", "corrected.bin", "report.html"}
    verdict = log["outputs"]["assessment.h5"]["verdict"]
    assert verdict in done.stdout
    assert verdict in (folder / "report.html").read_text()
    assert log["outputs"]["motion.h5"]["preset"]["estimate"]["bin_s"] == 0.5
    of_apply = {"shift", "filter", "bad_channels", "reference", "interpolate", "apply"}
    assert set(log["outputs"]["corrected.bin"]["preset"]) == of_apply
    facts = log["outputs"]["peaks.h5"]
    assert facts["inputs"]["recording"]["size_bytes"] == len(before)
    assert facts["inputs"]["probe"]["path"] == str(probe)
    assert facts["recording"]["gain_to_uv"] == 2.34375
    assert "--preset" in facts["command"]
    assert facts["counts"]["peaks"] > 50
    assert facts["times_s"]["total"] > 0
    assert "30000" in done.stderr  # the assumed sampling frequency is said aloud
    assert "done in" in done.stderr  # progress as lines
    assert "× real time" in done.stdout


def test_run_is_its_three_verbs_byte_for_byte(recording, tmp_path):
    binary, probe = recording
    assert (
        driftcli(
            "run", "--no-report", binary, "--probe", probe, *FAST, "--out", tmp_path / "run", "--jobs", 2
        ).returncode
        == 0
    )
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


def test_an_estimate_beyond_the_memory_it_may_take_is_refused(tmp_path, recording):
    time_s = np.linspace(0, 10, 2000)
    np.savez(tmp_path / "p.npz", time_s=time_s, depth_um=np.tile(np.arange(100.0), 20), amplitude_uv=np.ones(2000))
    binary, probe = recording
    for verb in (("estimate", tmp_path / "p.npz"), ("run", binary, "--probe", probe, *FAST)):
        done = driftcli(*verb, "--max-memory", "90MB")
        assert done.returncode == 2, done.stderr
        assert "of memory, more than the 90 MB of --max-memory" in done.stderr
        assert "Try:" in done.stderr
    assert not (tmp_path / "motion.h5").exists()
    assert not binary.with_name("rec.driftcli").exists()
    unclear = driftcli("estimate", tmp_path / "p.npz", "--max-memory", "lots")
    assert (unclear.returncode, unclear.stderr.count("\n")) == (2, 1)
    assert "'lots' is no amount of memory" in unclear.stderr
    done = driftcli("estimate", tmp_path / "p.npz", "--max-memory", "64GB")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^note: the estimate takes about 2\d\d MB of memory: ", done.stderr, re.M), done.stderr


def test_correct_peaks_takes_the_motion_off(recording):
    binary, probe = recording
    assert driftcli("run", "--no-report", binary, "--probe", probe, *FAST).returncode == 0
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
    elif how == "zero":
        binary.write_bytes(bytes(24 * 2 * 30_000))
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
        ("silent", ("--set", "select.method=uniform"), 3, ["no peaks", "--num-channels"]),
        ("zero", (), 3, ["no peaks", "noise level", "is 0"]),
        ("", ("--jobs", 0), 2, ["jobs"]),
        ("", ("--chunk-s", 0), 2, ["chunk"]),
        ("", ("--chunk-s", "inf"), 2, ["chunk"]),
        ("", ("--nonsense",), 2, ["nonsense"]),
    ],
)
def test_errors_are_one_line_with_a_hint_and_their_code(recording, how, arguments, code, words):
    binary, probe = recording
    break_file(binary, how)
    done = driftcli("detect", binary, "--probe", probe, *arguments, "--quiet")
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
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


def test_no_input_is_ever_an_output(recording):
    binary, probe = recording
    assert driftcli("run", "--no-report", binary, "--probe", probe, *FAST).returncode == 0
    motion = binary.with_name("rec.driftcli") / "motion.h5"
    before = binary.read_bytes(), probe.read_bytes(), motion.read_bytes()
    linked = binary.with_name("link.bin")
    linked.symlink_to(binary)
    for out in (binary, linked, probe, motion):
        done = driftcli("apply", binary, motion, "--probe", probe, "--out", out, "--overwrite")
        assert done.returncode == 4, done.stderr
    assert (binary.read_bytes(), probe.read_bytes(), motion.read_bytes()) == before


def test_the_probe_beside_the_recording_survives_a_run_into_its_folder(recording):
    binary, probe = recording
    beside = probe.rename(probe.with_name("probe.json"))
    before = beside.read_bytes()
    done = driftcli("run", binary, "--probe", beside, *FAST, "--out", binary.parent, "--overwrite")
    assert done.returncode == 4, done.stderr
    assert beside.read_bytes() == before


def test_the_log_of_a_run_is_no_output(recording):
    binary, probe = recording
    done = driftcli("detect", binary, "--probe", probe, *FAST, "--out", binary.with_name("run.json"), "--overwrite")
    assert done.returncode == 4
    binary.with_name("run.json").write_text("[]")
    foreign = driftcli("detect", binary, "--probe", probe, *FAST, "--out", binary.with_name("peaks.h5"))
    assert foreign.returncode == 4
    assert "run.json was not written by driftcli" in foreign.stderr
    assert not binary.with_name("peaks.h5").exists()


def test_names_with_brackets_and_blanks_are_names(tmp_path, data):
    binary, probe = small_recording.write(tmp_path / "a [/b] [bold] \u00e9", data, "re c")
    done = driftcli("run", "--no-report", binary, "--probe", probe, *FAST)
    assert done.returncode == 0, done.stderr
    assert "re c.driftcli" in done.stdout.replace("\n", "")
    ascii_only = driftcli("presets", "list", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert ascii_only.returncode == 0, ascii_only.stderr


def test_stages_that_are_done_stay_as_they_were(recording):
    binary, probe = recording
    folder = binary.with_name("rec.driftcli")
    assert driftcli("run", "--no-report", binary, "--probe", probe, *FAST).returncode == 0
    for verb, source, change in (
        (("estimate",), folder / "peaks.h5", "detect.detect_threshold=3"),
        (("apply", binary), folder / "motion.h5", "estimate.bin_s=7"),
    ):
        done = driftcli(*verb, source, "--set", change, "--overwrite")
        assert done.returncode == 2, done.stderr
        assert "was done before" in done.stderr
    done = driftcli("estimate", folder / "peaks.h5", "--preset", "kilosort_like", "--overwrite")
    assert done.returncode == 0, done.stderr
    with h5py.File(folder / "motion.h5") as file:
        preset = json.loads(file.attrs["preset"])
    assert preset["estimate"]["method"] == "iterative_template"
    assert preset["localize"]["method"] == "center_of_mass"


def test_peaks_are_not_corrected_by_a_foreign_motion(tmp_path, data):
    folders = []
    for name, length in (("short", 45_000), ("long", 90_000)):
        binary, probe = small_recording.write(tmp_path, data[:length], name)
        assert driftcli("run", "--no-report", binary, "--probe", probe, *FAST).returncode == 0
        folders.append(tmp_path / f"{name}.driftcli")
    done = driftcli("correct-peaks", folders[1] / "peaks.h5", folders[0] / "motion.h5")
    assert done.returncode == 3
    assert "covers 0.000 to 1.500 s" in done.stderr


def test_a_motion_that_does_not_cover_the_recording_is_refused(tmp_path, data):
    short, probe = small_recording.write(tmp_path, data[:60_000], "short")
    assert driftcli("run", "--no-report", short, "--probe", probe, *FAST).returncode == 0
    long, _ = small_recording.write(tmp_path, data, "long")
    done = driftcli("apply", long, tmp_path / "short.driftcli" / "motion.h5")
    assert done.returncode == 3
    assert "covers 0.000 to 2.000 s" in done.stderr


def test_no_room_is_found_before_work_begins(recording, monkeypatch):
    binary, probe = recording
    code = (
        "import shutil, sys; usage = shutil.disk_usage\n"
        "shutil.disk_usage = lambda path: usage(path)._replace(free=1000)\n"
        "from driftcli.cli.main import main; main()"
    )
    command = [sys.executable, "-c", code, "run", "--no-report", str(binary), "--probe", str(probe), *FAST]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 4
    assert "no room" in done.stderr
    assert "detect and localize" not in done.stderr
    assert not list(binary.parent.glob("rec.driftcli/*"))


def test_debug_shows_the_traceback(recording):
    done = driftcli("detect", recording[0].with_name("none.bin"), "--probe", recording[1], "--debug")
    assert done.returncode == 3
    assert "Traceback" in done.stderr


def test_a_full_disk_is_told_and_leaves_what_was_there(recording):
    """A limit on the size of files stands in for a full disk: writes fail in the middle."""
    binary, probe = recording
    folder = binary.with_name("rec.driftcli")
    assert driftcli("run", "--no-report", binary, "--probe", probe, *FAST).returncode == 0
    outputs = ("peaks.h5", "motion.h5", "corrected.bin", "probe.json")
    before = [(folder / name).read_bytes() for name in outputs]

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    done = driftcli("run", "--no-report", binary, "--probe", probe, *FAST, "--overwrite", preexec_fn=limit)
    assert done.returncode == 4, done.stderr
    assert "cannot write" in done.stderr
    assert [(folder / name).read_bytes() for name in outputs] == before
    assert {file.name for file in folder.iterdir()} == {*outputs, "run.json", ".run.work"}
    assert "--resume goes on" in done.stderr
    assert driftcli("run", "--no-report", binary, "--probe", probe, *FAST, "--resume").returncode == 0
    assert [(folder / name).read_bytes() for name in outputs] == before
    assert {file.name for file in folder.iterdir()} == {*outputs, "run.json"}


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGHUP, 129), (signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["HUP", "INT", "TERM"]
)
def test_a_signal_ends_cleanly_in_the_middle_of_writing(tmp_path, data, number, code):
    binary, probe = small_recording.write(tmp_path, np.tile(data, (60, 1)))
    folder = tmp_path / "rec.driftcli"
    folder.mkdir()
    (folder / "corrected.bin").write_text("of an earlier run")
    command = [
        sys.executable,
        "-m",
        "driftcli",
        "run",
        "--no-report",
        str(binary),
        "--probe",
        str(probe),
        *FAST,
        "--overwrite",
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 120
    while not (folder / ".run.work/1-of-1/.corrected.bin.work/corrected.bin").exists() and time.monotonic() < end:
        time.sleep(0.002)
    assert process.poll() is None
    os.kill(process.pid, number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == code, told
    assert "Traceback" not in told
    assert (folder / "corrected.bin").read_text() == "of an earlier run"
    assert {file.name for file in folder.iterdir()} == {"corrected.bin", ".run.work"}
    assert driftcli(*command[3:], "--resume").returncode == 0
    assert {file.name for file in folder.iterdir()} == {
        "peaks.h5",
        "motion.h5",
        "run.json",
        "corrected.bin",
        "probe.json",
    }


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT], ids=["HUP", "INT"])
def test_a_signal_that_is_ignored_stays_ignored(tmp_path, data, number):
    """As nohup sets it for a closed terminal, and shells for what scripts run in the background."""
    binary, probe = small_recording.write(tmp_path, np.tile(data, (20, 1)))
    command = [sys.executable, "-m", "driftcli", "run", "--no-report", str(binary), "--probe", str(probe), *FAST]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, preexec_fn=lambda: signal.signal(number, signal.SIG_IGN)
    )
    while process.poll() is None and not (tmp_path / "rec.driftcli/.run.work").exists():
        time.sleep(0.002)
    assert process.poll() is None
    os.kill(process.pid, number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 0, told


@pytest.fixture
def spikeglx(tmp_path, data):
    """A pair with the moving spikes on its 24 contacts, as one of a Neuropixels 1.0 probe."""
    text = make_spikeglx.made_meta("NP1", saved=data.shape[1])
    sync = (np.arange(len(data)) % 60 * 512).astype("<i2")
    return make_spikeglx.make_spikeglx(tmp_path, text, np.column_stack([data, sync]))


def test_a_spikeglx_pair_gives_a_spikeglx_pair(spikeglx, tmp_path):
    before = spikeglx.read_bytes(), spikeglx.with_suffix(".meta").read_bytes()
    fast = FAST[:-2]  # the meta tells the gain
    done = driftcli("run", spikeglx, *fast)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "made_g0_t0.imec0.ap.driftcli"
    pair = {"made_driftcorr_g0_t0.imec0.ap.bin", "made_driftcorr_g0_t0.imec0.ap.meta"}
    assert {file.name for file in folder.iterdir()} == {*pair, *OTHERS}
    corrected = folder / "made_driftcorr_g0_t0.imec0.ap.bin"
    log = json.loads((folder / "run.json").read_text())
    assert set(log["outputs"]) == {"peaks.h5", "motion.h5", "assessment.h5", "report.html", corrected.name}
    assert corrected.name in done.stdout
    again = driftcli("apply", spikeglx, folder / "motion.h5", "--out", tmp_path / "o" / "x_g0_t0.imec0.ap.bin")
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "o" / "x_g0_t0.imec0.ap.bin").read_bytes() == corrected.read_bytes()
    assert (spikeglx.read_bytes(), spikeglx.with_suffix(".meta").read_bytes()) == before
    of_output = driftcli("detect", corrected, *fast, "--out", tmp_path / "p.h5")
    assert of_output.returncode == 0, of_output.stderr


def test_what_makes_no_spikeglx_pair_is_told_before_work_begins(spikeglx, tmp_path):
    for verb in (("run", spikeglx), ("run", spikeglx, "--out", tmp_path / "o")):
        done = driftcli(*verb, *FAST[:-2], "--output-dtype", "float32", "--quiet")
        assert done.returncode == 2
        assert done.stderr.startswith("error: --output-dtype float32 makes no SpikeGLX file")
        assert (done.stderr.count("\n"), "Try:" in done.stderr) == (1, True)
    assert {file.name for file in tmp_path.iterdir()} == {spikeglx.name, spikeglx.with_suffix(".meta").name}
