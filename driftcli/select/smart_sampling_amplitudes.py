"""A number of peaks, larger ones more likely, so that small peaks don't crowd out the rare large ones.

A peak's rank is the quantile of its |amplitude| / noise level among the peaks it competes with. Round after round,
each peak that isn't kept yet is kept with a probability equal to its rank; when enough are, the rounds end and a
random choice among the kept is returned.

Mirrors `smart_sampling_amplitudes` of SpikeInterface 0.105.3 in what is drawn, not in each draw: a peak's round is
drawn at once from its geometric distribution, so that it also ends where nearly all peaks are asked for (the peer
goes round forever, as the smallest peak's rank is 0). The peer ranks signed amplitudes, which for positive peaks
makes the small ones likely; here it is the large ones for either sign. Peaks on channels without noise rank last.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from driftcli import model

_MOST_QUANTILES = 100
_LEAST_PROBABILITY = 1e-9


class Parameters(model.Parameters):
    """n_peaks: how many peaks are kept: in all, or of each channel with select_per_channel.
    select_per_channel: whether peaks compete within their channel only.
    seed: of the random choice; the same seed gives the same peaks.
    """

    n_peaks: int = Field(default=100_000, gt=0)
    select_per_channel: bool = False
    seed: int = Field(default=0, ge=0)


def select(
    sample_index: NDArray[np.int64],
    channel_index: NDArray[np.int32],
    amplitude: NDArray[np.float32],
    noise_levels: NDArray[np.float64],
    parameters: Parameters,
) -> NDArray[np.int64]:
    """Indices of the kept peaks, ascending. Arrays of the peaks are (N,), in any order; noise_levels is (C,)."""
    generator = np.random.default_rng(parameters.seed)
    noise = np.asarray(noise_levels, dtype=np.float64)[channel_index]
    size = np.divide(np.abs(amplitude), noise, where=noise > 0, out=np.zeros(len(noise)))
    if parameters.select_per_channel:
        groups = [np.flatnonzero(channel_index == channel) for channel in np.unique(channel_index)]
    else:
        groups = [np.arange(len(size), dtype=np.int64)]
    kept = [group[_draw(size[group], parameters.n_peaks, generator)] for group in groups]
    return np.sort(np.concatenate([np.zeros(0, dtype=np.int64), *kept]))


def _draw(size: NDArray[np.float64], n_peaks: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Indices of the peaks that are kept, in no order."""
    if n_peaks >= len(size):
        return np.arange(len(size), dtype=np.int64)
    rounds = generator.geometric(np.maximum(_rank(size), _LEAST_PROBABILITY))
    last = np.partition(rounds, n_peaks - 1)[n_peaks - 1]
    return generator.permutation(np.flatnonzero(rounds <= last))[:n_peaks]


def _rank(size: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quantile of each value among all, 0 to 1, between at most 100 knots; equal values share the middle."""
    knots = np.linspace(0, 1, min(_MOST_QUANTILES, len(size)))
    values = np.quantile(size, knots)
    return (np.interp(size, values, knots) + 1 - np.interp(-size, -values[::-1], 1 - knots[::-1])) / 2
