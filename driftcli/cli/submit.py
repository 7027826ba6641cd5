"""driftcli submit"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from driftcli.cli import apply, assess, detect, estimate, merge, plot, run
from driftcli.cli.arguments import arguments_for, values_of
from driftcli.cli.console import Console
from driftcli.cli.options import FileOptions, FormOptions, PresetOptions, RecordingOptions, StreamOptions, grouped
from driftcli.cli.run import Out
from driftcli.units import count_of

if TYPE_CHECKING:
    from driftcli.model import Settings
    from driftcli.recording.recording import Recording
    from driftcli.workflow.slurm import Job, Queue
    from driftcli.workflow.submit import Wanted
    from driftcli.workflow.work import Work

_JOBS = "Jobs"
_ONE_TYPE = "all nodes must have one type of CPU: --sbatch --constraint=..., or --mixed"
_NOT_HANDED_ON = {"recording", "out", "quiet", "json", "log", "resume", "bad_channels_out"}
"""Submit's own, or given to each verb apart."""


@dataclass(frozen=True)
class OneOrManyRecordings(RecordingOptions):
    """The same of a recording, or of each one of a list."""

    recording: Annotated[
        list[Path],
        typer.Argument(help="As of run; with --list none.", show_default=False),
    ] = None  # type: ignore[assignment]  # where there is none: typer makes a list of it, or leaves None
    list_file: Annotated[
        Path | None,
        typer.Option(
            "--list",
            metavar="FILE",
            help="Correct many recordings, one a task: their paths, one a line, relative to the file's folder.",
            show_default=False,
        ),
    ] = None


@dataclass(frozen=True)
class QueueOptions:
    """What Slurm is asked for."""

    go: Annotated[
        bool, typer.Option("--go", help="Submit the jobs; else only write their scripts.", rich_help_panel=_JOBS)
    ] = False
    shards: Annotated[
        int | None,
        typer.Option(min=2, help="Tasks that share the recording. (default: 16)", rich_help_panel=_JOBS),
    ] = None
    at_once: Annotated[
        int | None,
        typer.Option(min=1, help="Tasks of an array that may run at a time. (default: any)", rich_help_panel=_JOBS),
    ] = None
    partition: Annotated[str | None, typer.Option(help="Partition to wait in.", rich_help_panel=_JOBS)] = None
    account: Annotated[str | None, typer.Option(help="Account to charge.", rich_help_panel=_JOBS)] = None
    time: Annotated[
        str | None,
        typer.Option(help="Time limit of a task. (default: what a trial here says, times 3)", rich_help_panel=_JOBS),
    ] = None
    mem: Annotated[
        str | None,
        typer.Option(
            help="Memory of a task, such as 8G. (default: what a trial here says, times 1.5)", rich_help_panel=_JOBS
        ),
    ] = None
    cpus_per_task: Annotated[
        int | None, typer.Option(min=1, help="CPUs of a task. (default: --jobs, or 4)", rich_help_panel=_JOBS)
    ] = None
    sbatch: Annotated[
        list[str] | None,
        typer.Option(
            metavar="OPTION",
            help="Another option of sbatch, such as --sbatch --constraint=zen3; may be repeated.",
            rich_help_panel=_JOBS,
        ),
    ] = None
    program: Annotated[
        str | None,
        typer.Option(
            metavar="COMMAND",
            help="What calls driftcli on the nodes, such as 'apptainer run driftcli.sif'. (default: the driftcli of "
            "the Python that runs now)",
            rich_help_panel=_JOBS,
        ),
    ] = None

    def queue(self) -> Queue:
        from driftcli.workflow.slurm import Queue

        return Queue(self.partition, self.account, self.at_once, tuple(self.sbatch or ()))

    def wanted(self, jobs: int | None) -> Wanted:
        from driftcli.workflow.slurm import require_memory, require_time
        from driftcli.workflow.submit import Wanted

        if self.time is not None:
            require_time(self.time)
        if self.mem is not None:
            require_memory(self.mem)
        return Wanted(self.cpus_per_task or jobs, self.time, self.mem)

    def words(self) -> list[str]:
        """Of the program. Files in the folder where it is called don't take the place of modules, as with -m."""
        if self.program is not None:
            return shlex.split(self.program)
        beside = Path(sys.executable).with_name("driftcli")
        return [str(beside)] if os.access(beside, os.X_OK) else [sys.executable, "-m", "driftcli"]


