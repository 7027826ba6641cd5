"""Peaks of each channel by itself.

A sample is a peak if it is beyond the threshold (not only on it), beyond every sample of its channel in the
`exclude_sweep_ms` before it, and not behind any in the `exclude_sweep_ms` after it: of equal samples the earlier one
is the peak. With peak_sign "both", minima are compared as minima and maxima as maxima, so that one of each may stand
close together.

Mirrors `by_channel` of SpikeInterface 0.105.3. Channels whose noise level is 0 or not finite have no peaks; nor is
there a peak at, or within `exclude_sweep_ms` of, a NaN.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from driftcli import model
from driftcli.detect import extrema


class Parameters(extrema.Parameters):
    """Nothing but the shared parameters."""


class Detector:
    """Detects the peaks of each channel in blocks of traces. margin_samples: rows needed on each side of a block."""

    def __init__(
        self,
        parameters: Parameters,
        geometry: model.Geometry,
        sampling_frequency_hz: float,
        noise_levels: NDArray[np.float64],
    ) -> None:
        # one sample is the least that tells a peak from a slope
        self._sweep = max(parameters.sweep_samples(sampling_frequency_hz), 1)
        height = extrema.heights(noise_levels, geometry, parameters.detect_threshold)
        self._low, self._high = extrema.limits(height, parameters.peak_sign, inclusive=False)
        self.margin_samples = self._sweep

    def __call__(
        self, traces: NDArray[np.float32], first: int, last: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
        """Peaks of `traces` (samples, channels) with first <= row < last.

        Returns their row, channel and amplitude (the signed value of the trace), in order of (row, channel).
        """
        rows, channels = extrema.find(traces, first, last, self._low, self._high)
        keep = _stands_out(traces, rows, channels, self._sweep)
        rows, channels = rows[keep], channels[keep]
        return rows, channels, traces[rows, channels]


@numba.njit(nogil=True, cache=True)
def _stands_out(traces, rows, channels, sweep):  # type: ignore[no-untyped-def]
    """Whether each extremum (its sign is its value's) is beyond all samples of its channel within `sweep` rows."""
    keep = np.ones(rows.size, np.bool_)
    for i in range(rows.size):
        row, channel = rows[i], channels[i]
        sign = np.sign(traces[row, channel])
        value = sign * traces[row, channel]
        for k in range(1, sweep + 1):
            # written so that NaN is no peak's neighbour
            if not (value > sign * traces[row - k, channel] and value >= sign * traces[row + k, channel]):
                keep[i] = False
                break
    return keep
