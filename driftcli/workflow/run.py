"""run: detect, estimate and apply, one after the other."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from driftcli.errors import UsageError
from driftcli.files import atomic, refuse_existing, require_room
from driftcli.model import Settings
from driftcli.recording.recording import Recording
from driftcli.workflow.apply import apply
from driftcli.workflow.assess import assess
from driftcli.workflow.detect import detect
from driftcli.workflow.estimate import Shanks, estimate, foresee_memory
from driftcli.workflow.estimate_traces import estimate_traces
from driftcli.workflow.form import Form
from driftcli.workflow.place import begin
from driftcli.workflow.portion import ALL_OUTPUTS, IDENTITY, final, go_on_delivering, work_folder
from driftcli.workflow.runlog import RunLog, add_to_run_log, outputs_in_run_log
from driftcli.workflow.steps import works_on_traces
from driftcli.workflow.work import ASSESSMENT, MOTION, PEAKS, RUN_LOG, Work, check_outputs

_BLOCK_BYTES = 512  # of which st_blocks counts
_SHARE_OF_PEAKS = 0.02  # of the recording's size, more than peaks.h5 and its spool took on any recording tried


def default_folder(recording_path: Path) -> Path:
    """`rec.driftcli/` beside `rec.bin`."""
    return recording_path.with_name(f"{recording_path.stem}.driftcli")


def needed_bytes(recording: Recording, dtype: str | None = None, compress: bool = False) -> int:
    """Room that a run must find on the disk of its outputs, which is more than they take on any recording tried.

    How small a compressed binary gets shows only while it is written, so that it counts as nothing.
    """
    size_bytes = recording.num_samples * recording.num_columns * np.dtype(dtype or recording.dtype).itemsize
    return round(size_bytes * (_SHARE_OF_PEAKS + (not compress)))


def run(
    recording: Recording,
    settings: Settings,
    folder: Path,
    work: Work,
    *,
    dtype: str | None = None,
    split: bool = False,
    compress: bool = False,
    shanks: Shanks = "each",
    exclude_times: str | None = None,
    if_better: bool = False,
    report: bool = True,
) -> dict[str, dict[str, Any]]:
    """Correct a recording: peaks, motion, corrected binary (for SpikeGLX with its meta) and its probe go to `folder`.

    The options are those of the verbs. report: say whether the correction helps. All outputs get their names when the
    last one is whole. Returns the facts of each verb that went to `run.json`. Raises UsageError before anything is done
    where the estimate will need more memory than it may, however many peaks there are.
    """
    form = Form(dtype, split, compress, if_better=if_better, report=report)
    if works_on_traces(settings):
        form = without_peaks(form, settings, work)
    outputs = _outputs(recording, folder, form, settings)
    check_outputs(outputs, recording.inputs.values())
    whole = folder / ALL_OUTPUTS
    log = RunLog("run", whole, recording.inputs, settings, settings.stages, work, recording=recording)
    if work.resume:
        go_on_delivering(whole)  # what it moves takes no more room
    if not (work.resume and all(file.exists() for file in outputs)):
        require_room(folder, needed_bytes(recording, dtype, compress) - taken_bytes(whole, work, outputs))
    foresee_memory(recording, settings, work, shanks)
    with begin(outputs, whole, log.identity, work, takes_in=True) as portion:
        stage = portion.folder
        may_overwrite = work.overwrite or portion.may_overwrite
        if work.resume and not (portion.goes_on and may_overwrite):
            _take_what_is_there(outputs, stage)
        inside = replace(work, resume=True, overwrite=may_overwrite)
        corrected = form.corrected(recording, stage)
        peaks, motion = stage / PEAKS, stage / MOTION
        facts: dict[str, dict[str, Any]] = {}
        try:
            if works_on_traces(settings):
                facts["estimate"] = estimate_traces(
                    recording, settings, motion, inside, shanks=shanks, exclude_times=exclude_times
                )
            else:
                facts["detect"] = detect(recording, settings, peaks, inside, exclude_times=exclude_times)
                facts["estimate"] = estimate(peaks, settings, motion, inside, shanks=shanks)
            if form.assessed:
                facts |= _assessed(peaks, motion, settings, stage, inside, outputs, if_better=if_better)
            facts["apply"] = apply(
                recording,
                motion,
                settings,
                corrected,
                inside,
                dtype=dtype,
                split=split,
                compress=compress,
                if_better=if_better,
            )
        finally:
            portion.worth_keeping = _holds_more(stage, folder)
        portion.deliver([stage / file.relative_to(folder) for file in outputs], outputs_in_run_log(stage))
    return {verb: {**fact, "output": str(final(Path(fact["output"])))} for verb, fact in facts.items()}


def _assessed(
    peaks: Path, motion: Path, settings: Settings, stage: Path, work: Work, outputs: list[Path], *, if_better: bool
) -> dict[str, dict[str, Any]]:
    """Facts of the assessment. One that takes more memory than it may is no reason to correct nothing, unless the
    correction depends on it: it is told, and taken off the outputs."""
    try:
        return {"assess": assess(peaks, motion, settings, stage / ASSESSMENT, work)}
    except UsageError as error:
        if if_better:
            raise
        work.reporter.message(f"no verdict: {error.message}")
        outputs[:] = [output for output in outputs if output.name != ASSESSMENT]
        return {}


def taken_bytes(output: Path, work: Work, outputs: Iterable[Path] = ()) -> int:
    """Room on the disk that --resume need not find again: that of unfinished work, and of outputs that are there."""
    if not work.resume:
        return 0
    there = {file.stat().st_ino: file for file in [*work_folder(output).rglob("*"), *outputs] if file.is_file()}
    return sum(file.stat().st_blocks * _BLOCK_BYTES for file in there.values())


def without_peaks(form: Form, settings: Settings, work: Work) -> Form:
    """The form of a run that has no peaks: verdict and pictures are of peaks, and are told not to be there.

    Raises UsageError where the correction depends on the verdict.
    """
    method = settings["estimate"].method
    if form.if_better:
        raise UsageError(
            f"the verdict is on peaks, and the method {method} finds none", "leave --if-better away, or detect first"
        )
    if form.report:
        work.reporter.message(f"no verdict and no pictures: they are of peaks, and the method {method} finds none")
    return replace(form, report=False)


def _outputs(recording: Recording, folder: Path, form: Form, settings: Settings) -> list[Path]:
    """All files that a run leaves but for `run.json`; the last one is the mark of a whole run."""
    peaks = [] if works_on_traces(settings) else [PEAKS]
    tables = [*peaks, MOTION, *([ASSESSMENT] if form.assessed else [])]
    return [*(folder / name for name in tables), *reversed(form.outputs(recording, folder).files)]


def _take_what_is_there(outputs: list[Path], stage: Path) -> None:
    """Outputs that are there already are kept if they are of this work: the verbs look at that. Raises OutputError
    for those that work in the stage would replace.

    Of an output that lost one of its files, all are made anew. First what is known of them: a kill must leave no output
    of which nothing is known.
    """
    folder = outputs[0].parent
    log = outputs_in_run_log(folder)
    sets = [set(facts.get("checksums", ())) for facts in log.values()]
    incomplete = {name for names in sets if not all((folder / name).exists() for name in names) for name in names}
    named = {file.relative_to(folder).as_posix(): file for file in outputs}
    there = {
        name: file
        for name, file in named.items()
        if file.exists() and not _is_taken(file, stage / name) and name not in incomplete
    }
    for name, file in there.items():
        together = next((names for names in sets if name in names), {name})
        if any((stage / each).exists() or work_folder(stage / each).exists() for each in together):
            refuse_existing(file, overwrite=False)
    if there:
        add_to_run_log(stage, {name: facts for name, facts in log.items() if name in there})
    for name, file in there.items():
        _link(file, stage / name)


def _is_taken(file: Path, name: Path) -> bool:
    return file.exists() and name.exists() and name.samefile(file)


def _holds_more(stage: Path, folder: Path) -> bool:
    """Whether there is any work in the stage that isn't in the folder, too."""
    try:
        new = [path.relative_to(stage) for path in stage.rglob("*") if path.name not in (IDENTITY, RUN_LOG)]
        return any(
            name.name.startswith(".") if (stage / name).is_dir() else not _is_taken(folder / name, stage / name)
            for name in new
        )
    except OSError:  # a disk that has gone away tells nothing, and may come back
        return True


def _link(file: Path, name: Path) -> None:
    """Give a file a second name, or where the file system can't, copy it."""
    if not name.parent.is_dir():
        name.parent.mkdir()
    try:
        os.link(file, name)
    except OSError:
        with atomic(name) as temporary:
            shutil.copy2(file, temporary)
