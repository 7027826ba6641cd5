"""Writing the samples of an output, in any order and from any thread.

Samples go to the disk directly where the file system can do that, not by way of the system's cache of files: copying
7 GB into that cache takes longer than the disk takes to write them, on the processors that have traces to correct.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from secrets import token_hex
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from driftcli.errors import OutputError
from driftcli.files import CHECK_AND_RESUME, require_room, require_target, write_error

DIRECT_BYTES = 4096  # direct writes begin and end at multiples of it, in the file and in memory
_CANNOT_ALLOCATE = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENODEV)
_CANNOT_LINK = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


class BinaryFile:
    """A raw binary file of known size, in which any number of threads and processes put their samples.

    A context manager. Who enters it first checks the room on the disk and takes it; what is in the file stays. Raises
    OutputError.
    """

    def __init__(self, path: Path | str, dtype: DTypeLike, num_columns: int, num_samples: int) -> None:
        self.path = Path(path)
        self.dtype = np.dtype(dtype).newbyteorder("<")
        self.num_columns = num_columns
        self.num_samples = num_samples
        self._descriptor = self._direct = -1

    @property
    def size_bytes(self) -> int:
        return self.num_samples * self._frame_bytes

    @property
    def _frame_bytes(self) -> int:
        return self.num_columns * self.dtype.itemsize

    def __enter__(self) -> BinaryFile:
        require_target(self.path)
        try:
            if not os.path.lexists(self.path):
                _make(self.path, self.size_bytes)
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            self._direct = _open_for_direct_writes(self.path)
        except OSError as error:
            raise write_error(self.path, error) from error
        if os.fstat(self._descriptor).st_size != self.size_bytes:
            self.__exit__()
            raise OutputError(
                f"{self.path} is of other work: it has another size",
                f"do all shards again with --overwrite, or remove {self.path.parent}",
            )
        return self

    def __exit__(self, kind: type[BaseException] | None = None, *_: object) -> None:
        """Let go of the file; a disk that has not taken all of it may say so only now. Later writes are refused."""
        descriptors = self._direct, self._descriptor
        self._direct = self._descriptor = -1  # the numbers may soon be those of other files
        failure = None
        for descriptor in descriptors:
            try:
                if descriptor >= 0:
                    os.close(descriptor)
            except OSError as error:
                failure = error
        if failure is not None and kind is None:
            raise write_error(self.path, failure) from failure

    def write(self, start_sample: int, block: NDArray[Any]) -> None:
        """Write `block` (samples, num_columns), of the file's dtype, as the samples from `start_sample` on."""
        fits = block.ndim == 2 and block.shape[1] == self.num_columns and block.dtype == self.dtype
        if not fits or not 0 <= start_sample <= self.num_samples - len(block):
            raise ValueError(f"a block {block.shape} of {block.dtype} at sample {start_sample} is not of {self.path}")
        rest, position = as_bytes(block), start_sample * self._frame_bytes
        try:
            while len(rest):
                written = self._write_directly(rest, position) or os.pwrite(self._descriptor, rest.data, position)
                rest, position = rest[written:], position + written
        except OSError as error:
            raise write_error(self.path, error) from error

    def read(self, start_sample: int, stop_sample: int) -> NDArray[Any]:
        """What the file holds of the samples start <= n < stop, read-only: nothing where it was cut off, or the disk
        can't be read any more. Raises OutputError."""
        first, size = start_sample * self._frame_bytes, (stop_sample - start_sample) * self._frame_bytes
        parts = []
        try:
            while size and (part := os.pread(self._descriptor, size, first)):
                parts.append(part)
                first, size = first + len(part), size - len(part)
        except OSError as error:
            if error.errno != errno.EIO:
                raise OutputError(f"cannot read {self.path}: {error.strerror}", CHECK_AND_RESUME) from error
        data = b"" if size else b"".join(parts)
        return np.frombuffer(data, self.dtype).reshape(-1, self.num_columns)

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


def as_bytes(block: NDArray[Any]) -> NDArray[np.uint8]:
    """The bytes of an array as a file holds them, in order of its elements."""
    return np.ascontiguousarray(block).reshape(-1).view(np.uint8)


def _make(path: Path, size_bytes: int) -> None:
    """Make the file under a name of this process, take the room, and only then give it its name: where a file system
    can't take room, it is done by touching all of it, which must not meet the samples of another process."""
    require_room(path.parent, size_bytes)
    new = path.with_name(f"{path.name}.new{token_hex(8)}")  # processes of other machines have the same numbers
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        try:
            _take_room(descriptor, size_bytes)
        finally:
            os.close(descriptor)
        _name(new, path)
    finally:
        new.unlink(missing_ok=True)


def _name(new: Path, path: Path) -> None:
    """Give a file its name, unless another process was faster."""
    try:
        os.link(new, path)
    except FileExistsError:
        pass
    except OSError as error:
        if error.errno not in _CANNOT_LINK:
            raise
        if not os.path.lexists(path):
            os.rename(new, path)


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
        return os.open(path, os.O_WRONLY | os.O_DIRECT | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return -1
