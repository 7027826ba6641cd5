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
        """The span of `parameters` in whole samples, to the nearest; it always holds the peak."""
        before = round(parameters.ms_before * sampling_frequency_hz / 1000.0)
        after = round(parameters.ms_after * sampling_frequency_hz / 1000.0)
        return cls(before, max(after, 1))

    @property
    def margin_samples(self) -> int:
        """Rows needed on each side of a block of peaks."""
        return max(self.before, self.after)


@numba.njit(nogil=True, cache=True)
def feature(traces, row, contact, before, after, kind):  # type: ignore[no-untyped-def]
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
