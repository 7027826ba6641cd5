"""Common reference: takes off each sample's median (or average) over all good contacts.

Mirrors the global reference of SpikeInterface 0.105.3 (`common_reference`): one value for the contacts of all shanks.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from driftcli import model
from driftcli.preprocess.median import subtract_row_medians, subtract_row_medians_of


class Parameters(model.Parameters):
    """Parameters of the common reference.

    operator: what is taken off each sample, the median of its contacts or their average.
    """

    operator: Literal["median", "average"] = "median"


class Step:
    """Common reference of blocks of traces; needs no margin. A NaN makes its whole sample NaN, as in numpy."""

    margin_samples = 0

    def __init__(
        self,
        parameters: Parameters,
        geometry: model.Geometry,
        sampling_frequency_hz: float,
        used: NDArray[np.bool_] | None = None,
    ) -> None:
        """used: (C,) which contacts the reference is taken from, None: all. It is taken off all of them."""
        self._median = parameters.operator == "median"
        self._used = None if used is None or used.all() else used
        self._runs = None if self._used is None else _runs(self._used)

    def __call__(self, traces: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take the reference off traces (S, C) in place and return them."""
        if not traces.size:
            return traces
        if not self._median:
            used = traces if self._used is None else traces[:, self._used]
            traces -= used.mean(axis=1, dtype=np.float64, keepdims=True).astype(np.float32)
        elif self._runs is None:
            subtract_row_medians(traces)
        else:
            subtract_row_medians_of(traces, self._runs)
        return traces


def _runs(used: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(K, 2) where the contacts that are used begin and end."""
    edges = np.flatnonzero(np.diff(used.astype(np.int8), prepend=0, append=0))
    return edges.reshape(-1, 2).astype(np.int64)
