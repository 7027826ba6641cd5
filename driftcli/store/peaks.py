"""`peaks.h5`: what `detect` found."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from driftcli.model import DepthPeaks, Mask, Peaks, RecordingFacts, Settings
from driftcli.store import checked, schema

_COLUMNS = {
    "sample_index": ("samples", "sample of the peak, counted from the start of the recording"),
    "channel_index": ("", "row of recording/contact_positions_um: the contact with the largest amplitude"),
    "x_um": ("um", "estimated position across the probe"),
    "y_um": ("um", "estimated position along the probe (depth)"),
    "y_corrected_um": ("um", "depth less the displacement at the time and depth of the peak"),
    "z_um": ("um", "estimated distance from the probe's plane"),
    "alpha": ("amplitude x um", "estimated source strength of the monopolar model"),
}
_LOCATIONS = ("x_um", "y_um", "z_um", "alpha", "y_corrected_um")
_PIECE_ROWS = 1 << 20


@dataclass(frozen=True)
class PeaksFile:
    """All that `peaks.h5` holds.

    noise_levels: (C,) float64 in the recording's amplitude unit; NaN for contacts that weren't used.
    mask: what the estimate is to leave out; peaks within it are among the peaks all the same.
    """

    facts: RecordingFacts
    preset: dict[str, Any]
    noise_levels: NDArray[np.float64]
    peaks: Peaks
    mask: Mask

    def __len__(self) -> int:
        return len(self.peaks)

    @property
    def time_s(self) -> NDArray[np.float64]:
        """(N,) seconds from the start of the recording, ascending."""
        return self.peaks.sample_index / self.facts.sampling_frequency_hz

    @property
    def depth_um(self) -> NDArray[np.float64]:
        """(N,) estimated position along the probe in µm, not corrected."""
        return self.peaks.location["y_um"].astype(float)

    @property
    def amplitude(self) -> NDArray[np.float64]:
        """(N,) signed amplitude in `facts.amplitude_unit`: µV where the gain is known."""
        return self.peaks.amplitude.astype(float)

    @property
    def shank(self) -> NDArray[np.int64]:
        """(N,) number of the shank that each peak is on."""
        return self.facts.geometry.shanks[self.peaks.channel_index]


class PeakRows:
    """Peaks as bytes, for the time until they are written to `peaks.h5`. location_names: of their locations."""

    def __init__(self, location_names: Iterable[str]) -> None:
        self._location_names = tuple(location_names)
        fields = [("sample_index", "<i8"), ("channel_index", "<i4"), ("amplitude", "<f4")]
        self._dtype = np.dtype(fields + [(name, "<f4") for name in self._location_names])

    def to_bytes(self, peaks: Peaks) -> bytes:
        rows = np.empty(len(peaks), self._dtype)
        rows["sample_index"], rows["channel_index"] = peaks.sample_index, peaks.channel_index
        rows["amplitude"] = peaks.amplitude
        for name in self._location_names:
            rows[name] = peaks.location[name]
        return rows.tobytes()

    def from_bytes(self, data: bytes) -> Peaks:
        rows = np.frombuffer(data, self._dtype)
        columns = {name: np.ascontiguousarray(rows[name]) for name in self._dtype.names or ()}
        location = {name: columns[name] for name in self._location_names}
        return Peaks(columns["sample_index"], columns["channel_index"], columns["amplitude"], location)

    def count(self, num_bytes: int) -> int:
        """How many peaks so many bytes are."""
        return num_bytes // self._dtype.itemsize


def joined_peaks(parts: Sequence[Peaks]) -> Peaks:
    """Peaks one after the other; at least one part, all with the same locations."""
    return Peaks(
        np.concatenate([part.sample_index for part in parts]),
        np.concatenate([part.channel_index for part in parts]),
        np.concatenate([part.amplitude for part in parts]),
        {name: np.concatenate([part.location[name] for part in parts]) for name in parts[0].location},
    )


def write_peaks(
    path: Path,
    parts: Iterable[Peaks],
    num_peaks: int,
    location_names: Iterable[str],
    facts: RecordingFacts,
    settings: Settings,
    noise_levels: NDArray[np.float64],
    mask: Mask,
) -> None:
    """Write `peaks.h5`; see docs/files.md for its layout.

    parts: the peaks in order of time, `num_peaks` in all. How they are parted changes no byte of the file.
    """
    with schema.create(path, "peaks", settings.to_dict()) as file:
        schema.put_facts(file, facts)
        schema.put_mask(file, mask, facts.sampling_frequency_hz)
        schema.put(file, "noise_levels", noise_levels, facts.amplitude_unit, "noise level (MAD) of each contact")
        group = file.create_group("peaks")
        amplitude = _amplitude_name(facts)
        columns = _COLUMNS | {
            amplitude: (facts.amplitude_unit, "signed amplitude of the preprocessed signal at the peak")
        }
        order = ["sample_index", "channel_index", amplitude, *location_names]
        dtypes = {"sample_index": "<i8", "channel_index": "<i4"}
        datasets = [schema.reserve(group, n, dtypes.get(n, "<f4"), num_peaks, *columns[n]) for n in order]
        start = 0
        for peaks in _in_pieces(parts, _PIECE_ROWS):
            piece: list[NDArray[Any]] = [
                peaks.sample_index,
                peaks.channel_index,
                peaks.amplitude,
                *peaks.location.values(),
            ]
            for dataset, values in zip(datasets, piece, strict=True):
                dataset[start : start + len(values)] = values
            start += len(peaks)


def _in_pieces(parts: Iterable[Peaks], rows: int) -> Iterator[Peaks]:
    """The same peaks, so many at a time."""
    waiting: list[Peaks] = []
    count = 0
    for part in parts:
        waiting.append(part)
        count += len(part)
        if count >= rows:
            peaks = joined_peaks(waiting)
            full = count - count % rows
            yield from (peaks.at(slice(start, start + rows)) for start in range(0, full, rows))
            waiting, count = [peaks.at(slice(full, count))], count - full
    if count:
        yield joined_peaks(waiting)


def read_peaks(path: Path, rows: slice = slice(None)) -> PeaksFile:
    """Read `peaks.h5`, or of its peaks only some rows. Raises InputError when the file is not what it should be."""
    with schema.opened(path, "peaks") as file:
        facts, group = _facts_and_peaks(file)
        peaks = _rows(group, facts, [name for name in _LOCATIONS if name in group], rows)
        mask = schema.get_mask(file, facts.sampling_frequency_hz)
        noise_levels = checked.array(file, "noise_levels", "f", 1, float)
        if noise_levels.shape != facts.columns.shape:
            raise ValueError("its noise levels are not those of its contacts")
        return PeaksFile(facts, schema.get_preset(file), noise_levels, peaks, mask)


def peaks_in_pieces(path: Path) -> Iterator[Peaks]:
    """All peaks of `peaks.h5`, so many at a time that any number of them fits. Raises InputError as `read_peaks`."""
    with schema.opened(path, "peaks") as file:
        facts, group = _facts_and_peaks(file)
        yield from _pieces(group, facts, [name for name in _LOCATIONS if name in group])


@dataclass(frozen=True)
class PeaksByShank:
    """`peaks.h5`, of which the estimate reads one shank at a time. counts: number of peaks of each shank."""

    path: Path
    facts: RecordingFacts
    counts: dict[int, int]
    mask: Mask

    @classmethod
    def open(cls, path: Path) -> PeaksByShank:
        """Read all but the peaks themselves. Raises InputError when the file is not what it should be."""
        with schema.opened(path, "peaks") as file:
            facts, group = _facts_and_peaks(file)
            counts = {shank: 0 for shank, _ in facts.geometry.each_shank()}
            for piece in _pieces(group, facts, ["y_um"]):
                for shank in counts:
                    counts[shank] += int(np.count_nonzero(facts.geometry.shanks[piece.channel_index] == shank))
            return cls(path, facts, counts, schema.get_mask(file, facts.sampling_frequency_hz))

    def read(self, shanks: Collection[int]) -> DepthPeaks:
        """The peaks of one shank or several. Never holds more of the others than a piece. Raises InputError as `open`
        does."""
        count, filled = sum(self.counts[shank] for shank in shanks), 0
        columns = DepthPeaks(*(np.empty(count) for _ in range(3)))
        with schema.opened(self.path, "peaks") as file:
            for piece in _pieces(checked.subgroup(file, "peaks"), self.facts, ["y_um"]):
                here = np.isin(self.facts.geometry.shanks[piece.channel_index], list(shanks))
                rows = slice(filled, filled + int(np.count_nonzero(here)))
                if rows.stop > count:
                    raise ValueError("it became longer while it was read")
                columns.time_s[rows] = piece.sample_index[here] / self.facts.sampling_frequency_hz
                columns.depth_um[rows] = piece.location["y_um"][here]
                columns.amplitude[rows] = piece.amplitude[here]
                filled = rows.stop
            if filled < count:
                raise ValueError("it became shorter while it was read")
        return columns


def _facts_and_peaks(file: h5py.File) -> tuple[RecordingFacts, h5py.Group]:
    """The recording's facts and the group of the columns, which are of one length."""
    facts, group = schema.get_facts(file), checked.subgroup(file, "peaks")
    if facts is None:
        raise KeyError("the group 'recording' is missing")
    names = [name for name in (*_COLUMNS, _amplitude_name(facts)) if name in group]
    if len({_column(group, name).shape for name in names}) != 1:
        raise ValueError("its columns are not of one length")
    return facts, group


