"""Noise level of each channel, by the median absolute deviation (MAD) of slices spread over the whole recording.

As in SpikeInterface 0.105.3 (`get_noise_levels`, `method="mad"`) the level is the average over slices of a slice's
level. There the slices are drawn at random; here they follow from the length of the recording alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from driftcli.errors import InputError
from driftcli.preprocess.median import row_medians

_SLICES = 20
_SLICE_S = 0.5
_MAD_OF_NORMAL = 0.6744897501960817  # of a normal distribution with standard deviation 1


def noise_slices(num_samples: int, sampling_frequency_hz: float) -> list[tuple[int, int]]:
    """Slices (start, stop) in samples, each in the middle of its share of the recording; they never overlap.

    20 slices of 0.5 s; of short recordings as many as fit; the whole of those under 0.5 s. Raises InputError if there
    are no samples.
    """
    if num_samples < 1:
        raise InputError("the recording holds no samples", "check that the file was copied whole")
    length = min(max(round(_SLICE_S * sampling_frequency_hz), 1), num_samples)
    count = min(_SLICES, num_samples // length)
    starts = [(2 * i + 1) * num_samples // (2 * count) - length // 2 for i in range(count)]
    return [(start, start + length) for start in starts]


def mad_noise_level(traces: NDArray[np.float32]) -> NDArray[np.float64]:
    """Noise level of each channel of traces (S, C): the MAD, scaled to the standard deviation of normal noise."""
    deviations = np.array(traces.T, np.float32, order="C")
    deviations -= row_medians(deviations)[:, None]
    np.abs(deviations, out=deviations)
    return row_medians(deviations).astype(np.float64) / _MAD_OF_NORMAL


def median_level(traces: NDArray[np.float32]) -> NDArray[np.float64]:
    """Median of each channel of traces (S, C): its offset."""
    return row_medians(np.ascontiguousarray(traces.T, np.float32)).astype(np.float64)
