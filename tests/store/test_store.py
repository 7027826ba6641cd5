"""The HDF5 files: what is written comes back, the bytes are always the same, and what is broken is refused."""

import tracemalloc
from dataclasses import astuple
from itertools import pairwise

import h5py
import numpy as np
import pytest

from driftcli import presets
from driftcli.errors import InputError
from driftcli.model import Geometry, Mask, Motion, Peaks, RecordingFacts
from driftcli.store import motion as motion_store
from driftcli.store import peaks as peaks_store
from driftcli.store.motion import JOINED_WITHIN_UM, read_motion, write_motion
from driftcli.store.npz import read_npz_peaks
from driftcli.store.peaks import PeakRows, PeaksByShank, read_peaks, write_peaks
from driftcli.store.schema import read_handover

SETTINGS = presets.load("rigid_fast")
MASK = Mask(np.array([5, 90]), np.array([77, 89_999]), np.array([1, 0], np.uint8))


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
    count, levels = sum(map(len, pieces)), np.array([1.0, 2.0, np.nan])
    write_peaks(path, pieces, count, ("x_um", "y_um"), facts(gain), SETTINGS, levels, MASK)
    return path


@pytest.mark.parametrize("rows", [1, 7, 250, 1 << 20])
def test_how_peaks_are_parted_changes_no_byte(tmp_path, monkeypatch, rows):
    monkeypatch.setattr(peaks_store, "_PIECE_ROWS", rows)
    everything = peaks(1000 if rows > 1 else 20)
    parts = [everything.at(slice(start, start + 33)) for start in range(0, len(everything), 33)]
    whole = written(tmp_path / "whole.h5", [everything]).read_bytes()
    assert written(tmp_path / "parts.h5", parts).read_bytes() == whole
    assert written(tmp_path / "empty.h5", [peaks(0), *parts, peaks(0)]).read_bytes() == whole


def test_peaks_come_back_from_bytes():
    rows, sent = PeakRows(("x_um", "y_um")), peaks(100)
    data = rows.to_bytes(sent)
    back = rows.from_bytes(data)
    assert rows.count(len(data)) == len(back) == 100
    for name in ("sample_index", "channel_index", "amplitude"):
        np.testing.assert_array_equal(getattr(back, name), getattr(sent, name))
    np.testing.assert_array_equal(back.location["y_um"], sent.location["y_um"])


@pytest.mark.parametrize("gain", [True, False])
def test_peaks_come_back(tmp_path, gain):
    parts = [peaks(70_000, 1), peaks(0), peaks(3, 2)]
    file = read_peaks(written(tmp_path / "peaks.h5", parts, gain))
    assert file.preset == SETTINGS.to_dict()
    np.testing.assert_array_equal(file.noise_levels, [1.0, 2.0, np.nan])
    for ours, theirs in zip(astuple(file.mask), astuple(MASK), strict=True):
        np.testing.assert_array_equal(ours, theirs)
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
        read, here = file.read([shank]), of_peaks == shank
        np.testing.assert_array_equal(read.time_s, everything.peaks.sample_index[here] / 30_000.0)
        np.testing.assert_array_equal(read.depth_um, everything.peaks.location["y_um"][here])
        np.testing.assert_array_equal(read.amplitude, everything.peaks.amplitude[here])
        assert read.time_s.dtype == read.depth_um.dtype == read.amplitude.dtype == np.float64


def test_a_shank_is_read_in_less_memory_than_all(tmp_path, monkeypatch):
    path = written(tmp_path / "peaks.h5", [peaks(400_000)])
    monkeypatch.setattr(peaks_store, "_PIECE_ROWS", 10_000)
    file = PeaksByShank.open(path)
    tracemalloc.start()
    file.read([1])
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


