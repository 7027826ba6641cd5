"""The verbs, in the order of the data's road: each opens what it is given and has `driftcli.workflow` do the work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from numpy.typing import ArrayLike

from driftcli import presets
from driftcli.api.options import (
    ApplyOptions,
    Changes,
    EstimateOptions,
    LookOptions,
    PathLike,
    RunOptions,
    StreamOptions,
    ThreadOptions,
    Times,
    Told,
    WorkOptions,
    changes_of,
    form_of,
    in_words,
    listed,
    named,
    of_files,
    opened,
    paths_of,
    settings_of,
    work_of,
)
from driftcli.api.results import (
    AssessmentResult,
    CorrectedResult,
    FileResult,
    MotionResult,
    PeaksResult,
    RunResult,
    SimulationResult,
)
from driftcli.api.signatures import checked, takes
from driftcli.model import Motion
from driftcli.reporter import Reporter
from driftcli.simulate.simulate import FILES, SimulateParameters
from driftcli.simulate.simulate import simulate as make
from driftcli.store.npz import peaks_of_arrays
from driftcli.workflow import apply as applying
from driftcli.workflow import assess as assessing
from driftcli.workflow import compare as comparing
from driftcli.workflow import correct_peaks as correcting
from driftcli.workflow import detect as detecting
from driftcli.workflow import estimate as estimating
from driftcli.workflow import info as informing
from driftcli.workflow import plot as plotting
from driftcli.workflow import run as running
from driftcli.workflow import verify as verifying
from driftcli.workflow.estimate_traces import estimate_traces, refuse_for_peaks, refuse_for_traces
from driftcli.workflow.given import is_peaks, settings_after, settings_of_source
from driftcli.workflow.outputs import outputs_of
from driftcli.workflow.steps import BEFORE_APPLY, DETECT_STAGES, works_on_traces
from driftcli.workflow.work import ASSESSMENT, MOTION, PEAKS

if TYPE_CHECKING:
    from typing_extensions import Unpack

Files = PathLike | Sequence[PathLike]


@takes(RunOptions)
def run(
    recording: Files,
    *,
    out: PathLike | None = None,
    preset: PathLike | None = None,
    changes: Changes | None = None,
    **options: Unpack[RunOptions],
) -> RunResult:
    """Correct a recording: detect, estimate, assess, apply and plot in one go, as `driftcli run` does.

    Leaves peaks.h5, motion.h5, assessment.h5, corrected.bin, probe.json, figures, report.html and run.json in a folder;
    of SpikeGLX input a SpikeGLX pair takes the place of corrected.bin. A call that is interrupted leaves no
    half-written output, and the same call with `resume=True` goes on from there.

    recording: path of a raw binary (samples x channels), of the .ap.bin of a SpikeGLX pair, or of the .cbin of either;
        several files of one run, in order of time, are one recording.
    out: folder of the outputs; by default rec.driftcli beside rec.bin.
    preset: name of a preset, or path of a YAML file; `driftcli presets list` says which there are.
    changes: values to change in the preset, such as {"estimate.bin_s": 1}; names end in the unit.

    Returns where the outputs are and the facts of `run.json`; its `peaks` and `motion` are read when asked for. Raises
    UsageError for options that make no sense, InputError for a recording or probe that is broken or holds no peaks, and
    OutputError for outputs that exist or can't be written.
    """
    told = Told(options.get("reporter"))
    settings = settings_of(preset, changes_of(changes, options.get("bad_channels_out")))
    folder = running.default_folder(paths_of(recording)[0]) if out is None else Path(out)
    source, form = opened(recording, options, told), form_of(options)
    work = work_of(options, told)
    if works_on_traces(settings):
        form = running.without_peaks(form, settings, work)
    facts = plotting.with_pictures(
        folder, form.report, work, lambda: running.run(source, settings, folder, work, **vars(form))
    )
    outputs = form.outputs(source, folder)
    return RunResult(
        folder=folder,
        peaks_path=folder / PEAKS,
        motion_path=folder / MOTION,
        assessment_path=folder / ASSESSMENT if form.assessed else None,
        report_path=folder / plotting.REPORT if form.report else None,
        corrected_paths=tuple(output.binary for output in outputs.binaries),
        probe_path=outputs.probe,
        facts=facts,
        messages=told.messages,
    )


@takes(LookOptions)
def info(
    recording: Files,
    *,
    full: bool = False,
    out: PathLike | None = None,
    preset: PathLike | None = None,
    changes: Changes | None = None,
    **options: Unpack[LookOptions],
) -> dict[str, Any]:
    """What a recording is, what is wrong with it, and what a run would cost. Writes nothing.

    recording: as in `run`.
    full: look at all of the recording for spans to leave out of the estimate, not at slices, and list them.
    out: folder that the run would write to.
    preset, changes: of the run.

    Returns plain data under `recording`, `probe`, `bad_channels`, `noise`, `mask`, `cost` and `preset`; units are in
    the names. Raises UsageError and InputError where a run would before it begins.
    """
    told = Told(options.get("reporter"))
    settings = settings_of(preset, changes_of(changes))
    folder = running.default_folder(paths_of(recording)[0]) if out is None else Path(out)
    source, form = opened(recording, options, told), form_of(options)
    work = work_of(options, told)
    return informing.info(source, settings, folder, work, full=full, dtype=form.dtype, shanks=form.shanks)


@takes(StreamOptions)
def detect(
    recording: Files,
    *,
    out: PathLike | None = None,
    preset: PathLike | None = None,
    changes: Changes | None = None,
    exclude_times: Times | None = None,
    **options: Unpack[StreamOptions],
) -> PeaksResult:
    """Find and localize the peaks of a recording: peaks.h5.

    recording: as in `run`.
    out: path of the peaks; by default rec.driftcli/peaks.h5.
    preset, changes: as in `run`.
    exclude_times: times in s to leave out of the estimate, as [(12.5, 14), (300, 310)], as '12.5-14,300-310', or a file
        with a span per line.

    Returns where the peaks are; its `peaks` reads them. Raises UsageError for options that make no sense, InputError
    for a recording or probe that is broken or holds no peaks, and OutputError for an output that exists or can't be
    written.
    """
    told = Told(options.get("reporter"))
    settings = settings_of(preset, changes_of(changes))
    path = running.default_folder(paths_of(recording)[0]) / PEAKS if out is None else Path(out)
    source, work = opened(recording, options, told), work_of(options, told)
    facts = detecting.detect(source, settings, path, work, exclude_times=in_words(exclude_times))
    return PeaksResult(path=path, facts=facts, messages=told.messages)


@checked
def estimate(
    time_s: ArrayLike,
    depth_um: ArrayLike,
    amplitude_uv: ArrayLike,
    *,
    preset: PathLike | None = None,
    changes: Changes | None = None,
    duration_s: float | None = None,
    span_um: tuple[float, float] | None = None,
    exclude_times: Times | None = None,
    jobs: int | None = None,
    max_memory: str | float | None = None,
    reporter: Reporter | None = None,
) -> Motion:
    """Estimate the motion of the tissue from the peaks of one shank, in memory. Reads and writes no file.

    Corrected depths are `depth_um - motion.at(time_s, depth_um)`. The motion is the same for any number of threads, and
    the one that `estimate_file` finds in these peaks.

    time_s: (N,) seconds from the start of the recording, 0 or later; peaks that are not in order of time are sorted.
    depth_um: (N,) position along the probe in µm.
    amplitude_uv: (N,) amplitude in µV; the sign is that of the peak.
    preset: name of a preset, or path of a YAML file; only its stage `estimate` matters.
    changes: values to change in the preset, such as {"estimate.bin_s": 1}.
    duration_s: length of the recording in s; by default until the end of the second that the last peak is in.
    span_um: lowest and highest depth of the shank's contacts in µm; by default those of the peaks.
    exclude_times: times in s to leave out, as in `detect`.
    jobs: threads; by default the CPUs allotted to this process.
    max_memory: memory that the estimate may take, such as '2GB' or a number of bytes; one that needs more is refused.
    reporter: who is told how work goes; by default nobody.

    Returns the motion: `displacement_um` (T, W) in µm at the centres of temporal bins, `temporal_bins_s` (T,) in s, and
    of spatial windows, `spatial_bins_um` (W,) in µm. Raises InputError for arrays that are not of one length (N,), hold
    NaN, infinity, no peaks or times before 0, and UsageError for options that make no sense.

    Source: of the method `dredge_ap` Windolf et al. 2025, Nature Methods; of `decentralized` Varol et al. 2021 and
    Windolf et al. 2023, ICASSP; of `iterative_template` Steinmetz et al. 2021, Science. Their files in
    `driftcli/estimate/` say what is done otherwise.
    """
    work = work_of({"jobs": jobs, "max_memory": max_memory}, Told(reporter))
    return estimating.estimate_peaks(
        peaks_of_arrays(time_s, depth_um, amplitude_uv),
        settings_of(preset, changes_of(changes)),
        work,
        duration_s=duration_s,
        span_um=span_um,
        exclude_times=in_words(exclude_times),
    )


@takes(EstimateOptions)
def estimate_file(
    peaks: PathLike,
    *,
    out: PathLike | None = None,
    preset: PathLike | None = None,
    changes: Changes | None = None,
    span_um: tuple[float, float] | None = None,
    ignore_mask: bool = False,
    **options: Unpack[EstimateOptions],
) -> MotionResult:
    """Estimate the motion of each shank from a file of peaks: motion.h5. Needs no recording.

    peaks: path of peaks.h5, or of an .npz with `time_s` (N,) in s, `depth_um` (N,) in µm, `amplitude_uv` (N,) in µV.
        With a preset that works on the local field potential, that of a recording, for which its options are.
    out: path of the motion; by default motion.h5 beside the peaks, or in rec.driftcli beside rec.bin.
    preset, changes: as in `run`; by default the preset that the peaks were found with.
    span_um: lowest and highest depth that the probe spans in µm, for an .npz; by default those of the peaks.
    ignore_mask: use peaks in times that `detect` left out, for what it found there or as it was told to.

    Returns where the motion is; its `motion` reads it. Raises InputError for peaks that can't be read or aren't there,
    UsageError for changes of what was done before and for an estimate that needs more memory than it may, and
    OutputError for an output that exists or can't be written.
    """
    told, path, form = Told(options.get("reporter")), Path(peaks), form_of(options)
    settings = settings_of_source(path, named(preset), changes_of(changes))
    if not is_peaks(path):
        refuse_for_traces(settings, span_um, ignore_mask)
        target = running.default_folder(path) / MOTION if out is None else Path(out)
        facts = estimate_traces(
            opened(path, options, told, lf_ok=True),
            settings,
            target,
            work_of(options, told),
            shanks=form.shanks,
            exclude_times=form.exclude_times,
        )
        return MotionResult(path=target, facts=facts, messages=told.messages)
    refuse_for_peaks(of_files(options))
    target = path.with_name(MOTION) if out is None else Path(out)
    facts = estimating.estimate(
        path,
        settings,
        target,
        work_of(options, told),
        span_um=span_um,
        shanks=form.shanks,
        exclude_times=form.exclude_times,
        ignore_mask=ignore_mask,
    )
    return MotionResult(path=target, facts=facts, messages=told.messages)


@takes(ThreadOptions)
def assess(
    peaks: PathLike,
    motion: PathLike | None = None,
    *,
    out: PathLike | None = None,
    preset: PathLike | None = None,
    changes: Changes | None = None,
    span_um: tuple[float, float] | None = None,
    **options: Unpack[ThreadOptions],
) -> AssessmentResult:
    """Say whether a motion helps, with scores and reasons: assessment.h5. Needs no recording.

    peaks: path of peaks.h5, of the folder of a run, or of an .npz as in `estimate_file`.
    motion: path of the motion to look at; by default motion.h5 beside the peaks.
    out: path of the scores; by default assessment.h5 beside the motion.
    preset, changes: as in `run`; by default the preset that the motion was estimated with. Only its stage `estimate`
        matters, which is made again of halves of the peaks, and of corrected ones.
    span_um: lowest and highest depth that the probe spans in µm, for an .npz; by default those of the peaks.

    Returns the verdict, and where the scores are; its `assessment` reads them, for each shank with the expected error
    in µm, (T, W) on the bins of the motion. Raises InputError for files that can't be read or don't belong together,
    UsageError for estimates that need more memory than they may, and OutputError for an output that exists or can't be
    written.
    """
    told, path = Told(options.get("reporter")), Path(peaks)
    path = path / PEAKS if path.is_dir() else path
    moved = path.with_name(MOTION) if motion is None else Path(motion)
    settings = settings_after(moved, "motion", DETECT_STAGES, named(preset), changes_of(changes))
    target = assessing.default_assessment(moved) if out is None else Path(out)
    facts = assessing.assess(path, moved, settings, target, work_of(options, told), span_um=span_um)
    return AssessmentResult(path=target, facts=facts, messages=told.messages)


@takes(ApplyOptions)
def apply(
    recording: Files,
    motion: PathLike,
    *,
    peaks: PathLike | None = None,
    out: PathLike | None = None,
    preset: PathLike | None = None,
    changes: Changes | None = None,
    **options: Unpack[ApplyOptions],
) -> CorrectedResult:
    """Correct a recording with a motion: corrected.bin and its probe, or a SpikeGLX pair of a SpikeGLX pair.

    Probe, rate and gain come from the motion file, the methods from the preset it was made with, unless options or a
    SpikeGLX meta say otherwise.

    recording: as in `run`.
    motion: path of motion.h5; `write_motion` makes one of arrays.
    peaks: path of the peaks that weights are fitted to, where the method does that; by default peaks.h5 beside
        the motion.
    out: path of the corrected binary, with `split` folder of all; by default corrected.bin in rec.driftcli, of SpikeGLX
        X_driftcorr....ap.bin.
    preset, changes: as in `run`; a change of what was done before is refused.

    Returns where the corrected recording is. Raises InputError for a motion that doesn't fit the recording, UsageError
    for options that make no sense, and OutputError for outputs that exist or can't be written.
    """
    told, path = Told(options.get("reporter")), Path(motion)
    wanted = changes_of(changes, options.get("bad_channels_out"))
    settings = settings_after(path, "motion", BEFORE_APPLY, named(preset), wanted)
    source, form = opened(recording, options, told, path), form_of(options)
    target = form.corrected(source, running.default_folder(paths_of(recording)[0])) if out is None else Path(out)
    facts = applying.apply(
        source,
        path,
        settings,
        target,
        work_of(options, told),
        dtype=form.dtype,
        split=form.split,
        compress=form.compress,
        if_better=form.if_better,
        peaks_path=None if peaks is None else Path(peaks),
    )
    outputs = outputs_of(source, target, form.dtype, split=form.split, compress=form.compress)
    return CorrectedResult(
        corrected_paths=tuple(output.binary for output in outputs.binaries),
        probe_path=outputs.probe,
        facts=facts,
        messages=told.messages,
    )


@takes(WorkOptions)
def plot(
    folder: PathLike,
    *,
    out: PathLike | None = None,
    time_s: tuple[float, float] | None = None,
    depth_um: tuple[float, float] | None = None,
    resume: bool = False,
    **options: Unpack[WorkOptions],
) -> FileResult:
    """Draw what a run did: figures as PNG and SVG, and report.html. Needs no recording.

    folder: of a run, or with a peaks.h5 and a motion.h5.
    out: folder for figures and report.html; by default the same.
    time_s: lowest and highest time to draw, in s; by default all.
    depth_um: lowest and highest depth to draw, in µm; by default all.
    resume: keep pictures that are whole.

    Returns where report.html is. Raises InputError for files that are missing, can't be read or don't belong together,
    UsageError for limits that hold nothing, and OutputError for pictures that exist or can't be written.
    """
    told, source = Told(options.get("reporter")), Path(folder)
    work = replace(work_of(options, told), resume=resume)
    target = source if out is None else Path(out)
    facts = plotting.plot(source, target, work, time_limits_s=time_s, depth_limits_um=depth_um)
    return FileResult(path=target / plotting.REPORT, facts=facts, messages=told.messages)


@takes(WorkOptions)
def compare(
    folders: Files,
    *,
    out: PathLike | None = None,
    time_s: tuple[float, float] | None = None,
    depth_um: tuple[float, float] | None = None,
    **options: Unpack[WorkOptions],
) -> FileResult:
    """Draw several runs on one recording side by side, as to choose a preset: peaks, motions, scores, run times.

    folders: of the runs, two or more.
    out: path of a .png or an .svg, or the folder where comparison.png and comparison.svg go; by default here.
    time_s, depth_um: as in `plot`.

    Returns where the picture is, or the folder of both. Raises InputError for files that can't be read or are not of
    one recording, UsageError for too few or too many folders, and OutputError for pictures that exist or can't be
    written.
    """
    told, target = Told(options.get("reporter")), Path() if out is None else Path(out)
    runs, work = listed(folders), work_of(options, told)
    facts = comparing.compare(runs, target, work, time_limits_s=time_s, depth_limits_um=depth_um)
    return FileResult(path=target, facts=facts, messages=told.messages)


@takes(WorkOptions)
def correct_peaks(
    peaks: PathLike, motion: PathLike, *, out: PathLike | None = None, **options: Unpack[WorkOptions]
) -> PeaksResult:
    """Correct the depths of peaks instead of traces: corrected_peaks.h5, with the column `y_corrected_um` (N,) in µm.

    For peaks in memory it is `depth_um - motion.at(time_s, depth_um)`.

    peaks: path of peaks.h5, as `detect` wrote it.
    motion: path of motion.h5.
    out: path of the corrected peaks; by default corrected_peaks.h5 beside the peaks.

    Returns where the corrected peaks are; its `peaks` reads them. Raises InputError for a motion that doesn't fit the
    peaks, and OutputError for an output that exists or can't be written.
    """
    told, path = Told(options.get("reporter")), Path(peaks)
    settings = settings_after(path, "peaks", (), None, {})
    target = correcting.default_output(path) if out is None else Path(out)
    facts = correcting.correct_peaks(path, Path(motion), settings, target, work_of(options, told))
    return PeaksResult(path=target, facts=facts, messages=told.messages)


@checked
def verify(
    target: PathLike,
    *,
    places: int = verifying.DEFAULT_PLACES,
    seed: int | None = None,
    jobs: int | None = None,
    reporter: Reporter | None = None,
) -> verifying.Verification:
    """Check outputs: inputs unchanged, files whole, contents consistent, blocks the same when done again.

    Writes nothing.

    target: folder of the outputs, or path of one of them.
    places: blocks, at random places, that are done again and compared.
    seed: look at the same places again; by default at others each time.
    jobs: threads; by default the CPUs allotted to this process.
    reporter: who is told how work goes; by default nobody.

    Returns all findings; those in its `wrong` say what is not as it should be, for which its `require_ok()` raises
    VerificationError. Raises InputError where there is no run.json that can be read.
    """
    work = work_of({"jobs": jobs}, Told(reporter))
    return verifying.verify(Path(target), work, places=places, seed=seed)


class SimulationOptions(TypedDict, total=False):
    """What to simulate: the fields of `driftcli.simulate.simulate.SimulateParameters`, which has the defaults."""

    duration_s: float
    num_channels: int
    num_units: int
    depths: Literal["uniform", "bimodal"]
    cells: Literal["monopole", "dipole"]
    firing_rate_hz: float
    rates: Literal["homogeneous", "modulated"]
    noise_uv: float
    slow_uv: float
    sampling_frequency_hz: float
    gain_to_uv: float
    drift: Literal["none", "zigzag", "bumps", "random_walk"]
    drift_um: float
    period_s: float
    bump_jitter: float
    non_rigid_gradient: float
    t_start_s: float
    seed: int


@checked
def simulate(
    out: PathLike,
    *,
    overwrite: bool = False,
    reporter: Reporter | None = None,
    **parameters: Unpack[SimulationOptions],
) -> SimulationResult:
    """Make a drifting recording with known truth: rec.bin, rec.json, probe.json and truth.npz.

    out: folder to make.
    overwrite: replace files that exist.
    reporter: who is told how work goes; by default nobody.
    parameters: what to simulate; the same parameters give the same files:
        duration_s: length in s.
        num_channels: contacts, as on a Neuropixels 1.0.
        num_units: units along the probe.
        depths: of the units, 'uniform' or 'bimodal'.
        cells: units as 'monopole' or 'dipole'.
        firing_rate_hz: mean rate of the units.
        rates: over time, 'homogeneous' or 'modulated'.
        noise_uv, slow_uv: standard deviation of the noise, and size of the slow potentials, in µV.
        sampling_frequency_hz: samples per second.
        gain_to_uv: µV per count.
        drift: 'zigzag', 'bumps', 'random_walk' or 'none'.
        drift_um: range of the displacement at the tip, in µm.
        period_s: of the zigzag, and pace of bumps and walk, in s.
        bump_jitter: by which share times between bumps differ from their mean.
        non_rigid_gradient: by which share the top moves less than the tip; 0 is rigid.
        t_start_s: when the drift begins, in s.
        seed: another seed, another recording.

    Returns where the files are; its `truth` reads the truth. Raises UsageError for parameters that are unknown or out
    of range, and OutputError for files that exist or can't be written.
    """
    wanted = presets.validate("simulate", SimulateParameters, dict(parameters), "help(driftcli.simulate)")
    folder = Path(out)
    make(folder, wanted, reporter or Reporter(), overwrite)
    recording, probe, _, truth = (folder / name for name in FILES)
    return SimulationResult(
        folder=folder,
        recording_path=recording,
        probe_path=probe,
        truth_path=truth,
        sampling_frequency=wanted.sampling_frequency_hz,
        gain_to_uv=wanted.gain_to_uv,
    )
