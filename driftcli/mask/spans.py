"""Arithmetic of spans of time: what is shared by all that make a Mask or ask one.

Spans are (M, 2) int64, each the samples start <= n < stop. They are disjoint if they are in order and none overlaps or
touches the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from driftcli.model import MASK_REASONS, Mask

Spans = NDArray[np.int64]


def joined(spans: ArrayLike, distance: int = 0) -> Spans:
    """Disjoint spans that cover the given ones, which may overlap and be in any order.

    distance: spans with at most so many samples between them become one.
    """
    spans = np.asarray(spans, np.int64).reshape(-1, 2)
    spans = spans[np.argsort(spans[:, 0], kind="stable")]
    reach = np.maximum.accumulate(spans[:, 1])
    first = np.ones(len(spans), np.bool_)
    first[1:] = spans[1:, 0] > reach[:-1] + distance
    last = np.roll(first, -1)  # the last span is before the first, which is always the first of its kind
    return np.column_stack([spans[first, 0], reach[last]])


def widened(spans: Spans, samples: int) -> Spans:
    """Each span with so many samples more at either end."""
    return spans + np.array([-samples, samples])


def runs(flags: NDArray[np.bool_]) -> Spans:
    """Disjoint spans of the samples whose flag is set."""
    if not flags.any():
        return np.empty((0, 2), np.int64)
    edges = np.diff(flags.astype(np.int8), prepend=0, append=0)
    return np.column_stack([np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)])


def of_reason(mask: Mask, reason: str) -> Spans:
    """The spans of one of MASK_REASONS, as they stand in the mask."""
    return _spans(mask)[mask.reasons == MASK_REASONS.index(reason)]


def mask_from(spans_of: Mapping[str, Spans]) -> Mask:
    """The Mask of spans that are listed by reason, in its order."""
    spans = np.concatenate([np.empty((0, 2), np.int64), *spans_of.values()])
    indices = [MASK_REASONS.index(reason) for reason in spans_of]
    reasons = np.repeat(np.array(indices, np.uint8), [len(spans) for spans in spans_of.values()])
    order = np.lexsort((reasons, spans[:, 1], spans[:, 0]))
    return Mask(spans[order, 0], spans[order, 1], reasons[order])


def merged(masks: Iterable[Mask]) -> Mask:
    """One Mask of several: spans of one reason that overlap or touch are joined."""
    masks = list(masks)
    return mask_from(
        {
            reason: joined(np.concatenate([np.empty((0, 2), np.int64), *(of_reason(mask, reason) for mask in masks)]))
            for reason in MASK_REASONS
        }
    )


def union(mask: Mask) -> Spans:
    """Disjoint spans of all that is masked, for whatever reason."""
    return joined(_spans(mask))


def contains(spans: Spans | NDArray[np.float64], sample_index: ArrayLike) -> NDArray[np.bool_]:
    """Whether each sample, or each time where spans are times, is in one of the disjoint spans; the result has the
    shape of `sample_index`."""
    # starts and stops alternate and ascend: a sample is in a span if it is past an odd number of them
    return np.asarray(np.searchsorted(spans.ravel(), sample_index, side="right") % 2 == 1)


def shares(mask: Mask, num_samples: int) -> dict[str, float]:
    """Share of the recording that is masked for each of MASK_REASONS, and for `any` of them.

    Reasons may overlap, so their shares can add up to more than that of any.
    """
    spans_of = {reason: joined(of_reason(mask, reason)) for reason in MASK_REASONS} | {"any": union(mask)}
    return {name: _length(spans) / num_samples if num_samples else 0.0 for name, spans in spans_of.items()}


def _spans(mask: Mask) -> Spans:
    return np.column_stack([mask.starts, mask.stops]).astype(np.int64)


def _length(spans: Spans) -> int:
    return int((spans[:, 1] - spans[:, 0]).sum())


def within(mask: Mask, first: int, num_samples: int) -> Mask:
    """The mask of `num_samples` samples from `first` on, which count from 0 there."""
    starts, stops = (np.clip(each - first, 0, num_samples) for each in (mask.starts, mask.stops))
    there = starts < stops
    return Mask(starts[there], stops[there], mask.reasons[there])
