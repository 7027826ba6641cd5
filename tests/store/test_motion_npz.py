"""A motion as .npz: everything comes back."""

from dataclasses import fields

import numpy as np
import pytest

from driftcli.errors import InputError
from driftcli.store.motion_npz import read_npz_motion, write_npz_motion


def require_same_handover(handover, file):
    assert handover.preset == file.preset
    assert handover.duration_s == file.duration_s
    assert (handover.facts is None) == (file.facts is None)
    for field in fields(file.facts) if file.facts else ():
        ours, theirs = getattr(handover.facts, field.name), getattr(file.facts, field.name)
        if field.name == "geometry":
            np.testing.assert_array_equal(ours.positions_um, theirs.positions_um)
            np.testing.assert_array_equal(ours.shanks, theirs.shanks)
        else:
            np.testing.assert_array_equal(ours, theirs, err_msg=field.name)
        assert type(ours) is type(theirs), field.name


def require_same_motions(read, written):
    assert set(read) == set(written)
    for shank, motion in written.items():
        for name in ("displacement_um", "temporal_bins_s", "spatial_bins_um", "steps_s"):
            np.testing.assert_array_equal(getattr(read[shank], name), getattr(motion, name))
            assert getattr(read[shank], name).dtype == np.float64


def test_all_of_a_motion_comes_back(tmp_path, motion_file):
    write_npz_motion(tmp_path / "m.npz", motion_file)
    read = read_npz_motion(tmp_path / "m.npz")
    require_same_motions(read.motions, motion_file.motions)
    require_same_handover(read.handover, motion_file)


def test_a_motion_without_recording_comes_back(tmp_path, one_shank):
    write_npz_motion(tmp_path / "m.npz", one_shank)
    read = read_npz_motion(tmp_path / "m.npz")
    require_same_motions(read.motions, one_shank.motions)
    require_same_handover(read.handover, one_shank)


def test_steps_come_back(tmp_path, stepping):
    write_npz_motion(tmp_path / "m.npz", stepping)
    require_same_motions(read_npz_motion(tmp_path / "m.npz").motions, stepping.motions)
    with np.load(tmp_path / "m.npz") as arrays:
        np.testing.assert_array_equal(arrays["shank0_steps_s"], [3.0, 50.0])


def test_how_certain_a_motion_is_comes_back(tmp_path, certain):
    write_npz_motion(tmp_path / "m.npz", certain)
    read = read_npz_motion(tmp_path / "m.npz").motions
    require_same_motions(read, certain.motions)
    np.testing.assert_array_equal(read[0].deviation_um, certain.motions[0].deviation_um)
    assert read[1].deviation_um is None


def test_the_arrays_have_plain_names_and_the_bytes_no_clock(tmp_path, motion_file):
    write_npz_motion(tmp_path / "a.npz", motion_file)
    write_npz_motion(tmp_path / "b.npz", motion_file)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["shank2_displacement_um"], motion_file.motions[2].displacement_um)
        assert arrays["recording_sampling_frequency_hz"] == 30_000.123


def test_bare_arrays_of_others_are_read(tmp_path):
    bare = {"displacement_um": np.ones((2, 1), "f4"), "temporal_bins_s": [1, 2], "spatial_bins_um": [5]}
    np.savez(tmp_path / "m.npz", **{f"shank0_{name}": values for name, values in bare.items()})
    read = read_npz_motion(tmp_path / "m.npz")
    assert read.handover is None
    np.testing.assert_array_equal(read.motions[0].displacement_um, [[1], [1]])


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"shank0_displacement_um": None}, "no array 'shank0_displacement_um'"),
        ({"shank0_displacement_um": np.ones((3, 1))}, r"m\.npz, shank 0: .* \(3, 1\) does not fit .* \(2, 1\)"),
        ({"shank0_displacement_um": np.ones(2)}, r"m\.npz, shank 0: .* \(2,\) does not fit"),
        ({"shank0_temporal_bins_s": [[1.0], [2.0]]}, r"m\.npz, shank 0: .* does not fit bins of shape \(2, 1, 1\)"),
        ({"shank0_spatial_bins_um": 5.0}, r"m\.npz, shank 0: .* does not fit bins of shape \(2,\)"),
        ({"shank0_steps_s": [3.0, 2.0]}, r"m\.npz, shank 0: .*ascending"),
        ({"shank0_steps_s": ["soon"]}, "can't be read"),
        ({"shank0_deviation_um": np.ones((1, 2))}, r"m\.npz, shank 0: deviations of shape \(1, 2\)"),
        ({"shank0_deviation_um": ["much"]}, "can't be read"),
        ({"shank0_displacement_um": np.full((2, 1), np.nan)}, r"m\.npz, shank 0: .*NaN"),
        ({"shank0_temporal_bins_s": [2.0, 1.0]}, "ascending"),
        ({"shank0_displacement_um": np.array([["a"], ["b"]])}, "can't be read"),
        ({"preset": np.array("[]"), "duration_s": np.array(1.0)}, "can't be read"),
        ({"preset": np.array("{}")}, "no array 'duration_s'"),
    ],
)
def test_what_is_broken_is_refused(tmp_path, change, word):
    names = ("displacement_um", "temporal_bins_s", "spatial_bins_um")
    arrays = dict(zip((f"shank0_{n}" for n in names), (np.ones((2, 1)), [1.0, 2.0], [5.0]), strict=True)) | change
    np.savez(tmp_path / "m.npz", **{name: values for name, values in arrays.items() if values is not None})
    with pytest.raises(InputError, match=word):
        read_npz_motion(tmp_path / "m.npz")


def test_an_npz_that_is_none_is_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_npz_motion(tmp_path / "m.npz")
    for text in ("text", ""):
        (tmp_path / "m.npz").write_text(text)
        with pytest.raises(InputError, match="can't be read"):
            read_npz_motion(tmp_path / "m.npz")
    np.savez(tmp_path / "m.npz", other=np.ones(2))
    with pytest.raises(InputError, match="holds no motion"):
        read_npz_motion(tmp_path / "m.npz")
