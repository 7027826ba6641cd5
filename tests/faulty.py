"""Runs driftcli again and again, each time in a child process in which a system call kills it or goes wrong.

As a program it is a server: it imports driftcli once and forks for each request that it reads as a line of JSON, so
that a run costs little more than its work. Tests talk to it through
`Server`. Every call of `os` (and of `open`) that driftcli makes on files is counted; a fault strikes at the n-th.
"""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

# What changes something on a disk, and what reads.
WRITING = (
    "open", "write", "pwrite", "fsync", "replace", "rename", "link", "unlink", "rmdir", "mkdir", "ftruncate",
    "posix_fallocate",
)  # fmt: skip
READING = ("pread", "preadv", "readv", "read")
_SIZED = {"write": 1, "pwrite": 1}  # which argument holds the data


class Fault(NamedTuple):
    """What happens at the n-th call, counted from 1, of some functions of `os`; `open` is that of Python, too.

    kind: `kill` before the call, `torn` (half of the data are written, then it kills), `killed` after the call, `term`
    and `int` (the signal is sent), `short` (half of the data are written, and that is told), `error` (that `errno`),
    `gone` (a folder is moved away, as if its disk had vanished; what is open gives ESTALE), `none` (only counts).
    lasting: the fault strikes at each later call, too. below: only calls on files in this folder count.
    """

    kind: str = "none"
    at: int = 0
    calls: Sequence[str] = WRITING
    errno: int = errno.EIO
    lasting: bool = False
    below: str = ""


NO_FAULT = Fault()


class Done(NamedTuple):
    """How a run ended: its exit code (minus the number of a signal that killed it), what it said, and, of one that no
    fault could strike, how often it called each function: at all, and for files in the fault's folder."""

    code: int
    said: str
    calls: dict[str, list[int]]


class Server:
    """The other end. A context manager; the server ends with it."""

    def __init__(self, folder: Path) -> None:
        self._said, self._count = folder / "said.txt", folder / "count.txt"
        command = [sys.executable, __file__]
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def run(self, arguments: Sequence[Any], fault: Fault = NO_FAULT, timeout_s: float = 120) -> Done:
        """Run `driftcli ARGUMENTS` with that fault."""
        request = {
            "arguments": [str(each) for each in arguments],
            "fault": fault._asdict(),
            "said": str(self._said),
            "count": str(self._count),
            "timeout_s": timeout_s,
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._count.write_text("{}")
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
        return Done(code, self._said.read_text(errors="replace"), json.loads(self._count.read_text()))


class _Injector:
    """Puts itself before the functions of `os`."""

    def __init__(self, fault: Fault) -> None:
        self._fault, self.counts = fault, {name: [0, 0] for name in (*WRITING, *READING)}
        self._calls, self._lock, self._paths = 0, threading.Lock(), {}
        self._os = {name: getattr(os, name) for name in (*WRITING, *READING)}
        self._moved = False
        for name in (*WRITING, *READING):
            setattr(os, name, self._wrapped(name))
        plain = io.open

        def opened(file: Any, *arguments: Any, **named: Any) -> Any:
            return self._call("open", plain, file, *arguments, **named)

        io.open = opened  # pathlib's

    def _wrapped(self, name: str) -> Any:
        function = self._os[name]

        def call(*arguments: Any, **named: Any) -> Any:
            return self._call(name, function, *arguments, **named)

        return call

    def _call(self, name: str, function: Any, *arguments: Any, **named: Any) -> Any:
        if not self._strikes(name, arguments[0]):
            result = function(*arguments, **named)
        else:
            result = self._strike(name, function, *arguments, **named)
        if name == "open" and isinstance(result, int):
            self._paths[result] = os.fspath(arguments[0])
        return result

    def _strikes(self, name: str, what: Any) -> bool:
        fault = self._fault
        if fault.kind == "none":
            with self._lock:
                self.counts[name][0] += 1
                self.counts[name][1] += self._is_below(what)
            return False
        if name not in fault.calls and not (fault.kind == "gone" and self._moved):
            return False
        if fault.below and not self._is_below(what):
            return False
        with self._lock:
            self._calls += 1
            return self._calls == fault.at or (fault.lasting and self._calls > fault.at > 0)

    def _is_below(self, what: Any) -> bool:
        path = self._paths.get(what, "") if isinstance(what, int) else os.fspath(what)
        return os.path.abspath(path).startswith(self._fault.below)

    def _strike(self, name: str, function: Any, *arguments: Any, **named: Any) -> Any:
        kind = self._fault.kind
        if kind in ("torn", "short") and name in _SIZED:
            data = memoryview(arguments[_SIZED[name]]).cast("B")
            arguments = (arguments[0], data[: (len(data) + 1) // 2], *arguments[2:])
            written = function(*arguments, **named)
            if kind == "short":
                return written
            os.kill(os.getpid(), signal.SIGKILL)
        if kind in ("kill", "torn"):
            os.kill(os.getpid(), signal.SIGKILL)
        if kind in ("term", "int"):
            os.kill(os.getpid(), signal.SIGTERM if kind == "term" else signal.SIGINT)
        if kind == "gone":
            return self._gone(name, function, *arguments, **named)
        if kind == "error":
            raise OSError(self._fault.errno, os.strerror(self._fault.errno))
        result = function(*arguments, **named)
        if kind == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    def _gone(self, name: str, function: Any, *arguments: Any, **named: Any) -> Any:
        with self._lock:
            if not self._moved:
                self._moved = True
                self._os["rename"](self._fault.below, f"{self._fault.below}.gone")
        if isinstance(arguments[0], int):
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return function(*arguments, **named)


def _child(request: dict[str, Any]) -> int:
    """Run a command as driftcli's own entry does."""
    from driftcli.cli import main

    said = os.open(request["said"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for descriptor in (1, 2):
        os.dup2(said, descriptor)
    sys.argv = ["driftcli", *request["arguments"]]
    injector = _Injector(Fault(**request["fault"]))
    try:
        main.main()
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        Path(request["count"]).write_text(json.dumps(injector.counts))
    return 0


def serve() -> None:
    """Answer requests until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    import driftcli.workflow.run  # noqa: F401

    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if not child:
            code = 70
            try:
                code = _child(request)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        timer = threading.Timer(request["timeout_s"], os.kill, (child, signal.SIGKILL))
        timer.start()
        _, status = os.waitpid(child, 0)
        timer.cancel()
        timer.join()
        print(os.waitstatus_to_exitcode(status), file=answers, flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    serve()
