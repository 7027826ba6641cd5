"""Options that several verbs share, each written once."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from driftcli.cli.completion import offer_changes, offer_presets
from driftcli.cli.console import open_log, show_tracebacks


@dataclass(frozen=True)
class NamesFile:
    """Beside a typer.Option: what the option is given may be the path of a file, and is one where `test` says so."""

    test: Callable[[str], bool]


def _is_preset_file(text: str) -> bool:
    return Path(text).suffix in (".yaml", ".yml") or Path(text).name != text


def _is_file_of_spans(text: str) -> bool:
    return os.path.isfile(text) and re.fullmatch(r"[\d\s.,eE+-]+", text) is None


_PRESET, _ESTIMATE, _OUTPUT, _WORK = "Preset", "Estimate", "Output", "Work"

MotionPath = Annotated[Path, typer.Argument(help="motion.h5, as estimate wrote it.", show_default=False)]
Preset = Annotated[
    str | None,
    typer.Option(
        help="Name of a preset, or a YAML file. See: driftcli presets list",
        autocompletion=offer_presets,
        rich_help_panel=_PRESET,
    ),
    NamesFile(_is_preset_file),
]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="STAGE.KEY=VALUE",
        help="Change a value of the preset, such as estimate.bin_s=2; may be repeated.",
        autocompletion=offer_changes,
        rich_help_panel=_PRESET,
    ),
]
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
IfBetter = Annotated[
    bool,
    typer.Option(
        "--if-better",
        help="Correct only if the verdict is that it helps; else the output is the preprocessed signal without "
        "interpolation.",
        rich_help_panel=_OUTPUT,
    ),
]
NoReport = Annotated[
    bool,
    typer.Option(
        "--no-report",
        help="Leave out the verdict, the figures and the page.",
        rich_help_panel=_OUTPUT,
    ),
]
Shanks = Annotated[
    Literal["each", "together"],
    typer.Option(help="Each shank moves by itself, or all of them together.", rich_help_panel=_ESTIMATE),
]
SpanUm = Annotated[
    tuple[float, float] | None,
    typer.Option(metavar="LO HI", help="Depths that the probe spans, for an .npz. (default: those of the peaks)"),
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


def _show_tracebacks(wanted: bool) -> bool:
    if wanted:
        show_tracebacks()
    return wanted


Debug = Annotated[
    bool,
    typer.Option("--debug", callback=_show_tracebacks, help="Show the traceback of an error.", rich_help_panel=_WORK),
]


def _open_log(context: typer.Context, path: Path | None) -> Path | None:
    if path is not None and not context.resilient_parsing:  # where a shell asks how the line may go on
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
        help="Take up work of another type of CPU or other versions of libraries, too: to within 1 LSB the same.",
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
        help="Do the part of this task of a job array, of which Slurm, Grid Engine or LSF tell.",
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
