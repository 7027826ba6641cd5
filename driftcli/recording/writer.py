"""Writing the samples of an output, in any order and from any thread.

Samples go to the disk directly where the file system can do that, not by way of the system's cache of files: copying
7 GB into that cache takes longer than the disk takes to write them, on the processors that have traces to correct.
"""

from __future__ import annotations

import errno
import os
import weakref
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from driftcli.files import part_path, publish, require_room, require_target, write_error

DIRECT_BYTES = 4096  # direct writes begin and end at multiples of it, in the file and in memory
_CANNOT_ALLOCATE = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENODEV)


class BinaryWriter:
    """A raw binary file of known size, written under a temporary name and renamed at the end.

    A context manager: the room on the disk is checked and taken when the block is entered; the file gets its name when
    the block ends well, and nothing is left behind otherwise. Raises OutputError.
    """

    def __init__(self, path: Path | str, dtype: DTypeLike, num_columns: int, num_samples: int) -> None:
        self.path = Path(path)
        self.dtype = np.dtype(dtype).newbyteorder("<")
        self.num_columns = num_columns
        self.num_samples = num_samples
        self._part = part_path(self.path)
        self._descriptor = self._direct = -1
        # a signal may strike where no handler of exceptions is: then it is done when the program ends
        self._remove = weakref.finalize(self, self._part.unlink, missing_ok=True)

    def __enter__(self) -> BinaryWriter:
        size_bytes = self.num_samples * self.num_columns * self.dtype.itemsize
        require_target(self.path)
        require_room(self.path.parent, size_bytes)
        try:  # a signal may strike as soon as the file is there
            self._descriptor = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
            _take_room(self._descriptor, size_bytes)
            self._direct = _open_for_direct_writes(self._part)
            return self
        except BaseException as error:
            self._abort()
            if isinstance(error, OSError):
                raise write_error(self.path, error) from error
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self._publish()
        else:
            self._abort()

    def write(self, start_sample: int, block: NDArray[Any]) -> None:
        """Write `block` (samples, num_columns), of the file's dtype, as the samples from `start_sample` on."""
        fits = block.ndim == 2 and block.shape[1] == self.num_columns and block.dtype == self.dtype
        if not fits or not 0 <= start_sample <= self.num_samples - len(block):
            raise ValueError(f"a block {block.shape} of {block.dtype} at sample {start_sample} is not of {self.path}")
        rest = np.ascontiguousarray(block).reshape(-1).view(np.uint8)
        position = start_sample * self.num_columns * self.dtype.itemsize
        try:
            while len(rest):
                written = self._write_directly(rest, position) or os.pwrite(self._descriptor, rest.data, position)
                rest, position = rest[written:], position + written
        except OSError as error:
            raise write_error(self.path, error) from error

    def _write_directly(self, data: NDArray[np.uint8], position: int) -> int:
        """Write as much of the data as can be written directly; returns its size, 0 where nothing can."""
        size = len(data) - len(data) % DIRECT_BYTES
        if self._direct < 0 or not size or position % DIRECT_BYTES or data.ctypes.data % DIRECT_BYTES:
            return 0
        try:
            return os.pwrite(self._direct, data[:size].data, position)
        except OSError as error:
            if error.errno != errno.EINVAL:  # the file system wants larger multiples
                raise
            return 0

    def _publish(self) -> None:
        """Give the file its name, once everything is on the disk."""
        try:
            self._release()
            publish(self._part, self.path)
        except OSError as error:
            raise write_error(self.path, error) from error
        finally:
            self._abort()

    def _abort(self) -> None:
        """Remove what is left under the temporary name. Later writes are refused."""
        for end in (self._release, self._remove):
            with suppress(OSError):
                end()

    def _release(self) -> None:
        descriptors = self._direct, self._descriptor
        self._direct = self._descriptor = -1  # the numbers may soon be those of other files
        if descriptors[0] >= 0:
            os.close(descriptors[0])
        os.close(descriptors[1])


def _take_room(descriptor: int, size_bytes: int) -> None:
    """Make the file `size_bytes` long and, where the file system can, take the room for it now."""
    if size_bytes:
        try:
            os.posix_fallocate(descriptor, 0, size_bytes)
        except OSError as error:
            if error.errno not in _CANNOT_ALLOCATE:
                raise
    os.ftruncate(descriptor, size_bytes)


def _open_for_direct_writes(path: Path) -> int:
    """A descriptor for writes past the system's cache, -1 where there are none."""
    if not hasattr(os, "O_DIRECT"):
        return -1
    try:
        return os.open(path, os.O_WRONLY | os.O_DIRECT | os.O_CLOEXEC)
    except OSError:
        return -1
