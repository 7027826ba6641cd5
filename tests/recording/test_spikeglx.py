"""SpikeGLX recordings, on the real meta files of every kind of probe that are shared."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from driftcli.errors import InputError, UsageError
from driftcli.model import CONTACT_LABELS
from driftcli.recording.gains import ap_gains_to_uv, full_scale
from driftcli.recording.meta import Meta, parse_meta
from driftcli.recording.open import open_recording
from driftcli.recording.options import Options
from driftcli.recording.spikeglx import meta_beside, open_spikeglx
from make_raw import column_of_contacts, counts, probe_dict, write_json_probe, write_line_probe
from make_spikeglx import made_meta, make_spikeglx, meta_values, read_meta_text, with_values

SHARED = Path(__file__).parents[3] / "shared/data/spikeglx_meta"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f"the real meta files are not there: {SHARED}")


@dataclass(frozen=True)
class Facts:
    """What SpikeGLX's documentation and the meta itself say of a file."""

    columns: int
    contacts: int
    shanks: int
    gain_to_uv: float
    rate_hz: float
    span_um: tuple[float, float]


NP1_GAIN, NP2_GAIN, NP2_2013_GAIN = 0.6e6 / 512 / 500, 0.5e6 / 8192 / 80, 0.62e6 / 2048 / 100
REAL = {
    "NP-Ultra": Facts(385, 384, 1, NP1_GAIN, 30000, (42, 282)),
    "NP1_saved_only_subset_of_channels": Facts(152, 151, 1, NP1_GAIN, 30000, (48, 1500)),
    "NP2020_sample_g0_t0.imec0.ap": Facts(1540, 1536, 4, NP2_2013_GAIN, 30000, (782, 2865)),
    "NP2_2013_all_channels.imec0.ap": Facts(385, 384, 4, NP2_2013_GAIN, 30000, (782, 3045)),
    "NP2_4_shanks.imec0.ap": Facts(385, 384, 4, NP2_GAIN, 30000, (782, 705)),
    "Noise_g0_t0.imec0.ap": Facts(385, 384, 1, NP1_GAIN, 30000, (48, 3820)),
    "catgt": Facts(385, 384, 1, NP1_GAIN, 30000.149579831934, (48, 3820)),
    "doppio-checkerboard_t0.imec0.ap": Facts(385, 384, 1, NP1_GAIN, 30000.030168, (48, 7660)),
    "p2_g0_t0.imec0.ap": Facts(385, 384, 1, NP2_GAIN, 30000, (32, 2865)),
    "phase3a.imec.ap": Facts(385, 384, 1, NP1_GAIN, 30000, (48, 3820)),
}
ROW_PITCH_UM = {0: 20.0, 1100: 6.0, 21: 15.0, 24: 15.0}


def shared_text(name: str) -> str:
    return read_meta_text(SHARED / f"{name}.meta")


def entries(table: str, separator: str) -> np.ndarray:
    """The numbers of a table's entries, without its header."""
    return np.array([list(map(float, each.split(separator))) for each in re.findall(r"\(([^)]*)\)", table)[1:]])


@needs_shared
def test_every_shared_file_is_a_case():
    assert {path.stem for path in SHARED.glob("*.meta")} == set(REAL)


@needs_shared
@pytest.mark.parametrize("name", REAL)
def test_a_real_recording_describes_itself(tmp_path, reporter, name):
    facts = REAL[name]
    path = make_spikeglx(tmp_path, shared_text(name), 40)
    recording = open_recording(path, reporter=reporter)
    assert (recording.num_samples, recording.num_columns) == (40, facts.columns)
    assert recording.inputs == {"recording": path, "meta": path.with_suffix(".meta")}
    assert recording.sampling_frequency_hz == facts.rate_hz
    np.testing.assert_allclose(recording.gain_to_uv, np.full(facts.contacts, facts.gain_to_uv), rtol=1e-12)
    np.testing.assert_array_equal(recording.columns, np.arange(facts.contacts))
    np.testing.assert_array_equal(np.unique(recording.geometry.shanks), np.arange(facts.shanks))
    np.testing.assert_array_equal(np.ptp(recording.geometry.positions_um, axis=0), facts.span_um)
    assert len(np.unique(recording.geometry.positions_um, axis=0)) == facts.contacts
    np.testing.assert_array_equal(recording.read(0, 40), np.fromfile(path, "<i2").reshape(40, -1))
    assert reporter.texts == []


