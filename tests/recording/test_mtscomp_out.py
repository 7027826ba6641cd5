"""Compressed outputs: mtscomp and those that build on it read them, and a pair is whole or not there at all."""

import hashlib
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import mtscomp
import numpy as np
import pytest
from spikeinterface.extractors import read_cbin_ibl

from driftcli.errors import OutputError
from driftcli.recording.mtscomp import CompressedSamples
from driftcli.recording.mtscomp_out import CompressedWriter, compress
from make_raw import counts
from make_spikeglx import made_meta, make_spikeglx

BLOCK = 16_384


def write(path, samples, block=BLOCK):
    starts = range(0, len(samples), block)
    with (
        CompressedWriter(path, samples.dtype, samples.shape[1], len(samples), 30_000.5) as out,
        ThreadPoolExecutor(2) as threads,
    ):
        blocks = [samples[start : start + block] for start in starts]
        for each, compressed in zip(blocks, threads.map(compress, blocks), strict=True):
            out.append(each, compressed)
    return out


def extremes(dtype):
    """All sizes that differences can have, and for floats what is no number."""
    rng = np.random.default_rng(0)
    if dtype == "int16":
        return rng.integers(-(2**15), 2**15, (BLOCK + 5, 6)).astype("<i2")
    samples = (rng.normal(0, 1, (BLOCK + 5, 6)) * np.logspace(-30, 30, 6)).astype("<f4")
    samples[5:9, 2] = np.nan, np.inf, -np.inf, -0.0
    return samples


@pytest.mark.parametrize("dtype", ["int16", "float32"])
@pytest.mark.parametrize("block", [BLOCK, 5000, 1])
def test_what_is_written_is_read_back_by_us_and_by_mtscomp(tmp_path, dtype, block):
    samples = extremes(dtype)[: 40 if block == 1 else None]
    out = write(tmp_path / "x.cbin", samples, block)
    assert sorted(os.listdir(tmp_path)) == ["x.cbin", "x.ch"]
    opened = CompressedSamples.open(tmp_path / "x.cbin")
    assert opened.read(0, len(samples)).tobytes() == samples.tobytes()
    assert (opened.dtype, opened.num_columns, opened.sampling_frequency_hz) == (samples.dtype, 6, 30_000.5)
    assert opened.sha1 == out.sha1 == hashlib.sha1(samples.tobytes()).hexdigest()
    peer = mtscomp.decompress(tmp_path / "x.cbin", quiet=True)
    assert peer.shape == samples.shape
    assert peer[:].tobytes() == samples.tobytes()
    for start, stop in np.sort(np.random.default_rng(1).integers(0, len(samples), (20, 2))).tolist():
        assert peer[start:stop].tobytes() == samples[start:stop].tobytes()
    peer.close()


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_the_check_of_mtscomp_passes(tmp_path, dtype):
    """It decompresses to a file, and compares that with the compressed one."""
    samples = counts(2 * BLOCK + 100, 4).astype(dtype)
    write(tmp_path / "x.cbin", samples)
    reader = mtscomp.decompress(tmp_path / "x.cbin", out=tmp_path / "x.bin", check_after_decompress=True, quiet=True)
    reader.close()
    assert (tmp_path / "x.bin").read_bytes() == samples.tobytes()
    mtscomp.check(samples, tmp_path / "x.cbin", tmp_path / "x.ch")
    samples[BLOCK, 1] += 1
    with pytest.raises(AssertionError):
        mtscomp.check(samples, tmp_path / "x.cbin", tmp_path / "x.ch")


def test_the_header_is_that_of_mtscomp(tmp_path):
    """The keys, the values and their types of the file that mtscomp makes of the same samples."""
    samples = counts(250, 3)
    (tmp_path / "peer.bin").write_bytes(samples.tobytes())
    options = {"chunk_duration": 0.1, "quiet": True, "n_threads": 1, "check_after_compress": False}
    mtscomp.compress(tmp_path / "peer.bin", None, None, sample_rate=1000, n_channels=3, dtype="int16", **options)
    with CompressedWriter(tmp_path / "x.cbin", "int16", 3, 250, 1000) as out:
        for start in range(0, 250, 100):
            block = samples[start : start + 100]
            out.append(block, compress(block))
    theirs, mine = (json.loads((tmp_path / f"{name}.ch").read_text()) for name in ("peer", "x"))
    assert mine.pop("sha1_compressed") == hashlib.sha1((tmp_path / "x.cbin").read_bytes()).hexdigest()
    assert mine.pop("chunk_offsets")[-1] == (tmp_path / "x.cbin").stat().st_size
    del theirs["sha1_compressed"], theirs["chunk_offsets"], theirs["comp_level"], mine["comp_level"]
    assert mine == theirs
    assert list(map(type, mine.values())) == list(map(type, theirs.values()))


