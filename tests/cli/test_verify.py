"""driftcli verify as a user meets it."""

import json
import subprocess
import sys

import pytest

import small_recording


def driftcli(*arguments):
    command = [sys.executable, "-m", "driftcli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """That of a run."""
    base = tmp_path_factory.mktemp("verify")
    binary, probe = small_recording.write(base, small_recording.samples(60_001))
    fast = ("--preset", "rigid_fast", "--set", "estimate.bin_s=0.5", "--gain-to-uv", "2.34375")
    done = driftcli("run", binary, "--probe", probe, *fast)
    assert done.returncode == 0, done.stderr
    return base / "rec.driftcli"


def test_all_is_well(folder):
    done = driftcli("verify", folder)
    assert done.returncode == 0, done.stderr
    lines = [line.split(maxsplit=2) for line in done.stdout.splitlines()]
    assert ["corrected.bin:", "checksums", "ok: 4 blocks"] in [[part.strip() for part in line] for line in lines]
    assert "WRONG" not in done.stdout
    assert "read corrected.bin: 100%" in done.stderr
    assert driftcli("verify", folder, "--quiet").stdout == ""


def test_a_bit_is_wrong(folder):
    binary = folder / "corrected.bin"
    content = binary.read_bytes()
    try:
        binary.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        done = driftcli("verify", folder, "--seed", 3)
        assert done.returncode == 5
        assert "WRONG: 1 of 4 blocks" in done.stdout
        assert "corrected.bin: 1 of 4 blocks" in done.stderr
        assert "samples 49152 to 60001" in done.stderr
        done = driftcli("verify", binary, "--json", "--quiet", "--places", 0, "--jobs", 1)
        assert done.returncode == 5
        told = json.loads(done.stdout)
        assert told["ok"] is False
        wrong = [each for each in told["findings"] if each["state"] == "wrong"]
        assert [(each["file"], each["check"]) for each in wrong] == [("corrected.bin", "checksums")]
        assert {each["file"] for each in told["findings"]} == {"corrected.bin", "probe.json"}
    finally:
        binary.write_bytes(content)


def test_an_input_that_moved_away(folder):
    recording = folder.with_name("rec.bin")
    away = recording.rename(recording.with_name("away.bin"))
    try:
        done = driftcli("verify", folder, "--places", 0)
        assert done.returncode == 0, done.stderr
        assert "can't be checked: cannot read" in done.stdout
        done = driftcli("verify", folder)
        assert done.returncode == 0, done.stderr
        assert "mount the recording" in " ".join(done.stdout.split())
        assert "WRONG" not in done.stdout
    finally:
        away.rename(recording)


def test_nothing_to_verify(tmp_path):
    done = driftcli("verify", tmp_path)
    assert done.returncode == 3
    assert "run.json" in done.stderr
    assert driftcli("verify", tmp_path, "--places", -1).returncode == 2
    done = driftcli("verify", tmp_path / "nonexist")
    assert done.returncode == 3
    assert "nonexist does not exist" in done.stderr
