"""What bands of depths agree on, against every band in every stay."""

import numpy as np
import pytest

from driftcli.estimate import agreement
from driftcli.estimate.tissue import Bands, Nodes
from oracles import likelihood as oracle

BIN_S, N_BINS = 0.5, 240


def nodes_of(n_windows):
    depths_um = np.linspace(0, 800, n_windows) if n_windows > 1 else np.array([400.0])
    return Nodes(N_BINS, BIN_S, depths_um)


def some_stays(n_stays=12, n_bands=44, disagreement_um=0.0, seed=0):
    """Each band says for each stay that it is misplaced by so much, besides for good; some say nothing, some once."""
    rng = np.random.default_rng(seed)
    holds = rng.uniform(5, 50, (n_stays, n_bands))
    holds[rng.uniform(size=holds.shape) < 0.2] = 0
    holds[:, 3:4] = 0
    holds[1:, 5:6] = 0
    asked_um = rng.normal(0, 2, n_bands) + disagreement_um * rng.normal(0, 1, holds.shape)
    return holds * asked_um, holds, 0.1 * holds, np.arange(-40.0, 840, 20)[:n_bands]


def some_bands(*arguments, **keywords):
    return Bands(*oracle.sums_of(*some_stays(*arguments, **keywords)))


def swinging(n_windows, sizes):
    """(T, W) with each shape as large as told, at periods of their own, and a mean that isn't 0."""
    time_s, shapes = BIN_S * np.arange(N_BINS)[:, None], agreement._shapes(np.full(n_windows, 1 / n_windows))
    moved = [size * np.sin(time_s / (3 + k)) * shapes[k] for k, size in enumerate(sizes)]
    return np.sum(moved, axis=0) + 7 + np.linspace(0, 3, n_windows)


@pytest.mark.parametrize("n_windows", [1, 2, 3, 5, 9])
@pytest.mark.parametrize("bending", [0.0, 0.5, 300.0])
@pytest.mark.parametrize("n_stays", [1, 2, 12])
@pytest.mark.parametrize("n_bands", [44, 20, 2])
def test_displacement_and_variance_are_the_oracles(n_windows, bending, n_stays, n_bands):
    """Bands along the whole shank, along half of it, and two."""
    nodes, stays = nodes_of(n_windows), some_stays(n_stays, n_bands, disagreement_um=1.5)
    displacement_um = swinging(n_windows, [5.0, 0.5, 0.3, 0.1, 0.6][:n_windows])
    found, variance = agreement.shrunk(displacement_um, nodes, Bands(*oracle.sums_of(*stays)), bending, 2.0)
    of_shapes = oracle.shape_errors(*stays, nodes.depths_um, bending * N_BINS / n_stays)
    expected, variances = oracle.shrunk(displacement_um, *of_shapes, 2.0)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(variance, variances, rtol=1e-6, atol=1e-9)
    if n_stays > 1 and n_bands > 2:
        assert variance.min() > 1e-4
    elif n_stays == 1:
        np.testing.assert_array_equal(found, displacement_um)


@pytest.mark.parametrize("n_windows", [1, 2, 5, 40])
def test_shapes_are_orthogonal_where_the_weight_is(n_windows):
    for share in (1.0, 0.4):
        weights = np.where(np.arange(n_windows) < max(share * n_windows, 1), 1.0, 1e-4) / n_windows
        shapes = agreement._shapes(weights)
        np.testing.assert_allclose(shapes * weights @ shapes.T, np.eye(len(shapes)), atol=1e-10)
        assert len(shapes) == min(5, np.count_nonzero(weights > 1e-3 / n_windows))
        if len(shapes) > 2:
            np.testing.assert_allclose(np.diff(shapes[1], 2), 0, atol=1e-9)  # the second is a straight line
            seen = np.count_nonzero(weights > 1e-3 / n_windows)
            beyond = np.diff(shapes[2:, seen - 1 :], 2, axis=1)
            np.testing.assert_allclose(beyond, 0, atol=1e-9)  # bends are straight where nothing is seen


def test_bands_that_agree_leave_the_motion_as_it_is():
    displacement_um = swinging(6, [4.0, 0.1, 0.05])
    found, variance = agreement.shrunk(displacement_um, nodes_of(6), some_bands(), 1.0, 2.0)
    np.testing.assert_allclose(found, displacement_um, atol=1e-12)
    np.testing.assert_allclose(variance, 0, atol=1e-20)


