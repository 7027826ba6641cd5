"""What is known of a motion before any peak is seen, and the step that evidence and that knowledge ask for together.

From bin to bin the tissue moves little, or rarely and then as far as it likes: its steps are Student-t distributed,
alike at all depths that are near each other, and how large they are is found from the recording (expectation
maximization). Along depth the displacement is close to a straight line.

The equations are banded: unknowns in order of time, then depth.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numba
import numpy as np
from numpy.typing import NDArray

from driftcli.estimate import banded

# Draws to 0 what neither peaks nor neighbours tell: the displacement of all bins together.
_RIDGE = 1e-6
# Steps are never taken for smaller than this, in µm: a still recording would end without any.
_LEAST_STEP_UM = 1e-3
_TRIES = 20  # rounds in which the size of the steps of a first displacement is found


def equations_bytes(n_bins: int, n_windows: int) -> float:
    """What a solution takes at most."""
    return 8 * n_bins * n_windows * (_width(n_windows) + 16)


def _width(n_windows: int) -> int:
    return max(n_windows + 2, 3)


@dataclass(frozen=True)
class Prior:
    """How the tissue moves.

    likeness: between the steps of neighbouring windows, 0 (each on its own) to below 1 (all as one).
    bending: weight of the squared distance of a window from the line between its neighbours, in each bin, in 1/µm².
    freedom: degrees of freedom of the steps' distribution; the smaller, the more freely a few of them may be large.
    step_um: how large steps are. tension: (T - 1,) float64, weight of each step in 1/µm².
    """

    likeness: float
    bending: float
    freedom: float
    step_um: float
    tension: NDArray[np.float64]

    @classmethod
    def of(
        cls, displacement_um: NDArray[np.float64], likeness: float, bending: float, freedom: float, step_um: float
    ) -> Prior:
        """Steps as a first displacement (T, W) has them, and in all no smaller than `step_um`.

        A prior of smaller steps would smooth that displacement away where there are few peaks to hold it, and then
        learn from what is left that steps are small.
        """
        squares = _squares(displacement_um)
        least_um, step_um = step_um, max(step_um, float(np.sqrt(squares.max(initial=0))))
        for _ in range(_TRIES):
            step_um = max(_size(squares, freedom, step_um), least_um)
        return cls(likeness, bending, freedom, step_um, _tension(squares, freedom, step_um))

    def learned(self, displacement_um: NDArray[np.float64], covariance: NDArray[np.float64]) -> Prior:
        """With the size of steps and the weight of each that a displacement (T, W) and its covariance ask for.

        covariance: (T, W, 2), see `Solution`.
        """
        if len(displacement_um) == 1:
            return self
        variance = covariance[1:, :, 0] + covariance[:-1, :, 0] - 2 * covariance[:-1, :, 1]
        squares = _squares(displacement_um) + variance.mean(axis=1)
        step_um = max(_size(squares, self.freedom, self.step_um), _LEAST_STEP_UM)
        return replace(self, step_um=step_um, tension=_tension(squares, self.freedom, step_um))


def _squares(displacement_um: NDArray[np.float64]) -> NDArray[np.float64]:
    """(T - 1,) of the steps, as windows move nearly as one and theirs are one draw of the distribution."""
    squares: NDArray[np.float64] = (np.diff(displacement_um, axis=0) ** 2).mean(axis=1)
    return squares


def _tension(squares: NDArray[np.float64], freedom: float, step_um: float) -> NDArray[np.float64]:
    """What steps of such squares weigh in a Student-t distribution."""
    return (freedom + 1) / (freedom + squares / step_um**2) / step_um**2


def _size(squares: NDArray[np.float64], freedom: float, step_um: float) -> float:
    """How large steps of such squares are, one round of expectation maximization after they were `step_um`."""
    return step_um * float(np.sqrt((_tension(squares, freedom, step_um) * squares).sum() / max(len(squares), 1)))


class Solution:
    """The most likely displacement, if the log likelihood is as it looks from where one stands.

    displacement_um: (T, W) float64.
    """

    def __init__(
        self,
        displacement_um: NDArray[np.float64],
        slopes: NDArray[np.float64],
        bends: NDArray[np.float64],
        prior: Prior,
    ) -> None:
        """slopes (T, W), bends (T, W, 2): of the peaks' log likelihood at `displacement_um`, see `Tissue.evidence`."""
        self._shape = n_bins, n_windows = displacement_um.shape
        columns = np.zeros((n_bins * n_windows, _width(n_windows)))
        columns[:, 0] = bends[..., 0].ravel() + _RIDGE
        columns[:, 1] = bends[..., 1].ravel()
        precision, bending = _precision(n_windows, prior.likeness), prior.bending * squared_bends(n_windows)
        _add_prior(columns, prior.tension, precision, bending)
        change = slopes - _RIDGE * displacement_um
        _add_pull(change, displacement_um, prior.tension, precision, bending)
        banded.factorize(columns)
        solution = change.ravel()
        banded.solve(columns, solution)
        self._factor = columns
        self.displacement_um = displacement_um + solution.reshape(self._shape)

    def covariance(self) -> NDArray[np.float64]:
        """(T, W, 2) float64 in µm², of each displacement with itself and with the next bin's."""
        return _inverse_near_diagonal(self._factor, np.array([0, self._shape[1]])).reshape(*self._shape, 2)


