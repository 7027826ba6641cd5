"""Inverse distance weighting: the mean of the closest contacts, each weighted by 1 / distance.

Mirrors the `idw` method of SpikeInterface 0.105.3, with two differences. Of contacts at the same distance the lower
one counts as closer (there: whichever the sort leaves first). Weights sum to 1 outside the probe too (there they are
bare 1 / distance in 1/µm, so that a contact a tenth of a µm outside comes out ten times as large).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from driftcli.interpolate import weights as shared


class Parameters(shared.InterpolateParameters):
    """num_closest: how many contacts are averaged; all of them, if the shank has fewer."""

    num_closest: int = Field(3, ge=1)


class Kernel(shared.Kernel[Parameters]):
    """Weights for the contacts of one shank."""

    def weights(self, displacement_um: NDArray[np.float64]) -> NDArray[np.float64]:
        """(C targets, S sources) float64 weights at contact + displacement; displacement_um: (C,) float64."""
        distances = shared.distances_um(shared.moved(self._positions_um, displacement_um), self._sources_um)
        closest = np.argsort(distances, axis=1, kind="stable")[:, : self._parameters.num_closest]
        near = np.take_along_axis(distances, closest, axis=1)
        # relative to the closest: finite however close it is, and a contact at distance 0 takes all the weight
        share = near[:, :1] / np.where(near > 0, near, 1.0)
        share[near[:, 0] == 0, 0] = 1.0
        weights = np.zeros(distances.shape)
        np.put_along_axis(weights, closest, share / share.sum(axis=1, keepdims=True), axis=1)
        if self._parameters.border_mode != "force_extrapolate":
            weights[~shared.inside(self._positions_um, displacement_um, self._sources_um)] = 0.0
        return weights
