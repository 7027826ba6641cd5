"""`run.json`: what was done, with what, when and how long it took; the facts that the data files must not hold."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftcli.errors import OutputError
from driftcli.files import atomic, publish
from driftcli.lock import locked
from driftcli.model import CONTACT_LABELS, GOOD, Motion, Settings
from driftcli.recording.recording import Recording
from driftcli.reporter import Reporter
from driftcli.workflow.findings import digest_of_facts
from driftcli.workflow.identity import checksum_of, fingerprint, identity_of
from driftcli.workflow.machine import cpu_type, versions
from driftcli.workflow.work import RUN_LOG, Work

_LOCK, _WAIT_S = f".{RUN_LOG}.lock", 60.0


class RunLog:
    """Facts of one output, added to the `run.json` of its folder when the output is whole."""

    def __init__(
        self,
        verb: str,
        output: Path,
        inputs: dict[str, Path],
        settings: Settings,
        stages: Iterable[str],
        work: Work,
        *,
        recording: Recording | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """stages: those of the settings that the verb makes use of. options: what else changes the output."""
        self.output = output
        self._began = time.perf_counter()
        self.times_s: dict[str, float] = {}
        self.counts: dict[str, Any] = {}
        self.facts: dict[str, Any] = {
            "verb": verb,
            "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "command": sys.argv,
            "inputs": {name: _input(path, output) for name, path in inputs.items()},
            "preset": {stage: keys for stage, keys in settings.to_dict().items() if stage in set(stages)},
            "jobs": work.jobs,
            "chunk_s": work.chunk_s,
            "versions": versions(),
            "cpu": cpu_type(),
        }
        if recording is not None:
            self.facts["recording"] = describe_recording(recording)
        if options is not None:
            self.facts["options"] = dict(options)
        if work.mixed:
            self.facts["mixed"] = True  # what other machines did is to within 1 LSB what this one does
        self.identity = identity_of(self.facts)
        work.reporter.note("work", output=str(output), **self.facts)
        _read(output.parent / RUN_LOG)  # a foreign file of that name is refused before work begins

    @classmethod
    def of_shards(cls, output: Path, shards: Sequence[Mapping[str, Any]]) -> RunLog:
        """The log of an output that shards made together, from the facts of each: times are those of all of them."""
        log = cls.__new__(cls)
        log.output, log._began, log.counts = output, time.perf_counter(), {}
        of_shard = ("times_s", "counts", "blocks", "columns")
        log.facts = {key: value for key, value in shards[0].items() if key not in of_shard}
        log.identity = identity_of(log.facts)
        log.times_s = {}
        for shard in shards:
            for stage, seconds in shard["times_s"].items():
                log.times_s[stage] = log.times_s.get(stage, 0.0) + seconds
        return log

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the time that the block takes to that of a stage."""
        began = time.perf_counter()
        yield
        self.times_s[stage] = self.times_s.get(stage, 0.0) + time.perf_counter() - began

    def closed(self) -> dict[str, Any]:
        """All facts, with the times until now."""
        self.times_s["total"] = self.times_s.get("total", 0.0) + time.perf_counter() - self._began
        times = {stage: round(seconds, 3) for stage, seconds in self.times_s.items()}
        return {**self.facts, "times_s": times, "counts": self.counts}

    def write(self) -> dict[str, Any]:
        """Put the facts into `run.json`, beside those of the folder's other outputs, and return them."""
        facts = {**self.closed(), "checksums": _checksums_of(self.output)}
        add_to_run_log(self.output.parent, {self.output.name: facts})
        return {"output": str(self.output), **facts}


def add_to_run_log(folder: Path, outputs: Mapping[str, Mapping[str, Any]], aside: Path | None = None) -> None:
    """Put facts of outputs into the `run.json` of their folder, in place of older ones.

    aside: a folder on the same disk to write it in, so that a kill leaves nothing else beside the outputs.
    """
    with locked(folder / _LOCK, f"{folder / RUN_LOG}", _WAIT_S):  # two outputs of one folder may be whole at once
        _add(folder, outputs, aside)


