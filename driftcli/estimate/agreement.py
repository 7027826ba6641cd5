"""How far units agree on a motion, and the motion without what is no more than their error.

Where a unit's peaks are found depends on where it is between the contacts: it is misplaced by a micrometer or so, by
the same at every visit. So all its peaks together are one witness, and what they are worth shows in how far bands of
depths disagree with the motion for long (a covariance robust to clusters: Liang and Zeger, "Longitudinal data analysis
using generalized linear models", Biometrika 1986). For each shape that the motion may have along the shank, even, a
line, a bend and so on, that says how large it would come out where there is none of it. Each is shrunk by as much
(empirical Bayes: Efron and Morris, "Stein's estimation rule and its competitors", JASA 1973): a probe that moves as
one stays straight, one that stretches by more than units are misplaced keeps its stretch.
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
_MOST_LEVERAGE = 0.9  # a band that decides alone disagrees with nobody, whatever it says
_STIFFEST = 1e8  # beyond so many times the holds lines are straight, and rounding grows
_RIDGE, _LEAST = 1e-6, 1e-12


def shrunk(
    displacement_um: NDArray[np.float64], nodes: Nodes, bands: Bands, bending: float, shrinkage: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A displacement (T, W) without what is no more than its error; variance (W,) of that error, in µm².

    bands: at this displacement. bending: of the prior, for a bin, see `penalized.Prior`. shrinkage: how many times the
    error's variance is subtracted from that of a shape. With a single block nobody knows what lasts, so the
    displacement is the same and the variance 0.
    """
    shapes = _shapes(displacement_um.shape[1])
    error = _error(nodes, bands, bending * nodes.n_bins / len(bands.pushes), shapes)
    sizes = np.einsum("tw,sw->ts", displacement_um, shapes) / shapes.shape[1]
    varying = sizes - sizes.mean(axis=0)
    # the longer the tissue rests the less a shape varies on average, but a jump after a long rest is no error
    variance = np.maximum((varying**2).mean(axis=0), varying**2 / _EXCURSION)
    excess = np.minimum(shrinkage * error / np.maximum(variance, _LEAST), 1.0)
    return displacement_um - np.einsum("ts,sw->tw", varying * excess, shapes), (error[:, None] * shapes**2).sum(axis=0)


def _misplaced(bands: Bands) -> NDArray[np.float64]:
    """(D,) mean square of how far each band is, for a whole stay, from where it is on average, in µm².

    Without what peaks scatter by. A stay counts as its peaks do.
    """
    total = np.maximum(bands.holds.sum(axis=0), _LEAST)
    pushes = bands.pushes - bands.holds * (bands.pushes.sum(axis=0) / total)
    squares: NDArray[np.float64] = (pushes**2 - bands.scatter) / np.maximum(bands.holds, _LEAST)
    return np.maximum(squares.sum(axis=0), 0.0) / total


def _shapes(n_windows: int) -> NDArray[np.float64]:
    """(S, W) orthogonal polynomials over evenly spaced depths, mean square 1."""
    place, shapes = np.linspace(-1, 1, n_windows), [np.ones(n_windows)]
    while len(shapes) < min(_SHAPES, n_windows):
        shape = place * shapes[-1]
        for other in shapes:
            shape = shape - (shape * other).mean() * other
        shapes.append(shape / np.sqrt((shape**2).mean()))
    return np.array(shapes)


def _error(nodes: Nodes, bands: Bands, bending: float, shapes: NDArray[np.float64]) -> NDArray[np.float64]:
    """(S,) variance in µm² of the size of each shape (S, W), as bands disagree. bending: of a block of mean length.

    Bands are taken to be at their corrected depths, though windows are of depths as found: they are that much wider.
    """
    n_stays, holds = len(bands.holds), bands.holds.mean(axis=0)
    squares = _misplaced(bands) * (n_stays / max(n_stays - 1, 1))  # one degree of freedom is the band's place
    shares, leverage = _answers(nodes, bands.depths_um, holds, bending, shapes)
    deciding = 1 - np.minimum(leverage, _MOST_LEVERAGE)  # a band follows its own word, and disagrees with it the less
    variance: NDArray[np.float64] = ((shares / deciding) ** 2 * squares).sum(axis=1)
    return variance


def _answers(
    nodes: Nodes,
    depths_um: NDArray[np.float64],
    holds: NDArray[np.float64],
    bending: float,
    shapes: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """By how much the size of each shape, (S, D), and the motion at its own place, (D,), change if a band is displaced.

    depths_um, holds: (D,) of the bands.
    """
    n_windows = shapes.shape[1]
    place = np.clip((depths_um - nodes.depths_um[0]) / nodes.spacing_um, 0, n_windows - 1)
    before = np.minimum(place.astype(np.int64), max(n_windows - 2, 0))
    share, after = place - before, np.minimum(before + 1, n_windows - 1)
    columns = np.zeros((n_windows, 3))
    columns[:] = min(bending, _STIFFEST * holds.sum()) * squared_bends(n_windows).T
    columns[:, 0] += _RIDGE
    np.add.at(columns[:, 0], before, holds * (1 - share) ** 2)
    np.add.at(columns[:, 0], after, holds * share**2)
    np.add.at(columns[:, 1], before, holds * share * (1 - share))
    banded.factorize(columns)

    def solved_at_bands(windows: NDArray[np.float64]) -> NDArray[np.float64]:
        """(..., D) solutions for right-hand sides (..., W), straight between windows."""
        for row in windows:
            banded.solve(columns, row)
        return windows[:, before] * (1 - share) + windows[:, after] * share

    weights = np.zeros((len(place), n_windows))
    np.add.at(weights, (np.arange(len(place)), before), 1 - share)
    np.add.at(weights, (np.arange(len(place)), after), share)
    at_itself = np.diagonal(solved_at_bands(weights))
    return solved_at_bands(shapes / n_windows) * holds, at_itself * holds
