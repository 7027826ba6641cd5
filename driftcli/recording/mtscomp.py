"""Recordings that mtscomp compressed without loss, as the International Brain Laboratory shares them: `X.cbin`, `X.ch`.

The binary is a row of chunks, each a zlib stream of its own. The header, in JSON, says where each chunk begins in time
(`chunk_bounds`, in samples) and in the file (`chunk_offsets`, in bytes). Within a chunk the samples stand for their
differences to the sample before where `do_time_diff` says so, and to the column before where `do_spatial_diff` does;
the first ones stand as they are. One column follows the other (`chunk_order` F), or one sample the other (C).
Source: https://github.com/int-brain-lab/mtscomp, its README and the files that version 1.0.2 writes.
"""

from __future__ import annotations

import json
import math
import os
import re
import reprlib
import threading
import zlib
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from driftcli.errors import InputError
from driftcli.recording.options import Options
from driftcli.reporter import Reporter

SUFFIX, HEADER_SUFFIX = ".cbin", ".ch"
VERSION, ALGORITHM = "1.0", "zlib"
_DTYPES = {"int16": "<i2", "<i2": "<i2", "float32": "<f4", "<f4": "<f4"}
_KINDS: dict[str, set[type]] = {  # that JSON has; true is no number
    "a text": {str},
    "a whole number": {int},
    "a number": {int, float},
    "true or false": {bool},
    "a list": {list},
}
_HEADER_BYTES = 1 << 26  # three times that of a week in chunks of a second
_CHUNK_BYTES = 1 << 32  # three minutes of 385 channels; mtscomp makes chunks of a second
_MOST_TO_ONE = 1032  # what zlib makes of a byte at most
_PIECE_BYTES = 1 << 22  # of a chunk that are there both as bytes and as samples
_KEPT_BYTES = 1 << 30
_KEPT_SAMPLES = 32_768  # for each processor: a block with its margins, some of which the next block shares
_HINT = "take the .ch that was written with this .cbin"
_HINT_ON_BYTES = "copy the file again from where it came from"


@dataclass(frozen=True)
class _Header:
    """What a header says. bounds, offsets: of the chunks, with the end of the last one; samples and bytes."""

    dtype: np.dtype[Any]
    num_columns: int
    sampling_frequency_hz: float
    sha1: str | None
    by_column: bool
    time_differences: bool
    spatial_differences: bool
    bounds: list[int]
    offsets: list[int]

    @property
    def frame_bytes(self) -> int:
        return self.num_columns * self.dtype.itemsize


def open_compressed(path: Path, options: Options, reporter: Reporter) -> CompressedSamples:
    """The samples of `X.cbin`; where it was cut off and the user knows that, those there are, which is told."""
    samples = CompressedSamples.open(path, truncated_ok=options.truncated_ok)
    if samples.num_missing:
        told = f"{samples.num_missing} samples that {samples.header_path.name} tells of are not there"
        reporter.message(f"{path.name} was cut off: {told}; going on with the {samples.num_samples} samples there are")
    return samples


def header_of(samples: Any) -> dict[str, Path]:
    """The header among the inputs of a recording with these samples; none if they aren't compressed."""
    return {"header": samples.header_path} if isinstance(samples, CompressedSamples) else {}


