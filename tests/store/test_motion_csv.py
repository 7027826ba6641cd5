"""The table of a motion: what goes out comes back to the last digit, and what people do to it is read or refused."""

import csv
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftcli.errors import InputError
from driftcli.model import Motion
from driftcli.store.motion_csv import read_csv_motion, write_csv_motion

PLAIN = """shank0_time_s,shank0_displacement_um_at_100.0_um,shank0_displacement_um_at_300.0_um
1.0,0.5,-2.0
3.0,1.5,-4.0
5.0,2.5,-6.0
7.0,3.5,-8.0
"""


def same(a, b):
    assert set(a) == set(b)
    for shank in a:
        np.testing.assert_array_equal(a[shank].displacement_um, b[shank].displacement_um)
        np.testing.assert_array_equal(a[shank].temporal_bins_s, b[shank].temporal_bins_s)
        np.testing.assert_array_equal(a[shank].spatial_bins_um, b[shank].spatial_bins_um)


def read(tmp_path, text, encoding="utf-8", **options):
    path = tmp_path / "m.csv"
    path.write_bytes(text.encode(encoding))
    return read_csv_motion(path, **options)


def test_the_table_is_times_by_depths(tmp_path):
    motion = read(tmp_path, PLAIN)[0]
    np.testing.assert_array_equal(motion.temporal_bins_s, [1, 3, 5, 7])
    np.testing.assert_array_equal(motion.spatial_bins_um, [100, 300])
    np.testing.assert_array_equal(motion.displacement_um, [[0.5, -2], [1.5, -4], [2.5, -6], [3.5, -8]])
    write_csv_motion(tmp_path / "again.csv", {0: motion})
    assert (tmp_path / "again.csv").read_text() == PLAIN


def test_shanks_stand_side_by_side_and_come_back_exactly(tmp_path, motions):
    write_csv_motion(tmp_path / "m.csv", motions)
    with (tmp_path / "m.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows[0][0] == "shank0_time_s"
    assert rows[0][4] == "shank2_time_s"
    assert {len(row) for row in rows} == {6}
    assert rows[-1][4:] == ["", ""]
    same(read_csv_motion(tmp_path / "m.csv"), motions)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.lists(st.floats(-1e5, 1e5), min_size=2, max_size=2),
        min_size=1,
        max_size=8,
    ),
    st.floats(1e-5, 1e3),
    st.floats(-1e4, 1e4),
)
def test_every_number_keeps_its_last_digit(tmp_path_factory, displacement, bin_s, depth_um):
    times_s = (np.arange(len(displacement)) + 0.5) * bin_s
    motion = Motion(np.array(displacement), times_s, np.array([depth_um, depth_um + 1 / 3]))
    path = tmp_path_factory.mktemp("csv") / "m.csv"
    write_csv_motion(path, {0: motion})
    same(read_csv_motion(path), {0: motion})


@pytest.mark.parametrize(
    ("spoil", "encoding"),
    [
        (lambda text: text, "utf-8-sig"),
        (lambda text: text.replace("\n", "\r\n"), "utf-8"),
        (lambda text: text.replace("\n", ",,\n"), "utf-8"),
        (lambda text: text + ",,\n,,\n\n", "utf-8"),
        (lambda text: text.replace(",", ";"), "utf-8"),
        (lambda text: text.replace(",", "\t"), "utf-8"),
        (lambda text: text.replace("1.0,0.5", " 1 ,+5E-1"), "utf-8"),
        (lambda text: text.rstrip("\n"), "utf-8"),
        (lambda text: text.replace("shank0_time_s", '"shank0_time_s"'), "utf-8"),
    ],
    ids=["bom", "crlf", "empty columns", "empty rows", "semicolons", "tabs", "forms", "no last line end", "quotes"],
)
def test_what_spreadsheets_do_is_read(tmp_path, spoil, encoding):
    plain = read(tmp_path, PLAIN)
    same(read(tmp_path, spoil(PLAIN), encoding), plain)


def test_decimal_commas_come_with_semicolons(tmp_path):
    header, *rows = PLAIN.replace(",", ";").splitlines()
    comma = "\n".join([header, *(row.replace(".", ",") for row in rows)])
    same(read(tmp_path, comma), read(tmp_path, PLAIN))


def test_columns_may_stand_in_any_order(tmp_path):
    swapped = "\n".join(",".join(row.split(",")[::-1]) for row in PLAIN.splitlines())
    same(read(tmp_path, swapped), read(tmp_path, PLAIN))


