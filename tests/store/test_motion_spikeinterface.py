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

ARRAYS = ("displacement_um", "temporal_bins_s", "spatial_bins_um")


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


@pytest.mark.parametrize("which", ["motion_file", "one_shank"])
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
