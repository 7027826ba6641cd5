"""HDF5 files that lie: about where their values are, what they are, and how many."""

import os
import struct
import time
import tracemalloc

import h5py
import numpy as np
import pytest

from driftcli import presets
from driftcli.errors import InputError
from driftcli.model import Geometry, Mask, Motion, Peaks, RecordingFacts
from driftcli.store import heaps, schema
from driftcli.store import peaks as peaks_of_store
from driftcli.store.heaps import require_sound_heaps
from driftcli.store.motion import read_motion, write_motion
from driftcli.store.peaks import PeaksByShank, read_peaks, write_peaks
from driftcli.store.schema import read_handover

SETTINGS = presets.load("rigid_fast")
FACTS = RecordingFacts(
    *(
        30_000.0,
        90_000,
        4,
        "int16",
        0,
        Geometry(np.array([[0.0, 0.0], [16.0, 20.0], [250.0, 0.0]]), np.array([0, 0, 1])),
    ),
    *(np.array([0, 3, 1]), np.array([2.0, 2, 3]), "{}"),
    breaks=np.array([40_000]),
    files=np.array([[0, -1], [40_000, 7]]),
    labels=np.array([0, 1, 0], np.uint8),
)
MASK = Mask(np.array([5]), np.array([77]), np.array([1], np.uint8))


@pytest.fixture
def motion_path(tmp_path):
    motion = Motion(np.zeros((6, 2)), np.arange(6.0), np.array([0.0, 100.0]), np.array([2.5]))
    write_motion(tmp_path / "motion.h5", {0: motion}, 6.0, FACTS, SETTINGS, MASK, 30_000.0)
    return tmp_path / "motion.h5"


@pytest.fixture
def peaks_path(tmp_path):
    n = np.arange(50)
    location = {name: n.astype(np.float32) for name in ("x_um", "y_um")}
    found = Peaks(n * 100, (n % 3).astype(np.int32), -np.ones(50, np.float32), location)
    write_peaks(tmp_path / "peaks.h5", [found], len(found), location, FACTS, SETTINGS, np.ones(3), MASK)
    return tmp_path / "peaks.h5"


def of_a_trillion_rows(file, name):
    file.create_dataset(name, (10**12,), "f8", chunks=(1000,), compression="gzip")


def never_written(file, name):
    file.create_dataset(name, (10**9,), "f8", fillvalue=1.0)


def in_huge_chunks(file, name):
    file.create_dataset(name, data=np.zeros(6), chunks=(9_000_000,), maxshape=(None,), compression="gzip")


def twice_compressed(file, name):
    """A byte may then stand for a million."""
    dcpl = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    dcpl.set_chunk((6,))
    dcpl.set_deflate(9)
    dcpl.set_deflate(9)
    space = h5py.h5s.create_simple((6,))
    h5py.h5d.create(file.id, name.encode(), h5py.h5t.NATIVE_DOUBLE, space, dcpl).write(space, space, np.zeros(6))


def virtual(file, name):
    layout = h5py.VirtualLayout((6,), "f8")
    layout[:] = h5py.VirtualSource("elsewhere.h5", "data", (6,))
    file.create_virtual_dataset(name, layout)


LIES = {
    "external link": (
        lambda f, n: f.__setitem__(n, h5py.ExternalLink("elsewhere.h5", "/data")),
        "link to another place",
    ),
    "soft link": (lambda f, n: f.__setitem__(n, h5py.SoftLink("/recording/columns")), "link to another place"),
    "external values": (lambda f, n: f.create_dataset(n, (6,), "f8", external=[("secret", 0, 48)]), "in another file"),
    "virtual": (virtual, "in another file"),
    "a trillion rows": (of_a_trillion_rows, "not in the file"),
    "never written": (never_written, "not in the file"),
    "huge chunks": (in_huge_chunks, "chunks of 72,000,000 bytes"),
    "twice compressed": (twice_compressed, "stored in a way"),
    "group": (lambda f, n: f.create_group(n), "is no array"),
    "text": (lambda f, n: f.__setitem__(n, "text"), "numbers that belong"),
    "texts": (lambda f, n: f.__setitem__(n, ["a"] * 6), "numbers that belong"),
    "complex": (lambda f, n: f.__setitem__(n, np.zeros(6, complex)), "numbers that belong"),
    "records": (lambda f, n: f.__setitem__(n, np.zeros(6, [("a", "f8")])), "numbers that belong"),
    "flags": (lambda f, n: f.__setitem__(n, np.zeros(6, bool)), "numbers that belong"),
    "long doubles": (lambda f, n: f.__setitem__(n, np.zeros(6, np.longdouble)), "numbers that belong"),
    "scalar": (lambda f, n: f.__setitem__(n, 1.0), "0 dimensions"),
    "nothing": (lambda f, n: f.__setitem__(n, h5py.Empty("f8")), "dimensions"),
    "table": (lambda f, n: f.__setitem__(n, np.zeros((6, 1))), "2 dimensions"),
    "gone": (lambda f, n: None, "there is no|missing"),
}


