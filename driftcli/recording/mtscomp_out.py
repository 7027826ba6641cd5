"""Writing recordings that mtscomp reads: `X.cbin`, compressed without loss, and its header `X.ch`.

What the files hold is told in `mtscomp.py`. Ours have int16 samples as differences in time, as mtscomp's own have;
float32 samples stay as they are, because the sums of their differences are not the samples, to the last bit.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from driftcli.files import atomic, require_target, write_error
from driftcli.recording.mtscomp import ALGORITHM, HEADER_SUFFIX, SUFFIX, VERSION, inflate, sum_over_time

# Of noise of 5 counts in 10 bits, level 6, which is zlib's default, makes 37.2 % at 13 MB/s; level 4 37.0 % at 90 MB/s,
# level 3 36.3 % at 57, level 1 38.8 % at 150. Searching longer for repetitions is in vain where there are none.
_LEVEL = 4


def compress(block: NDArray[Any]) -> bytes:
    """The chunk that holds a block (samples, columns) of little-endian int16 or float32. For many threads at once."""
    values = np.empty(block.shape[::-1], block.dtype)
    if _has_differences(block.dtype):
        values[:, :1] = block[:1].T
        np.subtract(block[1:].T, block[:-1].T, out=values[:, 1:])
    else:
        values[:] = block.T
    return zlib.compress(values.data, _LEVEL)


def decompress(compressed: bytes, num_samples: int, num_columns: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """The block that `compress` made this chunk of. Raises zlib.error where it holds anything else."""
    samples = np.empty((num_samples, num_columns), dtype)
    inflate(compressed, samples.T)
    if _has_differences(dtype):
        sum_over_time(samples)
    return samples


class CompressedFile:
    """A compressed recording of known length: `X.cbin`, chunk after chunk, and in the end its header `X.ch`.

    A context manager. Raises OutputError.
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
        self._sha1 = hashlib.sha1(usedforsecurity=False)
        self._descriptor = -1

    def __enter__(self) -> CompressedFile:
        for path in (self.path, self.header_path):
            require_target(path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self._descriptor = os.open(self.path, flags, 0o666)
        except OSError as error:
            raise write_error(self.path, error) from error
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of the file. Later chunks are refused."""
        descriptor, self._descriptor = self._descriptor, -1  # the number may soon be that of another file
        with suppress(OSError):
            os.close(descriptor)

    def append(self, num_samples: int, compressed: bytes) -> None:
        """Write the next chunk: what `compress` made of that many samples."""
        if not 0 < num_samples <= self.num_samples - self._bounds[-1]:
            raise ValueError(f"a block of {num_samples} samples at {self._bounds[-1]} is not of {self.path}")
        try:
            _write(self._descriptor, compressed)
        except OSError as error:
            raise write_error(self.path, error) from error
        self._sha1.update(compressed)
        self._bounds.append(self._bounds[-1] + num_samples)
        self._offsets.append(self._offsets[-1] + len(compressed))

    def finish(self, sha1: str) -> None:
        """Write the header. sha1: that of all samples, in hexadecimal digits. Nothing can be read without a header."""
        if self._bounds[-1] != self.num_samples:
            raise ValueError(f"{self._bounds[-1]} samples of {self.num_samples} were written to {self.path}")
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
            "sha1_compressed": self._sha1.hexdigest(),
            "sha1_uncompressed": sha1,
            "shape": [self.num_samples, self.num_columns],
        }
        try:
            os.fsync(self._descriptor)  # a disk that takes no more may say so only now, and only here
        except OSError as error:
            raise write_error(self.path, error) from error
        with atomic(self.header_path) as temporary, temporary.open("w", encoding="ascii") as file:
            json.dump(header, file, indent=2, sort_keys=True)


def _has_differences(dtype: np.dtype[Any]) -> bool:
    return dtype.kind == "i"


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
