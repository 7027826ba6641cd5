import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftcli.errors import DriftcliError, InputError, UsageError
from driftcli.mask.exclude import excluded_mask, read_excluded
from driftcli.model import MASK_REASONS
from oracles import mask as oracle


@pytest.mark.parametrize(
    ("text", "spans_s"),
    [
        ("12.5-14,300-310", [(12.5, 14), (300, 310)]),
        (" 12.5 - 14 , 300-310 ", [(12.5, 14), (300, 310)]),
        ("5-", [(5, math.inf)]),
        ("0-.5, 7 -", [(0, 0.5), (7, math.inf)]),
        ("1e-3-2.5e-3,1E2-1e+3", [(1e-3, 2.5e-3), (100, 1000)]),
        ("3-4,1-2", [(3, 4), (1, 2)]),
    ],
)
def test_spans_in_a_text(text, spans_s):
    found = read_excluded(text)
    assert found.dtype == np.float64
    assert [tuple(span) for span in found.tolist()] == spans_s


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no span"),
        (" , ", "no span"),
        ("12.5", "'12.5'"),
        ("1-2,,3-4", "'' is no span"),
        ("1-2,5-5", "'5-5' ends before"),
        ("1-2,7-6", "'7-6' ends before"),
        ("-3-5", "'-3-5' is before the start"),
        ("3--5", "'3--5' is before the start"),
        ("1-2-3", "'1-2-3' is no span"),
        ("1e-", "'1e-' is no span"),
        (",".join(["1-2"] * 200 + ["3"]), "'3' is no span"),
    ],
)
def test_what_is_no_span_in_a_text(text, told):
    with pytest.raises(UsageError, match="span") as caught:
        read_excluded(text)
    assert told in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    "row", ["{},{}", "{}, {}", "{};{}", "{}\t{}", "{} {}", "  {}   {}  ", "{}-{}", "{} , {}  # lick"]
)
@pytest.mark.parametrize("header", ["", "start_s,stop_s\n", "\ufeffstart;stop\r\n", "# made by hand\n\nstart stop\n"])
def test_a_file_with_a_span_per_line(tmp_path, row, header):
    path = tmp_path / "exclude.csv"
    path.write_text(header + row.format("12.5", "14") + "\n\n# comment\n" + row.format("3e2", "310"), encoding="utf-8")
    assert read_excluded(str(path)).tolist() == [[12.5, 14], [300, 310]]


def test_a_file_with_decimal_commas_and_open_ends(tmp_path):
    path = tmp_path / "exclude.csv"
    path.write_text("12,5;14,25\n1\t2,5\n300-\n400,inf\n")
    assert read_excluded(str(path)).tolist() == [[12.5, 14.25], [1, 2.5], [300, math.inf], [400, math.inf]]


@pytest.mark.parametrize("name", ["1e5", "12-14.txt", "3.5"])
def test_a_file_may_have_a_name_of_digits(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text("1 2")
    assert read_excluded(name).tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "lists no times"),
        ("start,stop\n# none\n", "lists no times"),
        ("start,stop\n1,2\nthree,4\n", "line 3: 'three,4'"),
        ("1,2\n\n3\n", "line 3: '3'"),
        ("1,2,3\n", "line 1: '1,2,3'"),
        ("1,nan\n", "line 1: '1,nan'"),
        ("1,2\n5,5\n", "line 2: the span '5,5' ends before"),
        ("from,to\n1,2\n-1 2\n", "line 3: the span '-1 2' is before the start"),
        ("1,2\nstart,stop\n", "line 2: 'start,stop'"),
    ],
)
def test_what_is_no_span_in_a_file(tmp_path, content, told):
    path = tmp_path / "exclude.txt"
    path.write_text(content)
    with pytest.raises(InputError, match=r"exclude\.txt") as caught:
        read_excluded(str(path))
    assert told in caught.value.message
    assert caught.value.hint


def test_a_file_that_is_not_there_or_no_text(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_excluded(str(tmp_path / "none.csv"))
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(InputError, match="can't be read"):
        read_excluded(str(tmp_path / "binary.csv"))
    with pytest.raises(InputError, match="can't be read"):
        read_excluded(str(tmp_path) + "/")


@given(
    st.lists(st.tuples(st.floats(0, 9.9), st.floats(1e-4, 12)), min_size=1, max_size=5),
    st.sampled_from([10.0, 7.3]),
)
def test_all_samples_that_a_span_touches_are_masked(rows, rate_hz):
    spans_s = np.array([(start, start + length) for start, length in rows])
    num_samples = int(10 * rate_hz)
    spans_s = spans_s[spans_s[:, 0] * rate_hz < num_samples - 1]
    mask = excluded_mask(spans_s, rate_hz, num_samples)
    found = oracle.samples_of(mask.starts.tolist(), mask.stops.tolist())
    assert found == oracle.excluded(spans_s.tolist(), rate_hz, num_samples)
    assert set(mask.reasons.tolist()) <= {MASK_REASONS.index("excluded")}
    assert (mask.starts[1:] > mask.stops[:-1]).all()


@pytest.mark.parametrize(
    ("span_s", "span"),
    [
        ((0.1, 0.2), (3000, 6000)),
        ((12.5, math.inf), (375_000, 600_000)),
        ((19, 1e300), (570_000, 600_000)),
        ((0.1 + 0.2, 0.7 + 0.1), (9000, 24_000)),  # not quite 0.3 and 0.8
        ((1.00001, 1.00002), (30_000, 30_001)),
    ],
)
def test_seconds_to_samples(span_s, span):
    mask = excluded_mask(np.array([span_s]), 30_000.0, 600_000)
    assert (mask.starts.tolist(), mask.stops.tolist()) == ([span[0]], [span[1]])


@pytest.mark.parametrize("start_s", [20.0, 300.0, 1e308])
def test_a_span_beyond_the_end(start_s):
    with pytest.raises(UsageError, match=r"after the end of the recording \(20 s\)") as caught:
        excluded_mask(np.array([(1.0, 2.0), (start_s, math.inf)]), 30_000.0, 600_000)
    assert f"{start_s:g} s" in caught.value.message


LONG = "1" * 100_000


@pytest.mark.parametrize("text", [f"{LONG}x-2", f"{LONG}-", f"1.{LONG}e-", "1" + " " * 100_000, "1-2 \0"])
def test_hostile_spans_are_refused_soon_and_in_short(tmp_path, text):
    began = time.process_time()
    with pytest.raises(DriftcliError) as caught:
        read_excluded(text)
    assert len(caught.value.message) < 600
    (tmp_path / "spans.txt").write_text(f"start, stop\n{text}\n")
    with pytest.raises(InputError) as caught:
        read_excluded(str(tmp_path / "spans.txt"))
    assert len(caught.value.message) < 600
    assert time.process_time() - began < 2


def test_a_list_that_is_too_long_is_not_read(tmp_path):
    with (tmp_path / "spans.txt").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(InputError, match="longer than"):
        read_excluded(str(tmp_path / "spans.txt"))
