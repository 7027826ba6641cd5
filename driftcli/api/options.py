"""Keywords that several functions share, each written once: its type, and what it means.

They are called as the options of the command line are. None is "not said": the default of whoever does the work holds.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

from driftcli import kernels, presets
from driftcli.errors import UsageError
from driftcli.model import Settings
from driftcli.recording.recording import Recording
from driftcli.reporter import Reporter
from driftcli.workflow.form import Form
from driftcli.workflow.given import open_given
from driftcli.workflow.work import Work, memory_bytes

PathLike = str | os.PathLike[str]
Times = PathLike | Sequence[tuple[float, float]]
Changes = Mapping[str, Any]


class RecordingOptions(TypedDict, total=False):
    """What the file of a recording doesn't say itself."""

    probe: Annotated[PathLike | None, "probe file, probeinterface JSON or .prb; SpikeGLX needs none"]
    num_channels: Annotated[int | None, "columns of a raw file; by default what the probe says"]
    sampling_frequency: Annotated[float | None, "samples per second of a raw file, in Hz; by default 30000"]
    dtype: Annotated[str | None, "of a raw file, 'int16' or 'float32', little-endian; by default int16"]
    gain_to_uv: Annotated[float | None, "µV per count; by default amplitudes stay in file units"]
    offset_bytes: Annotated[int | None, "bytes before the first sample; by default 0"]
    bad_channels: Annotated[
        str | int | Sequence[int] | None,
        "channels not to use, as a number, as numbers or as '17,191,200:205', beside those that are found; SpikeGLX: "
        "by acquired number, raw: by column",
    ]
    start_s: Annotated[float | None, "begin at this time of the recording, in s"]
    end_s: Annotated[float | None, "end at this time of the recording, in s"]
    concatenate: Annotated[bool, "join files of different runs, in this order"]
    truncated: Annotated[
        Literal["refuse", "ok"] | None, "a file that was cut off: refuse it (default), or take what is there ('ok')"
    ]


class WorkOptions(TypedDict, total=False):
    """Of functions that write."""

    overwrite: Annotated[bool, "replace outputs that exist"]
    reporter: Annotated[Reporter | None, "who is told how work goes; by default nobody, and messages are in the result"]


class ThreadOptions(WorkOptions, total=False):
    """Of functions that work in threads; none of it changes a result."""

    jobs: Annotated[int | None, "threads; by default the CPUs allotted to this process"]
    resume: Annotated[bool, "go on from what an earlier try has done; afresh where there is nothing"]
    mixed: Annotated[bool, "go on also from work of another type of CPU or other versions of libraries"]
    max_memory: Annotated[
        str | float | None,
        "memory to stay within, such as '2GB' or a number of bytes; an estimate that needs more is refused; by default "
        "no limit",
    ]


class StreamOptions(RecordingOptions, ThreadOptions, total=False):
    """Of functions that stream a recording."""

    chunk_s: Annotated[float | None, "seconds of recording that a thread takes at a time; never changes a result"]


class LookOptions(RecordingOptions, total=False):
    """Of functions that stream a recording and write nothing."""

    jobs: Annotated[int | None, "threads; by default the CPUs allotted to this process"]
    chunk_s: Annotated[float | None, "seconds of recording that a thread takes at a time; never changes a result"]
    shanks: Annotated[Literal["each", "together"] | None, "each shank moves by itself (default), or all together"]
    output_dtype: Annotated[Literal["int16", "float32"] | None, "of the binary that a run would write"]
    reporter: Annotated[Reporter | None, "who is told how work goes; by default nobody"]


class MotionOptions(TypedDict, total=False):
    """How the estimate is made."""

    shanks: Annotated[Literal["each", "together"] | None, "each shank moves by itself (default), or all together"]
    exclude_times: Annotated[
        Times | None,
        "times in s to leave out of the estimate, as [(12.5, 14), (300, 310)], as '12.5-14,300-310', or a file with a "
        "span per line",
    ]


class FormOptions(TypedDict, total=False):
    """In which form a corrected recording is written."""

    output_dtype: Annotated[Literal["int16", "float32"] | None, "of the corrected binary; by default the recording's"]
    split: Annotated[bool, "write a binary for each file of the recording"]
    compress: Annotated[bool, "write the .cbin and .ch of mtscomp: smaller, without loss"]
    bad_channels_out: Annotated[
        Literal["interpolate", "keep", "zero"] | None,
        "what becomes of bad channels; the same as changes={'interpolate.bad_channels': ...}",
    ]


class CautionOptions(TypedDict, total=False):
    """Whether a correction is made where it doesn't help."""

    if_better: Annotated[
        bool,
        "correct only if the verdict is that it helps; else the output is the preprocessed signal without "
        "interpolation",
    ]


