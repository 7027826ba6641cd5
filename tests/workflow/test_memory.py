"""Memory, open files and threads of a run stay within bounds, however long the recording is."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import small_recording
from driftcli import presets
from driftcli.errors import UsageError
from driftcli.recording.mtscomp import CompressedSamples
from driftcli.recording.open import open_recording
from driftcli.reporter import Reporter
from driftcli.workflow.learn import most_bytes
from driftcli.workflow.memory import streaming_bytes, within_memory
from driftcli.workflow.work import Work
from make_cbin import make_cbin

# Runs the program, while a thread of this script counts; the last line of standard output is what it took at most.
WATCHED = """
import json, os, sys, threading, time
from driftcli.cli import main

def watch():
    while not stop.wait(0.005):
        most["files"] = max(most["files"], len(os.listdir("/proc/self/fd")))
        most["threads"] = max(most["threads"], threading.active_count() - 1)

most, stop = {"files": 0, "threads": 0}, threading.Event()
watcher = threading.Thread(target=watch)
watcher.start()
try:
    main.app(sys.argv[1:], standalone_mode=False)
finally:
    stop.set()
    watcher.join()
status = open("/proc/self/status").read()
print(json.dumps({**most, "bytes": 1024 * int(status.split("VmHWM:")[1].split()[0])}))
"""
FAST = ("--preset", "rigid_fast", "--set", "estimate.bin_s=0.5", "--quiet")


def taken(folder, num_samples, num_contacts, *options):
    """What a run took at most of memory, open files and threads."""
    spikes = np.tile(small_recording.samples(90_000), (-(-num_samples // 90_000), num_contacts // 24))[:num_samples]
    noise = np.random.default_rng(0).integers(-3, 4, spikes.shape, dtype="<i2")
    binary, probe = small_recording.write(folder, spikes + noise)
    command = [sys.executable, "-c", WATCHED, "run", binary, "--probe", probe, *FAST, *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(("limit_mb", "jobs"), [(360, 1), (460, 2)])
def test_a_run_stays_within_the_memory_it_may_take(tmp_path, limit_mb, jobs):
    most = taken(tmp_path, 300_000, 384, "--max-memory", f"{limit_mb}MB", "--jobs", 8)
    assert most["bytes"] <= limit_mb * 1e6
    facts = json.loads((tmp_path / "rec.driftcli/run.json").read_text())["outputs"]
    assert {facts[name]["jobs"] for name in ("peaks.h5", "corrected.bin")} == {jobs}
    assert ("report.html" in facts) == (limit_mb > 400)  # pictures would take more


def test_files_and_threads_are_bounded_and_memory_does_not_grow(tmp_path):
    short, long = (taken(tmp_path / str(n), n, 96, "--jobs", 3, "--no-report") for n in (180_000, 900_000))
    for most in (short, long):
        assert most["files"] <= 40
        assert most["threads"] <= 2 + 3
    assert long["bytes"] <= short["bytes"] + 20e6
    assert long["bytes"] <= streaming_bytes(opened(tmp_path / "900000"), 3)


def opened(folder):
    return open_recording(folder / "rec.bin", probe=folder / "rec.json", reporter=Reporter())


def test_threads_are_as_many_as_memory_allows(tmp_path, reporter):
    small_recording.write(tmp_path, np.zeros((1000, 384), "<i2"))
    recording = opened(tmp_path)
    four, one = (streaming_bytes(recording, jobs) for jobs in (4, 1))
    assert within_memory(Work(jobs=8), recording).jobs == 8
    assert within_memory(Work(jobs=4, max_memory_bytes=four), recording).jobs == 4
    assert within_memory(Work(jobs=9, max_memory_bytes=four, reporter=reporter), recording).jobs == 4
    assert reporter.messages == [f"4 threads instead of 9, to stay within the {four / 1e6:.3g} MB of --max-memory"]
    assert streaming_bytes(recording, 1, "float32") > one
    with pytest.raises(UsageError, match="one thread takes about") as caught:
        within_memory(Work(jobs=2, max_memory_bytes=one - 1), recording)
    assert "--max-memory" in caught.value.hint


def test_chunks_that_are_kept_count(tmp_path):
    binary, probe = small_recording.write(tmp_path, np.zeros((60_000, 48), "<i2"))
    plain = streaming_bytes(open_recording(binary, probe=probe, reporter=Reporter()), 2)
    cbin = make_cbin(Path(tmp_path / "rec.cbin"), np.zeros((60_000, 48), "<i2"), length=30_000)
    compressed = open_recording(cbin, probe=probe, reporter=Reporter())
    held = CompressedSamples.open(cbin).held_bytes
    assert held >= 2 * 30_000 * 48 * 2
    assert streaming_bytes(compressed, 2) == plain + held


def test_what_fitted_weights_take_counts(tmp_path, reporter):
    """Snippets before anything is written, and the weights while it is."""
    small_recording.write(tmp_path, np.zeros((1000, 384), "<i2"))
    recording = opened(tmp_path)
    fitted, other = (most_bytes(recording, presets.load(name)) for name in ("likelihood", "rigid_fast"))
    assert other == (0, 0)
    peaks, around = 200 * (3830 / 10 + 1), 26  # contacts every 10 µm, within 130 µm
    assert 0.9 < fitted.before / (peaks * around * 88) < 1.1
    assert fitted.on == 61 * 384**2 * 4
    with_them, without = (streaming_bytes(recording, 1, None, each) for each in (fitted, other))
    assert with_them > without + fitted.on
    allowed = Work(jobs=1, max_memory_bytes=without, reporter=reporter)
    assert within_memory(allowed, recording).jobs == 1
    with pytest.raises(UsageError, match="one thread takes"):
        within_memory(allowed, recording, None, fitted)
