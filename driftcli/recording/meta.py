"""The text of a SpikeGLX meta file: keys and values, one a line, tables of channels last and marked by a `~`.

Source: https://billkarsh.github.io/SpikeGLX, its metadata pages.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from driftcli.bounded import read_bytes
from driftcli.errors import InputError

META_AS_IT_WAS = "take the meta file that SpikeGLX wrote"
_MOST_BYTES = 1 << 22  # forty times that of a probe with 1536 channels
_BYTE_ORDER_MARK = "\ufeff"
_WHOLE_NUMBER = re.compile(r"\s*[0-9]{1,15}\s*")
_MOST_SHOWN = 200
_EARLY_PARTS = {"PRB_1_": 0, "PRB2_1_": 21, "PRB2_4_": 24}
_PARTS_OF_TYPES = {0: "NP1000", 21: "NP2000", 24: "NP2010"}

# Also a blank at either end, which is not read, and the surrogates that stand for bytes in a path that aren't UTF-8.
_NOT_FOR_EVERY_READER = re.compile(r"[=%\ufeff\udc80-\udcff\x00-\x1f\x7f-\x9f]|[^\S ]|\A | \Z")


@dataclass(frozen=True)
class Meta:
    """A meta file: `values` by key as in the file, tables with their `~`, in the file's order."""

    path: Path
    values: dict[str, str]

    def text(self, key: str) -> str:
        """The value of `key`. Raises InputError naming the key when it is missing."""
        if key not in self.values:
            raise InputError(f"{self.path.name} has no {key}", META_AS_IT_WAS)
        return self.values[key]

    def shown(self, key: str) -> str:
        """The value of `key` as part of a line that is told to people; "unknown" where it is missing."""
        return shown(self.values.get(key, "unknown"))

    def number(self, key: str) -> float:
        """The value of `key` as a finite number above 0."""
        try:
            value = float(self.text(key))
        except ValueError:
            value = float("nan")
        if not 0 < value < float("inf"):
            raise InputError(
                f"{self.path.name} has {key}={self.shown(key)}, which is not a number above 0", META_AS_IT_WAS
            )
        return value

    def integers(self, key: str) -> list[int]:
        """The value of `key` as whole numbers, 0 or more, between commas."""
        found = [_WHOLE_NUMBER.fullmatch(each) for each in self.text(key).split(",")]
        numbers = [int(each[0]) for each in found if each]
        if len(numbers) < len(found):
            raise InputError(
                f"{self.path.name} has {key}={self.shown(key)}, which are not whole numbers", META_AS_IT_WAS
            )
        return numbers

    def integer(self, key: str) -> int:
        """The value of `key` as one whole number, 0 or more."""
        first, *others = self.integers(key)
        if others:
            raise InputError(
                f"{self.path.name} has {key}={self.shown(key)}, which is not one whole number", META_AS_IT_WAS
            )
        return first

    def entries(self, key: str) -> tuple[str, list[str]]:
        """Header and entries of a table, without their parentheses."""
        header, *entries = re.findall(r"\(([^()]*)\)", self.text(key)) or [""]
        return header, entries

    @property
    def is_3a(self) -> bool:
        """Whether the probe is one of phase 3A, whose metas have no type, and an option in place of a part number."""
        if "imDatPrb_type" in self.values or "imDatPrb_pn" in self.values:
            return False
        return "imProbeOpt" in self.values or len(self._imro_header) == 3

    @property
    def probe_type(self) -> int:
        """The number of the probe's type, 0 for Neuropixels 1.0 and phase 3A; -1 where it can't be told.

        Where the meta doesn't have it, the part number or the imro table tells.
        """
        if "imDatPrb_type" in self.values:
            return _number(self.values["imDatPrb_type"])
        if self.is_3a:
            return 0
        if "imDatPrb_pn" in self.values:
            return self.number_of_part
        return _number(self._imro_header[0].removeprefix("NP"))

    @property
    def type_named(self) -> str:
        """The type as the meta has it, to be told to people."""
        if self.is_3a:
            return "3A"
        number = self.probe_type
        return shown(self.values.get("imDatPrb_type", str(number) if number >= 0 else "unknown"))

    @property
    def number_of_part(self) -> int:
        """The number in the part number, as in NP2013; -1 where there is none. Early parts have that of their type."""
        part = self.values.get("imDatPrb_pn", "")
        early = (number for start, number in _EARLY_PARTS.items() if part.startswith(start))
        return next(early, _number(part.removeprefix("NP")))

    @property
    def part(self) -> str:
        """The part number; one with the same sites where the meta doesn't have it."""
        number = self.probe_type
        return self.values.get("imDatPrb_pn", _PARTS_OF_TYPES.get(number, f"NP{number}"))

    @property
    def serial_number(self) -> str | None:
        """That of the probe; None where the meta doesn't have it."""
        return self.values.get("imDatPrb_sn", self.values.get("imProbeSN"))

    @property
    def _imro_header(self) -> list[str]:
        return self.entries("~imroTbl")[0].split(",") if "~imroTbl" in self.values else [""]


def shown(text: str) -> str:
    """`text` on one line and not too long to be read: it may be anything."""
    line = "".join(each if each.isprintable() else "?" for each in text[: _MOST_SHOWN + 1])
    return line if len(line) <= _MOST_SHOWN else f"{line[:_MOST_SHOWN]}..."


def _number(text: str) -> int:
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else -1


def read_meta(path: Path) -> Meta:
    """The meta in a file. Raises OSError where it can't be read or is too long for one."""
    return Meta(path, parse_meta(read_bytes(path, _MOST_BYTES)))


def parse_meta(content: bytes) -> dict[str, str]:
    """Keys and values of a meta file, in order. Values may hold `=`; lines may end as on Windows.

    A key that is there twice has its last value, as other readers have it.
    """
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
    """`text` as a value that every reader takes whole: without `=` and line ends, which become %3D and %0A.

    Some readers split lines at every `=` and skip those with more than one; some split at any of Unicode's line ends.
    `urllib.parse.unquote(value, errors="surrogateescape")` gives the text back: `%` becomes %25.
    """
    return _NOT_FOR_EVERY_READER.sub(lambda found: quote(found[0], errors="surrogateescape"), text)