def _column(group: h5py.Group, name: str) -> h5py.Dataset:
    kinds = checked.WHOLE if name in ("sample_index", "channel_index") else "f"
    return checked.dataset(group, name, kinds, 1)


def _pieces(group: h5py.Group, facts: RecordingFacts, locations: Sequence[str]) -> Iterator[Peaks]:
    """Peaks with some of their locations, some `_PIECE_ROWS` at a time."""
    for start in range(0, len(_column(group, "sample_index")), _PIECE_ROWS):
        yield _rows(group, facts, locations, slice(start, start + _PIECE_ROWS))


def _rows(group: h5py.Group, facts: RecordingFacts, locations: Iterable[str], rows: slice) -> Peaks:
    """Some rows of the peaks. Raises KeyError or ValueError when they are not what they should be."""
    location = {name: _column(group, name)[rows] for name in locations}
    amplitude = _column(group, _amplitude_name(facts))[rows]
    peaks = Peaks(_column(group, "sample_index")[rows], _column(group, "channel_index")[rows], amplitude, location)
    _check(peaks, facts)
    return peaks


def _amplitude_name(facts: RecordingFacts) -> str:
    return f"amplitude_{facts.amplitude_unit.lower().replace(' ', '_')}"


def _check(peaks: Peaks, facts: RecordingFacts) -> None:
    for name, values, end in (
        ("sample_index", peaks.sample_index, facts.num_samples),
        ("channel_index", peaks.channel_index, len(facts.geometry)),
    ):
        if values.size and not 0 <= values.min() <= values.max() < end:
            raise ValueError(f"{name} goes beyond {end}")
    columns: list[NDArray[Any]] = [peaks.sample_index, peaks.channel_index, peaks.amplitude, *peaks.location.values()]
    if "y_um" not in peaks.location or not all(np.isfinite(values).all() for values in columns):
        raise ValueError("its peaks have no finite depths and amplitudes")
