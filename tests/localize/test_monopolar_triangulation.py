"""Monopolar triangulation against the oracle, SpikeInterface's, the true sources, and where there is nothing to fit."""

import numpy as np
import pytest

from driftcli.localize import monopolar_triangulation
from driftcli.model import Geometry
from oracles import localization

# SpikeInterface 0.105.3, where enforce_decrease has no effect
GOLDEN = {
    "ptp": [
        [25.369, 66.749, 27.219, 3142.596],
        [13.65, 178.184, 18.564, 2898.055],
        [22.523, 146.696, 15.984, 2323.395],
        [36.783, 152.673, 16.012, 4172.843],
        [32.696, 61.319, 15.06, 4921.471],
        [18.352, 179.405, 30.81, 3960.738],
    ],
    "energy": [
        [25.426, 66.57, 27.332, 5535.124],
        [14.49, 178.263, 18.104, 4987.464],
        [22.891, 146.32, 16.893, 4033.756],
    ],
    "peak_voltage": [
        [24.303, 66.737, 28.284, 2548.81],
        [13.898, 178.858, 17.823, 2245.259],
        [23.178, 146.78, 15.761, 1784.998],
    ],
}


@pytest.mark.parametrize("feature", GOLDEN)
def test_golden_locations_of_the_peer(locate, feature):
    found = locate(monopolar_triangulation, feature=feature, enforce_decrease=False)
    golden = np.array(GOLDEN[feature])
    off = np.abs(found[: len(golden)] - golden)
    assert np.median(off[:, 1]) < 0.05
    assert off[:, :3].max() < 0.2
    assert (off[:, 3] / golden[:, 3]).max() < 0.01


def test_sources_are_found(locate, spikes):
    found = locate(monopolar_triangulation, feature="energy")
    assert np.abs(found[:, :3] - spikes.sources).max() < 1.5


@pytest.mark.parametrize("feature", GOLDEN)
@pytest.mark.parametrize("enforce_decrease", [True, False])
@pytest.mark.parametrize("max_distance_um", [150.0, 1.5])
def test_locations_are_the_oracles(locate, spikes, feature, enforce_decrease, max_distance_um):
    shanks = np.repeat([0, 1], [18, 14])
    geometry = Geometry(spikes.geometry.positions_um, shanks)
    parameters = {"feature": feature, "enforce_decrease": enforce_decrease, "max_distance_um": max_distance_um}
    found = locate(monopolar_triangulation, geometry=geometry, **parameters)
    for at, row, channel in zip(found, spikes.rows, spikes.channels, strict=True):
        near = localization.neighbours(geometry.positions_um, shanks, channel, 75.0)
        w = np.abs(localization.amplitudes(spikes.traces[row - 3 : row + 9, near], 3, feature))
        if enforce_decrease:
            shank = np.flatnonzero(shanks == shanks[channel])
            places = geometry.positions_um[shank]
            w = localization.decreasing(w, np.searchsorted(shank, channel), np.searchsorted(shank, near), places)
        expected = localization.monopolar_triangulation(w, geometry.positions_um[near], max_distance_um)
        np.testing.assert_allclose(at[:3], expected[:3], atol=0.05)
        np.testing.assert_allclose(at[3], expected[3], rtol=0.01)


@pytest.mark.parametrize(
    ("channel", "lowered"),
    [
        (0, [67, 80, 3, 80, 47, 52, 47, 29]),
        (13, [29, 41, 6, 28, 38, 41, 41, 13, 5, 1, 5, 5]),
        (31, [28, 44, 27, 89, 18, 89, 79, 84]),
    ],
)
def test_decrease_is_the_peers(spikes, channel, lowered):
    """SpikeInterface 0.105.3, enforce_decrease_shells_data, which it doesn't use the result of for peaks."""
    starts, contacts = spikes.geometry.neighbours(75.0)
    near = contacts[starts[channel] : starts[channel + 1]]
    w = np.random.default_rng(5).integers(1, 100, 32).astype(float)[near]
    assert localization.decreasing(w, channel, near, spikes.geometry.positions_um).tolist() == lowered
    rules = monopolar_triangulation._radial_rules(spikes.geometry, starts, contacts)
    monopolar_triangulation._decrease(w, channel, rules)
    assert w.tolist() == lowered


def test_decrease_matters_where_a_far_contact_is_large(locate, spikes):
    traces = spikes.traces.copy()
    far = spikes.channels[0] + 6
    traces[spikes.rows[0], far] -= 150
    off = [
        np.abs(locate(monopolar_triangulation, traces=traces, enforce_decrease=lower)[0, 1] - spikes.sources[0, 1])
        for lower in (True, False)
    ]
    assert off[0] < off[1] - 1


@pytest.mark.parametrize("value", [0, np.nan, np.inf])
def test_without_amplitudes_it_is_the_contact(locate, spikes, value):
    found = locate(monopolar_triangulation, traces=np.full_like(spikes.traces, value))
    assert (found[:, :2] == spikes.geometry.positions_um[spikes.channels]).all()
    assert (found[:, 2:] == 0).all()


def test_one_contact_in_reach_is_the_place(locate, spikes):
    found = locate(monopolar_triangulation, radius_um=0)
    assert (found[:, :2] == spikes.geometry.positions_um[spikes.channels]).all()
    assert (found[:, 2:] == 0).all()


def test_a_single_column_keeps_its_x(locate, spikes):
    column = Geometry(np.column_stack([np.full(32, 11.0), 10.0 * np.arange(32)]), np.zeros(32, np.int64))
    found = locate(monopolar_triangulation, geometry=column)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[:, 0], 11.0, atol=1e-3)


def test_bounds_hold(locate, spikes):
    found = locate(monopolar_triangulation, max_distance_um=2.0, feature="peak_voltage")
    assert (found[:, 2] <= 20).all()
    assert (found[:, 2] >= 1).all()
    assert (found[:, 2] == 20).any()


def test_no_peaks(spikes):
    localizer = monopolar_triangulation.Localizer(monopolar_triangulation.Parameters(), spikes.geometry, 30_000.0)
    assert localizer(spikes.traces, spikes.rows[:0], spikes.channels[:0]).shape == (0, 4)
    one = Geometry(np.zeros((1, 2)), np.zeros(1, np.int64))
    assert monopolar_triangulation.Localizer(monopolar_triangulation.Parameters(), one, 30_000.0).margin_samples == 9
