"""Where the peaks are, over time and depth: the images that the estimates line up.

Bins and their assignment follow `make_2d_motion_histogram` and `make_3d_motion_histograms` of SpikeInterface
0.105.3: a bin holds its lower edge, the last one its upper edge too, and peaks outside all bins are left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from driftcli.errors import InputError, UsageError
from driftcli.model import DepthPeaks

# Peaks that are put into bins at once.
_PIECE = 1 << 18
# A duration that is longer than whole bins by less than this share of a bin is one of whole bins, and rounding.
_ROUNDING = 1e-6


def temporal_bins(duration_s: float, bin_s: float) -> NDArray[np.float64]:
    """(T + 1,) edges in seconds that cover a recording of `duration_s`, from 0 on, T >= 1.

    As many as SpikeInterface 0.105.3 has, which only counts a single sample beyond whole bins to the bin before.
    """
    if not duration_s > 0:
        raise InputError(f"the recording's duration is {duration_s:g} s", "estimate on a recording with samples")
    n_bins = max(1, math.ceil(duration_s / bin_s - _ROUNDING))
    edges = np.arange(n_bins + 1, dtype=np.float64) * bin_s
    edges[-1] = max(edges[-1], duration_s)
    return edges


def spatial_bins(span_um: tuple[float, float], bin_um: float, hist_margin_um: float) -> NDArray[np.float64]:
    """(D + 1,) edges in µm from `hist_margin_um` below the lowest contact to at least as far above the highest.

    A negative margin leaves out the ends of the shank; UsageError if it leaves nothing.
    """
    lowest, highest = span_um[0] - hist_margin_um, span_um[1] + hist_margin_um
    if highest < lowest:
        raise UsageError(
            f"hist_margin_um={hist_margin_um:g} leaves nothing of contacts from {span_um[0]:g} to {span_um[1]:g} µm",
            f"use a margin above {-(span_um[1] - span_um[0]) / 2:g}",
        )
    edges = np.arange(lowest, highest + bin_um, bin_um)
    return edges if len(edges) > 1 else np.array([lowest, lowest + bin_um])


def centres(edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """(B,) the middle of each bin of (B + 1,) edges."""
    return (edges[1:] + edges[:-1]) / 2


def check_peaks(
    peaks: DepthPeaks, temporal_edges_s: NDArray[np.float64], spatial_edges_um: NDArray[np.float64]
) -> None:
    """InputError if there are no peaks, none within the edges, or a time, depth or amplitude that is not finite."""
    if len(peaks) == 0:
        raise InputError("there are no peaks to estimate motion from", "lower detect.detect_threshold")
    for name, values in (("time", peaks.time_s), ("depth", peaks.depth_um), ("amplitude", peaks.amplitude)):
        broken = int(np.count_nonzero(~np.isfinite(values)))
        if broken:
            raise InputError(f"the {name} of {broken} of {len(peaks)} peaks is NaN or infinite", "localize them again")
    if not (within(peaks.time_s, temporal_edges_s) & within(peaks.depth_um, spatial_edges_um)).any():
        raise InputError(
            f"none of the {len(peaks)} peaks lies within {temporal_edges_s[-1]:g} s and depths from "
            f"{spatial_edges_um[0]:g} to {spatial_edges_um[-1]:g} µm",
            "check that the peaks belong to this probe and recording",
        )


def within(values: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which values lie in a bin; the last bin holds its upper edge, too."""
    return (values >= edges[0]) & (values <= edges[-1])


def motion_histogram(
    peaks: DepthPeaks,
    temporal_edges_s: NDArray[np.float64],
    spatial_edges_um: NDArray[np.float64],
    *,
    weight_with_amplitude: bool,
    avg_in_bin: bool = True,
    depth_smooth_um: float | None = None,
    time_smooth_s: float | None = None,
) -> NDArray[np.float64]:
    """(T, D) number of peaks in each bin, or their summed or mean absolute amplitude, smoothed by Gaussians.

    `avg_in_bin` turns the sum of amplitudes into their mean. The smoothing is given as the Gaussian's sigma; beyond
    the borders there is nothing. InputError as of `check_peaks`.
    """
    check_peaks(peaks, temporal_edges_s, spatial_edges_um)
    histogram = np.zeros((len(temporal_edges_s) - 1, len(spatial_edges_um) - 1))
    counts = np.zeros_like(histogram) if weight_with_amplitude and avg_in_bin else None
    for piece in _pieces(peaks):
        rows, columns = _rows_and_columns(piece, temporal_edges_s, spatial_edges_um)
        each_one = np.ones(len(piece))
        _add(histogram, rows, columns, np.abs(piece.amplitude) if weight_with_amplitude else each_one)
        if counts is not None:
            _add(counts, rows, columns, each_one)
    if counts is not None:
        histogram /= np.maximum(counts, 1, out=counts)
    smoothings = ((1, depth_smooth_um, spatial_edges_um), (0, time_smooth_s, temporal_edges_s))
    for axis, sigma, edges in smoothings:
        if sigma is not None:
            gaussian_filter1d(histogram, sigma / (edges[1] - edges[0]), axis, output=histogram, mode="constant")
    return histogram


