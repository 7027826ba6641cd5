"""The rows of the table: what is run on either side, and what is asked of it."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import isnan, nan
from pathlib import Path
from typing import NamedTuple

import data
from bench import Bench
from measure import Usage

from driftcli.catalogue import DEFAULT_PRESET

PRESETS = {"rigid_fast": 8.0, "kilosort_like": 8.0, "nonrigid_accurate": 30.0}  # how much faster is asked
KERNELS_TOLD = "compiles"  # in what driftcli says when it does


class Result(NamedTuple):
    """What was measured for a row; NaN and None where it wasn't."""

    ours: Usage
    peer: Usage | None = None
    again: Usage | None = None
    copy_s: float = nan
    own_error_um: float = nan
    peer_error_um: float = nan

    @property
    def ratio(self) -> float:
        return self.peer.seconds / self.ours.seconds if self.peer else nan


class Asked(NamedTuple):
    """A limit: its wording, and what was reached in the same words, with whether that will do (None: can't be told)."""

    text: str
    reached: Callable[[Result], tuple[str, bool | None]]


@dataclass(frozen=True)
class Row:
    """One line of the table.

    ours, peer: the commands, which leave their files in the scratch folder's `ours` and `peer`.
    first: the uncounted command before, that compiles the kernels; None: `ours` itself.
    file: read by both; put into the same state before each run, and timed for `cp`.
    peaks: hold the truth that the errors of both motions are against.
    runs: at least so many times.
    fresh: compile the kernels in the counted run, and measure a second one beside it.
    """

    work: str
    ours: list[str]
    asked: list[Asked]
    peer: list[str] = field(default_factory=list)
    first: list[str] | None = None
    file: Path | None = None
    copied: bool = False
    peaks: Path | None = None
    runs: int = 1
    fresh: bool = False


def number(value: float) -> str:
    """Three digits or more, but no exponent."""
    return f"{value:.{0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2}f}"


def _limit(sign: str, limit: float, unit: str, value: Callable[[Result], float]) -> Asked:
    def reached(result: Result) -> tuple[str, bool | None]:
        got = value(result)
        if isnan(got):
            return "–", None
        return f"{number(got)} {unit}", got >= limit if sign == "≥" else got <= limit

    return Asked(f"{sign} {limit:g} {unit}", reached)


def faster(times: float) -> Asked:
    return _limit("≥", times, "× faster", lambda result: result.ratio)


def copies(times: float) -> Asked:
    return _limit("≤", times, "× cp", lambda result: result.ours.seconds / result.copy_s)


def megabytes(limit: float) -> Asked:
    return _limit("≤", limit, "MB", lambda result: result.ours.all_mb)


def seconds(limit: float) -> Asked:
    return _limit("≤", limit, "s", lambda result: result.ours.seconds)


def error(times: float) -> Asked:
    return _limit("≤", times, "× the error", lambda result: result.own_error_um / result.peer_error_um)


def extra(limit: float) -> Asked:
    return _limit(
        "≤", limit, "s extra", lambda result: result.ours.seconds - result.again.seconds if result.again else nan
    )


SAID = Asked("said", lambda result: ("said", True) if KERNELS_TOLD in result.ours.told else ("not said", False))


def run(bench: Bench) -> Iterator[Row]:
    """Whole runs on the reference recording."""
    recording = bench.recording("reference")
    for preset, times in PRESETS.items():
        yield _run_row(bench, recording, preset, [faster(times)])
    yield _run_row(bench, recording, DEFAULT_PRESET, [], peer=False)


def run_384(bench: Bench) -> Iterator[Row]:
    yield _run_row(bench, bench.recording("nonrigid384"), "nonrigid_accurate", [copies(2.5)])
    yield _run_row(bench, bench.recording("nonrigid384"), DEFAULT_PRESET, [], peer=False)


def _run_row(bench: Bench, recording: Path, preset: str, asked: list[Asked], peer: bool = True) -> Row:
    """peer: whether it has a preset of that name."""
    return Row(
        f"`run` {preset}, {_length(recording)}",
        bench.driftcli("run", "--no-report", *bench.source(recording), "--preset", preset, "--out", str(bench.ours)),
        asked,
        peer=bench.spikeinterface("run", recording, "--preset", preset) if peer else [],
        file=recording / "rec.bin",
        copied=True,
    )


def detect(bench: Bench) -> Iterator[Row]:
    """Detection and localization with the methods of two presets."""
    recording = bench.recording("nonrigid384")
    methods = {"rigid_fast": ("center_of_mass", 10.0), "nonrigid_accurate": ("monopolar_triangulation", 30.0)}
    for preset, (method, times) in methods.items():
        yield Row(
            f"`detect` {method}, {_length(recording)}",
            _detect(bench, recording, preset),
            [faster(times), megabytes(500)],
            peer=bench.spikeinterface("detect", recording, "--preset", preset),
            file=recording / "rec.bin",
            copied=True,
        )


