"""Whatever a meta holds, opening the recording works or tells what is wrong: no other errors."""

import os
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from driftcli.errors import InputError, UsageError
from driftcli.recording.options import Options
from driftcli.recording.spikeglx import meta_beside, open_spikeglx
from driftcli.recording.spikeglx_out import corrected_name, joined_name, run_and_stream
from driftcli.reporter import Reporter
from make_probes import meta_of_kind
from make_spikeglx import make_spikeglx, meta_values

NAMES = ("NP1000", "3A option 4", "NP1110", "NP2013", "PRB2_1_2_0640_0")
TEXTS = {name: meta_of_kind(name, range(6)) for name in NAMES}
MORE_KEYS = {"~muxTbl", "~snsGeomMap", "catGTCmdline", "catGTCmdline0"}
KEYS = sorted(MORE_KEYS.union(*(meta_values(text) for text in TEXTS.values())))
NUMBERS = ("", "0", "-1", "1e400", "nan", "²", "1_0", "9" * 5000, "all", "0:5,768", "0:99999999999", "5,0,1", "6,0,1")
TABLES = (
    *("()", "(", ")(", "(1,1)(0)", "(0,384)(0 0 0 0 0 1)", "(9,4,276)(a b)"),
    *("(1,2,3)" + "(0:0:0:1)" * 6, "(1,x,3)" + "(1e300:0:0:0)" * 6),
)
WORDS = ("NP2013", "NP9999", "2013", "1110", "\x00", "<CatGT -supercat={a\x00,b}{/nowhere,x}>", "a=b=c", "\ufeff", "é")
PIECES = st.sampled_from([*NUMBERS, *TABLES, *WORDS])
VALUES = PIECES | st.text(max_size=20) | st.lists(PIECES, max_size=3).map("".join)
LENIENT = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def opened(path, content):
    """The recording, or None where a meta of these bytes can't be used, which must be told in one readable line."""
    path.with_suffix(".meta").write_bytes(content)
    try:
        meta = meta_beside(path)
        return open_spikeglx(path, meta, None, Options(), Reporter())
    except (InputError, UsageError) as error:
        told = error
    assert len(told.message.splitlines()) == 1
    assert len(told.message) < 800
    return None


@LENIENT
@given(name=st.sampled_from(NAMES), changes=st.dictionaries(st.sampled_from(KEYS), st.none() | VALUES, max_size=4))
@example(name="NP1000", changes={"imDatPrb_type": "9" * 5000})
@example(name="NP1000", changes={"~snsGeomMap": "(1,x,y)" + "(1e300:0:0:0)" * 6})
@example(name="NP2013", changes={"imDatPrb_type": "1", "imDatPrb_pn": "X", "~snsGeomMap": "(X)" + "(0:0:0:1)" * 6})
@example(name="NP2013", changes={"imDatPrb_pn": "X", "~snsGeomMap": "(X,1,1e400)" + "(0:0:0:1)" * 6})
@example(name="NP1000", changes={"imSampRate": "1e308", "imMaxInt": "99999999999"})
@example(name="3A option 4", changes={"~imroTbl": "(1)(2)"})
@example(name="NP1000", changes={"~imroTbl": "(0,6)" + "".join(f"({c} 0 0 500 250 1)" for c in range(6)) + "()"})
@example(name="NP1000", changes={"catGTCmdline": "<CatGT -supercat={a\x00,b}>"})
def test_changed_values(tmp_path, name, changes):
    path = make_spikeglx(tmp_path, TEXTS[name], 3)
    values = meta_values(path.with_suffix(".meta").read_text(encoding="utf-8"))
    values |= {key: value for key, value in changes.items() if value is not None}
    content = "".join(f"{key}={value}\n" for key, value in values.items() if changes.get(key, "") is not None)
    recording = opened(path, content.encode("utf-8"))
    if recording is not None:
        assert recording.num_samples * recording.num_columns * 2 == path.stat().st_size
        assert np.isfinite(recording.geometry.positions_um).all()
        assert np.isfinite(recording.gain_to_uv).all()
        assert (recording.gain_to_uv > 0).all()
        assert len(recording.columns) == len(recording.labels) == len(recording.gain_to_uv)


@LENIENT
@given(
    name=st.sampled_from(NAMES),
    start=st.floats(0, 1),
    length=st.integers(0, 300),
    garbage=st.binary(max_size=20),
)
@example(name="NP1000", start=0.0, length=100_000, garbage=b"")
@example(name="NP1000", start=0.0, length=100_000, garbage=bytes(range(256)))
@example(name="NP2013", start=0.5, length=100_000, garbage=b"")
def test_torn_files(tmp_path, name, start, length, garbage):
    path = make_spikeglx(tmp_path, TEXTS[name], 3)
    content = path.with_suffix(".meta").read_bytes()
    first = int(start * len(content))
    opened(path, content[:first] + garbage + content[first + length :])


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xff\xfe\x00garbage\x00=\x01", b"some=thing\n"])
def test_a_meta_of_nothing_is_told(tmp_path, content):
    path = make_spikeglx(tmp_path, TEXTS["NP1000"], 3)
    path.with_suffix(".meta").write_bytes(content)
    with pytest.raises(InputError, match="is no meta of SpikeGLX"):
        meta_beside(path)
    other = path.rename(tmp_path / "rec.bin")
    path.with_suffix(".meta").rename(other.with_suffix(".meta"))
    assert meta_beside(other) is None


