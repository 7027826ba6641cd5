"""The HDF5 files: what is written comes back, the bytes are always the same, and what is broken is refused."""

import tracemalloc
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest

from driftcli import presets
from driftcli.errors import InputError, OutputError
from driftcli.model import Geometry, Motion, Peaks, RecordingFacts
from driftcli.store import peaks as peaks_store
from driftcli.store.motion import read_motion, write_motion
from driftcli.store.npz import read_npz_peaks
from driftcli.store.peaks import PeaksByShank, PeakSpool, read_peaks, write_peaks
from driftcli.store.schema import read_handover

SETTINGS = presets.load("rigid_fast")


def facts(gain=True):
    positions = np.array([[0.0, 0.0], [16.0, 20.0], [250.0, 0.0]])
    geometry = Geometry(positions, np.array([0, 0, 1]))
    gain_to_uv = np.array([2.0, 2.0, 3.0]) if gain else None
    return RecordingFacts(30_000.0, 90_000, 4, "int16", 0, geometry, np.array([0, 3, 1]), gain_to_uv, "{}")


def peaks(n, seed=0):
    rng = np.random.default_rng(seed)
    location = {name: rng.normal(size=n).astype(np.float32) for name in ("x_um", "y_um")}
    amplitude = -rng.random(n).astype(np.float32)
    return Peaks(np.sort(rng.integers(0, 90_000, n)), rng.integers(0, 3, n).astype(np.int32), amplitude, location)


def written(path, pieces, gain=True):
    with PeakSpool(path.parent, ("x_um", "y_um")) as spool:
        for piece in pieces:
            spool.append(piece)
        write_peaks(path, spool, facts(gain), SETTINGS, np.array([1.0, 2.0, 3.0]))
    return path


@pytest.mark.parametrize("gain", [True, False])
def test_peaks_come_back(tmp_path, gain):
    parts = [peaks(70_000, 1), peaks(0), peaks(3, 2)]
    file = read_peaks(written(tmp_path / "peaks.h5", parts, gain))
    assert file.preset == SETTINGS.to_dict()
    np.testing.assert_array_equal(file.noise_levels, [1.0, 2.0, 3.0])
    np.testing.assert_array_equal(file.peaks.sample_index, np.concatenate([p.sample_index for p in parts]))
    np.testing.assert_array_equal(file.peaks.channel_index, np.concatenate([p.channel_index for p in parts]))
    np.testing.assert_array_equal(file.peaks.amplitude, np.concatenate([p.amplitude for p in parts]))
    np.testing.assert_array_equal(file.peaks.location["y_um"], np.concatenate([p.location["y_um"] for p in parts]))
    assert file.peaks.amplitude.dtype == np.float32
    with h5py.File(tmp_path / "peaks.h5") as plain:
        assert ("amplitude_uv" if gain else "amplitude_file_units") in plain["peaks"]
        assert plain.attrs["complete"]
        for name, dataset in plain["peaks"].items():
            assert dataset.attrs["description"], name
            assert dataset.compression == "gzip"


@pytest.mark.parametrize("rows", [7, 250, 1000, 1 << 20])
def test_shanks_are_read_piece_by_piece(tmp_path, monkeypatch, rows):
    path = written(tmp_path / "peaks.h5", [peaks(1000)])
    monkeypatch.setattr(peaks_store, "_PIECE_ROWS", rows)
    everything, file = read_peaks(path), PeaksByShank.open(path)
    assert file.facts.geometry.shanks.tolist() == [0, 0, 1]
    of_peaks = file.facts.geometry.shanks[everything.peaks.channel_index]
    assert file.counts == {0: np.count_nonzero(of_peaks == 0), 1: np.count_nonzero(of_peaks == 1)}
    for shank in (0, 1):
        read, here = file.read(shank), of_peaks == shank
        np.testing.assert_array_equal(read.time_s, everything.peaks.sample_index[here] / 30_000.0)
        np.testing.assert_array_equal(read.depth_um, everything.peaks.location["y_um"][here])
        np.testing.assert_array_equal(read.amplitude, everything.peaks.amplitude[here])
        assert read.time_s.dtype == read.depth_um.dtype == read.amplitude.dtype == np.float64


