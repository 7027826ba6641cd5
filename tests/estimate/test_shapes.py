"""What bands of depths agree on, against the step that each band of each block asks for on its own."""

import numpy as np
import pytest

from driftcli.estimate import shapes
from driftcli.estimate.tissue import Bands, Nodes
from oracles import likelihood as oracle

BIN_S, N_BINS = 0.5, 240


def nodes_of(n_windows):
    depths_um = np.linspace(0, 800, n_windows) if n_windows > 1 else np.array([400.0])
    return Nodes(N_BINS, BIN_S, depths_um)


def some_bands(n_blocks=12, n_bands=44, disagreement_um=0.0, seed=0):
    """Each band says for each block that it is misplaced by so much, besides for good; some say nothing."""
    rng = np.random.default_rng(seed)
    holds = rng.uniform(5, 50, (n_blocks, n_bands))
    holds[rng.uniform(size=holds.shape) < 0.2] = 0
    holds[:, 3] = 0
    asked_um = rng.normal(0, 2, n_bands) + disagreement_um * rng.normal(0, 1, holds.shape)
    return Bands(np.arange(-40.0, 840, 20)[:n_bands], holds * asked_um, holds)


def swinging(n_windows, sizes):
    """(T, W) with each shape as large as told, at periods of their own, and a mean that isn't 0."""
    time_s, shapes_ = BIN_S * np.arange(N_BINS)[:, None], shapes._shapes(n_windows)
    moved = [size * np.sin(time_s / (3 + k)) * shapes_[k] for k, size in enumerate(sizes)]
    return np.sum(moved, axis=0) + 7 + np.linspace(0, 3, n_windows)


@pytest.mark.parametrize("n_windows", [1, 2, 3, 5, 9])
@pytest.mark.parametrize("bending", [0.0, 0.5, 300.0])
@pytest.mark.parametrize("n_blocks", [1, 2, 12])
def test_displacement_and_variance_are_the_oracles(n_windows, bending, n_blocks):
    nodes, bands = nodes_of(n_windows), some_bands(n_blocks, disagreement_um=1.5)
    displacement_um = swinging(n_windows, [5.0, 0.5, 0.3, 0.1, 0.6][:n_windows])
    found, variance = shapes.shrunk(displacement_um, nodes, bands, bending, 2.0)
    of_block = bending * N_BINS / n_blocks
    expected, errors = oracle.shape_errors(bands.pushes, bands.holds, bands.depths_um, nodes.depths_um, of_block)
    displacement, variances = oracle.shrunk(displacement_um, expected, errors, 2.0)
    np.testing.assert_allclose(found, displacement, atol=1e-9)
    np.testing.assert_allclose(variance, variances, rtol=1e-8, atol=1e-12)
    if n_blocks > 1:
        assert variance.min() > 1e-4
    else:
        np.testing.assert_array_equal(found, displacement_um)


def test_shapes_are_orthogonal_and_as_large_as_1():
    for n_windows in (1, 2, 5, 40):
        found = shapes._shapes(n_windows)
        np.testing.assert_allclose(found @ found.T / n_windows, np.eye(min(5, n_windows)), atol=1e-12)
    np.testing.assert_allclose(np.diff(found[1], 2), 0, atol=1e-12)  # the second is a straight line


def test_bands_that_agree_leave_the_motion_as_it_is():
    displacement_um = swinging(6, [4.0, 0.1, 0.05])
    found, variance = shapes.shrunk(displacement_um, nodes_of(6), some_bands(), 1.0, 2.0)
    np.testing.assert_allclose(found, displacement_um, atol=1e-12)
    np.testing.assert_allclose(variance, 0, atol=1e-20)


def test_a_stretch_that_is_no_more_than_misplaced_bands_make_is_taken_out():
    nodes, bands = nodes_of(6), some_bands(disagreement_um=2.0)
    small, large = swinging(6, [10.0, 0.1]), swinging(6, [10.0, 6.0])
    kept, _ = shapes.shrunk(small, nodes, bands, 1.0, 2.0)
    varying = kept - kept.mean(axis=0)
    np.testing.assert_allclose(varying, varying[:, :1].repeat(6, 1), atol=1e-12)
    np.testing.assert_allclose(varying[:, 0], small.mean(axis=1) - small.mean(), atol=0.2)
    np.testing.assert_allclose(kept.mean(axis=0), small.mean(axis=0))
    kept, _ = shapes.shrunk(large, nodes, bands, 1.0, 2.0)
    np.testing.assert_allclose(kept, large, atol=0.3)


def test_a_motion_that_is_no_more_than_misplaced_bands_make_is_none():
    still, _ = shapes.shrunk(swinging(6, [0.1]), nodes_of(6), some_bands(disagreement_um=3.0), 1.0, 2.0)
    np.testing.assert_allclose(still, still[:1].repeat(N_BINS, 0), atol=1e-12)


def test_without_shrinkage_shapes_stay():
    displacement_um = swinging(6, [1.0, 0.1])
    found, variance = shapes.shrunk(displacement_um, nodes_of(6), some_bands(disagreement_um=2.0), 1.0, 0.0)
    np.testing.assert_allclose(found, displacement_um, atol=1e-12)
    assert variance.min() > 0


def test_without_peaks_nothing_is_known():
    nothing = Bands(np.arange(5) * 100.0, np.zeros((4, 5)), np.zeros((4, 5)))
    displacement_um = swinging(3, [1.0])
    found, variance = shapes.shrunk(displacement_um, nodes_of(3), nothing, 1.0, 2.0)
    np.testing.assert_array_equal(found, displacement_um)
    assert (variance == 0).all()


@pytest.mark.parametrize("sd_um", [0.5, 2.0])
def test_the_variance_is_that_of_motions_found_from_such_bands(sd_um):
    """Bands misplaced at random, again and again: how far off the mean and the ends of a straight line get."""
    nodes, found_um, told = nodes_of(5), [], []
    for seed in range(60):
        bands = some_bands(40, disagreement_um=sd_um, seed=seed)
        holds = bands.holds.mean(axis=0)
        place = (bands.depths_um - 400) / 400
        columns = np.stack([np.ones(len(place)), place], axis=1)
        lasting = bands.pushes.sum(axis=0) / np.maximum(bands.holds.sum(axis=0), 1e-12)
        asked = columns.T @ (bands.pushes[0] - bands.holds[0] * lasting)
        line = np.linalg.solve(columns.T @ (holds[:, None] * columns), asked)
        found_um.append(line[0] + line[1] * np.linspace(-1, 1, 5))
        told.append(shapes.shrunk(np.zeros((N_BINS, 5)), nodes, bands, 1e6, 2.0)[1])
    np.testing.assert_allclose(np.sqrt(np.mean(told, axis=0)), np.std(found_um, axis=0), rtol=0.25)