@needs_shared
@pytest.mark.parametrize("name", REAL)
def test_the_geometry_is_that_of_the_maps_in_the_meta(tmp_path, reporter, name):
    """Two sources of one fact: the imro table through probeinterface, and the map SpikeGLX itself wrote."""
    values = meta_values(shared_text(name))
    geometry = open_recording(make_spikeglx(tmp_path, shared_text(name), 2), reporter=reporter).geometry
    if "~snsGeomMap" in values:
        shank, x, depth, _ = entries(values["~snsGeomMap"], ":")[: len(geometry)].T
        for number, contacts in geometry.each_shank():
            np.testing.assert_allclose(np.ptp(geometry.positions_um[contacts, 0] - x[contacts]), 0)
            assert (shank[contacts] == number).all()
    else:
        shank, _, row, _ = entries(values["~snsShankMap"], ":")[: len(geometry)].T
        depth = row * ROW_PITCH_UM[int(values.get("imDatPrb_type", 0))]
    np.testing.assert_array_equal(geometry.shanks, shank)
    np.testing.assert_allclose(np.ptp(geometry.depths_um - depth), 0, atol=1e-9)


@needs_shared
def test_the_meta_is_read_whatever_its_line_ends_encoding_and_notes(tmp_path, reporter):
    text = shared_text("Noise_g0_t0.imec0.ap")
    plain = open_recording(make_spikeglx(tmp_path, text, 5), reporter=reporter)
    notes = "userNotes=dose = 5 µg/kg (x=1)\n~odd=(1=2)(3=4)\nno value\n\n"
    for content in (
        (text.replace("\r\n", "\n") + notes).encode("utf-8"),
        (text.replace("\r\n", "\n") + notes).encode("latin-1"),
        (text + notes).encode("utf-8-sig"),
    ):
        path = make_spikeglx(tmp_path, text, 5)
        path.with_suffix(".meta").write_bytes(content.replace(b"fileSizeBytes=121625350", b"fileSizeBytes=3850"))
        other = open_recording(path, reporter=reporter)
        np.testing.assert_array_equal(other.geometry.positions_um, plain.geometry.positions_um)
        np.testing.assert_array_equal(other.gain_to_uv, plain.gain_to_uv)
    assert reporter.texts == []
    values = parse_meta(notes.encode("utf-8"))
    assert values == {"userNotes": "dose = 5 µg/kg (x=1)", "~odd": "(1=2)(3=4)"}


