"""estimate of a recording: its local field potential in, the motion of the tissue out. Needs no peaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from driftcli.errors import UsageError
from driftcli.estimate.lfp import LfpParameters, along_depth, samples_in_bin
from driftcli.estimate.timeline import Timeline
from driftcli.mask.exclude import mask_of_text
from driftcli.mask.spans import shares, union
from driftcli.model import GOOD, Mask, Settings
from driftcli.recording.facts import facts_of
from driftcli.recording.recording import Recording
from driftcli.store.motion import write_motion
from driftcli.workflow.contacts import describe_labels, labels_of, tell_of_labels
from driftcli.workflow.estimate import (
    Memory,
    Shanks,
    ShankTraces,
    Span,
    estimate_shanks,
    groups_of,
    tell_of_short_files,
)
from driftcli.workflow.identity import checksum_of
from driftcli.workflow.lfp import Group, lfp_of
from driftcli.workflow.memory import within_memory
from driftcli.workflow.outdated import tell_of_outdated
from driftcli.workflow.place import begin, kept_from_before
from driftcli.workflow.runlog import RunLog, describe_motions, tell_of_mask
from driftcli.workflow.steps import TRACES_STAGES, phase_shift_of_steps, works_on_traces
from driftcli.workflow.work import Work, check_outputs

_WIDE_HZ = 10_000.0  # bad channels are found by what is above 300 Hz, which an LF band hardly has


def estimate_traces(
    recording: Recording,
    settings: Settings,
    out: Path,
    work: Work,
    *,
    shanks: Shanks = "each",
    exclude_times: str | None = None,
) -> dict[str, Any]:
    """Estimate the motion of each shank from a recording's local field potential and write it to `out` (HDF5).

    The recording may be the LF band of a SpikeGLX run or any other that holds low frequencies. shanks: each has a
    motion of its own, or together they have one. exclude_times: spans to leave out, or the file that lists them.

    Returns the facts that went to `run.json`. Raises UsageError for a method that works on peaks and for an estimate
    that needs more memory than it may, and InputError where no contact is good or none lies above another one.
    """
    refuse_for_traces(settings)
    check_outputs([out], recording.inputs.values())
    work = within_memory(work, recording)
    excluded = mask_of_text(exclude_times, recording.sampling_frequency_hz, recording.num_samples)
    spans = np.column_stack([excluded.starts, excluded.stops]).tolist()
    options = {"shanks": shanks, "excluded": spans}
    log = RunLog("estimate", out, recording.inputs, settings, TRACES_STAGES, work, recording=recording, options=options)
    kept = kept_from_before([out], log, work)
    if kept is not None:
        return kept
    timeline = _timeline(recording, settings, excluded)
    tell_of_short_files(timeline, work)
    _foresee_memory(recording, settings, timeline, shanks, work)
    share = shares(excluded, recording.num_samples)
    tell_of_mask(share, work.reporter)
    log.facts["phase_shift"] = phase_shift_of_steps(settings, recording)
    with begin([out], out, log.identity, work) as portion:
        labels = _labels(recording, settings, log, work)
        signals = _signals(recording, settings, labels, shanks, log, work)
        with log.timed("estimate"):
            motions = estimate_shanks(signals, timeline, settings, work)
        motion, facts_of_it = portion.folder / out.name, replace(facts_of(recording), labels=labels)
        rate_hz = recording.sampling_frequency_hz
        write_motion(motion, motions, recording.duration_s, facts_of_it, settings, excluded, rate_hz)
        log.facts["mask"] = {"share": {name: round(each, 6) for name, each in share.items()}}
        log.facts["checksums"] = {motion.name: checksum_of(motion)}
        log.counts = {
            "depths": sum(each.count for each in signals.values()),
            "samples": recording.num_samples,
            **describe_motions(motions),
        }
        facts = log.closed()
        portion.deliver([motion], {out.name: facts})
    tell_of_outdated(out.parent, work.reporter)
    return {"output": str(out), **facts}


def refuse_for_traces(settings: Settings, span_um: Span | None = None, ignore_mask: bool = False) -> None:
    """Raise UsageError for a method that works on peaks, and for options that are of peaks."""
    if not works_on_traces(settings):
        raise UsageError(
            f"the method {settings['estimate'].method} works on peaks, and this is a recording",
            "driftcli run, or detect and give its peaks.h5; --preset dredge_lfp works on a recording",
        )
    if span_um is not None or ignore_mask:
        given = "--span-um" if span_um is not None else "--ignore-mask"
        raise UsageError(f"{given} is for peaks, and this is a recording", "leave it out")


def refuse_for_peaks(options: Sequence[str]) -> None:
    """Raise UsageError for options that are of a recording."""
    if options:
        raise UsageError(f"{options[0]} is for a recording, and these are peaks", "leave it out")


def _timeline(recording: Recording, settings: Settings, excluded: Mask) -> Timeline:
    rate_hz = recording.sampling_frequency_hz
    bin_s = samples_in_bin(_parameters(settings), rate_hz) / rate_hz
    return Timeline.of(recording.duration_s, bin_s, recording.breaks / rate_hz, union(excluded) / rate_hz)


def _parameters(settings: Settings) -> LfpParameters:
    return cast(LfpParameters, settings["estimate"].parameters)


def _foresee_memory(recording: Recording, settings: Settings, timeline: Timeline, shanks: Shanks, work: Work) -> None:
    """Tell how much memory the estimate will take. Raises UsageError for more than there may be."""
    sizes = []
    for here in groups_of(recording.geometry, shanks).values():
        _, at_um = along_depth(recording.geometry.positions_um[here], _parameters(settings))
        sizes.append(((float(at_um[0]), float(at_um[-1])), len(at_um)))
    of_each = [4.0 * len(timeline.kept) * count for _, count in sizes]  # float32; the traces of all are held at once
    beside = [sum(of_each) - own for own in of_each]
    needed = Memory.of(sizes, timeline.duration_s, settings["estimate"], work.jobs, beside)
    needed.tell_or_refuse(work, f", {sum(count for _, count in sizes):,} depths")


def _labels(recording: Recording, settings: Settings, log: RunLog, work: Work) -> NDArray[np.uint8]:
    """What is wrong with contacts: of an LF band only what its meta and the user say."""
    look = recording.sampling_frequency_hz >= _WIDE_HZ
    if not look and settings["bad_channels"].method != "none":
        work.reporter.message("bad channels are not looked for in an LF band: name them with --bad-channels")
    with log.timed("bad channels"):
        labels = labels_of(recording, settings, work, look=look)
    tell_of_labels(recording, labels, work)
    log.facts["bad_channels"] = describe_labels(recording, labels)
    return labels


def _signals(
    recording: Recording, settings: Settings, labels: NDArray[np.uint8], shanks: Shanks, log: RunLog, work: Work
) -> dict[Group, ShankTraces]:
    """The signal of each group of shanks, from its good contacts, or from all where none is."""
    groups = groups_of(recording.geometry, shanks)
    good = {group: here[labels[here] == GOOD] for group, here in groups.items()}
    contacts = {group: good[group] if len(good[group]) else here for group, here in groups.items()}
    with log.timed("local field potential"):
        found = lfp_of(recording, contacts, _parameters(settings), _lateness(recording, settings), work)
    depths_um = recording.geometry.depths_um
    return {
        group: ShankTraces((float(depths_um[here].min()), float(depths_um[here].max())), found[group])
        for group, here in contacts.items()
    }


def _lateness(recording: Recording, settings: Settings) -> NDArray[np.float64]:
    """(C,) by how many samples each contact is to be lined up."""
    late = recording.sample_shifts.fractions
    if late is None or settings["shift"].method == "none":
        return np.zeros(len(recording.geometry))
    return late
