import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from driftcli.mask import spans
from driftcli.model import MASK_REASONS, Mask
from oracles import mask as oracle

END = 60


@st.composite
def masks(draw, most=8):
    rows = draw(st.lists(st.tuples(st.integers(0, END - 1), st.integers(1, 12), st.integers(0, 3)), max_size=most))
    table = np.array(sorted((start, min(start + length, END), reason) for start, length, reason in rows))
    table = table.reshape(-1, 3)
    return Mask(table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2].astype(np.uint8))


def samples_of(mask, reason=None):
    rows = slice(None) if reason is None else mask.reasons == MASK_REASONS.index(reason)
    return oracle.samples_of(mask.starts[rows].tolist(), mask.stops[rows].tolist())


def is_disjoint(found):
    return found.dtype == np.int64 and (found[:, 0] < found[:, 1]).all() and (found[1:, 0] > found[:-1, 1]).all()


@given(masks())
def test_a_union_covers_what_its_spans_cover(mask):
    found = spans.union(mask)
    assert is_disjoint(found)
    assert oracle.samples_of(*found.T.tolist()) == samples_of(mask)


@given(masks(), st.integers(0, 9))
def test_close_spans_are_joined(mask, distance):
    found = spans.joined(np.column_stack([mask.starts, mask.stops]), distance)
    assert found.tolist() == [list(span) for span in oracle.spans(samples_of(mask), END, distance, 0)]


@given(st.lists(masks(), max_size=4))
def test_merged_masks_hold_the_samples_of_all_by_reason(several):
    merged = spans.merged(several)
    for reason in MASK_REASONS:
        assert is_disjoint(spans.of_reason(merged, reason))
        assert samples_of(merged, reason) == {n for mask in several for n in samples_of(mask, reason)}
    rows = list(zip(merged.starts.tolist(), merged.stops.tolist(), merged.reasons.tolist(), strict=True))
    assert rows == sorted(rows)
    assert [a.dtype for a in (merged.starts, merged.stops, merged.reasons)] == [np.int64, np.int64, np.uint8]


@given(masks())
def test_contains_asks_each_sample(mask):
    asked = np.arange(-2, END + 2).reshape(2, -1)
    found = spans.contains(spans.union(mask), asked)
    assert found.shape == asked.shape
    assert set(asked[found].tolist()) == samples_of(mask)


@given(masks())
def test_shares_count_samples(mask):
    found = spans.shares(mask, END)
    assert list(found) == [*MASK_REASONS, "any"]
    assert found == {r: len(samples_of(mask, r)) / END for r in MASK_REASONS} | {"any": len(samples_of(mask)) / END}


def test_nothing_of_no_recording_is_masked():
    assert set(spans.shares(Mask(), 0).values()) == {0.0}


@given(st.lists(st.booleans(), max_size=30))
def test_runs_are_stretches_of_flags(flags):
    flagged = {n for n, flag in enumerate(flags) if flag}
    assert spans.runs(np.array(flags, np.bool_)).tolist() == [list(span) for span in oracle.stretches(flagged)]
