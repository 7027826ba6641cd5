"""Probes: read from files, laid out as contacts on columns, and written for the channels of an output."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from probeinterface import ProbeGroup, write_probeinterface

from driftcli.bounded import parse_json, read_bytes, whole_number
from driftcli.errors import InputError
from driftcli.files import atomic
from driftcli.model import LARGEST_PLACE_UM, MOST_COLUMNS, Geometry
from driftcli.recording.prb import read_prb
from driftcli.recording.recording import Recording
from driftcli.reporter import Reporter

_UM_PER_UNIT = {"um": 1.0, "mm": 1e3, "m": 1e6}
_NOT_CONNECTED = -1
_LONGEST_NUMBER = 20  # digits of the id of a shank that is a number
_MOST_BYTES = 1 << 26  # of JSON: three times that of as many contacts as there can be columns
_HINT = "give a probeinterface JSON (as written by probeinterface.write_probeinterface) or a .prb file"


class NamedProbe(NamedTuple):
    """A probe, what to call it when something is wrong with it, and its file where it has one."""

    group: ProbeGroup
    name: str
    path: Path | None

    def inputs(self) -> dict[str, Path]:
        return {} if self.path is None else {"probe": self.path}


@dataclass(frozen=True)
class Layout:
    """The connected contacts of a probe in the probe's order.

    geometry: their positions and shanks; columns: (C,) int64, the file column of each.
    num_contacts: contacts of the probe, unconnected ones included.
    """

    geometry: Geometry
    columns: NDArray[np.int64]
    num_contacts: int

    @property
    def num_wired_columns(self) -> int:
        """The fewest columns a file can have that this probe fits."""
        return int(self.columns.max()) + 1


def read_probe(path: Path) -> ProbeGroup:
    """Read a probeinterface JSON or a .prb file, which is not run. Raises InputError."""
    if not path.is_file():
        raise InputError(f"there is no probe file {path}", "check the path given with --probe")
    if path.suffix == ".prb":
        return read_prb(path)
    try:
        return probe_of_json(read_bytes(path, _MOST_BYTES), f"the probe {path}")
    except OSError as error:
        raise InputError(f"cannot read the probe {path}: {error.strerror or error}", _HINT) from error


def probe_of_json(text: str | bytes, source: str) -> ProbeGroup:
    """The probes in a text as probeinterface writes it, read from `source`. Raises InputError."""
    try:
        tree = parse_json(text)
        _require_sound(tree)
        return ProbeGroup.from_dict(tree)
    except Exception as error:  # JSON of any shape can raise anything
        what = str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"
        raise InputError(f"cannot read {source}: {' '.join(what.split())[:500]}", _HINT) from error


def _require_sound(tree: Any) -> None:
    """Raise ValueError unless the contacts and channels of each probe are those of a probe, as far as numbers go:
    numpy takes true for 1, "2" for 2 and 0.5 for 0."""
    probes = tree.get("probes") if isinstance(tree, dict) else None
    if not isinstance(probes, list) or not all(isinstance(probe, dict) for probe in probes):
        raise ValueError("it holds no list of probes")
    if len(tree.get("probe_ids") or probes) != len(probes):
        raise ValueError("its probe_ids are not those of its probes")
    positions = [each for probe in probes for each in _list(probe, "contact_positions")]
    if not 0 < len(positions) <= MOST_COLUMNS:
        raise ValueError(f"it has {len(positions) or 'no'} contacts" + (", more than any probe" if positions else ""))
    if not all(isinstance(each, list) and all(type(number) in (int, float) for number in each) for each in positions):
        raise ValueError("its contact_positions are not lists of numbers")
    for probe in probes:
        if probe.get("device_channel_indices") is not None:
            for index in _list(probe, "device_channel_indices"):
                _require_column(whole_number(index), repr(index)[:50])


def _list(probe: dict[str, Any], key: str) -> list[Any]:
    if not isinstance(probe.get(key), list):
        raise ValueError(f"a probe has no list of {key}")
    found: list[Any] = probe[key]
    return found


def _require_column(column: int | None, shown: str) -> None:
    """-1 stands for no column; what else is below 0 is told by `lay_out`."""
    if column is None or not -MOST_COLUMNS <= column < MOST_COLUMNS:
        raise ValueError(f"its device_channel_indices hold {shown}, which is no number of a channel")


def lay_out(probegroup: ProbeGroup, source: str, reporter: Reporter) -> Layout:
    """Contacts of all probes in `probegroup`, read from `source`, that are wired to a column of the file.

    Shanks are numbered from 0 in ascending order of their ids, on from probe to probe; the numbers count shanks
    without connected contacts, too. Raises InputError for a probe that can't be used.
    """
    wiring = _wiring(probegroup, source, reporter)
    connected = wiring != _NOT_CONNECTED
    columns = wiring[connected]
    if not len(columns):
        raise InputError(f"none of the {len(wiring)} contacts of {source} is connected", "set device_channel_indices")
    used, times = np.unique(columns, return_counts=True)
    if used[0] < 0 or used[-1] >= MOST_COLUMNS or (times > 1).any():
        beyond = used[(used < 0) | (used >= MOST_COLUMNS)]
        wrong, what = (beyond[0], "which is no column") if len(beyond) else (used[times > 1][0], "twice")
        raise InputError(f"{source} wires column {wrong} {what}", "correct its device_channel_indices")
    positions_um, shanks = _positions_um(probegroup, source), _shanks(probegroup)
    return Layout(Geometry(positions_um[connected], shanks[connected]), columns, len(wiring))


def require_fit(layout: Layout, num_columns: int, source: str, recording: str) -> None:
    """Raise InputError if the layout of the probe `source` needs more columns than `recording` has."""
    if layout.num_wired_columns > num_columns:
        raise InputError(
            f"the probe {source} has more channels than {recording}: it wires column {layout.num_wired_columns - 1} "
            f"of {num_columns} (counted from 0)",
            "check --num-channels, or give the probe of this recording",
        )


def write_probe(
    path: Path, recording: Recording, kept_contacts: NDArray[np.int64], columns_of_kept: NDArray[np.int64]
) -> None:
    """Write the probe of an output as probeinterface JSON: the kept contacts, wired to the output's columns.

    kept_contacts: (K,) contact indices of `recording`; columns_of_kept: (K,) output column of each.
    The same arguments give the same bytes. Raises OutputError.
    """
    output = ProbeGroup()
    column_of = dict(zip(np.asarray(kept_contacts).tolist(), np.asarray(columns_of_kept).tolist(), strict=True))
    contact = 0
    for probe in recording.probegroup.probes:
        rows, columns = [], []
        wiring = probe.device_channel_indices
        for row in range(probe.get_contact_count()):
            if wiring is not None and wiring[row] == _NOT_CONNECTED:
                continue
            if contact in column_of:
                rows.append(row)
                columns.append(column_of[contact])
            contact += 1
        if rows:
            kept = probe.get_slice(np.array(rows, dtype=np.int64))
            kept.set_device_channel_indices(np.array(columns, dtype=np.int64))
            output.add_probe(kept)
    with atomic(path) as part:
        write_probeinterface(part, output)


def _wiring(probegroup: ProbeGroup, source: str, reporter: Reporter) -> NDArray[np.int64]:
    """Column of every contact of every probe, -1 for none; contact i is on column i where the probe doesn't say."""
    silent = [probe.device_channel_indices is None for probe in probegroup.probes]
    if all(silent):
        reporter.message(f"{source} has no device_channel_indices: taking contact i to be column i of the file")
        return np.arange(sum(probe.get_contact_count() for probe in probegroup.probes), dtype=np.int64)
    if any(silent):
        raise InputError(f"only some of the probes in {source} have device_channel_indices", "set them for all")
    return np.concatenate([probe.device_channel_indices for probe in probegroup.probes]).astype(np.int64)


