"""How much of a motion the units agree on, and the motion without the rest.

Where a unit's peaks are found depends on where it is between the contacts: it is misplaced by a micrometer or so, by
the same at every visit. So all its peaks together are one witness, and what they are worth shows in how far bands of
depths disagree for long about the motion (a covariance robust to clusters: Liang and Zeger, "Longitudinal data analysis
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
_RIDGE, _LEAST = 1e-6, 1e-12


def shrunk(
    displacement_um: NDArray[np.float64], nodes: Nodes, bands: Bands, bending: float, shrinkage: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A displacement (T, W) without what is no more than its error; variance (W,) of that error, in µm².

    bands: at this displacement. bending: of the prior, for a bin, see `penalized.Prior`. shrinkage: how often the
    error's variance is taken from that of a shape. With a single block nobody knows what lasts, so the displacement is
    the same and the variance 0.
    """
    shapes = _shapes(displacement_um.shape[1])
    error = _error(nodes, bands, bending * nodes.n_bins / len(bands.pushes), shapes)
    sizes = np.einsum("tw,sw->ts", displacement_um, shapes) / shapes.shape[1]
    varying = sizes - sizes.mean(axis=0)
    excess = np.minimum(shrinkage * error / np.maximum((varying**2).mean(axis=0), _LEAST), 1.0)
    return displacement_um - np.einsum("ts,sw->tw", varying * excess, shapes), (error[:, None] * shapes**2).sum(axis=0)


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
    """(S,) variance of the size of each shape in a block, as bands disagree. bending: for a block."""
    n_blocks = len(bands.pushes)
    holds = bands.holds.mean(axis=0)
    # where a band is found at all times is its place
    lasting = bands.pushes.sum(axis=0) / np.maximum(bands.holds.sum(axis=0), _LEAST)
    pushes = bands.pushes - bands.holds * lasting
    place = np.clip((bands.depths_um - nodes.depths_um[0]) / nodes.spacing_um, 0, shapes.shape[1] - 1)
    answers = _answers(place, holds, bending, shapes)
    squares = (pushes**2).sum(axis=0) / max(n_blocks - 1, 1)
    variance: NDArray[np.float64] = (squares * answers**2).sum(axis=1)
    return variance


def _answers(
    place: NDArray[np.float64], holds: NDArray[np.float64], bending: float, shapes: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(S, D) by how much the size of each shape changes if a band, at `place` in windows, pushes by 1/µm."""
    n_windows = shapes.shape[1]
    before = np.minimum(place.astype(int), max(n_windows - 2, 0))
    share, after = place - before, np.minimum(before + 1, n_windows - 1)
    columns = np.zeros((n_windows, 3))
    columns[:, :] = bending * squared_bends(n_windows).T
    columns[:, 0] += _RIDGE
    np.add.at(columns[:, 0], before, holds * (1 - share) ** 2)
    np.add.at(columns[:, 0], after, holds * share**2)
    np.add.at(columns[:, 1], before, holds * share * (1 - share))
    banded.factorize(columns)
    answers = shapes / n_windows
    for answer in answers:
        banded.solve(columns, answer)
    return answers[:, before] * (1 - share) + answers[:, after] * share
