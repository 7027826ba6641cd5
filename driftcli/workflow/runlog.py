"""`run.json`: what was done, with what, when and how long it took; the facts that the data files must not hold."""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from driftcli import __version__
from driftcli.errors import OutputError
from driftcli.files import atomic
from driftcli.model import Motion, Settings
from driftcli.recording.recording import Recording
from driftcli.reporter import Reporter
from driftcli.workflow.work import RUN_LOG, Work

_LIBRARIES = ("numpy", "scipy", "numba", "h5py", "probeinterface")


class RunLog:
    """Facts of one output, added to the `run.json` of its folder when the output is whole."""

    def __init__(
        self, verb: str, output: Path, inputs: dict[str, Path], settings: Settings, stages: Iterable[str], work: Work
    ) -> None:
        """stages: those of the settings that the verb makes use of."""
        self._output = output
        self._began = time.perf_counter()
        self.times_s: dict[str, float] = {}
        self.counts: dict[str, Any] = {}
        self.facts: dict[str, Any] = {
            "verb": verb,
            "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "command": sys.argv,
            "inputs": {name: _describe(path) for name, path in inputs.items()},
            "preset": {stage: keys for stage, keys in settings.to_dict().items() if stage in set(stages)},
            "jobs": work.jobs,
            "chunk_s": work.chunk_s,
            "versions": _versions(),
        }
        _read(self._output.parent / RUN_LOG)  # a foreign file of that name is refused before work begins

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
        path = self._output.parent / RUN_LOG
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


def describe_recording(recording: Recording) -> dict[str, Any]:
    """What it takes to read a recording, or its correction, again."""
    gains = None if recording.gain_to_uv is None else np.unique(recording.gain_to_uv).tolist()
    return {
        "sampling_frequency_hz": recording.sampling_frequency_hz,
        "num_samples": recording.num_samples,
        "num_columns": recording.num_columns,
        "dtype": recording.dtype.name,
        "offset_bytes": recording.offset_bytes,
        "gain_to_uv": gains[0] if gains is not None and len(gains) == 1 else gains,
        "files": [
            {"name": part.path.name, "start": part.start, "stop": part.stop, "first_sample": part.first_sample}
            for part in recording.parts
        ],
        "breaks": recording.breaks.tolist(),
        "origin": recording.origin,
    }


def describe_motions(motions: Mapping[int, Motion]) -> dict[str, Any]:
    """How finely the motions of all shanks are sampled, and how far they go."""
    displacements = [motion.displacement_um for motion in motions.values()]
    return {
        "temporal_bins": max(len(motion.temporal_bins_s) for motion in motions.values()),
        "spatial_windows": sum(len(motion.spatial_bins_um) for motion in motions.values()),
        "displacement_um": [
            round(float(min(displacement.min() for displacement in displacements)), 3),
            round(float(max(displacement.max() for displacement in displacements)), 3),
        ],
    }


def tell_of_mask(share: Mapping[str, float], reporter: Reporter) -> None:
    """Tell the user what share of the time the estimate leaves out, and why."""
    if share["any"]:
        by_reason = ", ".join(f"{name} {part:.2%}" for name, part in share.items() if part and name != "any")
        reporter.message(f"left out of the estimate: {share['any']:.2%} of the time ({by_reason})")


def _describe(path: Path) -> dict[str, Any]:
    status = path.stat()
    modified = datetime.fromtimestamp(status.st_mtime, timezone.utc).isoformat()
    return {"path": str(path.resolve()), "size_bytes": status.st_size, "modified": modified}


@cache  # importlib looks for a library's metadata and parses all of it
def _versions() -> dict[str, str]:
    return {
        "driftcli": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in _LIBRARIES},
    }
