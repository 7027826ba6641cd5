"""Writing recordings that mtscomp reads: `X.cbin`, compressed without loss, and its header `X.ch`.

What the files hold is told in `mtscomp.py`. Ours have int16 samples as differences in time, as mtscomp's own have;
float32 samples stay as they are, because the sums of their differences are not the samples, to the last bit.
"""

from __future__ import annotations

import hashlib
import json
import os
import weakref
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from driftcli.files import part_path, publish, require_room, require_target, write_error
from driftcli.recording.mtscomp import ALGORITHM, HEADER_SUFFIX, SUFFIX, VERSION

# Of noise of 5 counts in 10 bits, level 6, which is zlib's default, makes 37.2 % at 13 MB/s; level 4 37.0 % at 90 MB/s,
# level 3 36.3 % at 57, level 1 38.8 % at 150. Searching longer for repetitions is in vain where there are none.
_LEVEL = 4
_CHUNKS_TO_JUDGE_BY = 16


def compress(block: NDArray[Any]) -> bytes:
    """The chunk that holds a block (samples, columns) of little-endian int16 or float32. For many threads at once."""
    values = np.empty(block.shape[::-1], block.dtype)
    if _has_differences(block.dtype):
        values[:, :1] = block[:1].T
        np.subtract(block[1:].T, block[:-1].T, out=values[:, 1:])
    else:
        values[:] = block.T
    return zlib.compress(values.data, _LEVEL)


class CompressedWriter:
    """A compressed recording of known length, written under temporary names and renamed at the end.

    A context manager: the two files get their names when the block ends well, and nothing is left behind otherwise.
    How long they get shows on the way: the room on the disk is checked once some chunks are written. Raises
    OutputError.
    """

    def __init__(
        self, path: Path | str, dtype: DTypeLike, num_columns: int, num_samples: int, sampling_frequency_hz: float
    ) -> None:
        self.path = Path(path)
        if self.path.suffix != SUFFIX:
            raise ValueError(f"{self.path.name} does not end in {SUFFIX}")
        self.header_path = self.path.with_suffix(HEADER_SUFFIX)
        self.dtype = np.dtype(dtype).newbyteorder("<")
        self.num_columns = num_columns
        self.num_samples = num_samples
        self.sampling_frequency_hz = sampling_frequency_hz
        self._bounds, self._offsets = [0], [0]
        self._finished = False
        self._sha1_uncompressed = hashlib.sha1(usedforsecurity=False)
        self._sha1_compressed = hashlib.sha1(usedforsecurity=False)
        self._part, self._header_part = part_path(self.path), part_path(self.header_path)
        self._descriptor = -1
        # a signal may strike where no handler of exceptions is: then it is done when the program ends
        parts = (self._part, self._header_part)
        self._removals = [weakref.finalize(self, part.unlink, missing_ok=True) for part in parts]

    def __enter__(self) -> CompressedWriter:
        for path in (self.path, self.header_path):
            require_target(path)
        try:  # a signal may strike as soon as the file is there
            self._descriptor = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
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

    @property
    def sha1(self) -> str:
        """That of all samples appended so far, in hexadecimal digits."""
        return self._sha1_uncompressed.hexdigest()

    def append(self, block: NDArray[Any], compressed: bytes) -> None:
        """Write the next chunk: `compressed`, which is what `compress` made of the samples `block`."""
        fits = block.ndim == 2 and block.shape[1] == self.num_columns and block.dtype == self.dtype
        if not fits or not 0 < len(block) <= self.num_samples - self._bounds[-1]:
            raise ValueError(f"a block {block.shape} of {block.dtype} at {self._bounds[-1]} is not of {self.path}")
        try:
            _write(self._descriptor, compressed)
        except OSError as error:
            raise write_error(self.path, error) from error
        self._sha1_uncompressed.update(np.ascontiguousarray(block).data)
        self._sha1_compressed.update(compressed)
        self._bounds.append(self._bounds[-1] + len(block))
        self._offsets.append(self._offsets[-1] + len(compressed))
        if len(self._offsets) == 1 + _CHUNKS_TO_JUDGE_BY:
            self._require_room()

    def _require_room(self) -> None:
        """Raise OutputError unless there is room for the rest, if it gets as small as what was written."""
        rest = (self.num_samples - self._bounds[-1]) / self._bounds[-1]
        require_room(self.path.parent, round(rest * self._offsets[-1]))

    def finish(self) -> None:
        """Put both files on the disk, whole, under their temporary names; what is left to do then is to rename them.

        To be called where other outputs depend on that; else it is done when the block ends.
        """
        if self._finished:
            return
        self._require_all()
        try:
            os.fsync(self._descriptor)
            self._write_header()
        except OSError as error:
            raise write_error(self.path, error) from error
        self._finished = True

    def _publish(self) -> None:
        """Give the files their names, once both are whole and on the disk: the header last, as the mark of a whole
        pair. Nothing can be read without one, and one that another binary had here before tells of another size.
        """
        try:
            self.finish()
            binary = os.fstat(self._descriptor)
            self._release()
            try:
                publish(self._part, self.path)
            finally:  # an interrupt after the first name does not keep the second one back
                if self.path.exists() and os.path.samestat(binary, self.path.stat()):
                    publish(self._header_part, self.header_path)
        except OSError as error:
            raise write_error(self.path, error) from error
        finally:
            self._abort()

    def _require_all(self) -> None:
        if self._bounds[-1] != self.num_samples:
            raise ValueError(f"{self._bounds[-1]} samples of {self.num_samples} were written to {self.path}")

    def _write_header(self) -> None:
        header = {
            "version": VERSION,
            "algorithm": ALGORITHM,
            "comp_level": _LEVEL,
            "do_time_diff": _has_differences(self.dtype),
            "do_spatial_diff": False,
            "dtype": self.dtype.name,
            "n_channels": self.num_columns,
            "sample_rate": float(self.sampling_frequency_hz),
            "chunk_bounds": self._bounds,
            "chunk_offsets": self._offsets,
            "chunk_order": "F",
            "sha1_compressed": self._sha1_compressed.hexdigest(),
            "sha1_uncompressed": self.sha1,
            "shape": [self.num_samples, self.num_columns],
        }
        with self._header_part.open("w", encoding="ascii") as file:
            json.dump(header, file, indent=2, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())

    def _abort(self) -> None:
        """Remove what is left under the temporary names. Later chunks are refused."""
        ends: list[Callable[[], object]] = [self._release, *self._removals]
        for end in ends:
            with suppress(OSError):
                end()

    def _release(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1  # the number may soon be that of another file
        os.close(descriptor)


def _has_differences(dtype: np.dtype[Any]) -> bool:
    return dtype.kind == "i"


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
