import numpy as np
import pytest

from driftcli.simulate.probe import contact_positions
from driftcli.simulate.rates import draw_clocks
from driftcli.simulate.units import Spikes, draw_spikes, draw_units
from oracles.simulate import add_spikes, bimodal_um

CONTACTS = contact_positions(12)


@pytest.fixture
def units():
    return draw_units(5, "uniform", CONTACTS, 10.0, 30000.0, np.random.default_rng(0))


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


def test_bimodal_moves_the_same_units_into_two_layers():
    contacts = contact_positions(128)
    even, layered = (
        draw_units(200, depths, contacts, 20.0, 30000.0, np.random.default_rng(3)) for depths in ("uniform", "bimodal")
    )
    low_um, reach_um = -20.0, 1260.0 + 40.0
    share, moved = ((units.positions_um[:, 1] - low_um) / reach_um for units in (even, layered))
    np.testing.assert_allclose(moved, [bimodal_um(each) for each in share])
    in_layers = ((moved > 0.1) & (moved < 0.35)) | ((moved > 0.65) & (moved < 0.9))
    assert 0.8 < in_layers.mean() < 0.9
    assert ((moved > 0.35) & (moved < 0.65)).mean() < 0.08
    np.testing.assert_array_equal(even.positions_um[:, [0, 2]], layered.positions_um[:, [0, 2]])
    np.testing.assert_array_equal(even.amplitude_uv, layered.amplitude_uv)


def test_modulated_trains_follow_their_clocks_and_keep_their_refractory_period():
    clocks = draw_clocks(np.arange(6) * 200.0, 120.0, np.random.default_rng(4))
    spikes = draw_spikes(6, 10.0, 30000 * 120, 30000.0, np.random.default_rng(5), clocks)
    assert (np.diff(spikes.sample_index) >= 0).all()
    for unit in range(6):
        sample = spikes.sample_index[spikes.unit == unit]
        counts = np.histogram(sample / 30000, np.arange(0, 121, 5))[0]
        passed_s = np.diff(np.interp(np.arange(0, 121, 5), clocks.times_s, clocks.clock_s[unit]))
        rate_hz = counts.sum() / 120
        expected = rate_hz * passed_s
        # where rates are highest, the refractory period takes some away, and all else is a little more for it
        assert (np.abs(counts - expected) < 4 * np.sqrt(expected) + 0.06 * expected + 4).all()
        assert counts.max() > 5 * (counts.min() + 1)
    fast = draw_spikes(6, 100.0, 30000 * 120, 30000.0, np.random.default_rng(5), clocks)
    for unit in range(6):
        assert np.diff(fast.sample_index[fast.unit == unit]).min() >= 59


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
    assert len(draw_units(0, "uniform", CONTACTS, 10.0, 30000.0, np.random.default_rng(0)).waveforms) == 0
    assert len(draw_spikes(0, 8.0, 100, 30000.0, np.random.default_rng(0)).unit) == 0
