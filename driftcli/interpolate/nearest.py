"""The trace of the nearest contact.

Mirrors the `nearest` method of SpikeInterface 0.105.3. Of contacts at the same distance the lowest is taken.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from driftcli.interpolate import weights as shared


class Parameters(shared.InterpolateParameters):
    """No parameters of its own."""


class Kernel(shared.Kernel[Parameters]):
    """Weights for the contacts of one shank: a single 1 per target."""

    def weights(self, displacement_um: NDArray[np.float64]) -> NDArray[np.float64]:
        """(C targets, S sources) float64 weights at contact + displacement; displacement_um: (C,) float64."""
        distances = shared.distances_um(shared.moved(self._positions_um, displacement_um), self._sources_um)
        weights = np.zeros(distances.shape)
        weights[np.arange(len(weights)), distances.argmin(axis=1)] = 1.0
        if self._parameters.border_mode != "force_extrapolate":
            weights[~shared.inside(self._positions_um, displacement_um, self._sources_um)] = 0.0
        return weights
