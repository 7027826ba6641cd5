"""Groups of options that several verbs share, each written once.

A verb takes a group as one parameter; `grouped` shows its fields to typer as options of their own.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import typer

from driftcli import kernels
from driftcli.cli.annotations import (
    BadChannelsOut,
    Changes,
    ChunkS,
    Compress,
    Debug,
    ExcludeTimes,
    IfBetter,
    Jobs,
    Json,
    LogFile,
    MaxMemory,
    Mixed,
    NoReport,
    OutputDtype,
    Overwrite,
    Preset,
    Quiet,
    Resume,
    Shanks,
    Split,
)
from driftcli.cli.console import Console

if TYPE_CHECKING:
    from driftcli.model import Settings
    from driftcli.recording.recording import Recording
    from driftcli.workflow.form import Form
    from driftcli.workflow.shard import Shard
    from driftcli.workflow.work import Work

_RECORDING = "Recording"


def grouped(verb: Callable[..., None]) -> Callable[..., None]:
    """Make a typer command of a function whose parameters include option groups (dataclasses)."""
    hints = get_type_hints(verb, include_extras=True)
    hints.pop("return", None)
    parameters, groups = [], {}
    for name, parameter in inspect.signature(verb).parameters.items():
        if not is_dataclass(hints[name]):
            parameters.append(parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        groups[name] = hints[name]
        types = get_type_hints(hints[name], include_extras=True)
        for field in fields(hints[name]):
            parameters.append(
                inspect.Parameter(
                    field.name, inspect.Parameter.KEYWORD_ONLY, default=_default(field), annotation=types[field.name]
                )
            )

    @wraps(verb)
    def command(**values: Any) -> None:
        bundles = {name: group(**{f.name: values.pop(f.name) for f in fields(group)}) for name, group in groups.items()}
        verb(**values, **bundles)

    del command.__wrapped__  # typer must see the signature below, not that of the verb
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _default(field: Field[Any]) -> Any:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return inspect.Parameter.empty if field.default is MISSING else field.default


@dataclass(frozen=True, kw_only=True)
class FileOptions:
    """What the file of a recording doesn't say itself."""

    probe: Annotated[
        Path | None,
        typer.Option(help="Probe file: probeinterface JSON or .prb. SpikeGLX needs none.", rich_help_panel=_RECORDING),
    ] = None
    num_channels: Annotated[
        int | None,
        typer.Option(min=1, help="Columns of a raw file. (default: what the probe says)", rich_help_panel=_RECORDING),
    ] = None
    sampling_frequency: Annotated[
        float | None,
        typer.Option(help="Samples per second of a raw file, in Hz. (default: 30000)", rich_help_panel=_RECORDING),
    ] = None
    dtype: Annotated[
        str | None,
        typer.Option(help="int16 or float32, little-endian. (default: int16)", rich_help_panel=_RECORDING),
    ] = None
    gain_to_uv: Annotated[
        float | None,
        typer.Option(help="µV per count. (default: amplitudes stay in file units)", rich_help_panel=_RECORDING),
    ] = None
    offset_bytes: Annotated[
        int | None,
        typer.Option(min=0, help="Bytes before the first sample. (default: 0)", rich_help_panel=_RECORDING),
    ] = None
    bad_channels: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Channels not to use, such as 17,191,200:205, beside those that are found. SpikeGLX: by acquired "
            "number; raw: by column.",
            rich_help_panel=_RECORDING,
        ),
    ] = None
    start_s: Annotated[
        float | None,
        typer.Option(help="Begin at this time of the recording. (default: 0)", rich_help_panel=_RECORDING),
    ] = None
    end_s: Annotated[
        float | None,
        typer.Option(help="End at this time of the recording. (default: its end)", rich_help_panel=_RECORDING),
    ] = None
    concatenate: Annotated[
        bool,
        typer.Option("--concatenate", help="Join files of different runs, in this order.", rich_help_panel=_RECORDING),
    ] = False
    truncated: Annotated[
        Literal["refuse", "ok"],
        typer.Option(help="A file that was cut off: refuse it, or take what is there.", rich_help_panel=_RECORDING),
    ] = "refuse"

    def how_to_open(self, recording: list[Path]) -> dict[str, Any]:
        """What `open_recording` is to be told, with files named from the root."""
        return {
            "path": [path.absolute() for path in recording],
            "probe": None if self.probe is None else self.probe.absolute(),
            "num_channels": self.num_channels,
            "sampling_frequency_hz": self.sampling_frequency,
            "dtype": self.dtype,
            "gain_to_uv": self.gain_to_uv,
            "offset_bytes": self.offset_bytes,
            "bad_channels": self.bad_channels,
            "start_s": self.start_s,
            "end_s": self.end_s,
            "concatenate": self.concatenate,
            "truncated_ok": self.truncated == "ok",
        }

    def opened(
        self, recording: list[Path], console: Console, motion: Path | None = None, *, lf_ok: bool = False
    ) -> Recording:
        """Open the recording; where an option is not given, the facts that `motion` carries stand in.

        lf_ok: it may be the LF band of a SpikeGLX run.
        """
        from driftcli.workflow.given import open_given

        paths = {"path": recording, "probe": self.probe}  # as the user calls them in what is told
        return open_given({**self.how_to_open(recording), **paths, "lf_ok": lf_ok}, console, motion)

    def named(self) -> list[str]:
        """The options that are given."""
        given = [field.name for field in fields(FileOptions) if getattr(self, field.name) != field.default]
        return [f"--{name.replace('_', '-')}" for name in given]


