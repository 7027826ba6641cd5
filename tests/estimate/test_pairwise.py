import numpy as np
import pytest

from driftcli.estimate.pairwise import _multiply, pairwise_displacements
from oracles import decentralized as oracle


def pairs(histogram, window, max_displacement_um=20.0, horizon_bins=None, normalized=True, centered=True, jobs=1):
    return pairwise_displacements(
        histogram,
        window,
        5.0,
        max_displacement_um=max_displacement_um,
        horizon_bins=horizon_bins,
        normalized=normalized,
        centered=centered,
        jobs=jobs,
    )


def rolling(n_rows=9, n_columns=31, seed=0):
    """A pattern that moves by a bin and more from row to row, with noise."""
    rng = np.random.default_rng(seed)
    pattern = rng.gamma(1.0, 3.0, n_columns)
    steps = rng.integers(-2, 3, n_rows)
    return np.stack([np.roll(pattern, step) for step in steps]) + rng.random((n_rows, n_columns))


def gaussian(n_columns, centre=0.4, width=0.2):
    return np.exp(-(((np.arange(n_columns) / n_columns - centre) / width) ** 2) / 2)


@pytest.mark.parametrize("normalized", [True, False])
@pytest.mark.parametrize("centered", [True, False])
@pytest.mark.parametrize("n_columns", [13, 16, 31])
def test_pairs_are_the_oracles(normalized, centered, n_columns):
    histogram, window = rolling(n_columns=n_columns), gaussian(n_columns)
    found = pairs(histogram, window, normalized=normalized, centered=centered)
    displacement, correlation = oracle.best_pairs(histogram, window, 4, normalized, centered)
    np.testing.assert_array_equal(found.lag, displacement)
    np.testing.assert_allclose(found.correlation, correlation, rtol=1e-4, atol=1e-5)
    assert len(np.unique(displacement)) > 3