def _positions_um(probegroup: ProbeGroup, source: str) -> NDArray[np.float64]:
    try:
        units = [_UM_PER_UNIT[probe.si_units] for probe in probegroup.probes]
    except KeyError as error:
        told = f"{source} has positions in {str(error)[:50]}"
        raise InputError(told, f"use one of {', '.join(_UM_PER_UNIT)}") from error
    per_probe = [np.asarray(probe.contact_positions, np.float64) for probe in probegroup.probes]
    positions = np.concatenate([unit * each for unit, each in zip(units, per_probe, strict=True)])
    if not np.isfinite(positions).all():
        raise InputError(f"{source} has contacts without a position", "give every contact finite positions")
    if np.abs(positions).max() > LARGEST_PLACE_UM:
        told = f"{source} has a contact at {np.abs(positions).max():g} µm, and no probe is as long as that"
        raise InputError(told, "check its si_units")
    if positions.shape[1] == 3:
        positions = _in_plane(positions, source)
    return np.ascontiguousarray(positions)


def _in_plane(positions: NDArray[np.float64], source: str) -> NDArray[np.float64]:
    """Drop the coordinate, z before y before x, in which all contacts agree."""
    for axis in (2, 1, 0):
        if np.ptp(positions[:, axis]) == 0:
            return np.delete(positions, axis, axis=1)
    raise InputError(
        f"{source} has contacts in three dimensions, not in a plane",
        "give a probe in two dimensions: across and along the shank",
    )


def _shanks(probegroup: ProbeGroup) -> NDArray[np.int64]:
    numbered: list[NDArray[np.int64]] = []
    first = 0
    for probe in probegroup.probes:
        ids = [""] * probe.get_contact_count() if probe.shank_ids is None else [str(each) for each in probe.shank_ids]
        rank = {name: first + number for number, name in enumerate(sorted(set(ids), key=_as_number_or_text))}
        numbered.append(np.array([rank[name] for name in ids], dtype=np.int64))
        first += len(rank)
    return np.concatenate(numbered)


def _as_number_or_text(name: str) -> tuple[float, str]:
    return (int(name) if name.isdecimal() and len(name) < _LONGEST_NUMBER else float("inf"), name)
