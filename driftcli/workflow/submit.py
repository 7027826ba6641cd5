"""submit: the jobs that share a recording's work out on a cluster, or many recordings, and what each of them needs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from driftcli.errors import DriftcliError, InputError, OutputError, UsageError
from driftcli.files import require_room
from driftcli.model import Settings
from driftcli.recording.recording import Recording
from driftcli.workflow.assess import ESTIMATES
from driftcli.workflow.cost import Looked, cost_of
from driftcli.workflow.estimate import foresee_memory
from driftcli.workflow.form import Form
from driftcli.workflow.info import look
from driftcli.workflow.plot import PLOT_BYTES
from driftcli.workflow.portion import portions_of, work_folder
from driftcli.workflow.run import default_folder, needed_bytes, taken_bytes
from driftcli.workflow.shard import in_words
from driftcli.workflow.slurm import Filled, Job, Needs, time_limit
from driftcli.workflow.steps import refuse_traces
from driftcli.workflow.work import ASSESSMENT, MOTION, PEAKS, Work, check_outputs

DEFAULT_CPUS = 4
DEFAULT_SHARDS = 16
TIME_MARGIN = 3.0
"""Nodes may be slower than this machine, and busy; tasks that are too slow go on where they were, but no estimate."""
MEMORY_MARGIN = 1.5
"""A task that takes more than it asked for is killed, and would be again."""
_DISK_BYTES_PER_S = 50e6  # of a network disk that many tasks share: each byte is read, written and read back
_BEGIN_S = 60.0  # to start Python on a busy node and compile kernels
_LEAST_S = 600.0
_UNKNOWN_ESTIMATE_S = 3600.0  # where the blocks that were tried hold too few peaks to tell
_PEAKS_IN_MEMORY = 3  # times their size, where merge selects among them
_MOST_TOLD = 8
_SHARED, _ALONE = "work that is shared out needs", "driftcli run on one machine"
RECORDING, FOLDER = Filled("$recording"), Filled("$folder")
"""What the command of a task for a recording of a list has for its names."""


@dataclass(frozen=True)
class Wanted:
    """What the user says that a task needs; None: as the cost model says."""

    cpus: int | None = None
    time: str | None = None
    memory: str | None = None

    def needs(self, work_s: float, memory_bytes: float) -> Needs:
        """Of a task that is predicted to work so long and to take so much."""
        time_s = max(_LEAST_S, TIME_MARGIN * (_BEGIN_S + work_s))
        memory_mb = 100 * math.ceil(MEMORY_MARGIN * memory_bytes / 1e8)
        return Needs(self.cpus or DEFAULT_CPUS, self.time or time_limit(time_s), self.memory or f"{memory_mb}M")


@dataclass(frozen=True)
class Cost:
    """What the whole work is predicted to take: seconds, and bytes of memory and disk.

    look_s: of `detect_s`, what each shard does for itself before it begins.
    """

    look_s: float = 0.0
    detect_s: float = 0.0
    estimate_s: float = 0.0
    apply_s: float = 0.0
    streaming_bytes: float = 0.0
    estimate_bytes: float = 0.0
    read_s: float = 0.0
    write_s: float = 0.0
    assess_s: float = 0.0
    plot_s: float = 0.0

    @classmethod
    def of(cls, recording: Recording, settings: Settings, folder: Path, work: Work, form: Form) -> Cost:
        """By trying the work on this machine, with as many threads as a task has CPUs."""
        _, looked = look(recording, settings, work)
        if looked is None:
            raise InputError("no contact of the recording is good", "see why with driftcli info")
        tried = cost_of(recording, settings, looked, folder, work, dtype=form.dtype, shanks=form.shanks)
        cost = cls._of_trial(recording, looked, tried)
        plot_s = tried["time_s"]["plot"] if form.report else 0.0
        return replace(cost, assess_s=ESTIMATES * cost.estimate_s if form.assessed else 0.0, plot_s=plot_s)

    @classmethod
    def _of_trial(cls, recording: Recording, looked: Looked, tried: Mapping[str, Any]) -> Cost:
        time_s, memory, disk = tried["time_s"], tried["memory_bytes"], tried["disk_bytes"]
        size_bytes = recording.num_samples * recording.num_columns * np.dtype(recording.dtype).itemsize
        return cls(
            looked.seconds,
            time_s["detect"],
            _UNKNOWN_ESTIMATE_S if time_s["estimate"] is None else time_s["estimate"],
            time_s["apply"],
            memory["streaming"],
            memory["streaming"] + memory["estimate"] + _PEAKS_IN_MEMORY * disk["peaks"],
            size_bytes / _DISK_BYTES_PER_S,
            disk["corrected"] / _DISK_BYTES_PER_S,
        )

    def needs(self, wanted: Wanted, shards: int) -> dict[str, Needs]:
        """Of a task of each job. Any task of apply may be the last one, which reads back what all have written."""
        detect_s = self.look_s + (self.detect_s - self.look_s + self.read_s) / shards
        apply_s = (self.apply_s + self.read_s + self.write_s) / shards + self.write_s
        return {
            "detect": wanted.needs(detect_s, self.streaming_bytes),
            "estimate": wanted.needs(self.estimate_s + self.assess_s, self.estimate_bytes),
            "apply": wanted.needs(apply_s, self.streaming_bytes),
            "plot": wanted.needs(self.plot_s, PLOT_BYTES),
        }

    def needs_of_run(self, wanted: Wanted) -> Needs:
        """Of a task that does a whole recording."""
        work_s = self.detect_s + self.estimate_s + self.assess_s + self.apply_s + self.plot_s
        most_bytes = max(self.streaming_bytes, self.estimate_bytes, PLOT_BYTES if self.plot_s else 0.0)
        return wanted.needs(work_s + 2 * (self.read_s + self.write_s), most_bytes)


def cost_to_ask_for(
    recording: Recording, settings: Settings, folder: Path, work: Work, wanted: Wanted, form: Form
) -> Cost:
    """The cost, which isn't looked for where the user says all that depends on it."""
    refuse_traces(settings, _SHARED, _ALONE)
    if wanted.time is not None and wanted.memory is not None:
        return Cost()
    tried = replace(work, jobs=wanted.cpus or DEFAULT_CPUS)
    return Cost.of(recording, settings, folder, tried, form)