class CompressedSamples:
    """The samples of a compressed recording, any span at a time, from any number of threads at once.

    path, header_path: the two files. dtype: little-endian int16 or float32. sha1: of the samples before they were
    compressed, in hexadecimal digits, None where the header doesn't say.
    """

    def __init__(self, path: Path, header_path: Path, header: _Header, num_missing: int = 0) -> None:
        self.path, self.header_path = path, header_path
        self.dtype, self.num_columns = header.dtype, header.num_columns
        self.num_samples = header.bounds[-1]
        self.num_missing = num_missing
        self.sampling_frequency_hz = header.sampling_frequency_hz
        self.sha1 = header.sha1
        self._header = header
        self._recent = _Recent(_num_kept(header))

    @property
    def held_bytes(self) -> int:
        """What the chunks take that are kept, at most."""
        return self._recent.num_kept * _longest(self._header) * self._header.frame_bytes

    @classmethod
    def open(cls, path: Path, *, truncated_ok: bool = False) -> CompressedSamples:
        """Open `X.cbin` with the `X.ch` beside it. Raises InputError for a pair that is not whole or doesn't fit.

        truncated_ok: of a binary that was cut off, take the chunks that are whole.
        """
        header_path = path.with_suffix(HEADER_SUFFIX)
        try:
            size_bytes = path.stat().st_size
        except OSError as error:
            hint = f"{header_path.name} is there, its {SUFFIX} is not" if header_path.is_file() else "check the path"
            raise InputError(f"cannot read {path}: {error.strerror or error}", hint) from error
        fields = _Fields(header_path, _load(header_path))
        header = _checked(fields)
        _require_consistent(fields, header)
        whole = _whole_chunks(header, path, size_bytes) if truncated_ok else header
        _require_fit(whole, header_path, path, whole.offsets[-1] if truncated_ok else size_bytes)
        return cls(path, header_path, whole, header.bounds[-1] - whole.bounds[-1])

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Samples `start` to `stop` as a read-only (stop - start, num_columns) array.

        Raises InputError for a chunk whose bytes are not those that were written, as zlib's checksum tells.
        """
        if not 0 <= start <= stop <= self.num_samples:
            raise ValueError(f"samples {start} to {stop} of a recording of {self.num_samples}")
        bounds = self._header.bounds
        chunks = range(bisect_right(bounds, start) - 1, bisect_left(bounds, stop)) if start < stop else range(0)
        if len(chunks) == 1:
            begin = bounds[chunks[0]]
            return self._chunk(chunks[0])[start - begin : stop - begin]
        samples = np.empty((stop - start, self.num_columns), self.dtype)
        for index in chunks:
            begin, low, high = bounds[index], max(bounds[index], start), min(bounds[index + 1], stop)
            samples[low - start : high - start] = self._chunk(index)[low - begin : high - begin]
        samples.setflags(write=False)
        return samples

    def keep_with(self, other: CompressedSamples) -> None:
        """Keep recent chunks among those of another file, so that many files take no more memory than one."""
        other._recent.num_kept = min(other._recent.num_kept, self._recent.num_kept)
        self._recent = other._recent

    def _chunk(self, index: int) -> NDArray[Any]:
        slot = self._recent.slot(self.path, index)
        with slot.lock:
            if slot.samples is None:
                slot.samples = self._decompressed(index)
            return slot.samples

    def _decompressed(self, index: int) -> NDArray[Any]:
        """All samples of a chunk, read-only."""
        header = self._header
        samples = np.empty((header.bounds[index + 1] - header.bounds[index], header.num_columns), header.dtype)
        try:
            inflate(self._bytes(index), samples.T if header.by_column else samples)
        except zlib.error as error:
            raise InputError(f"{self._named(index)} is corrupt: {error}", _HINT_ON_BYTES) from error
        if header.spatial_differences:
            _sum_over_columns(samples)
        if header.time_differences:
            sum_over_time(samples)
        samples.setflags(write=False)
        return samples

    def _bytes(self, index: int) -> bytes:
        first, last = self._header.offsets[index : index + 2]
        try:
            # opened each time, so that there is nothing to close, and no position in the file that threads would share
            with self.path.open("rb") as file:
                file.seek(first)
                found = file.read(last - first)
        except OSError as error:
            hint = "check that the file is still there"
            raise InputError(f"cannot read {self._named(index)}: {error.strerror or error}", hint) from error
        if len(found) < last - first:
            hint = "check that nothing writes to the file"
            raise InputError(f"cannot read {self._named(index)}: the file is shorter than when it was opened", hint)
        return found

    def _named(self, index: int) -> str:
        first, last = self._header.bounds[index : index + 2]
        return f"chunk {index} (samples {first} to {last}) of {self.path}"


class _Slot:
    """A chunk that one thread decompresses while the others that want it wait."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.samples: NDArray[Any] | None = None


class _Recent:
    """The chunks that were used last, of one file or of several."""

    def __init__(self, num_kept: int) -> None:
        self.num_kept = num_kept
        self._lock = threading.Lock()
        self._slots: OrderedDict[tuple[Path, int], _Slot] = OrderedDict()

    def __len__(self) -> int:
        return len(self._slots)

    def slot(self, path: Path, index: int) -> _Slot:
        with self._lock:
            slot = self._slots.setdefault((path, index), _Slot())
            self._slots.move_to_end((path, index))
            while len(self._slots) > self.num_kept:
                self._slots.popitem(last=False)
            return slot


