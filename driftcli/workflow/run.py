"""run: detect, estimate and apply, one after the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from driftcli.files import require_room
from driftcli.model import Settings
from driftcli.recording.recording import Recording
from driftcli.workflow.apply import apply
from driftcli.workflow.detect import detect
from driftcli.workflow.estimate import Shanks, estimate, foresee_memory
from driftcli.workflow.outputs import default_name, outputs_of
from driftcli.workflow.work import Work, claim_outputs

PEAKS, MOTION = "peaks.h5", "motion.h5"
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
) -> dict[str, dict[str, Any]]:
    """Correct a recording: peaks, motion, corrected binary (for SpikeGLX with its meta) and its probe go to `folder`.

    The options are those of the verbs. Returns the facts of each verb that went to `run.json`. Raises UsageError before
    anything is done where the estimate will need more memory than it may, however many peaks there are.
    """
    corrected = folder if split else folder / default_name(recording, compress=compress)
    peaks, motion = folder / PEAKS, folder / MOTION
    outputs = outputs_of(recording, corrected, dtype, split=split, compress=compress)
    require_room(folder, needed_bytes(recording, dtype, compress))
    foresee_memory(recording, settings, work, shanks)
    claim_outputs([peaks, motion, *outputs.files], recording.inputs.values(), work.overwrite)
    return {
        "detect": detect(recording, settings, peaks, work, exclude_times=exclude_times),
        "estimate": estimate(peaks, settings, motion, work, shanks=shanks),
        "apply": apply(recording, motion, settings, corrected, work, dtype=dtype, split=split, compress=compress),
    }
