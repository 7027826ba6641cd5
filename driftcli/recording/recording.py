"""An opened recording: its facts, and windows of its samples."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from probeinterface import ProbeGroup

from driftcli.errors import InputError
from driftcli.model import Geometry
from driftcli.recording.adc import NOT_TOLD, SampleShifts
from driftcli.recording.meta import Meta


@dataclass(frozen=True)
class Recording:
    """Samples of one binary file, and which of its columns lie where.

    inputs: every file that was read to open it, by what it is: `recording`, `meta`, `probe`.
    dtype: little-endian int16 or float32. A frame is one sample of all `num_columns` columns.
    offset_bytes: where the first frame starts.
    geometry, columns, gain_to_uv: position, file column, and µV per file unit of each contact, in the order of the
    connected contacts of `probegroup`; (C,) int64 and (C,) float64, the gain None when unknown. Columns without a
    contact (sync words, unconnected ones) are only ever copied.
    sample_shifts: how late each contact was sampled, where that is known and the channels are not lined up already.
    meta: what describes a SpikeGLX recording, None for a raw file.
    """

    path: Path
    inputs: dict[str, Path]
    dtype: np.dtype[Any]
    num_samples: int
    num_columns: int
    sampling_frequency_hz: float
    offset_bytes: int
    geometry: Geometry
    columns: NDArray[np.int64]
    gain_to_uv: NDArray[np.float64] | None
    probegroup: ProbeGroup
    sample_shifts: SampleShifts = NOT_TOLD
    meta: Meta | None = None

    @property
    def duration_s(self) -> float:
        """Length of the recording in seconds."""
        return self.num_samples / self.sampling_frequency_hz

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Samples `start` to `stop` as a read-only (stop - start, num_columns) array in the file's dtype.

        The array maps just that window of the file, and is unmapped with it: memory stays bounded for files of any
        length, and any number of threads may read at once.
        """
        if not 0 <= start <= stop <= self.num_samples:
            raise ValueError(f"samples {start} to {stop} of a recording of {self.num_samples}")
        shape = (stop - start, self.num_columns)
        if start == stop:
            return np.empty(shape, self.dtype)
        offset = self.offset_bytes + start * self.num_columns * self.dtype.itemsize
        try:
            return np.memmap(self.path, self.dtype, "r", offset, shape).view(np.ndarray)
        except (OSError, ValueError) as error:  # ValueError: the file is shorter now than when it was opened
            raise InputError(
                f"cannot read samples {start} to {stop} of {self.path}: {error}",
                "check that the file is still there and that nothing writes to it",
            ) from error
