"""driftcli info: what it says to people and in JSON, its exit codes, and that it leaves nothing behind."""

import json
import subprocess
import sys

import numpy as np
import pytest

import make_spikeglx
import small_recording
from driftcli.cli.show_info import info_rows

FAST = ("--preset", "rigid_fast", "--set", "estimate.bin_s=0.5", "--set", "detect.detect_threshold=6")
GAIN = ("--gain-to-uv", "2.34375", "--sampling-frequency", "30000")


def driftcli(*arguments):
    command = [sys.executable, "-m", "driftcli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.fixture
def recording(tmp_path):
    data = small_recording.samples(60_000)
    data[:, 7] = 0
    data[20_000:23_000] = 0
    return small_recording.write(tmp_path, data)


def test_the_table_says_what_there_is_and_nothing_is_written(recording, tmp_path):
    binary, probe = recording
    before = {path: path.read_bytes() for path in tmp_path.rglob("*")}
    done = driftcli("info", binary, "--probe", probe, *FAST, *GAIN, "--full", "--bad-channels", "3")
    assert done.returncode == 0, done.stderr
    assert {path: path.read_bytes() for path in tmp_path.rglob("*")} == before
    said = " ".join(done.stdout.split())
    for words in (
        "raw, int16, 1 file, 2.88 MB",
        "2.0 s: 60,000 samples at 30000 Hz",
        "24: 24 with a contact",
        "2.34375 µV per count",
        "24 contacts (2 bad) from 0 to 230 µm in 2 columns 32 µm apart, 24 rows 10 µm apart",
        "1 excluded by --bad-channels (3) 1 dead in the data (7)",
        "2.0 s, all of it",
        "5.50% of that: gap 5.50%",
        "gap 0.662-0.772 s",
        "for the estimate of about",
        "free at",
    ):
        assert words in said, words
    assert "look: 100%" in done.stderr  # progress


def test_json_is_one_line_and_quiet_says_nothing(recording):
    binary, probe = recording
    done = driftcli("info", binary, "--probe", probe, *FAST, *GAIN, "--json", "--quiet", "--jobs", 1)
    assert (done.returncode, done.stderr) == (0, "")
    facts = json.loads(done.stdout, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert set(facts) == {"recording", "probe", "bad_channels", "preset", "noise", "mask", "cost"}
    assert facts["recording"]["num_samples"] == 60_000
    assert facts["bad_channels"]["data"] == {"dead": [7]}
    assert facts["preset"]["estimate"]["bin_s"] == 0.5
    assert facts["cost"]["jobs"] == 1
    assert facts["cost"]["disk_bytes"]["folder"] == str(binary.with_name("rec.driftcli"))
    quiet = driftcli("info", binary, "--probe", probe, *FAST, *GAIN, "--quiet")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")


def test_options_of_the_run_that_is_foreseen(recording, tmp_path):
    binary, probe = recording
    options = ("--out", tmp_path / "there/out", "--output-dtype", "float32", "--start-s", "1", "--end-s", "2")
    done = driftcli("info", binary, "--probe", probe, *FAST, *GAIN, *options, "--json", "--quiet")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["cost"]["disk_bytes"]["folder"] == str(tmp_path / "there/out")
    assert facts["cost"]["disk_bytes"]["corrected"] == 30_000 * 24 * 4
    assert facts["recording"]["duration_s"] == 1.0
    assert not (tmp_path / "there").exists()


def test_errors_are_those_of_run(recording, tmp_path):
    binary, probe = recording
    for arguments, code in (
        ((binary,), 2),
        ((binary, "--probe", probe, "--preset", "nonsense"), 2),
        ((binary, "--probe", probe, "--end-s", "9"), 2),
        ((tmp_path / "absent.bin", "--probe", probe), 3),
        ((binary, "--probe", tmp_path / "absent.json"), 3),
        ((binary, "--probe", probe, "--num-channels", 23), 3),
    ):
        told, of_run = (driftcli(verb, *arguments, "--quiet") for verb in ("info", "run"))
        assert (told.returncode, told.stdout, told.stderr) == (code, "", of_run.stderr)
        assert of_run.returncode == code


def test_a_recording_without_a_good_contact_is_looked_at_all_the_same(recording):
    binary, probe = recording
    done = driftcli("info", binary, "--probe", probe, *GAIN, "--bad-channels", "0:23")
    assert done.returncode == 0, done.stderr
    assert "24 excluded by --bad-channels" in done.stdout
    assert "impossible: no contact is good" in done.stdout


@pytest.fixture
def facts(tmp_path):
    """Those of two SpikeGLX files with half a second between them."""
    data = small_recording.samples(60_000)
    files = []
    for number, first in enumerate((1_000, 31_000 + 15_000)):
        name = f"D:/made_g0/made_g0_t{number}.imec0.ap.bin"
        text = make_spikeglx.made_meta("NP1", saved=24)
        text = make_spikeglx.with_values(text, fileName=name, firstSample=str(first))
        rows = np.column_stack([data[number * 30_000 :][:30_000], np.zeros(30_000, "<i2")])
        files.append(make_spikeglx.make_spikeglx(tmp_path, text, rows))
    done = driftcli("info", *files, *FAST, "--json", "--quiet")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_words_for_a_spikeglx_recording(facts):
    facts["mask"]["share"] = dict.fromkeys(facts["mask"]["share"], 0.0)
    rows = info_rows(facts)
    assert rows["format"] == "SpikeGLX, int16, 2 files, 3 MB"
    assert rows["files"] == (
        "made_g0_t0.imec0.ap.bin from 0.000 s\n"
        "made_g0_t1.imec0.ap.bin from 1.000 s, 0.500 s after the end of the file before"
    )
    assert rows["columns"] == "25: 24 AP, 1 sync"
    assert rows["gain"] == "2.34375 µV per count; the converter gives -512 to 511, up to 1.2 mV"
    assert rows["probe"] == "Neuropixels 1.0 probe (NP1000, type 0), 1 shank, 24 contacts on 960 sites"
    assert rows["in time"] == "channels are not lined up: a run lines them up (probe type 0)"
    assert rows["bad channels"] == "none"
    assert rows["left out"] == "nothing"
    assert rows["looked at"] == "2.0 s, 100.0% of it, in 4 slices (--full: all of it)"
    assert "detect" in rows["of which"]
    assert "estimate" in rows["of which"]


def test_words_for_what_is_rare(facts):
    recording, mask, cost = facts["recording"], facts["mask"], facts["cost"]
    recording["files"][1]["missing_before_s"] = 0.0
    recording["files"] += [{**recording["files"][1], "missing_before_s": None}] * 8
    recording["gain_to_uv"], recording["compressed"] = [2.0, 4.6875], True
    recording["lined_up"] = {"already": True, "by_run": False, "reason": "CatGT did"}
    mask |= {"full": True, "slices": None, "looked_at_share": 1.0}
    mask["spans"] = [{"reason": "gap", "start_s": float(n), "stop_s": n + 0.5} for n in range(12)]
    mask["share"] |= {"gap": 0.5, "artifact": 0.02, "any": 0.51}
    times = {"detect": 90.0, "estimate": None, "assess": None, "apply": 3600.0, "plot": 3.0, "total": 3693.0}
    cost["time_s"] |= times
    cost["disk_bytes"] |= {"enough": False, "free": 5_000_000}
    rows = info_rows(facts)
    assert rows["format"].startswith("SpikeGLX, int16, compressed by mtscomp, 10 files")
    lines = rows["files"].splitlines()
    assert (len(lines), lines[-1]) == (9, "...")
    assert lines[1].endswith(", without a break")
    assert lines[2].endswith(", some unknown time after the file before")
    assert rows["gain"].startswith("2 to 4.6875 µV per count")
    assert rows["in time"] == "channels are lined up: CatGT did"
    assert rows["left out"] == "51.00% of that: gap 50.00%, artifact 2.00%"
    assert rows["spans"].splitlines()[0] == "gap 0.000-0.500 s"
    assert rows["spans"].splitlines()[-1] == "and 2 more (--json lists all)"
    assert rows["a run takes"].startswith("about 1 h 2 min (")
    assert rows["a run takes"].endswith("without the estimate, the verdict and what the disk takes to write")
    assert rows["of which"] == "detect 1 min 30 s, apply 1 h, plot 3.0 s"
    assert "too little: 5 MB free at" in rows["disk"]
    assert info_rows({**facts, "mask": None})["left out"].startswith("not looked for")
