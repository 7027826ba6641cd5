"""Groups of options that several verbs share, each written once.

A verb takes a group as one parameter; `grouped` shows its fields to typer as options of their own.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import typer

from driftcli.cli import kernels
from driftcli.cli.console import Console, open_log, show_tracebacks

if TYPE_CHECKING:
    from driftcli.model import Settings
    from driftcli.recording.recording import Recording
    from driftcli.workflow.form import Form
    from driftcli.workflow.shard import Shard
    from driftcli.workflow.work import Work


@dataclass(frozen=True)
class NamesFile:
    """Beside a typer.Option: what the option is given may be the path of a file, and is one where `test` says so."""

    test: Callable[[str], bool]


def _is_preset_file(text: str) -> bool:
    return Path(text).suffix in (".yaml", ".yml") or Path(text).name != text


def _is_file_of_spans(text: str) -> bool:
    return os.path.isfile(text) and re.fullmatch(r"[\d\s.,eE+-]+", text) is None


MotionPath = Annotated[Path, typer.Argument(help="motion.h5, as estimate wrote it.", show_default=False)]
_RECORDING, _PRESET, _ESTIMATE, _OUTPUT, _WORK = "Recording", "Preset", "Estimate", "Output", "Work"

OutputDtype = Annotated[
    Literal["int16", "float32"] | None,
    typer.Option(help="Type of the corrected binary. (default: that of the recording)", rich_help_panel=_OUTPUT),
]
Split = Annotated[
    bool,
    typer.Option(
        "--split",
        help="Write a binary for each file of the recording; --out is then a folder.",
        rich_help_panel=_OUTPUT,
    ),
]
Compress = Annotated[
    bool,
    typer.Option(
        "--compress", help="Write the .cbin and .ch of mtscomp: smaller, without loss.", rich_help_panel=_OUTPUT
    ),
]
BadChannelsOut = Annotated[
    Literal["interpolate", "keep", "zero"] | None,
    typer.Option(
        help="What becomes of bad channels; the same as --set interpolate.bad_channels. (default: interpolate)",
        rich_help_panel=_OUTPUT,
    ),
]
Shanks = Annotated[
    Literal["each", "together"],
    typer.Option(help="Each shank moves by itself, or all of them together.", rich_help_panel=_ESTIMATE),
]
ExcludeTimes = Annotated[
    str | None,
    typer.Option(
        metavar="SPANS",
        help="Times to leave out of the estimate: 12.5-14,300-310 in s, or a file with a span per line.",
        show_default=False,
        rich_help_panel=_ESTIMATE,
    ),
    NamesFile(_is_file_of_spans),
]
IgnoreMask = Annotated[
    bool,
    typer.Option(
        "--ignore-mask",
        help="Use peaks in times that detect left out, for what it found there or as it was told to.",
        rich_help_panel=_ESTIMATE,
    ),
]


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


@dataclass(frozen=True)
class RecordingOptions:
    """Which recording, and what its file doesn't say itself."""

    recording: Annotated[
        list[Path],
        typer.Argument(
            help="Raw binary (samples x channels), or the .ap.bin of a SpikeGLX pair; .cbin of either. Several files "
            "of one run, in order of time, are one recording.",
            show_default=False,
        ),
    ]
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

    @property
    def first(self) -> Path:
        """The file, or the first of several, after which outputs are called."""
        return self.recording[0]

    def how(self) -> dict[str, Any]:
        """What `open_recording` is to be told, with files named from the root."""
        return {
            "path": [path.absolute() for path in self.recording],
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

    def open(self, console: Console, motion: Path | None = None) -> Recording:
        """Open the recording; where an option is not given, the facts that `motion` carries stand in."""
        from driftcli.recording.open import open_recording
        from driftcli.workflow.runlog import describe_recording

        carried = None
        if motion is not None:
            from driftcli.store.schema import read_handover

            _, carried = read_handover(motion, "motion")
        paths = {"path": self.recording, "probe": self.probe}  # as the user calls them in what is told
        recording = open_recording(**{**self.how(), **paths}, carried=carried, reporter=console)
        console.note("recording", paths=self.recording, probe=self.probe, facts=describe_recording(recording))
        return recording


@dataclass(frozen=True)
class PresetOptions:
    """Which methods with which parameters."""

    preset: Annotated[
        str | None,
        typer.Option(help="Name of a preset, or a YAML file. See: driftcli presets list", rich_help_panel=_PRESET),
        NamesFile(_is_preset_file),
    ] = None
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="STAGE.KEY=VALUE",
            help="Change a value of the preset; may be repeated.",
            rich_help_panel=_PRESET,
        ),
    ] = None

    def with_bad_channels_out(self, treatment: str | None) -> PresetOptions:
        """The same with what `--bad-channels-out` says."""
        if treatment is None:
            return self
        return replace(self, changes=[*(self.changes or ()), f"interpolate.bad_channels={treatment}"])

    def settings(self, source: Path | None = None, kind: str = "", done: Sequence[str] = ()) -> Settings:
        """The resolved preset: the one named, else the one that `source` (a file of `kind`) was made with.

        done: stages that made `source`; they stay as they were, and a change of one is refused.
        """
        from driftcli import presets

        changes = self.changes or ()
        if source is None:
            return presets.load(self.preset, changes)
        from driftcli.errors import UsageError
        from driftcli.store.schema import read_handover

        tree, _ = read_handover(source, kind)
        for change in changes:
            stage = change.partition(".")[0].strip()
            if stage in done:
                again = "detect" if kind == "peaks" else "detect or estimate"
                hint = f"{again} again with --set {change}"
                raise UsageError(f"the stage {stage!r} was done before {source.name} was made", hint)
        if self.preset is not None:
            named = presets.load(self.preset).to_dict()
            tree = {stage: tree[stage] if stage in done and stage in tree else named[stage] for stage in named}
        return presets.resolve(tree, changes)


