"""How well units agree on a motion, and the motion without what is no larger than its error.

A unit is found about a micrometer from its true depth, with the same error each time it comes back to a place. So all
its peaks together are one witness, and what they are worth shows in how far bands of depths differ from the motion for
long (a covariance robust to clusters: Liang and Zeger, "Longitudinal data analysis using generalized linear models",
Biometrika 1986). For each shape that the motion may have along the shank, even, a line, a bend and so on, that says how
large it would come out where there is none of it. Each is shrunk by as much (empirical Bayes: Efron and Morris,
"Stein's estimation rule and its competitors", JASA 1973): a probe that moves as one stays straight, one that stretches
by more than units are misplaced keeps its stretch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from driftcli.estimate import banded
from driftcli.estimate.penalized import squared_bends
from driftcli.estimate.tissue import Bands, Nodes

_SHAPES = 5  # from even to three bends; finer ones are as the prior has them
# A bin in which a shape is more than twice as large as usual is an excursion, and is judged by its own size.
_EXCURSION = 4.0
_LEAST_WEIGHT = 1e-3  # of a window without peaks, beside the mean of all
_MOST_LEVERAGE = 0.9  # a band that alone sets the motion shows no disagreement
_LEAST_FREEDOM = 0.05  # a band that is seen in a single stay doesn't, either
_STIFFEST = 1e8  # beyond so many times the holds lines are straight, and rounding grows
_RIDGE, _LEAST = 1e-6, 1e-12


def shrunk(
    displacement_um: NDArray[np.float64], nodes: Nodes, bands: Bands, bending: float, shrinkage: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A displacement (T, W) without what is no larger than its error; variance (W,) of that error, in µm².

    bands: at this displacement. bending: of the prior, for a bin, see `penalized.Prior`. shrinkage: how many times the
    error's variance is subtracted from that of a shape. With a single stay nobody knows what lasts, so the
    displacement is the same and the variance 0.
    """
    shares = _shares(nodes, bands)
    weights = np.einsum("d,dw->w", bands.holds, shares)
    weights = weights + _LEAST_WEIGHT * weights.mean() + _LEAST
    weights /= weights.sum()
    shapes = _shapes(weights)
    error = _error(shares, bands, bending * nodes.n_bins / bands.n_stays, shapes, weights)
    sizes = np.einsum("tw,sw->ts", displacement_um, shapes * weights)
    varying = sizes - sizes.mean(axis=0)
    # the longer the tissue rests the less a shape varies on average, but a jump after a long rest is no error
    variance = np.maximum((varying**2).mean(axis=0), varying**2 / _EXCURSION)
    excess = np.minimum(shrinkage * error / np.maximum(variance, _LEAST), 1.0)
    return displacement_um - np.einsum("ts,sw->tw", varying * excess, shapes), (error[:, None] * shapes**2).sum(axis=0)


def _shares(nodes: Nodes, bands: Bands) -> NDArray[np.float64]:
    """(D, W) what each band has of each window: of the two beside it, the nearer the more.

    Bands are taken to be at their corrected depths, though windows are of depths as found: that far they are off.
    """
    n_windows = len(nodes.depths_um)
    place = np.clip((bands.depths_um - nodes.depths_um[0]) / nodes.spacing_um, 0, n_windows - 1)
    return np.maximum(1 - np.abs(place[:, None] - np.arange(n_windows)), 0.0)


def _shapes(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """(S, W) polynomials over evenly spaced windows that are orthogonal, and 1 in their mean square, by weights (W,).

    So one of them may change while the others stay as they are where there are peaks. Beyond these, lines go on and
    bends don't.
    """
    place = np.linspace(-1, 1, len(weights))
    seen = place[weights > 0.01 * weights.max()]
    bent = np.clip(place, seen[0], seen[-1])
    shapes: list[NDArray[np.float64]] = []
    for degree in range(min(_SHAPES, len(seen))):
        shape = (bent if degree > 1 else place) ** degree
        for _ in range(2):  # the second time takes what rounding has left
            for other in shapes:
                shape = shape - (weights * shape * other).sum() * other
        shapes.append(shape / np.sqrt((weights * shape**2).sum()))
    return np.array(shapes)


def _error(
    shares: NDArray[np.float64],
    bands: Bands,
    bending: float,
    shapes: NDArray[np.float64],
    weights: NDArray[np.float64],
) -> NDArray[np.float64]:
    """(S,) variance in µm² of the size of each shape (S, W), as bands disagree. bending: of a stay of mean length."""
    holds = bands.holds / bands.n_stays
    factor = _factor(shares, holds, bending)
    leverage = (_solved(factor, shares) * shares).sum(axis=1) * holds
    # how much a size changes if a band is displaced; that the motion follows the band hides part of their disagreement
    answers = np.einsum("sw,dw->sd", _solved(factor, shapes * weights), shares) * holds
    answers /= 1 - np.minimum(leverage, _MOST_LEVERAGE)
    variance: NDArray[np.float64] = (answers**2 * bands.concentration * _misplaced(bands)).sum(axis=1)
    return variance


def _factor(shares: NDArray[np.float64], holds: NDArray[np.float64], bending: float) -> NDArray[np.float64]:
    """(W, 3) for `banded.solve`: of a motion that bands and the straight line along the shank hold."""
    n_windows = shares.shape[1]
    columns = np.zeros((n_windows, 3))
    columns[:] = min(bending, _STIFFEST * holds.sum()) * squared_bends(n_windows).T
    columns[:, 0] += _RIDGE + np.einsum("d,dw->w", holds, shares**2)
    columns[:-1, 1] += np.einsum("d,dw->w", holds, shares[:, :-1] * shares[:, 1:])
    banded.factorize(columns)
    return columns


def _misplaced(bands: Bands) -> NDArray[np.float64]:
    """(D,) mean square of how far each band is, for a whole stay, from where it is on average, in µm².

    Without what peaks scatter by. That of bands which were hardly seen in more than one stay is the others' mean.
    """
    total = np.maximum(bands.holds, _LEAST)
    squares = np.maximum(bands.squares - bands.pushes**2 / total - bands.scatter, 0.0) / total
    enough = bands.freedom > _LEAST_FREEDOM
    squares = squares / np.maximum(bands.freedom, _LEAST_FREEDOM)
    usual = (squares * total)[enough].sum() / max(total[enough].sum(), _LEAST)
    return np.where(enough, squares, usual)


def _solved(factor: NDArray[np.float64], sides: NDArray[np.float64]) -> NDArray[np.float64]:
    """Solutions (..., W) for right-hand sides (..., W)."""
    solutions = sides.copy()
    for solution in solutions:
        banded.solve(factor, solution)
    return solutions
