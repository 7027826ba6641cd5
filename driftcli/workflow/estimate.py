"""estimate: localized peaks in, the motion of the tissue out. Needs no recording."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from driftcli.errors import InputError, UsageError
from driftcli.model import DepthPeaks, Motion, Settings
from driftcli.reporter import Reporter
from driftcli.store.motion import write_motion
from driftcli.store.npz import read_npz_peaks
from driftcli.store.peaks import PeaksFile, read_peaks
from driftcli.workflow.runlog import RunLog
from driftcli.workflow.steps import ESTIMATE_STAGES
from driftcli.workflow.work import Work, claim_outputs


@dataclass(frozen=True)
class ShankPeaks:
    """The peaks of one shank and the depths that its contacts span."""

    peaks: DepthPeaks
    span_um: tuple[float, float]


def estimate(
    source: Path, settings: Settings, out: Path, work: Work, *, span_um: tuple[float, float] | None = None
) -> dict[str, Any]:
    """Estimate the motion of each shank from `peaks.h5` (or an .npz) and write it to `out` (HDF5).

    span_um: lowest and highest depth of the shank, for peaks from an .npz; by default those of the peaks.

    Returns the facts that went to `run.json`. Raises InputError when the peaks can't be read or there are none, and
    UsageError for a span where the contacts say it.
    """
    claim_outputs([out], [source], work.overwrite)
    if source.suffix.lower() == ".npz":
        facts, peaks = None, read_npz_peaks(source)
        duration_s = float(np.ceil(peaks.time_s[-1]))
        span_um = _checked_span(span_um) or (float(peaks.depth_um.min()), float(peaks.depth_um.max()))
        shanks = {0: ShankPeaks(peaks, span_um)}
    else:
        if span_um is not None:
            raise UsageError(
                "--span-um is for peaks from an .npz", f"leave it out: {source.name} says where contacts are"
            )
        file = read_peaks(source)
        facts, duration_s, shanks = file.facts, file.facts.duration_s, _by_shank(file)
    log = RunLog("estimate", out, {"peaks": source}, settings, ESTIMATE_STAGES, work)
    with log.timed("estimate"):
        motions = _estimate_shanks(shanks, duration_s, settings, work)
    write_motion(out, motions, duration_s, facts, settings)
    log.counts = _counts(shanks, motions)
    return log.write()


def _checked_span(span_um: tuple[float, float] | None) -> tuple[float, float] | None:
    if span_um is not None and not -np.inf < span_um[0] < span_um[1] < np.inf:
        raise UsageError(f"--span-um {span_um[0]:g} {span_um[1]:g} is no span", "give the lower depth first, in µm")
    return span_um


def _by_shank(file: PeaksFile) -> dict[int, ShankPeaks]:
    geometry, peaks = file.facts.geometry, file.peaks
    peak_shanks = geometry.shanks[peaks.channel_index]
    time_s = peaks.sample_index / file.facts.sampling_frequency_hz
    shanks = {}
    for shank, contacts in geometry.each_shank():
        here = peak_shanks == shank
        columns = (time_s[here], peaks.location["y_um"][here].astype(float), peaks.amplitude[here].astype(float))
        depths = geometry.depths_um[contacts]
        shanks[shank] = ShankPeaks(DepthPeaks(*columns), (float(depths.min()), float(depths.max())))
    return shanks


def _estimate_shanks(
    shanks: dict[int, ShankPeaks], duration_s: float, settings: Settings, work: Work
) -> dict[int, Motion]:
    """The motion of each shank; one without peaks stands still, unless none has any."""
    stage = settings["estimate"]
    motions: dict[int, Motion] = {}
    unusable: list[InputError] = []
    for done, (shank, data) in enumerate(shanks.items()):
        reporter = _ShankReporter(work.reporter, shank, done, len(shanks))
        try:
            if not len(data.peaks):
                raise InputError("there are no peaks")
            arguments = (data.peaks, data.span_um, duration_s, stage.parameters, reporter, work.jobs)
            motions[shank] = stage.module.estimate(*arguments)
        except InputError as error:
            unusable.append(error)
            if len(unusable) == len(shanks):
                raise
            reporter.message(f"{error.message}; its motion is taken as zero")
            motions[shank] = Motion(np.zeros((1, 1)), np.array([duration_s / 2]), np.array([sum(data.span_um) / 2]))
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


def _counts(shanks: dict[int, ShankPeaks], motions: dict[int, Motion]) -> dict[str, Any]:
    displacements = np.concatenate([motion.displacement_um.ravel() for motion in motions.values()])
    return {
        "peaks": sum(len(data.peaks) for data in shanks.values()),
        "temporal_bins": max(len(motion.temporal_bins_s) for motion in motions.values()),
        "spatial_windows": sum(len(motion.spatial_bins_um) for motion in motions.values()),
        "displacement_um": [round(float(displacements.min()), 3), round(float(displacements.max()), 3)],
    }