@pytest.mark.parametrize("lie", LIES)
def test_arrays_of_a_motion_that_are_none_are_refused_in_no_memory(motion_path, lie):
    (make, words), name = LIES[lie], "shank0/temporal_bins_s"
    elsewhere = motion_path.with_name("elsewhere.h5")
    with h5py.File(elsewhere, "w") as file:
        file["data"] = np.arange(6)
    motion_path.with_name("secret").write_bytes(np.arange(6.0).tobytes())
    with h5py.File(motion_path, "r+") as file:
        del file[name]
        make(file, name)
    tracemalloc.start()
    for every_bin in (True, False):
        with pytest.raises(InputError, match=words) as caught:
            read_motion(motion_path, every_bin=every_bin)
        assert "motion.h5" in caught.value.message
    assert tracemalloc.get_traced_memory()[1] < 1e7
    tracemalloc.stop()


@pytest.mark.parametrize("name", ["peaks/y_um", "peaks/sample_index", "mask/reasons", "recording/shanks"])
@pytest.mark.parametrize("lie", LIES)
def test_arrays_of_peaks_that_are_none_are_refused(peaks_path, lie, name):
    make, words = LIES[lie]
    with h5py.File(peaks_path, "r+") as file:
        del file[name]
        make(file, name)
    for read in (read_peaks, PeaksByShank.open):
        with pytest.raises(InputError, match=f"{words}|of one length|damaged"):
            read(peaks_path)


@pytest.mark.parametrize("name", ["shank0", "recording"])
def test_groups_are_not_looked_for_elsewhere(motion_path, name):
    with h5py.File(motion_path.with_name("elsewhere.h5"), "w") as other, h5py.File(motion_path, "r+") as file:
        file.copy(name, other)
        del file[name]
        file[name] = h5py.ExternalLink("elsewhere.h5", f"/{name}")
    with pytest.raises(InputError, match="a link to another place"):
        read_motion(motion_path)
    with h5py.File(motion_path, "r+") as file:
        del file[name]
        file[name] = np.zeros(3)
    with pytest.raises(InputError, match="is no group"):
        read_motion(motion_path)


