"""Whether HDF5 can walk through the heaps of a file, where texts of any length lie.

HDF5 (2.0.0 and before) walks through a global heap object by object, by the sizes that these state, and goes round for
ever where free space states a size of 0, or an object one that overflows. Nothing can stop it then, so the heaps are
looked at first. They are found by their signature, wherever they are.

Source: HDF5 File Format Specification 3.0, III.E, "Global Heap".
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_SIGNATURE = b"GCOL\x01"
_HEADER = 16  # of a heap, and of an object in it
_ALIGNED = 8
_PIECE_BYTES = 1 << 18  # read, not mapped: a file that is cut off meanwhile would take the process with it


def require_sound_heaps(path: Path) -> None:
    """Raise ValueError where a heap of a file with lengths of 8 bytes can't be walked through. Raises OSError."""
    with path.open("rb") as file:
        descriptor = file.fileno()
        size_bytes = os.fstat(descriptor).st_size
        steps = size_bytes // _ALIGNED  # twice as many as objects fit in: of heaps in heaps there may be more
        for start in _starts(descriptor, size_bytes):
            steps -= _steps_to_end(descriptor, start, size_bytes, steps)


def _starts(descriptor: int, size_bytes: int) -> Iterator[int]:
    """Where signatures are; a piece overlaps the next one by what of a signature may lie in it."""
    for place in range(0, size_bytes, _PIECE_BYTES):
        piece = os.pread(descriptor, min(_PIECE_BYTES + len(_SIGNATURE) - 1, size_bytes - place), place)
        found = piece.find(_SIGNATURE)
        while found >= 0:
            yield place + found
            found = piece.find(_SIGNATURE, found + 1)


def _steps_to_end(descriptor: int, start: int, size_bytes: int, most: int) -> int:
    """How many objects lie in a heap."""
    stop = start + _length(os.pread(descriptor, _HEADER, start))
    place = start + _HEADER
    steps = 0
    if not place <= stop <= size_bytes:
        return steps  # which HDF5 sees itself
    while place + _HEADER <= stop:
        header = os.pread(descriptor, _HEADER, place)
        index, size = int.from_bytes(header[:2], "little"), _length(header)
        room = size if index == 0 else _HEADER + -(-size // _ALIGNED) * _ALIGNED
        steps += 1
        if not 0 < room <= stop - place or steps > most:
            raise ValueError("one of its heaps does not end")
        place += room
    return steps


def _length(header: bytes) -> int:
    return int.from_bytes(header[8:], "little")
