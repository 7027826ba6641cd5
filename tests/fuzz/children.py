"""Runs of `run.py` in child processes, so that an input that kills or hangs its reader is told like any other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

RUN = Path(__file__).with_name("run.py")
_SECONDS_OF_AN_INPUT = 60  # far beyond the limit that a child holds itself, for code that no signal reaches


def read_spoiled(name: str, seed: int, first: int, count: int) -> dict[str, Any]:
    """Have a child read inputs `first` to `first + count`; goes on after one that kills it.

    Returns the reader's name, how many inputs were read, how many were refused, and the failures.
    """
    total: dict[str, Any] = {"reader": name, "inputs": 0, "refused": 0, "failures": []}
    stop = first + count
    with tempfile.NamedTemporaryFile(prefix="fuzz_progress") as progress:
        while first < stop:
            part = _child(name, seed, first, stop - first, Path(progress.name))
            for key in ("inputs", "refused", "failures"):
                total[key] += part[key]
            first = part.get("next", stop)
    return total


def _child(name: str, seed: int, first: int, count: int, progress: Path) -> dict[str, Any]:
    progress.write_text(str(first))
    command = [sys.executable, str(RUN), name, *map(str, (seed, first, count))]
    environment = os.environ | {"FUZZ_PROGRESS": str(progress), "PYTHONWARNINGS": "ignore"}
    child = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    reached = ""
    while True:
        try:
            out, told = child.communicate(timeout=_SECONDS_OF_AN_INPUT)
            ended = f"ended with {child.returncode}: {told[-500:]}"
            break
        except subprocess.TimeoutExpired:
            if progress.read_text() == reached:
                child.kill()
                child.communicate()
                ended = f"hung for {_SECONDS_OF_AN_INPUT} s"
                break
            reached = progress.read_text()
    if not child.returncode:
        found: dict[str, Any] = json.loads(out.splitlines()[-1])
        return found
    number = int(progress.read_text())
    failure = {"reader": name, "seed": seed, "number": number, "wrong": ended}
    return {"inputs": number + 1 - first, "refused": 0, "failures": [failure], "next": number + 1}
