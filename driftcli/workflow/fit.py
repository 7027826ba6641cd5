"""Whether a motion belongs to the recording or the peaks that it is to correct."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from driftcli.errors import InputError
from driftcli.model import RecordingFacts
from driftcli.store.motion import MotionFile


def require_fit(facts: RecordingFacts, file: MotionFile, what: str) -> None:
    """Raise InputError unless the motion covers all of `what` (the recording, the peaks) and has its shanks.

    A motion of peaks that came without a recording may end up to one temporal bin early, as peaks do.
    """
    missing = [shank for shank, _ in facts.geometry.each_shank() if shank not in file.motions]
    if missing:
        raise InputError(f"the motion has no shank {missing[0]}", f"estimate it from the peaks of {what}")
    slack_s = 0.0 if file.facts else max(_bin_s(motion.temporal_bins_s) for motion in file.motions.values())
    if file.duration_s + slack_s < facts.duration_s:
        raise InputError(
            f"the motion covers {file.duration_s:.3f} s, {what} {facts.duration_s:.3f} s",
            f"estimate it from the peaks of {what}",
        )
    if file.facts is not None:
        _require_same_probe(facts, file.facts)


def _require_same_probe(facts: RecordingFacts, theirs: RecordingFacts) -> None:
    if theirs.sampling_frequency_hz != facts.sampling_frequency_hz:
        rates = f"{theirs.sampling_frequency_hz:g} Hz, not {facts.sampling_frequency_hz:g} Hz"
        raise InputError(f"the motion was estimated at a sampling frequency of {rates}", "check --sampling-frequency")
    ours, positions_um = facts.geometry, theirs.geometry.positions_um
    same = positions_um.shape == ours.positions_um.shape and np.allclose(positions_um, ours.positions_um, atol=0.01)
    if not same or (theirs.geometry.shanks != ours.shanks).any():
        hint = "give the probe that detect was given"
        raise InputError("the motion was estimated on a probe with other contact positions or shanks", hint)


def _bin_s(temporal_bins_s: NDArray[np.float64]) -> float:
    return float(np.diff(temporal_bins_s).max()) if len(temporal_bins_s) > 1 else np.inf
