"""`peaks.h5`: what `detect` found, and the spool it collects them in while chunks stream."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from driftcli.files import write_error
from driftcli.model import DepthPeaks, Mask, Peaks, RecordingFacts, Settings
from driftcli.store import schema

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


class PeakSpool:
    """Peaks on their way to disk, so that their number doesn't matter for memory.

    A nameless file beside the output: it vanishes with the process, however that ends.
    """

    def __init__(self, folder: Path, location_names: Iterable[str]) -> None:
        self.location_names = tuple(location_names)
        fields = [("sample_index", "<i8"), ("channel_index", "<i4"), ("amplitude", "<f4")]
        self._dtype = np.dtype(fields + [(name, "<f4") for name in self.location_names])
        self._folder = folder
        try:
            self._file = TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - closed by __exit__
        except OSError as error:
            raise write_error(folder / "peaks.h5", error) from error
        self._rows = 0

    def __len__(self) -> int:
        return self._rows

    def __enter__(self) -> PeakSpool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, peaks: Peaks) -> None:
        """Add peaks behind those that are there; they must come in order of time."""
        rows = np.empty(len(peaks), self._dtype)
        rows["sample_index"], rows["channel_index"] = peaks.sample_index, peaks.channel_index
        rows["amplitude"] = peaks.amplitude
        for name in self.location_names:
            rows[name] = peaks.location[name]
        try:
            rest = memoryview(rows.tobytes())
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise write_error(self._folder / "peaks.h5", error) from error
        self._rows += len(rows)

    def read(self, start: int = 0, stop: int | None = None) -> Peaks:
        """The peaks with start <= row < stop."""
        stop = self._rows if stop is None else min(stop, self._rows)
        self._file.seek(start * self._dtype.itemsize)
        data = self._file.read((stop - start) * self._dtype.itemsize)
        rows = np.frombuffer(data, self._dtype)
        columns = {name: np.ascontiguousarray(rows[name]) for name in self._dtype.names or ()}
        location = {name: columns[name] for name in self.location_names}
        return Peaks(columns["sample_index"], columns["channel_index"], columns["amplitude"], location)


def write_peaks(
    path: Path,
    spool: PeakSpool,
    facts: RecordingFacts,
    settings: Settings,
    noise_levels: NDArray[np.float64],
    mask: Mask,
) -> None:
    """Write `peaks.h5`; see the README for its layout."""
    with schema.create(path, "peaks", settings.to_dict()) as file:
        schema.put_facts(file, facts)
        schema.put_mask(file, mask, facts.sampling_frequency_hz)
        schema.put(file, "noise_levels", noise_levels, facts.amplitude_unit, "noise level (MAD) of each contact")
        group = file.create_group("peaks")
        amplitude = _amplitude_name(facts)
        columns = _COLUMNS | {
            amplitude: (facts.amplitude_unit, "signed amplitude of the preprocessed signal at the peak")
        }
        order = ["sample_index", "channel_index", amplitude, *spool.location_names]
        dtypes = {"sample_index": "<i8", "channel_index": "<i4"}
        datasets = [schema.reserve(group, n, dtypes.get(n, "<f4"), len(spool), *columns[n]) for n in order]
        for start in range(0, len(spool), _PIECE_ROWS):
            peaks = spool.read(start, start + _PIECE_ROWS)
            piece: list[NDArray[Any]] = [
                peaks.sample_index,
                peaks.channel_index,
                peaks.amplitude,
                *peaks.location.values(),
            ]
            for dataset, values in zip(datasets, piece, strict=True):
                dataset[start : start + len(values)] = values


def read_peaks(path: Path) -> PeaksFile:
    """Read all of `peaks.h5`. Raises InputError when the file is not what it should be."""
    with schema.opened(path, "peaks") as file:
        facts, group = _facts_and_peaks(file)
        peaks = _rows(group, facts, [name for name in _LOCATIONS if name in group], slice(None))
        mask = schema.get_mask(file, facts.sampling_frequency_hz)
        return PeaksFile(facts, schema.get_preset(file), file["noise_levels"][()], peaks, mask)


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
            for piece in _pieces(group, facts):
                for shank in counts:
                    counts[shank] += int(np.count_nonzero(facts.geometry.shanks[piece.channel_index] == shank))
            return cls(path, facts, counts, schema.get_mask(file, facts.sampling_frequency_hz))

    def read(self, shanks: Collection[int]) -> DepthPeaks:
        """The peaks of one shank or several. Never holds more of the others than a piece. Raises InputError as `open`
        does."""
        count, filled = sum(self.counts[shank] for shank in shanks), 0
        columns = DepthPeaks(*(np.empty(count) for _ in range(3)))
        with schema.opened(self.path, "peaks") as file:
            for piece in _pieces(file["peaks"], self.facts):
                here = np.isin(self.facts.geometry.shanks[piece.channel_index], list(shanks))
                rows = slice(filled, filled + int(np.count_nonzero(here)))
                columns.time_s[rows] = piece.sample_index[here] / self.facts.sampling_frequency_hz
                columns.depth_um[rows] = piece.location["y_um"][here]
                columns.amplitude[rows] = piece.amplitude[here]
                filled = rows.stop
            if filled < count:
                raise ValueError("it became shorter while it was read")
        return columns


def _facts_and_peaks(file: h5py.File) -> tuple[RecordingFacts, h5py.Group]:
    """The recording's facts and the group of the columns, which are of one length."""
    facts, group = schema.get_facts(file), file["peaks"]
    if facts is None:
        raise KeyError("the group 'recording' is missing")
    names = (*_COLUMNS, _amplitude_name(facts))
    shapes = {group[name].shape for name in names if name in group}
    if len(shapes) != 1 or len(shapes.pop()) != 1:
        raise ValueError("its columns are not of one length")
    return facts, group


def _pieces(group: h5py.Group, facts: RecordingFacts) -> Iterator[Peaks]:
    """Peaks with their depth as the only location, some `_PIECE_ROWS` at a time."""
    for start in range(0, len(group["sample_index"]), _PIECE_ROWS):
        yield _rows(group, facts, ["y_um"], slice(start, start + _PIECE_ROWS))


def _rows(group: h5py.Group, facts: RecordingFacts, locations: Iterable[str], rows: slice) -> Peaks:
    """Some rows of the peaks. Raises KeyError or ValueError when they are not what they should be."""
    location = {name: group[name][rows] for name in locations}
    amplitude = group[_amplitude_name(facts)][rows]
    peaks = Peaks(group["sample_index"][rows], group["channel_index"][rows], amplitude, location)
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
