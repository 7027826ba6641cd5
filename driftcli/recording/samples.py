"""Where the samples of a recording come from: a file, several of them one after the other, or a part of them."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from driftcli.errors import InputError

_madvise = ctypes.CDLL(None, use_errno=True).madvise
_madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_POPULATE_READ = 22  # MADV_POPULATE_READ of Linux 5.14; earlier ones say EINVAL, and read pages as they are touched
_HARDWARE_POISON = 133  # EHWPOISON: the memory is broken, not the disk


class Samples(Protocol):
    """Samples x columns, of which any number of threads may read windows at once."""

    @property
    def num_samples(self) -> int: ...

    @property
    def held_bytes(self) -> int:
        """What it takes of memory, at most, beside the windows that were read."""

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
    held_bytes: ClassVar[int] = 0

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Map just that window of the file, which is unmapped with the array: memory stays bounded for any length."""
        shape = (stop - start, self.num_columns)
        if start == stop:
            return np.empty(shape, self.dtype)
        frame_bytes = self.num_columns * self.dtype.itemsize
        try:
            return _window(self.path, self.dtype, self.offset_bytes + start * frame_bytes, shape)
        except OSError as error:
            raise InputError(
                f"cannot read samples {start} to {stop} of {self.path}: {error.strerror}",
                "check the file and its disk, and that nothing writes to it; --resume goes on once it can be read",
            ) from error


def _window(path: Path, dtype: np.dtype[Any], offset: int, shape: tuple[int, int]) -> NDArray[Any]:
    """An array that lies in a file. All of it has been read, so that what can't be is an OSError and no SIGBUS, which
    would end the process. Of files in the cache this gives 12 GB/s in two threads, and reading into memory 8."""
    size = shape[0] * shape[1] * dtype.itemsize
    before = offset % mmap.ALLOCATIONGRANULARITY
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _require_size(descriptor, offset + size)
        mapped = mmap.mmap(descriptor, before + size, mmap.MAP_SHARED, mmap.PROT_READ, offset=offset - before)
        window = np.ndarray(shape, dtype, mapped, before)
        _populate(window.ctypes.data - before, before + size)
        _require_size(descriptor, offset + size)  # again: the rest of the last page of a file reads as zeros
    finally:
        os.close(descriptor)
    return window


def _require_size(descriptor: int, size: int) -> None:
    if os.fstat(descriptor).st_size < size:
        raise OSError(errno.EINVAL, "the file is shorter now than when it was opened")


def _populate(address: int, size: int) -> None:
    """Have pages of memory read. Not `mmap.madvise`, which would hold up all threads until the disk has answered."""
    if _madvise(address, size, _POPULATE_READ) == 0:
        return
    number = ctypes.get_errno()
    if number in (errno.EFAULT, errno.EIO, _HARDWARE_POISON):
        raise OSError(errno.EIO, os.strerror(errno.EIO))


class JoinedSamples:
    """Those of several sources with the same columns, one after the other."""

    def __init__(self, sources: list[Samples]) -> None:
        self._sources = sources
        self._ends = np.cumsum([source.num_samples for source in sources])
        self.num_samples = int(self._ends[-1])

    @property
    def held_bytes(self) -> int:
        return max(source.held_bytes for source in self._sources)  # compressed ones share what they hold

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

    @property
    def held_bytes(self) -> int:
        return self.source.held_bytes

    def read(self, start: int, stop: int) -> NDArray[Any]:
        return self.source.read(self.first + start, self.first + stop)
