"""estimate: localized peaks in, the motion of the tissue out. Needs no recording."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from driftcli.errors import InputError, UsageError
from driftcli.model import DepthPeaks, Geometry, Motion, Settings, Stage
from driftcli.reporter import Reporter
from driftcli.store.motion import write_motion
from driftcli.store.npz import read_npz_peaks
from driftcli.store.peaks import PeaksByShank
from driftcli.workflow.runlog import RunLog, describe_motions
from driftcli.workflow.steps import ESTIMATE_STAGES
from driftcli.workflow.work import Work, claim_outputs

# What the program takes before it has read anything: Python, the libraries, the compiled kernels.
_PROGRAM_BYTES = 210e6
_BYTES_PER_PEAK = 24  # time, depth and amplitude in double precision
_MILLION = 1_000_000
_MANY_PEAKS = 100 * _MILLION  # so many that what they take is what counts

Span = tuple[float, float]


@dataclass(frozen=True)
class ShankPeaks:
    """The depths that the contacts of one shank span, its number of peaks, and how to get them."""

    span_um: Span
    count: int
    read: Callable[[], DepthPeaks]


def estimate(source: Path, settings: Settings, out: Path, work: Work, *, span_um: Span | None = None) -> dict[str, Any]:
    """Estimate the motion of each shank from `peaks.h5` (or an .npz) and write it to `out` (HDF5).

    span_um: lowest and highest depth of the shank, for peaks from an .npz; by default those of the peaks.

    Returns the facts that went to `run.json`. Raises InputError when the peaks can't be read or there are none, and
    UsageError for a span where the contacts say it and for an estimate that needs more memory than it may.
    """
    claim_outputs([out], [source], work.overwrite)
    if source.suffix.lower() == ".npz":
        facts, peaks = None, read_npz_peaks(source)
        duration_s = float(np.ceil(peaks.time_s[-1]))
        span_um = _checked_span(span_um) or (float(peaks.depth_um.min()), float(peaks.depth_um.max()))
        shanks = {0: ShankPeaks(span_um, len(peaks), lambda: peaks)}
    else:
        if span_um is not None:
            raise UsageError(
                "--span-um is for peaks from an .npz", f"leave it out: {source.name} says where contacts are"
            )
        file = PeaksByShank.open(source)
        facts, duration_s, shanks = file.facts, file.facts.duration_s, _by_shank(file)
    log = RunLog("estimate", out, {"peaks": source}, settings, ESTIMATE_STAGES, work)
    with_peaks = [(shank.span_um, shank.count) for shank in shanks.values() if shank.count]
    if with_peaks:
        needed = _Memory.of(with_peaks, duration_s, settings["estimate"], work.jobs)
        needed.tell_or_refuse(work, f", {sum(count for _, count in with_peaks):,} peaks")
    with log.timed("estimate"):
        motions = _estimate_shanks(shanks, duration_s, settings, work)
    write_motion(out, motions, duration_s, facts, settings)
    log.counts = {"peaks": sum(data.count for data in shanks.values()), **describe_motions(motions)}
    return log.write()


def foresee_memory(geometry: Geometry, duration_s: float, settings: Settings, work: Work) -> None:
    """Before there are peaks: tell how much memory the estimate will take, as far as that doesn't depend on them.

    Raises UsageError if that alone is more than there may be, or than the method ever takes.
    """
    stage, spans_um = settings["estimate"], _spans_um(geometry).values()
    least = _Memory.of([(span_um, 0) for span_um in spans_um], duration_s, stage, work.jobs)
    many, more = (
        _Memory.of([(span_um, peaks) for span_um in spans_um], duration_s, stage, work.jobs)
        for peaks in (_MANY_PEAKS, _MANY_PEAKS + _MILLION)
    )
    least.tell_or_refuse(work, f", and up to {(more.n_bytes - many.n_bytes) / 1e6:.0f} MB for each million peaks")


@dataclass(frozen=True)
class _Memory:
    """What an estimate takes at its peak, its shanks one after the other; hint: what to do if that is too much."""

    temporal_bins: int
    windows: int
    n_bytes: float
    hint: str

    @classmethod
    def of(cls, shanks: list[tuple[Span, int]], duration_s: float, stage: Stage, jobs: int) -> _Memory:
        """shanks: the span and the number of peaks of each."""
        of_shanks = [
            (count, stage.module.footprint(count, span_um, duration_s, stage.parameters, jobs))
            for span_um, count in shanks
        ]
        n_bytes, hint = max((_BYTES_PER_PEAK * count + each.n_bytes, each.hint) for count, each in of_shanks)
        windows = sum(each.windows for _, each in of_shanks)
        return cls(of_shanks[0][1].temporal_bins, windows, _PROGRAM_BYTES + n_bytes, hint)

    def tell_or_refuse(self, work: Work, peaks: str) -> None:
        """Tell the user; UsageError if more than `work.max_memory_bytes`. peaks: what to say of them."""
        allowed = work.max_memory_bytes
        if allowed is not None and self.n_bytes > allowed:
            raise UsageError(
                f"the estimate needs about {self.n_bytes / 1e9:.3g} GB of memory, more than the {allowed / 1e9:.3g} GB "
                "of --max-memory",
                f"{self.hint}, or raise --max-memory",
            )
        bins, windows = _plural(self.temporal_bins, "temporal bin"), _plural(self.windows, "spatial window")
        work.reporter.message(
            f"the estimate takes about {self.n_bytes / 1e9:.2g} GB of memory: {bins} × {windows}{peaks}"
        )


def _plural(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _checked_span(span_um: Span | None) -> Span | None:
    if span_um is not None and not -np.inf < span_um[0] < span_um[1] < np.inf:
        raise UsageError(f"--span-um {span_um[0]:g} {span_um[1]:g} is no span", "give the lower depth first, in µm")
    return span_um


def _by_shank(file: PeaksByShank) -> dict[int, ShankPeaks]:
    spans_um = _spans_um(file.facts.geometry)
    return {
        shank: ShankPeaks(spans_um[shank], count, partial(file.read, shank)) for shank, count in file.counts.items()
    }


def _spans_um(geometry: Geometry) -> dict[int, Span]:
    """Lowest and highest depth of the contacts of each shank."""
    depths = {shank: geometry.depths_um[contacts] for shank, contacts in geometry.each_shank()}
    return {shank: (float(depth.min()), float(depth.max())) for shank, depth in depths.items()}


def _estimate_shanks(
    shanks: Mapping[int, ShankPeaks], duration_s: float, settings: Settings, work: Work
) -> dict[int, Motion]:
    """The motion of each shank; one without peaks stands still, unless none has any."""
    stage = settings["estimate"]
    motions: dict[int, Motion] = {}
    unusable = 0
    for done, (number, shank) in enumerate(shanks.items()):
        reporter = _ShankReporter(work.reporter, number, done, len(shanks))
        try:
            if not shank.count:
                raise InputError("there are no peaks")
            # No name for the peaks here: those of one shank must be gone before the next are read.
            motions[number] = stage.module.estimate(
                shank.read(), shank.span_um, duration_s, stage.parameters, reporter, work.jobs
            )
        except InputError as error:
            unusable += 1
            if unusable == len(shanks):
                raise
            reporter.message(f"{error.message}; its motion is taken as zero")
            motions[number] = Motion(np.zeros((1, 1)), np.array([duration_s / 2]), np.array([sum(shank.span_um) / 2]))
    return motions


class _ShankReporter(Reporter):
    """Passes on what one shank of several has to tell, under its name and as its share of the progress."""

    def __init__(self, reporter: Reporter, shank: int, done: int, total: int) -> None:
        self._reporter, self._done, self._total = reporter, done, total
        self._name = f"shank {shank}: " if total > 1 else ""

    def message(self, text: str) -> None:
        self._reporter.message(self._name + text)

    def progress(self, stage: str, done: float, total: float, recording_s: float = 0.0) -> None:
        self._reporter.progress(stage, self._done + done / total, self._total)
