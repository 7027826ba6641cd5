"""estimate: localized peaks in, the motion of the tissue out. Needs no recording."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from driftcli.errors import InputError, UsageError
from driftcli.estimate.timeline import Timeline
from driftcli.mask.exclude import mask_of_text
from driftcli.mask.spans import merged, shares, union
from driftcli.model import (
    GOOD,
    LARGEST_TIME_S,
    DepthPeaks,
    DepthTraces,
    Geometry,
    Mask,
    Motion,
    RecordingFacts,
    Settings,
    Stage,
)
from driftcli.recording.recording import Recording
from driftcli.reporter import Part, Reporter
from driftcli.store.motion import write_motion
from driftcli.store.npz import read_npz_peaks
from driftcli.store.peaks import PeaksByShank
from driftcli.units import count_of, readable_size
from driftcli.workflow.identity import checksum_of
from driftcli.workflow.outdated import tell_of_outdated
from driftcli.workflow.place import begin, kept_from_before
from driftcli.workflow.runlog import RunLog, describe_motions, tell_of_mask
from driftcli.workflow.steps import ESTIMATE_STAGES, refuse_traces, works_on_traces
from driftcli.workflow.work import Work, check_outputs

# What the program takes before it has read anything: Python, the libraries, the compiled kernels.
_PROGRAM_BYTES = 210e6
_BYTES_PER_PEAK = 24  # time, depth and amplitude in double precision
_MILLION = 1_000_000
_MANY_PEAKS = 100 * _MILLION  # so many that what they take is what counts

Span = tuple[float, float]
Shanks = Literal["each", "together"]
_TICKS_HZ = 1e6  # peaks of an .npz have times but no samples: their mask counts microseconds


@dataclass(frozen=True)
class ShankPeaks:
    """The depths that the contacts of one shank span, its number of peaks, and how to get them."""

    span_um: Span
    count: int
    read: Callable[[], DepthPeaks]

    def on(self, timeline: Timeline) -> DepthPeaks:
        """What the method is given."""
        return timeline.take(self.read())


@dataclass(frozen=True)
class ShankTraces:
    """The same of an estimate that works on traces; count: their depths."""

    span_um: Span
    traces: DepthTraces

    @property
    def count(self) -> int:
        return len(self.traces.depths_um)

    def on(self, timeline: Timeline) -> DepthTraces:
        """What the method is given."""
        return timeline.take_bins(self.traces)


@dataclass(frozen=True)
class Source:
    """Peaks to estimate a motion from.

    facts: of the recording that they came from, None for those of an .npz. mask: in samples of `rate_hz`.
    shanks: the peaks of each shank; with one motion for several shanks those of all of them.
    """

    facts: RecordingFacts | None
    duration_s: float
    rate_hz: float
    mask: Mask
    shanks: dict[tuple[int, ...], ShankPeaks]

    @property
    def num_samples(self) -> int:
        """Length in samples of `rate_hz`."""
        return round(self.duration_s * self.rate_hz)

    @property
    def masked_share(self) -> dict[str, float]:
        """Share of the time that each reason masks, and any."""
        return shares(self.mask, self.num_samples)

    def excluding(self, times: str | None, ignore_mask: bool = False) -> tuple[Source, Mask]:
        """The same with what `--exclude-times` says added to the mask or in its place, and that by itself."""
        excluded = mask_of_text(times, self.rate_hz, self.num_samples)
        return replace(self, mask=merged([Mask() if ignore_mask else self.mask, excluded])), excluded

    def timeline(self, bin_s: float) -> Timeline:
        """The time that the estimate works on."""
        breaks_s = np.empty(0) if self.facts is None else self.facts.breaks / self.rate_hz
        return Timeline.of(self.duration_s, bin_s, breaks_s, union(self.mask) / self.rate_hz)


def estimate(
    source: Path,
    settings: Settings,
    out: Path,
    work: Work,
    *,
    span_um: Span | None = None,
    shanks: Shanks = "each",
    exclude_times: str | None = None,
    ignore_mask: bool = False,
) -> dict[str, Any]:
    """Estimate the motion of each shank from `peaks.h5` (or an .npz) and write it to `out` (HDF5).

    span_um: lowest and highest depth of the shank, for peaks from an .npz; by default those of the peaks.
    shanks: each has a motion of its own, or together they have one.
    exclude_times: spans to leave out beside those of the file's mask, or the file that lists them. ignore_mask: leave
        out only those.

    Returns the facts that went to `run.json`. Raises InputError when the peaks can't be read or there are none, and
    UsageError for a span where the contacts say it and for an estimate that needs more memory than it may.
    """
    check_outputs([out], [source])
    refuse_traces(settings, "these are", "give the recording, or another --preset")
    peaks = open_source(source, span_um, shanks)
    peaks, excluded = peaks.excluding(exclude_times, ignore_mask)
    log = RunLog(
        "estimate",
        out,
        {"peaks": source},
        settings,
        ESTIMATE_STAGES,
        work,
        options={
            "span_um": span_um,
            "shanks": shanks,
            "excluded": np.column_stack([excluded.starts, excluded.stops]).tolist(),
            "ignore_mask": ignore_mask,
        },
    )
    kept = kept_from_before([out], log, work)
    if kept is not None:
        return kept
    share = peaks.masked_share
    if exclude_times is not None or ignore_mask:  # else detect has told
        tell_of_mask(share, work.reporter)
    timeline = _foreseen(peaks, settings, work)
    with begin([out], out, log.identity, work) as portion:
        with log.timed("estimate"):
            motions = estimate_shanks(peaks.shanks, timeline, settings, work)
        motion = portion.folder / out.name
        write_motion(motion, motions, peaks.duration_s, peaks.facts, settings, peaks.mask, peaks.rate_hz)
        log.facts["mask"] = {"share": {name: round(each, 6) for name, each in share.items()}}
        log.facts["checksums"] = {motion.name: checksum_of(motion)}
        log.counts = {"peaks": sum(data.count for data in peaks.shanks.values()), **describe_motions(motions)}
        facts = log.closed()
        portion.deliver([motion], {out.name: facts})
    tell_of_outdated(out.parent, work.reporter)
    return {"output": str(out), **facts}


def estimate_peaks(
    peaks: DepthPeaks,
    settings: Settings,
    work: Work,
    *,
    duration_s: float | None = None,
    span_um: Span | None = None,
    exclude_times: str | None = None,
) -> Motion:
    """Estimate the motion of one shank from peaks in memory. No file is read or written.

    duration_s: of the recording, by default until the end of the second that the last peak is in. The rest is as in
    `estimate`. Raises InputError for a duration that is no number or ends before the last peak, and as that does.
    """
    refuse_traces(settings, "these are", "take another preset")
    source, _ = _of_one_shank(peaks, span_um, duration_s).excluding(exclude_times)
    if exclude_times is not None:
        tell_of_mask(source.masked_share, work.reporter)
    timeline = _foreseen(source, settings, work)
    (motion,) = estimate_shanks(source.shanks, timeline, settings, work).values()
    return motion


def _foreseen(peaks: Source, settings: Settings, work: Work) -> Timeline:
    """The time to work on, when it and the memory needed are told. Raises UsageError for too much of that."""
    timeline = peaks.timeline(bin_s_of(settings))
    tell_of_short_files(timeline, work)
    with_peaks = [(shank.span_um, shank.count) for shank in peaks.shanks.values() if shank.count]
    if with_peaks:
        needed = Memory.of(with_peaks, timeline.duration_s, settings["estimate"], work.jobs)
        needed.tell_or_refuse(work, f", {sum(count for _, count in with_peaks):,} peaks")
    return timeline


def tell_of_short_files(timeline: Timeline, work: Work) -> None:
    if timeline.unknown_stretches:
        files = f"{timeline.unknown_stretches} of {len(timeline.stretches_s)} files"
        work.reporter.message(
            f"{files} have no temporal bin of which half is there and not masked: their motion is that of the files "
            f"around them; with a smaller estimate.bin_s than {timeline.bin_s:g} there may be fewer"
        )


def worked_s(recording: Recording, settings: Settings) -> float:
    """How long the time is that the estimate works on, if nothing is masked: with what is put between files."""
    breaks_s = recording.breaks / recording.sampling_frequency_hz
    return Timeline.of(recording.duration_s, bin_s_of(settings), breaks_s, np.empty((0, 2))).duration_s


def bin_s_of(settings: Settings) -> float:
    """Length of the temporal bins that the estimate of a preset works with."""
    return float(settings["estimate"].parameters.model_dump()["bin_s"])


def open_source(source: Path, span_um: Span | None, shanks: Shanks) -> Source:
    """Peaks of `peaks.h5` or of an .npz. Raises InputError when they can't be read, UsageError for a span where the
    contacts say it."""
    npz = source.suffix.lower() == ".npz"
    return _of_one_shank(read_npz_peaks(source), span_um) if npz else _open_peaks(source, span_um, shanks)


def _of_one_shank(peaks: DepthPeaks, span_um: Span | None, duration_s: float | None = None) -> Source:
    """Peaks that come without a recording."""
    span_um = _checked_span(span_um) or (float(peaks.depth_um.min()), float(peaks.depth_um.max()))
    shanks: dict[tuple[int, ...], ShankPeaks] = {(0,): ShankPeaks(span_um, len(peaks), lambda: peaks)}
    last_s = float(peaks.time_s[-1])
    if duration_s is None:
        duration_s = float(np.ceil(last_s))
    elif not last_s <= duration_s <= LARGEST_TIME_S:
        raise InputError(
            f"{duration_s:g} s is no duration of a recording with a peak at {last_s:g} s",
            "give the length of the recording in s, or none",
        )
    return Source(None, duration_s, _TICKS_HZ, Mask(), shanks)


def _open_peaks(source: Path, span_um: Span | None, shanks: Shanks) -> Source:
    if span_um is not None:
        raise UsageError("--span-um is for peaks from an .npz", f"leave it out: {source.name} says where contacts are")
    file = PeaksByShank.open(source)
    by_shank: dict[tuple[int, ...], ShankPeaks] = {
        group: ShankPeaks(span_um, sum(file.counts[shank] for shank in group), partial(file.read, group))
        for group, span_um in spans_um_of(_used(file.facts), shanks).items()
    }
    return Source(file.facts, file.facts.duration_s, file.facts.sampling_frequency_hz, file.mask, by_shank)


def foresee_memory(recording: Recording, settings: Settings, work: Work, shanks: Shanks) -> None:
    """Before there are peaks: tell how much memory the estimate will take, as far as that doesn't depend on them.

    Raises UsageError if that alone is more than there may be, or than the method ever takes.
    """
    if works_on_traces(settings):  # told when it begins
        return
    stage, spans_um = settings["estimate"], spans_um_of(recording.geometry, shanks).values()
    duration_s = worked_s(recording, settings)
    least = Memory.of([(span_um, 0) for span_um in spans_um], duration_s, stage, work.jobs)
    many, more = (
        Memory.of([(span_um, peaks) for span_um in spans_um], duration_s, stage, work.jobs)
        for peaks in (_MANY_PEAKS, _MANY_PEAKS + _MILLION)
    )
    least.tell_or_refuse(work, f", and up to {readable_size(more.n_bytes - many.n_bytes)} for each million peaks")


@dataclass(frozen=True)
class Memory:
    """What an estimate takes at its peak, its shanks one after the other; hint: what to do if that is too much."""

    temporal_bins: int
    windows: int
    n_bytes: float
    hint: str

    @classmethod
    def of(
        cls,
        shanks: list[tuple[Span, int]],
        duration_s: float,
        stage: Stage,
        jobs: int,
        beside: Sequence[float] | None = None,
    ) -> Memory:
        """shanks: the span and the number of peaks of each. beside: bytes that are held of others during each."""
        of_shanks = [
            stage.module.footprint(count, span_um, duration_s, stage.parameters, jobs) for span_um, count in shanks
        ]
        held = [0.0] * len(shanks) if beside is None else beside
        n_bytes, hint = max(
            (_BYTES_PER_PEAK * count + of_others + each.n_bytes, each.hint)
            for (_, count), each, of_others in zip(shanks, of_shanks, held, strict=True)
        )
        windows = sum(each.windows for each in of_shanks)
        return cls(of_shanks[0].temporal_bins, windows, _PROGRAM_BYTES + n_bytes, hint)

    def tell_or_refuse(self, work: Work, peaks: str) -> None:
        """Tell the user; UsageError if more than `work.max_memory_bytes`. peaks: what to say of them."""
        self.refuse(work)
        bins, windows = count_of(self.temporal_bins, "temporal bin"), count_of(self.windows, "spatial window")
        work.reporter.message(
            f"the estimate takes about {readable_size(self.n_bytes)} of memory: {bins} × {windows}{peaks}"
        )

    def refuse(self, work: Work, hint: str = "") -> None:
        """Raise UsageError if that is more than `work.max_memory_bytes`. hint: what to do; by default what the method
        says."""
        allowed = work.max_memory_bytes
        if allowed is not None and self.n_bytes > allowed:
            raise UsageError(
                f"the estimate needs about {readable_size(self.n_bytes)} of memory, more than the "
                f"{readable_size(allowed)} of --max-memory",
                f"{hint or self.hint}, or raise --max-memory",
            )


def _checked_span(span_um: Span | None) -> Span | None:
    if span_um is not None and not -np.inf < span_um[0] < span_um[1] < np.inf:
        raise UsageError(f"--span-um {span_um[0]:g} {span_um[1]:g} is no span", "give the lower depth first, in µm")
    return span_um


def _used(facts: RecordingFacts) -> Geometry:
    """The contacts that peaks can be on: of each shank the good ones, or all if none is."""
    geometry, used = facts.geometry, np.ones(len(facts.geometry), bool)
    for _, contacts in geometry.each_shank():
        good = np.ones(len(contacts), bool) if facts.labels is None else facts.labels[contacts] == GOOD
        used[contacts] = good if good.any() else True
    return Geometry(geometry.positions_um[used], geometry.shanks[used])


def spans_um_of(geometry: Geometry, shanks: Shanks) -> dict[tuple[int, ...], Span]:
    """Lowest and highest depth of the contacts of each shank, or of all together."""
    depths = {group: geometry.depths_um[contacts] for group, contacts in groups_of(geometry, shanks).items()}
    return {group: (float(depth.min()), float(depth.max())) for group, depth in depths.items()}


def groups_of(geometry: Geometry, shanks: Shanks) -> dict[tuple[int, ...], NDArray[np.int64]]:
    """The contacts of each shank, or of all together, by index."""
    each = dict(geometry.each_shank())
    groups = [tuple(each)] if shanks == "together" else [(shank,) for shank in each]
    return {group: np.concatenate([each[shank] for shank in group]) for group in groups}


def estimate_shanks(
    shanks: Mapping[tuple[int, ...], ShankPeaks | ShankTraces], timeline: Timeline, settings: Settings, work: Work
) -> dict[int, Motion]:
    """The motion of each shank; one without peaks stands still, unless none has any."""
    stage = settings["estimate"]
    motions: dict[int, Motion] = {}
    unusable = 0
    work.reporter.progress("estimate", 0, len(shanks))  # reading the peaks is part of it
    for done, (group, shank) in enumerate(shanks.items()):
        reporter = _ShankReporter(work.reporter, group, done, len(shanks))
        try:
            if not shank.count:
                raise InputError("there are no peaks", "detect with a lower detect.detect_threshold")
            # No name for the peaks here: those of one shank must be gone before the next are read.
            motion = stage.module.estimate(
                shank.on(timeline),
                shank.span_um,
                timeline.duration_s,
                stage.parameters,
                reporter,
                work.jobs,
            )
            motion = timeline.restore(motion)
        except InputError as error:
            unusable += 1
            if unusable == len(shanks):
                raise
            reporter.message(f"{error.message}; its motion is taken as zero")
            centres_s, centres_um = np.array([timeline.ends_s[-1] / 2]), np.array([sum(shank.span_um) / 2])
            motion = Motion(np.zeros((1, 1)), centres_s, centres_um)
        motions |= dict.fromkeys(group, motion)
    return motions


class _ShankReporter(Part):
    """Passes on what one shank of several has to tell, under its name and as its share of the progress."""

    def __init__(self, reporter: Reporter, shanks: tuple[int, ...], done: int, total: int) -> None:
        super().__init__(reporter, done / total, (done + 1) / total)
        self._shanks = shanks
        self._name = f"shank {shanks[0]}: " if total > 1 else ""

    def message(self, text: str) -> None:
        super().message(self._name + text)

    def note(self, event: str, **facts: Any) -> None:
        super().note(event, **{**facts, "shanks": self._shanks})
