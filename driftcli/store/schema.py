"""What every driftcli HDF5 file has in common: format, version, provenance, the recording's facts, a `complete` mark.

The files hold no clock times, paths or command lines, so that the same work gives the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from driftcli import __version__
from driftcli.errors import InputError
from driftcli.files import atomic
from driftcli.model import CONTACT_LABELS, MASK_REASONS, Geometry, Mask, RecordingFacts

SCHEMA_VERSION = 1
_CHUNK_ROWS = 65_536


@contextmanager
def create(path: Path, kind: str, settings: dict[str, Any]) -> Iterator[h5py.File]:
    """Write an HDF5 file under a temporary name; it gets its own name and its `complete` mark when all is written."""
    with atomic(path) as temporary, h5py.File(temporary, "w", libver=("v110", "v110")) as file:
        file.attrs["format"] = f"driftcli {kind}"
        file.attrs["schema_version"] = SCHEMA_VERSION
        file.attrs["driftcli_version"] = __version__
        file.attrs["preset"] = json.dumps(settings)
        yield file
        file.attrs["complete"] = True


@contextmanager
def opened(path: Path, kind: str) -> Iterator[h5py.File]:
    """Open a driftcli HDF5 file of the given kind for reading.

    Raises InputError when it is missing, no HDF5 file, of another kind, incomplete, or from a newer driftcli.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist" if not path.exists() else f"{path} is not a file")
    try:
        file = h5py.File(path, "r")
    except OSError:
        raise InputError(f"{path} is not an HDF5 file", f"driftcli writes {kind} to {kind}.h5") from None
    with file:
        _check(path, kind, file)
        try:
            yield file
        except (KeyError, ValueError, OSError) as error:
            raise InputError(f"{path} is damaged: {' '.join(str(error).split())}", "make it again") from error


def put(group: h5py.Group, name: str, data: ArrayLike, unit: str, description: str) -> None:
    """Store a small array with its unit and what it is."""
    dataset = group.create_dataset(name, data=np.asarray(data))
    dataset.attrs["unit"] = unit
    dataset.attrs["description"] = description


def reserve(group: h5py.Group, name: str, dtype: Any, rows: int, unit: str, description: str) -> h5py.Dataset:
    """A long column, chunked and compressed, to be filled piece by piece."""
    chunk = max(1, min(rows, _CHUNK_ROWS))
    dataset = group.create_dataset(
        name, (rows,), dtype, chunks=(chunk,), compression="gzip", compression_opts=1, shuffle=True
    )
    dataset.attrs["unit"] = unit
    dataset.attrs["description"] = description
    return dataset


def put_facts(file: h5py.File, facts: RecordingFacts) -> None:
    """Store the facts of the recording in the group `recording`."""
    group = file.create_group("recording")
    group.attrs["sampling_frequency_hz"] = facts.sampling_frequency_hz
    group.attrs["num_samples"] = facts.num_samples
    group.attrs["num_columns"] = facts.num_columns
    group.attrs["dtype"] = facts.dtype
    group.attrs["offset_bytes"] = facts.offset_bytes
    group.attrs["origin"] = facts.origin
    put(group, "contact_positions_um", facts.geometry.positions_um, "um", "x and y of each contact, in probe order")
    put(group, "shanks", facts.geometry.shanks, "", "shank of each contact")
    put(group, "columns", facts.columns, "", "column of the file that holds each contact")
    if facts.gain_to_uv is not None:
        put(group, "gain_to_uv", facts.gain_to_uv, "uV per count", "gain of each contact")
    put(group, "breaks", facts.breaks, "samples", "samples that don't follow the one before in time: files begin there")
    put(
        group,
        "files",
        facts.files,
        "samples",
        "of each file its first sample, here and as acquired; -1: unknown",
    )
    if facts.labels is not None:
        described = f"what is wrong with each contact: {', '.join(f'{i} {w}' for i, w in enumerate(CONTACT_LABELS))}"
        put(group, "labels", facts.labels, "", described)
    probe = group.create_dataset("probe", data=facts.probe_json)
    probe.attrs["unit"] = ""
    probe.attrs["description"] = "the probe as probeinterface JSON"


