"""What the bytes of a raw file look like: warnings where they don't look like what the user says they are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftcli.recording.recording import Recording

_WINDOW_BYTES = 1 << 16
_FEWEST_WORDS = 64
_FLOAT32_RANGE = (1e-12, 1e7)  # from volts of quiet noise to large counts
_CERTAINLY_NO_SIGNAL = (1e-15, 1e15)
_VOLTS_BELOW, _MILLIVOLTS_BELOW = 1e-3, 0.3  # median size; even quiet noise in µV is more
_QUIET_NANS = (0x7FC00000, 0xFFC00000)


def oddities(recording: Recording) -> list[str]:
    """Sentences on bytes that look like the other dtype, and on float values that look like volts or millivolts.

    Looks at 64 kB at the start, in the middle and at the end; the same file gives the same answer.
    """
    name = recording.path.name
    words = _sampled_words(recording)
    if recording.dtype.itemsize == 2:
        seen = _looks_like_float32(words)
        return [f"{name}: read as int16, but {seen}; if so, give --dtype float32"] if seen else []
    seen = _looks_like_int16(words)
    if seen:
        return [f"{name}: read as float32, but {seen}; if so, give --dtype int16"]
    seen = _looks_like_volts(words, 1.0 if recording.gain_to_uv is None else float(recording.gain_to_uv[0]))
    return [f"{name}: {seen}"] if seen else []


def _sampled_words(recording: Recording) -> NDArray[np.uint32]:
    """4-byte words of the file, counted from its first sample, that are not zero."""
    frames = max(2, _WINDOW_BYTES // (recording.num_columns * recording.dtype.itemsize))
    last = max(0, recording.num_samples - frames)
    starts = sorted({start - start % 2 for start in (0, last // 2, last)})  # even: a whole number of words, always
    windows = [recording.read(start, min(start + frames, recording.num_samples)).tobytes() for start in starts]
    words = np.concatenate([np.frombuffer(window[: len(window) // 4 * 4], "<u4") for window in windows])
    return words[words != 0]


def _looks_like_float32(words: NDArray[np.uint32]) -> str:
    """What is seen when int16 pairs are floats: nearly all of an ordinary size, which small counts never are.

    Counts near 0 are NaN (negative) or below 1e-30 (positive) as the upper half of a float. Counts on an offset of
    some 16000 can be of an ordinary size, but then the lower halves, too, look like upper halves; those of floats
    are evenly spread or zero.
    """
    if len(words) < _FEWEST_WORDS:
        return ""
    magnitude = _magnitude(words)
    ordinary = _share_within(magnitude, _FLOAT32_RANGE)
    lower_halves = _share_within(_magnitude(words << np.uint32(16)), _FLOAT32_RANGE)
    if ordinary < 0.99 or lower_halves > 0.75:
        return ""
    return (
        f"its bytes look like float32: {100 * ordinary:.1f} % of its 4-byte words are ordinary floats, "
        f"with a median size of {np.median(magnitude):.2g}"
    )


def _looks_like_int16(words: NDArray[np.uint32]) -> str:
    """What is seen when floats are int16 pairs: most are NaN, infinite, or of a size that no signal has."""
    words = words[~np.isin(words, _QUIET_NANS)]  # these are what programs write for a missing value
    if len(words) < _FEWEST_WORDS:
        return ""
    absurd = 1 - _share_within(_magnitude(words), _CERTAINLY_NO_SIGNAL)
    if absurd <= 0.5:
        return ""
    counts = np.abs(words.view("<i2").astype(np.int32))
    return (
        f"its bytes look like int16: {100 * absurd:.1f} % of the values are NaN, infinite or beyond 1e±15, "
        f"as int16 they have a median size of {np.median(counts):.0f}"
    )


def _looks_like_volts(words: NDArray[np.uint32], gain_to_uv: float) -> str:
    magnitude = _magnitude(words)
    magnitude = magnitude[np.isfinite(magnitude)] * gain_to_uv
    median = float(np.median(magnitude)) if len(magnitude) >= _FEWEST_WORDS else np.inf
    if median >= _MILLIVOLTS_BELOW:
        return ""
    unit, gain = ("volts", "1e6") if median < _VOLTS_BELOW else ("millivolts", "1e3")
    return f"its values look like {unit}: their median size is {median:.2g}; if so, give --gain-to-uv {gain}"


def _magnitude(words: NDArray[np.uint32]) -> NDArray[Any]:
    with np.errstate(invalid="ignore"):
        return np.abs(words.view("<f4").astype(np.float64))


def _share_within(magnitude: NDArray[Any], limits: tuple[float, float]) -> float:
    return float(np.mean((magnitude > limits[0]) & (magnitude < limits[1])))