def test_what_peaks_scatter_by_is_no_disagreement():
    """Each push is the sum of many that are off on their own."""
    rng = np.random.default_rng(0)
    holds = rng.uniform(5, 50, (200, 44))
    pushes, depths_um = rng.normal(0, np.sqrt(2 * holds)), np.linspace(0, 800, 44)
    variance, untold = (
        agreement.shrunk(
            swinging(6, [4.0]), nodes_of(6), Bands(*oracle.sums_of(pushes, holds, scatter, depths_um)), 1.0, 3.0
        )[1]
        for scatter in (2 * holds, 0 * holds)
    )
    assert (variance < untold / 10).all()


def test_a_stretch_that_is_no_more_than_misplaced_bands_make_is_taken_out():
    nodes, bands = nodes_of(6), some_bands(disagreement_um=2.0)
    small, large = swinging(6, [10.0, 0.1]), swinging(6, [10.0, 6.0])
    kept, _ = agreement.shrunk(small, nodes, bands, 1.0, 2.0)
    varying = kept - kept.mean(axis=0)
    np.testing.assert_allclose(varying, varying[:, :1].repeat(6, 1), atol=0.02)
    np.testing.assert_allclose(varying[:, 0], small.mean(axis=1) - small.mean(), atol=0.3)
    np.testing.assert_allclose(kept.mean(axis=0), small.mean(axis=0))
    kept, _ = agreement.shrunk(large, nodes, bands, 1.0, 2.0)
    np.testing.assert_allclose(kept, large, atol=0.5)


def test_a_motion_that_is_no_more_than_misplaced_bands_make_is_none():
    still, _ = agreement.shrunk(swinging(6, [0.1]), nodes_of(6), some_bands(disagreement_um=3.0), 1.0, 2.0)
    np.testing.assert_allclose(still, still[:1].repeat(N_BINS, 0), atol=0.02)


def test_a_jump_after_a_long_rest_is_no_error():
    """By 6 µm at one end and 2 µm at the other, for the last 3 of 240 bins: hardly anything on average."""
    displacement_um = np.zeros((N_BINS, 6))
    displacement_um[-3:] = np.linspace(6, 2, 6)
    nodes, bands = nodes_of(6), some_bands(disagreement_um=0.7)
    found, variance = agreement.shrunk(displacement_um, nodes, bands, 1.0, 3.0)
    assert np.sqrt(variance).max() > 0.15
    np.testing.assert_allclose(found[-1] - found[0], displacement_um[-1], atol=0.7)
    small, _ = agreement.shrunk(displacement_um / 12, nodes, bands, 1.0, 3.0)
    np.testing.assert_allclose(small, small[:1].repeat(N_BINS, 0), atol=0.02)


def test_where_units_are_a_right_motion_stays_though_the_rest_of_the_shank_has_none():
    """All bands lie in a quarter of it."""
    nodes = nodes_of(9)
    pushes, holds, scatter, depths_um = some_stays(40, disagreement_um=1.0)
    bands = Bands(*oracle.sums_of(pushes, holds, scatter, depths_um / 4))
    rigid = 12 * np.sin(BIN_S * np.arange(N_BINS) / 5)[:, None] + np.zeros(9)
    found, variance = agreement.shrunk(rigid, nodes, bands, 1.0, 3.0)
    change_um = found - rigid - (found - rigid).mean(axis=0)
    assert np.abs(change_um[:, :3]).max() < 0.1  # as far as there are bands
    assert variance[:3].max() < 0.3 < variance[-1]


def test_without_shrinkage_shapes_stay():
    displacement_um = swinging(6, [1.0, 0.1])
    found, variance = agreement.shrunk(displacement_um, nodes_of(6), some_bands(disagreement_um=2.0), 1.0, 0.0)
    np.testing.assert_allclose(found, displacement_um, atol=1e-12)
    assert variance.min() > 0


def test_without_peaks_nothing_is_known():
    nothing = Bands(4, np.arange(5) * 100.0, *np.zeros((6, 5)))
    displacement_um = swinging(3, [1.0])
    found, variance = agreement.shrunk(displacement_um, nodes_of(3), nothing, 1.0, 2.0)
    np.testing.assert_array_equal(found, displacement_um)
    assert (variance == 0).all()


