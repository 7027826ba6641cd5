"""Spans that show as one are one, and none is lost."""

import numpy as np

from driftcli.model import Mask
from driftcli.report.spans import joined_spans


def mask_of(*spans):
    starts, stops, reasons = np.array(sorted(spans)).T
    return Mask(starts, stops, reasons.astype(np.uint8))


def test_spans_of_one_reason_are_joined_where_they_are_close():
    mask = mask_of((0, 10, 1), (12, 15, 1), (13, 14, 3), (30, 31, 1))
    assert joined_spans(mask, 10.0, 0.0) == [(0.0, 1.0, 1), (1.2, 1.5, 1), (3.0, 3.1, 1), (1.3, 1.4, 3)]
    assert joined_spans(mask, 10.0, 0.2) == [(0.0, 1.5, 1), (3.0, 3.1, 1), (1.3, 1.4, 3)]
    assert joined_spans(mask, 10.0, 9.0) == [(0.0, 3.1, 1), (1.3, 1.4, 3)]


def test_what_lies_within_a_longer_one_does_not_end_it():
    assert joined_spans(mask_of((0, 100, 0), (10, 20, 0), (50, 120, 0)), 1.0, 0.0) == [(0.0, 120.0, 0)]


def test_no_spans_are_none():
    assert joined_spans(Mask(), 1.0, 5.0) == []
