"""The text of meta files: whatever was read is written so that it is read again."""

import string
from urllib.parse import unquote

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from neo.rawio import SpikeGLXRawIO
from probeinterface.neuropixels_tools import parse_spikeglx_meta

import make_spikeglx
from driftcli.recording.meta import format_meta, one_value, parse_meta

LINES = st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=30), max_size=20)


@given(content=st.binary(max_size=200))
@example(content=b"a=1\r\nb = x=y \r\n~c=(1)(2:3)\r\n")
@example(content=b"\xef\xbb\xbf\xef\xbb\xbfa=1")
@example(content=b"a=\xb5V\n=x\n==\nnothing\na=2")
@example(content=b"a=\x85 1\x1c\n")
def test_what_was_read_is_read_again_from_any_bytes(content):
    values = parse_meta(content)
    assert list(parse_meta(format_meta(values)).items()) == list(values.items())


@given(lines=LINES, end=st.sampled_from(["\n", "\r\n", "\r"]))
@example(lines=["userNotes=dose = 5 µg/kg", "~odd=(1=2)(3=4)"], end="\r\n")
def test_what_was_read_is_read_again_from_any_lines(lines, end):
    values = parse_meta(end.join(f"key{number}={line}" for number, line in enumerate(lines)).encode("utf-8"))
    again = format_meta(values)
    assert list(parse_meta(again).items()) == list(values.items())
    assert b"\r" not in again


@given(value=st.text(alphabet=st.characters(exclude_categories=["Cs"])))
@example(value="a=b\r\nc\u2028d")
@example(value="\ufeff")
@example(value=" both ends ")
@example(value="100%3D")
@example(value="/not/utf-8/\udcff")
def test_a_value_made_for_every_reader_is_one_line_without_equals_sign_and_can_be_read_back(value):
    text = one_value(value)
    assert "=" not in text
    assert len(text.splitlines()) <= 1
    (read,) = parse_meta(format_meta({"key": text})).values()
    assert unquote(read, errors="surrogateescape") == value
    if set(value) <= set(string.ascii_letters + string.digits + ".,:/{}[]\"'_-"):
        assert text == value


@pytest.mark.parametrize("folder", ["/data", "/a=b/50%", "/50%3D/é/\u2028/ x "])
def test_readers_find_the_stream_of_a_name_that_was_made_for_them(tmp_path, folder):
    text = make_spikeglx.with_values(
        make_spikeglx.made_meta("NP1"), fileName=one_value(f"{folder}/50%=run_g0_t0.imec3.ap.bin")
    )
    (tmp_path / "x.bin").write_bytes(np.zeros((3, 49), "<i2").tobytes())
    (tmp_path / "x.meta").write_text(text, encoding="utf-8")
    reader = SpikeGLXRawIO(dirname=str(tmp_path))
    reader.parse_header()
    assert reader.header["signal_streams"]["name"].tolist() == ["imec3.ap", "imec3.ap-SYNC"]


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "~c"]), st.text("=x\t ", max_size=4)), max_size=8))
def test_a_key_that_is_there_twice_has_its_last_value(pairs):
    content = "".join(f"{key}={value}\n" for key, value in pairs).encode()
    assert parse_meta(content) == {key: value.strip() for key, value in pairs}
    assert list(parse_meta(content)) == list(dict(pairs))


@pytest.mark.parametrize("kind", make_spikeglx.MADE)
def test_probeinterface_reads_the_same_values(tmp_path, kind):
    values = parse_meta(make_spikeglx.made_meta(kind).encode("utf-8"))
    (tmp_path / "x.meta").write_bytes(format_meta(values))
    assert parse_spikeglx_meta(tmp_path / "x.meta") == {key.lstrip("~"): value for key, value in values.items()}
