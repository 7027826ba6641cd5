import numpy as np
import pytest

from driftcli.errors import InputError
from driftcli.model import Motion
from driftcli.simulate.truth import Truth, error_against_truth, load_truth, save_truth
from oracles.simulate import motion_error


def make_truth(units=6, seed=0):
    rng = np.random.default_rng(seed)
    motion = Motion(rng.normal(0, 10, (30, 3)), np.arange(30) * 0.5, np.array([0.0, 200.0, 600.0]))
    positions = np.column_stack([rng.uniform(0, 48, units), rng.uniform(0, 600, units), rng.uniform(10, 30, units)])
    return Truth(motion, positions, rng.uniform(50, 200, units), np.arange(9), np.zeros(9, np.int32))


def test_file_gives_back_what_was_saved(tmp_path):
    truth = make_truth()
    save_truth(tmp_path / "truth.npz", truth)
    got = load_truth(tmp_path / "truth.npz")
    for name in ("displacement_um", "temporal_bins_s", "spatial_bins_um"):
        np.testing.assert_array_equal(getattr(got.motion, name), getattr(truth.motion, name))
    for name in ("unit_positions_um", "unit_amplitude_uv", "spike_sample", "spike_unit"):
        np.testing.assert_array_equal(getattr(got, name), getattr(truth, name))
        assert getattr(got, name).dtype == getattr(truth, name).dtype


def test_missing_and_broken_files(tmp_path):
    with pytest.raises(InputError, match="no file"):
        load_truth(tmp_path / "truth.npz")
    (tmp_path / "text.npz").write_text("hello")
    (tmp_path / "empty.npz").write_bytes(b"")
    (tmp_path / "zip.npz").write_bytes(b"PK\x03\x04 broken")
    np.savez(tmp_path / "other.npz", time_s=np.zeros(3))
    np.save(tmp_path / "array.npy", np.zeros(3))
    for name in ("text.npz", "empty.npz", "zip.npz", "other.npz", "array.npy", "."):
        with pytest.raises(InputError, match="does not hold"):
            load_truth(tmp_path / name)


def test_the_truth_has_no_error_and_a_constant_is_none():
    truth = make_truth()
    moved = Motion(truth.motion.displacement_um + 17, truth.motion.temporal_bins_s, truth.motion.spatial_bins_um)
    for motion in (truth.motion, moved):
        error = error_against_truth(motion, truth)
        assert max(error[name] for name in ("mean_um", "median_um", "p95_um", "max_um")) < 1e-9
        assert error["true_range_um"] > 10


def test_error_as_counted_one_by_one():
    truth = make_truth()
    rng = np.random.default_rng(1)
    estimate = Motion(rng.normal(0, 5, (7, 2)), np.arange(7) * 2.0 + 1, np.array([100.0, 500.0]))
    errors = motion_error(
        lambda t, y: float(estimate.at(t, y)),
        lambda t, y: float(truth.motion.at(t, y)),
        truth.motion.temporal_bins_s,
        truth.unit_positions_um[:, 1],
    )
    got = error_against_truth(estimate, truth)
    assert got["mean_um"] == pytest.approx(np.mean(errors))
    assert got["median_um"] == pytest.approx(np.median(errors))
    assert got["p95_um"] == pytest.approx(np.percentile(errors, 95))
    assert got["max_um"] == pytest.approx(errors[-1])


def test_wrong_sign_is_seen():
    truth = make_truth()
    wrong = Motion(-truth.motion.displacement_um, truth.motion.temporal_bins_s, truth.motion.spatial_bins_um)
    assert error_against_truth(wrong, truth)["mean_um"] > 5


def test_no_units():
    with pytest.raises(InputError, match="no units"):
        error_against_truth(make_truth().motion, make_truth(units=0))