@dataclass(frozen=True)
class FormOptions:
    """Of verbs that do all of the work: how the estimate is made, and in which form the result is written."""

    output_dtype: OutputDtype = None
    split: Split = False
    compress: Compress = False
    bad_channels_out: BadChannelsOut = None
    shanks: Shanks = "each"
    exclude_times: ExcludeTimes = None

    def form(self) -> Form:
        from driftcli.workflow.form import Form

        return Form(self.output_dtype, self.split, self.compress, self.shanks, self.exclude_times)


def _show_tracebacks(wanted: bool) -> bool:
    if wanted:
        show_tracebacks()
    return wanted


Debug = Annotated[
    bool,
    typer.Option("--debug", callback=_show_tracebacks, help="Show the traceback of an error.", rich_help_panel=_WORK),
]


def _open_log(path: Path | None) -> Path | None:
    if path is not None:
        open_log(path)
    return path


LogFile = Annotated[
    Path | None,
    typer.Option(
        "--log",
        metavar="FILE",
        callback=_open_log,
        is_eager=True,  # before the other options, whose errors are to be logged, too
        help="Append every decision to this file, as JSON lines.",
        show_default=False,
        rich_help_panel=_WORK,
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.", rich_help_panel=_WORK)]
Json = Annotated[
    bool, typer.Option("--json", help="End with one line of JSON on standard output.", rich_help_panel=_WORK)
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Go on from what an earlier try has done; afresh where there is nothing.",
        rich_help_panel=_WORK,
    ),
]
Mixed = Annotated[
    bool,
    typer.Option(
        "--mixed",
        help="Go on also from work of another type of CPU or other versions of libraries: to within 1 LSB the same.",
        rich_help_panel=_WORK,
    ),
]
ShardOf = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        help="Do only the I-th of N parts, in a job of its own; see driftcli merge and submit.",
        show_default=False,
        rich_help_panel=_WORK,
    ),
]
Array = Annotated[
    bool,
    typer.Option(
        "--array",
        help="Do the part that this task of a job array is, as Slurm, Grid Engine and LSF tell it.",
        rich_help_panel=_WORK,
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace outputs that exist.", rich_help_panel=_WORK)]


MaxMemory = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="Memory to stay within, such as 2GB or 500MB, with fewer threads; an estimate that needs more is "
        "refused. (default: no limit)",
        rich_help_panel=_WORK,
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs", "-j", min=1, help="Threads. (default: the CPUs allotted to this process)", rich_help_panel=_WORK
    ),
]
ChunkS = Annotated[
    float | None,
    typer.Option(help="Seconds of recording that a thread takes at a time. (default: 1)", rich_help_panel=_WORK),
]


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
