"""One process at a time: locks of living and dead processes, with and without a file system that can lock."""

import contextlib
import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest

from driftcli import lock
from driftcli.errors import OutputError
from driftcli.lock import locked

HOLD = """
import fcntl, sys
from pathlib import Path
from driftcli.lock import locked
if {no_locks}:
    def no_flock(*_): raise OSError(37, "No locks available")
    fcntl.flock = no_flock
with locked(Path({path!r}), "out"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / ".driftcli.lock"


@pytest.fixture(params=[False, True], ids=["flock", "content"])
def no_locks(request, monkeypatch):
    """Both file systems: one that locks, and one that doesn't."""
    if request.param:
        monkeypatch.setattr(fcntl, "flock", refuse(errno.ENOLCK))
    return request.param


def refuse(number):
    def flock(*_):
        raise OSError(number, os.strerror(number))

    return flock


@pytest.fixture
def hold(path, no_locks):
    """Starts another process that holds the lock."""
    holders = []

    def start():
        code = HOLD.format(path=str(path), no_locks=no_locks)
        holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        holders.append(holder)
        assert holder.stdout.readline() == b"held\n"
        return holder

    yield start
    for holder in holders:
        holder.kill()
        holder.communicate()


def test_the_file_says_who_holds_the_lock_and_goes_when_the_block_ends(path, no_locks):
    with locked(path, "out"):
        content = json.loads(path.read_text())
        assert content["pid"] == os.getpid()
        assert content["host"] == socket.gethostname()
        assert content["since"].startswith("20")
        assert os.path.basename(sys.argv[0]) in content["command"]
    assert not path.exists()
    with pytest.raises(ZeroDivisionError), locked(path, "out"):
        raise ZeroDivisionError
    assert not path.exists()


def test_no_descriptor_is_left_open(path, no_locks):
    before = os.listdir("/proc/self/fd")
    with locked(path, "out"), pytest.raises(OutputError), locked(path, "out"):
        pass
    assert os.listdir("/proc/self/fd") == before


def test_another_process_is_refused_until_the_first_ends(path, hold):
    holder = hold()
    with (
        pytest.raises(OutputError, match=f"out is being worked on by process {holder.pid} on .+ since 20") as refused,
        locked(path, "out"),
    ):
        pass
    assert refused.value.hint.startswith("wait until it ends, or write elsewhere with --out")
    assert path.exists()
    holder.communicate()
    assert holder.returncode == 0
    assert not path.exists()
    with locked(path, "out"):
        pass


def test_the_lock_of_a_killed_process_is_taken(path, hold):
    holder = hold()
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert json.loads(path.read_text())["pid"] == holder.pid
    with locked(path, "out"):
        assert json.loads(path.read_text())["pid"] == os.getpid()
    assert not list(path.parent.iterdir())


def test_the_same_process_can_not_take_it_twice(path, no_locks):
    with locked(path, "out"):
        with pytest.raises(OutputError, match=f"process {os.getpid()} "), locked(path, "out"):
            pass
        assert path.exists()


