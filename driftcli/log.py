"""A log of every decision: a file of JSON lines, one an event, that is only ever appended to.

Each line holds `time` (ISO 8601 with ms and zone), `elapsed_s` since the log was opened, `pid` and `event`; what else
depends on the event. The first of a process is `begin`, the last is `end`. Several processes may write one file.
"""

from __future__ import annotations

import errno
import json
import math
import os
import stat
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from driftcli.errors import OutputError
from driftcli.files import write_error
from driftcli.reporter import Reporter

FORMAT = "driftcli log"
_FIRST_BYTES = 200  # of a file, in which its format stands
_STEPS = 10  # lines of progress for a stage


class Log(Reporter):
    """Writes what a reporter is told. A log that can't go on is no reason to stop work: that is told, once."""

    def __init__(self, path: Path, facts: Mapping[str, Any], tell: Callable[[str], None]) -> None:
        """Open the file, which is new or a log, and write `facts` of the process.

        tell: how to tell that a line could not be written. Raises OutputError if not even the first could.
        """
        self._path, self._tell = path, tell
        self._began = time.perf_counter()
        self._lock = threading.Lock()
        self._torn = self._told = self._closed = False
        self._stages: dict[str, tuple[float, int]] = {}  # when each began, and how many tenths of it are told
        self._descriptor = _open(path)
        try:
            self._append("begin", facts)
        except OSError as error:
            os.close(self._descriptor)
            raise write_error(path, error) from error

    def message(self, text: str) -> None:
        self.note("message", text=text)

    def progress(self, stage: str, done: float, total: float, recording_s: float = 0.0) -> None:
        """Only when a stage begins, at each tenth of it, and when it ends."""
        now = time.perf_counter()
        tenths = math.floor(_STEPS * done / total) if total else _STEPS
        began, told = self._stages.get(stage, (now, -1))
        if not done:
            began, told = now, -1
        if tenths <= told:
            return
        self._stages[stage] = began, tenths
        state = "began" if told < 0 and tenths < _STEPS else "ended" if tenths >= _STEPS else "goes on"
        facts = {"state": state, "done": done, "total": total, "recording_s": recording_s}
        self.note("progress", stage=stage, **facts, stage_s=round(now - began, 3))

    def note(self, event: str, **facts: Any) -> None:
        """Write a line. Facts may be paths, arrays and whatever else has a text, too."""
        try:
            self._append(event, facts)
        except OSError as error:
            if not self._told:
                self._told = True
                self._tell(f"the log {self._path} misses lines: {os.strerror(error.errno or 0)}; the work goes on")

    def end(self, exit_code: int, error: BaseException | None = None) -> None:
        """The last line: how the process ended, and where in the code an error came from. Closes the file."""
        facts: dict[str, Any] = {"exit_code": exit_code}
        if error is not None:
            facts |= {"error": type(error).__name__, "message": str(error), "hint": getattr(error, "hint", "")}
            facts["traceback"] = "".join(traceback.format_exception(error))
        self.note("end", **facts)
        with self._lock:
            self._closed = True
            os.close(self._descriptor)

    def _append(self, event: str, facts: Mapping[str, Any]) -> None:
        elapsed_s = round(time.perf_counter() - self._began, 3)
        head: dict[str, Any] = {"format": FORMAT} if event == "begin" else {}
        now = datetime.now(timezone.utc).astimezone().isoformat(timespec="milliseconds")
        head |= {"event": event, "time": now, "elapsed_s": elapsed_s, "pid": os.getpid()}
        line = json.dumps(head | {name: _plain(fact) for name, fact in facts.items() if name not in head}) + "\n"
        with self._lock:
            if self._closed:  # a thread that outlives the work
                return
            # one call for a line, so that those of several processes don't mix; a line that was cut off is ended first
            whole = ("\n" * self._torn + line).encode("ascii")
            written = os.write(self._descriptor, whole)
            self._torn = written < len(whole)
        if self._torn:
            raise OSError(errno.ENOSPC, "a line was cut off")


def _open(path: Path) -> int:
    """A descriptor to append to a file that is new, empty, or a log; no link is followed. Raises OutputError."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags, 0o644)
    except OSError as error:
        raise write_error(path, error) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode) or not _is_log(os.pread(descriptor, _FIRST_BYTES, 0)):
        os.close(descriptor)
        raise OutputError(f"{path} exists and is no log of driftcli", "give --log a new name")
    return descriptor


def _is_log(start: bytes) -> bool:
    return not start or start.startswith(json.dumps({"format": FORMAT})[:-1].encode("ascii"))


def _plain(fact: Any) -> Any:
    """A fact as JSON can hold it."""
    if isinstance(fact, float):
        return fact if math.isfinite(fact) else str(fact)
    if fact is None or isinstance(fact, bool | int | str):
        return fact
    if isinstance(fact, Mapping):
        return {str(name): _plain(value) for name, value in fact.items()}
    if isinstance(fact, list | tuple | set | frozenset):
        return [_plain(value) for value in fact]
    if hasattr(fact, "tolist"):  # what numpy holds
        return _plain(fact.tolist())
    return str(fact)
