"""How well peaks of different times line up in depth.

Two peaks meet where their depths are within some 10 µm and their amplitudes alike. Under drift, peaks of one unit meet
less often when time has passed than at the same moment; a correction undoes that. The alignment is the share of

    (meetings of different times - meetings by chance) / (meetings of the same moment - meetings by chance)

where "by chance" is what would meet if depths were known to 100 µm only. It is 1 where nothing moves, or all that moved
was put back, and 0 where no more is left of the order in depth than the density of peaks along the probe. No peak is
compared with itself, so that few peaks make it uncertain, but neither better nor worse.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from driftcli.model import DepthPeaks

MOMENT_S = 1.0  # within which nothing is taken to move
_BIN_UM = 2.5
_BOX = 4  # bins: peaks meet by a triangle of 10 µm half-width
_CHANCE_UM = 50.0  # standard deviation of the density that is left by chance
_OCTAVES = 6  # below the largest amplitudes; what is lower is together
_BLOCKS = 20  # of time, left out one by one for the standard error
_LEAST_MEETINGS = 200.0  # of the same moment, beyond chance
_MOMENTS_AT_ONCE = 64


@dataclass(frozen=True)
class Alignment:
    """value: of all peaks; None where too few of them meet. without: (B,) the same with one block of time left out."""

    value: float | None
    without: NDArray[np.float64]


def alignment_of(peaks: DepthPeaks, duration_s: float, span_um: tuple[float, float]) -> Alignment:
    """The alignment of the peaks of one shank.

    peaks: in order of time. span_um: lowest and highest depth to look at; peaks beyond it are left out.
    """
    n_depths = int(np.ceil((span_um[1] - span_um[0]) / _BIN_UM)) + _BOX
    n_moments = max(int(np.ceil(duration_s / MOMENT_S)), 1)
    first_of = np.searchsorted(peaks.time_s, MOMENT_S * np.arange(n_moments + 1))
    first_of[-1] = len(peaks)
    largest = _largest(peaks.amplitude)
    sums = [_Sums.zero(_OCTAVES, n_depths) for _ in range(min(_BLOCKS, n_moments))]
    for start in range(0, n_moments, _MOMENTS_AT_ONCE):  # some at a time: peaks are many, and their cells more
        stop = min(start + _MOMENTS_AT_ONCE, n_moments)
        rows = slice(first_of[start], first_of[stop])
        moment = np.repeat(np.arange(stop - start), np.diff(first_of[start : stop + 1]))
        depth_um, level = peaks.depth_um[rows], _levels(peaks.amplitude[rows], largest)
        there = (depth_um >= span_um[0]) & (depth_um < span_um[1])
        depth = ((depth_um[there] - span_um[0]) / _BIN_UM).astype(np.int64)
        cell = (moment[there] * _OCTAVES + level[there]) * n_depths + depth
        counts = np.bincount(cell, minlength=(stop - start) * _OCTAVES * n_depths).astype(np.float32)
        boxes = _boxed(counts.reshape(stop - start, _OCTAVES, n_depths))
        of_moments = np.bincount(moment[there], minlength=stop - start)
        for index in range(start, stop):
            sums[index * len(sums) // n_moments].add(boxes[index - start], int(of_moments[index - start]))
    total = _Sums.zero(_OCTAVES, n_depths)
    for each in sums:
        total.take_in(each)
    without = [_Sums.less(total, each).alignment() for each in sums] if len(sums) > 1 else []
    return Alignment(total.alignment(), np.array([np.nan if value is None else value for value in without]))


def gain_of(before: Alignment, after: Alignment) -> tuple[float | None, float | None]:
    """By how much an alignment is larger than another one of the same peaks, and the standard error (jackknife)."""
    if before.value is None or after.value is None:
        return None, None
    change = after.without - before.without
    change = change[np.isfinite(change)]
    n = len(change)
    se = float(np.sqrt((n - 1) / n * ((change - change.mean()) ** 2).sum())) if n > 1 else None
    return after.value - before.value, se


def _largest(amplitude: NDArray[np.float64]) -> float:
    """Size of the largest peaks but for a hundredth."""
    return float(np.percentile(np.abs(amplitude), 99)) if len(amplitude) else 0.0


def _levels(amplitude: NDArray[np.float64], largest: float) -> NDArray[np.int64]:
    """(N,) which octave below the largest amplitude each peak is in."""
    least = np.finfo(float).tiny
    octaves = np.log2(max(largest, least) / np.maximum(np.abs(amplitude), least))
    return np.clip(octaves, 0, _OCTAVES - 1).astype(np.int64)


def _boxed(counts: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sums of `_BOX` neighbouring bins of the last axis, which begins with as few as there are."""
    running = np.cumsum(counts, axis=-1, dtype=np.float32)
    boxes = running.copy()
    boxes[..., _BOX:] -= running[..., :-_BOX]
    return boxes


@dataclass
class _Sums:
    """What the alignment is made of, for some moments.

    boxes: (A, D) float64, peaks of all moments. same: meetings of peaks within moments, each with itself among them.
    peaks, pairs: number of peaks, and of pairs within moments.
    """

    boxes: NDArray[np.float64]
    same: float
    peaks: int
    pairs: float

    @classmethod
    def zero(cls, n_levels: int, n_depths: int) -> _Sums:
        return cls(np.zeros((n_levels, n_depths)), 0.0, 0, 0.0)

    @classmethod
    def less(cls, total: _Sums, part: _Sums) -> _Sums:
        return cls(total.boxes - part.boxes, total.same - part.same, total.peaks - part.peaks, total.pairs - part.pairs)

    def add(self, boxes: NDArray[np.float32], peaks: int) -> None:
        self.boxes += boxes
        self.same += float(np.square(boxes, dtype=np.float64).sum())
        self.peaks += peaks
        self.pairs += float(peaks) * float(peaks)

    def take_in(self, other: _Sums) -> None:
        self.boxes += other.boxes
        self.same += other.same
        self.peaks += other.peaks
        self.pairs += other.pairs

    def alignment(self) -> float | None:
        """None where too few peaks meet."""
        all_pairs = float(self.peaks) ** 2
        pairs_within, pairs_across = self.pairs - self.peaks, all_pairs - self.pairs
        if pairs_within <= 0 or pairs_across <= 0:
            return None
        within = (self.same - _BOX * self.peaks) / pairs_within
        across = (float(np.square(self.boxes).sum()) - self.same) / pairs_across
        smooth = gaussian_filter1d(self.boxes, _CHANCE_UM / _BIN_UM, axis=1, mode="constant")
        chance = float((self.boxes * smooth).sum()) / all_pairs
        if (within - chance) * pairs_within < _LEAST_MEETINGS:
            return None
        return (across - chance) / (within - chance)
