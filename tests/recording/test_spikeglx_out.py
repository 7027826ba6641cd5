"""What the corrected pair of a SpikeGLX recording is called, and what its meta says."""

from pathlib import Path

import numpy as np
import pytest

import make_spikeglx
from driftcli.errors import InputError, UsageError
from driftcli.recording.meta import Meta, parse_meta
from driftcli.recording.spikeglx_out import (
    channel_numbers,
    corrected_meta,
    corrected_name,
    require_name,
    stream_suffix,
    with_sha1,
)


def meta_of(kind: str = "NP1", **changes: str | None) -> Meta:
    text = make_spikeglx.with_values(make_spikeglx.made_meta(kind), **changes)
    return Meta(Path("made.meta"), parse_meta(text.encode("utf-8")))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("run_g0_t0.imec0.ap.bin", "run_driftcorr_g0_t0.imec0.ap.bin"),
        ("run_g10_t123.imec12.ap.bin", "run_driftcorr_g10_t123.imec12.ap.bin"),
        ("77.230125_2023-04-27_g0_tcat.imec0.ap.bin", "77.230125_2023-04-27_driftcorr_g0_tcat.imec0.ap.bin"),
        ("test_file.imec.ap.bin", "test_file_driftcorr.imec.ap.bin"),
        ("doppio-checkerboard_t0.imec0.ap.bin", "doppio-checkerboard_driftcorr_t0.imec0.ap.bin"),
        ("a_g0_t0_g1_t2.imec0.ap.bin", "a_g0_t0_driftcorr_g1_t2.imec0.ap.bin"),
        ("my run=1_g0_t0.imec0.ap.bin", "my run=1_driftcorr_g0_t0.imec0.ap.bin"),
        # a name that doesn't tell the stream takes it from where the file came from
        ("rec.bin", "rec_driftcorr.imec3.ap.bin"),
        ("rec_g0_t1.bin", "rec_driftcorr_g0_t1.imec3.ap.bin"),
    ],
)
def test_the_mark_goes_to_the_end_of_the_run(name, expected):
    assert corrected_name(Path("/x") / name, meta_of(fileName="D:/a/b_g0_t0.imec3.ap.bin")) == expected


def test_where_nothing_tells_the_stream_no_stream_is_made_up():
    meta = meta_of(fileName=None)
    assert corrected_name(Path("rec.bin"), meta) == "rec_driftcorr.bin"
    assert stream_suffix(Path("rec.bin"), meta) == ".bin"
    require_name(Path("any.bin"), Path("rec.bin"), meta)
    with pytest.raises(UsageError, match=r"must end in \.bin"):
        require_name(Path("any.dat"), Path("rec.bin"), meta)


def test_a_windows_path_is_taken_apart():
    assert stream_suffix(Path("rec.bin"), meta_of(fileName=r"D:\data\run_g0_t0.imec7.ap.bin")) == ".imec7.ap.bin"


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (range(49), "0:47,768"),
        ([0, 2, 3, 4, 9, 48], "0,2:4,9,768"),
        ([47, 48], "47,768"),
        ([], ""),
    ],
)
def test_channels_are_listed_by_the_numbers_they_were_acquired_with(columns, expected):
    assert channel_numbers(meta_of(), np.array(columns, dtype=np.int64)) == expected


def test_a_subset_of_a_subset_keeps_the_numbers():
    meta = meta_of(nSavedChans="5", snsApLfSy="4,0,1", snsSaveChanSubset="3,10:12,768", snsChanMap=None)
    assert channel_numbers(meta, np.array([0, 2, 3, 4])) == "3,11:12,768"


def test_a_meta_after_a_crash_gets_what_was_missing():
    """What SpikeGLX writes when it stops, and the list of channels, which readers want."""
    missing = dict.fromkeys(["fileSizeBytes", "fileTimeSecs", "fileSHA1", "fileCreateTime", "snsSaveChanSubset"])
    values = corrected_meta(meta_of(**missing), Path("/o/x.imec0.ap.bin"), np.arange(49), 30_000, {})
    values = with_sha1(values, "ab01")
    assert values["fileSizeBytes"] == str(30_000 * 49 * 2)
    assert (values["fileTimeSecs"], values["fileSHA1"]) == ("1.0", "AB01")
    assert values["snsSaveChanSubset"] == "0:47,768"  # as ~snsChanMap has them
    assert "fileCreateTime" not in values
    keys = list(values)
    tables = [key.startswith("~") for key in keys]
    assert tables == sorted(tables)


def test_lf_columns_are_counted_where_a_file_has_some():
    meta = meta_of(nSavedChans="5", snsApLfSy="2,2,1", snsSaveChanSubset="0:1,384:385,768")
    meta.values["~snsChanMap"] = "(384,384,1)(AP0;0:0)(AP1;1:1)(LF0;384:384)(LF1;385:385)(SY0;768:768)"
    meta.values["~snsShankMap"] = "(1,2,480)(0:0:0:1)(0:1:0:0)"
    values = corrected_meta(meta, Path("/o/x.imec0.ap.bin"), np.array([1, 2, 3, 4]), 10, {})
    assert (values["nSavedChans"], values["snsApLfSy"]) == ("4", "1,2,1")
    assert values["snsSaveChanSubset"] == "1,384:385,768"
    assert values["~snsChanMap"] == "(384,384,1)(AP1;1:1)(LF0;384:384)(LF1;385:385)(SY0;768:768)"
    assert values["~snsShankMap"] == "(1,2,480)(0:1:0:0)"
    assert values["~imroTbl"] == meta.values["~imroTbl"]


@pytest.mark.parametrize("table", ["snsChanMap", "snsShankMap"])
def test_maps_that_do_not_fit_the_file_are_named(table):
    meta = meta_of(**{table: "(1,2,3)(0:0:0:1)"})
    with pytest.raises(InputError, match=f"~{table} has 1 entries for 4[89] saved channels"):
        corrected_meta(meta, Path("/o/x.imec0.ap.bin"), np.arange(1, 49), 10, {})


def test_values_of_ones_own_hold_no_equals_sign_and_are_numbered_when_taken():
    out = Path("/a=b/x.imec0.ap.bin")
    once = corrected_meta(meta_of(), out, np.arange(49), 10, {"driftcliA": "x=y", "driftcliB": "2\n3"})
    assert (once["driftcliA"], once["driftcliB"], once["fileName"]) == ("x%3Dy", "2%0A3", "/a%3Db/x.imec0.ap.bin")
    again = corrected_meta(Meta(Path("m"), once), out, np.arange(49), 10, {"driftcliB": "4", "driftcliC": "5"})
    assert {key: value for key, value in again.items() if key.startswith("driftcli")} == {
        "driftcliA": "x%3Dy",
        "driftcliB": "2%0A3",
        "driftcliB_2": "4",
        "driftcliC_2": "5",
    }
