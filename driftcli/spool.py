"""Pieces of data on their way to an output, put on the disk in any order and by any thread.

Each piece comes with its place and its checksum. Whoever keeps those can take the pieces back, also after the process
that put them there was killed, and knows whether they are whole.
"""

from __future__ import annotations

import errno
import os
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from driftcli.errors import OutputError
from driftcli.files import CHECK_AND_RESUME, write_error


class Stored(NamedTuple):
    """Where in a spool a piece is, and its CRC-32 (that of zlib)."""

    offset: int
    size: int
    crc32: int


class Spool:
    """A file of pieces. It grows: what an earlier process put there stays. Raises OutputError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
            self._end = os.fstat(self._descriptor).st_size
        except OSError as error:
            raise write_error(path, error) from error

    def put(self, data: bytes) -> Stored:
        """Add a piece."""
        with self._lock:
            offset, self._end = self._end, self._end + len(data)
        rest, position = memoryview(data), offset
        try:
            while rest:
                written = os.pwrite(self._descriptor, rest, position)
                rest, position = rest[written:], position + written
        except OSError as error:
            raise write_error(self.path, error) from error
        return Stored(offset, len(data), zlib.crc32(data))

    def get(self, stored: Stored) -> bytes | None:
        """A piece; None where it is not what it was, or lies where the disk can't be read any more."""
        try:
            data = os.pread(self._descriptor, stored.size, stored.offset)
        except OSError as error:
            if error.errno == errno.EIO:
                return None
            raise OutputError(f"cannot read {self.path}: {error.strerror}", CHECK_AND_RESUME) from error
        return data if len(data) == stored.size and zlib.crc32(data) == stored.crc32 else None

    def close(self) -> None:
        """Let go of the file, which stays."""
        descriptor, self._descriptor = self._descriptor, -1
        with suppress(OSError):
            os.close(descriptor)


@contextmanager
def spool(path: Path) -> Iterator[Spool]:
    """A spool for as long as the block runs."""
    opened = Spool(path)
    try:
        yield opened
    finally:
        opened.close()
