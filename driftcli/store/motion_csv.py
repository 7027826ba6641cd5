"""A motion as a table that a person edits in a spreadsheet.

One row a temporal bin, one column a spatial window, a header that says shank, depth and units:

    shank0_time_s, shank0_displacement_um_at_100.0_um, shank0_displacement_um_at_300.0_um

The shanks stand side by side, each with times of its own; one with fewer bins ends with empty cells. Numbers have all
their digits, so that a table nobody touched comes back as the same motion.

A spreadsheet may bring back a byte order mark, Windows line ends, semicolons or tabs for commas (with decimal commas),
empty cells at the end of rows, empty rows at the end, and columns in another order; all of that is read.
"""

from __future__ import annotations

import csv
import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from driftcli.errors import InputError
from driftcli.files import atomic
from driftcli.model import Motion

SPREADSHEET_ROWS = 1_048_576
_TIME = "shank{}_time_s"
_WINDOW = "shank{}_displacement_um_at_{!r}_um"
_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_HEADER = re.compile(rf"shank(\d{{1,5}})_(?:time_s|displacement_um_at_({_NUMBER})_um)")
_HINT = f"the header must be {_TIME.format(0)}, then {_WINDOW.format(0, 100.0)} and so on"
_ROWS_AT_ONCE = 65_536
_MOST_BYTES = 1 << 30  # of a table: as many rows as a spreadsheet has with 50 windows


def write_csv_motion(path: Path, motions: dict[int, Motion]) -> None:
    """Write the table. Raises OutputError."""
    header = [
        name
        for shank, motion in motions.items()
        for name in (_TIME.format(shank), *(_WINDOW.format(shank, y) for y in motion.spatial_bins_um.tolist()))
    ]
    empty = {shank: [""] * (1 + len(motion.spatial_bins_um)) for shank, motion in motions.items()}
    with atomic(path) as part, part.open("w", newline="", encoding="utf-8") as out:
        table = csv.writer(out, lineterminator="\n")
        table.writerow(header)
        for row in zip_longest(*(_rows(motion) for motion in motions.values())):
            table.writerow([x for shank, cells in zip(motions, row, strict=True) for x in (cells or empty[shank])])


def _rows(motion: Motion) -> Iterator[list[float]]:
    for first in range(0, len(motion.temporal_bins_s), _ROWS_AT_ONCE):
        rows = slice(first, first + _ROWS_AT_ONCE)
        yield from np.column_stack([motion.temporal_bins_s[rows], motion.displacement_um[rows]]).tolist()


def read_csv_motion(
    path: Path, *, known_times_s: Mapping[int, NDArray[np.float64]] | None = None, gaps_allowed: bool = False
) -> dict[int, Motion]:
    """The motion of each shank.

    known_times_s: times of shanks that are whole, however long the steps between them.
    gaps_allowed: take a table in which rows are missing, as far as the steps between times tell.

    Raises InputError, naming row and column as a spreadsheet counts them, for columns that are missing, unknown or
    double, empty cells, cells that hold no number, times out of order, and missing rows.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise OSError(f"it has more than {_MOST_BYTES:,} bytes")
        with path.open(newline="", encoding="utf-8-sig") as file:
            delimiter = _delimiter(file.readline())
            file.seek(0)
            rows = csv.reader(file, delimiter=delimiter)
            tables = _tables(path, next(rows, []))
            _fill(path, tables, rows, decimal_comma=delimiter != ",")
    except FileNotFoundError:
        raise InputError(f"{path} does not exist", "check the path") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} can't be read: {error}", "save it as CSV (UTF-8)") from None
    motions = {shank: table.motion(path) for shank, table in sorted(tables.items())}
    for shank, motion in motions.items():
        whole = known_times_s is not None and np.array_equal(motion.temporal_bins_s, known_times_s.get(shank, ()))
        if not (gaps_allowed or whole):
            _refuse_gaps(path, _TIME.format(shank), motion.temporal_bins_s)
    return motions


@dataclass
class _Table:
    """The columns of one shank. place: of each column in a row of the file, the time first, then by depth."""

    shank: int
    names: list[str]
    places: list[int]
    depths_um: list[float]
    values: array[float] = field(default_factory=lambda: array("d"))
    ended: bool = False

    def take(self, path: Path, number: int, row: Sequence[str], decimal_comma: bool) -> None:
        """Add a row of the file; a row without any of the table's cells ends it."""
        cells = [row[place].strip() if place < len(row) else "" for place in self.places]
        if not any(cells):
            self.ended = True
            return
        if self.ended:
            raise InputError(f"{path}, row {number - 1}: shank {self.shank} has a gap", "fill the row in or remove it")
        for name, cell in zip(self.names, cells, strict=True):
            if not cell:
                raise InputError(f"{path}, row {number}: the cell of {name} is empty", "fill it in or remove the row")
            text = cell.replace(",", ".") if decimal_comma else cell
            if not re.fullmatch(_NUMBER, text):
                raise InputError(
                    f"{path}, row {number}: {name} is {cell[:100]!r}, which is no number", "correct the cell"
                )
            self.values.append(float(text))

    def motion(self, path: Path) -> Motion:
        table = np.array(self.values).reshape(-1, len(self.names))
        if not len(table):
            raise InputError(f"{path} has no rows for shank {self.shank}", "export the motion again")
        self._check_times(path, table[:, 0])
        try:
            return Motion(table[:, 1:].copy(), table[:, 0].copy(), np.array(self.depths_um))
        except InputError as error:
            raise InputError(f"{path}, shank {self.shank}: {error.message}", "correct the cells") from None

    def _check_times(self, path: Path, times_s: NDArray[np.float64]) -> None:
        steps = np.diff(times_s)
        if (steps <= 0).any():
            row = int(np.argmax(steps <= 0)) + 1
            what = f"{self.names[0]} is {times_s[row]:g}, after {times_s[row - 1]:g}"
            raise InputError(f"{path}, row {row + 2}: {what}: times are out of order", "sort the rows by time")


