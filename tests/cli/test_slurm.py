"""submit against a real Slurm, which tasks go through a kill, a requeue and the end of their time."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import make_spikeglx
import small_recording

SLOW = Path(__file__).parents[1] / "slow_driftcli.py"
FAST = ("--preset", "rigid_fast", "--set", "estimate.bin_s=0.5")
SMALL = ("--jobs", 1, "--time", "10", "--mem", "600M")  # so that two tasks run at a time on any machine
LONGEST_S = 60
REQUEUED_S = 3  # until what is left of the first try is sure to be gone


def is_up():
    if shutil.which("sinfo") is None:
        return False
    done = subprocess.run(["sinfo", "-h", "-o", "%t"], capture_output=True, text=True, timeout=30)
    return done.returncode == 0 and any(state in done.stdout for state in ("idle", "mix", "alloc", "comp"))


pytestmark = pytest.mark.skipif(
    not is_up(), reason="NOT TESTED: no Slurm answers sinfo. As root: bash ../shared/slurm/up, then again"
)


def driftcli(*arguments):
    command = [sys.executable, "-m", "driftcli", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Chain:
    """Jobs that were submitted with --go; `folder` is that of the outputs."""

    def __init__(self, *arguments, folder, slow_s=0.0):
        program = f"{sys.executable} {SLOW} {slow_s}" if slow_s else f"{sys.executable} -m driftcli"
        told = driftcli("submit", *arguments, *SMALL, "--go", "--json", "--quiet", "--program", program)
        self.folder, self.jobs = folder, {job["name"]: job["number"] for job in json.loads(told)["jobs"]}
        self.requeued = {}

    def states(self):
        """Of all tasks, by `JOB_TASK` or `JOB`."""
        states = {}
        for number in self.jobs.values():
            told = subprocess.run(["scontrol", "show", "-o", "job", number], capture_output=True, text=True).stdout
            for line in told.splitlines():
                facts = dict(word.split("=", 1) for word in line.split() if "=" in word)
                task = facts.get("ArrayTaskId")
                states[number if task is None else f"{number}_{task}"] = facts
        return states

    def wait(self, name=None):
        """Until all tasks have ended well, or those of the job of that name."""

        def ended():
            states = self.states()
            ours = {task: facts for task, facts in states.items() if task.partition("_")[0] == self.jobs.get(name, "")}
            return all(facts["JobState"] == "COMPLETED" for facts in (ours or states).values())

        self.wait_until(ended)
        return self.states()

    def wait_until(self, happens):
        """Meanwhile what was requeued begins, before the two minutes are over that Slurm has it wait."""
        end = time.monotonic() + LONGEST_S
        while not happens():
            states = self.states()
            failed = {name for name, facts in states.items() if facts["JobState"] in ("FAILED", "CANCELLED", "TIMEOUT")}
            assert not failed, (failed, self.logs())
            assert time.monotonic() < end, (states, self.logs())
            for name, facts in states.items():
                if facts["JobState"] == "PENDING" and facts["Restarts"] != "0":
                    since = self.requeued.setdefault((name, facts["Restarts"]), time.monotonic())
                    if time.monotonic() > since + REQUEUED_S:
                        subprocess.run(["scontrol", "update", f"JobId={name}", "StartTime=now"], capture_output=True)
            time.sleep(0.1)

    def lock_at_work(self, output, shard, journal):
        """The lock of a shard that has done a block: who works on it."""
        place = self.folder / f".{output}.work"
        file = place / shard / f"{journal}.journal"
        self.wait_until(lambda: file.exists() and b"whole" in file.read_bytes())
        return json.loads((place / f"{shard}.lock").read_text())

    def logs(self, name=""):
        files = sorted((self.folder / "slurm").glob(f"driftcli-{name}*.out"))
        return "\n".join(f"{file.name}:\n{file.read_text()}" for file in files)

    def cancel(self):
        subprocess.run(["scancel", *self.jobs.values()], capture_output=True)


@pytest.fixture
def chain():
    """Makes chains, of which nothing is left behind."""
    made = []

    def make(*arguments, **options):
        made.append(Chain(*arguments, **options))
        return made[-1]

    yield make
    for each in made:
        each.cancel()


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    return small_recording.write(tmp_path_factory.mktemp("slurm") / "a b'$c", small_recording.samples(150_001))


@pytest.fixture(scope="module")
def single(recording):
    """The folder of the run that all chains have to equal."""
    binary, probe = recording
    driftcli("run", binary, "--probe", probe, *FAST, "--out", binary.with_name("single"), "--quiet")
    return binary.with_name("single")


NAMES = ("peaks.h5", "motion.h5", "corrected.bin", "probe.json")


def assert_same(single, folder, names=(*NAMES, "assessment.h5")):
    for name in names:
        assert (single / name).read_bytes() == (folder / name).read_bytes(), name
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_a_chain_of_four_shards_is_the_single_run(recording, single, tmp_path, chain):
    binary, probe = recording
    out = tmp_path / "o'ut #1 $x %j"
    jobs = chain(binary, "--probe", probe, *FAST, "--shards", 4, "--out", out, folder=out)
    states = jobs.wait()
    assert len(states) == 10  # and one job each to estimate and to plot
    assert_same(single, out)
    assert (out / "report.html").stat().st_size > 100_000
    log = json.loads((out / "run.json").read_text())["outputs"]
    assert log["peaks.h5"]["counts"]["blocks"]["shards"] == 4
    assert log["corrected.bin"]["counts"]["blocks"]["shards"] == 4
    assert len([*(out / "slurm").glob("driftcli-detect-*_?.out")]) == 4
    driftcli("verify", out)


def test_killed_requeued_and_at_the_end_of_their_time_tasks_go_on(recording, single, tmp_path, chain):
    """All in one chain, as each is a task of its own."""
    binary, probe = recording
    out = tmp_path / "out"
    jobs = chain(binary, "--probe", probe, *FAST, "--shards", 2, "--out", out, folder=out, slow_s=0.7)
    journal = "detect_and_localize"
    os.kill(jobs.lock_at_work("peaks.h5", "1-of-2", journal)["pid"], signal.SIGKILL)
    jobs.lock_at_work("peaks.h5", "2-of-2", journal)
    subprocess.run(["scontrol", "requeue", f"{jobs.jobs['detect']}_2"], check=True)
    jobs.wait("detect")
    jobs.lock_at_work("corrected.bin", "1-of-2", "apply")
    # what Slurm sends 120 s before the time is up
    subprocess.run(["scancel", "--signal=USR1", "--batch", f"{jobs.jobs['apply']}_1"], check=True)
    states = jobs.wait()
    restarts = {name: int(facts["Restarts"]) for name, facts in states.items()}
    detect, apply = jobs.jobs["detect"], jobs.jobs["apply"]
    of_arrays = {f"{detect}_1": 1, f"{detect}_2": 1, f"{apply}_1": 1, f"{apply}_2": 0}
    assert restarts == {**of_arrays, jobs.jobs["estimate"]: 0, jobs.jobs["plot"]: 0}
    assert_same(single, out)
    assert "it was killed" in jobs.logs("detect")
    assert "back into the queue: its time is nearly up" in jobs.logs("apply")
    assert "stopped by SIGTERM" in jobs.logs("apply")
    blocks = json.loads((out / "run.json").read_text())["outputs"]["peaks.h5"]["counts"]["blocks"]
    assert blocks["kept"] >= 2
    assert blocks["redone"] <= 2  # one thread each


def test_a_task_that_is_cancelled_does_not_come_back(recording, tmp_path, chain):
    binary, probe = recording
    out = tmp_path / "out"
    jobs = chain(binary, "--probe", probe, *FAST, "--shards", 2, "--out", out, folder=out, slow_s=1)
    jobs.lock_at_work("peaks.h5", "1-of-2", "detect_and_localize")
    jobs.cancel()
    end = time.monotonic() + 60
    while {facts["JobState"] for facts in jobs.states().values()} != {"CANCELLED"} and time.monotonic() < end:
        time.sleep(0.3)
    assert {facts["JobState"] for facts in jobs.states().values()} == {"CANCELLED"}
    assert {facts["Restarts"] for facts in jobs.states().values()} == {"0"}
    assert "back into the queue" not in jobs.logs()
    assert not (out / "peaks.h5").exists()


def test_what_no_node_can_do_is_not_submitted(recording, tmp_path):
    binary, probe = recording
    command = ("submit", binary, "--probe", probe, *FAST, "--shards", 2, "--out", tmp_path / "out", "--go")
    done = subprocess.run(
        [sys.executable, "-m", "driftcli", *map(str, command), "--time", "10", "--mem", "9000T"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 4
    assert "1-detect.sbatch: " in done.stderr
    assert "not available" in done.stderr
    assert "scancel" not in done.stderr  # there is nothing to take back


def test_a_spikeglx_pair_keeps_its_meta(tmp_path, chain):
    text = make_spikeglx.made_meta("NP1", saved=24)
    data = small_recording.samples(60_000)
    binary = make_spikeglx.make_spikeglx(tmp_path, text, np.column_stack([data, np.zeros(60_000, "<i2")]))
    driftcli("run", binary, *FAST, "--out", tmp_path / "single", "--quiet", "--bad-channels-out", "keep", "--no-report")
    out = tmp_path / "out"
    jobs = chain(binary, *FAST, "--shards", 2, "--out", out, "--bad-channels-out", "keep", "--no-report", folder=out)
    jobs.wait()
    names = sorted(path.name for path in (tmp_path / "single").iterdir() if path.name != "run.json")
    assert [name for name in names if name.endswith(".meta")]
    assert names == sorted(path.name for path in out.iterdir() if path.name not in ("run.json", "slurm"))
    for name in names:
        ours, theirs = ((folder / name).read_bytes().splitlines() for folder in (out, tmp_path / "single"))
        differ = [line for line in ours if line not in theirs]
        assert len(ours) == len(theirs)
        assert not [line for line in differ if not line.startswith(b"fileName=")], name  # it holds the folder


def test_a_list_of_recordings(tmp_path, chain):
    names = ("one", "t w'o", "three")
    for number, name in enumerate(names):
        small_recording.write(tmp_path, small_recording.samples(60_001, seed=number), name=name)
        driftcli("run", tmp_path / f"{name}.bin", "--probe", tmp_path / "one.json", *FAST, "-q", "--no-report",
                 "--out", tmp_path / "single" / name)  # fmt: skip
    (tmp_path / "all.txt").write_text("# of today\none.bin\n\n  t w'o.bin\n" + str(tmp_path / "three.bin") + "\n")
    before = ("--list", tmp_path / "all.txt", "--probe", tmp_path / "one.json", *FAST, "--no-report")
    jobs = chain(*before, folder=tmp_path / "all.driftcli")
    assert len(jobs.wait()) == 3
    for name in names:
        assert_same(tmp_path / "single" / name, tmp_path / f"{name}.driftcli", NAMES)
