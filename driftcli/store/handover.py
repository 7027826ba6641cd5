"""What `motion.h5` carries beside the motion, as arrays under plain names, for formats that can hold it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftcli.model import Geometry, Motion, RecordingFacts
from driftcli.store.motion import MotionFile


@dataclass(frozen=True)
class Handover:
    """The recording's facts (None where the peaks came without a recording), the preset and the time covered."""

    facts: RecordingFacts | None
    preset: dict[str, Any]
    duration_s: float

    @classmethod
    def of(cls, file: MotionFile) -> Handover:
        return cls(file.facts, file.preset, file.duration_s)


@dataclass(frozen=True)
class ForeignMotion:
    """A motion read from another format, by shank, and what came with it; None where nothing did."""

    motions: dict[int, Motion]
    handover: Handover | None


def to_arrays(handover: Handover) -> dict[str, NDArray[Any]]:
    """All of the handover; texts are arrays of no dimension."""
    arrays = {"duration_s": np.array(handover.duration_s), "preset": np.array(json.dumps(handover.preset))}
    facts = handover.facts
    if facts is None:
        return arrays
    recording = {
        "sampling_frequency_hz": facts.sampling_frequency_hz,
        "num_samples": facts.num_samples,
        "num_columns": facts.num_columns,
        "dtype": facts.dtype,
        "offset_bytes": facts.offset_bytes,
        "contact_positions_um": facts.geometry.positions_um,
        "shanks": facts.geometry.shanks,
        "columns": facts.columns,
        "probe": facts.probe_json,
        "breaks": facts.breaks,
        "origin": facts.origin,
        "files": facts.files,
    }
    if facts.labels is not None:
        recording["labels"] = facts.labels
    if facts.gain_to_uv is not None:
        recording["gain_to_uv"] = facts.gain_to_uv
    return arrays | {f"recording_{name}": np.asarray(value) for name, value in recording.items()}


def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> Handover | None:
    """The way back; None if it isn't there. Raises KeyError, TypeError or ValueError where it is broken."""
    if "preset" not in arrays:
        return None
    preset, duration_s = json.loads(str(arrays["preset"])), float(arrays["duration_s"])
    if not isinstance(preset, dict) or not np.isfinite(duration_s):
        raise ValueError("its preset or its duration is none")
    if "recording_probe" not in arrays:
        return Handover(None, preset, duration_s)

    def of_recording(name: str) -> NDArray[Any]:
        return arrays[f"recording_{name}"]

    geometry = Geometry(of_recording("contact_positions_um").astype(float), of_recording("shanks").astype(np.int64))
    columns = of_recording("columns").astype(np.int64)
    if geometry.positions_um.shape != (len(columns), 2) or geometry.shanks.shape != columns.shape:
        raise ValueError("the positions, shanks and columns of its contacts are not of one length")
    facts = RecordingFacts(
        sampling_frequency_hz=float(of_recording("sampling_frequency_hz")),
        num_samples=int(of_recording("num_samples")),
        num_columns=int(of_recording("num_columns")),
        dtype=str(of_recording("dtype")),
        offset_bytes=int(of_recording("offset_bytes")),
        geometry=geometry,
        columns=columns,
        gain_to_uv=of_recording("gain_to_uv").astype(float) if "recording_gain_to_uv" in arrays else None,
        probe_json=str(of_recording("probe")),
        breaks=arrays.get("recording_breaks", np.empty(0)).astype(np.int64),
        files=arrays.get("recording_files", np.empty(0)).astype(np.int64).reshape(-1, 2),
        origin=int(arrays.get("recording_origin", np.array(0))),
        labels=of_recording("labels").astype(np.uint8) if "recording_labels" in arrays else None,
    )
    return Handover(facts, preset, duration_s)