def meta_of(**values: str) -> Meta:
    return Meta(Path("x.ap.meta"), {key.replace("TABLE_", "~"): value for key, value in values.items()})


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        # a gain for each channel, of the saved channels only
        (
            {"imDatPrb_type": "0", "imAiRangeMax": "0.6", "TABLE_imroTbl": "(0,4)(0 0 0 500 250 1)(1 0 0 250 250 1)"},
            [0.6e6 / 512 / 500, 0.6e6 / 512 / 250],
        ),
        (
            {"imAiRangeMax": "0.6", "TABLE_imroTbl": "(641251209,3,4)(0 0 0 1000 250)(1 0 0 50 250)"},
            [0.6e6 / 512 / 1000, 0.6e6 / 512 / 50],
        ),
        # NP1110 has one gain in the header, in the order type, column mode, reference, AP gain, LF gain, filter
        (
            {"imDatPrb_type": "1110", "imAiRangeMax": "0.6", "TABLE_imroTbl": "(1110,2,0,1500,250,1)(0 0 0)(1 0 0)"},
            [0.6e6 / 512 / 1500] * 2,
        ),
        # 2.0 prototypes: 14 bits, gain 80; 2.0 on the market: 12 bits, gain 100
        ({"imDatPrb_type": "21", "imAiRangeMax": "0.5"}, [0.5e6 / 8192 / 80] * 2),
        ({"imDatPrb_type": "24", "imAiRangeMax": "0.5"}, [0.5e6 / 8192 / 80] * 2),
        ({"imDatPrb_type": "2003", "imAiRangeMax": "0.62"}, [0.62e6 / 2048 / 100] * 2),
        ({"imDatPrb_type": "2014", "imAiRangeMax": "0.62", "imMaxInt": "2048"}, [0.62e6 / 2048 / 100] * 2),
        # what the meta says goes before what is known of the probe
        (
            {"imDatPrb_type": "2013", "imAiRangeMax": "0.62", "imMaxInt": "4096", "imChan0apGain": "50"},
            [0.62e6 / 4096 / 50] * 2,
        ),
        (
            {"imDatPrb_type": "7777", "imAiRangeMax": "0.62", "imMaxInt": "4096", "imChan0apGain": "50"},
            [0.62e6 / 4096 / 50] * 2,
        ),
    ],
)
def test_gains_of_each_family(values, expected):
    np.testing.assert_allclose(ap_gains_to_uv(meta_of(**values), np.array([0, 1])), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"imDatPrb_type": "7777", "imAiRangeMax": "0.62"}, "probe type 7777 is not known"),
        ({"imDatPrb_type": "odd", "imAiRangeMax": "0.62"}, "probe type odd is not known"),
        ({"imDatPrb_type": "0"}, "has no imAiRangeMax"),
        ({"imDatPrb_type": "0", "imAiRangeMax": "0.6"}, "has no ~imroTbl"),
        ({"imDatPrb_type": "0", "imAiRangeMax": "0.6", "TABLE_imroTbl": "(0,1)(0 0 0 500 250 1)"}, "no gain for every"),
        ({"imDatPrb_type": "0", "imAiRangeMax": "zero", "TABLE_imroTbl": "(0,1)"}, "imAiRangeMax=zero"),
        (
            {"imDatPrb_type": "0", "imAiRangeMax": "0.6", "TABLE_imroTbl": "(0,2)(0 0 0 0 0)(1 0 0 0 0)"},
            "without a gain",
        ),
    ],
)
def test_gains_that_cannot_be_told(values, message):
    with pytest.raises(InputError, match=message):
        ap_gains_to_uv(meta_of(**values), np.array([0, 1]))


@needs_shared
def test_a_saved_subset_takes_the_gains_and_contacts_of_its_own_channels(tmp_path, reporter):
    text = shared_text("Noise_g0_t0.imec0.ap")
    table = meta_values(text)["~imroTbl"].replace("(11 0 0 500 ", "(11 0 0 250 ")
    subset = with_values(
        text,
        imroTbl=table,
        nSavedChans="4",
        snsApLfSy="3,0,1",
        snsSaveChanSubset="2,10:11,768",
        snsChanMap="(384,384,1)(AP2;2:2)(AP10;10:10)(AP11;11:11)(SY0;768:768)",
        snsShankMap="(1,2,480)(0:0:1:1)(0:0:5:1)(0:1:5:0)",
    )
    whole = open_recording(make_spikeglx(tmp_path, text, 5), reporter=reporter)
    part = open_recording(make_spikeglx(tmp_path, subset, 5), reporter=reporter)
    np.testing.assert_array_equal(part.geometry.positions_um, whole.geometry.positions_um[[2, 10, 11]])
    np.testing.assert_allclose(part.gain_to_uv, [NP1_GAIN, NP1_GAIN, 2 * NP1_GAIN], rtol=1e-12)
    np.testing.assert_array_equal(part.columns, [0, 1, 2])
    np.testing.assert_array_equal(part.labels, [0, 0, CONTACT_LABELS.index("reference")])


@needs_shared
def test_a_probe_replaces_the_geometry_and_keeps_the_gains(tmp_path, reporter):
    path = make_spikeglx(tmp_path, shared_text("p2_g0_t0.imec0.ap"), 5)
    probe = write_json_probe(tmp_path / "p.json", probe_dict(column_of_contacts(3), [7, 300, 2]))
    recording = open_recording(path, probe=probe, reporter=reporter)
    np.testing.assert_array_equal(recording.columns, [7, 300, 2])
    np.testing.assert_array_equal(recording.geometry.positions_um, column_of_contacts(3))
    np.testing.assert_allclose(recording.gain_to_uv, [NP2_GAIN] * 3, rtol=1e-12)
    sync = write_json_probe(tmp_path / "q.json", probe_dict(column_of_contacts(2), [0, 384]))
    with pytest.raises(InputError, match="it wires column 384 of 384"):
        open_recording(path, probe=sync, reporter=reporter)