def put_mask(file: h5py.File, mask: Mask, sampling_frequency_hz: float) -> None:
    """Store what is left out of the estimate, in seconds, in the group `mask`."""
    group = file.create_group("mask")
    spans_s = mask.in_seconds(sampling_frequency_hz)
    put(group, "spans_s", spans_s, "s", "beginning and end of each span that the estimate leaves out")
    described = f"why it is left out: {', '.join(f'{i} {reason}' for i, reason in enumerate(MASK_REASONS))}"
    put(group, "reasons", mask.reasons, "", described)


def get_mask(file: h5py.File, sampling_frequency_hz: float) -> Mask:
    """What `put_mask` stored, in samples; files of earlier versions have none."""
    if "mask" not in file:
        return Mask()
    spans = np.rint(_array(file["mask"], "spans_s", float) * sampling_frequency_hz).astype(np.int64).reshape(-1, 2)
    reasons = _array(file["mask"], "reasons", np.uint8)
    if reasons.shape != spans[:, 0].shape or (reasons >= len(MASK_REASONS)).any():
        raise ValueError("its mask is none")
    return Mask(spans[:, 0], spans[:, 1], reasons)


def get_facts(file: h5py.File) -> RecordingFacts | None:
    """The facts of the recording, or None where the peaks came without one."""
    if "recording" not in file:
        return None
    group = file["recording"]
    return RecordingFacts(
        sampling_frequency_hz=float(group.attrs["sampling_frequency_hz"]),
        num_samples=int(group.attrs["num_samples"]),
        num_columns=int(group.attrs["num_columns"]),
        dtype=str(group.attrs["dtype"]),
        offset_bytes=int(group.attrs["offset_bytes"]),
        geometry=Geometry(_array(group, "contact_positions_um", float), _array(group, "shanks", np.int64)),
        columns=_array(group, "columns", np.int64),
        gain_to_uv=_array(group, "gain_to_uv", float) if "gain_to_uv" in group else None,
        probe_json=group["probe"].asstr()[()],
        breaks=_array(group, "breaks", np.int64) if "breaks" in group else np.empty(0, np.int64),
        files=_array(group, "files", np.int64).reshape(-1, 2) if "files" in group else np.empty((0, 2), np.int64),
        origin=int(group.attrs.get("origin", 0)),
        labels=_array(group, "labels", np.uint8) if "labels" in group else None,
    )


def get_preset(file: h5py.File) -> dict[str, Any]:
    """The resolved preset that made the file."""
    preset = json.loads(str(file.attrs["preset"]))
    if not isinstance(preset, dict):
        raise ValueError("its preset is none")
    return preset


def read_handover(path: Path, kind: str) -> tuple[dict[str, Any], RecordingFacts | None]:
    """What a file carries to the next verb: the resolved preset and the facts of the recording."""
    with opened(path, kind) as file:
        return get_preset(file), get_facts(file)


def _array(group: h5py.Group, name: str, dtype: Any) -> NDArray[Any]:
    return group[name][()].astype(dtype)


def _check(path: Path, kind: str, file: h5py.File) -> None:
    found = str(file.attrs.get("format", ""))
    if found != f"driftcli {kind}":
        what = f"holds {found.removeprefix('driftcli ')}" if found else "was not written by driftcli"
        raise InputError(f"{path} {what}, but should hold {kind}", f"a {kind}.h5 that driftcli wrote")
    if int(file.attrs.get("schema_version", 0)) > SCHEMA_VERSION:
        raise InputError(
            f"{path} was written by a newer driftcli ({file.attrs['driftcli_version']})", "update driftcli"
        )
    if not file.attrs.get("complete", False):
        raise InputError(f"{path} is incomplete: the work that wrote it was cut off", "make it again")
