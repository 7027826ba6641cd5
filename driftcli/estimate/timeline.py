"""The time that an estimate works on: without what is masked, and with each file beginning with a temporal bin.

Methods know one stretch of time, in bins of equal length from 0 on. Where a recording breaks, as another file begins,
or where a mask covers most of a bin, the bins that are left are laid out anew with empty ones between them: so many
that no smoothing reaches across and that a prior for small steps hardly holds back what happened in between, but no
more, as they cost time and memory. The method works on those, and its motion is laid out over the recording again: bins
that were left out get the displacement between those of their neighbours, the less certain the farther these are, and
the motion may step at a break. A recording without breaks and masked bins is left as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from driftcli.errors import InputError
from driftcli.estimate.histogram import temporal_bins
from driftcli.model import DepthPeaks, DepthTraces, Motion

_EMPTY = 8  # bins between two files, and at most in place of masked ones: twice the reach of a Gaussian of one bin
_ROUNDING = 1e-9  # of a bin: peaks stay so far from its end, which sums must not round them up to
_LEAST = 0.5  # share of a bin that must be there and not masked: its peaks are too few beside its neighbours' else


@dataclass(frozen=True)
class Timeline:
    """duration_s: of the time that the method works on. The rest is how that lies in the recording's.

    bin_s: length of a bin. starts_s, ends_s: (B,) float64, every bin of the recording in order.
    stretch_of: (B,) int64, which stretch between breaks each bin is of. kept: (B,) bool.
    place: (B,) int64, which bin of the method's time a kept one is.
    stretches_s: (P,) float64, where each stretch begins. masked_s: (K, 2) float64, spans that are left out.
    """

    duration_s: float
    bin_s: float
    starts_s: NDArray[np.float64]
    ends_s: NDArray[np.float64]
    stretch_of: NDArray[np.int64]
    kept: NDArray[np.bool_]
    place: NDArray[np.int64]
    stretches_s: NDArray[np.float64]
    masked_s: NDArray[np.float64]

    @classmethod
    def of(
        cls, duration_s: float, bin_s: float, breaks_s: NDArray[np.float64], masked_s: NDArray[np.float64]
    ) -> Timeline:
        """The timeline of a recording.

        breaks_s: (P - 1,) ascending; masked_s: (K, 2) ascending spans that don't overlap; both in seconds of it.
        Raises InputError if no bin is left.
        """
        bounds_s = [0.0, *breaks_s.tolist(), duration_s]
        edges = [first + temporal_bins(last - first, bin_s) for first, last in pairwise(bounds_s)]
        for each, last in zip(edges[:-1], bounds_s[1:], strict=False):  # the last stretch's last bin keeps its length
            each[-1] = last
        starts_s, ends_s = (np.concatenate([each[part] for each in edges]) for part in (slice(-1), slice(1, None)))
        stretch_of = np.repeat(np.arange(len(edges)), [len(each) - 1 for each in edges])
        masked_of_bin_s = _masked_before(ends_s, masked_s) - _masked_before(starts_s, masked_s)
        kept = masked_of_bin_s <= (1 - _LEAST) * (np.minimum(ends_s, duration_s) - starts_s)
        # what a file has beyond whole bins can be next to nothing; the end of a recording of one file is always a bin
        there_s = (np.minimum(ends_s, duration_s) if len(edges) > 1 else ends_s) - starts_s
        long = there_s >= _LEAST * bin_s
        if not (kept & long).any():
            raise _no_bin(bin_s, bool(long.any()))
        kept &= long
        whole = len(edges) == 1 and bool(kept.all())
        place = _places(stretch_of, kept)
        worked_s = duration_s if whole else float(place[kept][-1] + 1) * bin_s
        return cls(worked_s, bin_s, starts_s, ends_s, stretch_of, kept, place, np.array(bounds_s[:-1]), masked_s)

    @property
    def is_whole(self) -> bool:
        """Whether the method works on the recording's own time."""
        return len(self.stretches_s) == 1 and bool(self.kept.all())

    @property
    def unknown_stretches(self) -> int:
        """How many stretches have no bin that is kept: they get the motion that is known around them."""
        return len(self.stretches_s) - len(np.unique(self.stretch_of[self.kept]))

    def take_bins(self, traces: DepthTraces) -> DepthTraces:
        """The rows of bins that are kept, on the timeline, with rows of 0 where there is nothing.

        traces: a row for each bin of the recording.
        """
        if self.is_whole:
            return traces
        values = np.zeros((self.place[self.kept][-1] + 1, traces.values.shape[1]), np.float32)
        values[self.place[self.kept]] = traces.values[self.kept]
        return replace(traces, values=values)

    def take(self, peaks: DepthPeaks) -> DepthPeaks:
        """The peaks that are not masked and in a bin that is kept, at their times on the timeline."""
        wanted = ~_in_spans(peaks.time_s, self.masked_s)
        if self.is_whole:
            return peaks if wanted.all() else _some(peaks, wanted, peaks.time_s)
        first_bin = np.searchsorted(self.stretch_of, np.arange(len(self.stretches_s)))
        stretch = np.searchsorted(self.stretches_s, peaks.time_s, side="right") - 1
        since_s = peaks.time_s - self.stretches_s[stretch]
        last_bin = np.append(first_bin[1:], len(self.kept)) - 1
        bins = np.minimum(first_bin[stretch] + (since_s / self.bin_s).astype(np.int64), last_bin[stretch])
        within_s = np.clip(peaks.time_s - self.starts_s[bins], 0.0, self.bin_s * (1 - _ROUNDING))
        return _some(peaks, wanted & self.kept[bins], self.place[bins] * self.bin_s + within_s)

    def restore(self, motion: Motion) -> Motion:
        """The motion of the timeline as one of the recording."""
        if self.is_whole:
            return motion
        centres_s = (self.starts_s + self.ends_s) / 2
        displacement_um = self._laid_out(motion.displacement_um, centres_s)
        deviation_um = motion.deviation_um
        if deviation_um is not None:
            deviation_um = self._deviation_um(deviation_um, displacement_um, centres_s)
        return Motion(displacement_um, centres_s, motion.spatial_bins_um, self.stretches_s[1:], deviation_um)

    def _laid_out(self, values: NDArray[np.float64], centres_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """(B, W) values of all bins of the recording, from those of the timeline."""
        laid_out = np.empty((len(centres_s), values.shape[1]))
        for here, known in self._stretches():
            of_known = values[self.place[known]]
            for window in range(values.shape[1]):
                laid_out[here, window] = np.interp(centres_s[here], centres_s[known], of_known[:, window])
        return laid_out

    def _deviation_um(
        self, worked_um: NDArray[np.float64], displacement_um: NDArray[np.float64], centres_s: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """(B, W) standard deviations, from those of the timeline and the displacement (B, W) of all bins.

        Where nothing is known the motion walks on at random, by steps as large as where it is known: to the variance
        between the neighbours' comes that of a walk that is held at both of them (a Brownian bridge); of one that is
        held at the nearest alone, if there is no other, or if the motion may have stepped on the way.
        """
        walked_bins = np.empty(len(centres_s))
        for here, known in self._stretches():
            bridged = bool((known & here).any())
            walked_bins[here] = _walked(centres_s[here], centres_s[known], bridged) / self.bin_s
        variance = self._laid_out(worked_um**2, centres_s)
        variance += walked_bins[:, None] * self._step_variance(displacement_um, centres_s)
        return np.where(self.kept[:, None], self._laid_out(worked_um, centres_s), np.sqrt(variance))

    def _step_variance(
        self, displacement_um: NDArray[np.float64], centres_s: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """(W,) mean square of a bin's step, between the bins that are known; 0 where no stretch has two of them."""
        known = np.flatnonzero(self.kept)
        squares = np.diff(displacement_um[known], axis=0) ** 2 * self.bin_s / np.diff(centres_s[known])[:, None]
        within = np.diff(self.stretch_of[known]) == 0
        variance: NDArray[np.float64] = squares[within].sum(axis=0) / max(within.sum(), 1)
        return variance

    def _stretches(self) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
        """(B,) the bins of each stretch, and those that its motion is known from."""
        for stretch in range(len(self.stretches_s)):
            here = self.stretch_of == stretch
            known = self.kept & here
            yield here, known if known.any() else self.kept  # nothing is known of this one: what is known around it


def _no_bin(bin_s: float, long_files: bool) -> InputError:
    if not long_files:
        return InputError(
            f"every file is shorter than half a temporal bin of {bin_s:g} s, so there is nothing to estimate from",
            "set estimate.bin_s lower",
        )
    return InputError(
        "the mask leaves no temporal bin to estimate the motion from",
        "see why with driftcli info, exclude less, or use all times: --ignore-mask in estimate, --set mask.method=none "
        "in run and detect",
    )


def _places(stretch_of: NDArray[np.int64], kept: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(B,) the places of the kept bins, from 0 on."""
    bins = np.flatnonzero(kept)
    empty = np.minimum(np.diff(bins) - 1, _EMPTY)
    empty[np.diff(stretch_of[bins]) > 0] = _EMPTY
    place = np.zeros(len(kept), np.int64)
    place[bins[1:]] = np.cumsum(1 + empty)
    return place


def _walked(time_s: NDArray[np.float64], known_s: NDArray[np.float64], bridged: bool) -> NDArray[np.float64]:
    """After how long a random walk from a known time varies as much as at each time; 0 at the known ones themselves.

    bridged: it is held at the known times before and after; else at the nearest alone.
    """
    after = np.searchsorted(known_s, time_s)
    bounds_s = np.concatenate([[-np.inf], known_s, [np.inf]])
    since_s, until_s = time_s - bounds_s[after], bounds_s[after + 1] - time_s
    near_s, far_s = np.minimum(since_s, until_s), np.maximum(since_s, until_s)
    return near_s / (1 + near_s / far_s) if bridged else near_s


def _some(peaks: DepthPeaks, which: NDArray[np.bool_], time_s: NDArray[np.float64]) -> DepthPeaks:
    return DepthPeaks(time_s[which], peaks.depth_um[which], peaks.amplitude[which])


def _masked_before(time_s: NDArray[np.float64], masked_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """How many seconds before each time are masked."""
    if not len(masked_s):
        return np.zeros(len(time_s))
    ends = np.cumsum(masked_s[:, 1] - masked_s[:, 0])
    begins = np.concatenate([[0.0], ends[:-1]])
    return np.interp(time_s, masked_s.reshape(-1), np.column_stack([begins, ends]).reshape(-1))


def _in_spans(time_s: NDArray[np.float64], masked_s: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which times lie in a span that holds its start and not its end."""
    span = np.searchsorted(masked_s[:, 0], time_s, side="right") - 1
    inside = np.zeros(len(time_s), bool)
    inside[span >= 0] = time_s[span >= 0] < masked_s[span[span >= 0], 1]
    return inside
