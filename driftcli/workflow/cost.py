"""What a run would cost in time, memory and disk, by doing its work on a few blocks spread over the recording.

Time of detect and apply: that of the real work on those blocks, kernels compiled and loaded before, times how much
longer the recording is. Looking for bad channels and noise levels takes the same slices as a run, whose time counts as
it is. What is interpolated follows a made-up motion with another displacement in each temporal bin. Corrected samples
go nowhere, so what the disk takes to write them is not in it.

Time of the estimate: that of the real method on the peaks of those blocks, repeated to fill some hundred temporal bins,
then twice as many, and so on until that takes half a second longer than a single bin does. Where a recording has more
bins, a time of `c + a * bins + b * bins * (bins they are compared with)` is drawn through the last two; c is that of
the single bin, as some methods have work to do that doesn't grow. The bins compared with are all, or those within the
method's `time_horizon_s`. The verdict takes three more estimates. Of pictures, and of fitting weights to footprints, it
is what they took elsewhere.

Memory: what this process took at most while it did that, what fitting weights takes at most, and what the estimate is
predicted to take.
"""

from __future__ import annotations

import math
import re
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from driftcli.catalogue import FITTED_TO_PEAKS
from driftcli.errors import DriftcliError
from driftcli.estimate.histogram import centres, temporal_bins
from driftcli.files import free_bytes
from driftcli.model import DepthPeaks, Mask, Motion, Peaks, Settings, Stage
from driftcli.recording.recording import Recording
from driftcli.reporter import Reporter
from driftcli.store.peaks import joined_peaks
from driftcli.workflow.assess import ESTIMATES
from driftcli.workflow.corrector import Corrector
from driftcli.workflow.estimate import Memory, Shanks, bin_s_of, spans_um_of, worked_s
from driftcli.workflow.learn import most_bytes
from driftcli.workflow.outputs import default_name, outputs_of
from driftcli.workflow.peak_finder import Noise, PeakFinder, rows_in
from driftcli.workflow.run import needed_bytes
from driftcli.workflow.sinks import sink_to_nowhere
from driftcli.workflow.stream import Span
from driftcli.workflow.work import Work

_STRETCHES, _STRETCH_BLOCKS = 2, 4  # for each thread, so many stretches of so many blocks
_ONE_BLOCK_S = 1e-9  # a chunk is at least one block: so it is no more
_BINS = 150  # temporal bins of the smallest estimate that is timed
_LONG_ENOUGH_S = 0.5  # to say how an estimate grows
_MADE_UP_UM = 10.0
_PLOT_S, _PLOT_PEAK_S = 3.0, 6e-7  # pictures of some 10,000 peaks and of 8 million took 3 and 7.4 s
_FOOTPRINTS_S = 0.015  # of each contact: fitting the weights of 128 and 384 took 1.3 and 6.5 s
_DISPLACEMENT_BYTES = 8
_STAGE = "try a run"

Result = TypeVar("Result")


class Looked(NamedTuple):
    """What a run begins with: labels (C,) of the contacts, noise of the good ones, and how long both took."""

    labels: NDArray[np.uint8]
    noise: Noise
    seconds: float


