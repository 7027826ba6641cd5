"""Every kind of probe, real metas and made ones, held against neo and probeinterface."""

import re

import numpy as np
import pytest
from neo.rawio import SpikeGLXRawIO
from probeinterface import read_spikeglx

from driftcli.errors import InputError
from driftcli.model import CONTACT_LABELS
from driftcli.recording.open import open_recording
from make_probes import KINDS, meta_of_kind, places_on_probe
from make_raw import write_line_probe
from make_spikeglx import SHARED_METAS, make_spikeglx, meta_values, read_meta_text, with_values

REAL = sorted(path.stem for path in SHARED_METAS.glob("*.meta"))
REFERENCE = CONTACT_LABELS.index("reference")
# neo 0.14.6 looks for a gain per channel in the table of NP1110, and does not take the others for Neuropixels 1.0
NOT_FOR_NEO = ("NP1110", "NP1200", "NP1300", "NP3000")


def text_of(name):
    return read_meta_text(SHARED_METAS / f"{name}.meta") if name in REAL else meta_of_kind(name)


def some_of(text):
    """The meta of the first third of the AP channels, and every fifth of the others: as SpikeGLX saves a subset."""
    values = meta_values(text)
    num_ap, _, num_sync = map(int, values["snsApLfSy"].split(","))
    kept = [*range(num_ap // 3), *range(num_ap // 3, num_ap, 5)]
    changes = {"nSavedChans": f"{len(kept) + num_sync}", "snsApLfSy": f"{len(kept)},0,{num_sync}"}
    for key in ("snsChanMap", "snsGeomMap", "snsShankMap"):
        if f"~{key}" in values:
            header, *entries = re.findall(r"\([^)]*\)", values[f"~{key}"])
            sync = entries[num_ap:] if key == "snsChanMap" else []
            changes[key] = "".join([header, *(entries[index] for index in kept), *sync])
    numbers = [entry.partition(":")[0].partition(";")[2] for entry in changes["snsChanMap"].split("(")[2:]]
    return with_values(text, **changes, snsSaveChanSubset=",".join(numbers)), np.array(kept)


def relative(positions):
    return positions - positions[0]


@pytest.mark.parametrize("name", [*REAL, *(name for name in KINDS if name not in NOT_FOR_NEO)])
def test_gains_are_those_of_neo(tmp_path, reporter, name):
    path = make_spikeglx(tmp_path, text_of(name), 2)
    recording = open_recording(path, reporter=reporter)
    reader = SpikeGLXRawIO(dirname=str(tmp_path))
    reader.parse_header()
    channels = reader.header["signal_channels"]
    gains = np.array([each["gain"] for each in channels if each["name"].startswith("AP")])
    np.testing.assert_allclose(recording.gain_to_uv, gains, rtol=1e-12)
    assert reporter.texts == []


@pytest.mark.parametrize("name", KINDS)
def test_gains_are_those_of_the_table(tmp_path, reporter, name):
    kind = KINDS[name]
    recording = open_recording(make_spikeglx(tmp_path, meta_of_kind(name), 2), reporter=reporter)
    gains = [1e6 * kind.range_v / kind.max_int / kind.gain_of(channel) for channel in range(kind.channels)]
    np.testing.assert_allclose(recording.gain_to_uv, gains, rtol=1e-12)
    assert recording.full_scale == (-kind.max_int, kind.max_int - 1)


@pytest.mark.parametrize("name", [*REAL, *(name for name in KINDS if name != "3A option 4")])
@pytest.mark.parametrize("subset", [False, True])
def test_geometry_is_that_of_probeinterface(tmp_path, reporter, name, subset):
    text = some_of(text_of(name))[0] if subset else text_of(name)
    path = make_spikeglx(tmp_path, text, 2)
    recording = open_recording(path, reporter=reporter)
    (tmp_path / "copy.meta").write_text(text, encoding="utf-8")
    probe = read_spikeglx(tmp_path / "copy.meta")
    np.testing.assert_array_equal(recording.geometry.positions_um, probe.contact_positions)
    if probe.shank_ids is not None:
        np.testing.assert_array_equal(recording.geometry.shanks, np.unique(probe.shank_ids, return_inverse=True)[1])
    assert recording.probegroup.probes[0].model_name == probe.model_name
    assert reporter.texts == []


@pytest.mark.parametrize("name", [name for name in KINDS if name != "NP1110"])
def test_geometry_is_that_of_the_table(tmp_path, reporter, name):
    kind = KINDS[name]
    recording = open_recording(make_spikeglx(tmp_path, meta_of_kind(name), 2), reporter=reporter)
    expected = places_on_probe(name, range(kind.channels))
    np.testing.assert_allclose(relative(recording.geometry.positions_um), relative(expected), atol=1e-9)
    np.testing.assert_array_equal(recording.geometry.shanks, [kind.site(c)[0] for c in range(kind.channels)])


@pytest.mark.parametrize("name", [*REAL, *KINDS])
def test_a_saved_subset_is_a_part_of_the_whole(tmp_path, reporter, name):
    whole = open_recording(make_spikeglx(tmp_path, text_of(name), 2), reporter=reporter)
    text, kept = some_of(text_of(name))
    part = open_recording(make_spikeglx(tmp_path, text, 2), reporter=reporter)
    np.testing.assert_array_equal(part.columns, np.arange(len(kept)))
    np.testing.assert_array_equal(part.gain_to_uv, whole.gain_to_uv[kept])
    np.testing.assert_array_equal(part.labels, whole.labels[kept])
    np.testing.assert_array_equal(part.geometry.positions_um, whole.geometry.positions_um[kept])
    assert part.full_scale == whole.full_scale
    if whole.sample_shifts.fractions is not None:
        np.testing.assert_array_equal(part.sample_shifts.fractions, whole.sample_shifts.fractions[kept])
    assert reporter.texts == []


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_tells_when_its_channels_were_sampled(tmp_path, reporter, name):
    kind = KINDS[name]
    recording = open_recording(make_spikeglx(tmp_path, meta_of_kind(name), 2), reporter=reporter)
    fractions = recording.sample_shifts.fractions
    turns, of_a_sample = (12, 13) if kind.has_lf else (16, 16)
    assert set(np.round(fractions * of_a_sample, 9)) == set(range(turns))
    if kind.channels > 128:  # passive probes are wired otherwise
        np.testing.assert_array_equal(fractions, np.arange(kind.channels) // 2 % turns / of_a_sample)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("places", ["snsGeomMap", "snsShankMap"])
def test_channels_that_are_not_used_are_labelled(tmp_path, reporter, name, places):
    kind = KINDS[name]
    recording = open_recording(make_spikeglx(tmp_path, meta_of_kind(name, places=places), 2), reporter=reporter)
    assert recording.labels.dtype == np.uint8
    np.testing.assert_array_equal(np.flatnonzero(recording.labels == REFERENCE), kind.unused)
    np.testing.assert_array_equal(np.unique(recording.labels), [0, REFERENCE] if kind.unused else [0])
    assert len(recording.labels) == kind.channels


@pytest.mark.parametrize(
    ("name", "unused"),
    [
        ("Noise_g0_t0.imec0.ap", [191]),
        ("phase3a.imec.ap", [36, 75, 112, 151, 188, 227, 264, 303, 340, 379]),
        ("NP2_4_shanks.imec0.ap", [127]),
        ("p2_g0_t0.imec0.ap", [127]),
        ("NP1_saved_only_subset_of_channels", []),
        ("NP2020_sample_g0_t0.imec0.ap", []),
    ],
)
def test_reference_sites_of_real_recordings_are_labelled(tmp_path, reporter, name, unused):
    if name not in REAL:
        pytest.skip("the real meta files are not there")
    recording = open_recording(make_spikeglx(tmp_path, text_of(name), 2), reporter=reporter)
    np.testing.assert_array_equal(np.flatnonzero(recording.labels), unused)


def test_labels_stay_with_their_columns_when_a_probe_is_given(tmp_path, reporter):
    path = make_spikeglx(tmp_path, meta_of_kind("NP1000"), 2)
    recording = open_recording(path, probe=write_line_probe(tmp_path / "p.json", 384), reporter=reporter)
    np.testing.assert_array_equal(np.flatnonzero(recording.labels), np.flatnonzero(recording.columns == 191))
    assert np.count_nonzero(recording.labels) == 1


def test_without_a_map_of_contacts_none_is_labelled(tmp_path, reporter):
    text = with_values(meta_of_kind("NP1000"), snsShankMap=None)
    recording = open_recording(make_spikeglx(tmp_path, text, 2), reporter=reporter)
    np.testing.assert_array_equal(recording.labels, np.zeros(384))


@pytest.mark.parametrize("name", [name for name in KINDS if "option" not in name])
def test_type_or_part_number_alone_will_do(tmp_path, reporter, name):
    whole = open_recording(make_spikeglx(tmp_path, meta_of_kind(name), 2), reporter=reporter)
    no_type = with_values(meta_of_kind(name), imDatPrb_type=None)
    found = open_recording(make_spikeglx(tmp_path, no_type, 2), reporter=reporter)
    np.testing.assert_array_equal(found.gain_to_uv, whole.gain_to_uv)
    np.testing.assert_array_equal(found.sample_shifts.fractions, whole.sample_shifts.fractions)
    assert len(reporter.texts) == 1
    assert "has no imDatPrb_type: taking the probe for one of type" in str(reporter)
    if KINDS[name].part in ("NP1000", "NP1110", "NP2003", "NP2013", "NP2020", "PRB2_1_2_0640_0", "PRB2_4_2_0640_0"):
        no_part = with_values(meta_of_kind(name), imDatPrb_pn=None)
        found = open_recording(make_spikeglx(tmp_path, no_part, 2), reporter=reporter)
        np.testing.assert_array_equal(found.geometry.positions_um, whole.geometry.positions_um)
        assert "has no imDatPrb_pn: taking the probe for a NP" in reporter.texts[-1]


def test_the_table_tells_the_probe_where_nothing_else_does(tmp_path, reporter):
    for name in ("NP2013", "3A option 3"):
        whole = open_recording(make_spikeglx(tmp_path, meta_of_kind(name), 2), reporter=reporter)
        text = with_values(meta_of_kind(name), imDatPrb_pn=None, imDatPrb_type=None, imProbeOpt=None)
        found = open_recording(make_spikeglx(tmp_path, text, 2), reporter=reporter)
        np.testing.assert_array_equal(found.gain_to_uv, whole.gain_to_uv)
        np.testing.assert_array_equal(found.geometry.positions_um, whole.geometry.positions_um)


def test_type_and_part_number_must_agree(tmp_path, reporter):
    text = with_values(meta_of_kind("NP2013"), imDatPrb_type="0")
    with pytest.raises(InputError, match="contradicts itself: probe type 0, part NP2013"):
        open_recording(make_spikeglx(tmp_path, text, 2), reporter=reporter)


def test_an_unknown_probe_that_tells_everything_is_read(tmp_path, reporter):
    whole = open_recording(make_spikeglx(tmp_path, meta_of_kind("NP2013"), 2), reporter=reporter)
    unknown = {"imDatPrb_pn": "NP9013", "imDatPrb_type": "9013", "imroTbl": "(NP9013,384)(what is this)"}
    found = open_recording(
        make_spikeglx(tmp_path, with_values(meta_of_kind("NP2013"), **unknown), 2), reporter=reporter
    )
    assert "taking the contacts of part NP9013 from its ~snsGeomMap" in str(reporter)
    np.testing.assert_array_equal(found.gain_to_uv, whole.gain_to_uv)
    np.testing.assert_array_equal(relative(found.geometry.positions_um), relative(whole.geometry.positions_um))
    np.testing.assert_array_equal(found.geometry.shanks, whole.geometry.shanks)
    assert found.sample_shifts.fractions is None
    assert "probe type 9013 does not tell" in found.sample_shifts.reason


@pytest.mark.parametrize("place", [0, 383])
def test_two_sources_of_a_place_must_agree(tmp_path, reporter, place):
    text = meta_of_kind("NP2013")
    header, *entries = re.findall(r"\([^)]*\)", meta_values(text)["~snsGeomMap"])
    shank, x, y, used = entries[place].strip("()").split(":")
    for other in (f"({shank}:{x}:{int(y) + 15}:{used})", f"({(int(shank) + 1) % 4}:{x}:{y}:{used})"):
        moved = "".join([header, *(other if index == place else each for index, each in enumerate(entries))])
        path = make_spikeglx(tmp_path, with_values(text, snsGeomMap=moved), 2)
        with pytest.raises(InputError, match="~imroTbl and ~snsGeomMap have contacts in other places") as caught:
            open_recording(path, reporter=reporter)
        assert "--probe" in caught.value.hint
        open_recording(path, probe=write_line_probe(tmp_path / "p.json", 384), reporter=reporter)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (lambda entries: entries[:-4], "no entry for every saved channel"),
        (lambda entries: [entries[1], entries[0], *entries[2:]], "no entry for every saved channel"),
        (lambda entries: ["(0 99 0 500 250 1)", *entries[1:]], "no geometry for probe type 0"),
    ],
)
def test_a_table_that_lacks_channels_is_refused(tmp_path, reporter, table, message):
    text = meta_of_kind("NP1000")
    header, *entries = re.findall(r"\([^)]*\)", meta_values(text)["~imroTbl"])
    path = make_spikeglx(tmp_path, with_values(text, imroTbl=header + "".join(table(entries))), 2)
    with pytest.raises(InputError, match=message):
        open_recording(path, probe=None, gain_to_uv=2.0, reporter=reporter)


def test_the_last_sites_of_option_4_need_a_probe(tmp_path, reporter):
    text = meta_of_kind("3A option 4")
    table = meta_values(text)["~imroTbl"]
    far = re.sub(r"\(137 0 ", "(137 3 ", table)  # site 3 x 276 + 137 = 965
    path = make_spikeglx(tmp_path, with_values(text, imroTbl=far), 2)
    with pytest.raises(InputError, match="no geometry for probe type 3A") as caught:
        open_recording(path, reporter=reporter)
    assert "give --probe" in caught.value.hint
