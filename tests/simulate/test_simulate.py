import json

import numpy as np
import pytest

from driftcli.errors import OutputError
from driftcli.reporter import Reporter
from driftcli.simulate.simulate import FILES, SimulateParameters, Simulation, simulate
from driftcli.simulate.truth import load_truth

SMALL = {"duration_s": 2.3, "num_channels": 10, "num_units": 6, "t_start_s": 0.5, "period_s": 2.0}


def small(**changes):
    return SimulateParameters(**{**SMALL, **changes})


def whole(parameters):
    return np.concatenate(list(Simulation(parameters).blocks()))


@pytest.fixture
def made(tmp_path):
    simulate(tmp_path / "out", small(), Reporter())
    return tmp_path / "out"


def test_files(made):
    assert sorted(path.name for path in made.iterdir()) == sorted(FILES)
    facts = json.loads((made / "rec.json").read_text())
    assert facts == {
        "sampling_frequency_hz": 30000.0,
        "num_channels": 10,
        "num_samples": 69000,
        "gain_to_uv": 2.34375,
        "dtype": "int16",
    }
    assert (made / "rec.bin").stat().st_size == 69000 * 10 * 2


def test_same_seed_same_files(made, tmp_path):
    simulate(tmp_path / "again", small(), Reporter())
    for name in ("rec.bin", "probe.json", "rec.json"):
        assert (tmp_path / "again" / name).read_bytes() == (made / name).read_bytes()


def test_the_file_holds_the_blocks_in_counts(made):
    counts = np.fromfile(made / "rec.bin", "<i2").reshape(-1, 10)
    simulation = Simulation(small())
    for index in (2, 0, 1):  # in any order
        block = simulation.block_uv(index)
        np.testing.assert_array_equal(counts[index * 30000 :][: len(block)], np.rint(block / np.float32(2.34375)))


def test_noise_of_a_block_does_not_depend_on_the_length():
    short, long = (Simulation(small(num_units=0, duration_s=duration_s)) for duration_s in (1.5, 4.0))
    np.testing.assert_array_equal(short.block_uv(1), long.block_uv(1)[:15000])


def test_each_block_has_noise_of_its_own():
    simulation = Simulation(small(num_units=0, slow_uv=0.0))
    assert abs(np.corrcoef(simulation.block_uv(0)[:, 0], simulation.block_uv(1)[:, 0])[0, 1]) < 0.05


def test_spikes_stand_where_the_truth_says():
    parameters = small(num_units=1, noise_uv=0.0, slow_uv=0.0, drift="none", gain_to_uv=0.1)
    counts = whole(parameters)
    truth = Simulation(parameters).truth
    loudest = np.abs(counts).max(axis=0).argmax()
    alone = np.diff(truth.spike_sample, prepend=-999, append=10**9)
    alone = (alone[:-1] > 200) & (alone[1:] > 200) & (truth.spike_sample > 99) & (truth.spike_sample < 68900)
    assert alone.sum() > 3
    for sample in truth.spike_sample[alone]:
        assert sample - 50 + counts[sample - 50 : sample + 50, loudest].argmin() == sample


def test_spikes_move_without_steps():
    parameters = small(
        num_units=1, noise_uv=0.0, slow_uv=0.0, gain_to_uv=0.01, duration_s=4.0, firing_rate_hz=60.0, seed=4
    )
    simulation = Simulation(parameters)
    counts = np.concatenate(list(simulation.blocks())).astype(float)
    truth, depths = simulation.truth, simulation.positions_um[:, 1]
    size = counts[truth.spike_sample[(truth.spike_sample > 50) & (truth.spike_sample < 119900)]]
    time_s = truth.spike_sample[(truth.spike_sample > 50) & (truth.spike_sample < 119900)] / 30000
    center = (size * depths).sum(axis=1) / size.sum(axis=1)
    moved = truth.motion.at(time_s, truth.unit_positions_um[0, 1])
    assert np.ptp(moved) > 30
    assert np.corrcoef(center, moved)[0, 1] > 0.95
    assert len(np.unique(np.round(center, 6))) > 0.7 * (time_s > 0.5).sum()


@pytest.mark.parametrize(
    "change",
    [
        {"duration_s": 3.0},
        {"num_channels": 11},
        {"num_units": 7},
        {"firing_rate_hz": 20.0},
        {"noise_uv": 9.0},
        {"slow_uv": 50.0},
        {"sampling_frequency_hz": 25000.0},
        {"gain_to_uv": 1.0},
        {"depths": "bimodal"},
        {"cells": "dipole"},
        {"rates": "modulated"},
        {"drift": "none"},
        {"drift": "bumps"},
        {"drift": "random_walk"},
        {"drift_um": 20.0},
        {"period_s": 3.0},
        {"non_rigid_gradient": 0.0},
        {"t_start_s": 1.0},
        {"seed": 1},
    ],
    ids=str,
)
def test_every_parameter_changes_the_recording(change):
    before, after = whole(small()), whole(small(**change))
    assert before.shape != after.shape or (before != after).any()


