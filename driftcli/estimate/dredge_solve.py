"""From displacements between pairs of temporal bins to one displacement a bin and window, smooth over both.

The least squares of DREDge (Windolf et al. 2025): every pair asks for its displacement with its weight, a temporal
prior for small steps from bin to bin, a spatial prior for like steps in neighbouring windows, and a small ridge that
sets the offset. The equations are banded over time; they are solved by conjugate gradients, preconditioned with all
of them but the weights off the diagonal, and with the equations of whole blocks of bins. Memory and time stay linear
in the duration.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from driftcli.errors import UsageError
from driftcli.estimate import banded

# Bytes of pair weights up to which they are kept in single precision; more than that in 1/127 steps of one byte.
_EXACT_BYTES = 2**27
_STEPS = 127
# The squared size of the preconditioned residual at which the solution is good to far below a nanometre.
_TOLERANCE = 1e-24
_MAX_ITERATIONS = 1000
# A ridge for all that draws to 0 what neither weights nor priors determine; far too weak to be felt otherwise.
_LEAST_RIDGE = 1e-9
# Blocks of bins that fit into the reach of one pair; the bins of a block hold each other well.
_BLOCKS_IN_REACH = 4
# Arrays of all displacements that the iteration holds at once.
_VECTORS = 14


def solve_bytes(n_windows: int, n_bins: int, reach: int) -> float:
    """What `PairEquations.solve` takes at most, the pair weights aside."""
    block = _block(reach)
    n_blocks, block_reach = -(-n_bins // block), -(-reach // block)
    columns = n_bins * (n_windows + 2) + n_blocks * max(n_windows + 2, block_reach * n_windows + 1)
    return 8 * n_windows * (columns + _VECTORS * n_bins)


def pair_bytes(n_windows: int, n_bins: int, reach: int, exact: bool | None = None) -> int:
    """What the weights of the pairs take; for the arguments see `PairEquations`."""
    n_weights = n_windows * n_bins * reach
    return 4 * n_weights if exact or (exact is None and _few(n_weights)) else n_weights


def _few(n_weights: int) -> bool:
    return 4 * n_weights <= _EXACT_BYTES


def _block(reach: int) -> int:
    return max(1, reach // _BLOCKS_IN_REACH)


class PairEquations:
    """The pairs' part of the normal equations of all windows, built up block by block.

    weights: (W, T, K), the weight of bins (t, t + 1 + k) as seen from both sides, at most 2, in units of 1 / `steps`.
    targets: (W, T) float64, the right hand side in µm.
    observed: (W, T) bool, bins that match anything, themselves included.
    anchors: (W, T) float64, the weight of what is known of bins from elsewhere.
    """

    def __init__(self, n_windows: int, n_bins: int, reach: int, exact: bool | None = None) -> None:
        """`reach`: how many bins apart pairs may be. `exact`: see `_EXACT_BYTES`; needed where weights exceed 2."""
        if exact is None:
            exact = _few(n_windows * n_bins * reach)
        self.steps = 1 if exact else _STEPS
        self.weights = np.zeros((n_windows, n_bins, reach), dtype=np.float32 if exact else np.uint8)
        self.targets = np.zeros((n_windows, n_bins))
        self.observed = np.zeros((n_windows, n_bins), dtype=bool)
        self.anchors = np.zeros((n_windows, n_bins))

    def add(
        self,
        window: int,
        first: tuple[int, int],
        displacement_um: NDArray[np.float64],
        weight: NDArray[np.float64],
    ) -> None:
        """Ask that bin first[0] + i be displaced by displacement_um[i, j] more than bin first[1] + j.

        A pair is taken only where i is not later than j, and left out if farther apart than the reach.
        """
        targets, observed = self.targets[window], self.observed[window]
        _add(self.weights[window], targets, observed, *first, displacement_um, weight, self.steps)

    def hold(self, window: int, displacement_um: NDArray[np.float64], weight: NDArray[np.float64]) -> None:
        """Ask that each bin be displaced by so much; both (T,)."""
        self.anchors[window] += weight
        self.targets[window] += weight * displacement_um

    def solve(self, lambda_t: float, lambda_s: float, eps: float) -> NDArray[np.float64]:
        """(T, W) displacement in µm; `lambda_t`, `lambda_s`, `eps` weigh temporal prior, spatial prior and ridge."""
        n_windows = len(self.weights)
        observed = self.observed | ~self.observed.any(axis=1, keepdims=True)
        coupled = n_windows > 1 and lambda_s > 0
        # As in SpikeInterface 0.105.3, each prior brings a ridge of its own.
        ridge = (2 if coupled else 1) * eps * observed.T + _LEAST_RIDGE + self.anchors.T
        between_windows = lambda_t * np.eye(n_windows) + lambda_s / 2 * _path(n_windows)
        system = _System(self.weights, self.steps, ridge, between_windows)
        return _conjugate_gradients(system, np.ascontiguousarray(self.targets.T))


class _System:
    """The normal equations of (T, W) displacements: pairs + ridge + temporal Laplacian x `between_windows`.

    ridge: (T, W). between_windows: (W, W).
    """

    def __init__(
        self,
        weights: NDArray[np.float32] | NDArray[np.uint8],
        steps: int,
        ridge: NDArray[np.float64],
        between_windows: NDArray[np.float64],
    ) -> None:
        self._weights, self._steps, self._between = weights, steps, between_windows
        n_windows, n_bins, reach = weights.shape
        self._diagonal = ridge + _all_degrees(weights) / steps
        self._factor = _factorize(self._diagonal, between_windows, np.zeros((n_windows, n_bins, 0)))
        # A motion that is the same within blocks obeys equations of the same form: only what holds between blocks
        # counts. Without them, slow motion would settle slowly.
        self._block = _block(reach)
        self._starts = np.arange(0, n_bins, self._block)
        between_blocks = np.stack([_between_blocks(w, self._block) for w in weights]) / steps
        diagonal = np.add.reduceat(ridge, self._starts) + _all_degrees(between_blocks)
        self._block_factor = _factorize(diagonal, between_windows, between_blocks)

    def apply(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Left hand side, (T, W)."""
        result = self._diagonal * x + np.einsum("tv,vw->tw", _laplacian(x), self._between)
        for window, weights in enumerate(self._weights):
            result[:, window] -= _neighbours(weights, np.ascontiguousarray(x[:, window])) / self._steps
        return result

    def precondition(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Solve all but the weights off the diagonal, and those of whole blocks; the sum of both, (T, W)."""
        blocks = _solve_factorized(self._block_factor, np.add.reduceat(x, self._starts))
        return _solve_factorized(self._factor, x) + np.repeat(blocks, self._block, axis=0)[: len(x)]


def _factorize(
    diagonal: NDArray[np.float64], between_windows: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Banded Cholesky factor of (T, W) equations with (W, T, K) weights off the diagonal; order: time, then window."""
    n_bins, n_windows = diagonal.shape
    reach = weights.shape[2]
    columns = np.zeros((n_bins, n_windows, max(n_windows + 2, reach * n_windows + 1)))
    columns[..., 0] = diagonal
    for v in range(n_windows):
        for w in range(max(0, v - 1), min(n_windows, v + 2)):
            if w >= v:
                columns[:, v, w - v] += _laplacian_diagonal(n_bins) * between_windows[w, v]
            columns[:-1, v, n_windows + w - v] -= between_windows[w, v] / 2
    for k in range(min(reach, n_bins - 1)):
        columns[: -1 - k, :, (k + 1) * n_windows] -= weights[:, : -1 - k, k].T
    factor = columns.reshape(n_bins * n_windows, -1)
    banded.factorize(factor)
    return factor


def _solve_factorized(factor: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
    solution = x.flatten()
    banded.solve(factor, solution)
    return solution.reshape(x.shape)


def _conjugate_gradients(system: _System, targets: NDArray[np.float64]) -> NDArray[np.float64]:
    x = np.zeros_like(targets)
    residual = targets.copy()
    z = system.precondition(residual)
    direction = z.copy()
    size = first_size = _dot(residual, z)
    for _ in range(_MAX_ITERATIONS):
        if size <= _TOLERANCE * first_size:
            return x
        image = system.apply(direction)
        step = size / _dot(direction, image)
        x += step * direction
        residual -= step * image
        z = system.precondition(residual)
        previous, size = size, _dot(residual, z)
        direction = z + size / previous * direction
    raise UsageError(
        f"the displacements did not settle within {_MAX_ITERATIONS} iterations",
        "raise estimate.eps or estimate.lambda_t",
    )


def _dot(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Their product, summed in an order that doesn't depend on threads."""
    return float((a * b).sum())


def _path(n: int) -> NDArray[np.float64]:
    """(n, n) graph Laplacian of a path of n nodes."""
    return np.diag(2 * _laplacian_diagonal(n)) - np.eye(n, k=1) - np.eye(n, k=-1)


def _laplacian_diagonal(n: int) -> NDArray[np.float64]:
    """(n,) half the number of neighbours of each node of a path."""
    diagonal = np.ones(n)
    diagonal[0] -= 0.5
    diagonal[-1] -= 0.5
    return diagonal


def _laplacian(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Half the graph Laplacian over time of (T, W)."""
    half_steps = np.diff(x, axis=0) / 2
    result = np.zeros_like(x)
    result[:-1] -= half_steps
    result[1:] += half_steps
    return result


@numba.njit(nogil=True, cache=True)
def _add(weights, targets, observed, first_i, first_j, displacement_um, weight, steps):  # type: ignore[no-untyped-def]
    reach = weights.shape[1]
    for i in range(displacement_um.shape[0]):
        for j in range(displacement_um.shape[1]):
            this, other = first_i + i, first_j + j
            w = weight[i, j]
            if steps > 1:
                w = min(np.floor(w * steps + 0.5), 2 * steps)
            if w == 0 or other < this or other - this > reach:
                continue
            observed[this] = observed[other] = True
            if other > this:
                weights[this, other - this - 1] += w
                pull = w / steps * displacement_um[i, j]
                targets[this] += pull
                targets[other] -= pull


def _all_degrees(weights: NDArray[Any]) -> NDArray[np.float64]:
    """(T, W) sum of the weights of all pairs of each bin."""
    return np.stack([_degrees(of_window) for of_window in weights], axis=1)


@numba.njit(nogil=True, cache=True)
def _degrees(weights):  # type: ignore[no-untyped-def]
    """(T,) sum of the weights of all pairs of each bin."""
    n_bins, reach = weights.shape
    degrees = np.zeros(n_bins)
    for t in range(n_bins):
        for k in range(min(reach, n_bins - 1 - t)):
            degrees[t] += weights[t, k]
            degrees[t + 1 + k] += weights[t, k]
    return degrees


@numba.njit(nogil=True, cache=True)
def _neighbours(weights, x):  # type: ignore[no-untyped-def]
    """(T,) sum over all pairs of each bin of weight times the other bin's x."""
    n_bins, reach = weights.shape
    sums = np.zeros(n_bins)
    for t in range(n_bins):
        total = 0.0
        for k in range(min(reach, n_bins - 1 - t)):
            w = np.float64(weights[t, k])
            total += w * x[t + 1 + k]
            sums[t + 1 + k] += w * x[t]
        sums[t] += total
    return sums


@numba.njit(nogil=True, cache=True)
def _between_blocks(weights, block):  # type: ignore[no-untyped-def]
    """(blocks, block reach) sum of the weights between the bins of block b and of block b + 1 + k."""
    n_bins, reach = weights.shape
    sums = np.zeros((-(-n_bins // block), -(-reach // block)))
    for t in range(n_bins):
        for k in range(min(reach, n_bins - 1 - t)):
            apart = (t + 1 + k) // block - t // block
            if apart > 0:
                sums[t // block, apart - 1] += weights[t, k]
    return sums