@dataclass(frozen=True)
class AmplitudeHistogram:
    """Peaks in bins of time, depth and amplitude (T, D, A): only the bins that hold any, in the order of (T, D, A).

    starts: (T + 1,) int64, temporal bin t has the entries from starts[t] to before starts[t + 1].
    depth_bin, amplitude_bin: (M,) int64. value: (M,) float64, log2(1 + number of peaks).
    """

    starts: NDArray[np.int64]
    depth_bin: NDArray[np.int64]
    amplitude_bin: NDArray[np.int64]
    value: NDArray[np.float64]


def amplitude_histogram(
    peaks: DepthPeaks, temporal_edges_s: NDArray[np.float64], spatial_edges_um: NDArray[np.float64], num_amp_bins: int
) -> AmplitudeHistogram:
    """Number of peaks in each bin of time, depth and log amplitude.

    The amplitude bins split the range between the smallest and the largest log10 of the absolute amplitudes evenly.
    InputError as of `check_peaks`.
    """
    check_peaks(peaks, temporal_edges_s, spatial_edges_um)
    n_rows, n_columns = len(temporal_edges_s) - 1, len(spatial_edges_um) - 1
    scale = _LogScale.of(peaks)
    layer_edges = np.linspace(0, 1, num_amp_bins + 1)
    cells = np.full(len(peaks), -1, dtype=np.int64)
    filled = 0
    for piece in _pieces(peaks):
        rows, columns = _rows_and_columns(piece, temporal_edges_s, spatial_edges_um)
        layers = _bins(scale(piece.amplitude), layer_edges)
        found = ((rows * n_columns + columns) * num_amp_bins + layers)[rows >= 0]
        cells[filled : filled + len(found)] = found
        filled += len(found)
    cells = cells[:filled]
    cells.sort()
    first = np.flatnonzero(np.concatenate([[True], cells[1:] != cells[:-1]]))
    value = np.log2(1 + np.diff(first, append=len(cells)))
    cells = cells[first]
    del first
    starts = np.searchsorted(cells, np.arange(n_rows + 1) * (n_columns * num_amp_bins))
    cells %= n_columns * num_amp_bins
    depth_bin = cells // num_amp_bins
    cells %= num_amp_bins
    return AmplitudeHistogram(starts, depth_bin, cells, value)


def _pieces(peaks: DepthPeaks) -> Iterator[DepthPeaks]:
    for start in range(0, len(peaks), _PIECE):
        rows = slice(start, start + _PIECE)
        yield DepthPeaks(peaks.time_s[rows], peaks.depth_um[rows], peaks.amplitude[rows])


def _rows_and_columns(
    peaks: DepthPeaks, temporal_edges_s: NDArray[np.float64], spatial_edges_um: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Temporal and spatial bin of each peak, both -1 for peaks outside."""
    rows, columns = _bins(peaks.time_s, temporal_edges_s), _bins(peaks.depth_um, spatial_edges_um)
    outside = (rows < 0) | (columns < 0)
    rows[outside] = columns[outside] = -1
    return rows, columns


@dataclass(frozen=True)
class _LogScale:
    """log10 of absolute amplitudes, scaled to 0..1; amplitudes of 0 count as the smallest, equal ones are all 0."""

    least_amplitude: float
    smallest: float
    largest: float

    @classmethod
    def of(cls, peaks: DepthPeaks) -> _LogScale:
        """The scale from the smallest to the largest of these peaks' amplitudes."""
        least = min(float(np.min(positive, initial=np.inf)) for positive in map(_positive, _pieces(peaks)))
        if np.isinf(least):
            return cls(1.0, 0.0, 0.0)
        largest = max(float(np.abs(piece.amplitude).max()) for piece in _pieces(peaks))
        # log10 of arrays: that of single numbers may round differently.
        smallest_log, largest_log = np.log10(np.array([least, largest]))
        return cls(least, float(smallest_log), float(largest_log))

    def __call__(self, amplitude: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.smallest == self.largest:
            return np.zeros(len(amplitude))
        logs = np.log10(np.maximum(np.abs(amplitude), self.least_amplitude))
        return (logs - self.smallest) / (self.largest - self.smallest)


def _positive(peaks: DepthPeaks) -> NDArray[np.float64]:
    amplitude = np.abs(peaks.amplitude)
    return amplitude[amplitude > 0]


def _bins(values: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    """Bin of each value among evenly spaced edges, -1 outside."""
    return _uniform_bins(np.ascontiguousarray(values, dtype=np.float64), edges)


@numba.njit(nogil=True, cache=True)
def _uniform_bins(values, edges):  # type: ignore[no-untyped-def]
    """Guess the bin by dividing, then let the edges themselves decide, as a search among them would."""
    n_bins = len(edges) - 1
    lowest, highest = edges[0], edges[-1]
    per_unit = n_bins / (highest - lowest)
    result = np.full(len(values), -1, dtype=np.int64)
    for i in range(len(values)):
        value = values[i]
        if value < lowest or value > highest:
            continue
        bin_ = min(int((value - lowest) * per_unit), n_bins - 1)
        while bin_ > 0 and value < edges[bin_]:
            bin_ -= 1
        while bin_ < n_bins - 1 and value >= edges[bin_ + 1]:
            bin_ += 1
        result[i] = bin_
    return result


@numba.njit(nogil=True, cache=True)
def _add(histogram, rows, columns, weights):  # type: ignore[no-untyped-def]
    """Add each weight to its bin, in order; rows of -1 are left out."""
    for i in range(len(rows)):
        if rows[i] >= 0:
            histogram[rows[i], columns[i]] += weights[i]
