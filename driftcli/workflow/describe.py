"""A recording in plain data: its files, its columns, its probe. The samples are not looked at."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftcli.model import CONTACT_LABELS, GOOD, Settings
from driftcli.recording.join import of_one_run
from driftcli.recording.mtscomp import SUFFIX
from driftcli.recording.recording import Part, Recording
from driftcli.recording.spikeglx_probe import num_sites
from driftcli.workflow.runlog import describe_recording
from driftcli.workflow.steps import phase_shift_of_steps

_SAID_BY = {"reference": "meta", "excluded": "user"}  # all other labels are found in the data
_SAME_UM = 0.5  # contacts of one column or row may differ by so much


def describe(recording: Recording, settings: Settings) -> dict[str, Any]:
    """What the files hold and where they begin, in seconds of the recording; whether channels are lined up in time."""
    sizes = [part.path.stat().st_size for part in recording.parts]
    shifts = recording.sample_shifts
    return {
        "format": "raw" if recording.meta is None else "SpikeGLX",
        "compressed": recording.path.suffix == SUFFIX,
        **describe_recording(recording),
        "duration_s": recording.duration_s,
        "size_bytes": sum(sizes),
        "files": [_file(recording, index, size) for index, size in enumerate(sizes)],
        "columns": _columns(recording),
        "full_scale": None if recording.full_scale is None else list(recording.full_scale),
        "full_scale_uv": _full_scale_uv(recording),
        "lined_up": {
            "already": shifts.lined_up,
            "by_run": phase_shift_of_steps(settings, recording)["applied"],
            "reason": phase_shift_of_steps(settings, recording)["reason"],
        },
    }


def _file(recording: Recording, index: int, size_bytes: int) -> dict[str, Any]:
    """missing_before_s: time between the file before and this one; None where nothing tells, as with the first."""
    part, rate_hz = recording.parts[index], recording.sampling_frequency_hz
    missing = None if index == 0 else _missing_samples(recording.parts[index - 1], part)
    return {
        "path": str(part.path),
        "size_bytes": size_bytes,
        "begins_s": part.start / rate_hz,
        "num_samples": part.stop - part.start,
        "first_sample": part.first_sample,
        "missing_before_s": None if missing is None else missing / rate_hz,
    }


def _missing_samples(earlier: Part, later: Part) -> int | None:
    """How many samples were acquired between two files; None where they don't count on one clock."""
    if earlier.first_sample is None or later.first_sample is None or not of_one_run(earlier, later):
        return None
    return later.first_sample - (earlier.first_sample + earlier.stop - earlier.start)


def _columns(recording: Recording) -> dict[str, int]:
    """How many columns hold what."""
    if recording.meta is not None:
        return dict(zip(("ap", "lf", "sync"), recording.meta.integers("snsApLfSy"), strict=True))
    contacts = len(recording.columns)
    return {"with_contact": contacts, "without_contact": recording.num_columns - contacts}


def _full_scale_uv(recording: Recording) -> list[float] | None:
    """The widest range of any channel."""
    if recording.full_scale is None or recording.gain_to_uv is None:
        return None
    gain = float(np.abs(recording.gain_to_uv).max())
    return [gain * end for end in recording.full_scale]


def describe_probe(recording: Recording, labels: NDArray[np.uint8]) -> dict[str, Any]:
    """Which probe it is, and how its contacts lie on each shank.

    part, sites: its part number and the sites that such a probe has, of which the contacts are some; None where that
    isn't told. unconnected: contacts of the probe that no column holds. bad: those with a label other than good.
    """
    geometry, probes = recording.geometry, recording.probegroup.probes
    name, part, type_named = _kind(recording)
    return {
        "name": name,
        "part": part,
        "type": type_named,
        "sites": num_sites(part) if part else None,
        "probes": len(probes),
        "contacts": len(geometry),
        "unconnected": sum(probe.get_contact_count() for probe in probes) - len(geometry),
        "bad": int(np.count_nonzero(labels != GOOD)),
        "shanks": [
            {"shank": shank, **_shank(geometry.positions_um[contacts], labels[contacts])}
            for shank, contacts in geometry.each_shank()
        ],
    }


def _kind(recording: Recording) -> tuple[str | None, str | None, str | None]:
    """Name, part number and type of the first probe; None for what isn't told.

    Where a meta has no part number, the geometry is that of a probe with the same sites, which is called otherwise.
    """
    probe, meta = recording.probegroup.probes[0], recording.meta
    type_named = None if meta is None or "probe" in recording.inputs else meta.type_named
    part = probe.model_name or None if meta is None or type_named is None else meta.values.get("imDatPrb_pn")
    if part is None and type_named is not None:
        return f"Neuropixels, type {type_named}", None, type_named
    return probe.annotations.get("description") or part, part, type_named


def _shank(positions_um: NDArray[np.float64], labels: NDArray[np.uint8]) -> dict[str, Any]:
    """Columns are contacts with one x, rows those with one y; pitches are the distances from one to the next."""
    columns_um, rows_um = (_places(axis) for axis in positions_um.T)
    return {
        "contacts": len(positions_um),
        "bad": int(np.count_nonzero(labels != GOOD)),
        "columns": len(columns_um),
        "column_pitch_um": _pitch(columns_um),
        "rows": len(rows_um),
        "row_pitch_um": _pitch(rows_um),
        "depth_um": [float(positions_um[:, 1].min()), float(positions_um[:, 1].max())],
    }


def _places(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The different ones of some coordinates, ascending."""
    ascending = np.sort(values)
    return ascending[np.concatenate([[True], np.diff(ascending) > _SAME_UM])]


def _pitch(places: NDArray[np.float64]) -> list[float] | None:
    """The smallest and the largest distance; None of a single place."""
    distances = [round(later - earlier, 1) for earlier, later in pairwise(places.tolist())]
    return [min(distances), max(distances)] if distances else None


def describe_bad(recording: Recording, labels: NDArray[np.uint8]) -> dict[str, dict[str, list[int]]]:
    """The channels that aren't good: who says so (`meta`, `user` or `data`), and what is wrong with which."""
    bad: dict[str, dict[str, list[int]]] = {"meta": {}, "user": {}, "data": {}}
    for label in np.unique(labels[labels != GOOD]).tolist():
        name = CONTACT_LABELS[label]
        bad[_SAID_BY.get(name, "data")][name] = recording.channel_numbers[labels == label].tolist()
    return bad
