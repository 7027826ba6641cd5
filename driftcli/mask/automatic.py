"""Finds spans that hold no signal of the brain: saturation, gaps and artifacts on most contacts.

Saturation: a share of the contacts is at the end of the converter's range at one sample. Share and nearness to the end
are those of the saturation routine of the International Brain Laboratory (ibl-neuropixel, `ibldsp.voltage.saturation`:
beyond 98 % of the range, on 20 % of the channels). Its second criterion, steep slopes, is an artifact here.

Gap: nearly all contacts run along a line. That is what a file holds where samples were lost and zeros, the last value
or a line to the next value stand instead. The second difference x[n - 1] - 2 x[n] + x[n + 1] of a line is 0, within ±1
once its values are rounded to counts; in float32 it is what rounding leaves. It is far from that in noise of a few
counts. Contacts with less noise must be exactly straight, and those with hardly any tell nothing.

Artifact: most contacts are far from 0 at one sample, as under licking, movement or stimulation. Looked for in
band-passed traces, before the common reference takes off what is common. On a small or dense probe spikes do that too:
a large unit reaches 8 contacts or more, spikes of two such units meet every minute, of three every few hours (units of
10 Hz). So a number of contacts is left to spikes, and a recording of no more contacts holds no artifacts. And a spike
falls off around its unit, while an artifact is much the same everywhere: what is below a quarter of the largest value
of a sample is not counted.

A sample is judged by itself and the samples next to it. `Watcher` lists the runs of flagged samples of a block,
`mask_of` makes spans of all of them: where blocks were cut doesn't matter. Silent contacts (noise level 0) are never
asked, as they would always be straight.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import DTypeLike, NDArray
from pydantic import Field

from driftcli import model
from driftcli.mask import spans
from driftcli.mask.spans import Spans
from driftcli.model import Mask

_NEAR_END = 0.98  # of the way from the middle of the range to its end: what is beyond counts as at the end
_EVEN = np.float32(1 / 4)  # of a sample's largest value: most contacts see that much of an artifact, few of a spike
_ROUNDED_NOISE = 2.0  # counts: with that much, plain noise passes for a rounded line for a few samples only
_LEAST_NOISE = 0.5  # counts: with less, most samples of plain noise are equal
_ROUNDING = 16 * np.finfo(np.float32).eps  # of float32 values on a line, computed with a few operations
_PART = 64  # contacts whose second differences are looked at before it is asked whether they suffice
_TILE_SAMPLES = 1_024  # of which the cache holds all columns while two things are looked for
_BITS = 1e-9  # 0.07 × 100 is a little more than 7


class Parameters(model.Parameters):
    """saturation_share: share of the contacts that must be at the end of the range.
    gap_share: share of the contacts that must run along a line.
    gap_ms: how long they must.
    artifact_contacts: number of contacts that large spikes at once may reach.
    artifact_share: share of the other contacts; more than both together must be beyond the threshold.
    artifact_threshold: distance from 0, in multiples of a contact's noise level (MAD).
    join_ms: spans of one reason with at most so much time between them become one.
    padding_ms: what is masked before and after each span, where the band-pass spreads it.
    """

    saturation_share: float = Field(default=0.2, gt=0, le=1)
    gap_share: float = Field(default=0.9, gt=0, le=1)
    gap_ms: float = Field(default=0.5, gt=0)
    artifact_contacts: int = Field(default=28, ge=0)
    artifact_share: float = Field(default=0.5, gt=0, lt=1)
    artifact_threshold: float = Field(default=5.0, gt=0)
    join_ms: float = Field(default=20.0, ge=0)
    padding_ms: float = Field(default=5.0, ge=0)


class _Far(NamedTuple):
    """Flags rows of N values of which at least `least` are farther from the middle than their limits.

    limits: (N,) float32, infinity for what is not asked.
    columns: of a row, so many first; fewer than `least` of those asked are behind them. 0: no row has enough values.
    """

    middle: np.float32
    limits: NDArray[np.float32]
    columns: int
    least: int


class _Straight(NamedTuple):
    """Flags rows of N values of which at most `bent` are off a line in time by more than their tolerance.

    tolerance: (N,) float32, infinity for what is not asked. rounding: tolerated too, a share of the value.
    """

    tolerance: NDArray[np.float32]
    rounding: np.float32
    bent: int


class Watcher:
    """Looks at blocks of a recording and lists the runs of samples that are saturated, in a gap or in an artifact."""

    def __init__(
        self,
        parameters: Parameters,
        columns: NDArray[np.int64],
        noise_levels: NDArray[np.float64],
        *,
        num_columns: int,
        dtype: DTypeLike,
        gain_to_uv: NDArray[np.float64] | None,
        full_scale: tuple[float, float] | None,
    ) -> None:
        """columns: (C,) of the file's `num_columns`, those that hold the usable contacts.
        noise_levels: (C,) of the contacts' band-passed traces before the reference.
        dtype: int16 or float32, of the file's values.
        gain_to_uv: (C,) trace per file value; None if traces are in file values.
        full_scale: file values that are the ends of the converter's range; None for all of int16 (float32: no end).
        """
        asked = np.isfinite(noise_levels) & (noise_levels > 0)
        noise = np.where(asked, noise_levels, 0.0)
        of_spikes = parameters.artifact_contacts
        others = max(0, int(asked.sum()) - of_spikes)
        more_than = of_spikes + math.floor(parameters.artifact_share * others + _BITS)
        heights = np.where(asked, noise * parameters.artifact_threshold, np.inf)
        self._artifact = _far(0.0, heights, more_than + 1)

        def by_column(values: NDArray[np.float64]) -> NDArray[np.float64]:
            spread = np.full(num_columns, np.inf)
            spread[columns] = values
            return spread

        whole = np.dtype(dtype).kind == "i"
        middle, limit = _range_limit(full_scale, whole)
        contacts = max(1, _at_least(parameters.saturation_share, asked.sum()))
        self._saturation = _far(middle, by_column(np.where(asked, limit, np.inf)), contacts)
        counts = noise / (1.0 if gain_to_uv is None else np.abs(gain_to_uv)) if whole else None
        self._line = _straight(by_column(_tolerance(noise, counts)), parameters.gap_share, whole)

    def watch(self, samples: NDArray[Any], first: int, traces: NDArray[np.float32], start: int) -> Mask:
        """Runs of flagged samples of a block; those in a gap are the samples in the middle of three on a line.

        samples: (R, num_columns) file values, C-contiguous. Row `first` is sample `start` of the recording; a row
        before the block and one after it must be there, except at the ends of the recording.
        traces: (S, C) float32, C-contiguous, of the block's samples: band-passed, not yet referenced.
        """
        saturated, straight, artifact = np.zeros((3, len(traces)), np.bool_)
        for low in range(0, len(traces), _TILE_SAMPLES):
            high = min(low + _TILE_SAMPLES, len(traces))
            _mark_far(samples[first + low : first + high], *self._saturation, saturated[low:high])
            # rows without a neighbour are never marked
            before, after = int(first + low > 0), int(first + high < len(samples))
            rows = samples[first + low - before : first + high + after]
            _mark_straight(rows, *self._line, straight[low + 1 - before : high - 1 + after])
        _mark_far(traces, *self._artifact, artifact)
        _keep_even(traces, self._artifact.limits, self._artifact.least, artifact)
        flags = {"saturation": saturated, "gap": straight & ~saturated, "artifact": artifact}
        return spans.mask_from({reason: spans.runs(flagged) + start for reason, flagged in flags.items()})


def mask_of(
    blocks: Iterable[Mask],
    num_samples: int,
    breaks: NDArray[np.int64],
    parameters: Parameters,
    sampling_frequency_hz: float,
) -> Mask:
    """The Mask of a recording, from the runs that were found in all of its blocks.

    breaks: (B,) samples that don't follow the one before in time. No gap reaches across; padding does, as the band-pass
    knows no breaks.
    """
    found = spans.merged(blocks)
    gap, join, padding = (
        model.whole_samples(duration_ms, sampling_frequency_hz)
        for duration_ms in (parameters.gap_ms, parameters.join_ms, parameters.padding_ms)
    )
    runs = {reason: spans.of_reason(found, reason) for reason in ("saturation", "gap", "artifact")}
    runs["gap"] = _gaps(runs["gap"], breaks, gap)
    padded = {reason: spans.widened(spans.joined(these, join), padding) for reason, these in runs.items()}
    return spans.mask_from({r: spans.joined(np.clip(these, 0, num_samples)) for r, these in padded.items()})


def _gaps(straight: Spans, breaks: NDArray[np.int64], least: int) -> Spans:
    """Lines of at least so many samples, from runs of the samples in their middle."""
    for sample in breaks:
        # the samples on either side of a break are in the middle of nothing
        before, after = straight.copy(), straight.copy()
        before[:, 1] = np.minimum(before[:, 1], sample - 1)
        after[:, 0] = np.maximum(after[:, 0], sample + 1)
        straight = np.concatenate([before, after])
        straight = straight[straight[:, 0] < straight[:, 1]]
    lines = spans.widened(straight, 1)
    return lines[lines[:, 1] - lines[:, 0] >= least]


def _at_least(share: float, count: int) -> int:
    return math.ceil(share * count - _BITS)


def _range_limit(full_scale: tuple[float, float] | None, whole: bool) -> tuple[float, float]:
    """The middle of the converter's range, and the distance from it beyond which values are at an end."""
    if full_scale is None and not whole:
        return 0.0, np.inf
    bottom, top = full_scale or (-32768.0, 32767.0)
    return (bottom + top) / 2, _NEAR_END * (top - bottom) / 2


