"""What a figure or the page shows, read from the files of a folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftcli.errors import InputError, UsageError
from driftcli.model import Assessment, Geometry, Mask, Motion, Peaks, RecordingFacts, ShankAssessment
from driftcli.report.view import MOST_POINTS, Correction, ShownPeaks, View
from driftcli.reporter import Reporter
from driftcli.store.assessment import read_assessment
from driftcli.store.motion import MotionFile, read_mask, read_motion
from driftcli.store.peaks import peaks_in_pieces, read_peaks
from driftcli.workflow.fit import offset, require_fit
from driftcli.workflow.identity import checksum_of
from driftcli.workflow.runlog import outputs_in_run_log
from driftcli.workflow.work import ASSESSMENT, MOTION, PEAKS

Span = tuple[float, float]
_COLUMNS = ("x_um", "y_um")
_BEYOND = (0.1, 99.9)  # percentiles of the depths of peaks that are shown, whatever the contacts span


def require_folder(folder: Path) -> None:
    """Raise InputError unless there is something to draw in it."""
    if not folder.is_dir():
        raise InputError(
            f"{folder} is not a folder", "give the one that driftcli run wrote, with peaks.h5 and motion.h5"
        )
    if not (folder / PEAKS).exists():
        raise InputError(f"there is no {PEAKS} in {folder}", "give a folder that driftcli run or detect wrote")
    if not (folder / MOTION).exists():
        raise InputError(f"there is no {MOTION} in {folder}", f"driftcli estimate {folder / PEAKS}")


def view_of(
    folder: Path,
    reporter: Reporter,
    *,
    name: str | None = None,
    time_limits_s: Span | None = None,
    depth_limits_um: Span | None = None,
    most_points: int = MOST_POINTS,
) -> View:
    """Read what is in a folder, at least `peaks.h5` and `motion.h5`, for figures and the page.

    name: what the figures are called after; by default the recording, or the folder. time_limits_s, depth_limits_um:
    what is shown; by default all.
    most_points: how many peaks are kept. Of more every 2nd is, or every 4th, 8th and so on, in order of time: the
    smallest such step that leaves no more than that. Memory grows with that number and not with that of all peaks.

    Raises InputError when files can't be read or don't belong together, and UsageError for limits that show nothing.
    """
    require_folder(folder)
    _require_spans(time_limits_s, depth_limits_um)
    motion_file = read_motion(folder / MOTION, every_bin=False)
    head = read_peaks(folder / PEAKS, slice(0, 0))
    facts = head.facts
    require_fit(facts, motion_file, "the peaks")
    missing = [column for column in _COLUMNS if column not in head.peaks.location]
    if missing:
        raise InputError(f"{folder / PEAKS} has no column {missing[0]}", "find the peaks again with driftcli detect")
    first, rate_hz = offset(facts, motion_file), facts.sampling_frequency_hz
    time_limits_s = _limits_within(time_limits_s, (first / rate_hz, (first + facts.num_samples) / rate_hz))
    thinned = _thinned(folder / PEAKS, facts, motion_file, time_limits_s, depth_limits_um, most_points)
    outputs = _outputs(folder)
    _require_something(depth_limits_um, facts.geometry, thinned)
    motions = {shank: motion_file.motions[shank] for shank, _ in facts.geometry.each_shank()}
    mask = read_mask(folder / MOTION, rate_hz)
    return View(
        name=name or _name(folder, outputs),
        duration_s=motion_file.duration_s,
        geometry=facts.geometry,
        labels=facts.labels,
        amplitude_unit=facts.amplitude_unit,
        num_peaks=thinned.count,
        peaks=thinned.peaks,
        motions=motions,
        mask=_moved(head.mask, first) if mask is None else mask,
        mask_rate_hz=rate_hz,
        breaks_s=(facts.breaks + first) / rate_hz,
        assessment=_assessment(folder, motions, reporter),
        corrections=_corrections(folder, outputs, reporter),
        other_peaks=_of_other_peaks(folder, outputs, reporter),
        facts=outputs,
        time_limits_s=time_limits_s,
        depth_limits_um=depth_limits_um or _all_depths(facts.geometry, thinned.peaks),
    )


def _require_spans(time_limits_s: Span | None, depth_limits_um: Span | None) -> None:
    for option, span, unit in (("--time-s", time_limits_s, "s"), ("--depth-um", depth_limits_um, "µm")):
        if span is not None and not -np.inf < span[0] < span[1] < np.inf:
            raise UsageError(f"{option} {span[0]:g} {span[1]:g} is no span", f"give the lower limit first, in {unit}")


def _limits_within(limits_s: Span | None, whole_s: Span) -> Span:
    if limits_s is None:
        return whole_s
    if limits_s[1] <= whole_s[0] or limits_s[0] >= whole_s[1]:
        raise UsageError(
            f"--time-s {limits_s[0]:g} {limits_s[1]:g} shows nothing of {whole_s[0]:.3f} to {whole_s[1]:.3f} s",
            "give a span within that",
        )
    return max(limits_s[0], whole_s[0]), min(limits_s[1], whole_s[1])


def _require_something(limits_um: Span | None, geometry: Geometry, thinned: _Thinned) -> None:
    """Raise UsageError for depths with neither contacts nor peaks. Peaks may lie beyond the contacts, so that is only
    known once they were read."""
    low, high = float(geometry.depths_um.min()), float(geometry.depths_um.max())
    if limits_um is not None and not thinned.count and (limits_um[1] < low or limits_um[0] > high):
        raise UsageError(
            f"--depth-um {limits_um[0]:g} {limits_um[1]:g} shows nothing: contacts are at {low:g} to {high:g} µm",
            "give a span within that",
        )


@dataclass
class _Thinned:
    """Every `step`-th of all peaks within limits, the step doubled whenever there are more than `most` of them.

    Which ones they are depends on nothing but how many there are, not on how they came in pieces.
    """

    most: int
    count: int = 0
    step: int = 1
    parts: list[ShownPeaks] = field(default_factory=list)

    def add(self, peaks: ShownPeaks) -> None:
        first = -self.count % self.step
        self.count += len(peaks)
        self.parts.append(_rows(peaks, slice(first, None, self.step)))
        while -(-self.count // self.step) > self.most:
            self.parts = [_rows(self.peaks, slice(None, None, 2))]
            self.step *= 2

    @property
    def peaks(self) -> ShownPeaks:
        columns = zip(*(_columns(part) for part in self.parts or [_no_peaks()]), strict=True)
        return ShownPeaks(*(np.concatenate(parts) for parts in columns))


def _thinned(
    path: Path, facts: RecordingFacts, motion_file: MotionFile, time_s: Span, depth_um: Span | None, most: int
) -> _Thinned:
    thinned, first = _Thinned(most), offset(facts, motion_file)
    for piece in peaks_in_pieces(path):
        times_s = (piece.sample_index + first) / facts.sampling_frequency_hz
        here = np.flatnonzero((times_s >= time_s[0]) & (times_s <= time_s[1]))
        thinned.add(_within_depths(piece.at(here), times_s[here], facts.geometry, motion_file.motions, depth_um))
    return thinned


def _within_depths(
    peaks: Peaks, times_s: NDArray[np.float64], geometry: Geometry, motions: Mapping[int, Motion], depth_um: Span | None
) -> ShownPeaks:
    """Peaks and their corrected depths; of those, the ones that one of the two depths puts within the limits."""
    shank = geometry.shanks[peaks.channel_index]
    depths_um = peaks.location["y_um"]
    corrected_um = depths_um.astype(float)
    for each in np.unique(shank):
        here = shank == each
        corrected_um[here] -= motions[int(each)].at(times_s[here], corrected_um[here])
    shown = ShownPeaks(
        times_s, peaks.location["x_um"], depths_um, corrected_um.astype(np.float32), peaks.amplitude, shank
    )
    if depth_um is None:
        return shown
    within = [(depth >= depth_um[0]) & (depth <= depth_um[1]) for depth in (depths_um, corrected_um)]
    return _rows(shown, np.flatnonzero(within[0] | within[1]))


def _columns(peaks: ShownPeaks) -> Iterator[NDArray[Any]]:
    yield from (peaks.time_s, peaks.x_um, peaks.depth_um, peaks.corrected_depth_um, peaks.amplitude, peaks.shank)


def _rows(peaks: ShownPeaks, rows: slice | NDArray[np.int64]) -> ShownPeaks:
    return ShownPeaks(*(column[rows].copy() for column in _columns(peaks)))  # a view would keep all of the piece


def _no_peaks() -> ShownPeaks:
    none = np.empty(0, np.float32)
    return ShownPeaks(np.empty(0), none, none, none, none, np.empty(0, np.int64))


def _all_depths(geometry: Geometry, peaks: ShownPeaks) -> Span:
    """The contacts and all but the outermost peaks, with a little room."""
    ends_um = [geometry.depths_um.min(), geometry.depths_um.max()]
    for depths_um in (peaks.depth_um, peaks.corrected_depth_um):
        ends_um += np.percentile(depths_um, _BEYOND).tolist() if len(depths_um) else []
    low, high = float(min(ends_um)), float(max(ends_um))
    room = max(0.02 * (high - low), 5.0)
    return low - room, high + room


def _moved(mask: Mask, samples: int) -> Mask:
    return Mask(mask.starts + samples, mask.stops + samples, mask.reasons)


def _outputs(folder: Path) -> dict[str, dict[str, Any]]:
    """What `run.json` says of the outputs, those of an earlier `plot` aside."""
    return {name: facts for name, facts in outputs_in_run_log(folder).items() if facts.get("verb") != "plot"}


def _name(folder: Path, outputs: Mapping[str, Mapping[str, Any]]) -> str:
    """The recording's file, where `run.json` tells of it, else the folder."""
    for facts in outputs.values():
        files = facts.get("recording", {}).get("files", [])
        if files:
            more = f" and {len(files) - 1} more" if len(files) > 1 else ""
            return f"{files[0]['name']}{more}"
    return folder.resolve().name


