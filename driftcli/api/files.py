"""Recordings, peaks, motions and truths from files, and motions into files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from driftcli import presets
from driftcli.api.options import (
    Changes,
    PathLike,
    RecordingOptions,
    Told,
    WorkOptions,
    changes_of,
    named,
    opened,
    work_of,
)
from driftcli.api.results import FileResult, MotionResult
from driftcli.api.signatures import checked, takes
from driftcli.errors import InputError
from driftcli.model import Motion
from driftcli.recording.recording import Recording
from driftcli.reporter import Reporter
from driftcli.simulate.truth import Truth, load_truth
from driftcli.store import motion as store
from driftcli.store import peaks
from driftcli.workflow import export as exporting
from driftcli.workflow import import_ as importing
from driftcli.workflow.accuracy import accuracy as against_truth
from driftcli.workflow.work import claim_outputs

if TYPE_CHECKING:
    from typing_extensions import Unpack


@takes(RecordingOptions)
def open_recording(
    recording: PathLike | Sequence[PathLike], *, reporter: Reporter | None = None, **options: Unpack[RecordingOptions]
) -> Recording:
    """Open a recording read-only: its facts, its `geometry` in µm, and windows of its samples.

    `recording.read(start, stop)` gives samples as a (stop - start, num_columns) array in the file's dtype; times
    `gain_to_uv` they are µV. Contact c is column `recording.columns[c]`.

    recording: path of a raw binary (samples x channels), of the .ap.bin of a SpikeGLX pair, or of the .cbin of either;
        several files of one run, in order of time, are one recording.
    reporter: who is told what is assumed; by default nobody.

    Returns the recording, whose file stays open. Raises UsageError for options that make no sense or contradict the
    file, and InputError for files that are missing, broken or don't fit.
    """
    return opened(recording, options, reporter or Reporter())


@checked
def read_peaks(path: PathLike) -> peaks.PeaksFile:
    """Read `peaks.h5`, as `detect`, `run` and `correct_peaks` write it.

    path: of the file.

    Returns all that it holds. `time_s` (N,) in s, `depth_um` (N,) in µm, `amplitude` (N,) in `facts.amplitude_unit` and
    `shank` (N,) are what the estimate works on; `peaks.location` holds the positions (N,) by name, after
    `correct_peaks` with `y_corrected_um`. `noise_levels` (C,) are in the unit of the amplitudes. Raises InputError when
    the file is missing or not what it should be.
    """
    return peaks.read_peaks(Path(path))


@checked
def read_motion(path: PathLike) -> dict[int, Motion]:
    """Read `motion.h5`, as `estimate_file` and `run` write it.

    path: of the file.

    Returns the motion of each shank, by its number. A motion has `displacement_um` (T, W) in µm, `temporal_bins_s` (T,)
    in s, `spatial_bins_um` (W,) in µm, and `at(time_s, depth_um)`, the displacement in µm at any times and depths.
    Raises InputError when the file is missing or not what it should be.
    """
    return store.read_motion(Path(path)).motions


@checked
def write_motion(
    path: PathLike, motion: Motion | Mapping[int, Motion], *, like: PathLike | None = None, overwrite: bool = False
) -> Path:
    """Write a motion that was estimated from arrays, or edited, as a `motion.h5` that `apply` takes.

    path: of the file.
    motion: that of the only shank, 0, or of each shank by its number: displacements and depths in µm, times in s from
        the start of the recording.
    like: motion.h5 of the same recording, which hands on the recording's facts and its preset. Without one `apply`
        must be told the probe and can't check that the motion belongs to the recording.
    overwrite: replace a file that exists.

    Returns the path. Raises OutputError when the file exists or can't be written, and InputError when `like` is not
    what it should be.
    """
    motions = {0: motion} if isinstance(motion, Motion) else dict(motion)
    if not motions:
        raise InputError("there is no motion of any shank", "for example {0: motion}")
    out, file = Path(path), None if like is None else store.read_motion(Path(like))
    claim_outputs([out], [] if like is None else [Path(like)], overwrite)
    if file is None:
        store.write_motion(out, motions, importing.covered_s(motions), None, presets.load())
    else:
        store.write_motion(out, motions, file.duration_s, file.facts, presets.resolve(file.preset))
    return out


@takes(WorkOptions)
def export_motion(
    motion: PathLike,
    to: exporting.Format,
    *,
    out: PathLike | None = None,
    preset: PathLike | None = None,
    changes: Changes | None = None,
    **options: Unpack[WorkOptions],
) -> FileResult:
    """Write a motion for other programs and for people.

    motion: path of `motion.h5`.
    to: "csv", a table of displacements in µm over s; "npz", numpy arrays; "spikeinterface", a folder for its
        Motion.load; "kilosort", Kilosort4's probe file for the corrected recording.
    out: file or folder to write; by default motion.csv, motion.npz, motion_spikeinterface or kilosort_probe.json beside
        the motion.
    preset, changes: for "spikeinterface" and "kilosort" those that `apply` was given.

    Returns where the output is. Raises InputError where the motion lacks what the format needs, and OutputError when
    the output exists.
    """
    told, path = Told(options.get("reporter")), Path(motion)
    settings = exporting.settings_of(path, to, named(preset), changes_of(changes))
    target = exporting.default_output(path, to) if out is None else Path(out)
    facts = exporting.export(path, to, settings, target, work_of(options, told))
    return FileResult(path=target, facts=facts, messages=told.messages)


@takes(WorkOptions)
def import_motion(
    source: PathLike,
    *,
    like: PathLike | None = None,
    out: PathLike | None = None,
    allow_gaps: bool = False,
    **options: Unpack[WorkOptions],
) -> MotionResult:
    """Read a motion that was exported, edited or made elsewhere: a `motion.h5` that `apply` takes.

    source: path of a CSV or .npz as `export_motion` writes them (displacements in µm, times in s), or of a folder of
        SpikeInterface.
    like: motion.h5 of the same recording: hands on its facts and its preset.
    out: path of the motion; by default motion_imported.h5 beside motion.csv.
    allow_gaps: take a CSV with missing rows; it is looked up between those there are.

    Returns where the motion is. Raises InputError for a file that is not what it should be or doesn't go with `like`,
    and OutputError when the output exists.
    """
    told = Told(options.get("reporter"))
    read = importing.read_source(Path(source), None if like is None else Path(like), gaps_allowed=allow_gaps)
    target = importing.default_output(Path(source)) if out is None else Path(out)
    settings = presets.load() if read.handover is None else presets.resolve(read.handover.preset)
    facts = importing.import_motion(read, settings, target, work_of(options, told))
    return MotionResult(path=target, facts=facts, messages=told.messages)


@checked
def read_truth(path: PathLike) -> Truth:
    """Read `truth.npz`, as `simulate` wrote it.

    path: of the file.

    Returns the truth: `motion` has displacements in µm; `unit_positions_um` is (U, 3) in µm, `unit_amplitude_uv` (U,)
    in µV, `spike_sample` (N,) and `spike_unit` (N,) are the spikes. Raises InputError when the file is missing or
    something else.
    """
    return load_truth(Path(path))


@checked
def accuracy(motion: PathLike | Motion, truth: PathLike | Truth) -> dict[str, float]:
    """How far a motion is from the truth of a simulated recording, in µm.

    motion: a motion, or path of a `motion.h5` of one shank.
    truth: what `simulate` made, or path of its `truth.npz`.

    Returns `mean_um`, `median_um`, `p95_um` and `max_um` of the error at the units' depths and all times, after the
    median difference is taken off, as drift has no absolute zero; and `true_range_um`, that of the drift. Raises
    InputError when a file is not what it should be, holds several shanks or no units.
    """
    return against_truth(
        motion if isinstance(motion, Motion) else Path(motion), truth if isinstance(truth, Truth) else Path(truth)
    )
