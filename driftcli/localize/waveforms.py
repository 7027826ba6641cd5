"""What the localization methods share: the span of a waveform around its peak, and one number per contact from it."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from pydantic import Field

from driftcli import model

# the features as numbers, for kernels
FEATURES = {"ptp": 0, "mean": 1, "energy": 2, "peak_voltage": 3}
_PTP, _MEAN, _ENERGY = FEATURES["ptp"], FEATURES["mean"], FEATURES["energy"]


class Parameters(model.Parameters):
    """ms_before: time before the peak at which its waveform starts, in ms.
    ms_after: time after the peak at which its waveform ends, in ms.
    """

    ms_before: float = Field(default=0.1, ge=0)
    ms_after: float = Field(default=0.3, gt=0)


@dataclass(frozen=True)
class Span:
    """A waveform's rows: from row - before to row + after, the end excluded. Both in samples."""

    before: int
    after: int

    @classmethod
    def of(cls, parameters: Parameters, sampling_frequency_hz: float) -> Span:
        """The span of `parameters` in whole samples; it always holds the peak."""
        before, after = (
            model.whole_samples(ms, sampling_frequency_hz) for ms in (parameters.ms_before, parameters.ms_after)
        )
        return cls(before, max(after, 1))

    @property
    def margin_samples(self) -> int:
        """Rows needed on each side of a block of peaks."""
        return max(self.before, self.after)


@numba.njit(nogil=True, cache=True)
def features(traces, rows, channels, before, after, kind, starts, contacts):  # type: ignore[no-untyped-def]
    """The features of the peaks at `rows` and `channels` on the contacts around them: (M,) float64, peak after peak,
    and within a peak in the order of contacts[starts[channel]:starts[channel + 1]].

    To be called from Python: a kernel that called it from another file would go on running the code of the day it
    was compiled, as numba's cache only watches a kernel's own file.
    """
    count = 0
    for channel in channels:
        count += starts[channel + 1] - starts[channel]
    values = np.empty(count)
    n = 0
    for i in range(rows.size):
        for k in range(starts[channels[i]], starts[channels[i] + 1]):
            values[n] = _feature(traces, rows[i], contacts[k], before, after, kind)
            n += 1
    return values


@numba.njit(nogil=True, cache=True)
def _feature(traces, row, contact, before, after, kind):  # type: ignore[no-untyped-def]
    """One number for the waveform of a contact: ptp (maximum - minimum), mean, energy (root of the sum of squares) or
    peak_voltage (the value at the peak, signed). NaN if any sample of it is NaN or infinite."""
    low = high = np.float64(traces[row, contact])
    total = squares = 0.0
    for r in range(row - before, row + after):
        value = np.float64(traces[r, contact])
        total += value
        squares += value * value
        low = min(low, value)
        high = max(high, value)
    if not np.isfinite(total):
        return np.nan
    if kind == _PTP:
        return high - low
    if kind == _MEAN:
        return total / (before + after)
    if kind == _ENERGY:
        return np.sqrt(squares)
    return np.float64(traces[row, contact])
