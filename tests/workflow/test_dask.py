"""run on a Dask cluster of local processes: the same bytes, also where a worker is killed."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

import small_recording
from driftcli import presets
from driftcli.errors import OutputError, UsageError
from driftcli.lock import locked
from driftcli.recording.open import open_recording
from driftcli.reporter import Reporter
from driftcli.workflow.form import Form
from driftcli.workflow.run import run
from driftcli.workflow.shard import Shard
from driftcli.workflow.spread import Cluster, Spread, _in_plain_words, run_on_cluster
from driftcli.workflow.work import Work
from slow_driftcli import slow_down

try:
    import distributed
except ImportError:
    distributed = None

needs_dask = pytest.mark.skipif(
    distributed is None, reason="NOT TESTED: dask.distributed is not installed. pip install -e '.[dask]', then again"
)
CHANGES = ("estimate.bin_s=0.5", "detect.detect_threshold=6")
NAMES = ("peaks.h5", "motion.h5", "assessment.h5", "corrected.bin", "probe.json")


@pytest.fixture(scope="module")
def workers():
    """A cluster of two processes, and a client of it."""
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=2, processes=True, dashboard_address=None, silence_logs=50
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def how(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dask")
    binary, probe = small_recording.write(folder, small_recording.samples(150_001))
    return {"path": [binary], "probe": probe, "gain_to_uv": small_recording.GAIN_TO_UV}


@pytest.fixture
def recording(how):
    return open_recording(**how, reporter=Reporter())


@pytest.fixture
def settings():
    return presets.load("rigid_fast", CHANGES)


@pytest.fixture(scope="module")
def single(how):
    folder = how["path"][0].with_name("single")
    run(open_recording(**how, reporter=Reporter()), presets.load("rigid_fast", CHANGES), folder, Work(jobs=2))
    return folder


def assert_same(single, folder):
    for name in NAMES:
        assert (folder / name).read_bytes() == (single / name).read_bytes(), name
    pictures = {"report.html", "figures"}  # which the command draws
    assert {path.name for path in folder.iterdir()} - pictures == {*NAMES, "run.json"}


@needs_dask
def test_it_is_run_byte_for_byte(workers, recording, how, settings, single, tmp_path):
    heard = []

    class Hearing(Reporter):
        def message(self, text):
            heard.append(text)

        def progress(self, stage, done, total, recording_s=0.0):
            heard.append((stage, done, total))

    address, work = workers.scheduler.address, Work(reporter=Hearing())
    facts = run_on_cluster(address, 5, recording, how, settings, tmp_path / "out", work, Form(), jobs=1)
    assert_same(single, tmp_path / "out")
    assert [*facts] == ["detect", "estimate", "assess", "apply"]
    assert facts["detect"]["counts"]["blocks"]["shards"] == facts["apply"]["counts"]["blocks"]["shards"] == 5
    for stage, total in (("detect", 5), ("estimate", 1), ("apply", 5)):
        assert [each for each in heard if each[0] == stage] == [(stage, done, total) for done in range(total + 1)]
    messages = [each for each in heard if isinstance(each, str)]
    assert len(messages) == len(set(messages))
    assert not [each for each in messages if "no sampling frequency" in each or "shard" in each]
    with pytest.raises(OutputError, match="exists already"):
        run_on_cluster(address, 5, recording, how, settings, tmp_path / "out", Work(), Form())
    again = run_on_cluster(address, None, recording, how, settings, tmp_path / "out", Work(resume=True), Form())
    assert again["apply"]["counts"] == facts["apply"]["counts"]
    assert_same(single, tmp_path / "out")


@needs_dask
@pytest.mark.parametrize("output", ["peaks.h5", "corrected.bin"])
def test_what_a_killed_worker_did_another_one_goes_on_from(workers, how, recording, settings, single, tmp_path, output):
    workers.wait_for_workers(2, timeout=60)
    workers.run(slow_down, 0.5)
    out, done = tmp_path / "out", {}

    def work():
        done.update(run_on_cluster(workers.scheduler.address, 2, recording, how, settings, out, Work(), Form(), jobs=1))

    thread = threading.Thread(target=work)
    thread.start()
    journal = out / f".{output}.work/1-of-2" / ("apply" if output == "corrected.bin" else "detect_and_localize")
    end = time.monotonic() + 60
    while not (has_blocks(journal.with_suffix(".journal"), 2)) and time.monotonic() < end:
        time.sleep(0.02)
    pids = workers.run(os.getpid)
    key = next(key for keys in workers.processing().values() for key in keys)
    address = next(where for where, keys in workers.processing().items() if keys)
    os.kill(pids[address], signal.SIGKILL)
    thread.join(90)
    assert not thread.is_alive(), key
    assert_same(single, out)
    verb = "apply" if output == "corrected.bin" else "detect"
    assert done[verb]["counts"]["blocks"]["shards"] == 2
    if verb == "detect":
        assert done[verb]["counts"]["blocks"]["kept"] >= 1
    workers.wait_for_workers(2, timeout=60)
    assert pids != workers.run(os.getpid)


def has_blocks(path, count):
    return path.exists() and path.read_bytes().count(b"whole") >= count


@needs_dask
def test_the_command_ends_cleanly_and_calls_its_tasks_off(workers, how, tmp_path, single):
    workers.wait_for_workers(2, timeout=60)
    workers.run(slow_down, 1)
    out = tmp_path / "out"
    command = [
        *(sys.executable, "-m", "driftcli", "run", how["path"][0], "--probe", how["probe"], "--preset", "rigid_fast"),
        *("--set", CHANGES[0], "--set", CHANGES[1], "--gain-to-uv", str(small_recording.GAIN_TO_UV), "--out", out),
        *("--scheduler", workers.scheduler.address, "--jobs", "1"),
    ]
    process = subprocess.Popen([*map(str, command)], stderr=subprocess.PIPE, text=True)
    journal = out / ".peaks.h5.work/1-of-2/detect_and_localize.journal"
    end = time.monotonic() + 60
    while not has_blocks(journal, 1) and time.monotonic() < end:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 143, told
    assert "stopped by SIGTERM" in told
    assert "Traceback" not in told
    while [*out.rglob("*.lock")] and time.monotonic() < end:  # the workers end with the block that they are at
        time.sleep(0.05)
    assert not [*out.rglob("*.lock")]
    assert not has_blocks(journal, 5)
    workers.run(slow_down, 0)
    done = subprocess.run([*map(str, command), "--resume"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "× real time" in done.stdout
    assert_same(single, out)


@needs_dask
@pytest.mark.parametrize(
    ("jobs", "tasks", "shared"), [(None, 1, (2, 6e9)), (None, 2, (1, 3e9)), (None, 5, (1, 3e9)), (3, 5, (3, 3e9))]
)
def test_tasks_that_a_worker_does_at_a_time_share_its_threads_and_memory(workers, jobs, tasks, shared):
    """A worker has two threads, and does no more tasks at a time."""
    workers.wait_for_workers(2, timeout=60)
    spread = Spread({}, {}, Path(), Path(), Form(), jobs=jobs, max_memory_bytes=6e9)

    def told():
        work = spread.work(Reporter(), tasks)
        return work.jobs, work.max_memory_bytes

    assert workers.submit(told, pure=False).result(timeout=30) == shared


@needs_dask
def test_more_shards_than_workers_leave_each_task_its_share(workers, recording, how, settings, single, tmp_path):
    workers.wait_for_workers(2, timeout=60)
    run_on_cluster(workers.scheduler.address, 6, recording, how, settings, tmp_path / "out", Work(), Form())
    assert_same(single, tmp_path / "out")
    log = json.loads((tmp_path / "out/run.json").read_text())["outputs"]
    assert {name: facts["jobs"] for name, facts in log.items()} == {
        "peaks.h5": 1,
        "motion.h5": 2,
        "assessment.h5": 2,
        "corrected.bin": 1,
    }


@needs_dask
def test_a_lock_that_is_held_is_waited_for(workers, how, recording, settings, single, tmp_path):
    workers.wait_for_workers(2, timeout=60)
    out, done = tmp_path / "out", {}
    place = out / ".peaks.h5.work"
    place.mkdir(parents=True)

    def work():
        done.update(
            run_on_cluster(workers.scheduler.address, 2, recording, how, settings, out, Work(resume=True), Form())
        )

    thread = threading.Thread(target=work)
    with locked(place / "1-of-2.lock", "shard 1/2"):
        thread.start()
        end = time.monotonic() + 60
        while not (place / "2-of-2").exists() and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(1.5)
        assert thread.is_alive()
        assert not (place / "1-of-2").exists()
    thread.join(90)
    assert [*done] == ["detect", "estimate", "assess", "apply"]
    assert_same(single, out)


@needs_dask
def test_a_task_that_fails_is_not_tried_again(workers, tmp_path):
    workers.wait_for_workers(2, timeout=60)

    def fails(_spread, part):
        with (tmp_path / "tries").open("a") as file:
            file.write(f"{part}\n")
        raise OutputError("the disk is full")

    cluster = Cluster(workers, workers.scheduler.address)
    with pytest.raises(OutputError, match="the disk is full"):
        cluster._do("detect", fails, None, [Shard(1, 2)], Reporter())
    assert (tmp_path / "tries").read_text() == "1/2\n"


@needs_dask
def test_errors_of_workers_are_those_of_run(workers, how, recording, tmp_path):
    high = presets.load("rigid_fast", [*CHANGES, "detect.detect_threshold=1000"])
    with pytest.raises(Exception, match="no peaks found") as caught:
        run_on_cluster(workers.scheduler.address, 2, recording, how, high, tmp_path / "out", Work(), Form())
    assert caught.value.exit_code == 3
    assert "detect_threshold" in caught.value.hint


@needs_dask
def test_a_cluster_that_gives_up_is_told_in_plain_words():
    lost = distributed.KilledWorker("detect_shard-1", SimpleNamespace(address="tcp://host:1"), 4)
    with pytest.raises(OutputError, match=r"lost several workers .* tcp://host:1"), _in_plain_words():
        raise lost
    with pytest.raises(OutputError, match="has gone away"), _in_plain_words():
        raise distributed.CancelledError


@needs_dask
def test_a_scheduler_that_is_not_there(recording, how, settings, tmp_path, monkeypatch):
    monkeypatch.setattr("driftcli.workflow.spread._ANSWERS_WITHIN_S", 1)
    for address in ("tcp://127.0.0.1:9", "nonsense://x"):
        with pytest.raises(UsageError, match="no Dask scheduler answers"):
            run_on_cluster(address, 2, recording, how, settings, tmp_path / "out", Work(), Form())


def test_without_the_extra_the_user_is_told_what_to_install(recording, how, settings, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UsageError) as caught:
        run_on_cluster("tcp://127.0.0.1:9", 2, recording, how, settings, tmp_path / "out", Work(), Form())
    assert caught.value.hint == "pip install 'driftcli[dask]'"


def test_shards_belong_to_a_scheduler(how):
    command = [sys.executable, "-m", "driftcli", "run", str(how["path"][0]), "--shards", "3"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "--scheduler" in done.stderr