def _num_kept(header: _Header) -> int:
    """How many chunks are kept: enough for a thread on each processor, in bounded memory, and never less than two,
    as a block that lies on both sides of a bound is followed by another such block."""
    longest = _longest(header)
    of_a_thread = 1 + math.ceil(_KEPT_SAMPLES / longest)
    wanted = of_a_thread * len(os.sched_getaffinity(0))
    return max(2, min(wanted, _KEPT_BYTES // (longest * header.frame_bytes)))


def _longest(header: _Header) -> int:
    """Number of samples of the longest chunk."""
    return max((last - first for first, last in pairwise(header.bounds)), default=1)


# The header: nothing in it is believed before it is checked.


@dataclass(frozen=True)
class _Fields:
    """The values of a header by key, and its file, for errors to name."""

    path: Path
    values: dict[str, Any]

    def of_kind(self, key: str, kind: str) -> Any:
        """The value of a key that must be there, of one of the kinds."""
        if key not in self.values:
            raise InputError(f"{self.path.name} has no {key}", _HINT)
        value = self.values[key]
        if type(value) not in _KINDS[kind]:
            raise self.wrong(key, kind)
        return value

    def ascending(self, key: str) -> list[int]:
        """The value of a key that lists whole numbers, from 0 on, each larger than the one before."""
        numbers: list[int] = self.of_kind(key, "a list")
        if len(numbers) < 2 or any(type(number) is not int for number in numbers):
            raise self.wrong(key, "a list of two whole numbers or more")
        if numbers[0] != 0 or any(last <= first for first, last in pairwise(numbers)):
            raise InputError(f"{self.path.name} is wrong: its {key} do not ascend from 0", _HINT)
        return numbers

    def wrong(self, key: str, expected: str) -> InputError:
        found = reprlib.repr(self.values[key])
        return InputError(f"{self.path.name} is wrong: its {key} is {found}, not {expected}", _HINT)


def _load(path: Path) -> dict[str, Any]:
    """The JSON object in a header."""
    try:
        size_bytes = path.stat().st_size
        with path.open("rb") as file:
            content = file.read(min(size_bytes, _HEADER_BYTES))
    except FileNotFoundError:
        raise InputError(f"there is no {path}, which says how the {SUFFIX} is read", _hint_without(path)) from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}", "check its permissions") from error
    if size_bytes > _HEADER_BYTES:
        raise InputError(f"{path} is too long for a header", _HINT)
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:  # ValueError: no JSON, no Unicode, a number of too many digits
        raise InputError(f"{path} is not the JSON that mtscomp writes: {error}", _HINT) from None
    if not isinstance(values, dict):
        raise InputError(f"{path} is not the JSON that mtscomp writes: it holds no keys", _HINT)
    return values


def _hint_without(path: Path) -> str:
    """Files of IBL's server have an identifier before the suffix, another one in each file of a pair."""
    others = sorted(each.name for each in path.parent.glob(f"*{HEADER_SUFFIX}"))
    if len(others) == 1:
        return f"{others[0]} is there: if it belongs to this recording, name it {path.name}"
    return f"put {path.name} beside it"


def _checked(fields: _Fields) -> _Header:
    """The header, if each value on its own makes sense and is one that we read."""
    _require_known(fields, "version", [VERSION])
    _require_known(fields, "algorithm", [ALGORITHM])
    _require_known(fields, "dtype", list(_DTYPES))
    _require_known(fields, "chunk_order", ["C", "F"])
    num_columns = fields.of_kind("n_channels", "a whole number")
    if num_columns <= 0:
        raise fields.wrong("n_channels", "a number above 0")
    return _Header(
        dtype=np.dtype(_DTYPES[fields.values["dtype"]]),
        num_columns=num_columns,
        sampling_frequency_hz=_sampling_frequency_hz(fields),
        sha1=_sha1(fields),
        by_column=fields.values["chunk_order"] == "F",
        time_differences=fields.of_kind("do_time_diff", "true or false"),
        spatial_differences=fields.of_kind("do_spatial_diff", "true or false"),
        bounds=fields.ascending("chunk_bounds"),
        offsets=fields.ascending("chunk_offsets"),
    )


def _require_known(fields: _Fields, key: str, known: list[str]) -> None:
    if fields.of_kind(key, "a text") not in known:
        raise fields.wrong(key, " or ".join(known) + ", which is what driftcli reads")


def _sampling_frequency_hz(fields: _Fields) -> float:
    value = fields.of_kind("sample_rate", "a number")
    if not 0 < value <= 1e12:  # false for a NaN, too
        raise fields.wrong("sample_rate", "a number above 0")
    return float(value)


def _sha1(fields: _Fields) -> str | None:
    """That of the whole recording's samples, which a part of it (`chopped`) does not have."""
    value = fields.values.get("sha1_uncompressed")
    if value is None:
        return None
    if not isinstance(value, str) or not re.fullmatch("[0-9a-fA-F]{40}", value):
        raise fields.wrong("sha1_uncompressed", "40 hexadecimal digits")
    return value.lower()


def _require_consistent(fields: _Fields, header: _Header) -> None:
    """Raise InputError unless values that tell the same agree."""
    name, bounds, offsets = fields.path.name, header.bounds, header.offsets
    if len(bounds) != len(offsets):
        told = f"{len(bounds)} chunk_bounds and {len(offsets)} chunk_offsets"
        raise InputError(f"{name} contradicts itself: it has {told}", _HINT)
    # a part that was cut from a recording keeps the whole one's shape; an array of three dimensions has its own
    shape = fields.values.get("shape")
    two = isinstance(shape, list) and len(shape) == 2 and not fields.values.get("chopped")
    if two and shape != [bounds[-1], header.num_columns]:
        told = f"chunks of {bounds[-1]} samples and {header.num_columns} channels and the shape {reprlib.repr(shape)}"
        raise InputError(f"{name} contradicts itself: it has {told}", _HINT)


def _whole_chunks(header: _Header, path: Path, size_bytes: int) -> _Header:
    """The header of the chunks that a binary of so many bytes holds whole. Raises InputError if there are none."""
    count = bisect_right(header.offsets, size_bytes)
    if count < 2:
        raise InputError(f"{path} holds no whole chunk: it has {size_bytes:,} bytes", _HINT_ON_BYTES)
    return replace(header, bounds=header.bounds[:count], offsets=header.offsets[:count])


def _require_fit(header: _Header, header_path: Path, path: Path, size_bytes: int) -> None:
    """Raise InputError unless the chunks fit the binary."""
    bounds, offsets = header.bounds, header.offsets
    if offsets[-1] != size_bytes:
        cut = f"; copy {path.name} again, it is cut short" if size_bytes < offsets[-1] else ""
        told = f"{path.name} has {size_bytes:,} bytes, {header_path.name} tells of {offsets[-1]:,}"
        if cut:
            cut += ", or go on with its whole chunks by --truncated ok"
        raise InputError(f"{told}: they are not of one recording, or not whole", f"{_HINT}{cut}")
    for index, ((first, last), (begin, end)) in enumerate(zip(pairwise(bounds), pairwise(offsets), strict=True)):
        chunk_bytes = (last - first) * header.frame_bytes
        if chunk_bytes > _MOST_TO_ONE * (end - begin):
            told = f"{last - first:,} samples of {header.num_columns} channels in {end - begin:,} bytes"
            raise InputError(f"{header_path.name} is wrong: chunk {index} cannot hold {told}", _HINT)
        if chunk_bytes > _CHUNK_BYTES:
            raise InputError(
                f"chunk {index} of {path} is too long: {last - first:,} samples of {header.num_columns} channels",
                "decompress the file and compress it again with chunks of a second",
            )


# Chunks


def inflate(compressed: bytes, values: NDArray[Any]) -> None:
    """Fill `values`, of two dimensions, in their order. Raises zlib.error unless there are exactly so many.

    Goes piece by piece, so that a hostile stream gets no more memory than the header says, and an honest one only its
    samples' own.
    """
    step = max(1, _PIECE_BYTES // values[0].nbytes)
    stream, rest = zlib.decompressobj(), compressed
    for first in range(0, len(values), step):
        piece = values[first : first + step]
        found = stream.decompress(rest, piece.nbytes)
        rest = stream.unconsumed_tail
        if len(found) < piece.nbytes:
            raise zlib.error("it ends before its last sample")
        piece[:] = np.frombuffer(found, values.dtype).reshape(piece.shape)
    more = stream.decompress(rest, 1)  # nothing, but zlib only now compares the checksum
    if more or stream.unused_data:
        raise zlib.error("it goes on after its last sample")
    if not stream.eof:
        raise zlib.error("it ends before its checksum")


@numba.njit(nogil=True, cache=True)
def sum_over_time(samples):  # type: ignore[no-untyped-def]
    """Add to each row the one before, in place; whole numbers wrap around, as their differences did."""
    for t in range(1, samples.shape[0]):
        for c in range(samples.shape[1]):
            samples[t, c] += samples[t - 1, c]


@numba.njit(nogil=True, cache=True)
def _sum_over_columns(samples):  # type: ignore[no-untyped-def]
    """Add to each column the one before, in place."""
    for t in range(samples.shape[0]):
        for c in range(1, samples.shape[1]):
            samples[t, c] += samples[t, c - 1]
