"""Mean of the positions of the contacts near a peak, weighted by one feature of their waveforms.

Mirrors `center_of_mass` of SpikeInterface 0.105.3. Where the weighted mean does not exist (the weights add up to 0,
or a waveform holds NaN or infinity), the location is that of the peak's contact.
"""

from __future__ import annotations

from typing import Literal

import numba
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from driftcli import model
from driftcli.localize import waveforms


class Parameters(waveforms.Parameters):
    """radius_um: contacts within this distance of the peak's contact, on its shank, take part.
    feature: weight of a contact: peak-to-peak, mean, energy (L2 norm), or voltage at the peak.
    """

    radius_um: float = Field(default=75.0, ge=0)
    feature: Literal["ptp", "mean", "energy", "peak_voltage"] = "ptp"


class Localizer:
    """Localizes peaks in blocks of traces. margin_samples: rows needed on each side of the peaks."""

    columns = ("x_um", "y_um")

    def __init__(self, parameters: Parameters, geometry: model.Geometry, sampling_frequency_hz: float) -> None:
        self._span = waveforms.Span.of(parameters, sampling_frequency_hz)
        self._feature = waveforms.FEATURES[parameters.feature]
        self._positions = geometry.positions_um
        self._starts, self._contacts = geometry.neighbours(parameters.radius_um)
        self.margin_samples = self._span.margin_samples

    def __call__(
        self, traces: NDArray[np.float32], rows: NDArray[np.int64], channels: NDArray[np.int32]
    ) -> NDArray[np.float32]:
        """(N, 2) x and y in µm of the peaks at `rows` and `channels` of `traces` (samples, channels)."""
        span, near = self._span, (self._starts, self._contacts)
        weights = waveforms.features(traces, rows, channels, span.before, span.after, self._feature, *near)
        return _centers(weights, channels, *near, self._positions)


@numba.njit(nogil=True, cache=True)
def _centers(weights, channels, starts, contacts, positions):  # type: ignore[no-untyped-def]
    located = np.empty((channels.size, 2), np.float32)
    n = 0
    for i in range(channels.size):
        total = x = y = 0.0
        for k in range(starts[channels[i]], starts[channels[i] + 1]):
            contact, weight = contacts[k], weights[n]
            n += 1
            total += weight
            x += weight * positions[contact, 0]
            y += weight * positions[contact, 1]
        if total == 0 or not np.isfinite(total):
            x, y, total = positions[channels[i], 0], positions[channels[i], 1], 1.0
        located[i, 0], located[i, 1] = x / total, y / total
    return located
