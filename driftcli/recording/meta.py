"""The text of a SpikeGLX meta file: keys and values, one a line, tables of channels last and marked by a `~`.

Source: https://billkarsh.github.io/SpikeGLX, its metadata pages.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from driftcli.errors import InputError

_BYTE_ORDER_MARK = "\ufeff"


@dataclass(frozen=True)
class Meta:
    """A meta file: `values` by key as in the file, tables with their `~`, in the file's order."""

    path: Path
    values: dict[str, str]

    def text(self, key: str) -> str:
        """The value of `key`. Raises InputError naming the key when it is missing."""
        if key not in self.values:
            raise InputError(f"{self.path.name} has no {key}", "take the meta file that SpikeGLX wrote")
        return self.values[key]

    def number(self, key: str) -> float:
        """The value of `key` as a finite number above 0."""
        try:
            value = float(self.text(key))
        except ValueError:
            value = float("nan")
        if not 0 < value < float("inf"):
            raise InputError(f"{self.path.name} has {key}={self.values[key]}, which is not a number above 0")
        return value

    @property
    def probe_type(self) -> int:
        """The number of the probe's type, 0 for Neuropixels 1.0; phase 3A, which has none, counts as 0."""
        text = self.values.get("imDatPrb_type", "0")
        return int(text) if text.isdecimal() else -1


def parse_meta(content: bytes) -> dict[str, str]:
    """Keys and values of a meta file, in order. Values may hold `=`; lines may end as on Windows."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    lines = re.split(r"\r\n|\r|\n", text.replace(_BYTE_ORDER_MARK, ""))
    pairs = (line.partition("=") for line in lines)
    return {key.strip(): value.strip() for key, equals, value in pairs if equals}


def format_meta(values: Mapping[str, str]) -> bytes:
    """What `parse_meta` reads as these values, in UTF-8."""
    return "".join(f"{key}={value}\n" for key, value in values.items()).encode("utf-8")


def one_value(text: str) -> str:
    """`text` as a value that every reader takes whole: without `=` and line ends, which become %3D and the like.

    Some readers split lines at every `=` and skip those with more than one; some split at any of Unicode's line ends.
    """
    return re.sub(r"=|[^\S ]|[\x00-\x1f\x7f-\x9f]", lambda found: f"%{ord(found[0]):02X}", text)
