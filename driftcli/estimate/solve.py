"""From displacements between pairs of temporal bins to one displacement for each: sparse linear least squares.

Every pair (i, j) asks that p[i] - p[j] be its displacement, with its weight; priors ask that neighbours in time or in
depth be equal. The normal equations of such a problem are the Laplacian of a graph; conjugate gradients solve them in a
few passes over the pairs, always in the same order. The solution is free up to a constant, which the callers set.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from driftcli.estimate.pairwise import Pairs

# Bins that no pair and no prior reach lie between their neighbours: ties this weak move nothing else.
_WEAKEST_TIE = 1e-6
_TOLERANCE = 1e-10


@dataclass(frozen=True)
class Moments:
    """What the residuals' mean and standard deviation need of the pairs of one window."""

    count: int
    net_weight: NDArray[np.float64]
    target_sum: float
    target_squares: float


class Equations:
    """The pairs' normal equations of one or more windows; the links of several windows wait in a temporary file.

    To be used in a `with` statement, which removes the file.
    drive: (W, T) right-hand side; degree: (W, T) sum of each bin's links; moments: of each window.
    """

    def __init__(self, n_windows: int, n_bins: int) -> None:
        self.drive = np.zeros((n_windows, n_bins))
        self.degree = np.zeros((n_windows, n_bins))
        self.moments: list[Moments] = []
        self._file = tempfile.TemporaryFile() if n_windows > 1 else None  # noqa: SIM115 - closed by __exit__
        self._links: NDArray[np.float32] = np.zeros((0, 0), dtype=np.float32)
        self._first: NDArray[np.int64] = np.zeros(0, dtype=np.int64)

    def __enter__(self) -> Equations:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, pairs: Pairs, weights: NDArray[np.float32]) -> None:
        """Add the next window's pairs; those with a weight of 0, such as all beyond the horizon, do not count."""
        window = len(self.moments)
        self._first, self._links = pairs.first, np.zeros_like(weights)
        net_weight = np.zeros(len(weights))
        target_sum, target_squares = _normal_equations(
            pairs.displacement_um,
            weights,
            pairs.first,
            self._links,
            self.drive[window],
            self.degree[window],
            net_weight,
        )
        self.moments.append(Moments(int(np.count_nonzero(weights)), net_weight, target_sum, target_squares))
        if self._file is not None:
            self._links.tofile(self._file)

    def subtract_links(self, displacement: NDArray[np.float64], out: NDArray[np.float64]) -> None:
        """out (W, T) -= links @ displacement."""
        for window, links in enumerate(self._each_window()):
            _subtract_links(links, self._first, displacement[window], out[window])

    def _each_window(self) -> Iterator[NDArray[np.float32]]:
        if self._file is None:
            yield self._links
            return
        self._file.flush()
        self._file.seek(0)
        shape = self._links.shape
        for _ in self.moments:
            yield np.fromfile(self._file, dtype=np.float32, count=shape[0] * shape[1]).reshape(shape)


def solve_with_priors(
    equations: Equations,
    start: NDArray[np.float64],
    *,
    temporal_prior: bool,
    spatial_prior: bool,
    jump_sigma: float,
    n_iterations: int,
) -> NDArray[np.float64]:
    """(W, T) displacements from the pairs of W windows, smooth in time and in depth as far as the pairs agree.

    Each prior term weighs as much as a pair of weight 1. Up to `n_iterations` times the terms whose residual is more
    than `jump_sigma` standard deviations from the mean of all are left out and the rest is solved again: there the
    recording jumps. `start` (W, T) is where the iteration starts; its mean is the solution's.
    """
    shape = equations.drive.shape
    in_time = np.full((shape[0], shape[1] - 1), float(temporal_prior))
    in_depth = np.full((shape[0] - 1, shape[1]), float(spatial_prior))
    solution = start
    for _ in range(n_iterations):
        solution = _conjugate_gradients(equations, in_time, in_depth, solution)
        kept = _priors_kept(equations, solution, temporal_prior, spatial_prior, jump_sigma)
        if np.array_equal(kept[0], in_time) and np.array_equal(kept[1], in_depth):
            break
        in_time, in_depth = kept
    return solution - solution.mean() + start.mean()


def solve_pairs(pairs: Pairs, weights: NDArray[np.float32]) -> NDArray[np.float64]:
    """(T,) displacements of mean 0 from the weighted pairs of one window alone."""
    n_bins = len(weights)
    no_priors = np.zeros((1, n_bins - 1)), np.zeros((0, n_bins))
    with Equations(1, n_bins) as equations:
        equations.add(pairs, weights)
        solution = _conjugate_gradients(equations, *no_priors, np.zeros((1, n_bins)))[0]
    return solution - solution.mean()


def solve_pairs_robust(
    pairs: Pairs, weights: NDArray[np.float32], sigma: float, n_iterations: int
) -> NDArray[np.float64]:
    """As `solve_pairs`, solved up to `n_iterations` times, each without the pairs that fitted badly before.

    A pair fits badly if its residual is more than `sigma` standard deviations from the mean of all pairs'.
    """
    kept = weights
    for _ in range(n_iterations):
        solution = solve_pairs(pairs, kept)
        following = np.zeros_like(weights)
        _keep_fitting(pairs.displacement_um, weights, pairs.first, solution, sigma, following)
        if np.array_equal(following, kept):
            break
        kept = following
    return solution


