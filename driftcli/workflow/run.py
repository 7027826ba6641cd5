"""run: detect, estimate and apply, one after the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from driftcli.files import require_room
from driftcli.model import Settings
from driftcli.recording.recording import Recording
from driftcli.workflow.apply import apply, default_name, outputs_of
from driftcli.workflow.detect import detect
from driftcli.workflow.estimate import estimate, foresee_memory
from driftcli.workflow.work import Work, claim_outputs

PEAKS, MOTION = "peaks.h5", "motion.h5"
_SHARE_OF_PEAKS = 0.02  # of the recording's size, more than peaks.h5 and its spool took on any recording tried


def default_folder(recording_path: Path) -> Path:
    """`rec.driftcli/` beside `rec.bin`."""
    return recording_path.with_name(f"{recording_path.stem}.driftcli")


def run(
    recording: Recording, settings: Settings, folder: Path, work: Work, *, dtype: str | None = None
) -> dict[str, dict[str, Any]]:
    """Correct a recording: peaks, motion, corrected binary (for SpikeGLX with its meta) and its probe go to `folder`.

    Returns the facts of each verb that went to `run.json`. Raises UsageError before anything is done where the estimate
    will need more memory than it may, however many peaks there are.
    """
    peaks, motion, corrected = folder / PEAKS, folder / MOTION, folder / default_name(recording)
    outputs = [peaks, motion, *outputs_of(recording, corrected, dtype).values()]
    frame_bytes = recording.num_columns * np.dtype(dtype or recording.dtype).itemsize
    require_room(folder, round(recording.num_samples * frame_bytes * (1 + _SHARE_OF_PEAKS)))
    foresee_memory(recording.geometry, recording.duration_s, settings, work)
    claim_outputs(outputs, recording.inputs.values(), work.overwrite)
    return {
        "detect": detect(recording, settings, peaks, work),
        "estimate": estimate(peaks, settings, motion, work),
        "apply": apply(recording, motion, settings, corrected, work, dtype=dtype),
    }
