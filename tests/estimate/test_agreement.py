"""What bands of depths agree on, against the step that each band of each block asks for on its own."""

import numpy as np
import pytest

from driftcli.estimate import agreement
from driftcli.estimate.tissue import Bands, Nodes
from oracles import likelihood as oracle

BIN_S, N_BINS = 0.5, 240


def nodes_of(n_windows):
    depths_um = np.linspace(0, 800, n_windows) if n_windows > 1 else np.array([400.0])
    return Nodes(N_BINS, BIN_S, depths_um)


def some_bands(n_stays=12, n_bands=44, disagreement_um=0.0, seed=0):
    """Each band says for each stay that it is misplaced by so much, besides for good; some say nothing."""
    rng = np.random.default_rng(seed)
    holds = rng.uniform(5, 50, (n_stays, n_bands))
    holds[rng.uniform(size=holds.shape) < 0.2] = 0
    holds[:, 3] = 0
    asked_um = rng.normal(0, 2, n_bands) + disagreement_um * rng.normal(0, 1, holds.shape)
    return Bands(np.arange(-40.0, 840, 20)[:n_bands], holds * asked_um, holds, 0.1 * holds)


def swinging(n_windows, sizes):
    """(T, W) with each shape as large as told, at periods of their own, and a mean that isn't 0."""
    time_s, shapes_ = BIN_S * np.arange(N_BINS)[:, None], agreement._shapes(n_windows)
    moved = [size * np.sin(time_s / (3 + k)) * shapes_[k] for k, size in enumerate(sizes)]
    return np.sum(moved, axis=0) + 7 + np.linspace(0, 3, n_windows)


@pytest.mark.parametrize("n_windows", [1, 2, 3, 5, 9])
@pytest.mark.parametrize("bending", [0.0, 0.5, 300.0])
@pytest.mark.parametrize("n_stays", [1, 2, 12])
def test_displacement_and_variance_are_the_oracles(n_windows, bending, n_stays):
    nodes, bands = nodes_of(n_windows), some_bands(n_stays, disagreement_um=1.5)
    displacement_um = swinging(n_windows, [5.0, 0.5, 0.3, 0.1, 0.6][:n_windows])
    found, variance = agreement.shrunk(displacement_um, nodes, bands, bending, 2.0)
    of_stay, arrays = bending * N_BINS / n_stays, (bands.pushes, bands.holds, bands.scatter)
    expected, errors = oracle.shape_errors(*arrays, bands.depths_um, nodes.depths_um, of_stay)
    displacement, variances = oracle.shrunk(displacement_um, expected, errors, 2.0)
    np.testing.assert_allclose(found, displacement, atol=1e-9)
    np.testing.assert_allclose(variance, variances, rtol=1e-8, atol=1e-12)
    if n_stays > 1:
        assert variance.min() > 1e-4
    else:
        np.testing.assert_array_equal(found, displacement_um)


def test_shapes_are_orthogonal_and_as_large_as_1():
    for n_windows in (1, 2, 5, 40):
        found = agreement._shapes(n_windows)
        np.testing.assert_allclose(found @ found.T / n_windows, np.eye(min(5, n_windows)), atol=1e-12)
    np.testing.assert_allclose(np.diff(found[1], 2), 0, atol=1e-12)  # the second is a straight line


def test_bands_that_agree_leave_the_motion_as_it_is():
    displacement_um = swinging(6, [4.0, 0.1, 0.05])
    found, variance = agreement.shrunk(displacement_um, nodes_of(6), some_bands(), 1.0, 2.0)
    np.testing.assert_allclose(found, displacement_um, atol=1e-12)
    np.testing.assert_allclose(variance, 0, atol=1e-20)


def test_what_peaks_scatter_by_is_no_disagreement():
    """Each push is the sum of many that are off on their own."""
    rng = np.random.default_rng(0)
    holds = rng.uniform(5, 50, (200, 44))
    scatter = 2 * holds
    bands = Bands(np.linspace(0, 800, 44), rng.normal(0, np.sqrt(scatter)), holds, scatter)
    _, variance = agreement.shrunk(swinging(6, [4.0]), nodes_of(6), bands, 1.0, 3.0)
    told = Bands(bands.depths_um, bands.pushes, holds, 0 * scatter)
    assert (variance < agreement.shrunk(swinging(6, [4.0]), nodes_of(6), told, 1.0, 3.0)[1] / 10).all()


def test_a_stretch_that_is_no_more_than_misplaced_bands_make_is_taken_out():
    nodes, bands = nodes_of(6), some_bands(disagreement_um=2.0)
    small, large = swinging(6, [10.0, 0.1]), swinging(6, [10.0, 6.0])
    kept, _ = agreement.shrunk(small, nodes, bands, 1.0, 2.0)
    varying = kept - kept.mean(axis=0)
    np.testing.assert_allclose(varying, varying[:, :1].repeat(6, 1), atol=1e-12)
    np.testing.assert_allclose(varying[:, 0], small.mean(axis=1) - small.mean(), atol=0.2)
    np.testing.assert_allclose(kept.mean(axis=0), small.mean(axis=0))
    kept, _ = agreement.shrunk(large, nodes, bands, 1.0, 2.0)
    np.testing.assert_allclose(kept, large, atol=0.3)


