"""Reading files that others made: never more than such a file can honestly hold, and nothing that they say is run."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any


def read_bytes(path: Path, most_bytes: int) -> bytes:
    """What a file holds. Raises OSError where it can't be read or holds more than `most_bytes`.

    The size is not asked for first: a pipe has none, and a device no end.
    """
    try:
        with path.open("rb") as file:
            content = file.read(most_bytes + 1)
    except ValueError as error:  # a NUL in the path
        raise OSError(errno.EINVAL, str(error)) from None
    if len(content) > most_bytes:
        raise OSError(errno.EFBIG, f"it is longer than {most_bytes:,} bytes, which no such file is")
    return content


def parse_json(text: str | bytes) -> Any:
    """What JSON says. Raises ValueError for anything else, and where it is nested too deeply."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def whole_number(value: Any) -> int | None:
    """The whole number that a value of JSON or of a probe file is, None if it is none: true and "1" are not."""
    if type(value) is float and value.is_integer():
        return int(value)
    return value if type(value) is int else None