def apply(bench: Bench) -> Iterator[Row]:
    """The same motion, that driftcli found, for both."""
    recording, preset = bench.recording("nonrigid384"), "nonrigid_accurate"
    motion = bench.motion(recording, preset)
    bins = bench.as_npz(motion)
    yield Row(
        f"`apply`, {_length(recording)}",
        _apply(bench, recording, motion),
        [copies(1.5), megabytes(500)],
        peer=bench.spikeinterface("apply", recording, "--preset", preset, "--motion", str(bins)),
        file=recording / "rec.bin",
        copied=True,
    )


def memory(bench: Bench) -> Iterator[Row]:
    """driftcli on a recording and on its first tenth; that one compiles the kernels."""
    whole, preset = bench.recording("nonrigid384"), "nonrigid_accurate"
    tenth = data.first_part(whole, 0.1, bench.scratch / "tenth")
    for recording in (tenth, whole):
        detecting, first = (_detect(bench, source, preset) for source in (recording, tenth))
        yield Row(f"memory of `detect`, {_length(recording)}", detecting, [megabytes(500)], first=first)
        applying, first = (_apply(bench, source, bench.motion(source, preset)) for source in (recording, tenth))
        yield Row(f"memory of `apply`, {_length(recording)}", applying, [megabytes(500)], first=first)


def _detect(bench: Bench, recording: Path, preset: str) -> list[str]:
    return bench.driftcli("detect", *bench.source(recording), "--preset", preset, "--out", str(bench.ours / "peaks.h5"))


def _apply(bench: Bench, recording: Path, motion: Path) -> list[str]:
    files = (str(recording / "rec.bin"), str(motion), "--out", str(bench.ours / "corrected.bin"))
    return bench.driftcli("apply", *files, "--output-dtype", "int16")


def _length(recording: Path) -> str:
    return f"{data.facts_of(recording)['num_channels']} ch, {data.duration_s(recording):g} s"


def estimate(bench: Bench) -> Iterator[Row]:
    """The estimate alone, with imports and the reading of the peaks."""
    peaks = bench.peaks(bench.options.seconds_dredge)
    windows = ("win_step_um=400", "win_scale_um=400")
    modes = {"full": (20.0, ()), "online": (10.0, ("batching_mode=online", "chunk_len_s=500"))}
    for mode, (times, changes) in modes.items():
        peer = _peer_estimate(bench, peaks, "dredge_ap", *windows, *changes)
        yield _estimate_row(bench, peaks, "dredge_ap", [faster(times), error(1.05)], f" (peer: {mode})", peer)
    peaks = bench.peaks(bench.options.seconds_decentralized)
    peer = _peer_estimate(bench, peaks, "decentralized")
    yield _estimate_row(bench, peaks, "decentralized", [faster(20), error(1.05)], "", peer)


def estimate_long(bench: Bench) -> Iterator[Row]:
    """Longer than the peer can; the kernels are compiled on the shorter peaks."""
    shorter = bench.peaks(bench.options.seconds_dredge)
    for length_s in bench.options.seconds_long:
        peaks = bench.peaks(length_s)
        yield _estimate_row(bench, peaks, "dredge_ap", [megabytes(2000)], first=_estimate(bench, shorter, "dredge"))


def _estimate_row(
    bench: Bench,
    peaks: Path,
    method: str,
    asked: list[Asked],
    addition: str = "",
    peer: list[str] | None = None,
    first: list[str] | None = None,
) -> Row:
    preset = {"dredge_ap": "dredge", "decentralized": "nonrigid_accurate"}[method]
    work = f"`estimate` {method}, {data.length_s(peaks)} s{addition}"
    return Row(work, _estimate(bench, peaks, preset), asked, peer=peer or [], first=first, file=peaks, peaks=peaks)


def _estimate(bench: Bench, peaks: Path, preset: str) -> list[str]:
    span = ("--span-um", *map(str, data.span_um(peaks)))
    return bench.driftcli("estimate", str(peaks), "--preset", preset, *span, "--out", str(bench.ours / "motion.h5"))


def _peer_estimate(bench: Bench, peaks: Path, method: str, *changes: str) -> list[str]:
    span = ("--span-um", *map(str, data.span_um(peaks)))
    return bench.spikeinterface("estimate", peaks, "--method", method, *span, "--set", *changes)


def help_(bench: Bench) -> Iterator[Row]:
    yield Row("`driftcli --help`", [sys.executable, "-m", "driftcli", "--help"], [seconds(0.25)], runs=5)


def first_call(bench: Bench) -> Iterator[Row]:
    """`run` where no kernel is compiled, and once more."""
    recording = bench.recording("reference")
    for preset in PRESETS:
        command = bench.driftcli(
            "run", "--no-report", *bench.source(recording), "--preset", preset, "--out", str(bench.ours), quiet=False
        )
        work = f"first `run` {preset}, {_length(recording)}"
        yield Row(work, command, [extra(20), SAID], file=recording / "rec.bin", fresh=True)


GROUPS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "run": run,
    "detect": detect,
    "apply": apply,
    "run-384": run_384,
    "estimate": estimate,
    "estimate-long": estimate_long,
    "memory": memory,
    "help": help_,
    "first-call": first_call,
}
