"""Compressed recordings are read as mtscomp wrote them, and nothing in a broken pair of files gets by."""

import hashlib
import json
import threading
import time
import tracemalloc
import weakref
import zlib
from concurrent.futures import ThreadPoolExecutor

import mtscomp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from driftcli.errors import InputError
from driftcli.recording import mtscomp as ours
from driftcli.recording.mtscomp import CompressedSamples
from driftcli.recording.open import open_recording
from make_cbin import chunk, make_cbin
from make_raw import counts, write_line_probe

DIFFERENCES = [(True, False), (False, False), (False, True), (True, True)]


def by_peer(folder, samples, **options):
    """The pair that the package mtscomp makes of samples at 1000 Hz."""
    raw = folder / "raw.bin"
    raw.write_bytes(samples.tobytes())
    writer = mtscomp.Writer(quiet=True, n_threads=1, check_after_compress=False, **options)
    writer.open(raw, sample_rate=1000, n_channels=samples.shape[1], dtype=samples.dtype)
    writer.write(folder / "x.cbin", folder / "x.ch")
    writer.close()
    return folder / "x.cbin"


def read_by_peer(path):
    reader = mtscomp.decompress(path, path.with_suffix(".ch"), quiet=True)
    samples = reader[:]
    reader.close()
    return samples


def wide_counts(num_samples, num_columns):
    """int16 of all sizes, so that differences and their sums wrap around."""
    return np.random.default_rng(1).integers(-(2**15), 2**15, (num_samples, num_columns)).astype("<i2")


def windows(num_samples, number=40):
    ends = np.random.default_rng(2).integers(0, num_samples + 1, (number, 2))
    return [tuple(sorted(pair)) for pair in ends.tolist()] + [(0, num_samples), (0, 0), (num_samples, num_samples)]


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("order", ["F", "C"])
@pytest.mark.parametrize(("time_diff", "spatial_diff"), DIFFERENCES)
@pytest.mark.parametrize(
    ("num_samples", "chunk_s", "level"),
    # one odd chunk at the end; whole chunks only; one chunk; a last chunk of a single sample
    [(1003, 0.1, -1), (1000, 0.25, 1), (300, 1.0, 9), (401, 0.2, 0)],
)
def test_what_mtscomp_wrote_is_read_back(
    tmp_path, time_diff, spatial_diff, order, num_samples, chunk_s, level, threads
):
    samples = wide_counts(num_samples, 7)
    options = {"do_time_diff": time_diff, "do_spatial_diff": spatial_diff, "chunk_order": order}
    path = by_peer(tmp_path, samples, chunk_duration=chunk_s, comp_level=level, **options)
    opened = CompressedSamples.open(path)
    assert (opened.path, opened.header_path) == (path, tmp_path / "x.ch")
    assert (opened.dtype, opened.num_columns, opened.num_samples) == (np.dtype("<i2"), 7, num_samples)
    assert opened.sampling_frequency_hz == 1000.0
    assert opened.sha1 == hashlib.sha1(samples.tobytes()).hexdigest()
    spans = windows(num_samples)
    with ThreadPoolExecutor(threads) as pool:
        for (start, stop), found in zip(spans, pool.map(lambda span: opened.read(*span), spans), strict=True):
            np.testing.assert_array_equal(found, samples[start:stop])
            assert found.dtype == opened.dtype
            assert not (found.flags.writeable and found.size)
            assert found.flags.c_contiguous


@pytest.mark.parametrize("order", ["F", "C"])
@pytest.mark.parametrize(("time_diff", "spatial_diff"), DIFFERENCES)
def test_floats_are_read_as_mtscomp_reads_them(tmp_path, time_diff, spatial_diff, order):
    """To the last bit, and without differences to the last bit of what was written."""
    samples = (np.random.default_rng(3).normal(0, 1, (503, 5)) * np.logspace(-3, 6, 5)).astype("<f4")
    options = {"do_time_diff": time_diff, "do_spatial_diff": spatial_diff, "chunk_order": order}
    path = by_peer(tmp_path, samples, chunk_duration=0.1, **options)
    found = CompressedSamples.open(path).read(0, 503)
    assert found.dtype == "<f4"
    np.testing.assert_array_equal(found, read_by_peer(path))
    if not (time_diff or spatial_diff):
        np.testing.assert_array_equal(found, samples)


