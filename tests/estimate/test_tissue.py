"""What peaks say of a displacement, against every peak with every cell."""

import numpy as np
import pytest

from driftcli.estimate.tissue import Nodes, Tissue, TissueParameters
from driftcli.model import DepthPeaks
from oracles import likelihood as oracle

SPAN_UM, FARTHEST_UM, BIN_S, N_BINS = (20.0, 320.0), 30.0, 0.5, 12
SETTINGS = {
    "depth_sigma_um": 1.5,
    "amplitude_sigma": 0.3,
    "background_hz": 0.02,
    "saturation_hz": 20.0,
    "border_um": 25.0,
}


def some_peaks(count=300, seed=0):
    """Of 12 units, some beyond the contacts."""
    rng = np.random.default_rng(seed)
    unit = rng.integers(0, 12, count)
    depth_um = rng.uniform(0, 340, 12)[unit] + rng.normal(0, 3, count)
    return (
        np.sort(rng.uniform(0, 6, count)),
        depth_um,
        -np.exp(rng.normal(4, 0.6, 12)[unit] + rng.normal(0, 0.1, count)),
    )


def some_displacement(n_windows, seed=1):
    return np.random.default_rng(seed).normal(0, 6, (N_BINS, n_windows))


def tissue_of(peaks, n_windows, **changes):
    nodes = Nodes(N_BINS, BIN_S, oracle.depths_of(SPAN_UM, 300 / (n_windows - 1) if n_windows > 1 else 900))
    parameters = TissueParameters(**{**SETTINGS, **changes})
    return Tissue.of(DepthPeaks(*peaks), nodes, SPAN_UM, FARTHEST_UM, parameters)


