"""Measure one command: its seconds, the MB of its largest process and of all its processes at once.

usage: measure.py COMMAND ...
Prints one line of JSON. The command runs below a process of its own that loads next to nothing: the system counts what
a process held when it started another one as memory of the other.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 1e6
_INTERVAL_S = 0.1  # between looks at the memory of all processes
_TOLD = 20000  # characters of standard error that are kept


class Usage(NamedTuple):
    """What a command took, its standard error's end, and whether it did what it should."""

    seconds: float
    largest_mb: float
    all_mb: float
    told: str
    failed: bool


def measured(command: list[str], environment: dict[str, str] | None = None) -> Usage:
    """Run a command below a lean process; `environment` is added to this one's."""
    launcher = [sys.executable, __file__, *command]
    done = subprocess.run(launcher, env={**os.environ, **(environment or {})}, stdout=subprocess.PIPE, check=True)
    usage = Usage(**json.loads(done.stdout))
    if usage.failed:
        print(f"failed: {' '.join(command)}\n{usage.told}", file=sys.stderr, flush=True)
    return usage


def copy_s(path: Path, folder: Path, cold: bool) -> float:
    """Seconds that `cp` of a file and the `sync` of the copy take."""
    settle(path, cold)
    copy = folder / "copy.bin"
    began = time.perf_counter()
    subprocess.run(["cp", str(path), str(copy)], check=True)
    descriptor = os.open(copy, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
    took = time.perf_counter() - began
    copy.unlink()
    return took


def settle(path: Path, cold: bool) -> None:
    """Read a file once, so that the system's cache holds what it can of it, or take it out of there."""
    buffer = bytearray(1 << 24)
    with path.open("rb", buffering=0) as file:
        if cold:
            os.fsync(file.fileno())  # pages that aren't on the disk would stay
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        else:
            while file.readinto(buffer):
                pass


def main() -> None:
    with tempfile.TemporaryFile() as told:
        began = time.perf_counter()
        process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=told)
        watch = _Watch(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        watch.stop()
        told.seek(max(told.tell() - _TOLD, 0))
        text = told.read().decode(errors="replace")
    largest_mb = usage.ru_maxrss * 1024 / 1e6
    print(json.dumps(Usage(seconds, largest_mb, max(largest_mb, watch.peak_mb), text, status != 0)._asdict()))


class _Watch(threading.Thread):
    """Looks at the memory of a process and all those below it, time and again."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.peak_mb, self._pid, self._done = 0.0, pid, threading.Event()
        self.start()

    def run(self) -> None:
        while not self._done.wait(_INTERVAL_S):
            self.peak_mb = max(self.peak_mb, sum(map(_resident_mb, _tree(self._pid))))

    def stop(self) -> None:
        self._done.set()
        self.join()


def _tree(root: int) -> list[int]:
    children = defaultdict(list)
    for name in os.listdir("/proc"):
        if name.isdigit() and (facts := _read(f"/proc/{name}/stat")):
            children[int(facts.rpartition(")")[2].split()[1])].append(int(name))  # behind the name: state, parent
    tree = [root]
    for pid in tree:
        tree += children[pid]
    return tree


def _resident_mb(pid: int) -> float:
    pages = _read(f"/proc/{pid}/statm")
    return int(pages.split()[1]) * _PAGE_MB if pages else 0.0


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:  # the process is gone
        return ""


if __name__ == "__main__":
    main()
