"""What the interpolation methods share: parameters, the border, and weights that are sparse.

A method's weights are a matrix (targets, sources): the corrected trace of contact t is the sum over s of
`weights[t, s]` times the trace of contact s. Border modes have the names and meanings of SpikeInterface 0.105.3.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, Literal, TypeVar

import numba
import numpy as np
from numpy.typing import NDArray

from driftcli import model

BorderMode = Literal["remove_channels", "force_extrapolate", "force_zeros"]
BadChannels = Literal["interpolate", "keep", "zero"]

DROPPED_WEIGHT = 1e-4  # the largest sum of |weight| that may be left out of one corrected trace


class InterpolateParameters(model.Parameters):
    """Parameters of every interpolation method.

    border_mode: what becomes of a contact that the motion takes past the first or last contact of its shank.
        `remove_channels` leaves it out of the whole output, `force_zeros` gives zeros while it is outside,
        `force_extrapolate` lets the method extrapolate: no contact is lost unless the user says so.
    bad_channels: what becomes of contacts that are no sources as something is wrong with them. `interpolate` gives them
        traces from the good ones, but zeros to those out of the brain, which have nothing to be interpolated from;
        `keep` leaves their traces as they are, `zero` gives zeros to all of them.
    time: how the motion is looked up between temporal bins: that of the nearest bin, or linear.
    """

    border_mode: BorderMode = "force_extrapolate"
    bad_channels: BadChannels = "interpolate"
    time: model.TimeLookup = "nearest_bin"


Chosen = TypeVar("Chosen", bound=InterpolateParameters)


class Kernel(ABC, Generic[Chosen]):
    """Weights of one method on one shank; a method's kernel inherits it."""

    def __init__(
        self, parameters: Chosen, positions_um: NDArray[np.float64], sources_um: NDArray[np.float64] | None = None
    ) -> None:
        """positions_um: (C, 2) float64, the contacts of one shank.
        sources_um: (S, 2) float64, those whose traces may be used, S > 0; None: all of them."""
        self._parameters = parameters
        self._positions_um = positions_um
        self._sources_um = positions_um if sources_um is None else sources_um

    @abstractmethod
    def weights(self, displacement_um: NDArray[np.float64]) -> NDArray[np.float64]:
        """(C, S) float64 weights (targets, sources) for the displacement (C,) of each contact."""


def moved(positions_um: NDArray[np.float64], displacement_um: NDArray[np.float64]) -> NDArray[np.float64]:
    """(C, 2) positions at which the corrected traces are interpolated."""
    return positions_um + np.column_stack([np.zeros_like(displacement_um), displacement_um])


def distances_um(targets_um: NDArray[np.float64], sources_um: NDArray[np.float64]) -> NDArray[np.float64]:
    """(targets, sources) Euclidean distances."""
    across = targets_um[:, None, 0] - sources_um[None, :, 0]
    along = targets_um[:, None, 1] - sources_um[None, :, 1]
    return np.sqrt(across * across + along * along)


def inside(
    positions_um: NDArray[np.float64], displacement_um: NDArray[np.float64], sources_um: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Which contacts of a shank stay between the first and last depth of its sources, both included.

    displacement_um: (C,) or (T, C); x never changes, so it cannot leave.
    """
    depths = sources_um[:, 1]
    target = positions_um[:, 1] + displacement_um
    return (target >= depths.min()) & (target <= depths.max())


@numba.njit(nogil=True, cache=True)
def drop_smallest(weights, limit):  # type: ignore[no-untyped-def]
    """Set to zero, in place and per row, the smallest weights while the sum of their absolute values is <= limit.

    Of equal weights, the one of the lower source goes first.
    """
    num_sources = weights.shape[1]
    magnitude = np.empty(num_sources)
    candidates = np.empty(num_sources, np.int64)
    for row in range(weights.shape[0]):
        total = 0.0
        count = 0
        for source in range(num_sources):
            size = abs(weights[row, source])
            if size * num_sources <= limit:  # all of these together stay below the limit: no need to sort them
                total += size
                weights[row, source] = 0.0
            elif size <= limit:
                magnitude[count] = size
                candidates[count] = source
                count += 1
        for index in np.argsort(magnitude[:count], kind="mergesort"):
            total += magnitude[index]
            if total > limit:
                break
            weights[row, candidates[index]] = 0.0
