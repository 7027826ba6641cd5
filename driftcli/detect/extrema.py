"""What the detection methods share: their common parameters, thresholds, and the search for local extrema in time.

Both methods first list the extrema of each channel that reach the threshold, and then differ in which of them they
keep. The search is written so that it runs over a row of channels at vector speed: one loop without branches marks
the row, a second one looks at eight marks at a time.
"""

from __future__ import annotations

from typing import Literal

import numba
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from driftcli import model
from driftcli.errors import InputError


class Parameters(model.Parameters):
    """peak_sign: which extrema count: minima (neg), maxima (pos), or either.
    detect_threshold: height a peak must reach, in multiples of its channel's noise level (MAD).
    exclude_sweep_ms: time before and after a peak in which no larger one may stand, in ms.
    """

    peak_sign: Literal["neg", "pos", "both"] = "neg"
    detect_threshold: float = Field(default=5.0, gt=0)
    exclude_sweep_ms: float = Field(default=1.0, gt=0)

    def sweep_samples(self, sampling_frequency_hz: float) -> int:
        """`exclude_sweep_ms` in whole samples."""
        return model.whole_samples(self.exclude_sweep_ms, sampling_frequency_hz)


def heights(
    noise_levels: NDArray[np.float64], geometry: model.Geometry, detect_threshold: float
) -> NDArray[np.float64]:
    """(C,) height a peak must reach on each channel; NaN (out of reach) where the noise level is 0 or not finite.

    Raises InputError when the noise levels don't fit the probe.
    """
    noise = np.asarray(noise_levels, dtype=np.float64)
    if noise.shape != (len(geometry),):
        raise InputError(
            f"{noise.size} noise levels do not fit a probe of {len(geometry)} contacts", "give one for each contact"
        )
    return np.where(np.isfinite(noise) & (noise > 0), noise * detect_threshold, np.nan)


def limits(
    height: NDArray[np.float64], peak_sign: str, inclusive: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(C,) float32 `low` and `high` such that a float32 value is a crossing if it is <= low or >= high.

    Exact: a float32 value passes if and only if it passes the float64 height (`>=` if inclusive, else `>`). A side
    that `peak_sign` leaves out is NaN, which no value passes.
    """
    high = height.astype(np.float32)
    short = high.astype(np.float64) < height if inclusive else high.astype(np.float64) <= height
    high = np.where(short, np.nextafter(high, np.float32(np.inf)), high)
    never = np.full_like(high, np.nan)
    return (-high if peak_sign != "pos" else never), (high if peak_sign != "neg" else never)


@numba.njit(nogil=True, cache=True)
def find(traces, first, last, low, high):  # type: ignore[no-untyped-def]
    """Rows (int64) and channels (int32) of the extrema with first <= row < last, in order of (row, channel).

    A minimum is <= `low` of its channel, less than the sample before it and not more than the one after it, so that
    of a flat bottom the earliest sample counts; a maximum likewise. Comparisons with NaN are false: NaN is no
    extremum and neither are its neighbours in time. Rows first - 1 and last must exist.
    """
    n_channels = traces.shape[1]
    marks = np.zeros((n_channels + 7) // 8 * 8, np.uint8)
    eights = marks.view(np.uint64)
    rows, channels, n = np.empty(1024, np.int64), np.empty(1024, np.int32), 0
    for row in range(first, last):
        _mark(traces[row - 1], traces[row], traces[row + 1], low, high, marks)
        for eight in range(eights.size):
            if eights[eight] == 0:
                continue
            for channel in range(8 * eight, 8 * eight + 8):
                if marks[channel]:
                    if n == rows.size:
                        rows = np.concatenate((rows, np.empty_like(rows)))
                        channels = np.concatenate((channels, np.empty_like(channels)))
                    rows[n], channels[n] = row, channel
                    n += 1
    return rows[:n], channels[:n]


@numba.njit(nogil=True, cache=True)
def _mark(before, here, after, low, high, marks):  # type: ignore[no-untyped-def]
    """Mark the channels with an extremum. A function of its own, without branches, or it would not be vectorized."""
    for c in range(here.size):
        v = here[c]
        bottom = (v <= low[c]) & (v < before[c]) & (v <= after[c])
        top = (v >= high[c]) & (v > before[c]) & (v >= after[c])
        marks[c] = bottom | top