@grouped
def submit(
    source: OneOrManyRecordings,
    preset: PresetOptions,
    options: StreamOptions,
    form: FormOptions,
    queue: QueueOptions,
    out: Out = None,
) -> None:
    """Write the scripts of Slurm jobs that do what run does, in many tasks, and with --go submit them.

    Tasks of an array detect peaks in parts of the recording, one job merges them and estimates the motion, tasks of
    another array apply it; the outputs are those of run, to the byte. With --list each task does a recording. Tasks
    whose node fails or whose time is up go on where they were, by themselves; only the estimate is made in one go, so
    that it has to fit in the time limit.

    On Grid Engine, PBS and LSF the same commands work in arrays that you write: driftcli detect --array (on PBS --shard
    $PBS_ARRAY_INDEX/16), then merge and estimate, then apply --array; the scripts show them.

    Examples:
        driftcli submit rec.bin --probe probe.json --shards 16 --go
        driftcli submit run_g0_t0.imec0.ap.bin --sbatch --constraint=zen3
        driftcli submit --list recordings.txt --at-once 20 --go
    """
    from driftcli.errors import UsageError

    if bool(source.recording) == (source.list_file is not None):
        raise UsageError("submit takes a recording, or a list of them", "driftcli submit rec.bin, or --list FILE")
    waits = queue.queue()  # what makes no sense is refused before the recording is looked at
    asked = _Asked(source, preset.with_bad_channels_out(form.bad_channels_out), options, form, queue)
    with options.console() as console:
        jobs, folder = asked.for_shards(out, console) if source.list_file is None else asked.for_list(out, console)
        if not (options.mixed or waits.one_type):
            console.message(_ONE_TYPE)
        facts = _written(jobs, waits, folder, go=queue.go)
    console.summary(f"{facts['scripts']}/", _rows(facts), facts)


