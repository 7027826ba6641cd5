"""Where corrected samples go: a plain or a compressed binary, with its meta in the end."""

from __future__ import annotations

import hashlib
import resource
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from driftcli.errors import OutputError
from driftcli.files import atomic, require_room
from driftcli.recording.meta import format_meta
from driftcli.recording.mtscomp_out import CompressedFile, compress, decompress
from driftcli.recording.spikeglx_out import with_sha1
from driftcli.recording.writer import BinaryFile, as_bytes
from driftcli.spool import Spool, Stored
from driftcli.workflow.identity import checksum_of
from driftcli.workflow.outputs import Output

_OTHER_FILES = 256  # of the libraries, the terminal, and the recording, which each thread opens for as long as it reads
_PUT_TO_JUDGE_BY = 16  # compressed blocks that tell how long all of them get

Put = list[Any]  # plain data for the journal: which samples were put where, with a checksum


class Sink(Protocol):
    """Takes the samples of one output, in any order and from any thread, and tells in plain data what it put where.

    hashed: whether `hash` wants all samples.
    """

    hashed: bool

    def put(self, start: int, rows: NDArray[Any]) -> Put:
        """Put the samples from `start` on in their place; (S, columns) of the output's dtype, not held on to."""

    def again(self, put: Put) -> NDArray[Any] | None:
        """The samples that were put, by this process or an earlier one; None where they aren't there any more."""

    def hash(self, rows: NDArray[Any]) -> None:
        """Take the next samples in order of time."""

    def finish(self, puts: Sequence[Put]) -> dict[str, Any]:
        """Write what only all samples together tell; puts: of all samples, in order. Returns checksums of the files, by
        their names."""


class _Plain:
    """Samples go to their place in the file."""

    def __init__(self, file: BinaryFile, hashed: bool) -> None:
        self.hashed = hashed
        self._file, self._sha1 = file, hashlib.sha1(usedforsecurity=False)

    def put(self, start: int, rows: NDArray[Any]) -> Put:
        self._file.write(start, rows)
        return [start, len(rows), zlib.crc32(as_bytes(rows).data)]

    def again(self, put: Put) -> NDArray[Any] | None:
        start, count, crc32 = put
        rows = self._file.read(start, start + count)
        return rows if len(rows) == count and zlib.crc32(as_bytes(rows).data) == crc32 else None

    def hash(self, rows: NDArray[Any]) -> None:
        self._sha1.update(as_bytes(rows).data)

    def finish(self, puts: Sequence[Put]) -> dict[str, Any]:
        return {self._file.path.name: _of_blocks(self._file.size_bytes, [put[2] for put in puts])}

    @property
    def sha1(self) -> str:
        return self._sha1.hexdigest()


class _Compressed:
    """Samples are compressed and wait in a spool until all are there: how long they get shows only then."""

    hashed = True

    def __init__(self, file: CompressedFile, own: Spool, spools: Mapping[str, Spool]) -> None:
        """own: where samples are put; spools: where they may have been put, by the name that the journal has."""
        self._file, self._own, self._spools, self._number = file, own, spools, count(1)
        self._sha1 = hashlib.sha1(usedforsecurity=False)

    def put(self, start: int, rows: NDArray[Any]) -> Put:
        stored = self._own.put(compress(rows))
        if next(self._number) == _PUT_TO_JUDGE_BY:
            self._require_room(stored.size / len(rows))
        return [start, len(rows), self._own.path.parent.name, *stored]

    def _require_room(self, bytes_per_sample: float) -> None:
        """Raise OutputError unless there is room for all samples twice, in spools and in the file, less for what all
        processes have put there."""
        folder = self._own.path.parents[1]
        there = sum(spool.stat().st_size for spool in folder.glob(f"*/{self._own.path.name}"))
        require_room(folder, round(2 * self._file.num_samples * bytes_per_sample - there))

    def again(self, put: Put) -> NDArray[Any] | None:
        compressed = self._stored(put)
        return None if compressed is None else decompress(compressed, put[1], self._file.num_columns, self._file.dtype)

    def hash(self, rows: NDArray[Any]) -> None:
        self._sha1.update(as_bytes(rows).data)

    def finish(self, puts: Sequence[Put]) -> dict[str, Any]:
        with self._file:
            for put in puts:
                compressed = self._stored(put)
                if compressed is None:
                    raise OutputError(f"{self._own.path} changed while it was read", "check the disk; then --resume")
                self._file.append(put[1], compressed)
            self._file.finish(self.sha1)
        size_bytes, crcs = self._file.path.stat().st_size, [put[5] for put in puts]
        return {
            self._file.path.name: _of_blocks(size_bytes, crcs),
            self._file.header_path.name: checksum_of(self._file.header_path),
        }

    @property
    def sha1(self) -> str:
        return self._sha1.hexdigest()

    def _stored(self, put: Put) -> bytes | None:
        return self._spools[put[2]].get(Stored(*put[3:]))