def test_of_many_threads_one_at_a_time_is_in(path, no_locks):
    inside, most, entered = 0, 0, 0

    def try_often():
        nonlocal inside, most, entered
        for _ in range(100):
            try:
                with locked(path, "out"):
                    inside += 1
                    most, entered = max(most, inside), entered + 1
                    inside -= 1
            except OutputError:
                pass

    threads = [threading.Thread(target=try_often) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert entered >= 4
    assert not list(path.parent.iterdir())


def test_a_lock_that_was_removed_while_it_was_taken_is_taken_again(path, monkeypatch):
    """The holder unlinks its file between our opening it and our locking it: we would hold a file without a name."""
    path.write_text("")
    flock, inodes = fcntl.flock, []

    def race(descriptor, how):
        inodes.append(os.fstat(descriptor).st_ino)
        if len(inodes) == 1:
            path.unlink()
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", race)
    with locked(path, "out"):
        assert len(inodes) == 2
        assert path.stat().st_ino == inodes[1]


def test_a_file_that_another_process_put_there_is_not_removed(path, no_locks):
    with locked(path, "out"):
        path.rename(path.with_name("kept"))
        path.write_text("of another process")
    assert path.read_text() == "of another process"


@pytest.mark.parametrize("content", ["", "not json", "[]", '{"pid": "x"}', '{"pid": 1}', "[" * 60_000])
def test_a_content_that_says_nothing_is_no_obstacle_where_the_kernel_locks(path, content, monkeypatch):
    path.write_text(content)
    with locked(path, "out"):
        pass
    path.write_text(content)
    monkeypatch.setattr(fcntl, "flock", refuse(errno.EOPNOTSUPP))
    with pytest.raises(OutputError) as refused, locked(path, "out"):
        pass
    assert str(path) in refused.value.hint
    assert path.read_text() == content


def test_a_link_is_not_followed(path, tmp_path):
    target = tmp_path / "precious"
    target.write_text("precious")
    path.symlink_to(target)
    with pytest.raises(OutputError, match="can't be made") as refused, locked(path, "out"):
        pass
    assert "link" in refused.value.hint
    assert target.read_text() == "precious"


def test_a_folder_that_is_not_there_or_an_odd_fault_is_told(tmp_path, path, monkeypatch):
    with pytest.raises(OutputError, match="No such file"), locked(tmp_path / "absent/lock", "out"):
        pass
    monkeypatch.setattr(fcntl, "flock", refuse(errno.EIO))
    with pytest.raises(OutputError, match="error"), locked(path, "out"):
        pass


def test_a_full_disk_keeps_nobody_from_a_lock_of_the_kernel(path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with locked(path, "out"):
        assert path.read_text() == ""
        with pytest.raises(OutputError, match="by another process"), locked(path, "out"):
            pass
    monkeypatch.setattr(fcntl, "flock", refuse(errno.ENOSYS))
    with pytest.raises(OutputError, match="No space"), locked(path, "out"):
        pass
    assert not path.exists()


@pytest.fixture
def left(path, monkeypatch):
    """Leaves a lock whose content differs from that of this process, where the file system can't lock."""
    for name in ("SLURM_CLUSTER_NAME", "SLURM_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_RESTART_COUNT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(fcntl, "flock", refuse(errno.ENOLCK))

    def leave(**changes):
        path.write_text(json.dumps({**lock._self(), "since": "2024-01-01T00:00:00+00:00", **changes}))

    return leave


def is_taken(path):
    with contextlib.suppress(OutputError), locked(path, "out"):
        return True
    with pytest.raises(OutputError) as refused, locked(path, "out"):
        pass
    assert f"remove {path}" in refused.value.hint
    return False


def test_a_later_process_of_the_same_number_is_another_one(left, path):
    left()
    assert not is_taken(path)
    left(began=1)
    assert is_taken(path)


@pytest.mark.parametrize("elsewhere", [{"host": "other"}, {"boot": "other"}, {"namespace": "pid:[1]"}])
def test_a_process_elsewhere_may_live(left, path, elsewhere):
    left(**elsewhere, pid=2**22 + 1, began=1)
    assert not is_taken(path)
    assert path.exists()


def test_where_proc_tells_nothing_the_number_does(left, path, monkeypatch):
    monkeypatch.setattr(lock, "_began", lambda _: None)
    left()
    assert not is_taken(path)
    left(pid=2**22 + 1)  # above the highest number of a process
    assert is_taken(path)
    left(pid=2**80)
    assert not is_taken(path)


def test_a_job_that_slurm_started_again_is_alone(left, path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    left(host="other")
    assert not is_taken(path)  # a step of the same job on another node
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    left(host="other", requeued=0)
    assert is_taken(path)
    left(host="other", requeued=1)
    assert not is_taken(path)
    left(host="other", requeued=0, job="/17/4")
    assert not is_taken(path)


def test_two_that_find_a_dead_one_do_not_both_take_it(left, path, monkeypatch):
    """Between our finding it dead and our moving it aside another process has taken it: that one keeps it."""
    left(began=1)
    is_dead = lock._is_dead

    def slow(holder):
        dead = is_dead(holder)
        if dead:
            path.unlink()
            left()
        return dead

    monkeypatch.setattr(lock, "_is_dead", slow)
    assert not is_taken(path)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
