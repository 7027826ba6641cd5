"""One process at a time: a lock file beside what is worked on.

The kernel holds the lock (flock) and lets go of it when the process ends, however it ends. So a file that a killed
process left is no lock, and the next process takes it. The content only says who holds it. Where the file system knows
no locks, the content has to do: it is then the file itself that locks, and a process that is found dead is passed over.
A file system that locks within one machine only (NFS or Lustre mounted that way) doesn't tell, so two machines can't
see each other there.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shlex
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from driftcli.errors import OutputError

_CAN_NOT_LOCK = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
_LOOK_AGAIN_S = 0.02
_LONGEST_BYTES = 2**16  # of a content that is believed


class Held(OutputError):  # noqa: N818 - it is a state, which callers ask for
    """Another process holds the lock."""


@contextmanager
def locked(path: Path, what: str, wait_s: float = 0.0) -> Iterator[None]:
    """Hold the lock file `path` while the block runs; its folder must be there.

    Raises Held if another process, or this one, holds it for longer than `wait_s`, and OutputError where no lock can
    be. what: the thing that is locked, for the message.
    """
    until = time.monotonic() + wait_s
    try:
        while True:
            try:
                descriptor = _take(path, what)
                break
            except Held:
                if time.monotonic() >= until:
                    raise
            time.sleep(_LOOK_AGAIN_S)
    except OSError as error:
        hint = "remove that link" if error.errno == errno.ELOOP else "check the folder and its permissions"
        raise OutputError(f"the lock file {path} can't be made: {error.strerror}", hint) from error
    try:
        yield
    finally:
        with suppress(OSError):  # a disk that has gone away lets nothing be removed, and needs no lock
            if _is(path, descriptor):
                path.unlink()  # while it is locked: once closed, it might be that of the next process
        os.close(descriptor)


def _take(path: Path, what: str) -> int:
    """Take the lock; returns the descriptor that holds it."""
    while True:
        descriptor, made = _open(path)
        try:
            if _claim(descriptor, made, path, what):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _open(path: Path) -> tuple[int, bool]:
    """A descriptor of the lock file, and whether this call made the file, which of several processes one does."""
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    while True:
        with suppress(FileExistsError):
            return os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o644), True
        with suppress(FileNotFoundError):  # its holder has just removed it
            return os.open(path, flags), False


def _claim(descriptor: int, made: bool, path: Path, what: str) -> bool:
    """Make the open file this process's lock; False: it is no longer the one that `path` names, so open it again."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _held(_read(descriptor), what) from None
    except OSError as error:
        if error.errno not in _CAN_NOT_LOCK:
            raise
        return _claim_by_content(descriptor, made, path, what)
    if not _is(path, descriptor):
        return False
    with suppress(OSError):  # a full disk: the lock is held all the same, and only who holds it remains unsaid
        _write(descriptor)
    return True


def _claim_by_content(descriptor: int, made: bool, path: Path, what: str) -> bool:
    """The same where nothing but the file locks: who made it holds it."""
    if made:
        try:
            _write(descriptor)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return True
    holder = _read(descriptor)
    if not _is_dead(holder):
        raise _held(holder, what, path)
    turn = path.with_name(f"{path.name}.turn")  # of several that find the holder dead, one at a time
    try:
        os.close(os.open(turn, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
    except FileExistsError:
        raise _held(holder, what, path) from None
    try:
        if _is(path, descriptor):
            path.unlink()
    finally:
        turn.unlink()
    return False


def _held(holder: dict[str, Any], what: str, path: Path | None = None) -> Held:
    """path: the lock file, if the user has to remove it should its process be dead."""
    who = "another process"
    if holder:
        who = f"process {holder.get('pid')} on {holder.get('host')} since {holder.get('since')}"
    hint = "wait until it ends, or write elsewhere with --out"
    if path is not None:
        hint += f"; if you know that it is dead, remove {path}"
    return Held(f"{what} is being worked on by {who}", hint)


def _is(path: Path, descriptor: int) -> bool:
    """Whether `path` still names the open file."""
    try:
        return os.path.samestat(os.lstat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _write(descriptor: int) -> None:
    """Say who holds the lock."""
    text = json.dumps(_self() | {"command": shlex.join(sys.argv), "since": _now()}).encode() + b"\n"
    os.ftruncate(descriptor, 0)
    written = os.pwrite(descriptor, text, 0)
    if written < len(text):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _read(descriptor: int) -> dict[str, Any]:
    """Who holds the lock; empty where the file doesn't say (yet)."""
    try:
        holder = json.loads(os.pread(descriptor, _LONGEST_BYTES, 0))
    except (OSError, ValueError, RecursionError):
        return {}
    return holder if isinstance(holder, dict) else {}


def _now() -> str:
    return datetime.now(timezone.utc).astimezone().isoformat(timespec="seconds")


def _self() -> dict[str, Any]:
    """This process, so that it can be told from any other, later ones of its number and those of containers too."""
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "boot": _boot(),
        "namespace": _namespace(),
        "began": _began(os.getpid()),
        "job": _job(),
        "requeued": _requeued(),
    }


def _is_dead(holder: dict[str, Any]) -> bool:
    """Whether the holder is sure to be gone: when in doubt, it is not."""
    here = _self()
    requeued = holder.get("requeued")
    same_job = bool(here["job"]) and holder.get("job") == here["job"]
    if same_job and isinstance(requeued, int) and here["requeued"] > requeued:
        return True  # a cluster starts a job again when its processes are gone, wherever they were
    pid = holder.get("pid")
    if any(holder.get(key) != here[key] for key in ("host", "boot", "namespace")) or not isinstance(pid, int):
        return False
    began = _began(pid)
    return began != holder.get("began") if began is not None else not _runs(pid)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _began(pid: int) -> int | None:
    """When a process of this machine began, in clock ticks since its boot; None if that can't be known."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return int(status.rpartition(")")[2].split()[19])  # the name, in brackets, may hold anything


def _boot() -> str:
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def _namespace() -> str:
    """In which the numbers of processes count; containers have their own."""
    with suppress(OSError):
        return os.readlink("/proc/self/ns/pid")
    return ""


def _job() -> str:
    """The Slurm job, and the task of its array, that this process belongs to; empty outside of Slurm."""
    if not os.environ.get("SLURM_JOB_ID"):
        return ""
    names = ("SLURM_CLUSTER_NAME", "SLURM_JOB_ID", "SLURM_ARRAY_TASK_ID")
    return "/".join(os.environ.get(name, "") for name in names)


def _requeued() -> int:
    """How often Slurm has started the job again."""
    count = os.environ.get("SLURM_RESTART_COUNT", "")
    return int(count) if count.isdecimal() else 0
