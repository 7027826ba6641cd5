"""correct-peaks: peaks and motion in, peaks with corrected depths out, for those who need no new traces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from driftcli.model import Peaks, Settings
from driftcli.store.motion import read_motion
from driftcli.store.peaks import read_peaks, write_peaks
from driftcli.workflow.fit import offset, require_fit, tell_of_joined_bins
from driftcli.workflow.runlog import RunLog
from driftcli.workflow.work import Work, claim_outputs


def default_output(peaks_path: Path) -> Path:
    """Where corrected peaks go: beside the others."""
    return peaks_path.with_name("corrected_peaks.h5")


def correct_peaks(peaks_path: Path, motion_path: Path, settings: Settings, out: Path, work: Work) -> dict[str, Any]:
    """Add the column `y_corrected_um`, each peak's depth less the displacement at its time and depth.

    The displacement is linear between temporal bins. settings: those that made the peaks.

    Returns the facts that went to `run.json`.
    """
    claim_outputs([out], [peaks_path, motion_path], work.overwrite)
    file, motion_file = read_peaks(peaks_path), read_motion(motion_path, every_bin=False)
    facts, peaks = file.facts, file.peaks
    require_fit(facts, motion_file, "the peaks")
    tell_of_joined_bins(motion_file, work.reporter)
    log = RunLog("correct-peaks", out, {"peaks": peaks_path, "motion": motion_path}, settings, (), work)
    corrected = peaks.location["y_um"].astype(float)
    sample = peaks.sample_index + offset(facts, motion_file)
    peak_shanks = facts.geometry.shanks[peaks.channel_index]
    for shank, _ in facts.geometry.each_shank():
        here = peak_shanks == shank
        times_s = sample[here] / facts.sampling_frequency_hz
        corrected[here] -= motion_file.motions[shank].at(times_s, corrected[here])
    location = peaks.location | {"y_corrected_um": corrected.astype(np.float32)}
    found = Peaks(peaks.sample_index, peaks.channel_index, peaks.amplitude, location)
    write_peaks(out, [found], len(found), location, facts, settings, file.noise_levels, file.mask)
    log.counts = {"peaks": len(peaks)}
    return log.write()