def _tolerance(noise: NDArray[np.float64], noise_counts: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """What second differences of a line may be on each contact; infinity where they tell nothing."""
    if noise_counts is None:
        return np.where(noise > 0, 0.0, np.inf)
    return np.where(noise_counts < _LEAST_NOISE, np.inf, np.where(noise_counts < _ROUNDED_NOISE, 0.0, 1.0))


def _straight(tolerance: NDArray[np.float64], share: float, whole: bool) -> _Straight:
    count = int(np.isfinite(tolerance).sum())
    rounding = np.float32(0.0 if whole else _ROUNDING)
    return _Straight(tolerance.astype(np.float32), rounding, count - max(1, _at_least(share, count)))


def _far(middle: float, limits: NDArray[np.float64], least: int) -> _Far:
    asked = np.flatnonzero(np.isfinite(limits))
    columns = int(asked[len(asked) - least]) + 1 if least <= len(asked) else 0
    return _Far(np.float32(middle), limits.astype(np.float32), columns, least)


# Comparisons are summed without branches over slices of a row, or they would not be vectorized.


@numba.njit(nogil=True, cache=True)
def _mark_far(rows, middle, limits, columns, least, marks):  # type: ignore[no-untyped-def]
    for r in range(len(rows)):
        row = rows[r]
        count = _count_far(row[:columns], middle, limits[:columns])
        if count:
            count += _count_far(row[columns:], middle, limits[columns:])
            marks[r] = count >= least


@numba.njit(nogil=True, cache=True)
def _count_far(row, middle, limits):  # type: ignore[no-untyped-def]
    count = np.int32(0)
    for c in range(len(row)):
        count += np.int32(abs(np.float32(row[c]) - middle) > limits[c])
    return count


@numba.njit(nogil=True, cache=True)
def _keep_even(rows, limits, least, marks):  # type: ignore[no-untyped-def]
    """Of the marked rows, keep those marked of which at least `least` values are near the largest, too."""
    for r in np.flatnonzero(marks):
        row, largest, count = rows[r], np.float32(0), 0
        for c in range(len(row)):
            if np.isfinite(limits[c]):
                largest = max(largest, abs(row[c]))
        for c in range(len(row)):
            count += abs(row[c]) > max(limits[c], _EVEN * largest)
        marks[r] = count >= least


@numba.njit(nogil=True, cache=True)
def _mark_straight(rows, tolerance, rounding, bent, marks):  # type: ignore[no-untyped-def]
    """Mark the rows between the first and the last."""
    for r in range(1, len(rows) - 1):
        count = np.int32(0)
        for begin in range(0, rows.shape[1], _PART):
            part = slice(begin, min(begin + _PART, rows.shape[1]))
            count += _count_bent(rows[r - 1, part], rows[r, part], rows[r + 1, part], tolerance[part], rounding)
            if count > bent:
                break
        marks[r - 1] = count <= bent


@numba.njit(nogil=True, cache=True)
def _count_bent(before, here, after, tolerance, rounding):  # type: ignore[no-untyped-def]
    count = np.int32(0)
    for c in range(len(here)):
        ends, middle = np.float32(before[c]) + np.float32(after[c]), np.float32(here[c])
        off = abs(ends - np.float32(2) * middle)
        count += np.int32(off > tolerance[c] + rounding * abs(middle))
    return count