@pytest.mark.parametrize(
    ("group", "name", "value"),
    [
        ("recording", "sampling_frequency_hz", 0.0),
        ("recording", "sampling_frequency_hz", np.nan),
        ("recording", "sampling_frequency_hz", 1e30),
        ("recording", "sampling_frequency_hz", "30000"),
        ("recording", "sampling_frequency_hz", np.zeros(3)),
        ("recording", "num_samples", -1),
        ("recording", "num_samples", 2**62),
        ("recording", "num_samples", 1.5),
        ("recording", "num_samples", h5py.Empty("i8")),
        ("recording", "num_columns", 3),
        ("recording", "num_columns", 10**12),
        ("recording", "dtype", "object"),
        ("recording", "dtype", 3),
        ("recording", "offset_bytes", -1),
        ("recording", "origin", -1),
        ("/", "duration_s", np.inf),
        ("/", "duration_s", -1.0),
        ("/", "duration_s", 1e300),
        ("/", "schema_version", "1"),
        ("/", "complete", "yes"),
        ("/", "format", 3),
        ("/", "preset", "[" * 20_000),
        ("/", "preset", "[]"),
        ("/", "preset", 3),
    ],
)
def test_attributes_that_make_no_sense_are_refused(motion_path, group, name, value):
    with h5py.File(motion_path, "r+") as file:
        file[group].attrs[name] = value
    with pytest.raises(InputError) as caught:
        read_motion(motion_path)
    assert caught.value.hint
    assert len(caught.value.message) < 500


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("columns", [0, 4, 1]),
        ("columns", [0, -1, 1]),
        ("columns", [0, 1, 1]),
        ("columns", [0.0, 3.0, 1.0]),
        ("columns", np.array([0, 2**63, 1], np.uint64)),
        ("shanks", [0, 0, -1]),
        ("shanks", [0, 0]),
        ("contact_positions_um", [[0.0, 0.0], [0.0, np.nan], [0.0, 1.0]]),
        ("contact_positions_um", [[0.0, 0.0], [0.0, 1e300], [0.0, 1.0]]),
        ("contact_positions_um", np.zeros((3, 3))),
        ("gain_to_uv", [1.0, 0.0, 1.0]),
        ("gain_to_uv", [1.0, np.inf, 1.0]),
        ("gain_to_uv", [1.0]),
        ("labels", [0, 256, 0]),
        ("labels", [0, 0]),
        ("breaks", [90_001]),
        ("breaks", [5, 5]),
        ("files", [[0, 1, 2]]),
        ("files", [[0, -2]]),
        ("probe", 3),
        ("probe", ["{}"]),
    ],
)
def test_facts_of_no_recording_are_refused(motion_path, name, value):
    with h5py.File(motion_path, "r+") as file:
        del file[f"recording/{name}"]
        file[f"recording/{name}"] = value
    for read in (read_motion, lambda path: read_handover(path, "motion")):
        with pytest.raises(InputError, match="damaged"):
            read(motion_path)


@pytest.mark.parametrize(
    ("spans_s", "reasons"),
    [([[0.0, np.nan]], [0]), ([[-1.0, 1.0]], [0]), ([[0.0, 1e300]], [0]), ([[0.0, 1.0]], [9]), ([[0.0, 1.0]], [0, 0])],
)
def test_masks_that_are_none_are_refused(peaks_path, spans_s, reasons):
    with h5py.File(peaks_path, "r+") as file:
        del file["mask/spans_s"], file["mask/reasons"]
        file["mask/spans_s"], file["mask/reasons"] = spans_s, reasons
    with pytest.raises(InputError, match="its mask is none"):
        PeaksByShank.open(peaks_path)


def test_times_and_depths_that_no_recording_has_are_refused(motion_path):
    for name, values in (
        ("temporal_bins_s", [0, 1, 2, 3, 4, 1e12]),
        ("spatial_bins_um", [0, 1e9]),
        ("steps_s", [1e12]),
    ):
        with h5py.File(motion_path, "r+") as file:
            before = file[f"shank0/{name}"][()]
            file[f"shank0/{name}"][...] = values
        with pytest.raises(InputError, match="shank 0: the motion holds times or depths"):
            read_motion(motion_path)
        with h5py.File(motion_path, "r+") as file:
            file[f"shank0/{name}"][...] = before


def test_files_that_were_compressed_by_others_are_read(motion_path):
    """As h5repack does; also what driftcli itself writes is well within the limits."""
    before = read_motion(motion_path)
    with h5py.File(motion_path, "r+") as file:
        for name in ("displacement_um", "temporal_bins_s"):
            values = file[f"shank0/{name}"][()]
            del file[f"shank0/{name}"]
            file.create_dataset(f"shank0/{name}", data=values, compression="gzip", shuffle=True, fletcher32=True)
    np.testing.assert_array_equal(
        read_motion(motion_path).motions[0].displacement_um, before.motions[0].displacement_um
    )


def test_a_heap_without_end_is_refused_soon(motion_path):
    """HDF5 2.0.0 goes round in it for ever, and no signal reaches it."""
    content = bytearray(motion_path.read_bytes())
    heap = content.index(b"GCOL\x01")
    size = int.from_bytes(content[heap + 8 : heap + 16], "little")
    for index, stated in ((0, 0), (0, 2**64 - 8), (7, 2**64 - 16), (7, size)):
        content[heap + 16 : heap + 32] = struct.pack("<HHIQ", index, 1, 0, stated)
        motion_path.write_bytes(content)
        with pytest.raises(ValueError, match="does not end"):
            require_sound_heaps(motion_path)
        began = time.process_time()
        with pytest.raises(InputError):
            read_motion(motion_path)
        assert time.process_time() - began < 1


