import numpy as np
import pytest

from driftcli.simulate.dipoles import with_dendrites
from driftcli.simulate.probe import contact_positions
from driftcli.simulate.units import Spikes, draw_units
from oracles.simulate import add_dipoles, delayed

CONTACTS = contact_positions(12)


@pytest.fixture
def somata():
    return draw_units(5, "uniform", CONTACTS, 10.0, 30000.0, np.random.default_rng(0))


@pytest.fixture
def units(somata):
    return with_dendrites(somata, 30000.0, np.random.default_rng(1))


def one_spike(units, unit, contacts_um, displacement_um=0.0):
    traces = np.zeros((200, len(contacts_um)), np.float32)
    spike = Spikes(np.array([100]), np.array([unit], np.int32), np.ones(1))
    units.add(traces, 0, spike, np.array([displacement_um]), contacts_um)
    return traces


def test_spikes_are_the_sum_of_point_currents(units):
    rng = np.random.default_rng(1)
    samples = np.sort(rng.integers(900, 1400, 40))
    spikes = Spikes(samples, rng.integers(0, 5, 40).astype(np.int32), rng.normal(1, 0.05, 40))
    displacement_um = rng.uniform(-20, 20, 40)
    traces = rng.normal(0, 5, (300, 12)).astype(np.float32)
    expected = add_dipoles(
        traces,
        1000,
        zip(spikes.sample_index, spikes.unit, spikes.scale, displacement_um, strict=True),
        units.positions_um,
        units.amplitude_uv,
        units.sources_um,
        units.currents,
        units.before,
        CONTACTS,
    )
    units.add(traces, 1000, spikes, displacement_um, CONTACTS)
    np.testing.assert_allclose(traces, expected, atol=1e-3)


def test_no_current_is_left_over(units):
    np.testing.assert_allclose(units.currents.sum(axis=1), 0, atol=1e-6 * np.abs(units.currents).max())


def test_each_compartment_gets_what_enters_it_less_what_entered_the_one_before(somata, units):
    """The current that goes from one compartment to the next is the soma's waveform, later and smaller."""
    for currents, waveform in zip(units.currents, somata.waveforms, strict=True):
        entering = np.cumsum(currents[:-1], axis=0) / -currents[0].min()
        troughs, sizes = entering.argmin(axis=1), -entering.min(axis=1)
        steps = np.diff(troughs)
        assert set(steps) <= {1, 2, 3}  # 30 um take 1.5 to 3 samples
        assert 1.3 <= (troughs[-1] - troughs[0]) / 3 <= 3.2
        np.testing.assert_allclose(sizes[1:] / sizes[:-1], sizes[1], rtol=0.02)
        assert np.exp(-30 / 40) - 0.02 < sizes[1] < np.exp(-30 / 100) + 0.02
        later = delayed(waveform, troughs[1] - troughs[0])
        assert np.corrcoef(entering[1], later)[0, 1] > 0.98


def test_amplitudes_in_front_are_those_of_the_somata(somata, units):
    np.testing.assert_array_equal(units.positions_um, somata.positions_um)
    for unit in range(5):
        traces = one_spike(units, unit, units.positions_um[[unit], :2])
        assert traces.min() == pytest.approx(-somata.amplitude_uv[unit], rel=1e-4)
        assert abs(int(traces.argmin()) - 100) <= 1


def test_the_field_reverses_up_the_dendrite_and_comes_later(units):
    for unit in range(5):
        x, y, _ = units.positions_um[unit]
        along_um = np.linspace(0, 400, 41)
        traces = one_spike(units, unit, np.column_stack([np.full(41, x), y + along_um]))
        near, far = traces[:, 0], traces[:, -1]
        assert np.abs(near).argmax() == near.argmin()
        assert np.abs(far).argmax() == far.argmax()  # the current that returns
        middle = traces[:, np.argmin(np.abs(along_um - 60))]
        assert middle.argmin() > near.argmin()


def test_far_away_it_falls_off_as_a_dipole_does(units):
    x, y, _ = units.positions_um[0]
    sizes = np.ptp(one_spike(units, 0, np.array([[x, y + 2000.0], [x, y + 4000.0]])), axis=0)
    assert 3 < sizes[0] / sizes[1] < 5.5


def test_positive_displacement_moves_a_spike_to_greater_depth(units):
    at_rest = one_spike(units, 1, CONTACTS)
    moved = one_spike(units, 1, CONTACTS + np.array([0.0, 20.0]), displacement_um=20.0)
    np.testing.assert_allclose(moved, at_rest, atol=1e-3)
    assert np.abs(one_spike(units, 1, CONTACTS, 20.0) - at_rest).max() > 1


def test_dendrites_point_up_and_never_through_the_probe(units):
    assert (units.sources_um[:, 0] == 0).all()
    assert (np.diff(units.sources_um[..., 1], axis=1) > 0).all()
    assert (units.sources_um[..., 2] >= 0).all()
    np.testing.assert_allclose(np.linalg.norm(units.sources_um[:, -1], axis=1), 120)


def test_no_units():
    none = draw_units(0, "uniform", CONTACTS, 10.0, 30000.0, np.random.default_rng(0))
    assert len(with_dendrites(none, 30000.0, np.random.default_rng(0)).currents) == 0