def cost_of(
    recording: Recording,
    settings: Settings,
    looked: Looked,
    folder: Path,
    work: Work,
    *,
    dtype: str | None = None,
    shanks: Shanks = "each",
) -> dict[str, Any]:
    """What a run with outputs in `folder` would cost; the options are those of `run`.

    The time of the estimate is None where the blocks hold no peaks to try it on, or it takes no recording that short.
    """
    trial = _Trial(recording, settings, looked, work, dtype)
    work.reporter.progress(_STAGE, 0, 3)
    trial.warm_up()
    detect_s = looked.seconds + trial.detect_s()
    work.reporter.progress(_STAGE, 1, 3)
    apply_s = trial.apply_s()
    work.reporter.progress(_STAGE, 2, 3)
    streaming_bytes = _most_memory_bytes() + round(sum(most_bytes(recording, settings)))
    estimate = _Estimate.of(recording, settings, trial, shanks)
    estimate_s, memory = estimate.seconds(work.jobs), estimate.memory(work.jobs)
    work.reporter.progress(_STAGE, 3, 3)
    times_s = {
        "detect": detect_s,
        "estimate": estimate_s,
        "assess": None if estimate_s is None else ESTIMATES * estimate_s,
        "apply": apply_s,
        "plot": _PLOT_S + _PLOT_PEAK_S * estimate.num_peaks,
    }
    return {
        "tried_s": trial.samples / recording.sampling_frequency_hz,
        "jobs": work.jobs,
        "peaks": estimate.num_peaks,
        "time_s": {**times_s, "total": sum(each for each in times_s.values() if each is not None)},
        "memory_bytes": {
            "streaming": streaming_bytes,
            "estimate": round(memory.n_bytes),
            "most": max(streaming_bytes, round(memory.n_bytes)),
        },
        "disk_bytes": {
            **_disk_bytes(recording, folder, dtype),
            "peaks": estimate.num_peaks * _row_bytes(trial.peaks),
            "motion": _DISPLACEMENT_BYTES * memory.temporal_bins * memory.windows,
        },
    }


def _disk_bytes(recording: Recording, folder: Path, dtype: str | None) -> dict[str, Any]:
    """needed: what a run wants to be free before it begins."""
    frame_bytes = recording.num_columns * np.dtype(dtype or recording.dtype).itemsize
    needed, free = needed_bytes(recording, dtype), free_bytes(folder)
    return {
        "folder": str(folder),
        "free": free,
        "needed": needed,
        "enough": needed <= free,
        "corrected": recording.num_samples * frame_bytes,
    }


def _row_bytes(peaks: Peaks) -> int:
    """What a peak takes before it is compressed."""
    columns: list[NDArray[Any]] = [peaks.sample_index, peaks.channel_index, peaks.amplitude, *peaks.location.values()]
    return sum(column.itemsize for column in columns)


