"""Units: where they are, what their spikes look like, when they fire, and what of it reaches the contacts."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from driftcli.simulate.rates import Clocks

_BEFORE_S, _AFTER_S = 0.6e-3, 1.8e-3  # of a spike's waveform around its trough
_REFRACTORY_S = 2e-3
_BIMODAL = ((0.0, 0.05, 0.475, 0.525, 0.95, 1.0), (0.0, 0.1, 0.35, 0.65, 0.9, 1.0))  # share of units up to one of depth
_REACH = 10.0  # decay lengths, beyond which a spike is not heard


@dataclass(frozen=True)
class Spikes:
    """Spikes in order of (sample, unit): sample_index (N,) int64, unit (N,) int32, scale (N,) of their amplitude."""

    sample_index: NDArray[np.int64]
    unit: NDArray[np.int32]
    scale: NDArray[np.float64]

    def that_reach(self, first: int, last: int, before: int, after: int) -> Spikes:
        """Those with any of the samples from `before` up to `after` around them within [first, last)."""
        low, high = np.searchsorted(self.sample_index, [first - after, last + before])
        return Spikes(self.sample_index[low:high], self.unit[low:high], self.scale[low:high])


@dataclass(frozen=True)
class Units:
    """Units at rest.

    positions_um: (U, 3) float64, x across and y along the probe, z away from it.
    amplitude_uv: (U,) float64, depth of the trough at a contact straight in front of the unit.
    decay_um: (U,) float64, distance within which the amplitude falls to 1/e.
    waveforms: (U, before + after + 1) float32, trough of -1 at sample `before`.
    """

    positions_um: NDArray[np.float64]
    amplitude_uv: NDArray[np.float64]
    decay_um: NDArray[np.float64]
    waveforms: NDArray[np.float32]
    before: int
    after: int

    def add(
        self,
        traces: NDArray[np.float32],
        first: int,
        spikes: Spikes,
        displacement_um: NDArray[np.float64],
        contacts_um: NDArray[np.float64],
    ) -> None:
        """Add spikes to traces (S, C) in uV that begin at sample `first`, each unit moved by `displacement_um` (N,)."""
        starts, centers_um = self._where(first, spikes, displacement_um)
        in_front = np.exp(self.positions_um[:, 2] / self.decay_um)  # amplitude_uv is told for this distance
        peaks_uv = spikes.scale * (self.amplitude_uv * in_front)[spikes.unit]
        _add_spikes(traces, starts, spikes.unit, centers_um, peaks_uv, self.decay_um, self.waveforms, contacts_um)

    def _where(
        self, first: int, spikes: Spikes, displacement_um: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """(N,) rows at which the waveforms of spikes begin, and (N, 3) where their units are then."""
        centers_um = self.positions_um[spikes.unit]
        centers_um[:, 1] += displacement_um
        return spikes.sample_index - self.before - first, centers_um


def draw_units(
    num_units: int,
    depths: str,
    contacts_um: NDArray[np.float64],
    beyond_um: float,
    sampling_frequency_hz: float,
    rng: np.random.Generator,
) -> Units:
    """Units in front of the contacts, up to `beyond_um` below and above them.

    depths: `uniform`, or `bimodal`: the same units moved, in their order, so that 17 of 20 are in two layers.
    """
    low, high = contacts_um.min(axis=0), contacts_um.max(axis=0)
    x_um = rng.uniform(low[0] - 10, high[0] + 10, num_units)
    y_um = rng.uniform(low[1] - beyond_um, high[1] + beyond_um, num_units)
    if depths == "bimodal":
        reach_um = high[1] - low[1] + 2 * beyond_um
        y_um = low[1] - beyond_um + reach_um * np.interp((y_um - low[1] + beyond_um) / reach_um, *_BIMODAL)
    z_um = rng.uniform(10, 30, num_units)
    amplitude_uv = np.clip(rng.lognormal(np.log(120), 0.45, num_units), 50, 400)
    decay_um = rng.uniform(25, 40, num_units)
    before, after = round(_BEFORE_S * sampling_frequency_hz), round(_AFTER_S * sampling_frequency_hz)
    time_ms = 1000 * np.arange(-before, after + 1) / sampling_frequency_hz
    waveforms = _waveforms(time_ms, num_units, rng)
    return Units(np.column_stack([x_um, y_um, z_um]), amplitude_uv, decay_um, waveforms, before, after)


def _waveforms(time_ms: NDArray[np.float64], num_units: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """A trough and a later, wider and lower peak, other widths for each unit."""

    def hump(center_ms: NDArray[np.float64], width_ms: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.exp(-0.5 * ((time_ms - center_ms[:, None]) / width_ms[:, None]) ** 2)

    trough = hump(np.zeros(num_units), rng.uniform(0.07, 0.11, num_units))
    peak = hump(rng.uniform(0.4, 0.65, num_units), rng.uniform(0.13, 0.22, num_units))
    waveforms = rng.uniform(0.15, 0.35, num_units)[:, None] * peak - trough
    return (waveforms / -waveforms.min(axis=1, keepdims=True)).astype(np.float32)


def draw_spikes(
    num_units: int,
    firing_rate_hz: float,
    num_samples: int,
    sampling_frequency_hz: float,
    rng: np.random.Generator,
    clocks: Clocks | None = None,
) -> Spikes:
    """Spikes of units that fire at random, never twice within 2 ms; evenly over time, or by clocks of their own."""
    trains = []
    for index, rate_hz in enumerate(firing_rate_hz * rng.uniform(0.5, 1.5, num_units)):
        times_s = _train(rate_hz, num_samples / sampling_frequency_hz, rng)
        if clocks is not None:
            times_s = clocks.true_s(index, times_s)
            times_s = times_s[np.diff(times_s, prepend=-np.inf) >= _REFRACTORY_S]
        trains.append(np.minimum((times_s * sampling_frequency_hz).astype(np.int64), num_samples - 1))
    sample_index = np.concatenate([np.empty(0, np.int64), *trains])
    unit = np.repeat(np.arange(num_units, dtype=np.int32), [len(train) for train in trains])
    order = np.lexsort((unit, sample_index))
    return Spikes(sample_index[order], unit[order], rng.normal(1.0, 0.05, len(order)))


def _train(rate_hz: float, duration_s: float, rng: np.random.Generator) -> NDArray[np.float64]:
    expected = rate_hz * duration_s
    enough = int(expected + 10 * np.sqrt(expected)) + 10  # ten standard deviations above what is expected
    times_s = np.cumsum(_REFRACTORY_S + rng.exponential(1 / rate_hz - _REFRACTORY_S, enough))
    return times_s[times_s < duration_s]


@numba.njit(nogil=True, cache=True)
def _add_spikes(traces, starts, unit, centers_um, peaks_uv, decay_um, waveforms, contacts_um):  # type: ignore[no-untyped-def]
    """Add each spike's waveform, from row `starts` on, as large on each contact as its distance lets it be."""
    samples, channels = traces.shape
    footprint = np.empty(channels, np.float32)
    for n in range(len(starts)):
        decay = decay_um[unit[n]]
        for c in range(channels):
            dx = centers_um[n, 0] - contacts_um[c, 0]
            dy = centers_um[n, 1] - contacts_um[c, 1]
            distance = np.sqrt(dx * dx + dy * dy + centers_um[n, 2] ** 2)
            footprint[c] = peaks_uv[n] * np.exp(-distance / decay) if distance < _REACH * decay else 0.0
        waveform = waveforms[unit[n]]
        for i in range(max(0, -starts[n]), min(len(waveform), samples - starts[n])):
            row = traces[starts[n] + i]
            for c in range(channels):
                row[c] += waveform[i] * footprint[c]
