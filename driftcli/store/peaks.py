"""`peaks.h5`: what `detect` found, and the spool it collects them in while chunks stream."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftcli.files import write_error
from driftcli.model import Peaks, RecordingFacts, Settings
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
    """All that `peaks.h5` holds. noise_levels: (C,) float64 in the recording's amplitude unit."""

    facts: RecordingFacts
    preset: dict[str, Any]
    noise_levels: NDArray[np.float64]
    peaks: Peaks


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
    path: Path, spool: PeakSpool, facts: RecordingFacts, settings: Settings, noise_levels: NDArray[np.float64]
) -> None:
    """Write `peaks.h5`; see the README for its layout."""
    with schema.create(path, "peaks", settings.to_dict()) as file:
        schema.put_facts(file, facts)
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
    """Read `peaks.h5`. Raises InputError when the file is not what it should be."""
    with schema.opened(path, "peaks") as file:
        facts = schema.get_facts(file)
        if facts is None:
            raise KeyError("the group 'recording' is missing")
        group = file["peaks"]
        location = {name: group[name][()] for name in _LOCATIONS if name in group}
        amplitude = group[_amplitude_name(facts)][()]
        peaks = Peaks(group["sample_index"][()], group["channel_index"][()], amplitude, location)
        _check(peaks, facts)
        return PeaksFile(facts, schema.get_preset(file), file["noise_levels"][()], peaks)


def _amplitude_name(facts: RecordingFacts) -> str:
    return f"amplitude_{facts.amplitude_unit.lower().replace(' ', '_')}"


def _check(peaks: Peaks, facts: RecordingFacts) -> None:
    columns: list[NDArray[Any]] = [peaks.sample_index, peaks.channel_index, peaks.amplitude, *peaks.location.values()]
    if any(column.shape != peaks.sample_index.shape or column.ndim != 1 for column in columns):
        raise ValueError("its columns are not of one length")
    for name, values, end in (
        ("sample_index", peaks.sample_index, facts.num_samples),
        ("channel_index", peaks.channel_index, len(facts.geometry)),
    ):
        if values.size and not 0 <= values.min() <= values.max() < end:
            raise ValueError(f"{name} goes beyond {end}")
    if "y_um" not in peaks.location or not all(np.isfinite(values).all() for values in columns):
        raise ValueError("its peaks have no finite depths and amplitudes")