def test_a_part_that_mtscomp_cut_from_a_recording_is_read(tmp_path):
    """Its header keeps the shape of the whole recording, and has no checksums."""
    samples = counts(1000, 4)
    reader = mtscomp.decompress(by_peer(tmp_path, samples, chunk_duration=0.1), quiet=True)
    reader.chop(3, tmp_path / "part.cbin")
    reader.close()
    opened = CompressedSamples.open(tmp_path / "part.cbin")
    assert (opened.num_samples, opened.sha1) == (300, None)
    np.testing.assert_array_equal(opened.read(0, 300), samples[:300])


def test_chunks_longer_than_a_piece_are_put_together(tmp_path, monkeypatch):
    monkeypatch.setattr(ours, "_PIECE_BYTES", 450)
    samples = wide_counts(500, 9)
    for order in "FC":
        path = by_peer(tmp_path, samples, chunk_duration=0.1, chunk_order=order)
        np.testing.assert_array_equal(CompressedSamples.open(path).read(0, 500), samples)


def test_reading_outside_of_the_recording_is_refused(tmp_path):
    opened = CompressedSamples.open(make_cbin(tmp_path / "x.cbin", counts(250, 3)))
    for start, stop in [(-1, 5), (0, 251), (6, 5)]:
        with pytest.raises(ValueError, match="samples"):
            opened.read(start, stop)


# The chunks that are kept


@pytest.fixture
def decompressed(monkeypatch):
    """(chunk, weak reference to its samples) of everything that gets decompressed."""
    done, really = [], CompressedSamples._decompressed

    def recorded(self, index):
        samples = really(self, index)
        done.append((index, weakref.ref(samples)))
        return samples

    monkeypatch.setattr(CompressedSamples, "_decompressed", recorded)
    return done


def test_neighbouring_blocks_decompress_each_chunk_once(tmp_path, decompressed):
    opened = CompressedSamples.open(make_cbin(tmp_path / "x.cbin", counts(2000, 3), length=150))
    for start in range(0, 2000, 100):
        opened.read(max(0, start - 20), min(2000, start + 120))
    assert [index for index, _ in decompressed] == list(range(14))


@pytest.mark.parametrize(("kept_bytes", "most"), [(5 * 150 * 6, 5), (0, 2)])
def test_the_memory_of_kept_chunks_is_bounded(tmp_path, monkeypatch, decompressed, kept_bytes, most):
    monkeypatch.setattr(ours, "_KEPT_BYTES", kept_bytes)
    opened = CompressedSamples.open(make_cbin(tmp_path / "x.cbin", counts(3000, 3), length=150))
    for start in [*range(0, 3000, 70), 0]:
        opened.read(start, min(3000, start + 70))
        assert sum(samples() is not None for _, samples in decompressed) <= most
    assert len(decompressed) > 20


def test_the_number_of_kept_chunks_follows_the_processors(monkeypatch):
    def num_kept(chunk_samples, processors):
        monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(processors)))
        bounds = [0, chunk_samples, chunk_samples + 1]
        return ours._num_kept(ours._Header(np.dtype("<i2"), 385, 30e3, None, True, True, False, bounds, [0, 1, 2]))

    assert num_kept(30_000, 2) == 6
    assert num_kept(16_384, 2) == 6
    assert num_kept(3_000, 2) == 24
    assert num_kept(30_000, 200) == (1 << 30) // (30_000 * 770)
    assert num_kept(3_000_000, 8) == 2


def test_threads_that_want_the_same_chunk_wait_for_one(tmp_path, monkeypatch, decompressed):
    really = ours.inflate

    def slow(*arguments):
        time.sleep(0.05)
        really(*arguments)

    monkeypatch.setattr(ours, "inflate", slow)
    opened = CompressedSamples.open(make_cbin(tmp_path / "x.cbin", counts(100, 3)))
    together = threading.Barrier(6)

    def read(_):
        together.wait()
        return opened.read(10, 20)

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(read, range(6)))
    assert len(decompressed) == 1
    assert all(np.shares_memory(found[0], each) for each in found)


# Pairs of files that are broken


def read_all(path):
    opened = CompressedSamples.open(path)
    return opened.read(0, opened.num_samples)


