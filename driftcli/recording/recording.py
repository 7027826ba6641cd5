"""An opened recording: its facts, and windows of its samples."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from probeinterface import ProbeGroup

from driftcli.model import Geometry
from driftcli.recording.adc import NOT_TOLD, SampleShifts
from driftcli.recording.meta import Meta
from driftcli.recording.samples import Samples


@dataclass(frozen=True)
class Part:
    """One file of a recording: it holds the recording's samples start <= n < stop.

    meta: what describes a SpikeGLX file, None for a raw one.
    first_sample: the number that the acquisition gave the first of these samples; None where nobody says.
    """

    path: Path
    start: int
    stop: int
    meta: Meta | None = None
    first_sample: int | None = None

    def follows(self, other: Part) -> bool:
        """Whether its first sample was taken right after the last one of the other."""
        if self.first_sample is None or other.first_sample is None:
            return False
        return self.first_sample == other.first_sample + other.stop - other.start


@dataclass(frozen=True)
class Recording:
    """Samples of a binary file, or of several, and which of its columns lie where.

    inputs: every file that was read to open it, by what it is: `recording`, `meta`, `probe`; numbered from the second
        file on (`recording_2`).
    parts: the files that hold the samples, in order.
    dtype: little-endian int16 or float32. A frame is one sample of all `num_columns` columns.
    offset_bytes: where the first frame of a raw file starts.
    geometry, columns, gain_to_uv: position, file column, and µV per file unit of each contact, in the order of the
        connected contacts of `probegroup`; (C,) int64 and (C,) float64, the gain None when unknown. Columns without a
        contact (sync words, unconnected ones) are only ever copied.
    sample_shifts: how late each contact was sampled, where that is known and the channels are not lined up already.
    origin: which sample of the files this is the first of, where it is only a span of them.
    numbers: (num_columns,) int64, the number that each column was acquired with, where that is known.
    labels: (C,) uint8, what the meta or the user says is wrong with each contact, indices of `CONTACT_LABELS`; None:
        neither says anything.
    full_scale: lowest and highest file value that the converter gives, where that is known.
    """

    inputs: dict[str, Path]
    samples: Samples
    parts: tuple[Part, ...]
    dtype: np.dtype[Any]
    num_columns: int
    sampling_frequency_hz: float
    offset_bytes: int
    geometry: Geometry
    columns: NDArray[np.int64]
    gain_to_uv: NDArray[np.float64] | None
    probegroup: ProbeGroup
    sample_shifts: SampleShifts = NOT_TOLD
    origin: int = 0
    numbers: NDArray[np.int64] | None = None
    labels: NDArray[np.uint8] | None = None
    full_scale: tuple[int, int] | None = None

    @property
    def path(self) -> Path:
        """The file, or the first of several, after which outputs are called."""
        return self.parts[0].path

    @property
    def meta(self) -> Meta | None:
        """What describes a SpikeGLX recording, of several files the first; None for a raw one."""
        return self.parts[0].meta

    @property
    def num_samples(self) -> int:
        return self.samples.num_samples

    @property
    def duration_s(self) -> float:
        """Length of the recording in seconds."""
        return self.num_samples / self.sampling_frequency_hz

    @property
    def channel_numbers(self) -> NDArray[np.int64]:
        """(C,) what people call the channel of each contact: the number it was acquired with, or its column."""
        return self.columns if self.numbers is None else self.numbers[self.columns]

    @property
    def breaks(self) -> NDArray[np.int64]:
        """(B,) samples that don't follow the one before in time, as another file begins there."""
        parts = pairwise(self.parts)
        return np.array([later.start for earlier, later in parts if not later.follows(earlier)], dtype=np.int64)

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Samples `start` to `stop` as a read-only (stop - start, num_columns) array in the file's dtype.

        Memory stays bounded for files of any length, and any number of threads may read at once.
        """
        if not 0 <= start <= stop <= self.num_samples:
            raise ValueError(f"samples {start} to {stop} of a recording of {self.num_samples}")
        return self.samples.read(start, stop)

    def only(self, contacts: NDArray[np.int64]) -> Recording:
        """The same samples with some of the contacts, given by index in ascending order.

        `probegroup` stays that of all contacts.
        """
        return replace(
            self,
            geometry=Geometry(self.geometry.positions_um[contacts], self.geometry.shanks[contacts]),
            columns=self.columns[contacts],
            gain_to_uv=None if self.gain_to_uv is None else self.gain_to_uv[contacts],
            sample_shifts=self.sample_shifts.of(contacts),
            labels=None if self.labels is None else self.labels[contacts],
        )
