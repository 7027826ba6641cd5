"""What `motion.h5` carries beside the motion, as arrays under plain names, for formats that can hold it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftcli.arrays import numbers
from driftcli.bounded import parse_json
from driftcli.model import LARGEST_TIME_S, Geometry, Motion, RecordingFacts
from driftcli.store.checked_facts import as_labels, real, sound, whole
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
    """The way back; None if it isn't there. Raises KeyError or ValueError where it is broken."""
    if "preset" not in arrays:
        return None
    preset, duration_s = parse_json(_text(arrays["preset"])), real(arrays["duration_s"])
    if not isinstance(preset, dict) or not 0 <= duration_s <= LARGEST_TIME_S:
        raise ValueError("its preset or its duration is none")
    if "recording_probe" not in arrays:
        return Handover(None, preset, duration_s)

    def integers(name: str) -> NDArray[np.int64]:
        return numbers(arrays[f"recording_{name}"], "iu", np.int64)

    def floats(name: str) -> NDArray[np.float64]:
        return numbers(arrays[f"recording_{name}"], "iuf", float)

    facts = RecordingFacts(
        sampling_frequency_hz=real(arrays["recording_sampling_frequency_hz"]),
        num_samples=whole(arrays["recording_num_samples"]),
        num_columns=whole(arrays["recording_num_columns"]),
        dtype=_text(arrays["recording_dtype"]),
        offset_bytes=whole(arrays["recording_offset_bytes"]),
        geometry=Geometry(floats("contact_positions_um"), integers("shanks")),
        columns=integers("columns"),
        gain_to_uv=floats("gain_to_uv") if "recording_gain_to_uv" in arrays else None,
        probe_json=_text(arrays["recording_probe"]),
        breaks=integers("breaks") if "recording_breaks" in arrays else np.empty(0, np.int64),
        files=integers("files") if "recording_files" in arrays else np.empty((0, 2), np.int64),
        origin=whole(arrays.get("recording_origin", np.array(0))),
        labels=as_labels(integers("labels")) if "recording_labels" in arrays else None,
    )
    return Handover(sound(facts), preset, duration_s)


def _text(value: NDArray[Any]) -> str:
    if value.shape != () or value.dtype.kind != "U":
        raise ValueError("a text is none")
    return str(value)
