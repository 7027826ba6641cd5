"""`run.json`: what was done, with what, when and how long it took; the facts that the data files must not hold."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from driftcli import __version__
from driftcli.errors import OutputError
from driftcli.files import atomic
from driftcli.model import Settings

NAME = "run.json"
_LIBRARIES = ("numpy", "scipy", "numba", "h5py", "probeinterface")


class RunLog:
    """Facts of one output, added to the `run.json` of its folder when the output is whole."""

    def __init__(self, verb: str, output: Path, inputs: dict[str, Path], settings: Settings) -> None:
        self._output = output
        self._began = time.perf_counter()
        self.times_s: dict[str, float] = {}
        self.counts: dict[str, Any] = {}
        self.facts: dict[str, Any] = {
            "verb": verb,
            "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "inputs": {name: _describe(path) for name, path in inputs.items()},
            "preset": settings.to_dict(),
            "versions": _versions(),
        }
        _read(self._output.parent / NAME)  # a foreign file of that name is refused before work begins

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the time that the block takes to that of a stage."""
        began = time.perf_counter()
        yield
        self.times_s[stage] = self.times_s.get(stage, 0.0) + time.perf_counter() - began

    def write(self) -> dict[str, Any]:
        """Put the facts into `run.json`, beside those of the folder's other outputs, and return them."""
        self.times_s["total"] = time.perf_counter() - self._began
        times = {stage: round(seconds, 3) for stage, seconds in self.times_s.items()}
        facts = {**self.facts, "times_s": times, "counts": self.counts}
        path = self._output.parent / NAME
        log = _read(path)
        log["outputs"][self._output.name] = facts
        with atomic(path) as temporary:
            temporary.write_text(json.dumps(log, indent=2) + "\n", encoding="utf-8")
        return {"output": str(self._output), **facts}


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {"format": "driftcli run", "outputs": {}}
    try:
        log = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        log = None
    if not isinstance(log, dict) or log.get("format") != "driftcli run":
        raise OutputError(f"{path} was not written by driftcli", "move it away or name another folder with --out")
    return log


def _describe(path: Path) -> dict[str, Any]:
    status = path.stat()
    modified = datetime.fromtimestamp(status.st_mtime, timezone.utc).isoformat()
    return {"path": str(path.resolve()), "size_bytes": status.st_size, "modified": modified}


def _versions() -> dict[str, str]:
    return {
        "driftcli": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in _LIBRARIES},
    }