def test_a_rate_beyond_any_converter_is_refused(tmp_path):
    path = make_spikeglx(tmp_path, TEXTS["NP1000"], 30)
    text = path.with_suffix(".meta").read_text()
    rate = meta_values(text)["imSampRate"]
    path.with_suffix(".meta").write_text(text.replace(f"imSampRate={rate}", "imSampRate=1e300"))
    with pytest.raises(InputError, match="imSampRate=1e300"):
        open_spikeglx(path, meta_beside(path), None, Options(), Reporter())
    with pytest.raises(UsageError, match="--sampling-frequency 1e"):
        Options(sampling_frequency_hz=1e300)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("nSavedChans", "1000000000000", "contradicts itself"),
        ("snsApLfSy", "1000000000000,0,1", "contradicts itself"),
        ("snsSaveChanSubset", "0:999999999,999999999", "contradicts itself"),
        ("snsSaveChanSubset", "0:1000000000000", "lists no channels"),
        ("snsSaveChanSubset", ",".join(["0:999999999"] * 9999), "contradicts itself"),
        ("~imroTbl", "(" * 1_000_000, "no geometry"),
        ("~imroTbl", "(0,6)" + "(0 0 0 500 250 1)" * 100_000, "NP1000|no entry for every"),
        ("~snsChanMap", "(" * 1_000_000, "entries for 7 saved channels"),
        ("~snsGeomMap", "(1,1,1,1)" + "(0:0:0:1)" * 100_000, "entries for 6 saved channels"),
        ("imSampRate", "1e300", "no rate"),
        ("fileName", "x" * 5_000_000, "longer than"),
    ],
)
def test_absurd_values_are_refused_soon_and_in_little_memory(tmp_path, key, value, words):
    path = make_spikeglx(tmp_path, TEXTS["NP1000"], 3)
    values = meta_values(path.with_suffix(".meta").read_text()) | {key: value}
    path.with_suffix(".meta").write_text("".join(f"{name}={each}\n" for name, each in values.items()))
    began = time.process_time()
    tracemalloc.start()
    with pytest.raises(InputError, match=words):
        open_spikeglx(path, meta_beside(path), None, Options(), Reporter())
    assert tracemalloc.get_traced_memory()[1] < 3e8
    tracemalloc.stop()
    assert time.process_time() - began < 10


def test_a_supercat_of_many_and_of_pipes_is_not_waited_for(tmp_path):
    """CatGT's command line names folders whose metas are looked into: any folder, and there may be anything in it."""
    path = make_spikeglx(tmp_path, TEXTS["NP1000"], 3)
    name = "r_g0_tcat." + ".".join(path.with_suffix(".meta").name.split(".")[-3:])
    os.mkfifo(tmp_path / name)
    (tmp_path / "big").mkdir()
    with (tmp_path / "big" / name).open("wb") as file:
        file.truncate(1 << 40)
    elements = f"{{{tmp_path},r_g0}}{{{tmp_path}/big,r_g0}}" + "".join(f"{{/nowhere{n},r_g0}}" for n in range(99_999))
    with path.with_suffix(".meta").open("a") as meta:
        meta.write(f"catGTCmdline=<CatGT -supercat={elements}>\n")
    began = time.process_time()
    assert open_spikeglx(path, meta_beside(path), None, Options(), Reporter()) is not None
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    "name", ["../../../evil_g0_t0.imec0.ap.bin", "/etc/evil_g0_t0.imec0.ap.bin", "..", "a\0b.ap.bin"]
)
def test_the_name_in_a_meta_leads_nowhere(tmp_path, name):
    text = TEXTS["NP1000"].replace("D:/data/made_g0/made_g0_t0.imec0.ap.bin", "made_g0_t0.imec0.ap.bin")
    path = make_spikeglx(tmp_path, text, 3).rename(tmp_path / "copy.bin")
    (tmp_path / "made_g0_t0.imec0.ap.meta").rename(tmp_path / "copy.meta")
    content = (tmp_path / "copy.meta").read_text().replace("fileName=made_g0_t0.imec0.ap.bin", f"fileName={name}")
    (tmp_path / "copy.meta").write_text(content)
    meta = meta_beside(path)
    assert meta.values["fileName"] == name
    for named in (corrected_name(path, meta), joined_name(path, meta), *run_and_stream(path, meta)):
        assert Path(named).name == named
        assert "\0" not in named
        assert "evil" not in named