def check_shards(recording: Recording, settings: Settings, folder: Path, work: Work, shards: int, form: Form) -> None:
    """Raise now what the jobs would raise after hours in the queue."""
    refuse_traces(settings, _SHARED, _ALONE)
    outputs = form.outputs(recording, folder)
    peaks, first = folder / PEAKS, outputs.binaries[0].binary
    tables = [folder / name for name in ((MOTION, ASSESSMENT) if form.assessed else (MOTION,))]
    final = [peaks, *tables, *outputs.files]
    check_outputs(final, recording.inputs.values())
    taken = taken_bytes(peaks, work, final) + taken_bytes(first, work)
    require_room(folder, needed_bytes(recording, form.dtype, form.compress) - taken)
    foresee_memory(recording, settings, work, form.shanks)
    for output in (peaks, first):
        others = [each.shard for each in portions_of(output) if each.shard.count != shards]
        if others:
            raise OutputError(
                f"there is unfinished work on {output} that was cut otherwise: {in_words(others)}",
                f"give --shards {others[0].count}, or remove {work_folder(output)}",
            )
    _refuse_what_is_there([*final, *map(work_folder, (peaks, *tables, first))], work)


def _refuse_what_is_there(paths: Sequence[Path], work: Work) -> None:
    there = next((path for path in paths if path.exists()), None)
    if there is not None and not work.resume and not work.overwrite:
        what = "is unfinished work" if there.suffix == ".work" else "exists already"
        raise OutputError(f"{there} {what}", "--resume to go on from what is there, or --overwrite to replace it")


