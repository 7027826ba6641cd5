"""Where the samples of a recording come from: a file, several of them one after the other, or a part of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from driftcli.errors import InputError


class Samples(Protocol):
    """Samples x columns, of which any number of threads may read windows at once."""

    @property
    def num_samples(self) -> int: ...

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Samples start <= n < stop as a read-only (stop - start, columns) array, 0 <= start <= stop <= num_samples."""


@dataclass(frozen=True)
class BinarySamples:
    """Those of a raw file. offset_bytes: where its first frame, one sample of all columns, starts."""

    path: Path
    dtype: np.dtype[Any]
    num_columns: int
    num_samples: int
    offset_bytes: int = 0

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Map just that window of the file, which is unmapped with the array: memory stays bounded for any length."""
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


class JoinedSamples:
    """Those of several sources with the same columns, one after the other."""

    def __init__(self, sources: list[Samples]) -> None:
        self._sources = sources
        self._ends = np.cumsum([source.num_samples for source in sources])
        self.num_samples = int(self._ends[-1])

    def read(self, start: int, stop: int) -> NDArray[Any]:
        first = min(int(np.searchsorted(self._ends, start, side="right")), len(self._sources) - 1)
        last = max(int(np.searchsorted(self._ends, stop, side="left")), first)
        windows = []
        for index in range(first, last + 1):
            begin = int(self._ends[index]) - self._sources[index].num_samples
            source_stop = min(stop - begin, self._sources[index].num_samples)
            windows.append(self._sources[index].read(max(start - begin, 0), source_stop))
        if len(windows) == 1:
            return windows[0]
        joined = np.concatenate(windows)
        joined.setflags(write=False)
        return joined


@dataclass(frozen=True)
class PartOfSamples:
    """The samples first <= n < first + num_samples of a source."""

    source: Samples
    first: int
    num_samples: int

    def read(self, start: int, stop: int) -> NDArray[Any]:
        return self.source.read(self.first + start, self.first + stop)