def told(path):
    """The error of opening `path` and reading all of it: one line that names a file, and a hint."""
    with pytest.raises(InputError) as raised:
        read_all(path)
    assert "\n" not in raised.value.message
    assert path.stem in raised.value.message
    assert raised.value.hint
    return f"{raised.value.message} ({raised.value.hint})"


def test_half_a_pair_is_told(tmp_path):
    path = make_cbin(tmp_path / "x.cbin", counts(250, 3))
    header = path.with_suffix(".ch")
    header.rename(tmp_path / "x.6c3f.ch")
    assert "there is no" in told(path)
    assert "x.6c3f.ch is there: if it belongs to this recording, name it x.ch" in told(path)
    (tmp_path / "x.6c3f.ch").rename(header)
    path.unlink()
    assert "x.ch is there, its .cbin is not" in told(path)
    header.unlink()
    assert "check the path" in told(path)
    path.write_bytes(b"x")
    assert "put x.ch beside it" in told(path)
    header.mkdir()
    assert "cannot read" in told(path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is not the JSON"),
        (b"{", "is not the JSON"),
        (b"\xff\xfe\xfa", "is not the JSON"),
        (b"[1, 2]", "holds no keys"),
        (b"[" * 100_000, "is not the JSON"),
        (b"1" * 10_000, "is not the JSON"),
    ],
)
def test_a_header_that_is_no_json_is_told(tmp_path, content, expected):
    path = make_cbin(tmp_path / "x.cbin", counts(250, 3))
    path.with_suffix(".ch").write_bytes(content)
    assert expected in told(path)


def test_a_header_without_end_is_not_read_to_the_end(tmp_path):
    path = make_cbin(tmp_path / "x.cbin", counts(250, 3))
    with path.with_suffix(".ch").open("wb") as file:
        file.truncate(1 << 40)
    assert "too long for a header" in told(path)


NEEDED = [
    "version",
    "algorithm",
    "dtype",
    "n_channels",
    "sample_rate",
    "chunk_order",
    "do_time_diff",
    "do_spatial_diff",
    "chunk_bounds",
    "chunk_offsets",
]


@pytest.mark.parametrize("key", NEEDED)
def test_a_missing_key_is_named(tmp_path, key):
    assert f"x.ch has no {key}" in told(make_cbin(tmp_path / "x.cbin", counts(250, 3), without=key))


@pytest.mark.parametrize("key", ["comp_level", "sha1_compressed", "sha1_uncompressed", "shape"])
def test_keys_that_reading_does_not_need_may_be_missing(tmp_path, key):
    opened = CompressedSamples.open(make_cbin(tmp_path / "x.cbin", counts(250, 3), without=key))
    np.testing.assert_array_equal(opened.read(0, 250), counts(250, 3))


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("version", "2.0", "not 1.0, which is what driftcli reads"),
        ("version", 1.0, "not a text"),
        ("algorithm", "blosc", "not zlib, which"),
        ("dtype", "uint16", "not int16 or"),
        ("dtype", ">i2", "not int16 or"),
        ("dtype", "O", "not int16 or"),
        ("dtype", None, "not a text"),
        ("n_channels", 0, "not a number above 0"),
        ("n_channels", -3, "not a number above 0"),
        ("n_channels", 3.0, "not a whole number"),
        ("n_channels", True, "not a whole number"),
        ("n_channels", 4, "contradicts itself"),
        ("n_channels", 10**30, "contradicts itself"),
        ("sample_rate", 0, "not a number above 0"),
        ("sample_rate", float("nan"), "not a number above 0"),
        ("sample_rate", float("inf"), "not a number above 0"),
        ("sample_rate", 10**4000, "not a number above 0"),
        ("sample_rate", "30000", "not a number"),
        ("do_time_diff", 1, "not true or false"),
        ("do_spatial_diff", None, "not true or false"),
        ("chunk_order", "K", "not C or F"),
        ("chunk_bounds", {}, "not a list"),
        ("chunk_bounds", [], "not a list of two"),
        ("chunk_bounds", [0], "not a list of two"),
        ("chunk_bounds", [0, 100.0, 200, 250], "not a list of two"),
        ("chunk_bounds", [1, 100, 200, 250], "do not ascend from 0"),
        ("chunk_bounds", [0, 100, 100, 250], "do not ascend from 0"),
        ("chunk_bounds", [0, 200, 100, 250], "do not ascend from 0"),
        ("chunk_bounds", [0, 100, 250], "3 chunk_bounds and 4 chunk_offsets"),
        ("chunk_bounds", [0, 100, 200, 251], "contradicts itself"),
        ("chunk_offsets", [0, True, 200, 250], "not a list of two"),
        ("chunk_offsets", [0, 500, 400, 1000], "do not ascend from 0"),
        ("chunk_offsets", [0, 1, 2, 10**18], "bytes, x.ch tells of"),
        ("shape", [249, 3], "contradicts itself"),
        ("shape", [[[[[[[]]]]]], 3], "contradicts itself"),
        ("sha1_uncompressed", "abc", "40 hexadecimal digits"),
        ("sha1_uncompressed", 12, "40 hexadecimal digits"),
    ],
)
def test_a_header_that_makes_no_sense_is_told(tmp_path, key, value, expected):
    """One fault at a time: nothing else in the header is wrong."""
    assert expected in told(make_cbin(tmp_path / "x.cbin", counts(250, 3), **{key: value}))