def test_jitter_of_bumps_changes_the_recording():
    before, after = (whole(small(drift="bumps", bump_jitter=jitter)) for jitter in (0.3, 0.5))
    assert (before != after).any()


@pytest.mark.parametrize(
    ("drift", "moved_um"),
    [("zigzag", [20.0, 0.0, -20.0]), ("bumps", [0.0, 25.344, 37.912]), ("random_walk", [20.052, 36.386, 39.542])],
)
def test_the_recording_is_that_of_the_first_version(drift, moved_um):
    """Of numbers that a seed gave before units had layers, bursts and dendrites."""
    simulation = Simulation(small(drift=drift))
    truth, counts = simulation.truth, np.concatenate(list(simulation.blocks())).astype(int)
    assert len(truth.spike_sample) == 101
    assert truth.spike_sample[:4].tolist() == [61, 174, 458, 993]
    assert truth.spike_unit[:4].tolist() == [5, 1, 5, 0]
    np.testing.assert_allclose(truth.unit_positions_um[0], [36.049, 47.164, 13.687], atol=1e-3)
    np.testing.assert_allclose(truth.motion.at([1.0, 1.5, 2.0], 0.0), moved_um, atol=1e-3)
    # another processor may round another way
    np.testing.assert_allclose(counts[::15000, 3], [4, -4, 66, 36, -12], atol=1)
    np.testing.assert_allclose(counts[::15000, 9], [-55, -74, 3, -29, -81], atol=1)


def test_whole_depths_burst_and_fall_silent():
    parameters = small(rates="modulated", num_units=40, num_channels=128, duration_s=120.0)
    truth = Simulation(parameters).truth
    depth_um, time_s = truth.unit_positions_um[truth.spike_unit, 1], truth.spike_sample / 30000
    counts = np.histogram2d(time_s, depth_um, bins=[np.arange(0, 121, 5), np.arange(0, 1201, 150)])[0]
    there = counts.sum(axis=0) > 500
    assert there.sum() > 4
    assert (counts[:, there].max(axis=0) > 10 * (counts[:, there].min(axis=0) + 1)).all()


def test_clips_to_int16():
    counts = whole(small(gain_to_uv=1e-4, duration_s=0.1))
    assert counts.min() == -32768
    assert counts.max() == 32767


@pytest.mark.parametrize(
    "change",
    [
        {"num_channels": 1},
        {"num_units": 0},
        {"duration_s": 1e-6},
        {"duration_s": 1.0},
        {"num_units": 0, "depths": "bimodal", "rates": "modulated", "cells": "dipole"},
        {"num_channels": 1, "depths": "bimodal", "rates": "modulated", "cells": "dipole"},
        {"duration_s": 1e-6, "depths": "bimodal", "rates": "modulated", "cells": "dipole"},
    ],
    ids=str,
)
def test_small_recordings(tmp_path, change):
    parameters = small(**change)
    simulate(tmp_path, parameters, Reporter())
    counts = np.fromfile(tmp_path / "rec.bin", "<i2")
    assert len(counts) == parameters.num_samples * parameters.num_channels
    assert len(load_truth(tmp_path / "truth.npz").unit_amplitude_uv) == parameters.num_units


def test_does_not_overwrite_unless_told_to(made):
    with pytest.raises(OutputError, match="exists"):
        simulate(made, small(), Reporter())
    simulate(made, small(seed=3), Reporter(), overwrite=True)
    np.testing.assert_array_equal(np.fromfile(made / "rec.bin", "<i2").reshape(-1, 10), whole(small(seed=3)))


def test_an_interrupt_leaves_what_was_there(made):
    class Interrupting(Reporter):
        def progress(self, stage, done, total, recording_s=0.0):
            raise KeyboardInterrupt

    before = {path.name: path.read_bytes() for path in made.iterdir()}
    with pytest.raises(KeyboardInterrupt):
        simulate(made, small(seed=3), Interrupting(), overwrite=True)
    assert {path.name: path.read_bytes() for path in made.iterdir()} == before


def test_out_is_a_file(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(OutputError):
        simulate(tmp_path / "out", small(), Reporter())


def test_progress_ends_at_the_whole(tmp_path):
    seen = []

    class Keeping(Reporter):
        def progress(self, stage, done, total, recording_s=0.0):
            seen.append((stage, done, total, recording_s))

    simulate(tmp_path, small(), Keeping())
    assert [entry[1] for entry in seen] == pytest.approx([1.0, 2.0, 2.3])
    assert seen[-1] == ("simulate", pytest.approx(2.3), pytest.approx(2.3), pytest.approx(2.3))


@pytest.mark.parametrize(
    "change",
    [
        {"duration_s": 0},
        {"drift": "waves"},
        {"cells": "x"},
        {"bump_jitter": 1},
        {"non_rigid_gradient": 2},
        {"frequency": 1},
    ],
)
def test_parameters_that_make_no_sense(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        small(**change)