class EstimateOptions(StreamOptions, MotionOptions, total=False):
    """Of `estimate_file`."""


class ApplyOptions(StreamOptions, FormOptions, CautionOptions, total=False):
    """Of `apply`."""


class RunOptions(StreamOptions, MotionOptions, FormOptions, CautionOptions, total=False):
    """Of `run`."""

    no_report: Annotated[bool, "leave out the verdict, the figures and the page"]


class Told(Reporter):
    """Passes on what it is told, and keeps the messages for the result."""

    def __init__(self, reporter: Reporter | None) -> None:
        self._reporter = reporter or Reporter()
        self._messages: list[str] = []
        news = kernels.news()
        if news is not None:
            self.message(news)

    @property
    def messages(self) -> tuple[str, ...]:
        """All of them, in order."""
        return tuple(self._messages)

    def message(self, text: str) -> None:
        self._messages.append(text)
        self._reporter.message(text)

    def progress(self, stage: str, done: float, total: float, recording_s: float = 0.0) -> None:
        self._reporter.progress(stage, done, total, recording_s)

    def note(self, event: str, **facts: Any) -> None:
        self._reporter.note(event, **facts)


def paths_of(recording: PathLike | Sequence[PathLike]) -> list[Path]:
    """The file of a recording, or its files. Raises UsageError where there is none."""
    paths = listed(recording)
    if not paths:
        raise UsageError("there is no file of a recording", "give the path of one, or of several in order of time")
    return paths


def listed(paths: PathLike | Sequence[PathLike]) -> list[Path]:
    """One path, or several."""
    return [Path(paths)] if isinstance(paths, (str, os.PathLike)) else [Path(each) for each in paths]


def opened(
    recording: PathLike | Sequence[PathLike],
    options: RecordingOptions,
    reporter: Reporter,
    motion: Path | None = None,
    *,
    lf_ok: bool = False,
) -> Recording:
    """The recording; where an option is not given, the facts that `motion` carries stand in. lf_ok: it may be the LF
    band of a SpikeGLX run."""
    how = _given(options, RecordingOptions)
    if "sampling_frequency" in how:
        how["sampling_frequency_hz"] = how.pop("sampling_frequency")
    if not isinstance(bad := how.get("bad_channels", ""), str):
        how["bad_channels"] = ",".join(map(str, bad if isinstance(bad, Collection) else [bad])) or None
    if "truncated" in how:
        how["truncated_ok"] = how.pop("truncated") == "ok"
    probe = None if "probe" not in how else Path(how["probe"])
    return open_given({**how, "path": paths_of(recording), "probe": probe, "lf_ok": lf_ok}, reporter, motion)


def of_files(options: RecordingOptions) -> list[str]:
    """Names of those options that tell what a recording's file doesn't say."""
    return [name for name in RecordingOptions.__annotations__ if options.get(name)]


def work_of(options: Mapping[str, object], reporter: Reporter) -> Work:
    """How to work."""
    how = _given(options, StreamOptions, leave_out=[*RecordingOptions.__annotations__, "reporter"])
    if "max_memory" in how:
        how["max_memory_bytes"] = memory_bytes(how.pop("max_memory"))
    return Work(**how, reporter=reporter)


def form_of(options: Mapping[str, object]) -> Form:
    """In which form to write."""
    how = _given(options, RunOptions, leave_out=[*StreamOptions.__annotations__, "bad_channels_out", "no_report"])
    if "output_dtype" in how:
        how["dtype"] = how.pop("output_dtype")
    if "exclude_times" in how:
        how["exclude_times"] = in_words(how["exclude_times"])
    return Form(**how, report=not options.get("no_report", False))


def changes_of(changes: Changes | None, bad_channels_out: str | None = None) -> Changes:
    """Changes to a preset."""
    bad = {} if bad_channels_out is None else {"interpolate.bad_channels": bad_channels_out}
    return {**(changes or {}), **bad}


def settings_of(preset: PathLike | None, changes: Changes) -> Settings:
    """The resolved preset."""
    return presets.load(named(preset), changes)


def named(preset: PathLike | None) -> str | None:
    """The name of a preset or of its file."""
    return None if preset is None else os.fspath(preset)


def in_words(times: Times | None) -> str | None:
    """Times to exclude as the command line is given them."""
    if times is None or isinstance(times, (str, os.PathLike)):
        return None if times is None else os.fspath(times)
    return ",".join(f"{float(start)!r}-{float(stop)!r}".removesuffix("inf") for start, stop in times) or None


def _given(options: Mapping[str, object], group: type, leave_out: Sequence[str] = ()) -> dict[str, Any]:
    """Those of a group that are said."""
    names = [name for name in group.__annotations__ if name not in leave_out]
    return {name: options[name] for name in names if options.get(name) is not None}
