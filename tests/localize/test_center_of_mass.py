"""Center of mass against the oracle, SpikeInterface's, and where there is nothing to weigh."""

import numpy as np
import pytest

from driftcli.localize import center_of_mass
from driftcli.model import Geometry
from oracles import localization

# SpikeInterface 0.105.3, the first three spikes
GOLDEN = {
    "ptp": [[24.726, 62.601], [20.662, 179.099], [24.532, 142.857]],
    "mean": [[24.808, 62.613], [20.44, 179.524], [24.509, 142.91]],
    "energy": [[24.809, 62.653], [20.494, 179.282], [24.431, 142.823]],
    "peak_voltage": [[24.605, 62.295], [20.571, 179.81], [24.757, 142.989]],
}


@pytest.mark.parametrize("feature", GOLDEN)
def test_golden_locations_of_the_peer(locate, feature):
    np.testing.assert_allclose(locate(center_of_mass, feature=feature)[:3], GOLDEN[feature], atol=1e-3)


@pytest.mark.parametrize("feature", GOLDEN)
@pytest.mark.parametrize(("radius_um", "ms_before", "ms_after"), [(75.0, 0.1, 0.3), (45.0, 0.2, 0.6)])
def test_locations_are_the_oracles(locate, spikes, feature, radius_um, ms_before, ms_after):
    shanks = np.repeat([0, 1], [18, 14])
    geometry = Geometry(spikes.geometry.positions_um, shanks)
    times = {"ms_before": ms_before, "ms_after": ms_after}
    found = locate(center_of_mass, geometry=geometry, feature=feature, radius_um=radius_um, **times)
    before, after = round(ms_before * 30), round(ms_after * 30)
    for at, row, channel in zip(found, spikes.rows, spikes.channels, strict=True):
        near = localization.neighbours(geometry.positions_um, shanks, channel, radius_um)
        waveforms = spikes.traces[row - before : row + after, near]
        expected = localization.center_of_mass(waveforms, before, feature, geometry.positions_um[near])
        np.testing.assert_allclose(at, expected, atol=1e-4)


@pytest.mark.parametrize("value", [0, np.nan, np.inf])
@pytest.mark.parametrize("feature", GOLDEN)
def test_without_a_centre_it_is_the_contact(locate, spikes, value, feature):
    found = locate(center_of_mass, traces=np.full_like(spikes.traces, value), feature=feature)
    assert (found == spikes.geometry.positions_um[spikes.channels]).all()


def test_one_contact_in_reach_is_the_place(locate, spikes):
    found = locate(center_of_mass, radius_um=0)
    assert (found == spikes.geometry.positions_um[spikes.channels]).all()


def test_no_peaks(spikes):
    localizer = center_of_mass.Localizer(center_of_mass.Parameters(), spikes.geometry, 30_000.0)
    assert localizer(spikes.traces, spikes.rows[:0], spikes.channels[:0]).shape == (0, 2)
    assert localizer.margin_samples == 9
