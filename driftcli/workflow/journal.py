"""The journal of a piece of work: which blocks were begun, which are whole, and where that is what they gave.

A thread writes a line before it works on a block and another one when all that the block gave is in its place. Lines
are only ever added, each with a checksum of its own: one that a kill or a crash cut off tells nothing. What the lines
tell is where data are and what their checksums are, never that the disk has them: who goes on from a journal looks.
"""

from __future__ import annotations

import json
import os
import threading
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from driftcli.files import write_error

Entry = dict[str, Any]


class Journal:
    """What is known of the blocks, by the sample that each begins with. Any number of threads may write to it.

    entries: what was recorded of the blocks that are whole. begun: how many times work on a block began, by all
    processes so far. kept: how many blocks of an earlier process were found to be whole.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        self.entries, self.begun = read_journal(path)
        self.kept = 0
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
            self._descriptor = os.open(path, flags, 0o666)
            size = os.fstat(self._descriptor).st_size
            if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
                self._append(b"\n")  # the line that was cut off ends here
        except OSError as error:
            raise write_error(path, error) from error

    @property
    def redone(self) -> int:
        """How many times a block was begun in vain."""
        return self.begun - len(self.entries)

    def keep(self) -> None:
        """A block that is known is still there."""
        with self._lock:
            self.kept += 1

    def begin(self, start: int) -> None:
        """Work on a block begins."""
        self._write({"begin": start})
        with self._lock:
            self.begun += 1
            self.entries.pop(start, None)

    def record(self, start: int, entry: Entry) -> None:
        """All that a block gave is in its place; entry: what it takes to find it again, in plain data."""
        self._write({"whole": start, **entry})
        with self._lock:
            self.entries[start] = entry

    def close(self) -> None:
        """Let go of the file, which stays."""
        descriptor, self._descriptor = self._descriptor, -1
        with suppress(OSError):
            os.close(descriptor)

    def _write(self, line: dict[str, Any]) -> None:
        text = json.dumps(line, separators=(",", ":")).encode()
        try:
            self._append(b"%08x %b\n" % (zlib.crc32(text), text))
        except OSError as error:
            raise write_error(self._path, error) from error

    def _append(self, data: bytes) -> None:
        with self._lock:  # a line that the disk takes in two parts must not get another one between them
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]


def read_journal(path: Path) -> tuple[dict[int, Entry], int]:
    """The entries of a journal, which need not exist, and how many times a block was begun."""
    entries: dict[int, Entry] = {}
    begun = 0
    for line in _whole_lines(path):
        if "begin" in line:
            begun += 1
            entries.pop(line["begin"], None)
        else:
            entries[line.pop("whole")] = line
    return entries, begun


def _whole_lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        checksum, _, text = line.partition(b" ")
        if checksum == b"%08x" % zlib.crc32(text):
            yield json.loads(text)


def count_blocks(journal: Journal) -> dict[str, int]:
    """For `run.json`: how many blocks there are, how many an earlier process did, and how often one was begun in
    vain."""
    return {"total": len(journal.entries), "kept": journal.kept, "redone": journal.redone}
