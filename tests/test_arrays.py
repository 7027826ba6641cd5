"""`.npz` and `.npy` files that lie: pickles, zip bombs, headers that claim what isn't there."""

import io
import tracemalloc
import zipfile

import numpy as np
import pytest

from driftcli.arrays import numbers, read_npy, read_npz


def npy(header, data=b"", version=b"\x01\x00"):
    text = header.encode()
    return b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text + data


def header_of(shape, descr="<f8"):
    return f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}}}\n"


ARRAYS = {
    "float": np.arange(6.0).reshape(2, 3),
    "by_column": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "scalar": np.array(7),
    "text": np.array("µ and more"),
    "none": np.empty((0, 3)),
    "flags": np.array([True, False]),
    "big": np.arange(3, dtype=">i4"),
}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_numpy_writes_is_read(tmp_path, save):
    save(tmp_path / "x.npz", **ARRAYS)
    read = read_npz(tmp_path / "x.npz")
    assert list(read) == list(ARRAYS)
    for name, values in ARRAYS.items():
        np.testing.assert_array_equal(read[name], values)
        assert read[name].dtype == values.dtype
        assert read[name].shape == values.shape
        np.save(tmp_path / "x.npy", values)
        np.testing.assert_array_equal(read_npy(tmp_path / "x.npy"), values)
    assert list(read_npz(tmp_path / "x.npz", ("text", "other"))) == ["text"]


LIES = {
    "pickle": (npy(header_of("(1,)", "|O"), b"cos\nsystem\n(S'touch hacked'\ntR."), "no numbers or texts"),
    "trillion": (npy(header_of("(1000000000000,)")), "which are not there"),
    "square": (npy(header_of("(4294967296, 4294967296, 4294967296)")), "which are not there"),
    "short": (npy(header_of("(2,)"), b"\0" * 15), "which are not there"),
    "long": (npy(header_of("(2,)"), b"\0" * 17), "which are not there"),
    "negative": (npy(header_of("(-1, -1)"), b"\0" * 8), "which are not there"),
    "empty texts": (npy(header_of("(1000000000000,)", "<U0")), "no numbers or texts"),
    "huge texts": (npy(header_of("(1,)", "<U500000000")), "which are not there"),
    "records": (npy("{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (1,)}\n", b"\0" * 8), "no numbers"),
    "no characters": (npy(header_of("()", "<U2"), b"\xff\xff\xff\xffabcd"), "is no text"),
    "half a character": (npy(header_of("()", ">U1"), b"\0\0\xd8\0"), "is no text"),
    "code": (npy("__import__('os').system('touch hacked')\n"), ""),
    "deep": (npy("(" * 9000 + "\n"), ""),
    "version": (npy(header_of("(0,)"), version=b"\x03\x00"), "version"),
    "no magic": (b"no array", ""),
    "nothing": (b"", ""),
}


@pytest.mark.parametrize("lie", LIES)
def test_arrays_that_are_none_are_refused_in_no_memory(tmp_path, monkeypatch, lie):
    monkeypatch.chdir(tmp_path)
    content, words = LIES[lie]
    (tmp_path / "x.npy").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x.npy", content)
    tracemalloc.start()
    for read, name in ((read_npy, "x.npy"), (read_npz, "x.npz")):
        with pytest.raises(ValueError, match=words or None) as caught:
            read(tmp_path / name)
        assert str(caught.value)
    assert tracemalloc.get_traced_memory()[1] < 1e7
    tracemalloc.stop()
    assert not (tmp_path / "hacked").exists()


def test_zip_bombs_are_refused_in_no_memory(tmp_path):
    with (
        zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x.npy", "w", force_zip64=True) as member,
    ):
        member.write(npy(header_of("(12500000,)")))
        for _ in range(100):
            member.write(bytes(1_000_000))
    tracemalloc.start()
    with pytest.raises(ValueError, match="it claims 100,0"):
        read_npz(tmp_path / "x.npz")
    assert tracemalloc.get_traced_memory()[1] < 1e7
    tracemalloc.stop()


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused(tmp_path, method):
    with zipfile.ZipFile(tmp_path / "x.npz", "w", method) as archive:
        archive.writestr("x.npy", npy(header_of("(1,)"), b"\0" * 8))
    with pytest.raises(ValueError, match="in a way that numpy does not write"):
        read_npz(tmp_path / "x.npz")


def test_a_stream_that_ends_early_or_is_corrupt_is_refused(tmp_path):
    out = io.BytesIO()
    np.savez_compressed(out, x=np.random.default_rng(0).random(1000))
    content = out.getvalue()
    for spoiled in (content[:4000] + b"\x55" * 100 + content[4100:], content[:4000], content[:-22]):
        (tmp_path / "x.npz").write_bytes(spoiled)
        with pytest.raises(ValueError, match=r"[a-z]"):
            read_npz(tmp_path / "x.npz")


def test_names_in_an_archive_lead_nowhere(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("../../evil.npy", npy(header_of("(1,)"), b"\0" * 8))
    assert list(read_npz(tmp_path / "x.npz")) == ["../../evil"]
    assert [each.name for each in tmp_path.iterdir()] == ["x.npz"]


def test_only_the_kinds_asked_for_become_numbers():
    assert numbers(np.array([1, 2]), "iu", np.int64).dtype == np.int64
    for values in (np.array([1.0]), np.array(["1"]), np.array([True])):
        with pytest.raises(ValueError, match="numbers that belong"):
            numbers(values, "iu", np.int64)