def test_steps_come_back_and_motions_without_them_have_no_place_for_them(tmp_path):
    motion = Motion(np.arange(3.0)[:, None], np.arange(3.0), np.zeros(1), np.array([0.75, 1.5]))
    still = Motion(np.zeros((1, 1)), np.zeros(1), np.zeros(1))
    write_motion(tmp_path / "m.h5", {0: motion, 1: still}, 3.0, None, SETTINGS)
    read = read_motion(tmp_path / "m.h5").motions
    np.testing.assert_array_equal(read[0].steps_s, [0.75, 1.5])
    assert read[1].steps_s.shape == (0,)
    with h5py.File(tmp_path / "m.h5") as file:
        assert file["shank0/steps_s"].attrs["unit"] == "s"
        assert "steps_s" not in file["shank1"]


def test_how_certain_a_motion_is_comes_back_and_others_have_no_place_for_it(tmp_path, certain):
    write_motion(tmp_path / "m.h5", certain.motions, 7.0, None, SETTINGS)
    read = read_motion(tmp_path / "m.h5").motions
    np.testing.assert_array_equal(read[0].deviation_um, certain.motions[0].deviation_um)
    assert read[0].deviation_um.dtype == np.float64
    assert read[1].deviation_um is None
    with h5py.File(tmp_path / "m.h5") as file:
        assert file["shank0/deviation_um"].attrs["unit"] == "um"
        assert "deviation_um" not in file["shank1"]


@pytest.mark.parametrize(
    ("deviation_um", "word"),
    [
        (np.full((7, 3), np.nan), "shank 0: .* NaN"),
        (np.ones((3, 7)), r"shank 0: deviations of shape \(3, 7\)"),
        (np.ones(7), "deviation_um"),
        (np.full((7, 3), b"much"), "deviation_um"),
    ],
)
def test_deviations_that_make_no_sense_are_refused(tmp_path, certain, deviation_um, word):
    write_motion(tmp_path / "m.h5", certain.motions, 7.0, None, SETTINGS)
    with h5py.File(tmp_path / "m.h5", "r+") as file:
        del file["shank0/deviation_um"]
        file["shank0/deviation_um"] = deviation_um
    with pytest.raises(InputError, match=word):
        read_motion(tmp_path / "m.h5")


def test_what_is_wrong_with_a_motion_names_file_and_shank(tmp_path):
    write_motion(tmp_path / "m.h5", {3: Motion(np.zeros((2, 1)), np.arange(2.0), np.zeros(1))}, 2.0, None, SETTINGS)
    with h5py.File(tmp_path / "m.h5", "r+") as file:
        file["shank3/displacement_um"][1] = np.nan
    with pytest.raises(InputError, match=r"m\.h5, shank 3: .* NaN"):
        read_motion(tmp_path / "m.h5")


def fine_motion(path, displacement_um, bin_s, steps_s=()):
    num_bins = len(displacement_um)
    motion = Motion(displacement_um, bin_s * (np.arange(num_bins) + 0.5), np.array([0.0, 100.0]), np.array(steps_s))
    write_motion(path, {0: motion}, bin_s * num_bins, None, SETTINGS)
    return motion


def test_a_motion_of_millions_of_bins_is_read_in_little_memory(tmp_path):
    """At 30 kHz for 100 s: two windows that swing, 50 µm in all, with a jump at a step."""
    phase = np.arange(3_000_000) / 30_000.0
    swings = np.column_stack([np.sin(phase), np.cos(0.7 * phase)]) * 0.7
    swings[1_234_567:] += 30
    motion = fine_motion(tmp_path / "m.h5", swings, 1 / 30_000, [1_234_567 / 30_000])
    read_motion(tmp_path / "m.h5", every_bin=False)  # compiled, if it has to be
    tracemalloc.start()
    file = read_motion(tmp_path / "m.h5", every_bin=False)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    (read,) = file.motions.values()
    assert file.joined
    assert peak_bytes < 10e6  # the file has 72 MB
    travel_um = np.abs(np.diff(swings, axis=0)).max(axis=1).sum()
    assert len(read.temporal_bins_s) < 2 * travel_um / (2 * JOINED_WITHIN_UM) + 100
    times_s = np.random.default_rng(0).uniform(0, 100, 20_000)
    times_s = np.concatenate([times_s, motion.steps_s, np.nextafter(motion.steps_s, 0)])
    for time in ("nearest_bin", "linear"):
        error_um = np.abs(
            read.at(times_s[:, None], [0.0, 50, 100], time) - motion.at(times_s[:, None], [0, 50, 100], time)
        )
        assert error_um.max() <= JOINED_WITHIN_UM + 1e-9
    np.testing.assert_array_equal(read.steps_s, motion.steps_s)


