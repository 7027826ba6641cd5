"""Which channels a file holds: what tells, and that those who tell agree."""

from pathlib import Path

import numpy as np
import pytest

from driftcli.errors import InputError
from driftcli.recording.meta import Meta, parse_meta
from driftcli.recording.open import open_recording
from driftcli.recording.saved_channels import contact_labels, saved_channels
from driftcli.recording.spikeglx import first_sample
from make_probes import meta_of_kind
from make_spikeglx import make_spikeglx, meta_values, with_values

SOME = [0, 3, 24, 50, 191]


def meta_of(**changes):
    return Meta(Path("m.ap.meta"), parse_meta(with_values(meta_of_kind("NP1000", SOME), **changes).encode()))


@pytest.mark.parametrize(
    ("changes", "ap", "others"),
    [
        ({}, SOME, [768]),
        ({"snsSaveChanSubset": None}, SOME, [768]),
        ({"snsSaveChanSubset": "all"}, SOME, [768]),
        ({"snsChanMap": None}, SOME, [768]),
        ({"snsChanMap": None, "snsSaveChanSubset": "3:6,9,768"}, [3, 4, 5, 6, 9], [768]),
        # nobody lists them
        ({"snsChanMap": None, "snsSaveChanSubset": None}, range(5), [768]),
        ({"snsChanMap": None, "snsSaveChanSubset": None, "acqApLfSy": "384,0,1"}, range(5), [384]),
        ({"snsChanMap": None, "snsSaveChanSubset": None, "acqApLfSy": None}, range(5), [5]),
        ({"acqApLfSy": None}, SOME, [768]),
    ],
)
def test_the_numbers_of_the_channels(changes, ap, others):
    saved = saved_channels(meta_of(**changes))
    np.testing.assert_array_equal(saved.acquired, ap)
    np.testing.assert_array_equal(saved.others, others)
    assert (saved.num_columns, saved.num_ap) == (6, 5)


def test_lf_and_four_sync_words_are_numbered_behind_the_ap_channels():
    changes = {"acqApLfSy": "384,384,4", "nSavedChans": "9", "snsApLfSy": "3,2,4"}
    saved = saved_channels(meta_of(**changes, snsChanMap=None, snsSaveChanSubset=None))
    np.testing.assert_array_equal(saved.acquired, [0, 1, 2])
    np.testing.assert_array_equal(saved.others, [384, 385, 768, 769, 770, 771])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nSavedChans": "7"}, "contradicts itself: nSavedChans=7, snsApLfSy=5,0,1"),
        ({"nSavedChans": "6.5"}, "nSavedChans=6.5, which are not whole numbers"),
        ({"nSavedChans": "6,1"}, "nSavedChans=6,1, which is not one whole number"),
        ({"nSavedChans": "-6"}, "nSavedChans=-6, which are not whole numbers"),
        ({"nSavedChans": "9" * 5000}, "which are not whole numbers"),
        ({"nSavedChans": "900000", "snsApLfSy": "899999,0,1"}, "contradicts itself: nSavedChans=900000"),
        ({"snsApLfSy": "7,-2,1"}, "snsApLfSy=7,-2,1, which are not whole numbers"),
        ({"acqApLfSy": "4,384,1"}, "acqApLfSy=4,384,1, snsApLfSy=5,0,1"),
        ({"acqApLfSy": "100,384,1"}, "are not among those acquired"),
        ({"snsSaveChanSubset": "0,3,24,51,191,768"}, "snsSaveChanSubset and ~snsChanMap list other channels"),
        ({"snsSaveChanSubset": "0:999999999"}, "contradicts itself: nSavedChans=6, snsSaveChanSubset=0:999999999"),
        ({"snsSaveChanSubset": "0:1:5,768"}, "snsSaveChanSubset=0:1:5,768"),
        ({"snsSaveChanSubset": ""}, "lists no channels"),
        ({"snsSaveChanSubset": "0:9999999999"}, "lists no channels"),
        ({"snsSaveChanSubset": "0,0,1,2,3,768", "snsChanMap": None}, "don't ascend"),
        ({"snsSaveChanSubset": "3,2,1,0,5,768", "snsChanMap": None}, "don't ascend"),
        ({"snsSaveChanSubset": "-1:4", "snsChanMap": None}, "snsSaveChanSubset=-1:4, which lists no channels"),
        ({"snsChanMap": "(384,384,1)(AP0;0:0)"}, "its ~snsChanMap has 1 entries for 6 saved channels"),
        ({"snsChanMap": "(384,384,1)" + "(AP0)" * 6}, "~snsChanMap whose entries name no channels"),
    ],
)
def test_contradictions_are_named(changes, message):
    with pytest.raises(InputError, match=message):
        saved_channels(meta_of(**changes))