def test_spikeinterface_reads_it_beside_its_meta(tmp_path):
    meta = made_meta("NP1", saved=384)
    raw = make_spikeglx(tmp_path, meta, BLOCK + 700)
    samples = np.fromfile(raw, "<i2").reshape(-1, 385)
    write(raw.with_suffix(".cbin"), samples)
    recording = read_cbin_ibl(cbin_file_path=raw.with_suffix(".cbin"))
    np.testing.assert_array_equal(recording.get_traces(), samples[:, :-1])
    np.testing.assert_array_equal(
        recording.get_traces(start_frame=BLOCK - 3, end_frame=BLOCK + 3), samples[BLOCK - 3 : BLOCK + 3, :-1]
    )


def test_blocks_need_not_be_contiguous(tmp_path):
    samples = counts(40, 6)
    write(tmp_path / "x.cbin", samples[:, ::2])
    found = CompressedSamples.open(tmp_path / "x.cbin")
    np.testing.assert_array_equal(found.read(0, 40), samples[:, ::2])
    assert found.sha1 == hashlib.sha1(samples[:, ::2].tobytes()).hexdigest()


# Whole or not at all


def writer(folder, num_samples=10):
    return CompressedWriter(folder / "x.cbin", "int16", 2, num_samples, 30_000)


def append(out, num_samples=10):
    block = counts(num_samples, 2)
    out.append(block, compress(block))


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupt_leaves_what_was_there(tmp_path, error):
    def interrupted():
        with writer(tmp_path) as out:
            append(out)
            raise error

    for name in ("x.cbin", "x.ch"):
        (tmp_path / name).write_text("old")
    with pytest.raises(error):
        interrupted()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"x.cbin": "old", "x.ch": "old"}


def test_an_older_pair_is_replaced(tmp_path):
    write(tmp_path / "x.cbin", counts(50, 3, seed=1))
    write(tmp_path / "x.cbin", counts(40, 4))
    np.testing.assert_array_equal(CompressedSamples.open(tmp_path / "x.cbin").read(0, 40), counts(40, 4))


@pytest.mark.parametrize("num_samples", [9, 0])
def test_samples_that_are_missing_at_the_end_are_no_recording(tmp_path, num_samples):
    def write_some():
        with writer(tmp_path) as out:
            if num_samples:
                append(out, num_samples)

    with pytest.raises(ValueError, match=f"{num_samples} samples of 10 were written"):
        write_some()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((11, 2), "<i2"), ((5, 3), "<i2"), ((5, 2), "<f4"), ((5, 2), ">i2"), ((6,), "<i2"), ((0, 2), "<i2")],
)
def test_blocks_that_do_not_fit_are_refused(tmp_path, shape, dtype):
    with pytest.raises(ValueError, match="is not of"), writer(tmp_path) as out:
        out.append(np.zeros(shape, dtype), b"")
    assert os.listdir(tmp_path) == []


def test_the_name_must_be_one_that_mtscomp_finds_the_header_of(tmp_path):
    with pytest.raises(ValueError, match=r"does not end in \.cbin"):
        CompressedWriter(tmp_path / "x.ch", "int16", 2, 10, 30_000)


def test_a_folder_that_is_not_there_or_in_the_way(tmp_path):
    with pytest.raises(OutputError, match="there is no folder"):
        writer(tmp_path / "absent").__enter__()
    (tmp_path / "x.ch").mkdir()
    with pytest.raises(OutputError, match=r"x\.ch is a folder"):
        writer(tmp_path).__enter__()
    assert os.listdir(tmp_path) == ["x.ch"]


