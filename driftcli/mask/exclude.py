"""Times that the user excludes, as text or as a table."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from driftcli.bounded import read_bytes
from driftcli.errors import DriftcliError, InputError, UsageError
from driftcli.mask import spans
from driftcli.model import Mask

_NUMBER = r"(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_SPAN = re.compile(rf"([+-]?{_NUMBER})\s*-\s*([+-]?{_NUMBER})?")
_NOT_IN_SPANS = re.compile(r"[^\d\s.,eE+-]")
_TABLE_HINT = "one span per line: start, stop in seconds, such as 12.5, 14"
_TEXT_HINT = "spans in seconds, such as 12.5-14,300-310, 300- until the end; or the path of a file with a span per line"
_MOST_BYTES = 1 << 24  # of a table of times: half a million of them
_LONGEST_PATH = 4096
_SLIGHT = 1e-3  # of a sample: what rates that were measured leave of a whole number of samples


def read_excluded(text: str) -> NDArray[np.float64]:
    """(M, 2) start and stop in seconds of the spans that a text or the file that it names lists, as ordered there.

    A text holds spans such as `12.5-14,300-310`; without its stop, as in `300-`, a span lasts until the end (infinity).
    A file has a span per line: start and stop, separated by comma, semicolon, tab or blanks (beside semicolons and
    tabs, decimal commas are read too), or a span as in the text. It may have a header, empty lines and `#` comments.

    Raises UsageError for a text and InputError for a file, naming the span or the line.
    """
    if _NOT_IN_SPANS.search(text) or (not _reads_as_spans(text) and os.path.isfile(text)):
        if len(text) > _LONGEST_PATH:
            raise UsageError(f"{text[:100]!r} and so on lists no times and names no file", _TEXT_HINT)
        return _read_table(Path(text))
    pieces = [piece.strip() for piece in text.split(",")]
    if not any(pieces):
        raise UsageError("no span to exclude is given", _TEXT_HINT)
    return np.array([_span_in_text(piece) for piece in pieces])


def excluded_mask(spans_s: NDArray[np.float64], sampling_frequency_hz: float, num_samples: int) -> Mask:
    """The Mask of spans (M, 2) in seconds: all samples that they touch; what is beyond the end is cut off.

    Raises UsageError for a span that begins after the end of the recording.
    """
    samples = []
    for start_s, stop_s in spans_s.tolist():
        start = start_s * sampling_frequency_hz + _SLIGHT
        if start >= num_samples:
            raise UsageError(
                f"the span to exclude from {start_s:g} s on begins after the end of the recording "
                f"({num_samples / sampling_frequency_hz:g} s)",
                "times are in seconds from the start of the recording",
            )
        stop = min(stop_s * sampling_frequency_hz, num_samples)
        samples.append((math.floor(start), max(math.ceil(stop - _SLIGHT), math.floor(start) + 1)))
    return spans.mask_from({"excluded": spans.joined(samples)})


def mask_of_text(text: str | None, sampling_frequency_hz: float, num_samples: int) -> Mask:
    """The Mask of what `--exclude-times` was given; an empty one where it wasn't."""
    return Mask() if text is None else excluded_mask(read_excluded(text), sampling_frequency_hz, num_samples)


def _reads_as_spans(text: str) -> bool:
    return all(_SPAN.fullmatch(piece.strip()) for piece in text.split(","))


def _span_in_text(piece: str) -> tuple[float, float]:
    match = _SPAN.fullmatch(piece)
    if not match:
        raise UsageError(f"{piece[:100]!r} is no span of time to exclude", _TEXT_HINT)
    start_s, stop_s = float(match[1]), math.inf if match[2] is None else float(match[2])
    return _checked(start_s, stop_s, f"the span to exclude {piece[:100]!r}", UsageError)


def _read_table(path: Path) -> NDArray[np.float64]:
    try:
        text = read_bytes(path, _MOST_BYTES).decode("utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path}, which should list times to exclude, does not exist", _TEXT_HINT) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}, which should list times to exclude, can't be read: {reason}", _TABLE_HINT) from None
    lines = [(number, line.partition("#")[0].strip()) for number, line in enumerate(text.splitlines(), 1)]
    lines = [(number, line) for number, line in lines if line]
    if lines and not re.search(r"\d", lines[0][1]):
        del lines[0]  # the header
    if not lines:
        raise InputError(f"{path} lists no times to exclude", _TABLE_HINT)
    return np.array([_span_in_line(line, f"{path}, line {number}") for number, line in lines])


def _span_in_line(line: str, where: str) -> tuple[float, float]:
    match = _SPAN.fullmatch(line)
    if match:
        cells = [match[1], match[2] or "inf"]
    elif ";" in line or "\t" in line:
        cells = [cell.strip().replace(",", ".") for cell in re.split(r"[;\t]", line)]
    else:
        cells = re.split(r"\s*,\s*|\s+", line)
    if len(cells) != 2 or not all(re.fullmatch(rf"[+-]?{_NUMBER}|inf", cell) for cell in cells):
        raise InputError(f"{where}: {line[:100]!r} is no span of time", _TABLE_HINT)
    return _checked(float(cells[0]), float(cells[1]), f"{where}: the span {line[:100]!r}", InputError)


def _checked(start_s: float, stop_s: float, what: str, error: type[DriftcliError]) -> tuple[float, float]:
    if start_s < 0 or stop_s < 0:
        raise error(f"{what} is before the start of the recording", "times are in seconds from its start")
    if not start_s < stop_s:
        raise error(f"{what} ends before it has begun", "first the start, then the stop, in seconds")
    return start_s, stop_s
