"""The formats that recordings come in, as `open_recording` takes them and the README lists them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from driftcli.recording.mtscomp import HEADER_SUFFIX, SUFFIX


class Format(NamedTuple):
    """samples: what the file with the samples, which is the one to give, is called where the recording is X.

    beside: endings of the files that describe it and must be there.
    """

    name: str
    samples: str
    beside: tuple[str, ...]


FORMATS = (
    Format("raw", "X.bin", ()),
    Format("raw, compressed by mtscomp", f"X{SUFFIX}", (HEADER_SUFFIX,)),
    Format("SpikeGLX", "X.ap.bin", (".meta",)),
    Format("SpikeGLX, compressed by mtscomp", f"X.ap{SUFFIX}", (HEADER_SUFFIX, ".meta")),
)


def in_words() -> str:
    """`X.bin (raw), X.cbin (raw, compressed by mtscomp), ...`, to tell the user what can be given."""
    return ", ".join(f"{each.samples} ({each.name})" for each in FORMATS)


def described_by(path: Path) -> Path | None:
    """The file with the samples that a file such as `X.meta` or `X.ch` describes; None if it is no such file.

    Where several could be meant, one that is there.
    """
    suffixes = [Path(each.samples).suffix for each in FORMATS if path.suffix in each.beside]
    candidates = [path.with_suffix(suffix) for suffix in suffixes]
    return next((each for each in candidates if each.is_file()), candidates[0] if candidates else None)