def test_short_writes_are_continued(tmp_path, monkeypatch):
    really = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: really(descriptor, data[:7]))
    write(tmp_path / "x.cbin", counts(40, 6))
    np.testing.assert_array_equal(CompressedSamples.open(tmp_path / "x.cbin").read(0, 40), counts(40, 6))


def test_a_disk_that_fills_up_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OutputError, match="No space left"), writer(tmp_path) as out:
        append(out)
    assert os.listdir(tmp_path) == []


def test_room_for_the_rest_is_asked_for_once_its_size_shows(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(100, 50, 50))
    appended = []

    def write_many():
        with writer(tmp_path, 17_000) as out:
            for _ in range(17):
                append(out, 1000)
                appended.append(1)

    with pytest.raises(OutputError, match="no room on the disk"):
        write_many()
    assert len(appended) == 15
    assert os.listdir(tmp_path) == []
    size = len(compress(counts(1000, 2)))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(100, 50, size))
    write_many()
    assert sorted(os.listdir(tmp_path)) == ["x.cbin", "x.ch"]


@pytest.mark.parametrize("end", [None, KeyboardInterrupt])
def test_chunks_after_the_end_are_refused(tmp_path, end):
    out = writer(tmp_path, 20 if end else 10)
    out.__enter__()
    append(out)
    out.__exit__(end, None, None)
    with pytest.raises((OutputError, ValueError), match=r"cannot write|is not of"):
        append(out)
    assert sorted(os.listdir(tmp_path)) == ([] if end else ["x.cbin", "x.ch"])


def interrupt(*_):
    raise KeyboardInterrupt


def write_one(folder):
    with writer(folder) as out:
        append(out)


@pytest.mark.parametrize(("call", "number"), [("fsync", 1), ("fsync", 2), ("replace", 1)])
def test_an_interrupt_before_the_first_name_leaves_nothing(tmp_path, monkeypatch, call, number):
    """While the header is synced, while the binary is, and just before it gets its name."""
    really, calls = getattr(os, call), []

    def called(*arguments):
        calls.append(call)
        if len(calls) == number:
            interrupt()
        really(*arguments)

    monkeypatch.setattr(os, call, called)
    with pytest.raises(KeyboardInterrupt):
        write_one(tmp_path)
    assert len(calls) == number
    assert os.listdir(tmp_path) == []


def test_an_interrupt_between_the_two_names_does_not_keep_the_second_back(tmp_path, monkeypatch):
    really, named = os.replace, []

    def replaced(part, path):
        really(part, path)
        named.append(path.name)
        if len(named) == 1:
            interrupt()

    monkeypatch.setattr(os, "replace", replaced)
    with pytest.raises(KeyboardInterrupt):
        write_one(tmp_path)
    assert named == ["x.cbin", "x.ch"]
    assert sorted(os.listdir(tmp_path)) == ["x.cbin", "x.ch"]
    np.testing.assert_array_equal(CompressedSamples.open(tmp_path / "x.cbin").read(0, 10), counts(10, 2))


def test_a_binary_that_cannot_be_named_leaves_an_older_pair_as_it_was(tmp_path, monkeypatch):
    def refused(*_):
        raise OSError(5, "Input/output error")

    write(tmp_path / "x.cbin", counts(50, 3))
    monkeypatch.setattr(os, "replace", refused)
    with pytest.raises(OutputError, match="Input/output error"):
        write_one(tmp_path)
    np.testing.assert_array_equal(CompressedSamples.open(tmp_path / "x.cbin").read(0, 50), counts(50, 3))
    assert sorted(os.listdir(tmp_path)) == ["x.cbin", "x.ch"]


def test_an_interrupt_as_soon_as_the_file_is_there_leaves_nothing(tmp_path, monkeypatch):
    def opened(*arguments):
        os.close(really_open(*arguments))
        interrupt()

    really_open = os.open
    monkeypatch.setattr(os, "open", opened)
    with pytest.raises(KeyboardInterrupt):
        write_one(tmp_path)
    monkeypatch.undo()
    assert os.listdir(tmp_path) == []


def test_a_writer_that_is_never_closed_leaves_nothing(tmp_path):
    out = writer(tmp_path)
    out.__enter__()
    append(out)
    assert len(os.listdir(tmp_path)) == 1
    del out
    assert os.listdir(tmp_path) == []
