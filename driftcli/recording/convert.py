"""Samples of a file to traces and back.

Traces are C-contiguous float32 (samples, contacts): file values times the gain. The way back divides by the gain;
for int16 it multiplies by the inverse of it, rounds half to even and clips.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from driftcli.errors import InputError

_LONG_RUN = 8  # contacts on columns next to each other, on average, that are worth a loop of their own
_LARGEST = np.finfo(np.float32).max


def to_traces(
    samples: NDArray[Any],
    columns: NDArray[np.int64],
    gain_to_uv: NDArray[np.float64] | None,
    pad_before: int = 0,
    pad_after: int = 0,
    first_sample: int = 0,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Traces of the contacts on `columns` (C,): (pad_before + S + pad_after, C) float32.

    samples: (S, num_columns) int16 or float32, S > 0, the first of them sample `first_sample` of the recording.
    Padding continues the traces beyond the ends of a recording by odd reflection, 2 x[0] - x[k], so that a filter
    sees neither a step nor a kink; a recording shorter than the padding repeats its last reflected value.
    out: an array of that shape to fill and return.
    Raises InputError naming sample and channel of a NaN or an infinity.
    """
    num_samples = len(samples)
    traces = np.empty((pad_before + num_samples + pad_after, len(columns)), np.float32) if out is None else out
    inside = traces[pad_before : pad_before + num_samples]
    firsts = _firsts_of_runs(columns)
    if len(firsts) * _LONG_RUN <= len(columns):  # as most probes are wired: no gathering
        _scale_runs(samples, columns[firsts], firsts, _float32_gain(gain_to_uv, len(columns)), inside)
    else:
        _gather_and_scale(samples, columns, _float32_gain(gain_to_uv, len(columns)), inside)
    if samples.dtype.kind == "f":
        _require_finite(inside, samples, columns, first_sample)
    _reflect(inside, traces[:pad_before][::-1])
    _reflect(inside[::-1], traces[pad_before + num_samples :])
    return traces


def from_traces(
    traces: NDArray[np.float32],
    columns_out: NDArray[np.int64],
    gain_to_uv: NDArray[np.float64] | None,
    out: NDArray[Any],
) -> int:
    """Fill columns `columns_out` (K,) of `out` (S, num_out), int16 or float32, with `traces` (S, K) in file units.

    Returns how many values did not fit into int16 and were clipped. A NaN counts as one, and becomes -32768.
    """
    unscale = _unscale_to_int16 if out.dtype == np.int16 else _unscale_to_float32
    gain = _float32_gain(gain_to_uv, len(columns_out))
    return int(unscale(traces, columns_out, _in_a_row(columns_out), gain, out))


def _firsts_of_runs(columns: NDArray[np.int64]) -> NDArray[np.int64]:
    """The contacts that aren't on the column next to that of the contact before."""
    return np.flatnonzero(np.diff(columns, prepend=-2) != 1)


def _in_a_row(columns: NDArray[np.int64]) -> bool:
    return len(columns) > 0 and bool((np.diff(columns) == 1).all())


def _float32_gain(gain_to_uv: NDArray[np.float64] | None, num_contacts: int) -> NDArray[np.float32]:
    return np.ones(num_contacts, np.float32) if gain_to_uv is None else gain_to_uv.astype(np.float32)


def _require_finite(
    traces: NDArray[np.float32], samples: NDArray[Any], columns: NDArray[np.int64], first_sample: int
) -> None:
    row = _first_row_not_finite(traces)
    if row < 0:
        return
    column = columns[np.flatnonzero(~np.isfinite(traces[row]))[0]]
    raise InputError(
        f"the recording holds {samples[row, column]} at sample {first_sample + row}, channel {column}",
        "replace NaN and infinity in the file, or check --dtype, --num-channels and --offset-bytes",
    )


def _reflect(inwards: NDArray[np.float32], outwards: NDArray[np.float32]) -> None:
    """Fill `outwards` with the odd reflection of `inwards` about its row 0."""
    rows = np.minimum(np.arange(1, len(outwards) + 1), len(inwards) - 1)
    outwards[:] = 2 * inwards[0] - inwards[rows]


# The kernels take a row first and index it from 0, and divide as numpy does (dividing by zero raises nothing): without
# one or the other the compiler finds no vector instructions for them, and they are three to five times slower.


@numba.njit(nogil=True, cache=True)
def _scale_runs(samples: Any, first_columns: Any, firsts: Any, gain: Any, traces: Any) -> None:
    for s in range(traces.shape[0]):
        for run in range(len(firsts)):
            first = firsts[run]
            last = firsts[run + 1] if run + 1 < len(firsts) else traces.shape[1]
            row = samples[s, first_columns[run] : first_columns[run] + last - first]
            of_run, scale = traces[s, first:last], gain[first:last]
            for c in range(len(row)):
                of_run[c] = np.float32(row[c]) * scale[c]


@numba.njit(nogil=True, cache=True)
def _gather_and_scale(samples: Any, columns: Any, gain: Any, traces: Any) -> None:
    for s in range(traces.shape[0]):
        for c in range(traces.shape[1]):
            traces[s, c] = np.float32(samples[s, columns[c]]) * gain[c]


@numba.njit(nogil=True, cache=True)
def _first_row_not_finite(traces: Any) -> int:
    for s in range(traces.shape[0]):
        wrong = np.int32(0)
        for c in range(traces.shape[1]):
            wrong += np.int32(not abs(traces[s, c]) <= _LARGEST)  # a NaN is not at most anything
        if wrong:
            return s
    return -1


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _unscale_to_int16(traces: Any, columns: Any, in_a_row: bool, gain: Any, out: Any) -> int:
    clipped = 0
    row = np.empty(traces.shape[1], np.int16)
    scale = np.float32(1) / gain  # a product is rounded as well as a quotient is: counts come back as they were
    for s in range(traces.shape[0]):
        clipped_here = np.int32(0)
        for k in range(traces.shape[1]):
            value = np.rint(traces[s, k] * scale[k])
            within = value if value > np.float32(-32768) else np.float32(-32768)
            within = within if within < np.float32(32767) else np.float32(32767)
            clipped_here += np.int32(within != value)
            row[k] = np.int16(np.int32(within))
        _put(row, columns, in_a_row, out, s)
        clipped += clipped_here
    return clipped


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _unscale_to_float32(traces: Any, columns: Any, in_a_row: bool, gain: Any, out: Any) -> int:
    row = np.empty(traces.shape[1], np.float32)
    for s in range(traces.shape[0]):
        for k in range(traces.shape[1]):
            row[k] = traces[s, k] / gain[k]
        _put(row, columns, in_a_row, out, s)
    return 0


@numba.njit(nogil=True, cache=True)
def _put(row: Any, columns: Any, in_a_row: bool, out: Any, s: int) -> None:
    if in_a_row:
        place = out[s, columns[0] : columns[0] + len(row)]
        for k in range(len(row)):
            place[k] = row[k]
    else:
        for k in range(len(row)):
            out[s, columns[k]] = row[k]