def _most_memory_bytes() -> int:
    """What this process took at most so far, as Linux says; where it doesn't, including what its parent left it."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        status = ""
    found = re.search(r"^VmHWM:\s*(\d+) kB$", status, re.MULTILINE)
    return 1024 * (int(found[1]) if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


class _Trial:
    """The work of detect and apply on a few blocks.

    samples: of the blocks. longer: how many times longer the recording is.
    peaks: what was found there, for indices of all contacts, with samples that count on from block to block.
    """

    def __init__(self, recording: Recording, settings: Settings, looked: Looked, work: Work, dtype: str | None) -> None:
        quiet = replace(work, chunk_s=_ONE_BLOCK_S, reporter=Reporter())
        self._finder = PeakFinder(recording, settings, looked.labels, looked.noise, quiet)
        self._two_passes = settings["select"].method != "all"
        self._spans = _spread(self._finder.blocks(), _STRETCHES * work.jobs)
        self.samples = sum(stop - start for start, stop in self._spans)
        self.longer = recording.num_samples / self.samples
        output = outputs_of(recording, recording.path.with_name(default_name(recording)), dtype).binaries[0]
        fitted = settings["interpolate"].method in FITTED_TO_PEAKS
        self._fitting_s = _FOOTPRINTS_S * len(recording.geometry) if fitted else 0.0
        self._sinks = [(output, sink_to_nowhere(hashed=output.meta is not None))]
        self._new_corrector = partial(
            Corrector,
            recording,
            _made_up_motions(recording, settings),
            _keeping_all(settings),
            np.dtype(dtype or recording.dtype),
            looked.labels,
            quiet,
        )

    def warm_up(self) -> None:
        """See to it that kernels are compiled and loaded."""
        self._detect(self._spans[:1])
        self._fill(self._new_corrector(), self._spans[:1])

    def detect_s(self) -> float:
        """Time that all passes of detect would take over the whole recording."""
        seconds, self.peaks = _timed(lambda: self._detect(self._spans))
        return seconds * self.longer

    def apply_s(self) -> float:
        """Time that apply would take."""
        begins_s, corrector = _timed(self._new_corrector)
        seconds, _ = _timed(lambda: self._fill(corrector, self._spans))
        return begins_s + seconds * self.longer + self._fitting_s

    def _detect(self, spans: list[Span]) -> Peaks:
        finder = self._finder
        if not self._two_passes:
            return self._on_end(self._found(finder.located, spans), spans)
        found = joined_peaks(self._found(finder.detected, spans))
        spans_again = [span for span in spans if rows_in(found, span)]
        # all of them: there is no choice to be made from so few
        return self._on_end(self._found(partial(finder.located_again, found), spans_again), spans)

    def _found(self, find: Callable[[Span], tuple[Peaks, Mask | None]], spans: list[Span]) -> list[Peaks]:
        return [peaks for peaks, _ in self._finder.stream.map(find, spans, Reporter(), _STAGE)]

    def _on_end(self, found: list[Peaks], spans: list[Span]) -> Peaks:
        """The peaks as if one block followed the other."""
        if not found:
            return Peaks(np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, np.float32), {})
        peaks = joined_peaks(found)
        starts, stops = np.array(spans, np.int64).T
        moved = starts - np.concatenate([[0], np.cumsum(stops - starts)[:-1]])
        samples = peaks.sample_index - moved[np.searchsorted(starts, peaks.sample_index, side="right") - 1]
        return replace(peaks, sample_index=samples)

    def _fill(self, corrector: Corrector, spans: list[Span]) -> None:
        for _ in corrector.fill(self._sinks, spans):
            pass


def _timed(work: Callable[[], Result]) -> tuple[float, Result]:
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def _spread(blocks: Sequence[Span], count: int) -> list[Span]:
    """So many stretches of blocks, spread evenly; all blocks if there are no more.

    Within a stretch blocks share what neighbours do in a run, such as the weights of a temporal bin.
    """
    firsts = (np.arange(count) + 0.5) * len(blocks) / count - _STRETCH_BLOCKS / 2
    chosen = np.unique(firsts.round().astype(np.int64)[:, None] + np.arange(_STRETCH_BLOCKS))
    return [blocks[index] for index in chosen.tolist() if 0 <= index < len(blocks)]


def _made_up_motions(recording: Recording, settings: Settings) -> dict[int, Motion]:
    """A motion of every shank with another displacement in each temporal bin, so that each has weights of its own."""
    edges_s = temporal_bins(recording.duration_s, bin_s_of(settings))
    displacement_um = _MADE_UP_UM * np.sin(np.arange(1.0, len(edges_s)))[:, None]
    motion = Motion(displacement_um, centres(edges_s), np.zeros(1))
    return {shank: motion for shank, _ in recording.geometry.each_shank()}


def _keeping_all(settings: Settings) -> Settings:
    """The settings with all contacts kept: which ones a motion removes depends on the motion."""
    stage = settings["interpolate"]
    parameters = stage.parameters.model_copy(update={"border_mode": "force_extrapolate"})
    return Settings({**settings.stages, "interpolate": replace(stage, parameters=parameters)})


@dataclass(frozen=True)
class _Estimate:
    """The estimate of a recording, of which there are peaks of `tried_s` seconds.

    groups: depths and peaks of the shanks that have a motion of their own. longer: how many times longer the recording
    is.
    """

    stage: Stage
    bin_s: float
    duration_s: float
    tried_s: float
    longer: float
    groups: list[tuple[tuple[float, float], DepthPeaks]]

    @classmethod
    def of(cls, recording: Recording, settings: Settings, trial: _Trial, shanks: Shanks) -> _Estimate:
        rate_hz, peaks = recording.sampling_frequency_hz, trial.peaks
        shank_of_peak = recording.geometry.shanks[peaks.channel_index]
        groups = []
        for group, span_um in spans_um_of(recording.geometry, shanks).items():
            here = np.isin(shank_of_peak, group)
            depth_um = peaks.location.get("y_um", np.empty(0))[here].astype(np.float64)
            time_s, amplitude = peaks.sample_index[here] / rate_hz, peaks.amplitude[here].astype(np.float64)
            groups.append((span_um, DepthPeaks(time_s, depth_um, amplitude)))
        duration_s, tried_s = worked_s(recording, settings), trial.samples / rate_hz
        return cls(settings["estimate"], bin_s_of(settings), duration_s, tried_s, trial.longer, groups)

    @property
    def num_peaks(self) -> int:
        """How many peaks the recording has, if it has as many everywhere."""
        return round(sum(len(peaks) for _, peaks in self.groups) * self.longer)

    def memory(self, jobs: int) -> Memory:
        """What it is predicted to take. Raises UsageError where a run would."""
        counts = [(span_um, round(len(peaks) * self.longer)) for span_um, peaks in self.groups]
        return Memory.of(counts, self.duration_s, self.stage, jobs)

    def seconds(self, jobs: int) -> float | None:
        """Time that it would take; None where that can't be told."""
        with_peaks = [group for group in self.groups if len(group[1])]
        if not with_peaks:
            return None
        try:
            self._seconds_of_bins(with_peaks[0], 1, jobs)  # compiles and loads the kernels
            return sum(self._seconds(group, jobs) for group in with_peaks)
        except DriftcliError:
            return None

    def _seconds(self, group: tuple[tuple[float, float], DepthPeaks], jobs: int) -> float:
        """That of one shank."""
        wanted = len(temporal_bins(self.duration_s, self.bin_s)) - 1
        bins, before_s = _BINS, 0.0
        one_s = self._seconds_of_bins(group, 1, jobs) if bins < wanted else 0.0
        while bins < wanted:
            seconds = max(self._seconds_of_bins(group, bins, jobs) - one_s, 0.0)
            if before_s and seconds > _LONG_ENOUGH_S:
                return one_s + self._beyond(wanted, bins, before_s, seconds)
            bins, before_s = 2 * bins, seconds
        return self._seconds_of_bins(group, wanted, jobs)

    def _beyond(self, wanted: int, bins: int, half_s: float, whole_s: float) -> float:
        """Time of `wanted` bins, from those of `bins` and half as many, all beside what a single bin takes."""
        horizon_s = self.stage.parameters.model_dump().get("time_horizon_s")

        def pairs(count: int) -> float:
            return count * (count if horizon_s is None else min(count, horizon_s / self.bin_s))

        beyond_line = pairs(bins) - 2 * pairs(bins // 2)
        per_pair_s = (whole_s - 2 * half_s) / beyond_line if beyond_line > 0 else 0.0
        per_pair_s = min(max(per_pair_s, 0.0), whole_s / pairs(bins))
        per_bin_s = (whole_s - per_pair_s * pairs(bins)) / bins
        return per_bin_s * wanted + per_pair_s * pairs(wanted)

    def _seconds_of_bins(self, group: tuple[tuple[float, float], DepthPeaks], bins: int, jobs: int) -> float:
        span_um, peaks = group
        duration_s = bins * self.bin_s
        longer = _repeated(peaks, self.tried_s, duration_s)
        seconds, _ = _timed(
            lambda: self.stage.module.estimate(longer, span_um, duration_s, self.stage.parameters, Reporter(), jobs)
        )
        return seconds


def _repeated(peaks: DepthPeaks, every_s: float, duration_s: float) -> DepthPeaks:
    """The peaks of `every_s` seconds again and again, until `duration_s`."""
    times = math.ceil(duration_s / every_s)
    time_s = (peaks.time_s + every_s * np.arange(times)[:, None]).reshape(-1)
    before = time_s < duration_s
    return DepthPeaks(time_s[before], np.tile(peaks.depth_um, times)[before], np.tile(peaks.amplitude, times)[before])
