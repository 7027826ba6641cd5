"""Whether files are those that were written: their sizes, and the checksums of the whole or of each block."""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from driftcli.errors import InputError
from driftcli.recording.meta import parse_meta
from driftcli.recording.mtscomp import HEADER_SUFFIX
from driftcli.recording.mtscomp_out import decompress
from driftcli.recording.writer import as_bytes
from driftcli.workflow.findings import OLDER, Entry, Finding
from driftcli.workflow.identity import checksum_of
from driftcli.workflow.stream import Span, blocks_of
from driftcli.workflow.work import Work

CHECKSUMS = "checksums"
_MOST_TOLD = 6


@dataclass(frozen=True)
class Binary:
    """A corrected binary as `run.json` tells of it.

    header, meta: names of the files that go with it, None where there is none. start: the sample of the recording that
    is its first. spans: of its samples that were written at a time, which have a checksum each.
    """

    name: str
    header: str | None
    meta: str | None
    start: int
    spans: list[Span]
    num_columns: int
    dtype: np.dtype[Any]
    sampling_frequency_hz: float

    @property
    def num_samples(self) -> int:
        return self.spans[-1][1]

    @property
    def frame_bytes(self) -> int:
        return self.num_columns * self.dtype.itemsize

    def in_words(self, spans: Sequence[Span]) -> str:
        """`samples 0 to 16384 (0.000 to 0.546 s)`, those that touch each other as one."""
        joined: list[Span] = []
        for start, stop in sorted(spans):
            touches = bool(joined) and joined[-1][1] == start
            joined[-1:] = [(joined[-1][0], stop)] if touches else [*joined[-1:], (start, stop)]
        rate_hz = self.sampling_frequency_hz
        told = [
            f"samples {start} to {stop} ({start / rate_hz:.3f} to {stop / rate_hz:.3f} s)"
            for start, stop in joined[:_MOST_TOLD]
        ]
        return ", ".join(told) + (f" and {len(joined) - _MOST_TOLD} more" if len(joined) > _MOST_TOLD else "")


def binaries_of(entry: Entry) -> list[Binary]:
    """All binaries of a correction, in order of time: those of `Outputs`, by what is stored."""
    facts, names = entry.facts, entry.facts["files"][:-1]  # the last one is the probe
    recording, options, counts = facts["recording"], facts["options"], facts["counts"]
    whole = [(0, recording["num_samples"])]
    spans = [(file["start"], file["stop"]) for file in recording["files"]] if options["split"] else whole
    each, surplus = divmod(len(names), len(spans))
    if surplus or not each:
        raise ValueError(f"{len(names)} files for {len(spans)} binaries")
    grid = blocks_of(recording["num_samples"], np.array(recording["breaks"], np.int64))
    binaries = []
    for index, (start, stop) in enumerate(spans):
        own = names[index * each : (index + 1) * each]
        binaries.append(
            Binary(
                name=own[0],
                header=next((name for name in own[1:] if name.endswith(HEADER_SUFFIX)), None),
                meta=next((name for name in own[1:] if name.endswith(".meta")), None),
                start=start,
                spans=[(max(a, start) - start, min(b, stop) - start) for a, b in grid if a < stop and b > start],
                num_columns=counts["columns"],
                dtype=np.dtype(counts["dtype"]).newbyteorder("<"),
                sampling_frequency_hz=recording["sampling_frequency_hz"],
            )
        )
    return binaries


def check_files(entry: Entry, work: Work) -> Iterator[Finding]:
    """Compare all files of an entry with their checksums."""
    binaries = {binary.name: binary for binary in _binaries_with_checksums(entry)}
    for name in entry.files:
        known = entry.checksums.get(name)
        if not os.path.lexists(entry.path(name)):
            yield Finding(name, CHECKSUMS, "wrong", "it is not there")
        elif known is None and entry.checksums:
            yield Finding(name, CHECKSUMS, "wrong", "run.json has no checksum of it, but of other files of this work")
        elif known is None:
            yield Finding(name, CHECKSUMS, "unchecked", OLDER)
        elif name in binaries:
            yield from _check_binary(entry, binaries[name], known, work)
        else:
            yield _check_whole(entry.path(name), name, known)


def _binaries_with_checksums(entry: Entry) -> list[Binary]:
    return binaries_of(entry) if entry.facts["verb"] == "apply" and entry.checksums else []


def _check_whole(path: Path, name: str, known: dict[str, Any]) -> Finding:
    if not path.is_file():
        return Finding(name, CHECKSUMS, "wrong", "it is no file")
    size_bytes = path.stat().st_size
    if size_bytes != known["size_bytes"]:
        return Finding(name, CHECKSUMS, "wrong", _other_size(size_bytes, known))
    try:
        same = checksum_of(path)["sha256"] == known["sha256"]
    except OSError as error:
        return Finding(name, CHECKSUMS, "wrong", f"it can't be read: {error.strerror or error}")
    return Finding(name, CHECKSUMS, "ok") if same else Finding(name, CHECKSUMS, "wrong", "its SHA-256 is another")


def _other_size(size_bytes: int, known: dict[str, Any]) -> str:
    return f"it has {size_bytes} bytes, not {known['size_bytes']}"


