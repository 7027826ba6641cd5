"""The folder that SpikeInterface's Motion.load reads: its layout, that it comes back, that nothing else is replaced."""

import json
import shutil
from dataclasses import fields

import numpy as np
import pytest

from driftcli.errors import InputError, OutputError
from driftcli.model import Motion
from driftcli.store.motion import MotionFile
from driftcli.store.motion_spikeinterface import read_spikeinterface_motion, write_spikeinterface_motion
from oracles import peer_bins

ARRAYS = ("displacement_um", "temporal_bins_s", "spatial_bins_um", "steps_s")


def save_as_peer(folder, motion, **info):
    """As SpikeInterface 0.105.3's Motion.save does."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "displacement_seg0.npy", motion.displacement_um)
    np.save(folder / "temporal_bins_s_seg0.npy", motion.temporal_bins_s)
    np.save(folder / "spatial_bins_um.npy", motion.spatial_bins_um)
    described = {"version": "0.105.3", "dev_mode": False, "object": "Motion", "num_segments": 1, "direction": "y"}
    described |= {"interpolation_method": "linear"} | info
    (folder / "spikeinterface_info.json").write_text(json.dumps(described))


def test_one_shank_is_one_folder_as_motion_save_writes_it(tmp_path, one_shank):
    write_spikeinterface_motion(tmp_path / "m", one_shank)
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == [
        "displacement_seg0.npy",
        "driftcli.npz",
        "spatial_bins_um.npy",
        "spikeinterface_info.json",
        "temporal_bins_s_seg0.npy",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["m"]
    info = json.loads((tmp_path / "m/spikeinterface_info.json").read_text())
    assert info["object"] == "Motion"
    assert (info["num_segments"], info["direction"], info["interpolation_method"]) == (1, "y", "linear")
    displacement = np.load(tmp_path / "m/displacement_seg0.npy")
    np.testing.assert_array_equal(displacement[1:-1], one_shank.motions[3].displacement_um)
    np.testing.assert_array_equal(displacement[[0, -1]], displacement[[1, -2]])
    times_s = np.load(tmp_path / "m/temporal_bins_s_seg0.npy")
    np.testing.assert_array_equal(times_s, np.arange(9) - 0.5)
    np.testing.assert_array_equal(np.load(tmp_path / "m/spatial_bins_um.npy"), one_shank.motions[3].spatial_bins_um)


def test_several_shanks_are_a_folder_each(tmp_path, motion_file):
    write_spikeinterface_motion(tmp_path / "m", motion_file)
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == ["driftcli.npz", "shank0", "shank2"]
    assert (tmp_path / "m/shank2/spikeinterface_info.json").is_file()


@pytest.mark.parametrize("bins", [1, 2, 3, 10])
def test_the_peer_looks_up_what_apply_does(tmp_path, bins):
    """Without the bins added at the ends it would not, which the second half shows."""
    rng = np.random.default_rng(bins)
    motion = Motion(rng.normal(0, 20, (bins, 2)), (np.arange(bins) + 0.5) * 0.3, np.array([0.0, 100.0]))
    write_spikeinterface_motion(tmp_path / "m", MotionFile(None, {}, 0.3 * bins, {0: motion}))
    centres_s = np.load(tmp_path / "m/temporal_bins_s_seg0.npy")
    displacement = np.load(tmp_path / "m/displacement_seg0.npy")
    times_s = rng.uniform(0, 0.3 * bins, 200)
    ours = motion.at(times_s[:, None], motion.spatial_bins_um, "nearest_bin")
    np.testing.assert_allclose(peer_bins.displacement_um(times_s, centres_s, displacement), ours, atol=1e-9)
    if bins > 2:
        bare = peer_bins.displacement_um(times_s, motion.temporal_bins_s, motion.displacement_um)
        assert np.abs(bare - ours).max() > 1


@pytest.mark.parametrize("rate", [30_000.0, 29_999.95])
def test_the_peer_steps_where_apply_does(tmp_path, rate):
    """Two files of 2.1 and 3 s, each with bins of its own; the motion jumps by 40 µm and hardly moves in either."""
    step_s = round(2.1 * rate) / rate
    times_s = np.concatenate([0.3 * (np.arange(7) + 0.5), step_s + 0.3 * (np.arange(10) + 0.5)])
    displacement = np.concatenate([np.linspace(0, 0.1, 7), np.linspace(40, 40.1, 10)])[:, None] * [1.0, 0.8]
    motion = Motion(displacement, times_s, np.array([0.0, 100.0]), np.array([step_s]))
    write_spikeinterface_motion(tmp_path / "m", MotionFile(None, {}, 5.1, {0: motion}))
    centres_s = np.load(tmp_path / "m/temporal_bins_s_seg0.npy")
    written = np.load(tmp_path / "m/displacement_seg0.npy")
    first = round(2.1 * rate)
    samples = np.concatenate([np.arange(0, 5.1 * rate, 997), [first - 2, first - 1, first, first + 1]])
    theirs = peer_bins.displacement_um(samples / rate, centres_s, written)
    ours = motion.at(samples[:, None] / rate, motion.spatial_bins_um, "nearest_bin")
    assert np.abs(theirs - ours).max() < 0.02
    away = np.abs(samples / rate - step_s) > 0.6
    np.testing.assert_allclose(theirs[away], ours[away], atol=1e-9)


@pytest.mark.parametrize("bins", [2, 3, 10])
def test_steps_anywhere_come_back_and_the_peer_keeps_to_them(tmp_path, bins):
    """Also at the centre of a bin, next to it, several between two bins, before all bins and after them."""
    rng = np.random.default_rng(bins)
    centres_s = (np.arange(bins) + 0.5) * 0.3
    for steps_s in ([centres_s[1]], [0.15 + 1e-7], [0.2, 0.3, 0.4], [0.2, 0.22], [-1.0, 0.05, 0.3, 99.0]):
        motion = Motion(np.cumsum(np.ones((bins, 2)), 0) * 10, centres_s, np.array([0.0, 100.0]), np.array(steps_s))
        folder = tmp_path / str(rng.integers(1 << 40))
        write_spikeinterface_motion(folder, MotionFile(None, {}, 0.3 * bins, {0: motion}))
        read = read_spikeinterface_motion(folder).motions[0]
        for name in ARRAYS:
            np.testing.assert_array_equal(getattr(read, name), getattr(motion, name))
        written_s, written = (np.load(folder / f"{name}_seg0.npy") for name in ("temporal_bins_s", "displacement"))
        edges_s = motion.temporal_edges_s[motion.parted]
        around_s = (edges_s[:, None] + np.array([-5e-6, 0])).ravel()
        theirs = peer_bins.displacement_um(around_s, written_s, written).reshape(-1, 2)
        ours = motion.at(around_s[:, None], motion.spatial_bins_um, "nearest_bin")
        assert np.abs(theirs - ours).max(initial=0) <= 10 / 4 + 1e-4


def test_bins_at_a_step_that_somebody_changed_are_not_taken_off(tmp_path, stepping):
    write_spikeinterface_motion(tmp_path / "m", stepping)
    displacement = np.load(tmp_path / "m/shank0/displacement_seg0.npy")
    displacement[4] += 1
    np.save(tmp_path / "m/shank0/displacement_seg0.npy", displacement)
    read = read_spikeinterface_motion(tmp_path / "m").motions
    np.testing.assert_array_equal(read[0].displacement_um, displacement[1:-1])
    np.testing.assert_array_equal(read[0].steps_s, [3.0, 50.0])
    np.testing.assert_array_equal(read[4].displacement_um, stepping.motions[4].displacement_um)


def test_a_wrong_shape_is_told_with_its_folder(tmp_path, one_shank, stepping):
    write_spikeinterface_motion(tmp_path / "m", one_shank)
    np.save(tmp_path / "m/displacement_seg0.npy", np.zeros((4, 3)))
    with pytest.raises(
        InputError, match=r"/m, shank 3: a motion of shape \(4, 3\) does not fit bins of shape \(9, 3\)"
    ):
        read_spikeinterface_motion(tmp_path / "m")
    write_spikeinterface_motion(tmp_path / "s", stepping)
    np.save(tmp_path / "s/shank4/spatial_bins_um.npy", np.zeros((2, 2)))
    with pytest.raises(InputError, match=r"/s/shank4, shank 4: .* does not fit"):
        read_spikeinterface_motion(tmp_path / "s")


@pytest.mark.parametrize("which", ["motion_file", "one_shank", "stepping"])
def test_all_of_a_motion_comes_back(tmp_path, request, which):
    file = request.getfixturevalue(which)
    write_spikeinterface_motion(tmp_path / "m", file)
    read = read_spikeinterface_motion(tmp_path / "m")
    assert set(read.motions) == set(file.motions)
    for shank, motion in file.motions.items():
        for name in ARRAYS:
            np.testing.assert_array_equal(getattr(read.motions[shank], name), getattr(motion, name))
    assert (read.handover.preset, read.handover.duration_s) == (file.preset, file.duration_s)
    if file.facts is None:
        assert read.handover.facts is None
        return
    for field in fields(file.facts):
        if field.name != "geometry":
            ours, theirs = getattr(read.handover.facts, field.name), getattr(file.facts, field.name)
            np.testing.assert_array_equal(ours, theirs, err_msg=field.name)
    np.testing.assert_array_equal(read.handover.facts.geometry.shanks, file.facts.geometry.shanks)


def test_bins_that_somebody_changed_are_not_taken_off(tmp_path, one_shank):
    write_spikeinterface_motion(tmp_path / "m", one_shank)
    displacement = np.load(tmp_path / "m/displacement_seg0.npy")
    displacement[0] += 1
    np.save(tmp_path / "m/displacement_seg0.npy", displacement)
    np.testing.assert_array_equal(read_spikeinterface_motion(tmp_path / "m").motions[3].displacement_um, displacement)


def test_what_the_peer_saved_is_read_as_it_is(tmp_path, motions):
    save_as_peer(tmp_path / "m", motions[0])
    read = read_spikeinterface_motion(tmp_path / "m")
    assert read.handover is None
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(read.motions[0], name), getattr(motions[0], name))


@pytest.mark.parametrize(
    ("info", "word"),
    [
        ({"num_segments": 2}, "num_segments is 2"),
        ({"direction": "x"}, "direction is 'x'"),
        ({"interpolation_method": "nearest"}, "interpolation_method is 'nearest'"),
        ({"object": "Templates"}, "holds a Templates"),
    ],
)
def test_what_driftcli_has_no_place_for_is_refused(tmp_path, motions, info, word):
    save_as_peer(tmp_path / "m", motions[0], **info)
    with pytest.raises(InputError, match=word):
        read_spikeinterface_motion(tmp_path / "m")


def test_broken_folders_are_refused(tmp_path, motions):
    save_as_peer(tmp_path / "info/motion", motions[0])
    with pytest.raises(InputError, match="holds no motion") as error:
        read_spikeinterface_motion(tmp_path / "info")
    assert error.value.hint == f"give {tmp_path / 'info/motion'}"
    for name, content in {"displacement_seg0.npy": b"", "spikeinterface_info.json": b"{"}.items():
        save_as_peer(tmp_path / "m", motions[0])
        (tmp_path / "m" / name).write_bytes(content)
        with pytest.raises(InputError, match="can't be read"):
            read_spikeinterface_motion(tmp_path / "m")
    save_as_peer(tmp_path / "m", motions[0])
    (tmp_path / "m/spatial_bins_um.npy").unlink()
    with pytest.raises(InputError, match="can't be read"):
        read_spikeinterface_motion(tmp_path / "m")


def test_a_motion_is_replaced_only_when_that_was_said(tmp_path, motion_file, one_shank):
    write_spikeinterface_motion(tmp_path / "m", motion_file)
    with pytest.raises(OutputError, match="exists already"):
        write_spikeinterface_motion(tmp_path / "m", one_shank)
    write_spikeinterface_motion(tmp_path / "m", one_shank, overwrite=True)
    assert set(read_spikeinterface_motion(tmp_path / "m").motions) == {3}
    assert {path.name for path in tmp_path.iterdir()} == {"m", "motion.h5"}


@pytest.mark.parametrize("what", ["folder", "file", "link"])
def test_what_is_no_motion_is_never_replaced(tmp_path, one_shank, what):
    path = tmp_path / "m"
    if what == "file":
        path.write_text("precious")
    else:
        (tmp_path / "real").mkdir()
        (tmp_path / "real/thesis.txt").write_text("precious")
        path.symlink_to(tmp_path / "real") if what == "link" else (tmp_path / "real").rename(path)
    with pytest.raises(OutputError, match="stays"):
        write_spikeinterface_motion(path, one_shank, overwrite=True)
    assert (path if what == "file" else path / "thesis.txt").read_text() == "precious"


def test_a_failed_write_leaves_what_was_there(tmp_path, one_shank, monkeypatch):
    write_spikeinterface_motion(tmp_path / "m", one_shank)
    before = {path.name: path.read_bytes() for path in (tmp_path / "m").iterdir()}

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OutputError, match="cannot write"):
        write_spikeinterface_motion(tmp_path / "m", one_shank, overwrite=True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "m").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["m"]
    shutil.rmtree(tmp_path / "m")
    with pytest.raises(OutputError, match="cannot write"):
        write_spikeinterface_motion(tmp_path / "m", one_shank)
    assert not list(tmp_path.iterdir())
