"""A Gaussian process: the best linear guess of a trace, if it is footprints of spikes and noise that contacts share.

As kriging, with another covariance. Spikes come from cells that lie some way beside the contacts: their footprints are
flat on top and fall off slowly: spikes covary as exp(-(sqrt(distance^2 + offset^2) - offset) / length). Noise is
rougher: it covaries as exp(-distance / length), with a peak. What a contact has to itself is not handed on.

The smooth part makes spikes keep their shape between contacts. The rough part holds the weights down where there is
little to go by: past the ends of a shank, in runs of bad contacts, and between contacts so close that the smooth part
can't tell them apart. Weights sum to 1, so that offsets stay, unless the contacts tell less than half of a trace.

Both covariances are positive definite on every probe: they are mixtures of Gaussians of the distance.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from driftcli.interpolate import covariance as common
from driftcli.interpolate import weights as shared

_LEAST_SUM = 0.5  # weights that sum to less are a guess from afar, which stays small


class Parameters(shared.InterpolateParameters):
    """spike_length_um: distance over which the footprint of a spike falls to 1/e, far from its cell.
    spike_offset_um: how far beside the contacts cells lie; over that distance footprints are flat, 0 gives them a peak.
    noise_length_um: distance at which the noise that contacts share has fallen to 1/e.
    shared_noise: its share in the variance of spikes and shared noise; the more, the more local the weights.
    own_noise: variance of the noise that a contact has to itself, in shares of the same; the more, the smoother the
        corrected traces, also those that have not moved.
    """

    spike_length_um: float = Field(30.0, gt=0)
    spike_offset_um: float = Field(30.0, ge=0)
    noise_length_um: float = Field(25.0, gt=0)
    shared_noise: float = Field(0.03, ge=0, le=1)
    own_noise: float = Field(1e-4, ge=1e-6)


class Kernel(shared.Kernel[Parameters]):
    """Weights for the contacts of one shank; the inverse is computed once."""

    def __init__(
        self, parameters: Parameters, positions_um: NDArray[np.float64], sources_um: NDArray[np.float64] | None = None
    ) -> None:
        super().__init__(parameters, positions_um, sources_um)
        covariance = self._covariance(self._sources_um) + parameters.own_noise * np.eye(len(self._sources_um))
        self._inverse = common.invert_positive_definite(covariance)

    def weights(self, displacement_um: NDArray[np.float64]) -> NDArray[np.float64]:
        """(C targets, S sources) float64 weights at contact + displacement; displacement_um: (C,) float64."""
        wanted = np.full(len(displacement_um), self._parameters.border_mode == "force_extrapolate")
        wanted |= shared.inside(self._positions_um, displacement_um, self._sources_um)
        weights = self._predicted(displacement_um, wanted)
        shared.drop_smallest(weights, shared.DROPPED_WEIGHT)
        return weights

    def _predicted(self, displacement_um: NDArray[np.float64], wanted: NDArray[np.bool_]) -> NDArray[np.float64]:
        """All weights of the contacts that are wanted, zeros for the others."""
        covariance = self._covariance(shared.moved(self._positions_um, displacement_um))
        weights: NDArray[np.float64] = common.predict(covariance, self._inverse, wanted)
        weights /= np.maximum(weights.sum(axis=1, keepdims=True), _LEAST_SUM)
        return weights

    def _covariance(self, targets_um: NDArray[np.float64]) -> NDArray[np.float64]:
        return covary(self._parameters, targets_um, self._sources_um)


def covary(
    parameters: Parameters, targets_um: NDArray[np.float64], sources_um: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(targets, sources) covariance of what contacts at these places share, 1 at the same place."""
    lengths_um = parameters.spike_length_um, parameters.spike_offset_um, parameters.noise_length_um
    return np.asarray(_covary(targets_um, sources_um, *lengths_um, parameters.shared_noise))


@numba.njit(nogil=True, cache=True)
def _covary(targets_um, sources_um, spike_length_um, spike_offset_um, noise_length_um, shared_noise):  # type: ignore[no-untyped-def]
    """(targets, sources) covariances; 1 at the same place."""
    covariance = np.empty((len(targets_um), len(sources_um)))
    for target in range(len(targets_um)):
        for source in range(len(sources_um)):
            across = targets_um[target, 0] - sources_um[source, 0]
            distance_um = np.hypot(targets_um[target, 1] - sources_um[source, 1], across)
            beyond_um = np.hypot(distance_um, spike_offset_um) - spike_offset_um
            spikes = np.exp(-beyond_um / spike_length_um)
            noise = np.exp(-distance_um / noise_length_um)
            covariance[target, source] = (1 - shared_noise) * spikes + shared_noise * noise
    return covariance