@needs_shared
def test_an_unknown_probe_works_with_a_probe_file_and_a_gain(tmp_path, reporter):
    text = with_values(shared_text("Noise_g0_t0.imec0.ap"), imDatPrb_type="7777", imDatPrb_pn="NP7777")
    path, probe = make_spikeglx(tmp_path, text, 5), write_line_probe(tmp_path / "p.json", 384)
    with pytest.raises(InputError, match=r"probe type 7777 \(part NP7777\)") as caught:
        open_recording(path, reporter=reporter)
    assert "give --probe" in caught.value.hint
    with pytest.raises(InputError, match="probe type 7777 is not known") as caught:
        open_recording(path, probe=probe, reporter=reporter)
    assert "--gain-to-uv" in caught.value.hint
    recording = open_recording(path, probe=probe, gain_to_uv=3.5, reporter=reporter)
    np.testing.assert_array_equal(recording.gain_to_uv, np.full(384, 3.5))


@needs_shared
def test_options_that_agree_with_the_meta_pass_and_others_name_both(tmp_path, reporter):
    path = make_spikeglx(tmp_path, shared_text("catgt"), 5)
    agreeing = {
        "num_channels": 385,
        "sampling_frequency_hz": 30000.149579831934,
        "dtype": "int16",
        "gain_to_uv": 2.34375,
    }
    open_recording(path, reporter=reporter, **agreeing)
    for option, value, message in (
        ("num_channels", 384, "--num-channels 384 contradicts .*, which says 385"),
        ("sampling_frequency_hz", 30000.0, "--sampling-frequency 30000.0 contradicts .* 30000.149579831934"),
        ("dtype", "float32", "--dtype float32 contradicts .* int16"),
        ("gain_to_uv", 0.195, "--gain-to-uv 0.195 contradicts .* 2.34375"),
        ("offset_bytes", 16, "--offset-bytes 16 contradicts .* 0"),
    ):
        with pytest.raises(UsageError, match=message):
            open_recording(path, reporter=reporter, **{option: value})


@needs_shared
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"imSampRate": None}, "has no imSampRate"),
        ({"imSampRate": "fast"}, "imSampRate=fast"),
        ({"nSavedChans": None}, "has no nSavedChans"),
        ({"snsApLfSy": None}, "has no snsApLfSy"),
        ({"snsApLfSy": "384,0"}, "contradicts itself: nSavedChans=385, snsApLfSy=384,0"),
        ({"snsApLfSy": "384,x,1"}, "snsApLfSy=384,x,1, which are not whole numbers"),
        ({"snsSaveChanSubset": "0:300"}, "contradicts itself: nSavedChans=385, snsSaveChanSubset=0:300"),
        ({"snsSaveChanSubset": "0:a"}, "snsSaveChanSubset=0:a, which lists no channels"),
        ({"imroTbl": None}, "has no ~imroTbl"),
        ({"imroTbl": "(0,384)"}, "no geometry for probe type 0"),
        ({"typeThis": "nidq"}, "holds nidq data"),
        ({"snsApLfSy": "0,384,1"}, "holds no AP band"),
    ],
)
def test_metas_that_are_broken_or_of_other_data(tmp_path, reporter, change, message):
    text = shared_text("Noise_g0_t0.imec0.ap")
    path = make_spikeglx(tmp_path, text, 5)
    path.with_suffix(".meta").write_bytes(with_values(text, **change).encode())
    with pytest.raises(InputError, match=re.escape(message)):
        open_recording(path, reporter=reporter)


@needs_shared
def test_lf_files_are_refused(tmp_path, reporter):
    path = make_spikeglx(tmp_path, shared_text("p2_g0_t0.imec0.ap"), 5)
    lf = tmp_path / "p2_g0_t0.imec0.lf.bin"
    path.rename(lf)
    path.with_suffix(".meta").rename(lf.with_suffix(".meta"))
    with pytest.raises(InputError, match="holds no AP band"):
        open_recording(lf, reporter=reporter)


def cut(path, num_bytes, **options):
    """Open what is left of the file, as the command line would with these options."""
    path.write_bytes(path.read_bytes()[:num_bytes])
    reporter = options.pop("reporter")
    return open_spikeglx(path, meta_beside(path), None, Options(**options), reporter)


FRAME = 49 * 2