def _check_binary(entry: Entry, binary: Binary, known: dict[str, Any], work: Work) -> Iterator[Finding]:
    path = entry.path(binary.name)
    if not path.is_file():
        yield Finding(binary.name, CHECKSUMS, "wrong", "it is no file")
        return
    size_bytes = path.stat().st_size
    right_size = size_bytes == known["size_bytes"]
    if not right_size:
        yield Finding(binary.name, CHECKSUMS, "wrong", _other_size(size_bytes, known))
    crcs = [int(crc, 16) for crc in known["crc32_of_blocks"].split()]
    if len(crcs) != len(binary.spans):
        told = f"run.json has {len(crcs)} checksums for its {len(binary.spans)} blocks"
        yield Finding(binary.name, CHECKSUMS, "wrong", told)
        return
    try:
        places = _places(binary, path)
    except (InputError, ValueError) as error:
        yield Finding(binary.name, CHECKSUMS, "wrong", f"which bytes each block has isn't known: {error}")
        return
    read = _read_all(binary, path, places, crcs, work)
    if read.different:
        told = f"{len(read.different)} of {len(crcs)} blocks are not those that were written"
        yield Finding(binary.name, CHECKSUMS, "wrong", f"{told}: {binary.in_words(read.different)}{read.reason}")
    elif right_size:
        yield Finding(binary.name, CHECKSUMS, "ok", f"{len(crcs)} blocks")
        yield from _check_told(entry, binary, read)


def _places(binary: Binary, path: Path) -> list[Span]:
    """The bytes of each block in the file."""
    if binary.header is None:
        return [(start * binary.frame_bytes, stop * binary.frame_bytes) for start, stop in binary.spans]
    header_path = path.with_suffix(HEADER_SUFFIX)
    try:
        header = json.loads(header_path.read_bytes())
        bounds, offsets = header["chunk_bounds"], header["chunk_offsets"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{header_path.name} can't be read ({type(error).__name__})") from error
    right = bounds == [0, *(stop for _, stop in binary.spans)] and len(offsets) == len(bounds)
    if not right or not all(type(offset) is int and offset >= 0 for offset in offsets):
        raise ValueError(f"{header_path.name} tells of other blocks")
    return list(pairwise(offsets))


class _Read(NamedTuple):
    """What became of reading a binary: blocks that are not what they were, and why if the disk says; SHA-1 of the
    file and of its samples, where they are asked for."""

    different: list[Span]
    reason: str
    sha1: str
    sha1_of_samples: str


def _read_all(binary: Binary, path: Path, places: list[Span], crcs: list[int], work: Work) -> _Read:
    """Read a binary once, in threads, a few blocks at a time."""
    compressed, hashed = binary.header is not None, binary.header is not None or binary.meta is not None
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    sha1, sha1_of_samples = (hashlib.sha1(usedforsecurity=False) for _ in range(2))
    different, reasons = [], []

    def look(index: int) -> tuple[bool, bytes, memoryview, str]:
        data, reason = _bytes(descriptor, *places[index])
        same = zlib.crc32(data) == crcs[index] and len(data) == places[index][1] - places[index][0]
        if not hashed or not same:
            return same, b"", memoryview(b""), reason
        if not compressed:
            return same, data, memoryview(b""), reason
        start, stop = binary.spans[index]
        try:
            return same, data, as_bytes(decompress(data, stop - start, binary.num_columns, binary.dtype)).data, reason
        except zlib.error as error:
            return False, b"", memoryview(b""), str(error)

    stage, done = f"read {binary.name}", 0
    work.reporter.progress(stage, 0, binary.num_samples)
    try:
        for index, (same, data, samples, reason) in enumerate(_in_order(look, len(crcs), work.jobs)):
            sha1.update(data)
            sha1_of_samples.update(samples)
            if not same:
                different.append(binary.spans[index])
                reasons += [reason] if reason else []
            done = binary.spans[index][1]
            work.reporter.progress(stage, done, binary.num_samples, done / binary.sampling_frequency_hz)
    finally:
        os.close(descriptor)
    told = f" ({', '.join(dict.fromkeys(reasons))})" if reasons else ""
    return _Read(different, told, sha1.hexdigest(), (sha1_of_samples if compressed else sha1).hexdigest())


def _bytes(descriptor: int, first: int, last: int) -> tuple[bytes, str]:
    """Some bytes of a file, or those before its end; nothing, and why, where the disk can't give them."""
    parts, size = [], last - first
    try:
        while size > 0 and (part := os.pread(descriptor, size, last - size)):
            parts.append(part)
            size -= len(part)
    except OSError as error:
        return b"", error.strerror or str(error)
    return b"".join(parts), ""


def _in_order(look: Callable[[int], Any], count: int, jobs: int) -> Iterator[Any]:
    """What `look` gives for 0, 1, 2, ..., in threads; only a few are under way or waiting at once."""
    with ThreadPoolExecutor(jobs, thread_name_prefix="driftcli") as pool:
        waiting: deque[Future[Any]] = deque()
        try:
            for index in range(count):
                if len(waiting) > 2 * jobs:
                    yield waiting.popleft().result()
                waiting.append(pool.submit(look, index))
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _check_told(entry: Entry, binary: Binary, read: _Read) -> Iterator[Finding]:
    """Whether header and meta tell the SHA-1 of what was read."""
    if binary.header is not None:
        header = json.loads(entry.path(binary.header).read_bytes())  # as `_places` could
        if (header.get("sha1_compressed"), header.get("sha1_uncompressed")) != (read.sha1, read.sha1_of_samples):
            yield Finding(binary.header, CHECKSUMS, "wrong", f"it tells other SHA-1s than those of {binary.name}")
    if binary.meta is None:
        return
    told = None
    with suppress(OSError):  # that it can't be read has been found
        told = parse_meta(entry.path(binary.meta).read_bytes()).get("fileSHA1", "")
    if told is not None and told.lower() != read.sha1_of_samples:
        yield Finding(binary.meta, CHECKSUMS, "wrong", f"its fileSHA1 is not that of {binary.name}")
