"""export: `motion.h5` in, a table, arrays, a folder for SpikeInterface, or a probe for Kilosort4 out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from driftcli.errors import InputError, UsageError
from driftcli.interpolate.interpolator import Interpolator
from driftcli.interpolate.weights import InterpolateParameters
from driftcli.model import Geometry, RecordingFacts, Settings
from driftcli.store.motion import MotionFile, read_motion
from driftcli.store.motion_csv import SPREADSHEET_ROWS, write_csv_motion
from driftcli.store.motion_kilosort import write_kilosort_probe
from driftcli.store.motion_npz import write_npz_motion
from driftcli.store.motion_spikeinterface import claim_folder, write_spikeinterface_motion
from driftcli.workflow.apply import corrected_columns
from driftcli.workflow.runlog import RunLog
from driftcli.workflow.work import Work, claim_outputs

Format = Literal["csv", "npz", "spikeinterface", "kilosort"]
_DEFAULT_NAMES = {
    "csv": "{}.csv",
    "npz": "{}.npz",
    "spikeinterface": "{}_spikeinterface",
    "kilosort": "kilosort_probe.json",
}
_SUFFIXES = {"csv": (".csv", ".tsv", ".txt"), "npz": (".npz",), "kilosort": (".json",)}


def default_output(motion_path: Path, to: Format) -> Path:
    """Where an export goes: beside the motion."""
    return motion_path.with_name(_DEFAULT_NAMES[to].format(motion_path.stem))


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
    file = read_motion(motion_path)
    log = RunLog("export", out, {"motion": motion_path}, settings, ("interpolate",) if to == "kilosort" else (), work)
    log.facts["format"] = to
    if to == "csv":
        write_csv_motion(out, file.motions)
        _tell_if_too_long(out, file, work)
    elif to == "npz":
        write_npz_motion(out, file)
    elif to == "spikeinterface":
        write_spikeinterface_motion(out, file, work.overwrite)
        work.reporter.message(_how_spikeinterface_takes_it(file, settings))
    else:
        log.facts["kilosort"] = _write_kilosort(out, file, settings, work)
    log.counts = {
        "shanks": len(file.motions),
        "temporal_bins": max(len(motion.temporal_bins_s) for motion in file.motions.values()),
        "spatial_windows": sum(len(motion.spatial_bins_um) for motion in file.motions.values()),
    }
    return log.write()


def _tell_if_too_long(out: Path, file: MotionFile, work: Work) -> None:
    rows = 1 + max(len(motion.temporal_bins_s) for motion in file.motions.values())
    if rows > SPREADSHEET_ROWS:
        work.reporter.message(f"{out.name} has {rows:,} rows; spreadsheets open the first {SPREADSHEET_ROWS:,} only")


def _how_spikeinterface_takes_it(file: MotionFile, settings: Settings) -> str:
    """The call that gives the traces which `apply` gives."""
    stage = settings["interpolate"]
    values = stage.parameters.model_dump(mode="json")
    linear = values.pop("time") == "linear"
    arguments = "".join(f", {name}={value!r}" for name, value in values.items())
    of_shanks = "; on each group of recording.split_by('group')" if len(file.motions) > 1 else ""
    told = (
        "SpikeInterface reads it with Motion.load(folder); a recording preprocessed as here is corrected with "
        f"interpolate_motion(recording, motion, spatial_interpolation_method={stage.method!r}{arguments}){of_shanks}"
    )
    if stage.method == "idw" and values["border_mode"] == "force_extrapolate":
        told += "; contacts that the motion takes past the end of their shank come out otherwise there"
    if linear:
        told += "; there give interpolation_time_bin_size_s, as it takes the nearest bin where driftcli is linear"
    if any(_uneven(motion.temporal_bins_s) for motion in file.motions.values()):
        told += "; the temporal bins are not of one length, so its traces will differ a little"
    return told


def _uneven(times_s: NDArray[np.float64]) -> bool:
    steps = np.diff(times_s)
    return len(steps) > 1 and bool(np.ptp(steps) > 1e-6 * steps.max())


def _write_kilosort(out: Path, file: MotionFile, settings: Settings, work: Work) -> dict[str, Any]:
    """Write the probe; returns the settings that Kilosort4 needs beside it."""
    facts = file.facts
    if facts is None:
        hint = "import the motion with --like, or give Kilosort4 the recording's own probe"
        raise InputError("the motion carries no recording, so its probe isn't known", hint)
    kept, columns, num_columns = _corrected_layout(facts, file, settings)
    geometry = Geometry(facts.geometry.positions_um[kept], facts.geometry.shanks[kept])
    write_kilosort_probe(out, geometry, columns)
    wanted = {"n_chan_bin": num_columns, "fs": facts.sampling_frequency_hz, "nblocks": 0}
    work.reporter.message(
        f"in Kilosort4 set n_chan_bin={num_columns}, fs={facts.sampling_frequency_hz:.15g} and nblocks=0: the drift is "
        "out already, and Kilosort would look for it again"
    )
    return wanted


def _corrected_layout(
    facts: RecordingFacts, file: MotionFile, settings: Settings
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """The contacts that `apply` keeps, their columns in the corrected recording, and how many columns that has."""
    stage = settings["interpolate"]
    parameters = cast(InterpolateParameters, stage.parameters)
    context = (facts.geometry, file.motions, facts.sampling_frequency_hz, facts.num_samples)
    kept = Interpolator(stage.module.Kernel, parameters, *context).kept_contacts
    written, columns = corrected_columns(facts.columns, facts.num_columns, kept)
    return kept, columns, len(written)
