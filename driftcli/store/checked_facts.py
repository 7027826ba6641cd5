"""Whether facts that a file carries can be those of a recording: numbers within their ranges, arrays that fit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftcli.model import CONTACT_LABELS, LARGEST_PLACE_UM, LARGEST_RATE_HZ, MOST_COLUMNS, RecordingFacts

_DTYPES = ("int16", "float32")
MOST_SAMPLES = 1 << 53  # up to which a float64 counts them; a decade at 30 MHz


def sound(facts: RecordingFacts) -> RecordingFacts:
    """The facts themselves. Raises ValueError for those of no recording."""
    contacts = len(facts.columns) if facts.columns.ndim == 1 else -1
    shapes = facts.geometry.positions_um.shape, facts.geometry.shanks.shape
    if not 0 < contacts <= MOST_COLUMNS or shapes != ((contacts, 2), (contacts,)):
        raise ValueError("the positions, shanks and columns of its contacts are not of one length")
    _require(0 < facts.sampling_frequency_hz <= LARGEST_RATE_HZ, "sampling frequency")
    _require(0 <= facts.num_samples <= MOST_SAMPLES, "number of samples")
    _require(0 < facts.num_columns <= MOST_COLUMNS, "number of columns")
    _require(facts.dtype in _DTYPES, "dtype")
    _require(0 <= facts.offset_bytes <= MOST_SAMPLES and 0 <= facts.origin <= MOST_SAMPLES, "offset or origin")
    _require(_within(facts.geometry.positions_um, -LARGEST_PLACE_UM, LARGEST_PLACE_UM), "contact positions")
    _require(_within(facts.geometry.shanks, 0, MOST_COLUMNS), "shanks")
    _require(_within(facts.columns, 0, facts.num_columns - 1), "columns")
    _require(len(np.unique(facts.columns)) == contacts, "columns")
    gains, labels = facts.gain_to_uv, facts.labels
    if gains is not None:
        _require(gains.shape == (contacts,) and _within(gains, np.finfo(float).tiny, np.finfo(float).max), "gains")
    _require(labels is None or labels.shape == (contacts,), "labels")
    inside = _within(facts.breaks, 0, facts.num_samples) and bool((np.diff(facts.breaks) > 0).all())
    _require(facts.breaks.ndim == 1 and inside, "breaks")
    _require(facts.files.ndim == 2 and facts.files.shape[1] == 2 and _within(facts.files, -1, MOST_SAMPLES), "files")
    return facts


def as_labels(values: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Numbers as labels of contacts. Raises ValueError for those that are none."""
    _require(_within(values, 0, len(CONTACT_LABELS) - 1), "labels")
    return values.astype(np.uint8)


def whole(value: Any) -> int:
    """A number of an array without dimensions as a whole one. Raises ValueError where it isn't."""
    number = np.asarray(value)
    if number.shape != () or number.dtype.kind not in "iu":
        raise ValueError(f"{str(value)[:50]} is no whole number")
    return int(number)


def real(value: Any) -> float:
    """A number of an array without dimensions, which is finite. Raises ValueError where it isn't."""
    number = np.asarray(value)
    if number.shape != () or number.dtype.kind not in "iuf" or not math.isfinite(number):
        raise ValueError(f"{str(value)[:50]} is no finite number")
    return float(number)


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(f"its {what} can't be that of a recording")


def _within(values: NDArray[Any], lowest: float, highest: float) -> bool:
    return bool(((values >= lowest) & (values <= highest)).all())  # false for a NaN, too
