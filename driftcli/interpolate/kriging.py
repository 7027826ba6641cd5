"""Kriging: the best linear guess of a trace between contacts, if traces covary as exp(-(distance / sigma)^p).

Mirrors the `kriging` method of SpikeInterface 0.105.3 (as in Kilosort 2.5 and pykilosort): covariance between target
and sources times the inverse of the covariance among sources, with a ridge of 1e-6; weights sum to 1 for a target
inside the probe. The reach of the weights follows the inverse, not sigma: hundreds of µm on a dense probe. They are
made sparse at the end: per target the smallest are dropped while the sum of what is dropped stays <= 1e-4.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from driftcli.interpolate import covariance as common
from driftcli.interpolate import weights as shared

_RIDGE = 1e-6


class Parameters(shared.InterpolateParameters):
    """sigma_um: distance at which the covariance has fallen to 1/e.
    p: exponent of the distance in the covariance; above 2 it is none.
    """

    sigma_um: float = Field(20.0, gt=0)
    p: float = Field(1.0, gt=0, le=2)


class Kernel(shared.Kernel[Parameters]):
    """Weights for the contacts of one shank; the inverse is computed once."""

    def __init__(
        self, parameters: Parameters, positions_um: NDArray[np.float64], sources_um: NDArray[np.float64] | None = None
    ) -> None:
        super().__init__(parameters, positions_um, sources_um)
        covariance = self._covariance(self._sources_um) + _RIDGE * np.eye(len(self._sources_um))
        self._inverse = common.invert_positive_definite(covariance)

    def weights(self, displacement_um: NDArray[np.float64]) -> NDArray[np.float64]:
        """(C targets, S sources) float64 weights at contact + displacement; displacement_um: (C,) float64."""
        covariance = self._covariance(shared.moved(self._positions_um, displacement_um))
        inside = shared.inside(self._positions_um, displacement_um, self._sources_um)
        wanted = inside | (self._parameters.border_mode == "force_extrapolate")
        weights = common.predict(covariance, self._inverse, wanted)
        sums = weights.sum(axis=1)
        # a target in a gap wider than the covariance reaches has nothing to be guessed from: it stays zero
        scaled = inside & (sums != 0)
        weights[scaled] /= sums[scaled, None]
        shared.drop_smallest(weights, shared.DROPPED_WEIGHT)
        return weights

    def _covariance(self, targets_um: NDArray[np.float64]) -> NDArray[np.float64]:
        sigma_um, p = self._parameters.sigma_um, self._parameters.p
        with np.errstate(over="ignore"):  # of a tiny p it is endless
            reach_um = sigma_um * np.float64(-np.log(common.NO_COVARIANCE)) ** (1 / p)
        return np.asarray(_covary(targets_um, self._sources_um, sigma_um, p, reach_um))


@numba.njit(nogil=True, cache=True)
def _covary(targets_um, sources_um, sigma_um, p, reach_um):  # type: ignore[no-untyped-def]
    """(targets, sources) covariances; those out of reach along the probe are zero."""
    covariance = np.zeros((len(targets_um), len(sources_um)))
    for target in range(len(targets_um)):
        for source in range(len(sources_um)):
            along = targets_um[target, 1] - sources_um[source, 1]
            if abs(along) <= reach_um:
                distance_um = np.hypot(along, targets_um[target, 0] - sources_um[source, 0])
                covariance[target, source] = np.exp(-((distance_um / sigma_um) ** p))
    return covariance