@dataclass(frozen=True)
class _Asked:
    """What the user asked for; the preset has what `--bad-channels-out` says."""

    source: OneOrManyRecordings
    preset: PresetOptions
    options: StreamOptions
    form: FormOptions
    queue: QueueOptions

    def for_shards(self, out: Path | None, console: Console) -> tuple[list[Job], Path]:
        """The jobs that share a recording, and the folder of its outputs."""
        from driftcli.workflow import submit as workflow
        from driftcli.workflow.run import default_folder

        settings, work, wanted, recording = self._begun(self.source, console)
        shards, form = self.queue.shards or workflow.DEFAULT_SHARDS, self.form.form()
        folder = (out or default_folder(self.source.first)).absolute()
        workflow.check_shards(recording, settings, folder, work, shards, form)
        cost = workflow.cost_to_ask_for(recording, settings, folder, work, wanted, form)
        commands = self._commands(folder, form.corrected(recording, folder))
        return workflow.jobs_of_shards(commands, shards, cost.needs(wanted, shards)), folder

    def for_list(self, out: Path | None, console: Console) -> tuple[list[Job], Path]:
        """The job that does many recordings, and a folder for its scripts."""
        from driftcli.errors import UsageError
        from driftcli.recording.open import open_recording
        from driftcli.reporter import Reporter
        from driftcli.workflow import submit as workflow
        from driftcli.workflow.run import default_folder

        list_file = self.source.list_file
        if list_file is None or self.queue.shards is not None:
            raise UsageError("with --list each recording is one task", "leave --shards away")
        recordings = workflow.read_list(list_file)
        workflow.check_each(recordings, lambda path: open_recording(**self._of(path).how(), reporter=Reporter()))
        folders = workflow.folders_of(recordings, out)
        settings, work, wanted, recording = self._begun(self._of(workflow.largest(recordings)), console)
        cost = workflow.cost_to_ask_for(recording, settings, folders[0], work, wanted, self.form.form())
        command = [
            *self._verb("run", run.command, {"resume": True}),
            workflow.RECORDING,
            "--out",
            workflow.FOLDER,
        ]
        job = workflow.job_of_list(command, recordings, folders, cost.needs_of_run(wanted))
        return [job], (out or default_folder(list_file)).absolute()

    def _of(self, path: Path) -> RecordingOptions:
        """A recording of the list."""
        return replace(self.source, recording=[path])

    def _begun(self, source: RecordingOptions, console: Console) -> tuple[Settings, Work, Wanted, Recording]:
        wanted = self.queue.wanted(self.options.jobs)
        settings = self.preset.settings()
        work = self.options.work(console)
        return settings, work, wanted, source.open(console)

    def _commands(self, folder: Path, corrected: Path) -> dict[str, list[str]]:
        """The command line of each verb but for its shard. Those behind detect take the preset from what it left."""
        from driftcli.workflow.work import MOTION, PEAKS

        peaks, motion = folder / PEAKS, folder / MOTION
        recording, resume = {"recording": self.source.recording}, {"resume": True}
        known, of_files = {"preset", "changes", "exclude_times"}, {field.name for field in fields(FileOptions)}
        commands = {
            "detect": self._verb("detect", detect.command, {**recording, "out": peaks, **resume}),
            "merge": self._verb("merge", merge.command, {"out": peaks, **resume}),
            "estimate": self._verb("estimate", estimate.command, {"peaks": peaks, **resume}, known | of_files),
            "apply": self._verb(
                "apply", apply.command, {**recording, "motion": motion, "out": corrected, **resume}, known
            ),
        }
        if self.form.form().assessed:
            commands["assess"] = self._verb("assess", assess.command, {"peaks": peaks, **resume}, known)
        if self.form.form().report:
            commands["plot"] = self._verb("plot", plot.command, {"folder": folder, **resume})
        return commands

    def _verb(self, name: str, command: Any, own: dict[str, Any], known: set[str] | None = None) -> list[str]:
        given = values_of(self.source, self.preset, self.options, self.form)
        values = {key: value for key, value in given.items() if key not in _NOT_HANDED_ON}
        return [*self.queue.words(), name, *arguments_for(command, {**values, **own}, leave_out=known or ())]


def _written(jobs: Sequence[Job], queue: Queue, folder: Path, *, go: bool) -> dict[str, Any]:
    """Scripts on the disk, and with --go jobs in the queue; what to tell of them."""
    from driftcli.workflow.slurm import submit, write_scripts

    begin = write_scripts(jobs, queue, folder / "slurm", Path(os.getcwd()))
    numbers = submit(begin) if go else {}
    return {
        "scripts": str(begin.parent),
        "submit": str(begin),
        "jobs": [
            {
                "name": job.name,
                "tasks": job.tasks or 1,
                "cpus": job.needs.cpus,
                "memory": job.needs.memory,
                "time": job.needs.time,
                "number": numbers.get(job.name),
            }
            for job in jobs
        ],
    }


def _rows(facts: dict[str, Any]) -> dict[str, str]:
    """What there is and how to go on."""
    numbers = [job["number"] for job in facts["jobs"] if job["number"] is not None]
    rows = {
        job["name"]: f"{count_of(job['tasks'], 'task')} of {count_of(job['cpus'], 'CPU')}, {job['memory']}, time limit "
        f"{job['time']}" + ("" if job["number"] is None else f": job {job['number']}")
        for job in facts["jobs"]
    }
    if not numbers:
        return {**rows, "submit": shlex.quote(facts["submit"])}
    return {
        **rows,
        "watch": f"squeue -j {','.join(numbers)}",
        "logs": f"{facts['scripts']}/driftcli-*.out",
        "stop": f"scancel {' '.join(numbers)}",
        "if one fails": "the same command with --resume goes on where they were",
    }


command = submit