@pytest.mark.parametrize(
    ("num_bytes", "message"),
    [
        (8 * FRAME, "has 784 bytes; made_g0_t0.imec0.ap.meta says 980 bytes, 196 more"),
        (
            10 * FRAME - 3,
            "has 977 bytes, 95 bytes more than 9 whole frames of 49 channels; made_g0_t0.imec0.ap.meta says 980 bytes, "
            "3 more",
        ),
    ],
)
def test_a_file_that_was_cut_off_needs_to_be_allowed(tmp_path, reporter, num_bytes, message):
    path = make_spikeglx(tmp_path, made_meta("NP1"), 10)
    content = path.read_bytes()
    with pytest.raises(InputError, match=re.escape(f"{path} {message}")) as caught:
        cut(path, num_bytes, reporter=reporter)
    assert "--truncated ok" in caught.value.hint
    assert reporter.texts == []
    recording = cut(path, num_bytes, truncated_ok=True, reporter=reporter)
    assert reporter.texts == [f"{path.name} {message}: going on with the {num_bytes // FRAME} whole frames there are"]
    assert recording.num_samples == num_bytes // FRAME
    assert recording.read(0, recording.num_samples).tobytes() == content[: recording.num_samples * FRAME]


def test_nothing_goes_on_without_a_whole_frame(tmp_path, reporter):
    path = make_spikeglx(tmp_path, made_meta("NP1"), 10)
    with pytest.raises(InputError, match="97 bytes more than 0 whole frames"):
        cut(path, FRAME - 1, truncated_ok=True, reporter=reporter)


def test_a_torn_frame_is_told_where_the_meta_says_no_size(tmp_path, reporter):
    path = make_spikeglx(tmp_path, made_meta("NP1"), 10)
    path.with_suffix(".meta").write_text(with_values(made_meta("NP1"), fileSizeBytes=None))
    with pytest.raises(InputError, match=r"has 977 bytes, 95 bytes more than 9 whole frames of 49 channels$"):
        cut(path, 10 * FRAME - 3, reporter=reporter)
    assert cut(path, 10 * FRAME - 3, truncated_ok=True, reporter=reporter).num_samples == 9


def test_more_than_the_meta_says_is_told(tmp_path, reporter):
    path = make_spikeglx(tmp_path, made_meta("NP1"), 10)
    path.write_bytes(path.read_bytes() + bytes(2 * FRAME))
    assert open_recording(path, reporter=reporter).num_samples == 12
    assert "has 1,176 bytes; made_g0_t0.imec0.ap.meta says 980 bytes: going on with the 12 samples" in str(reporter)
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(InputError, match="1 bytes more than 12 whole frames"):
        open_recording(path, reporter=reporter)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"imDatPrb_type": "0"}, (-512, 511)),
        ({"imDatPrb_type": "21"}, (-8192, 8191)),
        ({"imDatPrb_type": "2013", "imMaxInt": "2048"}, (-2048, 2047)),
        ({"imDatPrb_type": "2013", "imMaxInt": "32768"}, (-32768, 32767)),
        ({"imDatPrb_type": "7777", "imMaxInt": "4096"}, (-4096, 4095)),
        ({"imDatPrb_type": "7777"}, None),
    ],
)
def test_how_far_the_converter_reaches(values, expected):
    assert full_scale(meta_of(**values)) == expected


@pytest.mark.parametrize("wrong", ["0", "-1", "32769", "1.5", "many"])
def test_no_converter_reaches_there(wrong):
    with pytest.raises(InputError, match=f"imMaxInt={wrong}"):
        full_scale(meta_of(imDatPrb_type="2013", imMaxInt=wrong))


def test_a_meta_that_is_not_of_spikeglx_is_not_looked_at(tmp_path, reporter):
    (tmp_path / "rec.bin").write_bytes(counts(10, 2).tobytes())
    (tmp_path / "rec.meta").write_text("some=thing\n")
    recording = open_recording(tmp_path / "rec.bin", probe=write_line_probe(tmp_path / "p.json", 2), reporter=reporter)
    assert set(recording.inputs) == {"recording", "probe"}


@pytest.mark.parametrize(("value", "told"), [("true", True), ("false", False), (None, False)])
def test_a_survey_is_told(tmp_path, reporter, value, told):
    text = with_values(made_meta("NP2 four shanks"), imIsSvyRun=value)
    open_recording(make_spikeglx(tmp_path, text), reporter=reporter)
    assert ("of a survey" in str(reporter)) == told