def test_a_shank_is_read_in_less_memory_than_all(tmp_path, monkeypatch):
    path = written(tmp_path / "peaks.h5", [peaks(400_000)])
    monkeypatch.setattr(peaks_store, "_PIECE_ROWS", 10_000)
    file = PeaksByShank.open(path)
    tracemalloc.start()
    file.read(1)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 24 * file.counts[1] < peak_bytes < 24 * file.counts[1] + 100 * 10_000


def test_the_recordings_facts_travel_to_the_motion(tmp_path):
    motions = {0: Motion(np.arange(6.0).reshape(3, 2), np.arange(3.0), np.array([10.0, 30.0]))}
    motions[1] = Motion(np.ones((1, 1)), np.array([1.5]), np.array([0.0]))
    write_motion(tmp_path / "motion.h5", motions, 3.0, facts(), SETTINGS)
    file = read_motion(tmp_path / "motion.h5")
    assert file.duration_s == 3.0
    assert set(file.motions) == {0, 1}
    for shank, motion in motions.items():
        np.testing.assert_array_equal(file.motions[shank].displacement_um, motion.displacement_um)
        np.testing.assert_array_equal(file.motions[shank].temporal_bins_s, motion.temporal_bins_s)
        np.testing.assert_array_equal(file.motions[shank].spatial_bins_um, motion.spatial_bins_um)
    preset, carried = read_handover(tmp_path / "motion.h5", "motion")
    assert preset == SETTINGS.to_dict()
    original = facts()
    for name in ("sampling_frequency_hz", "num_samples", "num_columns", "dtype", "offset_bytes", "probe_json"):
        assert getattr(carried, name) == getattr(original, name), name
    np.testing.assert_array_equal(carried.columns, original.columns)
    np.testing.assert_array_equal(carried.gain_to_uv, original.gain_to_uv)
    np.testing.assert_array_equal(carried.geometry.positions_um, original.geometry.positions_um)
    np.testing.assert_array_equal(carried.geometry.shanks, original.geometry.shanks)


def test_the_same_peaks_give_the_same_bytes_however_they_came(tmp_path):
    whole = peaks(5000)
    cuts = [0, 1, 77, 5000]
    parts = [
        Peaks(
            whole.sample_index[a:b],
            whole.channel_index[a:b],
            whole.amplitude[a:b],
            {name: values[a:b] for name, values in whole.location.items()},
        )
        for a, b in pairwise(cuts)
    ]
    once, again = written(tmp_path / "a.h5", [whole]), written(tmp_path / "b.h5", parts)
    assert once.read_bytes() == again.read_bytes()


def test_a_motion_from_peaks_without_recording_has_no_facts(tmp_path):
    write_motion(tmp_path / "m.h5", {0: Motion(np.zeros((1, 1)), np.zeros(1), np.zeros(1))}, 1.0, None, SETTINGS)
    assert read_motion(tmp_path / "m.h5").facts is None


def broken_copies(path):
    """(what is wrong, how to make it so, a word of the error)."""

    def edit(change):
        with h5py.File(path, "a") as file:
            change(file)

    def shorten(file):
        values = file["peaks/x_um"][:-1]
        del file["peaks/x_um"]
        file["peaks/x_um"] = values

    return {
        "incomplete": (lambda: edit(lambda f: f.attrs.__delitem__("complete")), "incomplete"),
        "newer": (lambda: edit(lambda f: f.attrs.__setitem__("schema_version", 99)), "newer"),
        "other": (lambda: edit(lambda f: f.attrs.__setitem__("format", "driftcli motion")), "should hold peaks"),
        "foreign": (lambda: edit(lambda f: f.attrs.__delitem__("format")), "not written by driftcli"),
        "column": (lambda: edit(lambda f: f["peaks"].__delitem__("amplitude_uv")), "damaged"),
        "facts": (lambda: edit(lambda f: f.__delitem__("recording")), "damaged"),
        "length": (lambda: edit(shorten), "damaged"),
        "range": (lambda: edit(lambda f: f["peaks/channel_index"].__setitem__(0, 99)), "damaged"),
        "nan": (lambda: edit(lambda f: f["peaks/y_um"].__setitem__(0, np.nan)), "damaged"),
        "preset": (lambda: edit(lambda f: f.attrs.__setitem__("preset", "[]")), "damaged"),
        "text": (lambda: path.write_text("no hdf5"), "not an HDF5 file"),
        "gone": (path.unlink, "does not exist"),
    }


