"""Common reference: takes off each sample's median (or average) over all contacts.

Mirrors the global reference of SpikeInterface 0.105.3 (`common_reference`): one value for the contacts of all shanks.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from driftcli import model
from driftcli.preprocess.median import subtract_row_medians


class Parameters(model.Parameters):
    """Parameters of the common reference.

    operator: what is taken off each sample, the median of its contacts or their average.
    """

    operator: Literal["median", "average"] = "median"


class Step:
    """Common reference of blocks of traces; needs no margin. A NaN makes its whole sample NaN, as in numpy."""

    margin_samples = 0

    def __init__(self, parameters: Parameters, geometry: model.Geometry, sampling_frequency_hz: float) -> None:
        self._subtract = subtract_row_medians if parameters.operator == "median" else _subtract_average

    def __call__(self, traces: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take the reference off traces (S, C) in place and return them."""
        if traces.size:
            self._subtract(traces)
        return traces


def _subtract_average(traces: NDArray[np.float32]) -> None:
    traces -= traces.mean(axis=1, dtype=np.float64, keepdims=True).astype(np.float32)