REFUSED = {
    "empty cell": (("3.0,1.5,-4.0", "3.0,,-4.0"), "row 3: the cell of shank0_displacement_um_at_100.0_um is empty"),
    "short row": (("3.0,1.5,-4.0", "3.0,1.5"), "row 3: the cell of shank0_displacement_um_at_300.0_um is empty"),
    "empty row": (("3.0,1.5,-4.0", ",,"), "row 3: shank 0 has a gap"),
    "missing row": (
        ("3.0,1.5,-4.0\n", ""),
        "row 3: there is a gap: shank0_time_s is 5, 4 s after the row before; usual are 2",
    ),
    "text": (("1.5", "#REF!"), "row 3: shank0_displacement_um_at_100.0_um is '#REF!', which is no number"),
    "nan": (("1.5", "nan"), "'nan', which is no number"),
    "underscore": (("1.5", "1_5"), "'1_5', which is no number"),
    "out of order": (("3.0,", "6.0,"), "row 4: shank0_time_s is 5, after 6: times are out of order"),
    "twice": (("3.0,", "1.0,"), "row 3: shank0_time_s is 1, after 1: times are out of order"),
    "unknown column": (("shank0_displacement_um_at_300.0_um", "depth 300"), "the column 'depth 300' is unknown"),
    "double column": (("at_300.0_um", "at_100_um"), "'shank0_displacement_um_at_100_um' twice"),
    "no time": (("shank0_time_s", "shank0_displacement_um_at_5_um"), "no column shank0_time_s"),
    "no windows": ((PLAIN, "shank0_time_s\n1\n"), "no column shank0_displacement_um_at"),
    "no header": ((PLAIN.splitlines()[0] + "\n", ""), "the column '1.0' is unknown"),
    "no rows": ((PLAIN, PLAIN.splitlines()[0]), "no rows for shank 0"),
    "nothing": ((PLAIN, ""), "no header"),
    "stray": (("3.0,1.5,-4.0", "3.0,1.5,-4.0,bad"), "row 3, cell 4: 'bad' stands under no header"),
    "huge": (("1.5", "1e9"), "shank 0: the motion holds displacements beyond"),
}


@pytest.mark.parametrize("wrong", REFUSED)
def test_what_can_not_be_meant_is_refused_by_row_and_column(tmp_path, wrong):
    (old, new), words = REFUSED[wrong]
    text = PLAIN.replace(old, new)
    if wrong == "missing row":  # steps of 2 elsewhere must be most of them
        text += "9.0,1,1\n11.0,1,1\n"
    with pytest.raises(InputError) as error:
        read(tmp_path, text)
    assert words in error.value.message
    assert "m.csv" in error.value.message
    assert error.value.hint
    assert "\n" not in error.value.message


def test_missing_rows_can_be_allowed(tmp_path):
    text = PLAIN + "19.0,1,1\n"
    with pytest.raises(InputError, match="row 6: there is a gap: shank0_time_s is 19, 12 s after"):
        read(tmp_path, text)
    np.testing.assert_array_equal(read(tmp_path, text, gaps_allowed=True)[0].temporal_bins_s, [1, 3, 5, 7, 19])
    known = {0: np.array([1.0, 3, 5, 7, 19])}
    assert read(tmp_path, text, known_times_s=known)[0].temporal_bins_s[-1] == 19
    known[0][1] = 2
    with pytest.raises(InputError, match="there is a gap"):
        read(tmp_path, text, known_times_s=known)


def test_a_file_that_is_none_is_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_csv_motion(tmp_path / "none.csv")
    with pytest.raises(InputError, match="can't be read"):
        read(tmp_path, PLAIN, "utf-16")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("1.5", "1" * 130_000 + "x"),
        ("1.5", "1" * 140_000),
        ("1.5", "1." + "1" * 130_000 + "e"),
        ("1.5", '"' + "\n" * 9_000),
        ("1.5", "1" + ",1" * 500_000),
        ("at_300.0_um", "at_" + "1" * 100_000 + "x_um"),
        ("at_300.0_um", "at_1e999_um"),
        ("at_300.0_um", "at_-1e999_um"),
        ("shank0_time_s", "shank" + "9" * 5000 + "_time_s"),
        ("3.0,", "1e300,"),
        ("at_300.0_um", "at_1e300_um"),
        ("1.5", "\0"),
    ],
)
def test_hostile_tables_are_refused_soon_and_in_short(tmp_path, old, new):
    began = time.process_time()
    with pytest.raises(InputError) as error:
        read(tmp_path, PLAIN.replace(old, new))
    assert time.process_time() - began < 2
    assert len(error.value.message) < 600


def test_a_table_that_is_too_long_is_not_read(tmp_path):
    with (tmp_path / "m.csv").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(InputError, match="it has more than"):
        read_csv_motion(tmp_path / "m.csv")
