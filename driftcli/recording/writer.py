"""Writing the samples of an output, in any order and from any thread."""

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
        self._descriptor = -1
        # a signal may strike where no handler of exceptions is: then it is done when the program ends
        self._remove = weakref.finalize(self, self._part.unlink, missing_ok=True)

    def __enter__(self) -> BinaryWriter:
        size_bytes = self.num_samples * self.num_columns * self.dtype.itemsize
        require_target(self.path)
        require_room(self.path.parent, size_bytes)
        try:  # a signal may strike as soon as the file is there
            self._descriptor = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
            _take_room(self._descriptor, size_bytes)
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
        rest = np.ascontiguousarray(block).reshape(-1).view(np.uint8).data
        position = start_sample * self.num_columns * self.dtype.itemsize
        try:
            while len(rest):
                written = os.pwrite(self._descriptor, rest, position)
                rest, position = rest[written:], position + written
        except OSError as error:
            raise write_error(self.path, error) from error

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
        descriptor, self._descriptor = self._descriptor, -1  # the number may soon be another file's
        os.close(descriptor)


def _take_room(descriptor: int, size_bytes: int) -> None:
    """Make the file `size_bytes` long and, where the file system can, take the room for it now."""
    if size_bytes:
        try:
            os.posix_fallocate(descriptor, 0, size_bytes)
        except OSError as error:
            if error.errno not in _CANNOT_ALLOCATE:
                raise
    os.ftruncate(descriptor, size_bytes)