def _add(folder: Path, outputs: Mapping[str, Mapping[str, Any]], aside: Path | None) -> None:
    log = _read(folder / RUN_LOG)
    known = json.dumps(log["outputs"])
    log["outputs"] |= {
        name: {**facts, "sha256_of_facts": digest_of_facts(name, facts)} for name, facts in outputs.items()
    }
    if json.dumps(log["outputs"]) == known and (folder / RUN_LOG).exists():
        return
    new = (folder if aside is None else aside) / RUN_LOG
    with atomic(new) as temporary:
        temporary.write_text(json.dumps(log, indent=2) + "\n", encoding="utf-8")
    if aside is not None:
        publish(new, folder / RUN_LOG)


def outputs_in_run_log(folder: Path) -> dict[str, dict[str, Any]]:
    """What the `run.json` of a folder says of the outputs there, by their names."""
    outputs: dict[str, dict[str, Any]] = _read(folder / RUN_LOG)["outputs"]
    return outputs


def _checksums_of(output: Path) -> dict[str, Any]:
    """Those of a file, or of all files in a folder."""
    files = sorted(path for path in output.rglob("*") if path.is_file()) if output.is_dir() else [output]
    return {file.relative_to(output.parent).as_posix(): checksum_of(file) for file in files}


def _input(path: Path, output: Path) -> dict[str, Any]:
    """The fingerprint of an input; what lies beside the output has no path but its name, and moves along with it.

    Of peaks and motions, which can be made again to the same bytes, the content counts and not when they were made.
    """
    known = fingerprint(path)
    if path.suffix == ".h5":
        known["sha256"] = checksum_of(path)["sha256"]
    beside = path.resolve().parent == output.parent.resolve()
    return {**known, "path": path.name} if beside else known


def _read(path: Path) -> dict[str, Any]:
    try:
        log = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {"format": "driftcli run", "outputs": {}}
    except (ValueError, RecursionError):
        log = None
    except OSError as error:
        raise OutputError(f"cannot read {path}: {error.strerror}", "check the folder and the disk") from error
    outputs = log.get("outputs") if isinstance(log, dict) and log.get("format") == "driftcli run" else None
    if not isinstance(outputs, dict) or not all(isinstance(facts, dict) for facts in outputs.values()):
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
        "bad_channels": None if recording.labels is None else _by_label(recording.labels),
    }


def _by_label(labels: NDArray[np.uint8]) -> dict[str, list[int]]:
    """The contacts that were called bad before anything was looked at, by what is wrong with them."""
    bad = [label for label in np.unique(labels) if label != GOOD]
    return {CONTACT_LABELS[label]: np.flatnonzero(labels == label).tolist() for label in bad}


def describe_motions(motions: Mapping[int, Motion]) -> dict[str, Any]:
    """How finely the motions of all shanks are sampled, how far they go, and how uncertain they are if that is known.

    deviation_um: median and largest standard deviation, of the shanks whose method tells it.
    """
    displacements = [motion.displacement_um for motion in motions.values()]
    deviations = [motion.deviation_um.ravel() for motion in motions.values() if motion.deviation_um is not None]
    described: dict[str, Any] = {
        "temporal_bins": max(len(motion.temporal_bins_s) for motion in motions.values()),
        "spatial_windows": sum(len(motion.spatial_bins_um) for motion in motions.values()),
        "displacement_um": [
            round(float(min(displacement.min() for displacement in displacements)), 3),
            round(float(max(displacement.max() for displacement in displacements)), 3),
        ],
    }
    if deviations:
        every_um = np.concatenate(deviations)
        described["deviation_um"] = {
            "median": round(float(np.median(every_um)), 3),
            "largest": round(float(every_um.max()), 3),
        }
    return described


def tell_of_mask(share: Mapping[str, float], reporter: Reporter) -> None:
    """Tell the user what share of the time the estimate leaves out, and why."""
    if share["any"]:
        by_reason = ", ".join(f"{name} {part:.2%}" for name, part in share.items() if part and name != "any")
        reporter.message(f"left out of the estimate: {share['any']:.2%} of the time ({by_reason})")
