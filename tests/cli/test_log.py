"""`--log FILE`, as a user meets it."""

import json
import os
import signal
import subprocess
import sys

import pytest

import small_recording

VERBS = ("run", "info", "detect", "estimate", "apply", "correct-peaks", "export", "import", "simulate")


def driftcli(*arguments, **variables):
    command = [sys.executable, "-m", "driftcli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env={**os.environ, **variables})


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def detect(tmp_path):
    binary, probe = small_recording.write(tmp_path, small_recording.samples(60_000))
    return ("detect", binary, "--probe", probe, "--preset", "rigid_fast", "--out", tmp_path / "out/peaks.h5")


def test_a_run_is_logged_from_its_beginning_to_its_end(detect, tmp_path):
    log = tmp_path / "log.jsonl"
    done = driftcli(*detect, "--log", log, "--quiet", SLURM_JOB_ID="42", SLURM_JWT="secret")
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")
    begin, *events, result, end = lines(log)
    assert begin["argv"][1:3] == ["detect", str(detect[1])]
    assert begin["cwd"] == os.getcwd()
    assert begin["environment"]["SLURM_JOB_ID"] == "42"
    assert "secret" not in log.read_text()
    assert {"numpy", "zlib"} < set(begin["versions"])
    assert begin["cpus_allotted"] >= 1
    recording = next(event for event in events if event["event"] == "recording")
    assert recording["facts"]["num_samples"] == 60_000
    assert recording["probe"] == str(detect[3])
    assert any("30000" in event.get("text", "") for event in events)  # told although --quiet is on
    assert [event["state"] for event in events if event["event"] == "progress"][-1] == "ended"
    assert result["facts"]["counts"]["peaks"] > 0
    assert (end["event"], end["exit_code"]) == ("end", 0)
    assert 0 < end["elapsed_s"] < 300


def test_an_error_is_logged_with_its_traceback_and_told_in_one_line(detect, tmp_path):
    log = tmp_path / "log.jsonl"
    for arguments, code, kind in (
        (("estimate", tmp_path / "absent.h5"), 3, "InputError"),
        ((*detect, "--jobs", "0"), 2, ""),  # what typer refuses
        ((*detect, "--set", "detect.nonsense=1"), 2, "UsageError"),
    ):
        done = driftcli(*arguments, "--log", log)
        assert (done.returncode, done.stderr.count("\n")) == (code, 1), done.stderr
        end = lines(log)[-1]
        assert (end["event"], end["exit_code"]) == ("end", code)
        assert kind in end["error"]
        assert "Traceback" in end["traceback"]
    assert [line["event"] for line in lines(log)].count("begin") == 3


def test_a_stop_is_logged(tmp_path):
    code = (
        "import os, signal, sys\n"
        "from driftcli.cli import main\n"
        "import driftcli.workflow.estimate as workflow\n"
        "workflow.estimate = lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM)\n"
        f"sys.argv = ['driftcli', 'estimate', 'p.npz', '--log', {str(tmp_path / 'log')!r}]\n"
        "main.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 128 + signal.SIGTERM, done.stderr
    end = lines(tmp_path / "log")[-1]
    assert (end["exit_code"], end["error"]) == (143, "Stopped")


def test_a_log_that_can_not_be_written_is_refused_before_work_begins(detect, tmp_path):
    before = detect[1].read_bytes()
    for log in (detect[1], tmp_path, tmp_path / "absent/log"):
        done = driftcli(*detect, "--log", log)
        assert (done.returncode, done.stderr.count("\n")) == (4, 1), done.stderr
    assert detect[1].read_bytes() == before
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_log(verb):
    assert "--log" in driftcli(verb, "--help", COLUMNS="200").stdout