def jobs_of_shards(commands: Mapping[str, Sequence[str]], shards: int, needs: Mapping[str, Needs]) -> list[Job]:
    """detect and apply in as many tasks as there are shards, merge and estimate between them, and pictures at the end.

    commands: the command line of each verb, those of detect and apply without their shard. The number of shards stands
    in the scripts, so that one task can be done again: to --array, it would be an array of one.
    """
    shard = ["--shard", Filled(f"$SLURM_ARRAY_TASK_ID/{shards}")]
    return [
        Job(
            "detect",
            f"Finds the peaks of the recording, each of {shards} tasks in its part of it.",
            [[*commands["detect"], *shard]],
            needs["detect"],
            shards,
        ),
        Job(
            "estimate",
            "Makes one file of the peaks that all tasks found, estimates the motion from it"
            + (", and says whether it helps." if "assess" in commands else "."),
            [commands[verb] for verb in ("merge", "estimate", "assess") if verb in commands],
            needs["estimate"],
            goes_on=False,
        ),
        Job(
            "apply",
            f"Corrects the recording, each of {shards} tasks its part; the last one to end names the output.",
            [[*commands["apply"], *shard]],
            needs["apply"],
            shards,
        ),
        *(
            [Job("plot", "Draws what was done, and writes the page.", [commands["plot"]], needs["plot"], goes_on=False)]
            if "plot" in commands
            else []
        ),
    ]


def job_of_list(command: Sequence[str], recordings: Sequence[Path], folders: Sequence[Path], needs: Needs) -> Job:
    """A task for each recording, which is corrected in one go. command: with RECORDING and FOLDER."""
    purpose = f"Corrects {len(recordings)} recordings, each in a task of its own."
    lists = {
        "recording": [str(path) for path in recordings],
        "folder": [str(folder) for folder in folders],
    }
    return Job("run", purpose, [command], needs, len(recordings), lists)


def read_list(path: Path) -> list[Path]:
    """The recordings that a file names, one a line, relative to its own folder; empty lines and # comments aside.

    Raises InputError for a list that can't be read or names none, and for recordings that are missing or named twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the list {path} can't be read: {error}", "a text file with a recording per line") from error
    lines = [line.strip() for line in text.splitlines()]
    recordings = [path.absolute().parent / line for line in lines if line and not line.startswith("#")]
    if not recordings:
        raise InputError(f"the list {path} names no recording", "write the path of one on each line")
    missing = [str(each) for each in recordings if not each.is_file()]
    if missing:
        more = f" and {len(missing) - _MOST_TOLD} more" if len(missing) > _MOST_TOLD else ""
        told = ", ".join(missing[:_MOST_TOLD]) + more
        raise InputError(
            f"{len(missing)} of the {len(recordings)} recordings in {path} do not exist: {told}",
            f"correct them, relative to {path.absolute().parent}, or put # before them",
        )
    _refuse_twice(recordings, f"is twice in the list {path}", "name each recording once")
    return recordings


def check_each(recordings: Sequence[Path], open_one: Callable[[Path], object]) -> None:
    """Open every recording of a list, which takes a moment. Raises InputError that names all that can't be."""
    errors: dict[Path, DriftcliError] = {}
    for path in recordings:
        try:
            open_one(path)
        except DriftcliError as error:
            errors[path] = error
    if errors:
        told = "; ".join(f"{path}: {error.message}" for path, error in errors.items())
        hints = {error.hint for error in errors.values()}
        hint = hints.pop() if len(hints) == 1 else "correct them, or put # before them in the list"
        raise InputError(f"{len(errors)} of the {len(recordings)} recordings can't be opened: {told}", hint)


def folders_of(recordings: Sequence[Path], out: Path | None) -> list[Path]:
    """Where the outputs of each recording go: beside it, or side by side in `out`. Raises UsageError for one twice."""
    folders = [
        default_folder(each) if out is None else out.absolute() / default_folder(each).name for each in recordings
    ]
    _refuse_twice(folders, "is where the outputs of two recordings would go", "leave --out away, or submit two lists")
    return folders


def _refuse_twice(paths: Sequence[Path], what: str, hint: str) -> None:
    """what: what is wrong with a path that is there twice."""
    seen: set[Path] = set()
    for path in paths:
        if path.resolve() in seen:
            raise UsageError(f"{path} {what}", hint)
        seen.add(path.resolve())


def largest(recordings: Sequence[Path]) -> Path:
    """By the size of the file."""
    return max(recordings, key=lambda path: path.stat().st_size)