def test_a_motion_that_is_no_more_than_misplaced_bands_make_is_none():
    still, _ = agreement.shrunk(swinging(6, [0.1]), nodes_of(6), some_bands(disagreement_um=3.0), 1.0, 2.0)
    np.testing.assert_allclose(still, still[:1].repeat(N_BINS, 0), atol=1e-12)


def test_without_shrinkage_shapes_stay():
    displacement_um = swinging(6, [1.0, 0.1])
    found, variance = agreement.shrunk(displacement_um, nodes_of(6), some_bands(disagreement_um=2.0), 1.0, 0.0)
    np.testing.assert_allclose(found, displacement_um, atol=1e-12)
    assert variance.min() > 0


def test_without_peaks_nothing_is_known():
    nothing = Bands(np.arange(5) * 100.0, *np.zeros((3, 4, 5)))
    displacement_um = swinging(3, [1.0])
    found, variance = agreement.shrunk(displacement_um, nodes_of(3), nothing, 1.0, 2.0)
    np.testing.assert_array_equal(found, displacement_um)
    assert (variance == 0).all()


def test_a_jump_after_a_long_rest_is_no_error():
    """By 6 µm at one end and 2 µm at the other, for the last 3 of 240 bins: hardly anything on average."""
    displacement_um = np.zeros((N_BINS, 6))
    displacement_um[-3:] = np.linspace(6, 2, 6)
    nodes, bands = nodes_of(6), some_bands(disagreement_um=0.7)
    found, variance = agreement.shrunk(displacement_um, nodes, bands, 1.0, 3.0)
    assert np.sqrt(variance).max() > 0.15
    np.testing.assert_allclose(found[-1] - found[0], displacement_um[-1], atol=0.7)
    small, _ = agreement.shrunk(displacement_um / 12, nodes, bands, 1.0, 3.0)
    np.testing.assert_allclose(small, small[:1].repeat(N_BINS, 0), atol=1e-12)


def misplaced_bands(rng, n_bands, sd_um, peaks_of_stays):
    """Bands about a motion that follows what they ask for in each stay: an even one and a line. (bands, (stays, 2))."""
    holds = rng.uniform(5, 50, n_bands) * peaks_of_stays[:, None]
    asked_um = rng.normal(0, sd_um, holds.shape)
    depths_um = np.linspace(0, 800, n_bands)
    columns = np.stack([np.ones(n_bands), (depths_um - 400) / 400], axis=1)
    lines = [
        np.linalg.solve(columns.T * hold @ columns, columns.T * hold @ asked)
        for hold, asked in zip(holds, asked_um, strict=True)
    ]
    return Bands(depths_um, holds * (asked_um - lines @ columns.T), holds, 0 * holds), np.array(lines)


@pytest.mark.parametrize(("n_bands", "factor"), [(44, 1.15), (10, 1.5), (5, 3.0)])
@pytest.mark.parametrize("peaks", [np.ones(40), np.repeat([1.0, 0.02], 20), np.geomspace(1, 37, 40) / 10])
def test_the_variance_is_that_of_motions_found_from_misplaced_bands(n_bands, factor, peaks):
    """Again and again; by the peaks that stays have, long and short ones. With few bands it is rather too large."""
    rng, nodes, found_um, told = np.random.default_rng(0), nodes_of(5), [], []
    for _ in range(60):
        bands, lines = misplaced_bands(rng, n_bands, 1.5, peaks)
        found_um.append(np.average(lines**2, axis=0, weights=peaks))
        variance = agreement.shrunk(np.zeros((N_BINS, 5)), nodes, bands, 1e6, 3.0)[1]
        told.append((variance[2], variance[[0, -1]].mean() - variance[2]))  # in the middle the line is 0
    ratio = np.sqrt(np.mean(told, axis=0) / np.mean(found_um, axis=0))
    assert (ratio > 1 / 1.15).all()
    assert (ratio < factor).all()


def test_stiff_lines_lose_no_digits():
    """Of so stiff a motion and so few peaks that the ridge would be all that is left of the sums."""
    bands = some_bands(disagreement_um=1.5)
    scant = Bands(bands.depths_um, *(1e-2 * each for each in (bands.pushes, bands.holds, bands.scatter)))
    variances = [agreement.shrunk(np.zeros((N_BINS, 9)), nodes_of(9), scant, stiff, 3.0)[1] for stiff in (1e4, 1e12)]
    np.testing.assert_allclose(variances[1], variances[0], rtol=0.02)
