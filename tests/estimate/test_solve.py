import errno
import io
import tempfile

import numpy as np
import pytest

from driftcli.errors import OutputError
from driftcli.estimate.pairwise import Pairs
from driftcli.estimate.solve import Equations, solve_pairs, solve_pairs_robust, solve_with_priors
from oracles import decentralized as oracle

BIN_UM = 0.01


def noisy(n_windows=1, n_bins=14, seed=0, holes=0.2):
    """(W, T, T) displacements and weights of pairs of a known motion; `holes` of them don't count, 5 % are wrong."""
    rng = np.random.default_rng(seed)
    motion = rng.normal(0, 8, (n_windows, n_bins)) + 20 * (np.arange(n_bins) > n_bins // 2)
    displacement = motion[:, :, None] - motion[:, None, :] + rng.normal(0, 1, (n_windows, n_bins, n_bins))
    displacement += 60 * (rng.random(displacement.shape) < 0.05)
    weights = rng.uniform(0.2, 1, displacement.shape) * (rng.random(displacement.shape) > holes)
    diagonal = np.arange(n_bins)
    displacement[:, diagonal, diagonal], weights[:, diagonal, diagonal] = 0, 1
    return displacement.round(2), weights.astype(np.float32)


def banded(displacement, weights, width):
    """The pairs of one window less than (width + 1) / 2 bins apart, in rows of `width` columns; and their weights."""
    count = len(displacement)
    if width < count:
        apart = np.abs(np.subtract.outer(np.arange(count), np.arange(count)))
        weights = np.where(apart < (width + 1) / 2, weights, np.float32(0))
    first = np.clip(np.arange(count) - width // 2, 0, count - width)
    columns = first[:, None] + np.arange(width)
    rows = np.arange(count)[:, None]
    lag = np.round(displacement[rows, columns] / BIN_UM).astype(np.int16)
    return Pairs(lag, weights[rows, columns], first, BIN_UM), weights[rows, columns]


def full(displacement, weights):
    return banded(displacement, weights, len(displacement))


def solve(displacement, weights, start=None, jump_sigma=2.0, n_iterations=20, **priors):
    with Equations(len(displacement), displacement.shape[1]) as equations:
        for each in zip(displacement, weights, strict=True):
            equations.add(*full(*each))
        start = np.zeros(displacement.shape[:2]) if start is None else start
        return solve_with_priors(equations, start, jump_sigma=jump_sigma, n_iterations=n_iterations, **priors)


@pytest.mark.parametrize("temporal_prior", [True, False])
@pytest.mark.parametrize("seed", [0, 1])
def test_one_window_is_the_dense_solution(temporal_prior, seed):
    displacement, weights = noisy(seed=seed)
    found = solve(displacement, weights, temporal_prior=temporal_prior, spatial_prior=False)
    expected = oracle.reconcile(displacement, weights, temporal_prior, n_iterations=20)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_windows_tied_by_the_spatial_prior_are_the_dense_solution():
    displacement, weights = noisy(n_windows=3, n_bins=9)
    found = solve(displacement, weights, temporal_prior=True, spatial_prior=True)
    expected = oracle.reconcile(displacement, weights, True, True, n_iterations=20)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    apart = oracle.reconcile(displacement, weights, True, False, n_iterations=20)
    assert np.abs(apart - expected).max() > 0.1


@pytest.mark.parametrize("sigma", [0.3, 1.0])
def test_priors_are_dropped_where_the_recording_jumps(sigma):
    displacement, weights = noisy(n_bins=10, holes=0.6)
    arguments = {"temporal_prior": True, "spatial_prior": False}
    found = solve(displacement, weights, jump_sigma=sigma, **arguments)
    np.testing.assert_allclose(found, oracle.reconcile(displacement, weights, sigma=sigma, n_iterations=20), atol=1e-4)
    once = solve(displacement, weights, jump_sigma=sigma, n_iterations=1, **arguments)
    np.testing.assert_allclose(once, oracle.reconcile(displacement, weights, n_iterations=1), atol=1e-4)
    assert np.abs(found - once).max() > 1e-2


def test_the_solutions_mean_is_the_starts():
    displacement, weights = noisy()
    arguments = {"temporal_prior": True, "spatial_prior": False}
    found = solve(displacement, weights, np.full((1, 14), 7.0), **arguments)
    assert found.mean() == pytest.approx(7)
    np.testing.assert_allclose(found - 7, solve(displacement, weights, **arguments), atol=1e-6)


@pytest.mark.parametrize("width", [3, 5, 14])
def test_pairs_alone_are_the_dense_solution(width):
    displacement, weights = noisy(holes=0.0)
    pairs, values = banded(displacement[0], weights[0], width)
    inside = np.zeros((14, 14))
    inside[np.arange(14)[:, None], pairs.first[:, None] + np.arange(width)] = values > 0
    expected = oracle.reconcile(displacement, weights * inside, temporal_prior=False)[0]
    np.testing.assert_allclose(solve_pairs(pairs, values), expected, atol=1e-4)


@pytest.mark.parametrize(("sigma", "n_iterations"), [(2.0, 1), (2.0, 20), (1.0, 3)])
def test_robust_pairs_are_the_dense_solution(sigma, n_iterations):
    displacement, weights = noisy()
    found = solve_pairs_robust(*full(displacement[0], weights[0]), sigma, n_iterations)
    expected = oracle.reconcile_robust(displacement[0], weights[0], sigma, n_iterations)
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_wrong_pairs_are_dropped():
    displacement, weights = noisy(holes=0.0, n_bins=20)
    rng = np.random.default_rng(0)
    motion = rng.normal(0, 8, (1, 20)) + 20 * (np.arange(20) > 10)
    motion -= motion.mean()
    robust = solve_pairs_robust(*full(displacement[0], weights[0]), 2.0, 20)
    plain = solve_pairs(*full(displacement[0], weights[0]))
    assert np.abs(robust - motion).mean() < 0.5 < np.abs(plain - motion).mean()


def test_bins_that_no_pair_reaches_lie_between_their_neighbours():
    displacement, weights = noisy(holes=0.0)
    weights[0, 5:8] = weights[0, :, 5:8] = 0
    weights[0, -1] = weights[0, :, -1] = 0
    found = solve_pairs(*full(displacement[0], weights[0]))
    np.testing.assert_allclose(found[4:9], np.linspace(found[4], found[8], 5), atol=1e-3)
    assert found[-1] == pytest.approx(found[-2], abs=1e-3)


def test_no_pairs_at_all_are_no_motion():
    displacement, weights = noisy()
    assert (solve_pairs(*full(displacement[0], weights[0] * 0)) == 0).all()
    assert (solve_pairs_robust(*full(displacement[0], weights[0] * 0), 2.0, 5) == 0).all()
    assert (solve(displacement, weights * 0, temporal_prior=True, spatial_prior=False) == 0).all()


def test_one_bin_is_no_motion():
    assert solve_pairs(*full(np.zeros((1, 1)), np.ones((1, 1), np.float32))) == [0]


class FullDisk(io.BytesIO):
    def write(self, _):
        raise OSError(errno.ENOSPC, "full")


def no_place():
    raise FileNotFoundError(errno.ENOENT, "no folder")


@pytest.mark.parametrize(("file", "reason"), [(FullDisk, "No space left"), (no_place, "No such file")])
def test_a_temporary_file_that_cannot_be_written_is_an_error(monkeypatch, file, reason):
    monkeypatch.setattr(tempfile, "TemporaryFile", file)
    displacement, weights = noisy(n_windows=2)
    with pytest.raises(OutputError, match=reason) as refused:
        solve(displacement, weights, temporal_prior=True, spatial_prior=True)
    assert "TMPDIR" in refused.value.hint


@pytest.mark.parametrize("n_windows", [1, 2])
def test_weights_of_one_byte_are_those_of_single_precision(n_windows):
    displacement, weights = noisy(n_windows)
    counts = weights > 0
    found, expected = (
        solve(displacement, counts.astype(dtype), temporal_prior=True, spatial_prior=True)
        for dtype in (np.uint8, np.float32)
    )
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert np.ptp(found) > 10
