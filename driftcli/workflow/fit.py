"""Whether a motion belongs to the recording or the peaks that it is to correct."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from driftcli.catalogue import WORK_ON_TRACES
from driftcli.errors import InputError
from driftcli.joining import SHORT_BIN_S
from driftcli.model import RecordingFacts
from driftcli.reporter import Reporter
from driftcli.store.motion import JOINED_WITHIN_UM, MotionFile

_ESTIMATED, _FOUND = "the motion was estimated", "the peaks were found"


def require_fit(facts: RecordingFacts, file: MotionFile, what: str) -> None:
    """Raise InputError unless the motion covers all of `what` (the recording, the peaks) and has its shanks.

    A motion of peaks that came without a recording may end up to one temporal bin early, as peaks do.
    """
    hint = f"estimate it from {what if what == 'the peaks' else f'the peaks of {what}'}"
    missing = [shank for shank, _ in facts.geometry.each_shank() if shank not in file.motions]
    if missing:
        raise InputError(f"the motion has no shank {missing[0]}", hint)
    slack_s = 0.0 if file.facts else max(_bin_s(motion.temporal_bins_s) for motion in file.motions.values())
    if file.joined:  # the times that are left stand further apart than those of the bins
        slack_s = min(slack_s, SHORT_BIN_S)
    first = offset(facts, file)
    end_s = (first + facts.num_samples) / facts.sampling_frequency_hz
    if first < 0 or file.duration_s + slack_s < end_s:
        rate_hz = facts.sampling_frequency_hz
        theirs_s = 0.0 if file.facts is None else file.facts.origin / rate_hz
        ours_s = facts.origin / rate_hz
        raise InputError(
            f"the motion covers {theirs_s:.3f} to {theirs_s + file.duration_s:.3f} s, {what} {ours_s:.3f} to "
            f"{ours_s + facts.duration_s:.3f} s",
            f"{hint}, or give the --start-s and --end-s that it was estimated with",
        )
    if file.facts is not None:
        _require_same_probe(facts, file.facts)
        _require_same_files(facts, file.facts, first)


def require_peaks(facts: RecordingFacts, theirs: RecordingFacts) -> int:
    """How many samples the recording begins after its peaks do. Raises InputError unless they cover all of it, in its
    unit."""
    hint = "give its own peaks with --peaks, or --set interpolate.method=gaussian_process, which needs none"
    first = facts.origin - theirs.origin
    _require_same_probe(facts, theirs, _FOUND)
    if first < 0 or first + facts.num_samples > theirs.num_samples:
        raise InputError(
            f"the peaks are of samples {theirs.origin} to {theirs.origin + theirs.num_samples}, the recording of "
            f"{facts.origin} to {facts.origin + facts.num_samples}",
            hint,
        )
    ours, of_peaks = (1.0 if each.gain_to_uv is None else each.gain_to_uv for each in (facts, theirs))
    if theirs.amplitude_unit != facts.amplitude_unit or not np.allclose(ours, of_peaks):
        raise InputError(f"{_FOUND} with another gain", "give the same --gain-to-uv")
    _require_same_files(facts, theirs, first, _FOUND)
    return first


def of_any_band(facts: RecordingFacts, file: MotionFile) -> MotionFile:
    """A motion of the other band of these files, which has samples and channels of its own but the same times and
    contacts, as a motion that came without a recording; any other one as it is.

    Raises InputError where it is of a span of its files, or of other contacts.
    """
    theirs = file.facts
    on_traces = file.preset.get("estimate", {}).get("method") in WORK_ON_TRACES
    if theirs is None or not on_traces or theirs.sampling_frequency_hz == facts.sampling_frequency_hz:
        return file
    if theirs.origin or len(theirs.breaks):
        raise InputError(
            "the motion is of a span of another band, or of several files of it",
            "estimate it from one whole file, or from the recording itself",
        )
    _require_same_contacts(facts, theirs)
    return replace(file, facts=None)


def offset(facts: RecordingFacts, file: MotionFile) -> int:
    """How many samples the first one of what is to be corrected comes after time 0 of the motion.

    What is to be corrected may be a span of what the motion was estimated on. A motion that came without a recording
    is taken to begin where the files do.
    """
    return facts.origin - (0 if file.facts is None else file.facts.origin)


def tell_of_joined_bins(file: MotionFile, reporter: Reporter) -> None:
    """Say so where the motion was too finely sampled to be taken bin by bin."""
    if file.joined:
        reporter.message(
            f"the motion is sampled very finely: bins shorter than {1000 * SHORT_BIN_S:g} ms were joined where one "
            f"displacement is within {JOINED_WITHIN_UM:g} µm of theirs"
        )


def _require_same_probe(facts: RecordingFacts, theirs: RecordingFacts, made: str = _ESTIMATED) -> None:
    if theirs.sampling_frequency_hz != facts.sampling_frequency_hz:
        rates = f"{theirs.sampling_frequency_hz:g} Hz, not {facts.sampling_frequency_hz:g} Hz"
        raise InputError(f"{made} at a sampling frequency of {rates}", "check --sampling-frequency")
    _require_same_contacts(facts, theirs, made)


def _require_same_contacts(facts: RecordingFacts, theirs: RecordingFacts, made: str = _ESTIMATED) -> None:
    ours, positions_um = facts.geometry, theirs.geometry.positions_um
    same = positions_um.shape == ours.positions_um.shape and np.allclose(positions_um, ours.positions_um, atol=0.01)
    if not same or (theirs.geometry.shanks != ours.shanks).any():
        hint = "give the probe that detect was given"
        raise InputError(f"{made} on a probe with other contact positions or shanks", hint)


def _require_same_files(facts: RecordingFacts, theirs: RecordingFacts, first: int, made: str = _ESTIMATED) -> None:
    """Raise InputError where the acquisition numbered samples otherwise than those that the motion is of, or the peaks.

    first: the sample of theirs that is our first one. Files that say nothing of their numbers are taken at their word.
    """
    for start, acquired in facts.files.tolist():
        before = np.flatnonzero(theirs.files[:, 0] <= first + start)
        if acquired < 0 or not len(before):
            continue
        their_start, their_acquired = theirs.files[before[-1]].tolist()
        if 0 <= their_acquired != acquired - (first + start - their_start):
            raise InputError(
                f"{made} on other files, or on these in another order or with others between",
                "give the files that detect was given, and --start-s and --end-s for a part of them, or --split",
            )


def _bin_s(temporal_bins_s: NDArray[np.float64]) -> float:
    return float(np.diff(temporal_bins_s).max()) if len(temporal_bins_s) > 1 else np.inf