def _refuse_gaps(path: Path, name: str, times_s: NDArray[np.float64]) -> None:
    """Raise InputError where a step between times is well over the usual one. name: of their column."""
    steps = np.diff(times_s)
    if len(steps) < 2 or steps.max() <= 1.5 * np.median(steps):
        return
    row = int(np.argmax(steps)) + 1
    told = f"{name} is {times_s[row]:g}, {steps[row - 1]:g} s after the row before; usual are {np.median(steps):g} s"
    hint = "fill in the rows that are missing, or give --allow-gaps"
    raise InputError(f"{path}, row {row + 2}: there is a gap: {told}", hint)


def _delimiter(header: str) -> str:
    return next((mark for mark in (";", "\t") if mark in header), ",")


def _tables(path: Path, header: Sequence[str]) -> dict[int, _Table]:
    """The tables that a header announces, without their rows."""
    columns: dict[int, dict[float, tuple[str, int]]] = {}
    for place, name in enumerate(cell.strip() for cell in header):
        match = _HEADER.fullmatch(name)
        if not match and name:
            raise InputError(f"{path}: the column {name[:100]!r} is unknown", _HINT)
        if match:
            # the time stands before all depths
            column, depth_um = columns.setdefault(int(match[1]), {}), float(match[2] or -np.inf)
            if match[2] and not np.isfinite(depth_um):
                raise InputError(f"{path}: the column {name[:100]!r} is at no depth", _HINT)
            if depth_um in column:
                raise InputError(f"{path} has the column {name!r} twice", "remove one")
            column[depth_um] = (name, place)
    if not columns:
        raise InputError(f"{path} has no header", _HINT)
    for shank, column in columns.items():
        missing = _TIME.format(shank) if -np.inf not in column else _WINDOW.format(shank, 100.0)
        if -np.inf not in column or len(column) == 1:
            raise InputError(f"{path} has no column {missing}", _HINT)
    return {shank: _table(shank, column) for shank, column in columns.items()}


def _table(shank: int, column: dict[float, tuple[str, int]]) -> _Table:
    depths_um = sorted(column)
    names, places = zip(*(column[depth] for depth in depths_um), strict=True)
    return _Table(shank, list(names), list(places), depths_um[1:])


def _fill(path: Path, tables: dict[int, _Table], rows: Iterator[list[str]], decimal_comma: bool) -> None:
    known = {place for table in tables.values() for place in table.places}
    for number, row in enumerate(rows, start=2):
        strays = [place for place, cell in enumerate(row) if cell.strip() and place not in known]
        if strays:
            where = f"row {number}, cell {strays[0] + 1}"
            raise InputError(f"{path}, {where}: {row[strays[0]][:100]!r} stands under no header", "remove it")
        for table in tables.values():
            table.take(path, number, row, decimal_comma)