def _precision(n_windows: int, likeness: float) -> NDArray[np.float64]:
    """(2, W) inverse covariance of steps that are as like as `likeness` to the power of their distance: the diagonal,
    and beside it."""
    precision = np.zeros((2, n_windows))
    precision[0] = 1.0
    if n_windows > 1:
        precision[0, 1:-1] += likeness**2
        precision[1, :-1] = -likeness
        precision /= 1 - likeness**2
    return precision


def squared_bends(n_windows: int) -> NDArray[np.float64]:
    """(3, W) the matrix of the sum of squared second differences: its diagonal, and two beside it."""
    bending = np.zeros((3, n_windows))
    difference = (1.0, -2.0, 1.0)
    for first in range(n_windows - 2):
        for i in range(3):
            for j in range(i, 3):
                bending[j - i, first + i] += difference[i] * difference[j]
    return bending


@numba.njit(nogil=True, cache=True)
def _add_prior(columns, tension, precision, bending):  # type: ignore[no-untyped-def]
    """Add the prior to (n, 1 + bands) columns of the lower half of the equations."""
    n_windows = precision.shape[1]
    n_bins = len(columns) // n_windows
    for t in range(n_bins):
        before = tension[t - 1] if t > 0 else 0.0
        after = tension[t] if t < n_bins - 1 else 0.0
        for w in range(n_windows):
            column = columns[t * n_windows + w]
            for d in range(min(3, n_windows - w)):
                column[d] += bending[d, w]
            for d in range(min(2, n_windows - w)):
                column[d] += (before + after) * precision[d, w]
            if t < n_bins - 1:
                column[n_windows] -= after * precision[0, w]
                if w < n_windows - 1:
                    column[n_windows + 1] -= after * precision[1, w]
                if w > 0:
                    column[n_windows - 1] -= after * precision[1, w - 1]


@numba.njit(nogil=True, cache=True)
def _add_pull(change, displacement_um, tension, precision, bending):  # type: ignore[no-untyped-def]
    """Add to `change` (T, W) what the prior pulls a displacement by."""
    n_bins, n_windows = displacement_um.shape
    for t in range(n_bins):
        here = displacement_um[t]
        for w in range(n_windows):
            for d in range(min(3, n_windows - w)):
                change[t, w] -= bending[d, w] * here[w + d]
                if d > 0:
                    change[t, w + d] -= bending[d, w] * here[w]
        if t == n_bins - 1:
            break
        for w in range(n_windows):
            pull = precision[0, w] * (displacement_um[t + 1, w] - here[w])
            if w > 0:
                pull += precision[1, w - 1] * (displacement_um[t + 1, w - 1] - here[w - 1])
            if w < n_windows - 1:
                pull += precision[1, w] * (displacement_um[t + 1, w + 1] - here[w + 1])
            change[t, w] += tension[t] * pull
            change[t + 1, w] -= tension[t] * pull


@numba.njit(nogil=True, cache=True)
def _inverse_near_diagonal(factor, offsets):  # type: ignore[no-untyped-def]
    """(n, offsets) entries [j + offset, j] of the inverse of a banded matrix, from its Cholesky factor.

    Takahashi's recursion, from the last column to the first; only as many columns are held as the band is wide.
    """
    n, width = factor.shape
    result = np.zeros((n, len(offsets)))
    # recent[i % width, width + k - i] is the inverse at [i, k], for all k within the band on either side
    recent = np.zeros((width, 2 * width + 1))
    for j in range(n - 1, -1, -1):
        column, last = factor[j], min(width, n - j)
        recent[j % width] = 0.0
        for d in range(last - 1, 0, -1):
            row, total = recent[(j + d) % width], 0.0
            for e in range(1, last):
                total += column[e] * row[width + e - d]
            value = -total / column[0]
            recent[j % width, width + d] = value
            row[width - d] = value
        total = 0.0
        for e in range(1, last):
            total += column[e] * recent[j % width, width + e]
        recent[j % width, width] = (1 / column[0] - total) / column[0]
        for k in range(len(offsets)):
            if offsets[k] < last:
                result[j, k] = recent[j % width, width + offsets[k]]
    return result
