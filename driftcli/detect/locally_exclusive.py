"""Peaks that no larger peak stands near, in time and on the probe.

A candidate is an extremum in time that reaches the threshold. It is kept unless another candidate, at most
`exclude_sweep_ms` away and on a contact within `radius_um`, is larger. Larger means a greater |amplitude| / threshold;
if equal, the earlier sample; if that is equal too, the lower channel. Candidates are compared with candidates and not
with the peaks that are kept, so a decision depends only on traces within the margin and never on where a block ends.

Mirrors `locally_exclusive` of SpikeInterface 0.105.3 (there, two equal candidates at one sample are both kept).
Channels whose noise level is 0 or not finite have no peaks, nor has a NaN.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from driftcli import model
from driftcli.detect import extrema


class Parameters(extrema.Parameters):
    """radius_um: distance between contacts, on one shank, within which a larger peak excludes a smaller one."""

    radius_um: float = Field(default=50.0, ge=0)


class Detector:
    """Detects the locally exclusive peaks of blocks of traces. margin_samples: rows needed on each side of a block."""

    def __init__(
        self,
        parameters: Parameters,
        geometry: model.Geometry,
        sampling_frequency_hz: float,
        noise_levels: NDArray[np.float64],
    ) -> None:
        self._sweep = parameters.sweep_samples(sampling_frequency_hz)
        self._height = extrema.heights(noise_levels, geometry, parameters.detect_threshold)
        self._low, self._high = extrema.limits(self._height, parameters.peak_sign, inclusive=True)
        self._starts, self._contacts = geometry.neighbours(parameters.radius_um)
        self.margin_samples = self._sweep + 1

    def __call__(
        self, traces: NDArray[np.float32], first: int, last: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
        """Peaks of `traces` (samples, channels) with first <= row < last.

        Returns their row, channel and amplitude (the signed value of the trace), in order of (row, channel).
        """
        rows, channels = extrema.find(traces, first - self._sweep, last + self._sweep, self._low, self._high)
        amplitudes = traces[rows, channels]
        size = np.abs(amplitudes) / self._height[channels]
        keep = _is_largest(rows, channels, size, self._sweep, self._starts, self._contacts)
        keep &= (rows >= first) & (rows < last)
        return rows[keep], channels[keep], amplitudes[keep]


@numba.njit(nogil=True, cache=True)
def _is_largest(rows, channels, size, sweep, starts, contacts):  # type: ignore[no-untyped-def]
    """Whether no candidate within `sweep` rows on a neighbouring channel is larger. Candidates are ordered by row.

    The candidates of each channel are kept as a list in order of time. As candidates come in order of time too, the
    start of the window in each list only moves forward: no candidate is passed over more than once a list.
    """
    n_channels = starts.size - 1
    begin, by_channel = _lists_by_channel(channels, n_channels)
    window = begin[:-1].copy()
    keep = np.ones(rows.size, np.bool_)
    for i in range(rows.size):
        for k in range(starts[channels[i]], starts[channels[i] + 1]):
            other = contacts[k]
            while window[other] < begin[other + 1] and rows[by_channel[window[other]]] < rows[i] - sweep:
                window[other] += 1
            for position in range(window[other], begin[other + 1]):
                j = by_channel[position]
                if rows[j] > rows[i] + sweep:
                    break
                # j < i is the order of ties: by sample, then by channel
                if size[j] > size[i] or (size[j] == size[i] and j < i):
                    keep[i] = False
                    break
            if not keep[i]:
                break
    return keep


@numba.njit(nogil=True, cache=True)
def _lists_by_channel(channels, n_channels):  # type: ignore[no-untyped-def]
    """Indices of the candidates of each channel c: `order[begin[c]:begin[c + 1]]`, ascending."""
    begin = np.zeros(n_channels + 1, np.int64)
    for channel in channels:
        begin[channel + 1] += 1
    begin = np.cumsum(begin)
    filled = begin.copy()
    order = np.empty(channels.size, np.int64)
    for i in range(channels.size):
        order[filled[channels[i]]] = i
        filled[channels[i]] += 1
    return begin, order