@dataclass(frozen=True)
class RecordingOptions(FileOptions):
    """Which recording, and what its file doesn't say itself."""

    recording: Annotated[
        list[Path],
        typer.Argument(
            help="Raw binary (samples x channels), or the .ap.bin of a SpikeGLX pair; .cbin of either. Several files "
            "of one run, in order of time, are one recording.",
            show_default=False,
        ),
    ]

    @property
    def first(self) -> Path:
        """The file, or the first of several, after which outputs are called."""
        return self.recording[0]

    def how(self) -> dict[str, Any]:
        """What `open_recording` is to be told, with files named from the root."""
        return self.how_to_open(self.recording)

    def open(self, console: Console, motion: Path | None = None) -> Recording:
        """Open the recording; where an option is not given, the facts that `motion` carries stand in."""
        return self.opened(self.recording, console, motion)


@dataclass(frozen=True)
class PresetOptions:
    """Which methods with which parameters."""

    preset: Preset = None
    changes: Changes = None

    def with_bad_channels_out(self, treatment: str | None) -> PresetOptions:
        """The same with what `--bad-channels-out` says."""
        if treatment is None:
            return self
        return replace(self, changes=[*(self.changes or ()), f"interpolate.bad_channels={treatment}"])

    def settings(self, source: Path | None = None, kind: str = "", done: Sequence[str] = ()) -> Settings:
        """The resolved preset: the one named, else the one that `source` (a file of `kind`) was made with.

        done: stages that made `source`; they stay as they were, and a change of one is refused.
        """
        changes = self.changes or ()
        if source is None:
            from driftcli import presets

            return presets.load(self.preset, changes)
        from driftcli.workflow.given import settings_after

        return settings_after(source, kind, done, self.preset, changes)


@dataclass(frozen=True)
class FormOptions:
    """Of verbs that do all of the work: how the estimate is made, and in which form the result is written."""

    output_dtype: OutputDtype = None
    split: Split = False
    compress: Compress = False
    bad_channels_out: BadChannelsOut = None
    shanks: Shanks = "each"
    exclude_times: ExcludeTimes = None
    if_better: IfBetter = False
    no_report: NoReport = False

    def form(self) -> Form:
        from driftcli.workflow.form import Form

        return Form(
            self.output_dtype,
            self.split,
            self.compress,
            self.shanks,
            self.exclude_times,
            self.if_better,
            not self.no_report,
        )


@dataclass(frozen=True)
class TellOptions:
    """How work is told."""

    quiet: Quiet = False
    json: Json = False
    debug: Debug = False
    log: LogFile = None

    def console(self) -> Console:
        console = Console(quiet=self.quiet, json=self.json)
        news = kernels.news()
        if news:
            console.message(news)
        return console

    def work(self, console: Console) -> Work:
        from driftcli.workflow.work import Work

        return Work(reporter=console)


@dataclass(frozen=True)
class LookOptions(TellOptions):
    """Of verbs that stream a recording and write nothing."""

    jobs: Jobs = None
    chunk_s: ChunkS = None

    def work(self, console: Console) -> Work:
        work = super().work(console)
        work = work if self.jobs is None else replace(work, jobs=self.jobs)
        return work if self.chunk_s is None else replace(work, chunk_s=self.chunk_s)


@dataclass(frozen=True)
class WorkOptions(TellOptions):
    """How work is told, and whether it may replace outputs."""

    overwrite: Overwrite = False

    def work(self, console: Console) -> Work:
        return replace(super().work(console), overwrite=self.overwrite)


@dataclass(frozen=True)
class ThreadOptions(WorkOptions):
    """Of verbs that work in threads; their number never changes a result."""

    jobs: Jobs = None
    resume: Resume = False
    mixed: Mixed = False
    max_memory: MaxMemory = None

    def work(self, console: Console) -> Work:
        from driftcli.workflow.work import memory_bytes

        work = replace(super().work(console), resume=self.resume, mixed=self.mixed)
        if self.max_memory is not None:
            work = replace(work, max_memory_bytes=memory_bytes(self.max_memory))
        return work if self.jobs is None else replace(work, jobs=self.jobs)


def shard_of(text: str | None, array: bool) -> Shard:
    """The part of the work that `--shard` names, or `--array` finds; all of it where neither is given."""
    from driftcli.errors import UsageError
    from driftcli.workflow.shard import WHOLE, Shard

    if text is not None and array:
        raise UsageError("--shard and --array both say which part to do", "give one of them")
    if array:
        return Shard.from_array(os.environ)
    return WHOLE if text is None else Shard.of(text)


@dataclass(frozen=True)
class StreamOptions(ThreadOptions):
    """Of verbs that stream a recording; the length of a chunk never changes a result."""

    chunk_s: ChunkS = None

    def work(self, console: Console) -> Work:
        work = super().work(console)
        return work if self.chunk_s is None else replace(work, chunk_s=self.chunk_s)
