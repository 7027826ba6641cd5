"""Units with a soma and an apical dendrite, for spikes that a point source with one waveform is no model of.

A spike begins at the soma and travels up the dendrite. The current that enters a compartment leaves at the next one, at
the same moment, so that the currents of a cell add up to zero and the field reverses along the dendrite; that of each
compartment is 1 / distance (point sources in a homogeneous medium: Holt and Koch 1999, Journal of Computational
Neuroscience 6, 169-184; such spikes: Gold et al. 2006, Journal of Neurophysiology 95, 3113-3128).
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import shift

from driftcli.simulate.units import Spikes, Units

_COMPARTMENTS = 5  # the soma is the first
_SPACING_UM = 30.0  # between two of them
_TILT = 0.5  # standard deviation of a dendrite's slope away from the axis of the probe
_SPEED_UM_PER_S = (0.3e6, 0.6e6)  # at which a spike travels up the dendrite
_REACH_UM = (40.0, 100.0)  # within which it falls to 1/e
_RADIUS_UM = 10.0  # of a compartment, which has no field at its centre that is without bounds


@dataclass(frozen=True)
class Dipoles(Units):
    """Units whose current enters and leaves at several places.

    sources_um: (U, K, 3) float64, compartments as seen from the unit's position, the soma first.
    currents: (U, K, before + after + 1) float32; over K they add up to zero.
    """

    sources_um: NDArray[np.float64]
    currents: NDArray[np.float32]

    def add(
        self,
        traces: NDArray[np.float32],
        first: int,
        spikes: Spikes,
        displacement_um: NDArray[np.float64],
        contacts_um: NDArray[np.float64],
    ) -> None:
        """As that of `Units`, with the field of every compartment."""
        starts, centers_um = self._where(first, spikes, displacement_um)
        peaks_uv = spikes.scale * self.amplitude_uv[spikes.unit]
        _add_dipoles(
            traces, starts, spikes.unit, centers_um, peaks_uv, self.sources_um, self.currents, contacts_um, _RADIUS_UM
        )


def with_dendrites(units: Units, sampling_frequency_hz: float, rng: np.random.Generator) -> Dipoles:
    """Units with the same somata and amplitudes straight in front of them, whose waveforms are the currents there."""
    count = len(units.amplitude_uv)
    towards = np.column_stack(
        [
            rng.normal(0, _TILT, count),
            np.ones(count),
            np.abs(rng.normal(0, _TILT, count)),
        ]  # up, never through the probe
    )
    towards /= np.sqrt((towards**2).sum(axis=1, keepdims=True))
    along_um = _SPACING_UM * np.arange(_COMPARTMENTS)
    sources_um = along_um[:, None] * towards[:, None, :]
    delays_s = along_um / rng.uniform(*_SPEED_UM_PER_S, count)[:, None]
    entering = np.exp(-along_um / rng.uniform(*_REACH_UM, count)[:, None])
    entering[:, -1] = 0.0  # the last one only lets out what entered the one before
    currents = entering[..., None] * _delayed(units.waveforms, delays_s * sampling_frequency_hz)
    currents[:, 1:] -= currents[:, :-1].copy()
    in_front_um = sources_um + np.array([0.0, 0.0, 1.0]) * units.positions_um[:, None, 2:]
    field = (currents / _distance_um(in_front_um)[..., None]).sum(axis=1)
    currents /= -field.min(axis=1, initial=-1e-9)[:, None, None]
    return Dipoles(**vars(units), sources_um=sources_um, currents=currents.astype(np.float32))


def _delayed(waveforms: NDArray[np.float32], delays: NDArray[np.float64]) -> NDArray[np.float64]:
    """(U, K, S): waveforms (U, S) later by delays (U, K) in samples, by cubic splines, and 0 before they begin."""
    later = np.zeros((*delays.shape, waveforms.shape[1]))
    for unit, compartment in np.ndindex(delays.shape):
        shift(waveforms[unit].astype(float), delays[unit, compartment], later[unit, compartment])
    return later


def _distance_um(offset_um: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.sqrt((offset_um**2).sum(axis=-1) + _RADIUS_UM**2))


@numba.njit(nogil=True, cache=True)
def _add_dipoles(traces, starts, unit, centers_um, peaks_uv, sources_um, currents, contacts_um, radius_um):  # type: ignore[no-untyped-def]
    """Add each spike from row `starts` on: of each compartment its current over its distance."""
    samples, channels = traces.shape
    footprint = np.empty(channels, np.float32)
    for n in range(len(starts)):
        for k in range(sources_um.shape[1]):
            current = currents[unit[n], k]
            for c in range(channels):
                dx = centers_um[n, 0] + sources_um[unit[n], k, 0] - contacts_um[c, 0]
                dy = centers_um[n, 1] + sources_um[unit[n], k, 1] - contacts_um[c, 1]
                dz = centers_um[n, 2] + sources_um[unit[n], k, 2]
                footprint[c] = peaks_uv[n] / np.sqrt(dx * dx + dy * dy + dz * dz + radius_um * radius_um)
            for i in range(max(0, -starts[n]), min(len(current), samples - starts[n])):
                row = traces[starts[n] + i]
                for c in range(channels):
                    row[c] += current[i] * footprint[c]
