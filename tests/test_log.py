"""The log: what its lines hold, and that neither a foreign file nor a full disk is harmed or harms."""

import errno
import json
import os
import subprocess
import sys
import threading
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from driftcli.errors import OutputError, UsageError
from driftcli.log import Log


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log.jsonl"


@pytest.fixture
def told():
    return []


@pytest.fixture
def log(path, told):
    return Log(path, {"machine": "here"}, told.append)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_says_what_happened_and_when(log, path):
    log.message("a µ and a\nnew line")
    log.note("fallback", reason="no room", file=Path("/a/b"))
    log.end(0)
    begin, message, note, end = lines(path)
    assert (begin["event"], begin["format"], begin["machine"]) == ("begin", "driftcli log", "here")
    assert (message["event"], message["text"]) == ("message", "a µ and a\nnew line")
    assert (note["event"], note["reason"], note["file"]) == ("fallback", "no room", "/a/b")
    assert (end["event"], end["exit_code"]) == ("end", 0)
    for line in (begin, message, note, end):
        time = datetime.fromisoformat(line["time"])
        assert time.tzinfo is not None
        assert line["pid"] == os.getpid()
    assert begin["elapsed_s"] <= message["elapsed_s"] <= end["elapsed_s"] < 60


def test_facts_of_any_kind_are_json(log, path):
    facts = {
        "a": np.arange(3),
        "b": np.float32(0.5),
        "c": float("nan"),
        "d": {1: (True, None, np.inf)},
        "e": np.bool_(True),
        "f": "\udcff",
        "time": "not the line's",
    }
    log.note("facts", **facts)
    line = json.loads(path.read_text().splitlines()[-1], parse_constant=pytest.fail)
    assert [line[name] for name in "abcdef"] == [[0, 1, 2], 0.5, "nan", {"1": [True, None, "inf"]}, True, "\udcff"]
    assert line["time"].startswith("20")


def test_progress_is_told_at_each_tenth(log, path):
    for done in range(1001):
        log.progress("detect", done, 1000, done / 10)
    log.progress("apply", 0, 3)
    for done in (1, 2, 3):
        log.progress("apply", done, 3)
    log.progress("detect", 0, 1000)  # again
    log.progress("none", 0, 0)
    _, *progress = lines(path)
    detect, apply, again, none = progress[:11], progress[11:15], progress[15], progress[16]
    assert [line["done"] for line in detect] == list(range(0, 1001, 100))
    assert [line["state"] for line in detect] == ["began", *["goes on"] * 9, "ended"]
    assert detect[-1]["recording_s"] == 100
    assert 0 <= detect[0]["stage_s"] <= detect[-1]["stage_s"] < 60
    assert [(line["stage"], line["done"]) for line in apply] == [("apply", done) for done in range(4)]
    assert (again["state"], again["stage_s"]) == ("began", 0)
    assert (none["stage"], none["state"]) == ("none", "ended")
    assert len(progress) == 17


def test_an_error_comes_with_its_traceback(log, path):
    try:
        raise UsageError("no", "yes")
    except UsageError as error:
        log.end(2, error)
    end = lines(path)[-1]
    assert [end[name] for name in ("exit_code", "error", "message", "hint")] == [2, "UsageError", "no", "yes"]
    assert "test_log.py" in end["traceback"]
    log.message("of a thread that still runs")
    assert lines(path)[-1] == end


def test_it_is_appended_to_and_each_line_is_there_at_once(log, path, told):
    second = Log(path, {}, told.append)
    log.message("first")
    second.message("second")
    assert [line["event"] for line in lines(path)] == ["begin", "begin", "message", "message"]
    assert not told


def test_lines_of_threads_do_not_mix(log, path):
    def write(name):
        for number in range(200):
            log.note("of thread", name=name, number=number, filling="x" * 500)

    threads = [threading.Thread(target=write, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seen = [(line["name"], line["number"]) for line in lines(path)[1:]]
    assert sorted(seen) == [(name, number) for name in range(4) for number in range(200)]


def test_a_full_disk_is_told_once_and_the_log_goes_on(log, path, told, monkeypatch):
    write = os.write

    def short(descriptor, data):
        return write(descriptor, data[:20])

    def full(*_):
        raise OSError(errno.ENOSPC, "")

    for fault in (short, full, short, full):
        monkeypatch.setattr(os, "write", fault)
        log.message("lost")
    monkeypatch.setattr(os, "write", write)
    log.message("kept")
    assert told == [f"the log {path} misses lines: No space left on device; the work goes on"]
    assert json.loads(path.read_text().splitlines()[-1])["text"] == "kept"


def test_a_log_that_can_not_even_begin_is_refused(path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "")

    before = os.listdir("/proc/self/fd")
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OutputError, match="No space"):
        Log(path, {}, print)
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize("content", [b"\0\1\2\3" * 100, b"{}\n", b"\n", b'{"format": "driftcli run"}'])
def test_a_file_that_is_no_log_is_left_as_it_is(path, content):
    path.write_bytes(content)
    with pytest.raises(OutputError, match="no log of driftcli"):
        Log(path, {}, print)
    assert path.read_bytes() == content


def test_a_link_a_folder_and_a_pipe_are_refused(tmp_path):
    (tmp_path / "real").touch()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", ".", "pipe", "absent/log"):
        with pytest.raises(OutputError):
            Log(tmp_path / name, {}, print)
    assert not (tmp_path / "real").read_bytes()


def test_an_empty_file_becomes_a_log(path, told):
    path.touch()
    Log(path, {}, told.append)
    assert lines(path)[0]["event"] == "begin"


def test_the_log_of_a_killed_process_is_whole(path):
    code = (
        "import os, sys; from pathlib import Path; from driftcli.log import Log\n"
        "log = Log(Path(sys.argv[1]), {}, print); log.message('last'); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)]).returncode == -9
    assert [line["event"] for line in lines(path)] == ["begin", "message"]
