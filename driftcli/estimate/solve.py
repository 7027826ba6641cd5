"""From displacements between pairs of temporal bins to one displacement for each: sparse linear least squares.

Every pair (i, j) asks that p[i] - p[j] be its displacement, with its weight; priors ask that neighbours in time or in
depth be equal. The normal equations of such a problem are the Laplacian of a graph; conjugate gradients solve them in a
few passes over the pairs, always in the same order. The solution is free up to a constant, which the callers set.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, Any

import numba
import numpy as np
from numpy.typing import NDArray

from driftcli.errors import OutputError
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
        """OutputError if there is no place for a temporary file."""
        self.drive = np.zeros((n_windows, n_bins))
        self.degree = np.zeros((n_windows, n_bins))
        self.moments: list[Moments] = []
        self._links: NDArray[Any] = np.zeros((0, 0), dtype=np.float32)
        self._first: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._file: IO[bytes] | None = None
        if n_windows > 1:
            with _errors_of_file():
                self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__

    def __enter__(self) -> Equations:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            with suppress(OSError):  # what a full disk didn't take is not needed any more
                self._file.close()

    def add(self, pairs: Pairs, weights: NDArray[Any]) -> None:
        """Add the next window's pairs; those with a weight of 0, such as all beyond the horizon, do not count.

        weights: (T, width) float32, or uint8 where all are 0 or 1; used up, as the links take their place. OutputError
        if the temporary file can't be written.
        """
        window = len(self.moments)
        net_weight = np.zeros(len(weights))
        count, target_sum, target_squares = _normal_equations(
            pairs.lag, pairs.bin_um, pairs.first, weights, self.drive[window], self.degree[window], net_weight
        )
        self.moments.append(Moments(count, net_weight, target_sum, target_squares))
        self._first = pairs.first
        if self._file is None:
            self._links = weights
            return
        self._links = np.zeros_like(weights, shape=(0, weights.shape[1]))
        with _errors_of_file():
            self._file.write(weights.data)
            self._file.flush()

    def subtract_links(self, displacement: NDArray[np.float64], out: NDArray[np.float64]) -> None:
        """out (W, T) -= links @ displacement."""
        for window, links in enumerate(self._each_window()):
            _subtract_links(links, self._first, displacement[window], out[window])

    def _each_window(self) -> Iterator[NDArray[Any]]:
        if self._file is None:
            yield self._links
            return
        links = np.empty((len(self._first), self._links.shape[1]), dtype=self._links.dtype)
        self._file.seek(0)
        for _ in self.moments:
            with _errors_of_file():
                self._file.readinto(links.data)  # type: ignore[attr-defined]
            yield links


@contextmanager
def _errors_of_file() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise OutputError(
            f"cannot use a temporary file in {tempfile.gettempdir()}: {reason}",
            "free some space there, or let TMPDIR name a folder on another disk",
        ) from error


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


def solve_pairs(pairs: Pairs, weights: NDArray[Any]) -> NDArray[np.float64]:
    """(T,) displacements of mean 0 from the weighted pairs of one window alone; the weights are used up."""
    n_bins = len(weights)
    no_priors = np.zeros((1, n_bins - 1)), np.zeros((0, n_bins))
    with Equations(1, n_bins) as equations:
        equations.add(pairs, weights)
        solution = _conjugate_gradients(equations, *no_priors, np.zeros((1, n_bins)))[0]
    return solution - solution.mean()


def solve_pairs_robust(pairs: Pairs, weights: NDArray[Any], sigma: float, n_iterations: int) -> NDArray[np.float64]:
    """As `solve_pairs`, solved up to `n_iterations` times, each without the pairs that fitted badly before.

    A pair fits badly if its residual is more than `sigma` standard deviations from the mean of all pairs'.
    """
    kept = np.ones(weights.shape, dtype=np.bool_)
    for _ in range(n_iterations):
        solution = solve_pairs(pairs, weights * kept)
        if not _keep_fitting(pairs.lag, pairs.bin_um, pairs.first, weights, solution, sigma, kept):
            break
    return solution


def mean_displacements(pairs: Pairs, weights: NDArray[Any]) -> NDArray[np.float64]:
    """(T,) mean displacement of each temporal bin from all pairs of any weight; 0 where there is none."""
    return _mean_lags(pairs.lag, weights) * pairs.bin_um


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
def _normal_equations(lag, bin_um, first, weights, drive, degree, net_weight):  # type: ignore[no-untyped-def]
    """Add all pairs to drive, degree and net_weight (T,) and put their links in place of the weights (T, width).

    Give the number of weights, the sum of the targets and the sum of their squares.
    """
    count, total, squares = 0, 0.0, 0.0
    width = weights.shape[1]
    for i in range(len(weights)):
        for k in range(width):
            j = first[i] + k
            weight = float(weights[i, k])
            if weight != 0:
                count += 1
            if weight == 0 or j == i:
                continue
            goal = weight * (bin_um * lag[i, k])
            drive[i] += weight * goal
            drive[j] -= weight * goal
            net_weight[i] += weight
            net_weight[j] -= weight
            total += goal
            squares += goal * goal
    for i in range(len(weights)):
        weights[i, i - first[i]] = 0
        for k in range(max(0, i + 1 - first[i]), width):
            j = first[i] + k
            back = i - first[j]
            if 0 <= back < width:
                link = float(weights[i, k]) ** 2 + float(weights[j, back]) ** 2
                weights[i, k] = link
                weights[j, back] = link
        for k in range(width):
            degree[i] += weights[i, k]
    return count, total, squares


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
def _mean_lags(lag, weights):  # type: ignore[no-untyped-def]
    """(T,) mean of the lags with a weight; 0 where there is none."""
    means = np.zeros(len(lag))
    for i in range(len(lag)):
        count, total = 0, 0.0
        for k in range(lag.shape[1]):
            if weights[i, k] > 0:
                count += 1
                total += lag[i, k]
        means[i] = total / max(count, 1)
    return means


@numba.njit(nogil=True, cache=True)
def _keep_fitting(lag, bin_um, first, weights, solution, sigma, kept):  # type: ignore[no-untyped-def]
    """Mark weighted pairs whose residual is within `sigma` standard deviations of the mean; tell if marks changed."""
    count, total, squares = 0, 0.0, 0.0
    for i in range(len(weights)):
        for k in range(weights.shape[1]):
            if weights[i, k] > 0:
                residual = solution[i] - solution[first[i] + k] - bin_um * lag[i, k]
                count += 1
                total += residual
                squares += residual * residual
    mean = total / max(count, 1)
    allowed = sigma * np.sqrt(max(squares / max(count, 1) - mean * mean, 0.0))
    changed = False
    for i in range(len(weights)):
        for k in range(weights.shape[1]):
            if weights[i, k] > 0:
                fits = abs(solution[i] - solution[first[i] + k] - bin_um * lag[i, k] - mean) <= allowed
                changed |= fits != kept[i, k]
                kept[i, k] = fits
    return changed