@pytest.mark.parametrize("time", ["nearest_bin", "linear"])
def test_joined_bins_stay_within_reach_of_the_motion_over_batches(tmp_path, monkeypatch, time):
    monkeypatch.setattr(motion_store, "_MOST_VALUES", 10)
    monkeypatch.setattr(motion_store, "_BINS_AT_ONCE", 7)
    rng = np.random.default_rng(4)
    for step_um in (0.0, 0.002, 0.03, 3.0):
        walk = np.cumsum(rng.normal(0, step_um, (200, 2)), axis=0)
        motion = fine_motion(tmp_path / f"{step_um}.h5", walk, 0.001, [0.05, 0.1234])
        (read,) = read_motion(tmp_path / f"{step_um}.h5", every_bin=False).motions.values()
        times_s = np.concatenate([np.linspace(-0.01, 0.21, 4001), motion.temporal_edges_s, motion.temporal_bins_s])
        error_um = read.at(times_s[:, None], [0.0, 40, 100], time) - motion.at(times_s[:, None], [0.0, 40, 100], time)
        assert np.abs(error_um).max() <= JOINED_WITHIN_UM + 1e-9
        assert (len(read.temporal_bins_s) < 150) == (step_um < 0.01)


def test_bins_as_estimates_have_them_and_noise_are_read_as_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(motion_store, "_MOST_VALUES", 10)
    rng = np.random.default_rng(5)
    for name, displacement, bin_s in [("slow", np.zeros((40, 2)), 0.1), ("noise", rng.normal(0, 9, (40, 2)), 0.001)]:
        motion = fine_motion(tmp_path / name, displacement + rng.normal(0, 1e-3, (40, 2)), bin_s)
        file = read_motion(tmp_path / name, every_bin=False)
        assert not file.joined
        assert file.motions[0].displacement_um.tobytes() == motion.displacement_um.tobytes()
        assert file.motions[0].temporal_bins_s.tobytes() == motion.temporal_bins_s.tobytes()


@pytest.mark.parametrize(
    ("name", "row", "value", "word"),
    [
        ("displacement_um", 17, np.nan, "NaN"),
        ("displacement_um", 17, 1e7, "beyond"),
        ("temporal_bins_s", 17, 0.0, "ascending"),
        ("temporal_bins_s", 14, 0.0, "ascending"),
        ("temporal_bins_s", None, np.arange(30.0), "does not fit"),
    ],
)
def test_a_broken_motion_is_refused_in_batches_too(tmp_path, monkeypatch, name, row, value, word):
    monkeypatch.setattr(motion_store, "_MOST_VALUES", 10)
    monkeypatch.setattr(motion_store, "_BINS_AT_ONCE", 7)
    fine_motion(tmp_path / "m.h5", np.zeros((40, 2)), 0.001)
    with h5py.File(tmp_path / "m.h5", "r+") as file:
        if row is None:
            del file[f"shank0/{name}"]
            file[f"shank0/{name}"] = value
        else:
            file[f"shank0/{name}"][row] = value
    for every_bin in (True, False):
        with pytest.raises(InputError, match=f"shank 0: .*{word}"):
            read_motion(tmp_path / "m.h5", every_bin=every_bin)


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
        file.read([0])


def test_a_failed_write_leaves_nothing(tmp_path):
    with pytest.raises(AttributeError):
        write_peaks(tmp_path / "peaks.h5", [peaks(10)], 10, ("x_um", "y_um"), None, SETTINGS, np.ones(3), Mask())
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
