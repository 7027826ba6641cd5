"""assess: peaks and a motion in, out comes whether the motion helps: assessment.h5. Needs no recording."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from driftcli.assess.halves import corrected, in_first_half, some
from driftcli.assess.shank import assess_shank
from driftcli.assess.verdict import overall
from driftcli.errors import InputError
from driftcli.estimate.timeline import Timeline
from driftcli.mask.spans import contains, union, within
from driftcli.model import Assessment, DepthPeaks, Motion, Settings, ShankAssessment
from driftcli.reporter import Reporter
from driftcli.store.assessment import write_assessment
from driftcli.store.motion import MotionFile, read_mask, read_motion
from driftcli.workflow.estimate import Memory, ShankPeaks, Source, Span, bin_s_of, estimate_shanks, open_source
from driftcli.workflow.fit import offset, require_fit
from driftcli.workflow.identity import checksum_of
from driftcli.workflow.outdated import tell_of_outdated
from driftcli.workflow.place import begin, kept_from_before
from driftcli.workflow.runlog import RunLog
from driftcli.workflow.steps import ESTIMATE_STAGES, refuse_traces
from driftcli.workflow.work import ASSESSMENT, MOTION, Work, check_outputs

ESTIMATES = 3  # of each shank: of two halves of the peaks, and of the corrected ones
_COPIES = 2  # of the peaks, beside those that an estimate has

Group = tuple[int, ...]


def default_assessment(motion_path: Path) -> Path:
    """Where the assessment of a motion is: `assessment.h5` beside `motion.h5`, `X_assessment.h5` beside `X.h5`."""
    own = motion_path.name == MOTION
    return motion_path.with_name(ASSESSMENT if own else f"{motion_path.stem}_{ASSESSMENT}")


def assess(
    source: Path, motion_path: Path, settings: Settings, out: Path, work: Work, *, span_um: Span | None = None
) -> dict[str, Any]:
    """Say how well a motion fits the peaks of `source` (`peaks.h5` or an .npz), and write it to `out` (HDF5).

    The estimate that `settings` ask for is made again of two halves of the peaks, and of the corrected ones. Left out
    is what was left out when the motion was estimated, or if that isn't known, what detect marked.
    span_um: as of `estimate`. A motion that was assessed in the same way before is not looked at again.

    Returns the facts that went to `run.json`. Raises InputError when files can't be read or don't belong together, and
    UsageError for estimates that need more memory than they may.
    """
    check_outputs([out], [source, motion_path])
    refuse_traces(
        settings, "assess works on", "give --preset with one that does, as the one that the peaks were made for"
    )
    file = read_motion(motion_path)
    peaks = _opened(source, motion_path, file, span_um)
    inputs = {"peaks": source, "motion": motion_path}
    log = RunLog("assess", out, inputs, settings, ESTIMATE_STAGES, work, options={"span_um": span_um})
    kept = kept_from_before([out], log, _asking(work))
    if kept is not None:
        return kept
    motions = _of_peaks(peaks, file)
    timeline = peaks.timeline(bin_s_of(settings))
    with_peaks = [(shank.span_um, _COPIES * shank.count) for shank in peaks.shanks.values() if shank.count]
    if with_peaks:
        needed = Memory.of(with_peaks, timeline.duration_s, settings["estimate"], work.jobs)
        needed.refuse(work, "run --no-report leaves the verdict out")
    with begin([out], out, log.identity, work) as portion:
        with log.timed("assess"):
            later_s = _later_s(peaks, file)
            assessment = _assess_all(peaks, motions, later_s, timeline, settings, work)
        made = portion.folder / out.name
        write_assessment(made, assessment, motions, settings, checksum_of(motion_path)["sha256"])
        log.facts |= {"verdict": assessment.verdict, "reasons": list(assessment.reasons)}
        log.facts["checksums"] = {made.name: checksum_of(made)}
        log.counts = {"shanks": {str(shank): _facts_of(each) for shank, each in assessment.shanks.items()}}
        facts = log.closed()
        portion.deliver([made], {out.name: facts})
    tell_of_outdated(out.parent, work.reporter)
    return {"output": str(out), **facts}


def _facts_of(shank: ShankAssessment) -> dict[str, Any]:
    """Verdict and scores, of which no more is told than means something."""
    scores = asdict(shank.scores).items()
    return {"verdict": shank.verdict} | {
        name: round(value, 4) if isinstance(value, float) else value for name, value in scores
    }


def _opened(source: Path, motion_path: Path, file: MotionFile, span_um: Span | None) -> Source:
    """The peaks by groups of shanks that share a motion. Raises InputError where the motion isn't theirs."""
    apart = open_source(source, span_um, "each")
    if apart.facts is not None:
        require_fit(apart.facts, file, "the peaks")
    elif len(file.motions) != 1:
        raise InputError(f"the motion has {len(file.motions)} shanks, peaks of an .npz have one", "give peaks.h5")
    mask = read_mask(motion_path, apart.rate_hz)
    if mask is not None:
        num_samples = round(apart.duration_s * apart.rate_hz)
        apart = replace(apart, mask=within(mask, round(_later_s(apart, file) * apart.rate_hz), num_samples))
    if apart.facts is None or not _is_shared(list(file.motions.values())):
        return apart
    together = open_source(source, span_um, "together")
    return replace(together, mask=apart.mask)


