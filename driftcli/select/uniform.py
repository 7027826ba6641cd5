"""A number of peaks spread evenly over time and channels.

Peaks fall into cells, one for each channel in each of `n_time_bins` equal parts of the time from the first peak to
the last. Cells are drawn from in turn, one peak each, at random within the cell, until there are enough: cells with
few peaks give all of theirs, the others equal numbers.

The names are those of `uniform` in SpikeInterface 0.105.3, which draws at random from all peaks, so that busy times
and channels get more.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from driftcli import model


class Parameters(model.Parameters):
    """n_peaks: how many peaks are kept: in all, or of each channel with select_per_channel.
    select_per_channel: whether each channel is drawn from by itself.
    n_time_bins: number of parts of the recording that get equal numbers of peaks.
    seed: of the random choice; the same seed gives the same peaks.
    """

    n_peaks: int = Field(default=100_000, gt=0)
    select_per_channel: bool = False
    n_time_bins: int = Field(default=100, gt=0)
    seed: int = Field(default=0, ge=0)


def select(
    sample_index: NDArray[np.int64],
    channel_index: NDArray[np.int32],
    amplitude: NDArray[np.float32],
    noise_levels: NDArray[np.float64],
    parameters: Parameters,
) -> NDArray[np.int64]:
    """Indices of the kept peaks, ascending. Arrays of the peaks are (N,), in any order; noise_levels is (C,)."""
    if len(sample_index) == 0:
        return np.zeros(0, dtype=np.int64)
    start, end = int(sample_index.min()), int(sample_index.max()) + 1
    time_bin = (sample_index - start) * parameters.n_time_bins // (end - start)
    cell = channel_index.astype(np.int64) * parameters.n_time_bins + time_bin
    shuffled = np.random.default_rng(parameters.seed).permutation(len(sample_index))
    turn = _turn(shuffled, cell)
    # within a turn the order is again the random one
    order = shuffled[np.argsort(turn[shuffled], kind="stable")]
    group = channel_index if parameters.select_per_channel else np.zeros(len(cell), dtype=np.int64)
    return np.flatnonzero(_turn(order, group) < parameters.n_peaks)


def _turn(order: NDArray[np.int64], group: NDArray[np.integer]) -> NDArray[np.int64]:
    """(N,) when each peak's turn comes in its group, if groups take their peaks in the given order: 0, 1, 2, ..."""
    grouped = order[np.argsort(group[order], kind="stable")]
    sizes = np.unique(group, return_counts=True)[1]
    first = np.repeat(np.cumsum(sizes) - sizes, sizes)
    turn = np.empty(len(order), dtype=np.int64)
    turn[grouped] = np.arange(len(order)) - first
    return turn
