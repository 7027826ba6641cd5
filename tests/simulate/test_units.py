import numpy as np
import pytest

from driftcli.simulate.probe import contact_positions
from driftcli.simulate.units import Spikes, draw_spikes, draw_units
from oracles.simulate import add_spikes

CONTACTS = contact_positions(12)


@pytest.fixture
def units():
    return draw_units(5, CONTACTS, 10.0, 30000.0, np.random.default_rng(0))


def test_spikes_are_added_as_far_as_they_reach(units):
    rng = np.random.default_rng(1)
    samples = np.sort(rng.integers(900, 1400, 40))
    spikes = Spikes(samples, rng.integers(0, 5, 40).astype(np.int32), rng.normal(1, 0.05, 40))
    displacement_um = rng.uniform(-20, 20, 40)
    traces = rng.normal(0, 5, (300, 12)).astype(np.float32)
    expected = add_spikes(
        traces,
        1000,
        zip(spikes.sample_index, spikes.unit, spikes.scale, displacement_um, strict=True),
        units.positions_um,
        units.amplitude_uv,
        units.decay_um,
        units.waveforms,
        units.before,
        CONTACTS,
    )
    units.add(traces, 1000, spikes, displacement_um, CONTACTS)
    np.testing.assert_allclose(traces, expected, atol=1e-3)


def test_a_unit_in_front_of_a_contact_has_the_amplitude_it_tells(units):
    unit = 2
    contact = units.positions_um[[unit], :2]
    traces = np.zeros((200, 1), np.float32)
    units.add(traces, 0, Spikes(np.array([100]), np.array([unit], np.int32), np.ones(1)), np.zeros(1), contact)
    assert traces.argmin() == 100
    assert traces.min() == pytest.approx(-units.amplitude_uv[unit], rel=1e-5)


def test_positive_displacement_moves_a_spike_to_greater_depth(units):
    spike = Spikes(np.array([50]), np.array([1], np.int32), np.ones(1))
    depths = []
    for displacement_um in (0.0, 0.4, 20.0):
        traces = np.zeros((100, 12), np.float32)
        units.add(traces, 0, spike, np.array([displacement_um]), CONTACTS)
        size = np.ptp(traces, axis=0)
        depths.append((size * CONTACTS[:, 1]).sum() / size.sum())
    assert depths[0] < depths[1] < depths[2]


def test_units_lie_around_the_contacts_and_differ(units):
    x, y, z = units.positions_um.T
    assert -10 <= x.min() < x.max() <= 58
    assert -10 <= y.min() < y.max() <= 110
    assert z.min() >= 10
    assert len(np.unique(units.amplitude_uv)) == 5
    np.testing.assert_array_equal(units.waveforms.argmin(axis=1), units.before)
    np.testing.assert_allclose(units.waveforms.min(axis=1), -1)
    assert np.abs(units.waveforms[:, [0, -1]]).max() < 1e-3


def test_trains_have_their_rate_and_refractory_period():
    spikes = draw_spikes(20, 8.0, 30000 * 50, 30000.0, np.random.default_rng(2))
    counts = np.bincount(spikes.unit, minlength=20) / 50
    assert counts.mean() == pytest.approx(8.0, rel=0.2)
    assert counts.min() > 2
    assert counts.max() < 15
    for unit in range(20):
        assert np.diff(spikes.sample_index[spikes.unit == unit]).min() >= 59


def test_spikes_are_in_order_and_within_the_recording():
    spikes = draw_spikes(50, 100.0, 9000, 30000.0, np.random.default_rng(3))
    keys = list(zip(spikes.sample_index, spikes.unit, strict=True))
    assert keys == sorted(keys)
    assert spikes.sample_index[0] >= 0
    assert spikes.sample_index[-1] < 9000


def test_spikes_that_reach_a_block():
    spikes = Spikes(np.array([10, 79, 80, 150, 219, 220, 300]), np.zeros(7, np.int32), np.ones(7))
    np.testing.assert_array_equal(spikes.that_reach(100, 200, before=20, after=20).sample_index, [80, 150, 219])


def test_no_units():
    assert len(draw_units(0, CONTACTS, 10.0, 30000.0, np.random.default_rng(0)).waveforms) == 0
    assert len(draw_spikes(0, 8.0, 100, 30000.0, np.random.default_rng(0)).unit) == 0
