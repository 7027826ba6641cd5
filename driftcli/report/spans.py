"""Spans that the estimate left out, as few as show the same."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from driftcli.model import Mask


class DrawnSpan(NamedTuple):
    """When a span begins and ends, in s, and why it was left out: an index of `MASK_REASONS`."""

    start_s: float
    stop_s: float
    reason: int


def joined_spans(mask: Mask, rate_hz: float, apart_s: float) -> list[DrawnSpan]:
    """The spans of a mask, those of one reason joined that overlap or are no more than so far apart; by reason."""
    if not len(mask):
        return []
    bounds_s = mask.in_seconds(rate_hz)
    spans: list[DrawnSpan] = []
    for reason in np.unique(mask.reasons).tolist():
        starts, stops = bounds_s[mask.reasons == reason].T
        reached = np.maximum.accumulate(stops)
        first = np.flatnonzero(np.r_[True, starts[1:] > reached[:-1] + apart_s])
        last = np.r_[first[1:], len(starts)] - 1
        bounds = zip(starts[first].tolist(), reached[last].tolist(), strict=True)
        spans += [DrawnSpan(start, stop, reason) for start, stop in bounds]
    return spans