class _WithMeta:
    """A sink of a SpikeGLX binary, whose meta tells the SHA-1 of all samples."""

    hashed = True

    def __init__(self, sink: _Plain | _Compressed, values: Mapping[str, str], path: Path) -> None:
        """values: those of the meta but for the SHA-1."""
        self._sink, self._values, self._path = sink, values, path
        self.put, self.again, self.hash = sink.put, sink.again, sink.hash

    def finish(self, puts: Sequence[Put]) -> dict[str, Any]:
        checksums = self._sink.finish(puts)
        with atomic(self._path) as temporary:
            temporary.write_bytes(format_meta(with_sha1(self._values, self._sink.sha1)))
        return {**checksums, self._path.name: checksum_of(self._path)}


class _Nowhere:
    """Does all that a plain sink does while samples come, but writes nothing."""

    def __init__(self, *, hashed: bool) -> None:
        self.hashed = hashed
        self._sha1 = hashlib.sha1(usedforsecurity=False)

    def put(self, start: int, rows: NDArray[Any]) -> Put:
        return [start, len(rows), zlib.crc32(as_bytes(rows).data)]

    def again(self, put: Put) -> NDArray[Any] | None:
        return None

    def hash(self, rows: NDArray[Any]) -> None:
        self._sha1.update(as_bytes(rows).data)

    def finish(self, puts: Sequence[Put]) -> dict[str, Any]:
        return {}


def sink_to_nowhere(*, hashed: bool) -> Sink:
    """To see how long a correction takes."""
    return _Nowhere(hashed=hashed)


@contextmanager
def sinks_of(
    outputs: Sequence[Output],
    folder: Path,
    dtype: np.dtype[Any],
    num_columns: int,
    metas: Sequence[Mapping[str, str] | None],
    own: Spool,
    spools: Mapping[str, Spool],
) -> Iterator[list[Sink]]:
    """Sinks that write all files of the outputs to another folder, under their names.

    metas: of SpikeGLX binaries, but for their SHA-1. own, spools: see `_Compressed`.
    """
    _allow_open_files(len(outputs))
    with ExitStack() as stack:
        sinks: list[Sink] = []
        for output, meta in zip(outputs, metas, strict=True):
            recording, path = output.recording, folder / output.binary.name
            sink: _Plain | _Compressed
            if output.header is None:
                file = BinaryFile(path, dtype, num_columns, recording.num_samples)
                sink = _Plain(stack.enter_context(file), hashed=False)
            else:
                rate_hz = recording.sampling_frequency_hz
                compressed = CompressedFile(path, dtype, num_columns, recording.num_samples, rate_hz)
                sink = _Compressed(compressed, own, spools)
            if meta is None or output.meta is None:
                sinks.append(sink)
            else:
                sinks.append(_WithMeta(sink, meta, folder / output.meta.name))
        yield sinks


def _of_blocks(size_bytes: int, crcs: Sequence[int]) -> dict[str, Any]:
    return {"size_bytes": size_bytes, "crc32_of_blocks": " ".join(f"{crc:08x}" for crc in crcs)}


def _allow_open_files(num_outputs: int) -> None:
    """Let so many outputs be open at once: a run of hundreds of trials has hundreds of files."""
    wanted = 3 * num_outputs + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