@pytest.mark.parametrize("key", ["snsGeomMap", "snsShankMap"])
@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ("(0:1:2:1)" * 4, "has 4 entries for 5 saved channels"),
        ("(0:1:2:1)" * 6, "has 6 entries for 5 saved channels"),
        ("", "has 0 entries for 5 saved channels"),
        ("(0:1:2:2)" * 5, "and 0 or 1"),
        ("(0:1:2)" * 5, "not four numbers"),
        ("(0:1:2:1:1)" * 5, "not four numbers"),
        ("(0:1:2:1)" * 4 + "(0:1:1)", "not four numbers"),
        ("(0:x:2:1)" * 5, "not four numbers"),
        ("(0:nan:2:1)" * 5, "not four numbers"),
        ("(0:1:1e300:1)" * 5, "not four numbers"),
        ("(0.5:1:2:1)" * 5, "not four numbers"),
    ],
)
def test_maps_of_contacts_that_do_not_fit_are_named_at_opening(tmp_path, reporter, key, entries, message):
    text = with_values(meta_of_kind("NP1000", SOME, places=key), **{key: "(1,2,480,70)" + entries})
    with pytest.raises(InputError, match=f"~{key} .*{message}"):
        open_recording(make_spikeglx(tmp_path, text, 2), reporter=reporter)


def test_a_channel_is_labelled_where_either_map_has_it_as_not_used():
    good, off = "(0:27:0:1)", "(0:27:0:0)"
    meta = meta_of(snsShankMap=f"(1,2,480){off}{good * 4}")
    meta.values["~snsGeomMap"] = f"(NP1000,1,0,70){good * 3}{off}{good}"
    np.testing.assert_array_equal(contact_labels(meta, saved_channels(meta)), [4, 0, 0, 4, 0])


@pytest.mark.parametrize(
    ("missing", "told"),
    [
        (["fileSizeBytes", "fileTimeSecs", "fileSHA1"], "taking the whole frames that the file has"),
        (["firstSample"], "when it starts within its run is unknown"),
        (["snsSaveChanSubset", "snsChanMap"], "taking the channels of ~snsChanMap, or else the first AP channels"),
        (["fileCreateTime", "acqApLfSy"], "taking the channels that were saved for those acquired"),
    ],
)
def test_what_is_missing_is_told_in_one_line(tmp_path, reporter, missing, told):
    text = meta_of_kind("NP1000", SOME)
    path = make_spikeglx(tmp_path, text, 7)
    path.with_suffix(".meta").write_text(
        with_values(with_values(text, fileSizeBytes="84"), **dict.fromkeys(missing)), encoding="utf-8"
    )
    recording = open_recording(path, reporter=reporter)
    assert (recording.num_samples, len(recording.columns)) == (7, 5)
    (line,) = reporter.texts
    assert told in line
    assert "\n" not in line
    assert all(key in line for key in missing)


def test_a_size_of_nothing_counts_as_missing(tmp_path, reporter):
    path = make_spikeglx(tmp_path, meta_of_kind("NP1000", SOME), 7)
    meta = path.with_suffix(".meta")
    meta.write_text(with_values(meta.read_text(), fileSizeBytes="0"))
    assert open_recording(path, reporter=reporter).num_samples == 7
    assert "has no fileSizeBytes" in str(reporter)


@pytest.mark.parametrize("key", ["imSampRate", "nSavedChans", "snsApLfSy", "imroTbl", "imAiRangeMax"])
def test_what_nothing_stands_in_for_is_named(tmp_path, reporter, key):
    text = meta_of_kind("NP1000", SOME)
    path = make_spikeglx(tmp_path, text, 7)
    path.with_suffix(".meta").write_text(with_values(text, **{key: None}))
    with pytest.raises(InputError, match=f"has no ~?{key}"):
        open_recording(path, reporter=reporter)


def test_the_places_stand_in_for_the_table_where_that_holds_no_gains(tmp_path, reporter):
    text = meta_of_kind("NP2013")
    whole = open_recording(make_spikeglx(tmp_path, text, 2), reporter=reporter)
    found = open_recording(make_spikeglx(tmp_path, with_values(text, imroTbl=None), 2), reporter=reporter)
    np.testing.assert_array_equal(np.ptp(found.geometry.positions_um - whole.geometry.positions_um, axis=0), 0)
    np.testing.assert_array_equal(found.gain_to_uv, whole.gain_to_uv)


def test_the_first_sample():
    assert first_sample(meta_of()) == int(meta_values(meta_of_kind("NP1000"))["firstSample"])
    assert first_sample(meta_of(firstSample=None)) is None
    for wrong in ("", "-1", "1e5", "now"):
        with pytest.raises(InputError, match="firstSample="):
            first_sample(meta_of(firstSample=wrong))