@pytest.mark.parametrize("n_rows", [1, 2, 31, 32, 33, 129, 200])
def test_no_tile_is_forgotten(n_rows):
    histogram = rolling(n_rows, 12)
    found = pairs(histogram, np.ones(12), 5.0)
    shifted = [np.pad(histogram, ((0, 0), (1, 1)))[:, s : s + 12] for s in range(3)]
    inside = [np.pad(np.ones(12), 1)[s : s + 12] for s in range(3)]
    best = np.zeros((n_rows, n_rows))
    for moved, w in zip(shifted, inside, strict=True):
        mean = ((moved * w).sum(1)[:, None] / w.sum(), (histogram * w).sum(1)[None] / w.sum())
        cross = (moved * w) @ histogram.T / w.sum() - mean[0] * mean[1]
        variance = (moved**2 * w).sum(1)[:, None] / w.sum() - mean[0] ** 2
        best = np.maximum(best, cross / np.sqrt(variance * ((histogram**2 * w).sum(1)[None] / w.sum() - mean[1] ** 2)))
    np.testing.assert_allclose(found.correlation, best, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("horizon", [2, 3, 40, 69, 70, 500])
def test_a_horizon_leaves_out_far_pairs_and_changes_no_others(horizon):
    histogram, window = rolling(70, 12), gaussian(12)
    full, near = pairs(histogram, window), pairs(histogram, window, horizon_bins=horizon)
    count = len(histogram)
    lag, correlation = np.zeros((2, count, count), dtype=np.float32)
    for i in range(count):
        columns = slice(near.first[i], near.first[i] + near.correlation.shape[1])
        lag[i, columns], correlation[i, columns] = near.lag[i], near.correlation[i]
    within = np.abs(np.subtract.outer(np.arange(count), np.arange(count))) < horizon
    np.testing.assert_array_equal(lag, np.where(within, full.lag, 0))
    np.testing.assert_array_equal(correlation, np.where(within, full.correlation, 0))
    assert near.correlation.shape[1] <= 2 * horizon - 1 or horizon > 35


def test_empty_and_even_rows_correlate_with_nothing():
    histogram = rolling(6, 20)
    histogram[2] = 0
    histogram[4] = 3.7
    found = pairs(histogram, np.ones(20))
    assert (found.correlation[[2, 4]] == 0).all()
    assert (found.correlation[:, [2, 4]] == 0).all()
    assert (found.lag[[2, 4]] == 0).all()
    assert (found.correlation[0, [0, 1, 3, 5]] > 0).all()


def test_only_bins_within_the_window_matter():
    histogram = rolling(8, 40)
    window = np.where((np.arange(40) >= 10) & (np.arange(40) < 25), 1.0, 0.0)
    other = np.where(window > 0, histogram, 99.0)
    found, again = pairs(histogram, window), pairs(other, window)
    np.testing.assert_array_equal(found.lag, again.lag)
    np.testing.assert_array_equal(found.correlation, again.correlation)


@pytest.mark.parametrize("max_displacement_um", [None, 1000.0])
def test_displacements_reach_half_the_window_at_most(max_displacement_um):
    rng = np.random.default_rng(1)
    found = pairs(rng.random((40, 11)), np.ones(11), max_displacement_um)
    assert np.abs(found.lag).max() == 5


def test_a_single_spatial_bin_has_no_displacement():
    found = pairs(np.arange(1.0, 5.0)[:, None], np.ones(1))
    assert (found.lag == 0).all()


@pytest.mark.parametrize(("offset", "tolerance"), [(100, 1e-2), (500, 0.2)])
def test_large_offsets_keep_the_displacement(offset, tolerance):
    histogram = rolling(9, 31)
    found, raised = pairs(histogram, np.ones(31)), pairs(histogram + offset, np.ones(31))
    assert (found.lag == raised.lag).mean() > 0.9
    np.testing.assert_allclose(np.diag(raised.correlation), 1, atol=tolerance)


@pytest.mark.parametrize(("edge", "reach"), [(2e-5, 10), (0.5e-5, 5)])
def test_a_window_ends_where_it_weighs_a_hundred_thousandth(edge, reach):
    window = np.where(np.arange(20) < 10, 1.0, edge)
    lag = pairs(np.random.default_rng(1).random((60, 20)), window, None).lag
    assert np.abs(lag).max() == reach


@pytest.mark.parametrize("horizon", [None, 50])
def test_threads_do_not_show(horizon):
    histogram, window = rolling(150, 31), gaussian(31)
    alone, together = (pairs(histogram, window, horizon_bins=horizon, jobs=jobs) for jobs in (1, 3))
    assert alone.lag.tobytes() == together.lag.tobytes()
    assert alone.correlation.tobytes() == together.correlation.tobytes()


@pytest.mark.parametrize(("n_columns", "itemsize"), [(20, 1), (255, 1), (256, 2)])
def test_lags_take_one_byte_where_they_fit(n_columns, itemsize):
    rows = np.zeros((2, n_columns))
    reach = n_columns // 2
    rows[0, : n_columns - reach] = rows[1, reach:] = np.random.default_rng(0).random(n_columns - reach)
    found = pairs(rows, np.ones(n_columns), None)
    assert found.lag.itemsize == itemsize
    assert found.lag[0, 1] == -reach
    assert found.lag[1, 0] == reach


def test_products_keep_nan_and_infinity():
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(5, 8)).astype(np.float32), rng.normal(size=(8, 7)).astype(np.float32)
    left[0, 3], left[1, 2], right[6, 4], right[1, 5] = np.nan, np.inf, -np.inf, np.nan
    left[2, 6] = 0  # times infinity
    product = np.empty((5, 7), dtype=np.float32)
    _multiply(left, right, product)
    with np.errstate(invalid="ignore"):
        expected = (left[:, :, None].astype(float) * right[None].astype(float)).sum(axis=1)
    np.testing.assert_array_equal(np.isnan(product), np.isnan(expected))
    np.testing.assert_allclose(product, expected, rtol=1e-5, atol=1e-5)
    assert np.isinf(expected).any()


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e6])
def test_products_of_large_numbers_round_like_single_precision(offset):
    rng = np.random.default_rng(0)
    left, right = ((rng.normal(size=shape) + offset).astype(np.float32) for shape in ((33, 64), (64, 9)))
    product = np.empty((33, 9), dtype=np.float32)
    _multiply(left, right, product)
    terms = left[:, :, None].astype(float) * right[None].astype(float)
    largest_error = np.abs(product - terms.sum(axis=1)) / np.abs(terms).sum(axis=1)
    assert largest_error.max() < 64 * np.finfo(np.float32).eps