def _priors_kept(
    equations: Equations, solution: NDArray[np.float64], temporal_prior: bool, spatial_prior: bool, sigma: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """1 for every prior term whose residual lies within `sigma` standard deviations of the mean of all, else 0."""
    terms = []
    if temporal_prior:
        terms.append(np.diff(solution, axis=1))
    if spatial_prior:
        terms.append(-np.diff(solution, axis=0))
    count = sum(moments.count for moments in equations.moments) + sum(term.size for term in terms)
    total = sum(float(term.sum()) for term in terms)
    squares = sum(float((term**2).sum()) for term in terms)
    # The pairs' own residuals only enter as sums, which the normal equations know.
    fitted = equations.degree * solution
    equations.subtract_links(solution, fitted)
    squares += float((solution * (fitted - 2 * equations.drive)).sum())
    for window, moments in enumerate(equations.moments):
        total += float((moments.net_weight * solution[window]).sum()) - moments.target_sum
        squares += moments.target_squares
    mean = total / max(count, 1)
    allowed = sigma * np.sqrt(max(squares / max(count, 1) - mean**2, 0.0))
    in_time = (np.abs(np.diff(solution, axis=1) - mean) <= allowed) & temporal_prior
    in_depth = (np.abs(-np.diff(solution, axis=0) - mean) <= allowed) & spatial_prior
    return in_time.astype(np.float64), in_depth.astype(np.float64)


def _conjugate_gradients(
    equations: Equations, in_time: NDArray[np.float64], in_depth: NDArray[np.float64], start: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Solve the normal equations with priors of the given weights, scaled by their diagonal, from `start` on."""
    in_time = np.maximum(in_time, _WEAKEST_TIE * max(1.0, float(equations.degree.mean())))
    diagonal = equations.degree.copy()
    diagonal[:, :-1] += in_time
    diagonal[:, 1:] += in_time
    diagonal[:-1] += in_depth
    diagonal[1:] += in_depth
    if diagonal.size == 1:
        return start

    def apply(displacement: NDArray[np.float64]) -> NDArray[np.float64]:
        out = diagonal * displacement
        equations.subtract_links(displacement, out)
        out[:, :-1] -= in_time * displacement[:, 1:]
        out[:, 1:] -= in_time * displacement[:, :-1]
        out[:-1] -= in_depth * displacement[1:]
        out[1:] -= in_depth * displacement[:-1]
        return out

    solution = start.copy()
    residual = equations.drive - apply(solution)
    scaled = residual / diagonal
    direction = scaled.copy()
    energy = float((residual * scaled).sum())
    enough = _TOLERANCE**2 * float((equations.drive**2 / diagonal).sum())
    for _ in range(10 * solution.size):
        if energy <= enough:
            break
        applied = apply(direction)
        step = energy / float((direction * applied).sum())
        solution += step * direction
        residual -= step * applied
        scaled = residual / diagonal
        previous, energy = energy, float((residual * scaled).sum())
        direction = scaled + energy / previous * direction
    return solution


@numba.njit(nogil=True, cache=True)
def _normal_equations(target, weights, first, links, drive, degree, net_weight):  # type: ignore[no-untyped-def]
    """Add all pairs to links (T, width), drive, degree and net_weight (T,); give the targets' sum and square sum."""
    total, squares = 0.0, 0.0
    for i in range(len(weights)):
        for k in range(weights.shape[1]):
            weight = float(weights[i, k])
            j = first[i] + k
            if weight == 0 or i == j:
                continue
            goal = weight * target[i, k]
            squared = weights[i, k] * weights[i, k]
            links[i, k] += squared
            links[j, i - first[j]] += squared
            drive[i] += weight * goal
            drive[j] -= weight * goal
            net_weight[i] += weight
            net_weight[j] -= weight
            total += goal
            squares += goal * goal
    for i in range(len(links)):
        for k in range(links.shape[1]):
            degree[i] += links[i, k]
    return total, squares


@numba.njit(nogil=True, cache=True)
def _subtract_links(links, first, displacement, out):  # type: ignore[no-untyped-def]
    """out -= links @ displacement; links are symmetric, so a row serves as a column."""
    for i in range(len(links)):
        here = displacement[i]
        onto = out[first[i] : first[i] + links.shape[1]]
        row = links[i]
        for k in range(len(row)):
            onto[k] -= row[k] * here


@numba.njit(nogil=True, cache=True)
def _keep_fitting(target, weights, first, solution, sigma, kept):  # type: ignore[no-untyped-def]
    """Copy the weights of pairs whose residual is within `sigma` standard deviations of the mean into `kept`."""
    count, total, squares = 0, 0.0, 0.0
    for i in range(len(weights)):
        for k in range(weights.shape[1]):
            if weights[i, k] > 0:
                residual = solution[i] - solution[first[i] + k] - target[i, k]
                count += 1
                total += residual
                squares += residual * residual
    if count == 0:
        return
    mean = total / count
    allowed = sigma * np.sqrt(max(squares / count - mean * mean, 0.0))
    for i in range(len(weights)):
        for k in range(weights.shape[1]):
            residual = solution[i] - solution[first[i] + k] - target[i, k]
            if abs(residual - mean) <= allowed:
                kept[i, k] = weights[i, k]