def test_a_binary_of_another_size_is_told(tmp_path):
    path = make_cbin(tmp_path / "x.cbin", counts(250, 3))
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert f"x.cbin has {len(whole) - 1:,} bytes, x.ch tells of {len(whole):,}" in told(path)
    assert "copy x.cbin again" in told(path)
    path.write_bytes(whole + b"x")
    assert f"x.cbin has {len(whole) + 1:,} bytes" in told(path)
    assert "copy" not in told(path)
    path.write_bytes(b"")
    assert "x.cbin has 0 bytes" in told(path)


def test_every_byte_that_changes_is_noticed(tmp_path):
    """And the chunks beside it are read all the same."""
    samples = counts(30, 2)
    path = make_cbin(tmp_path / "x.cbin", samples, length=10)
    whole = path.read_bytes()
    second, third = json.loads(path.with_suffix(".ch").read_text())["chunk_offsets"][1:3]
    for at in range(second, third):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        opened = CompressedSamples.open(path)
        np.testing.assert_array_equal(opened.read(0, 10), samples[:10])
        np.testing.assert_array_equal(opened.read(20, 30), samples[20:])
        for _ in range(2):  # nothing of the failure is kept
            with pytest.raises(InputError, match=r"chunk 1 \(samples 10 to 20\) of .*x\.cbin is corrupt"):
                opened.read(5, 15)


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (chunk(counts(49, 3)), "it ends before its last sample"),
        (chunk(counts(51, 3)), "it goes on after its last sample"),
        (chunk(counts(50, 3)) + b"more", "it goes on after its last sample"),
        (chunk(counts(50, 3)) + chunk(counts(50, 3)), "it goes on after its last sample"),
        (chunk(counts(50, 3))[:-1], "it ends before its checksum"),
        (chunk(counts(50, 3))[:-30], "it ends before its last sample"),
        (b"no zlib at all", "incorrect header check"),
    ],
)
def test_a_chunk_of_another_length_is_told(tmp_path, stored, expected):
    path = make_cbin(tmp_path / "x.cbin", counts(50, 3), chunk_offsets=[0, len(stored)])
    path.write_bytes(stored)
    assert f"is corrupt: {expected}" in told(path).replace("Error -3 while decompressing data: ", "")


def test_files_that_change_while_they_are_read_are_told(tmp_path):
    path = make_cbin(tmp_path / "x.cbin", counts(250, 3))
    opened = CompressedSamples.open(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"chunk 2 .*shorter than when it was opened"):
        opened.read(0, 250)
    path.unlink()
    with pytest.raises(InputError, match="cannot read chunk 2") as raised:
        opened.read(249, 250)
    assert raised.value.hint == "check that the file is still there"


def peak_bytes(work):
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("num_samples", [10**5, 10**12, 10**30])
def test_a_chunk_that_cannot_be_so_long_gets_no_memory(tmp_path, num_samples):
    path = make_cbin(tmp_path / "x.cbin", counts(10, 3), chunk_bounds=[0, num_samples], without="shape")
    assert peak_bytes(lambda: told(path)) < 1 << 20
    assert f"chunk 0 cannot hold {num_samples:,} samples of 3 channels in" in told(path)


