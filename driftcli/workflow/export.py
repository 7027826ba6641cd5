"""export: `motion.h5` in, a table, arrays, a folder for SpikeInterface, or a probe for Kilosort4 out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from driftcli.errors import InputError, UsageError
from driftcli.interpolate.interpolator import Interpolator
from driftcli.interpolate.weights import InterpolateParameters, distances_um
from driftcli.model import GOOD, Geometry, RecordingFacts, Settings
from driftcli.presets import Changes
from driftcli.store.motion import MotionFile, read_motion
from driftcli.store.motion_csv import SPREADSHEET_ROWS, write_csv_motion
from driftcli.store.motion_kilosort import write_kilosort_probe
from driftcli.store.motion_npz import write_npz_motion
from driftcli.store.motion_spikeinterface import claim_folder, write_spikeinterface_motion
from driftcli.workflow.corrector import corrected_columns
from driftcli.workflow.given import settings_after
from driftcli.workflow.runlog import RunLog
from driftcli.workflow.steps import BEFORE_APPLY
from driftcli.workflow.work import Work, claim_outputs

Format = Literal["csv", "npz", "spikeinterface", "kilosort"]
_DEFAULT_NAMES = {
    "csv": "{}.csv",
    "npz": "{}.npz",
    "spikeinterface": "{}_spikeinterface",
    "kilosort": "kilosort_probe.json",
}
_KILOSORT_NEAR_UM = 32.0  # its max_channel_distance
_SUFFIXES = {"csv": (".csv", ".tsv", ".txt"), "npz": (".npz",), "kilosort": (".json",)}


def default_output(motion_path: Path, to: Format) -> Path:
    """Where an export goes: beside the motion."""
    return motion_path.with_name(_DEFAULT_NAMES[to].format(motion_path.stem))


def settings_of(motion_path: Path, to: Format, preset: str | None, changes: Changes) -> Settings:
    """Those that the correction is made with. Raises UsageError where the format makes no use of any."""
    if to in ("csv", "npz") and (preset is not None or changes):
        raise UsageError(f"--to {to} takes no --preset and no --set", "leave them out: the motion is written as it is")
    return settings_after(motion_path, "motion", BEFORE_APPLY, preset, changes)


def export(motion_path: Path, to: Format, settings: Settings, out: Path, work: Work) -> dict[str, Any]:
    """Write a motion in another format, or for `kilosort` the probe of the recording corrected with it.

    settings: those that the correction is made with, which say what contacts it keeps.

    Returns the facts that went to `run.json`. Raises InputError where the motion lacks what the format needs, and
    OutputError when the output is there or can't be written.
    """
    if to == "spikeinterface" and out.is_dir():
        claim_folder(out, work.overwrite)
    else:
        claim_outputs([out], [motion_path], work.overwrite)
    if to in _SUFFIXES and out.suffix.lower() not in _SUFFIXES[to]:  # a slip of the keys must not replace a recording
        raise UsageError(f"{out.name} is no name for --to {to}", f"end it with {_SUFFIXES[to][0]}")
    file = read_motion(motion_path, every_bin=to != "kilosort")
    log = RunLog("export", out, {"motion": motion_path}, settings, ("interpolate",) if to == "kilosort" else (), work)
    log.facts["format"] = to
    if to == "csv":
        write_csv_motion(out, file.motions)
        _tell_what_a_table_lacks(out, motion_path, file, work)
    elif to == "npz":
        write_npz_motion(out, file)
    elif to == "spikeinterface":
        write_spikeinterface_motion(out, file, work.overwrite)
        work.reporter.message(_how_spikeinterface_takes_it(file, settings))
    else:
        log.facts.update(_write_kilosort(out, file, settings, work))
    log.counts = {
        "shanks": len(file.motions),
        "temporal_bins": max(len(motion.temporal_bins_s) for motion in file.motions.values()),
        "spatial_windows": sum(len(motion.spatial_bins_um) for motion in file.motions.values()),
    }
    return log.write()


def _tell_what_a_table_lacks(out: Path, motion_path: Path, file: MotionFile, work: Work) -> None:
    rows = 1 + max(len(motion.temporal_bins_s) for motion in file.motions.values())
    if rows > SPREADSHEET_ROWS:
        work.reporter.message(f"{out.name} has {rows:,} rows; spreadsheets open the first {SPREADSHEET_ROWS:,} only")
    if any(len(motion.steps_s) for motion in file.motions.values()):
        told = "the motion steps where files begin, for which a table has no place"
        work.reporter.message(f"{told}: import it with --like {motion_path.name}")


def _how_spikeinterface_takes_it(file: MotionFile, settings: Settings) -> str:
    """The call that gives the traces which `apply` gives."""
    stage = settings["interpolate"]
    values = stage.parameters.model_dump(mode="json")
    linear, bad_channels = values.pop("time") == "linear", values.pop("bad_channels")
    arguments = "".join(f", {name}={value!r}" for name, value in values.items())
    bad = file.facts is not None and file.facts.labels is not None and (file.facts.labels != GOOD).any()
    of_shanks = "; on each group of recording.split_by('group')" if len(file.motions) > 1 else ""
    told = (
        "SpikeInterface reads it with Motion.load(folder); a recording preprocessed as here is corrected with "
        f"interpolate_motion(recording, motion, spatial_interpolation_method={stage.method!r}{arguments}){of_shanks}"
    )
    if bad:
        told += f"; take the bad channels out before: here they are no sources ({bad_channels} is done with them)"
    told += (
        "; its times count from the first sample, so where SpikeInterface has the recording begin later, as within a "
        "run of SpikeGLX, call recording.shift_times(-recording.get_start_time()) before"
    )
    if stage.method == "idw" and values["border_mode"] == "force_extrapolate":
        told += "; contacts that the motion takes past the end of their shank come out otherwise there"
    if linear:
        told += "; there give interpolation_time_bin_size_s, as it takes the nearest bin where driftcli is linear"
    if any(_uneven(motion.temporal_bins_s) for motion in file.motions.values()):
        told += "; the temporal bins are not of one length, so its traces will differ a little"
    if any(motion.parted.any() for motion in file.motions.values()):
        told += "; it steps where driftcli does, but within a bin of a step its traces will differ a little"
    return told


def _uneven(times_s: NDArray[np.float64]) -> bool:
    steps = np.diff(times_s)
    return len(steps) > 1 and bool(np.ptp(steps) > 1e-6 * steps.max())


def _write_kilosort(out: Path, file: MotionFile, settings: Settings, work: Work) -> dict[str, Any]:
    """Write the probe of the good contacts; returns the settings that Kilosort4 needs beside it, and what is left out.

    Contacts that aren't good stay columns of the corrected recording, but are none of Kilosort's contacts. It whitens
    each contact with its neighbours, which amplifies what they don't share. Of a contact interpolated from them that is
    little more than rounding: of five on a simulated recording the gain was 4 to 90 times that of the others, one had
    spikes that aren't there, and neighbours lost some of theirs. Of contacts that are zero it was 750 times and more.
    """
    facts = file.facts
    if facts is None:
        hint = "import the motion with --like, or give Kilosort4 the recording's own probe"
        raise InputError("the motion carries no recording, so its probe isn't known", hint)
    kept, columns, num_columns = _corrected_layout(facts, file, settings)
    good = np.ones(len(kept), bool) if facts.labels is None else facts.labels[kept] == GOOD
    if not good.any():
        raise InputError(
            "no good contact is left in the corrected recording, so there is nothing to sort",
            "set interpolate.border_mode to force_extrapolate, and correct the recording with that",
        )
    geometry = Geometry(facts.geometry.positions_um[kept[good]], facts.geometry.shanks[kept[good]])
    write_kilosort_probe(out, geometry, columns[good])
    wanted = {"n_chan_bin": num_columns, "fs": facts.sampling_frequency_hz, "nblocks": 0}
    work.reporter.message(
        f"in Kilosort4 set n_chan_bin={num_columns}, fs={facts.sampling_frequency_hz:.15g} and nblocks=0: the drift is "
        "out already, and Kilosort would look for it again"
    )
    for told in _what_kilosort_cannot_know(facts, geometry, columns[~good]):
        work.reporter.message(told)
    return {"kilosort": wanted, "columns_left_out": columns[~good].tolist()}


def _what_kilosort_cannot_know(facts: RecordingFacts, geometry: Geometry, left_out: NDArray[np.int64]) -> Iterator[str]:
    """geometry: of the contacts in the probe file; left_out: columns of those that are in the recording only."""
    if facts.labels is None:
        yield "the motion doesn't say which contacts are bad: give those to Kilosort4 as bad_channels"
    if len(left_out):
        listed = ", ".join(map(str, left_out))
        yield f"the probe leaves out the contacts that aren't good (columns {listed} of the corrected recording)"
    if facts.dtype != "int16":
        yield (
            f"Kilosort4 takes a file for int16: give it data_dtype={facts.dtype!r}, or what apply was told as "
            "--output-dtype"
        )
    if _shanks_meet(geometry):
        shanks = np.unique(geometry.shanks).tolist()
        yield f"shanks lie upon each other, which Kilosort4 takes for one: sort them one by one, shank_idx={shanks}"


def _shanks_meet(geometry: Geometry) -> bool:
    """Whether contacts of different shanks are as near to each other as Kilosort4 looks for a spike's neighbours."""
    for shank, contacts in geometry.each_shank():
        others = geometry.positions_um[geometry.shanks != shank]
        if len(others) and distances_um(geometry.positions_um[contacts], others).min() <= _KILOSORT_NEAR_UM:
            return True
    return False


def _corrected_layout(
    facts: RecordingFacts, file: MotionFile, settings: Settings
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """The contacts that `apply` keeps, their columns in the corrected recording, and how many columns that has."""
    stage = settings["interpolate"]
    parameters = cast(InterpolateParameters, stage.parameters)
    context = (facts.geometry, file.motions, facts.sampling_frequency_hz, facts.num_samples)
    kept = Interpolator(stage.module.Kernel, parameters, *context, facts.labels).kept_contacts
    written, columns = corrected_columns(facts.columns, facts.num_columns, kept)
    return kept, columns, len(written)