def misplaced_bands(rng, n_bands, sd_um, activity):
    """Bands about a motion that follows what they ask for in each stay: an even one and a line. (bands, (stays, 2))."""
    holds = rng.uniform(5, 50, n_bands) * activity
    asked_um = rng.normal(0, sd_um, holds.shape)
    depths_um = np.linspace(0, 800, n_bands)
    columns = np.stack([np.ones(n_bands), (depths_um - 400) / 400], axis=1)
    lines = np.array(
        [
            np.linalg.solve(columns.T * hold @ columns, columns.T * hold @ asked)
            for hold, asked in zip(holds, asked_um, strict=True)
        ]
    )
    stays = holds * (asked_um - lines @ columns.T), holds, 0 * holds
    return Bands(*oracle.sums_of(*stays, depths_um)), lines


def taking_turns(rng, n_bands):
    """Half of the bands in each of 40 stays."""
    return (rng.uniform(size=(40, n_bands)).argsort(axis=1) < n_bands / 2) + 1e-9


ACTIVITIES = {
    "always": lambda rng, n_bands: np.ones((40, 1)),
    "long and short stays": lambda rng, n_bands: np.repeat([1.0, 0.02], 20)[:, None],
    "ever more": lambda rng, n_bands: np.geomspace(1, 37, 40)[:, None] / 10,
    "two stays and hardly more": lambda rng, n_bands: np.where(np.arange(40) % 20 == 0, 1.0, 0.01)[:, None],
    "taking turns": taking_turns,
}


@pytest.mark.parametrize(("n_bands", "least", "most"), [(44, 0.8, 1.2), (10, 0.8, 1.6), (6, 0.65, 3.0)])
@pytest.mark.parametrize("activity", ACTIVITIES)
def test_the_variance_is_that_of_motions_found_from_misplaced_bands(n_bands, least, most, activity):
    """Again and again. With few bands it is rather too large, unless only three of them speak at a time."""
    rng, nodes, found_um, told = np.random.default_rng(0), nodes_of(5), [], []
    for _ in range(60):
        peaks = ACTIVITIES[activity](rng, n_bands)
        bands, lines = misplaced_bands(rng, n_bands, 1.5, peaks)
        found_um.append(np.average(lines**2, axis=0, weights=np.broadcast_to(peaks, (40, n_bands)).sum(axis=1)))
        variance = agreement.shrunk(np.zeros((N_BINS, 5)), nodes, bands, 1e6, 3.0)[1]
        told.append((variance[2], variance[[0, -1]].mean() - variance[2]))  # in the middle the line is 0
    ratio = np.sqrt(np.median(told, axis=0) / np.median(found_um, axis=0))
    assert (ratio > least).all()
    assert (ratio < most).all()


def test_a_band_that_alone_sets_the_motion_does_not_make_it_worthless():
    """One in each window, far apart, each 1 µm off at times."""
    pushes, holds, scatter, _ = some_stays(40, 3, disagreement_um=1.0)
    holds[:, :] = 20.0
    pushes[:] = 20.0 * np.random.default_rng(0).normal(0, 1, pushes.shape)
    bands = Bands(*oracle.sums_of(pushes, holds, scatter, np.array([0.0, 400.0, 800.0])))
    _, variance = agreement.shrunk(swinging(3, [5.0]), nodes_of(3), bands, 0.0, 3.0)
    assert (np.sqrt(variance) > 2).all()
    assert (np.sqrt(variance) < 15).all()  # ten times as uncertain as it looks, and no more


def test_stiff_lines_lose_no_digits():
    """Of so stiff a motion and so few peaks that the ridge would be all that is left of the sums."""
    pushes, holds, scatter, depths_um = some_stays(disagreement_um=1.5)
    scant = Bands(*oracle.sums_of(*(1e-2 * each for each in (pushes, holds, scatter)), depths_um))
    variances = [agreement.shrunk(np.zeros((N_BINS, 9)), nodes_of(9), scant, stiff, 3.0)[1] for stiff in (1e4, 1e12)]
    np.testing.assert_allclose(variances[1], variances[0], rtol=0.02)