@pytest.mark.parametrize(
    "wrong",
    ["incomplete", "newer", "other", "foreign", "column", "facts", "length", "range", "nan", "preset", "text", "gone"],
)
def test_what_is_broken_is_refused(tmp_path, wrong):
    path = written(tmp_path / "peaks.h5", [peaks(10)])
    spoil, word = broken_copies(path)[wrong]
    spoil()
    for read in (read_peaks, PeaksByShank.open):
        if wrong == "preset" and read != read_peaks:
            continue  # the estimate takes the preset from `read_handover`
        with pytest.raises(InputError, match=word):
            read(path)


@pytest.mark.parametrize("count", [5, 300])
def test_a_file_that_changes_between_is_refused(tmp_path, count):
    path = written(tmp_path / "peaks.h5", [peaks(100)])
    file = PeaksByShank.open(path)
    written(path, [peaks(count)])
    with pytest.raises(InputError, match="damaged"):
        file.read(0)


def test_a_folder_that_takes_no_files_is_told():
    with pytest.raises(OutputError, match="cannot write"):
        PeakSpool(Path("/proc"), ("y_um",))


def test_a_failed_write_leaves_nothing(tmp_path):
    with PeakSpool(tmp_path, ("x_um", "y_um")) as spool:
        spool.append(peaks(10))
        with pytest.raises(AttributeError):
            write_peaks(tmp_path / "peaks.h5", spool, None, SETTINGS, np.ones(3))
    assert not list(tmp_path.iterdir())


def test_npz_peaks_are_sorted_by_time(tmp_path):
    np.savez(tmp_path / "p.npz", time_s=[2.0, 1.0], depth_um=[20.0, 10.0], amplitude_uv=[-2.0, -1.0])
    read = read_npz_peaks(tmp_path / "p.npz")
    np.testing.assert_array_equal(read.time_s, [1.0, 2.0])
    np.testing.assert_array_equal(read.depth_um, [10.0, 20.0])
    np.testing.assert_array_equal(read.amplitude, [-1.0, -2.0])


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"depth_um": None}, "no array 'depth_um'"),
        ({"depth_um": [1.0]}, "one length"),
        ({"depth_um": [1.0, np.nan]}, "NaN"),
        ({"time_s": [-1.0, 1.0]}, "before time 0"),
        ({"time_s": [], "depth_um": [], "amplitude_uv": []}, "no peaks"),
        ({"time_s": np.array(["a", "b"])}, "can't be read"),
        ({"time_s": np.array([{}, {}])}, "can't be read"),
    ],
)
def test_npz_peaks_that_make_no_sense_are_refused(tmp_path, change, word):
    arrays = {"time_s": [0.0, 1.0], "depth_um": [1.0, 2.0], "amplitude_uv": [-1.0, -1.0]} | change
    np.savez(tmp_path / "p.npz", **{name: values for name, values in arrays.items() if values is not None})
    with pytest.raises(InputError, match=word):
        read_npz_peaks(tmp_path / "p.npz")


def test_an_npz_that_is_none_is_refused(tmp_path):
    (tmp_path / "p.npz").write_text("text")
    with pytest.raises(InputError, match="can't be read"):
        read_npz_peaks(tmp_path / "p.npz")
    with pytest.raises(InputError, match="does not exist"):
        read_npz_peaks(tmp_path / "none.npz")