@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_heaps_of_whole_files_are_sound(tmp_path, libver):
    with h5py.File(tmp_path / "x.h5", "w", libver=libver) as file:
        file["texts"] = ["x" * length for length in range(500)]
        file.attrs["text"] = "y" * 5000
        file["more"] = ["z"] * 1000
        del file["more"]
    assert b"GCOL\x01" in (tmp_path / "x.h5").read_bytes()
    require_sound_heaps(tmp_path / "x.h5")


def test_heaps_in_heaps_are_not_walked_through_forever(tmp_path):
    number, head = 20_000, b"GCOL\x01\0\0\0"
    an_object = struct.pack("<HHIQ", 1, 1, 0, 16)
    ends = (32 * (number - index) - 16 for index in range(number))
    content = b"".join(an_object + head + end.to_bytes(8, "little") for end in ends)
    (tmp_path / "x").write_bytes(head + (len(content) + 16).to_bytes(8, "little") + content)
    began = time.process_time()
    with pytest.raises(ValueError, match="does not end"):
        require_sound_heaps(tmp_path / "x")
    assert time.process_time() - began < 2


def test_heaps_are_found_wherever_pieces_of_the_file_end(tmp_path, monkeypatch):
    content = (b"GCOL\x01" + b"GCOL" * 3 + b"\x01" + bytes(7)) * 5
    (tmp_path / "x").write_bytes(content)
    expected = [index for index in range(len(content)) if content[index:].startswith(b"GCOL\x01")]
    with (tmp_path / "x").open("rb") as file:
        for piece_bytes in range(1, 40):
            monkeypatch.setattr(heaps, "_PIECE_BYTES", piece_bytes)
            assert list(heaps._starts(file.fileno(), len(content))) == expected


def test_a_file_is_looked_through_in_little_memory(tmp_path):
    with (tmp_path / "x").open("wb") as file:
        file.truncate(200 << 20)
    tracemalloc.start()
    require_sound_heaps(tmp_path / "x")
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 1 << 20


def test_a_file_that_is_cut_off_while_it_is_looked_through(motion_path, monkeypatch):
    """Of a mapped file that would be the end of the process."""
    read = os.pread

    def pread(descriptor, count, place):
        found = read(descriptor, count, place)
        os.truncate(motion_path, 100)
        return found

    monkeypatch.setattr(heaps.os, "pread", pread)
    with pytest.raises(InputError):
        read_motion(motion_path)
    assert motion_path.stat().st_size == 100


def test_peaks_in_pieces_are_opened_once(peaks_path, monkeypatch):
    opened = []
    monkeypatch.setattr(schema, "require_sound_heaps", opened.append)
    whole = read_peaks(peaks_path).peaks
    monkeypatch.setattr(peaks_of_store, "_PIECE_ROWS", 3)
    pieces = list(peaks_of_store.peaks_in_pieces(peaks_path))
    assert opened == [peaks_path, peaks_path]
    assert [len(piece) for piece in pieces[:-1]] == [3] * (len(pieces) - 1)
    joined = peaks_of_store.joined_peaks(pieces)
    np.testing.assert_array_equal(joined.sample_index, whole.sample_index)
    assert joined.location.keys() == whole.location.keys()


def test_a_text_of_gigabytes_is_refused_before_there_is_room_for_it(motion_path):
    with h5py.File(motion_path) as file:
        offset = file["recording/probe"].id.get_offset()
    content = bytearray(motion_path.read_bytes())
    assert int.from_bytes(content[offset : offset + 4], "little") == len(FACTS.probe_json)
    content[offset : offset + 4] = (2**31).to_bytes(4, "little")
    motion_path.write_bytes(content)
    with pytest.raises(InputError, match="claims 2,147,483,648 bytes of text"):
        read_motion(motion_path)
