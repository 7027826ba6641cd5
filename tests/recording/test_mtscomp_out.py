"""Compressed outputs: mtscomp and those that build on it read them, and what doesn't fit is refused."""

import hashlib
import json
import os
import zlib
from concurrent.futures import ThreadPoolExecutor

import mtscomp
import numpy as np
import pytest
from spikeinterface.extractors import read_cbin_ibl

from driftcli.errors import OutputError
from driftcli.recording.mtscomp import CompressedSamples
from driftcli.recording.mtscomp_out import CompressedFile, compress, decompress
from make_raw import counts
from make_spikeglx import made_meta, make_spikeglx

BLOCK = 16_384


def write(path, samples, block=BLOCK):
    starts = range(0, len(samples), block)
    with (
        CompressedFile(path, samples.dtype, samples.shape[1], len(samples), 30_000.5) as out,
        ThreadPoolExecutor(2) as threads,
    ):
        blocks = [samples[start : start + block] for start in starts]
        for each, compressed in zip(blocks, threads.map(compress, blocks), strict=True):
            out.append(len(each), compressed)
        out.finish(hashlib.sha1(samples.tobytes()).hexdigest())


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
    write(tmp_path / "x.cbin", samples, block)
    assert sorted(os.listdir(tmp_path)) == ["x.cbin", "x.ch"]
    opened = CompressedSamples.open(tmp_path / "x.cbin")
    assert opened.read(0, len(samples)).tobytes() == samples.tobytes()
    assert (opened.dtype, opened.num_columns, opened.sampling_frequency_hz) == (samples.dtype, 6, 30_000.5)
    assert opened.sha1 == hashlib.sha1(samples.tobytes()).hexdigest()
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
    with CompressedFile(tmp_path / "x.cbin", "int16", 3, 250, 1000) as out:
        for start in range(0, 250, 100):
            block = samples[start : start + 100]
            out.append(len(block), compress(block))
        out.finish(hashlib.sha1(samples.tobytes()).hexdigest())
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


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_a_chunk_comes_back(dtype):
    samples = extremes(dtype)
    assert decompress(compress(samples), *samples.shape, samples.dtype).tobytes() == samples.tobytes()
    with pytest.raises(zlib.error):
        decompress(compress(samples), len(samples) - 1, samples.shape[1], samples.dtype)


def writer(folder, num_samples=10):
    return CompressedFile(folder / "x.cbin", "int16", 2, num_samples, 30_000)


def append(out, num_samples=10):
    out.append(num_samples, compress(counts(num_samples, 2)))


def test_an_older_pair_is_replaced(tmp_path):
    write(tmp_path / "x.cbin", counts(50, 3, seed=1))
    write(tmp_path / "x.cbin", counts(40, 4))
    np.testing.assert_array_equal(CompressedSamples.open(tmp_path / "x.cbin").read(0, 40), counts(40, 4))


@pytest.mark.parametrize("num_samples", [9, 0])
def test_without_its_last_samples_it_gets_no_header(tmp_path, num_samples):
    with writer(tmp_path) as out:
        if num_samples:
            append(out, num_samples)
        with pytest.raises(ValueError, match=f"{num_samples} samples of 10 were written"):
            out.finish("0" * 40)
    assert os.listdir(tmp_path) == ["x.cbin"]


@pytest.mark.parametrize("num_samples", [11, 0])
def test_blocks_that_do_not_fit_are_refused(tmp_path, num_samples):
    with pytest.raises(ValueError, match="is not of"), writer(tmp_path) as out:
        out.append(num_samples, b"")


def test_the_name_must_be_one_that_mtscomp_finds_the_header_of(tmp_path):
    with pytest.raises(ValueError, match=r"does not end in \.cbin"):
        CompressedFile(tmp_path / "x.ch", "int16", 2, 10, 30_000)


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


def test_a_disk_that_fills_up_is_told(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OutputError, match="No space left"), writer(tmp_path) as out:
        append(out)


def test_chunks_after_the_end_are_refused(tmp_path):
    with writer(tmp_path, 20) as out:
        append(out)
    with pytest.raises(OutputError, match="cannot write"):
        append(out)
