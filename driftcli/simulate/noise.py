"""Noise of each contact, noise that neighbours or all contacts share, and slow potentials with an offset."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

_OWN, _LOCAL, _COMMON = np.sqrt([0.8, 0.15, 0.05])  # shares of the noise's variance
_SPACING_UM, _WIDTH_UM = 80.0, 60.0  # of the sources that neighbours share
_RHYTHMS = 4
_RHYTHM_HZ = (1.0, 15.0)


class Noise:
    """What is in the traces beside spikes.

    Every trace is its own noise plus a sum of a few sources: local ones, one that all contacts share, and the sines
    and cosines of slow rhythms, whose phase changes along the probe.
    """

    def __init__(
        self, contacts_um: NDArray[np.float64], noise_uv: float, slow_uv: float, rng: np.random.Generator
    ) -> None:
        channels = len(contacts_um)
        local = _local_profiles(contacts_um[:, 1])
        self._own_uv = np.float32(_OWN * noise_uv)
        self._rhythms_hz = np.geomspace(*_RHYTHM_HZ, _RHYTHMS) * rng.uniform(0.8, 1.2, _RHYTHMS)
        phase = rng.uniform(0, 2 * np.pi, (_RHYTHMS, 1)) + rng.uniform(-2e-3, 2e-3, (_RHYTHMS, 1)) * contacts_um[:, 1]
        slow = slow_uv / np.sqrt(_RHYTHMS)
        profiles = [
            _LOCAL * noise_uv * local,
            np.full((1, channels), _COMMON * noise_uv),
            slow * np.sin(phase),
            slow * np.cos(phase),
        ]
        self._num_noises = len(local) + 1
        self._profiles = np.concatenate(profiles).astype(np.float32)
        self._offset_uv = (slow_uv * rng.standard_normal(channels)).astype(np.float32)

    def __call__(self, time_s: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float32]:
        """Traces (S, C) in uV at these times."""
        samples, channels = len(time_s), len(self._offset_uv)
        traces = rng.standard_normal((samples, channels), np.float32)
        angle = 2 * np.pi * time_s[:, None] * self._rhythms_hz
        sources = np.concatenate(
            [rng.standard_normal((samples, self._num_noises), np.float32), np.cos(angle), np.sin(angle)],
            axis=1,
            dtype=np.float32,
        )
        _mix(traces, self._own_uv, sources, self._profiles, self._offset_uv)
        return traces


def _local_profiles(depths_um: NDArray[np.float64]) -> NDArray[np.float64]:
    """(K, C): how much of K local sources, spread along the probe, each contact gets; squares add up to 1."""
    count = int(np.ptp(depths_um) // _SPACING_UM) + 2
    centers_um = depths_um.min() + _SPACING_UM * (np.arange(count) - 0.5)
    profiles = np.exp(-0.5 * ((depths_um - centers_um[:, None]) / _WIDTH_UM) ** 2)
    return profiles / np.sqrt((profiles**2).sum(axis=0))


@numba.njit(nogil=True, cache=True)
def _mix(traces, own_uv, sources, profiles, offset_uv):  # type: ignore[no-untyped-def]
    """Scale traces and add sources and offset in place; sums of a fixed order, unlike those of a matrix library."""
    samples, channels = traces.shape
    for t in range(samples):
        row = traces[t]
        for c in range(channels):
            row[c] = row[c] * own_uv + offset_uv[c]
        for k in range(len(profiles)):
            source = sources[t, k]
            profile = profiles[k]
            for c in range(channels):
                row[c] += source * profile[c]
