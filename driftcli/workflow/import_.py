"""import: a motion from a table, arrays or SpikeInterface in, `motion.h5` out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from driftcli.errors import InputError, UsageError
from driftcli.model import Motion, Settings
from driftcli.store.handover import ForeignMotion, Handover
from driftcli.store.motion import MotionFile, read_motion, write_motion
from driftcli.store.motion_csv import read_csv_motion
from driftcli.store.motion_npz import read_npz_motion
from driftcli.store.motion_spikeinterface import read_spikeinterface_motion
from driftcli.workflow.runlog import RunLog, describe_motions
from driftcli.workflow.work import Work, claim_outputs


@dataclass(frozen=True)
class Source:
    """A motion to import, and what is known beside it: from `like` if given, else from the file itself, or nothing."""

    path: Path
    like: Path | None
    motions: dict[int, Motion]
    handover: Handover | None

    @property
    def inputs(self) -> dict[str, Path]:
        return {"source": self.path} | ({} if self.like is None else {"like": self.like})


def default_output(source_path: Path) -> Path:
    """Where an import goes: beside its source, under a name that an estimate doesn't have."""
    source_path = source_path.resolve()
    return source_path.with_name(f"{source_path.stem}_imported.h5")


def read_source(path: Path, like: Path | None = None, *, gaps_allowed: bool = False) -> Source:
    """Read a CSV, an .npz or a folder of SpikeInterface.

    like: a motion.h5 of the same recording, which hands on the recording's facts, the preset, the time covered, and the
        steps of a motion that came without any: a CSV has no place for them.
    gaps_allowed: take a CSV with missing rows.

    Raises InputError for a file that is not what it should be, or doesn't go with `like`.
    """
    table = path.suffix.lower() in (".csv", ".tsv", ".txt") and not path.is_dir()
    if gaps_allowed and not table and like is None:
        raise UsageError(
            "--allow-gaps is for tables and for --like", f"leave it out: gaps in {path.name} aren't refused"
        )
    file = None if like is None else read_motion(like)
    if path.is_dir():
        foreign = read_spikeinterface_motion(path)
    elif path.suffix.lower() == ".npz":
        foreign = read_npz_motion(path)
    elif table:
        known_times_s = {shank: motion.temporal_bins_s for shank, motion in file.motions.items()} if file else None
        foreign = ForeignMotion(read_csv_motion(path, known_times_s=known_times_s, gaps_allowed=gaps_allowed), None)
    else:
        what = "does not exist" if not path.exists() else "is no motion that can be imported"
        raise InputError(f"{path} {what}", "give a .csv, an .npz, or a folder that SpikeInterface's Motion.save wrote")
    if like is None or file is None:
        return Source(path, None, foreign.motions, foreign.handover)
    _require_likeness(path, foreign.motions, like, file, gaps_allowed)
    return Source(path, like, _with_steps_of(file.motions, foreign.motions), Handover.of(file))


def import_motion(source: Source, settings: Settings, out: Path, work: Work) -> dict[str, Any]:
    """Write a motion that was read as `motion.h5`. settings: the preset that goes with it.

    Returns the facts that went to `run.json`.
    """
    if source.path.is_dir() and source.path.resolve() in out.resolve().parents:
        raise UsageError(f"the output {out} lies in the folder that is imported", "name another with --out")
    claim_outputs([out], source.inputs.values(), work.overwrite)
    log = RunLog("import", out, source.inputs, settings, (), work)
    handover = source.handover
    if handover is None:
        work.reporter.message(
            f"{source.path.name} says nothing of a recording: apply then needs --probe for a raw file, can't check "
            "that the motion belongs to it, and takes the default preset; --like motion.h5 hands all that on"
        )
        handover = Handover(None, {}, covered_s(source.motions))
    write_motion(out, source.motions, handover.duration_s, handover.facts, settings)
    log.counts = {"shanks": len(source.motions), **describe_motions(source.motions)}
    log.facts["carries_recording"] = handover.facts is not None
    return log.write()


def _with_steps_of(theirs: dict[int, Motion], motions: dict[int, Motion]) -> dict[int, Motion]:
    """The motions, those without steps with the ones of the same shank in `theirs`."""
    return {
        shank: motion if len(motion.steps_s) else replace(motion, steps_s=theirs[shank].steps_s)
        for shank, motion in motions.items()
    }


def _require_likeness(path: Path, motions: dict[int, Motion], like: Path, file: MotionFile, gaps_allowed: bool) -> None:
    """Raise InputError unless the motion has the shanks of the other one and goes over the same time."""
    theirs, duration_s = file.motions, file.duration_s
    if set(motions) != set(theirs):
        ours, wanted = (", ".join(map(str, sorted(shanks))) for shanks in (motions, theirs))
        raise InputError(f"{path} has the shanks {ours}, {like} {wanted}", "give the motion.h5 of the same recording")
    for shank, motion in motions.items():
        times_s, known_s = motion.temporal_bins_s, theirs[shank].temporal_bins_s
        if np.array_equal(times_s, known_s):
            continue
        first, last = times_s[0], times_s[-1]
        if np.isin(times_s, known_s).all():  # a table of the same bins has all of them
            step = 0.0
            starts_late, ends_early = first > known_s[0], last < known_s[-1]
        else:
            step = float(np.diff(times_s).max(initial=0.0))
            starts_late, ends_early = first > step, last < duration_s - step
        told = (
            f"{path}: the times of shank {shank} go from {first:g} to {last:g} s, not over {duration_s:g} s as {like}"
        )
        if first < min(-step, known_s[0]) or last > max(duration_s + step, known_s[-1]):
            raise InputError(told, "times are in seconds from the start of the recording")
        if not gaps_allowed and (starts_late or ends_early):
            raise InputError(told, "fill in the rows that are missing, or give --allow-gaps")


def covered_s(motions: dict[int, Motion]) -> float:
    """The time that motions cover: to the last centre of a bin and half a bin on."""
    ends = [m.temporal_bins_s[-1] + (np.diff(m.temporal_bins_s[-2:]).sum() / 2) for m in motions.values()]
    return max(float(max(ends)), 0.0)