def test_a_chunk_that_is_longer_than_any_gets_no_memory(tmp_path):
    size, rows = 1 << 23, (1 << 32) // 6 + 1
    path = make_cbin(
        tmp_path / "x.cbin", counts(10, 3), chunk_bounds=[0, rows], chunk_offsets=[0, size], without="shape"
    )
    with path.open("r+b") as file:
        file.truncate(size)
    assert peak_bytes(lambda: told(path)) < 1 << 20
    assert "is too long" in told(path)


def test_a_stream_that_goes_on_and_on_gets_no_memory(tmp_path):
    stored = zlib.compress(bytes(1 << 27))
    path = make_cbin(tmp_path / "x.cbin", counts(10, 3), chunk_offsets=[0, len(stored)])
    path.write_bytes(stored)
    assert peak_bytes(lambda: told(path)) < 1 << 20
    assert "it goes on after its last sample" in told(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just(10**25),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
EDITS = st.one_of(
    st.tuples(st.sampled_from([*NEEDED, "shape", "chopped", "sha1_uncompressed"]), JSON),
    st.tuples(st.just("chunk_bounds"), st.lists(st.integers(0, 300), max_size=5).map(sorted)),
    st.tuples(st.just("chunk_offsets"), st.lists(st.integers(0, 2000), max_size=5).map(sorted)),
    st.tuples(st.just("chunk_order"), st.sampled_from("CF")),
    st.tuples(st.just("dtype"), st.sampled_from(["float32", "int16", "int8"])),
)


def read_or_told(path):
    """Whatever the files hold, they are read or refused with an InputError."""
    try:
        opened = CompressedSamples.open(path)
        samples = opened.read(0, opened.num_samples)
    except InputError:
        return
    assert samples.shape == (opened.num_samples, opened.num_columns)


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=st.lists(EDITS, min_size=1, max_size=3))
def test_edited_headers_raise_nothing_but_input_errors(tmp_path, edits):
    path = make_cbin(tmp_path / "x.cbin", counts(250, 3), **dict(edits))
    read_or_told(path)


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 500), removed=st.integers(0, 20), added=st.binary(max_size=6))
def test_headers_with_other_bytes_raise_nothing_but_input_errors(tmp_path, at, removed, added):
    path = make_cbin(tmp_path / "x.cbin", counts(250, 3))
    header = path.with_suffix(".ch")
    whole = header.read_bytes()
    header.write_bytes(whole[:at] + added + whole[at + removed :])
    read_or_told(path)


def test_a_file_that_was_cut_off_gives_its_whole_chunks_to_who_knows_that(tmp_path):
    samples = counts(1000, 6)
    path = by_peer(tmp_path, samples, chunk_duration=0.1)
    offsets = json.loads(path.with_suffix(".ch").read_text())["chunk_offsets"]
    path.write_bytes(path.read_bytes()[: offsets[7] + 5])
    with pytest.raises(InputError, match="not whole") as refused:
        CompressedSamples.open(path)
    assert "--truncated ok" in refused.value.hint
    cut = CompressedSamples.open(path, truncated_ok=True)
    assert (cut.num_samples, cut.num_missing) == (700, 300)
    np.testing.assert_array_equal(cut.read(0, 700), samples[:700])
    path.write_bytes(path.read_bytes()[: offsets[1] - 1])
    with pytest.raises(InputError, match="holds no whole chunk"):
        CompressedSamples.open(path, truncated_ok=True)


def test_a_whole_file_misses_nothing(tmp_path):
    path = by_peer(tmp_path, counts(1000, 6), chunk_duration=0.1)
    assert CompressedSamples.open(path, truncated_ok=True).num_missing == 0


def test_a_compressed_file_that_was_cut_off_opens_as_a_recording(tmp_path, reporter):
    path = by_peer(tmp_path, counts(1000, 6), chunk_duration=0.1)
    path.write_bytes(path.read_bytes()[:-1])
    probe = write_line_probe(tmp_path / "probe.json", 6)
    with pytest.raises(InputError, match="not whole"):
        open_recording(path, probe=probe, reporter=reporter)
    assert open_recording(path, probe=probe, truncated_ok=True, reporter=reporter).num_samples == 900
    assert "was cut off: 100 samples" in str(reporter)
