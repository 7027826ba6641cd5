"""What every driftcli HDF5 file has in common: format, version, provenance, the recording's facts, a `complete` mark.

The files hold no clock times, paths or command lines, so that the same work gives the same bytes.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from driftcli import __version__
from driftcli.bounded import parse_json
from driftcli.errors import InputError
from driftcli.files import atomic
from driftcli.model import CONTACT_LABELS, MASK_REASONS, Geometry, Mask, RecordingFacts
from driftcli.store import checked, checked_facts
from driftcli.store.heaps import require_sound_heaps

SCHEMA_VERSION = 1
SHANK = re.compile("shank(0|[1-9][0-9]{0,4})")  # names of the groups of shanks
_CHUNK_ROWS = 65_536


@contextmanager
def create(path: Path, kind: str, settings: dict[str, Any]) -> Iterator[h5py.File]:
    """Write an HDF5 file under a temporary name; it gets its own name and its `complete` mark when all is written."""
    with (
        atomic(path) as temporary,
        _errors_of_the_disk(),
        h5py.File(temporary, "w", libver=("v110", "v110")) as file,
    ):
        file.attrs["format"] = f"driftcli {kind}"
        file.attrs["schema_version"] = SCHEMA_VERSION
        file.attrs["driftcli_version"] = __version__
        file.attrs["preset"] = json.dumps(settings)
        yield file
        file.attrs["complete"] = True


@contextmanager
def _errors_of_the_disk() -> Iterator[None]:
    """HDF5 tells of a full disk in many words, and when that comes out as it closes a file, h5py in a RuntimeError.

    When it comes out as an object of the file is forgotten, nothing is raised at all: Python prints it and goes on.
    """
    plain, plain_print, unseen = sys.unraisablehook, sys.excepthook, []

    def see(unraisable: sys.UnraisableHookArgs) -> None:
        number = _errno_of(unraisable.exc_value)
        if number is None:
            plain(unraisable)
        else:
            unseen.append(number)

    def see_printed(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if _errno_of(error) is None:  # else Cython has it printed before it says that it is ignored
            plain_print(kind, error, trace)

    # They stay so after an error: its traceback holds objects that are forgotten later.
    sys.unraisablehook, sys.excepthook = see, see_printed
    try:
        yield
    except (OSError, RuntimeError) as error:
        number = _errno_of(error)
        if number is None:
            raise
        raise OSError(number, os.strerror(number)) from error
    if unseen:
        raise OSError(unseen[0], os.strerror(unseen[0]))
    sys.unraisablehook, sys.excepthook = plain, plain_print


def _errno_of(error: BaseException | None) -> int | None:
    found = re.search(r"errno = (\d+)", str(error))
    return None if found is None else int(found[1])


@contextmanager
def opened(path: Path, kind: str) -> Iterator[h5py.File]:
    """Open a driftcli HDF5 file of the given kind for reading.

    Raises InputError when it is missing, no HDF5 file, of another kind, incomplete, or from a newer driftcli.
    """
    if not path.is_file():
        raise InputError(
            f"{path} does not exist" if not path.exists() else f"{path} is not a file", f"give the path of a {kind}.h5"
        )
    try:
        require_sound_heaps(path)
        file = h5py.File(path, "r")
    except (OSError, RuntimeError, ValueError):
        raise InputError(f"{path} is not an HDF5 file", f"driftcli writes {kind} to {kind}.h5") from None
    with file:
        try:
            checked.require_usual_sizes(file)
            _check(path, kind, file)
            yield file
        except (KeyError, ValueError, OSError, RuntimeError, OverflowError, MemoryError) as error:
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
    group = checked.subgroup(file, "mask")
    spans_s = checked.array(group, "spans_s", checked.NUMBERS, 2, float)
    reasons = checked.array(group, "reasons", checked.WHOLE, 1, np.int64)
    spans = np.rint(spans_s * sampling_frequency_hz)
    if spans.shape != (len(reasons), 2) or not ((spans >= 0) & (spans <= checked_facts.MOST_SAMPLES)).all():
        raise ValueError("its mask is none")
    if ((reasons < 0) | (reasons >= len(MASK_REASONS))).any():
        raise ValueError("its mask is none")
    starts, stops = spans.astype(np.int64).T
    return Mask(starts.copy(), stops.copy(), reasons.astype(np.uint8))


def get_facts(file: h5py.File) -> RecordingFacts | None:
    """The facts of the recording, or None where the peaks came without one."""
    if "recording" not in file:
        return None
    group = checked.subgroup(file, "recording")

    def numbers(name: str, ndim: int = 1) -> NDArray[np.float64]:
        return checked.array(group, name, checked.NUMBERS, ndim, float)

    def integers(name: str, ndim: int = 1) -> NDArray[np.int64]:
        return checked.array(group, name, checked.WHOLE, ndim, np.int64)

    return checked_facts.sound(
        RecordingFacts(
            sampling_frequency_hz=checked.number(group, "sampling_frequency_hz"),
            num_samples=checked.integer(group, "num_samples"),
            num_columns=checked.integer(group, "num_columns"),
            dtype=checked.word(group, "dtype"),
            offset_bytes=checked.integer(group, "offset_bytes"),
            geometry=Geometry(numbers("contact_positions_um", 2), integers("shanks")),
            columns=integers("columns"),
            gain_to_uv=numbers("gain_to_uv") if "gain_to_uv" in group else None,
            probe_json=checked.text(group, "probe"),
            breaks=integers("breaks") if "breaks" in group else np.empty(0, np.int64),
            files=integers("files", 2) if "files" in group else np.empty((0, 2), np.int64),
            origin=checked.integer(group, "origin", 0),
            labels=checked_facts.as_labels(integers("labels")) if "labels" in group else None,
        )
    )


def get_preset(file: h5py.File) -> dict[str, Any]:
    """The resolved preset that made the file."""
    preset = parse_json(checked.word(file, "preset"))
    if not isinstance(preset, dict):
        raise ValueError("its preset is none")
    return preset


def read_handover(path: Path, kind: str) -> tuple[dict[str, Any], RecordingFacts | None]:
    """What a file carries to the next verb: the resolved preset and the facts of the recording."""
    with opened(path, kind) as file:
        return get_preset(file), get_facts(file)


def _check(path: Path, kind: str, file: h5py.File) -> None:
    found = checked.word(file, "format", "")
    if found != f"driftcli {kind}":
        what = f"holds {found.removeprefix('driftcli ')[:50]}" if found else "was not written by driftcli"
        raise InputError(f"{path} {what}, but should hold {kind}", f"a {kind}.h5 that driftcli wrote")
    if checked.integer(file, "schema_version", 0) > SCHEMA_VERSION:
        version = checked.word(file, "driftcli_version", "of another schema")
        raise InputError(f"{path} was written by a newer driftcli ({version})", "update driftcli")
    if not checked.flag(file, "complete"):
        raise InputError(f"{path} is incomplete: the work that wrote it was cut off", "make it again")
