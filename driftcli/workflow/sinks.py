"""Where corrected samples go: a plain or a compressed binary, with its meta in the end."""

from __future__ import annotations

import hashlib
import os
import resource
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from driftcli.files import atomic, write_error
from driftcli.recording.meta import format_meta
from driftcli.recording.mtscomp_out import CompressedWriter, compress
from driftcli.recording.spikeglx_out import with_sha1
from driftcli.recording.writer import BinaryWriter
from driftcli.workflow.outputs import Output

_OTHER_FILES = 256  # of the libraries, the terminal, and the recording, which each thread opens for as long as it reads


class Sink(Protocol):
    """Takes the samples of one output.

    in_order: whether `take` needs what `prepare` gave, so that blocks wait in memory until it is their turn.
    """

    in_order: bool

    def prepare(self, start: int, rows: NDArray[Any]) -> Any:
        """Do what can be done with the samples from `start` on in the thread that made them, in any order.

        rows: (S, columns) of the output's dtype; they are not held on to. Returns what `take` is to be given.
        """

    def take(self, prepared: Any) -> None:
        """Take what was prepared, in order of the samples."""

    def finish(self) -> None:
        """Write what only all samples together tell. Of several outputs none gets its name before all are finished."""


@dataclass(frozen=True)
class _MetaFile:
    """The meta of a SpikeGLX binary but for its SHA1, and under which temporary name it goes to which path."""

    values: Mapping[str, str]
    part: Path
    path: Path

    def write(self, sha1: str) -> None:
        try:
            with self.part.open("wb") as file:
                file.write(format_meta(with_sha1(self.values, sha1)))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise write_error(self.path, error) from error


class Writer(Protocol):
    """What samples in their place of a binary are given to."""

    def write(self, start: int, rows: NDArray[Any]) -> None: ...


class _Nowhere:
    """Writes nothing."""

    def write(self, start: int, rows: NDArray[Any]) -> None: ...


class _Plain:
    """Rows are written by the thread that made them; in order they are only hashed, where a meta wants that."""

    def __init__(self, writer: Writer, meta: _MetaFile | None, *, hashed: bool) -> None:
        self.in_order = hashed
        self._writer, self._meta, self._digest = writer, meta, hashlib.sha1(usedforsecurity=False)

    def prepare(self, start: int, rows: NDArray[Any]) -> NDArray[Any]:
        self._writer.write(start, rows)
        return (rows if self.in_order else rows[:0]).copy()

    def take(self, prepared: NDArray[Any]) -> None:
        self._digest.update(prepared.reshape(-1).view(np.uint8).data)

    def finish(self) -> None:
        if self._meta is not None:
            self._meta.write(self._digest.hexdigest())


class _Compressed:
    """Rows are compressed by the thread that made them and written in order."""

    in_order = True

    def __init__(self, writer: CompressedWriter, meta: _MetaFile | None) -> None:
        self._writer, self._meta = writer, meta

    def prepare(self, start: int, rows: NDArray[Any]) -> tuple[bytes, NDArray[Any]]:
        return compress(rows), rows.copy()

    def take(self, prepared: tuple[bytes, NDArray[Any]]) -> None:
        compressed, rows = prepared
        self._writer.append(rows, compressed)

    def finish(self) -> None:
        self._writer.finish()
        if self._meta is not None:
            self._meta.write(self._writer.sha1)


def allow_open_files(num_outputs: int) -> None:
    """Let so many outputs be open at once: a run of hundreds of trials has hundreds of files."""
    wanted = 3 * num_outputs + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def sink_to_nowhere(*, hashed: bool) -> Sink:
    """Does all that the sink of a plain binary does, but writes nothing: to see how long a correction takes."""
    return _Plain(_Nowhere(), None, hashed=hashed)


@contextmanager
def sink_of(output: Output, dtype: np.dtype[Any], num_columns: int, meta: Mapping[str, str] | None) -> Iterator[Sink]:
    """The sink of an output. meta: that of a SpikeGLX binary but for its SHA1.

    Binary and meta are whole on the disk before the binary gets its name and, right after it, the meta gets its own.
    """
    num_samples, rate_hz = output.recording.num_samples, output.recording.sampling_frequency_hz
    with ExitStack() as stack:
        file = None
        if output.meta is not None and meta is not None:
            file = _MetaFile(meta, stack.enter_context(atomic(output.meta)), output.meta)
        if output.header is None:
            writer = BinaryWriter(output.binary, dtype, num_columns, num_samples)
            yield _Plain(stack.enter_context(writer), file, hashed=file is not None)
        else:
            compressed = CompressedWriter(output.binary, dtype, num_columns, num_samples, rate_hz)
            yield _Compressed(stack.enter_context(compressed), file)