def require_the_oracles(peaks, displacement_um, sigma_um=4.0, **changes):
    tissue = tissue_of(peaks, displacement_um.shape[1], **changes)
    slopes, bends = tissue.evidence(displacement_um, sigma_um)
    layout = BIN_S, tissue.nodes.depths_um, SPAN_UM, FARTHEST_UM, sigma_um
    expected, of_all = oracle.evidence(peaks, displacement_um, *layout, **{**SETTINGS, **changes})
    np.testing.assert_allclose(slopes, expected, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(bends[..., 0], np.diagonal(of_all, axis1=1, axis2=2), rtol=1e-9, atol=1e-11)
    beside = np.diagonal(of_all, offset=1, axis1=1, axis2=2)
    np.testing.assert_allclose(bends[:, :-1, 1], beside, rtol=1e-9, atol=1e-11)
    assert (bends[:, -1, 1] == 0).all()  # no deeper neighbour
    return slopes, bends


@pytest.mark.parametrize("n_windows", [1, 2, 4])
@pytest.mark.parametrize("sigma_um", [0.8, 5.0])
def test_slopes_and_bends_are_the_oracles(n_windows, sigma_um):
    slopes, bends = require_the_oracles(some_peaks(), some_displacement(n_windows), sigma_um)
    assert (np.abs(slopes) > 0.01).mean() > 0.8
    assert (bends[..., 0] > 1e-4).mean() > 0.8


@pytest.mark.parametrize(
    "changes",
    [
        {"depth_sigma_um": 0.9, "amplitude_sigma": 0.15},
        {"background_hz": 5.0},
        {"saturation_hz": 0.5},
        {"border_um": 140.0},
    ],
)
def test_every_parameter_is_as_the_oracle_has_it(changes):
    changed, _ = require_the_oracles(some_peaks(), some_displacement(3), **changes)
    assert np.abs(changed - require_the_oracles(some_peaks(), some_displacement(3))[0]).max() > 0.01


def test_amplitudes_beyond_a_hundredfold_are_not_told_apart():
    time_s, depth_um, amplitude = some_peaks()
    wide = time_s, depth_um, amplitude**5 / 1e7
    assert np.ptp(np.log(np.abs(wide[2]))) > 8
    require_the_oracles(wide, some_displacement(3))
    assert tissue_of(wide, 3).shape[0] == int((4.6 / 0.3 + 4) * 2.4) + 2


def test_the_density_holds_each_peak_once():
    peaks, displacement_um = some_peaks(), some_displacement(3)
    tissue = tissue_of(peaks, 3)
    found = tissue._density(displacement_um, 2.0)
    logs, columns_um = oracle.cells(peaks[2], SPAN_UM, FARTHEST_UM, 1.5, 0.3)
    assert found.shape == (len(logs), len(columns_um))
    places = oracle.places(peaks, displacement_um, BIN_S, tissue.nodes.depths_um, logs, columns_um)
    np.testing.assert_allclose(found, oracle.density(places, logs, columns_um, 2.0, 0.3), rtol=1e-9, atol=1e-12)
    assert found.sum() == pytest.approx(300, abs=1)  # but for what is smoothed across the outermost amplitudes


def test_peaks_that_are_carried_beyond_the_cells_say_nothing():
    peaks, displacement_um = some_peaks(), some_displacement(2)
    displacement_um[3] = 1000.0
    displacement_um[5] = -1000.0
    slopes, bends = require_the_oracles(peaks, displacement_um)
    assert (slopes[[3, 5]] == 0).all()
    assert (bends[[3, 5]] == 0).all()


def test_peaks_beyond_the_contacts_say_nothing_but_are_part_of_the_density():
    time_s, depth_um, amplitude = some_peaks()
    depth_um[:50] = np.linspace(321, 330, 50)
    depth_um[50:80] = np.linspace(10, 20, 30)  # the last of them at the outermost contact itself
    slopes, bends = require_the_oracles((time_s, depth_um, amplitude), some_displacement(3))
    bins = (time_s[:80] / BIN_S).astype(int)
    only_outside = np.setdiff1d(bins, (time_s[80:] / BIN_S).astype(int))
    assert len(only_outside)
    assert (slopes[only_outside] == 0).all()
    assert (bends[only_outside] == 0).all()


def test_amplitudes_of_0_are_the_smallest():
    time_s, depth_um, amplitude = some_peaks()
    amplitude[::7] = 0
    slopes, _ = require_the_oracles((time_s, depth_um, amplitude), some_displacement(2))
    assert np.abs(slopes).max() > 0.01


@pytest.mark.parametrize("amplitude", [0.0, -70.0])
def test_peaks_all_of_one_amplitude(amplitude):
    time_s, depth_um, _ = some_peaks()
    slopes, _ = require_the_oracles((time_s, depth_um, np.full(300, amplitude)), some_displacement(2))
    assert np.abs(slopes).max() > 0.01


def test_only_ratios_of_amplitudes_count():
    time_s, depth_um, amplitude = some_peaks()
    slopes, _ = tissue_of((time_s, depth_um, amplitude), 3).evidence(some_displacement(3), 3.0)
    scaled, _ = tissue_of((time_s, depth_um, 40 * -amplitude), 3).evidence(some_displacement(3), 3.0)
    np.testing.assert_allclose(scaled, slopes, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("sigma_um", [1.0, 2.0, 4.0, 8.0])
def test_a_unit_that_has_moved_says_where_to(sigma_um):
    """One unit at 150 µm that is 2 µm deeper throughout bin 4: its slope asks for more displacement there."""
    rng = np.random.default_rng(0)
    time_s = np.sort(rng.uniform(0, 6, 2000))
    moved = (time_s / BIN_S).astype(int) == 4
    peaks = time_s, 150 + rng.normal(0, 2, 2000) + 2.0 * moved, np.full(2000, -80.0)
    slopes, bends = require_the_oracles(peaks, np.zeros((N_BINS, 1)), sigma_um)
    asked_um = slopes[:, 0] / bends[:, 0, 0]
    assert 1.0 < asked_um[4] < 2.5
    assert np.abs(np.delete(asked_um, 4)).max() < 0.6
    # two more µm in that bin, and all is well
    displacement_um = np.zeros((N_BINS, 1))
    displacement_um[4] = 2.0
    slopes, bends = tissue_of(peaks, 1).evidence(displacement_um, sigma_um)
    assert np.abs(slopes[:, 0] / bends[:, 0, 0]).max() < 0.5


@pytest.mark.parametrize("n_windows", [1, 2, 4])
@pytest.mark.parametrize("sigma_um", [0.8, 5.0])
def test_the_likelihood_is_the_oracles(n_windows, sigma_um):
    peaks, displacement_um = some_peaks(), some_displacement(n_windows)
    displacement_um[3] = 1000.0  # beyond the cells
    tissue = tissue_of(peaks, n_windows)
    layout = BIN_S, tissue.nodes.depths_um, SPAN_UM, FARTHEST_UM, sigma_um
    expected = oracle.log_likelihood(peaks, displacement_um, *layout, **SETTINGS)
    assert tissue.likelihood(displacement_um, sigma_um) == pytest.approx(expected, rel=1e-9)


def test_peaks_are_likelier_where_they_pile_up():
    tissue = tissue_of(some_peaks(), 1)
    right, wrong = np.zeros((N_BINS, 1)), 20.0 * (np.arange(N_BINS)[:, None] % 2)
    assert tissue.likelihood(right, 2.0) > tissue.likelihood(wrong, 2.0) + 0.1


@pytest.mark.parametrize("n_stays", [1, 2, 5, 12])
@pytest.mark.parametrize("band_um", [20.0, 55.0])
def test_bands_are_the_oracles(n_stays, band_um):
    peaks, displacement_um = some_peaks(), some_displacement(3)
    tissue = tissue_of(peaks, 3)
    of_bins = np.arange(N_BINS) * n_stays // N_BINS
    bands = tissue.by_band(displacement_um, 3.0, of_bins, band_um)
    layout = BIN_S, tissue.nodes.depths_um, SPAN_UM, FARTHEST_UM, 3.0
    said = oracle.sayings(peaks, displacement_um, *layout, **SETTINGS)
    first_um = bands.depths_um[0] - band_um / 2
    expected = oracle.by_band(said, of_bins, first_um, len(bands.depths_um), band_um)
    names = ("pushes", "holds", "squares", "scatter", "squared_holds", "crowds")
    for name, sums in zip(names, oracle.sums_of(*expected, bands.depths_um)[2:], strict=True):
        np.testing.assert_allclose(getattr(bands, name), sums, rtol=1e-9, atol=1e-11)
        assert sums.any()
    assert bands.n_stays == n_stays
    assert first_um <= SPAN_UM[0] - FARTHEST_UM
    assert bands.depths_um[-1] + band_um / 2 >= SPAN_UM[1] + FARTHEST_UM
    np.testing.assert_allclose(np.diff(bands.depths_um), band_um)
    slopes, _ = tissue.evidence(displacement_um, 3.0)
    assert bands.pushes.sum() == pytest.approx(slopes.sum())