def _is_shared(motions: list[Motion]) -> bool:
    """Whether all shanks move as one, as with `estimate --shanks together`."""
    first = motions[0]
    return len(motions) > 1 and all(
        np.array_equal(first.displacement_um, each.displacement_um)
        and np.array_equal(first.temporal_bins_s, each.temporal_bins_s)
        and np.array_equal(first.spatial_bins_um, each.spatial_bins_um)
        for each in motions[1:]
    )


def _of_peaks(peaks: Source, file: MotionFile) -> dict[int, Motion]:
    """The motions by the shanks of the peaks; those of an .npz are of shank 0."""
    return file.motions if peaks.facts is not None else {0: next(iter(file.motions.values()))}


def _later_s(peaks: Source, file: MotionFile) -> float:
    """By how much the peaks' recording, which may be a span of the motion's, begins later than that."""
    return 0.0 if peaks.facts is None else offset(peaks.facts, file) / peaks.facts.sampling_frequency_hz


def _asking(work: Work) -> Work:
    """Who asks for the verdict on a motion that has been assessed in the same way is told that."""
    return work if work.overwrite else replace(work, resume=True)


def _assess_all(
    peaks: Source,
    motions: dict[int, Motion],
    later_s: float,
    timeline: Timeline,
    settings: Settings,
    work: Work,
) -> Assessment:
    shanks: dict[int, ShankAssessment] = {}
    with_peaks = {group: shank for group, shank in peaks.shanks.items() if shank.count}
    for done, (group, shank) in enumerate(with_peaks.items()):
        share = (done, len(with_peaks))
        motion = motions[group[0]]
        seen, covered = _seen(motion, later_s, peaks.duration_s)
        found = _assess_group(group, shank, seen, peaks, timeline, settings, work, share)
        shanks |= dict.fromkeys(group, _on_all_bins(found, motion, covered))
    return Assessment(*overall(shanks), shanks)


def _seen(motion: Motion, later_s: float, duration_s: float) -> tuple[Motion, slice]:
    """The motion on the time of the peaks, with the bins between which peaks can be looked up, and which these are."""
    times_s = motion.temporal_bins_s - later_s
    first = max(int(np.searchsorted(times_s, 0.0, side="right")) - 1, 0)
    covered = slice(min(first, len(times_s) - 1), int(np.searchsorted(times_s, duration_s)) + 1)
    seen = Motion(motion.displacement_um[covered], times_s[covered], motion.spatial_bins_um, motion.steps_s - later_s)
    return seen, covered


def _on_all_bins(found: ShankAssessment, motion: Motion, covered: slice) -> ShankAssessment:
    """The same on all bins of the motion, of which nothing is known where there are no peaks."""
    error_um, residual_um = (np.full(motion.displacement_um.shape, np.nan) for _ in range(2))
    error_um[covered], residual_um[covered] = found.error_um, found.residual_um
    return replace(found, error_um=error_um, residual_um=residual_um)


def _assess_group(
    group: Group,
    shank: ShankPeaks,
    motion: Motion,
    source: Source,
    timeline: Timeline,
    settings: Settings,
    work: Work,
    share: tuple[int, int],
) -> ShankAssessment:
    """The verdict on the motion that some shanks have in common, which is mostly one shank.

    share: how many groups are behind us, and of how many.
    """
    taken = _unmasked(shank.read(), source)
    first = in_first_half(len(taken))

    def estimated(peaks: DepthPeaks, done: int) -> Motion | None:
        reporter = _AssessReporter(work.reporter, ESTIMATES * share[0] + done, ESTIMATES * share[1])
        of_them = {group: replace(shank, count=len(peaks), read=lambda: peaks)}
        try:
            return estimate_shanks(of_them, timeline, settings, replace(work, reporter=reporter))[group[0]]
        except InputError:  # nothing to estimate from
            return None

    halves = [estimated(some(taken, which), done) for done, which in enumerate((first, ~first))]
    left = estimated(corrected(taken, motion), len(halves))
    both = None if halves[0] is None or halves[1] is None else (halves[0], halves[1])
    limit = settings["estimate"].module.search_limit(shank.span_um, settings["estimate"].parameters)
    return assess_shank(taken, motion, both, left, shank.span_um, source.duration_s, limit)


def _unmasked(peaks: DepthPeaks, source: Source) -> DepthPeaks:
    """The peaks outside of the mask."""
    masked = contains(union(source.mask) / source.rate_hz, peaks.time_s)
    return some(peaks, ~masked) if masked.any() else peaks


class _AssessReporter(Reporter):
    """Makes one progress of the estimates of an assessment, of which one begins; what they tell was told before."""

    def __init__(self, reporter: Reporter, done: int, total: int) -> None:
        self._reporter, self._done, self._total = reporter, done, total

    def message(self, text: str) -> None:
        self._reporter.note("told again", text=text)

    def note(self, event: str, **facts: Any) -> None:
        self._reporter.note(event, **facts)

    def progress(self, stage: str, done: float, total: float, recording_s: float = 0.0) -> None:
        self._reporter.progress("assess", self._done + done / total, self._total)