def _corrections(folder: Path, outputs: Mapping[str, Mapping[str, Any]], reporter: Reporter) -> dict[str, Correction]:
    """By which motion each output of `apply` was made; one that was made by another is told, too."""
    found: dict[str, Correction] = {}
    for name, facts in outputs.items():
        if facts.get("verb") == "apply":
            found[name] = _correction(folder, facts)
            if found[name] == "another motion":
                reporter.message(f"{folder / name} was made with another motion: driftcli apply … --overwrite")
    return found


def _correction(folder: Path, facts: Mapping[str, Any]) -> Correction:
    if not facts.get("corrected", True):
        return "left as it was"
    digest = _digest_of_input(facts, "motion")
    if digest is None:
        return "unknown motion"
    return "this motion" if digest == checksum_of(folder / MOTION)["sha256"] else "another motion"


def _of_other_peaks(folder: Path, outputs: Mapping[str, Mapping[str, Any]], reporter: Reporter) -> bool:
    """Whether `run.json` says of this very motion that it was estimated from peaks that are not those in the folder."""
    facts = outputs.get(MOTION, {})
    known, digest = facts.get("checksums", {}).get(MOTION, {}), _digest_of_input(facts, "peaks")
    if digest is None or known.get("sha256") != checksum_of(folder / MOTION)["sha256"]:
        return False
    is_of_others = digest != checksum_of(folder / PEAKS)["sha256"]
    if is_of_others:
        reporter.message(
            f"{folder / MOTION} was estimated from other peaks: driftcli estimate {folder / PEAKS} --overwrite"
        )
    return is_of_others


def _digest_of_input(facts: Mapping[str, Any], name: str) -> str | None:
    """None where it isn't known: older versions wrote none."""
    digest: str | None = facts.get("inputs", {}).get(name, {}).get("sha256")
    return digest


def _assessment(folder: Path, motions: Mapping[int, Motion], reporter: Reporter) -> Assessment | None:
    """That of the motion in the folder; one of another motion is left out, and that is told."""
    path = folder / ASSESSMENT
    if not path.exists():
        return None
    file = read_assessment(path)
    if file.motion_sha256 != checksum_of(folder / MOTION)["sha256"]:
        reporter.message(f"{path} is of another motion and not shown: driftcli assess {folder} --overwrite")
        return None
    of_shank = file.assessment.shanks.items()
    shanks = {shank: _on_bins(found, motions[shank]) for shank, found in of_shank if shank in motions}
    return replace(file.assessment, shanks=shanks)


def _on_bins(found: ShankAssessment, motion: Motion) -> ShankAssessment:
    """An assessment whose errors are on the bins of the motion; not known where so many were that they were joined."""
    shape = motion.displacement_um.shape
    if found.error_um.shape == shape:
        return found
    return replace(found, error_um=np.full(shape, np.nan), residual_um=np.full(shape, np.nan))
