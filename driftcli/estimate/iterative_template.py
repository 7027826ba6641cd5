"""Iterative template: line up every temporal bin with a mean that gets sharper, first as a whole, then in windows.

The drift estimate of Kilosort 2.5 (Steinmetz et al. 2021, Science, "Neuropixels 2.0", supplement), as `datashift2` of
pykilosort has it; parameters, meanings and defaults are those of `iterative_template` in SpikeInterface 0.105.3.
Differences: temporal bins are named by their true centres, the last spatial bin of a window counts, equally good
shifts give the smallest instead of the most negative, and bins without peaks take the displacement between their
neighbours'. Only the bins of the histogram that hold peaks are ever looked at.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numba
import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from driftcli.estimate.footprint import CHECK_BYTES_PER_PEAK, Footprint
from driftcli.estimate.histogram import AmplitudeHistogram, amplitude_histogram, centres, spatial_bins, temporal_bins
from driftcli.estimate.windows import WindowParameters, spatial_windows
from driftcli.model import DepthPeaks, Motion, SearchLimit
from driftcli.reporter import Reporter

# Where the window weighs less, it ends.
_WINDOW_ENDS = 1e-5
# Shifts in a window are found on a grid this much finer than the spatial bins.
_UPSAMPLING = 10
# Memory: of the histogram while it is made and as it stays, and of the covariances while the best are looked for.
_BYTES_PER_PEAK, _BYTES_PER_ENTRY = 27, 24
_COPIES_OF_COVARIANCES, _COPIES_OF_FINE = 4, 3

_Shift = TypeVar("_Shift", np.int64, np.float64)


class Parameters(WindowParameters):
    """Parameters of the iterative template, beyond those of the spatial windows.

    bin_um: size of the bins along depth.
    bin_s: length of the temporal bins.
    hist_margin_um: how far the bins reach beyond the outermost contacts.
    num_amp_bins: number of bins along log amplitude.
    num_shifts_global: spatial bins by which the whole shank is shifted at most in each round.
    num_iterations: there is one round less than this.
    num_shifts_block: spatial bins by which a window is shifted at most beyond that.
    smoothing_sigma: sigma, in bins, of the Gaussian that smooths the covariances over time, windows and shifts.
    kriging_sigma: covariances between shifts of whole bins are interpolated with weights
        exp(-(distance / kriging_sigma) ** kriging_p / kriging_d), distances in bins.
    kriging_p: see kriging_sigma.
    kriging_d: see kriging_sigma.
    """

    bin_um: float = Field(default=10.0, gt=0)
    hist_margin_um: float = 0.0
    bin_s: float = Field(default=2.0, gt=0)
    num_amp_bins: int = Field(default=20, ge=1)
    num_shifts_global: int = Field(default=15, ge=0)
    num_iterations: int = Field(default=10, ge=1)
    num_shifts_block: int = Field(default=5, ge=0)
    smoothing_sigma: float = Field(default=0.5, gt=0)
    kriging_sigma: float = Field(default=1.0, gt=0)
    kriging_p: float = Field(default=2.0, gt=0)
    kriging_d: float = Field(default=2.0, gt=0)


def estimate(
    peaks: DepthPeaks,
    span_um: tuple[float, float],
    duration_s: float,
    parameters: Parameters,
    reporter: Reporter,
    jobs: int = 1,
) -> Motion:
    """Motion of one shank whose contacts lie at depths from span_um[0] to span_um[1].

    `jobs` threads work on as many windows at a time; the result is the same for any number of them.
    InputError if there are no peaks within reach or a peak's time, depth or amplitude is not finite.
    """
    edges_s, edges_um = _edges(span_um, duration_s, parameters)
    histogram = amplitude_histogram(peaks, edges_s, edges_um, parameters.num_amp_bins)
    windows, centres_um = spatial_windows(parameters, span_um, centres(edges_um), reporter)
    shape = (parameters.num_amp_bins, len(edges_um) - 1)
    whole_shifts, template = _line_up(histogram, shape, parameters.num_shifts_global, parameters.num_iterations - 1)

    def covariances(window: int) -> NDArray[np.float64]:
        return _window_covariances(histogram, whole_shifts, template, windows[window], parameters.num_shifts_block)

    each = []
    with ThreadPoolExecutor(jobs) as pool:
        for covariance in pool.map(covariances, range(len(windows))):
            each.append(covariance)
            reporter.progress("estimate", len(each), len(windows))
    shifts = whole_shifts[:, None] + _best_fine_shifts(np.stack(each, axis=2), parameters)
    centres_s = centres(edges_s)
    displacement = -shifts * parameters.bin_um
    _fill_empty_bins(displacement, np.diff(histogram.starts) == 0, centres_s)
    return Motion(displacement, centres_s, centres_um)


def footprint(
    n_peaks: int, span_um: tuple[float, float], duration_s: float, parameters: Parameters, jobs: int = 1
) -> Footprint:
    """Memory that `estimate` will take."""
    edges_s, edges_um = _edges(span_um, duration_s, parameters)
    windows, _ = spatial_windows(parameters, span_um, centres(edges_um), Reporter())
    n_windows, n_depths = windows.shape
    n_bins, n_shifts = len(edges_s) - 1, 2 * parameters.num_shifts_block + 1
    n_entries = min(n_peaks, n_bins * n_depths * parameters.num_amp_bins)
    fine = 2 * parameters.num_shifts_block * _UPSAMPLING + 1
    covariances = n_bins * (_COPIES_OF_COVARIANCES * n_windows * n_shifts + _COPIES_OF_FINE * fine + n_windows)
    in_threads = min(jobs, n_windows) * n_bins * (parameters.num_amp_bins + 2 * n_shifts)
    lining_up = n_bins * _COPIES_OF_FINE * (2 * parameters.num_shifts_global + 1)
    later = _BYTES_PER_ENTRY * n_entries + 8 * max(covariances, in_threads, lining_up)
    most = max((CHECK_BYTES_PER_PEAK + _BYTES_PER_PEAK) * n_peaks, later)
    return Footprint(n_bins, n_windows, most, "make estimate.bin_s, estimate.bin_um or estimate.win_step_um larger")


def search_limit(span_um: tuple[float, float], parameters: Parameters) -> SearchLimit:
    """How far the whole shank is shifted in one round; what moved further is found only if rounds lead there."""
    return SearchLimit(parameters.num_shifts_global * parameters.bin_um, "estimate.num_shifts_global")


def _edges(
    span_um: tuple[float, float], duration_s: float, parameters: Parameters
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    edges_s = temporal_bins(duration_s, parameters.bin_s)
    return edges_s, spatial_bins(span_um, parameters.bin_um, parameters.hist_margin_um)


def _line_up(
    histogram: AmplitudeHistogram, shape: tuple[int, int], max_shift: int, n_rounds: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Shift of each temporal bin (T,) in spatial bins, and the template (A, D) that they lead to.

    The template starts as the temporal bin in the middle, or the nearest one that has peaks, and then is the mean of
    all, each shifted to fit the last template best; what leaves at one end of the shank comes in at the other.
    """
    n_bins = len(histogram.starts) - 1
    shifts = np.zeros(n_bins, dtype=np.int64)
    filled = np.flatnonzero(np.diff(histogram.starts))
    middle = np.arange(n_bins) == filled[np.abs(filled - (n_bins // 2 - 1) % n_bins).argmin()]
    template = _template(histogram, shifts, middle, shape)
    for _ in range(n_rounds):
        covariance = np.zeros((n_bins, 2 * max_shift + 1))
        extended = np.pad(template, ((0, 0), (max_shift, max_shift)), mode="wrap")
        _add_covariances(*_entries(histogram), shifts, extended, np.ones(shape[1]), 0, covariance)
        shifts += _best(covariance, np.arange(-max_shift, max_shift + 1, dtype=np.int64))
        template = _template(histogram, shifts, np.ones(n_bins, dtype=np.bool_), shape)
    return shifts, template


def _template(
    histogram: AmplitudeHistogram, shifts: NDArray[np.int64], used: NDArray[np.bool_], shape: tuple[int, int]
) -> NDArray[np.float64]:
    """(A, D) mean of the `used` temporal bins, shifted, less its mean over depth for each amplitude."""
    template = np.zeros(shape)
    _add_shifted(*_entries(histogram), shifts, used, template)
    template /= np.count_nonzero(used)
    return template - template.mean(axis=1, keepdims=True)


def _window_covariances(
    histogram: AmplitudeHistogram,
    shifts: NDArray[np.int64],
    template: NDArray[np.float64],
    window: NDArray[np.float64],
    max_shift: int,
) -> NDArray[np.float64]:
    """(T, S) covariance of each shifted temporal bin with the template, both seen through the window, for more shifts.

    Here the window's part of the shank is what wraps around.
    """
    inside = np.flatnonzero(window > _WINDOW_ENDS)
    start, stop = inside[0], inside[-1] + 1
    weights = window[start:stop]
    seen = np.pad(template[:, start:stop] * weights, ((0, 0), (max_shift, max_shift)), mode="wrap")
    covariance = np.zeros((len(shifts), 2 * max_shift + 1))
    _add_covariances(*_entries(histogram), shifts, seen, window, start, covariance)
    # Entries hold no mean over depth yet; it enters as its share of the template, the same for all entries.
    mean = np.zeros((len(shifts), len(template)))
    _add_amplitudes(histogram.starts, histogram.amplitude_bin, histogram.value, mean)
    mean /= len(window)
    n_shifts, width = covariance.shape[1], stop - start
    share = np.stack([(seen[:, s : s + width] * weights).sum(axis=1) for s in range(n_shifts)], axis=1)
    covariance -= np.einsum("ta,as->ts", mean, share)
    return covariance / (width * len(template))


def _best_fine_shifts(covariances: NDArray[np.float64], parameters: Parameters) -> NDArray[np.float64]:
    """(T, W) shift in spatial bins, to a tenth of a bin, with the largest smoothed covariance (T, S, W)."""
    max_shift = parameters.num_shifts_block
    sigma = parameters.smoothing_sigma
    smooth = gaussian_filter(covariances, (sigma, 0, sigma))
    smooth = gaussian_filter1d(smooth, sigma, axis=1)
    whole = np.arange(-max_shift, max_shift + 1)
    fine = np.linspace(-max_shift, max_shift, 2 * max_shift * _UPSAMPLING + 1)
    distance = np.abs(whole[:, None] - fine[None])
    kernel = np.exp(-((distance / parameters.kriging_sigma) ** parameters.kriging_p) / parameters.kriging_d)
    best = [_best(np.einsum("ts,sf->tf", smooth[:, :, window], kernel), fine) for window in range(smooth.shape[2])]
    return np.stack(best, axis=1)


def _best(covariance: NDArray[np.float64], shifts: NDArray[_Shift]) -> NDArray[_Shift]:
    """(T,) the shift with the largest covariance (T, S), the smallest of those that are equal."""
    nearest_first = np.argsort(np.abs(shifts), kind="stable")
    return shifts[nearest_first[np.argmax(covariance[:, nearest_first], axis=1)]]


def _fill_empty_bins(
    displacement: NDArray[np.float64], empty: NDArray[np.bool_], centres_s: NDArray[np.float64]
) -> None:
    for column in displacement.T:
        column[empty] = np.interp(centres_s[empty], centres_s[~empty], column[~empty])


def _entries(
    histogram: AmplitudeHistogram,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    return histogram.starts, histogram.depth_bin, histogram.amplitude_bin, histogram.value


@numba.njit(nogil=True, cache=True)
def _add_shifted(starts, depth_bin, amplitude_bin, value, shifts, used, template):  # type: ignore[no-untyped-def]
    """Add the entries of the temporal bins that are used to the template (A, D), each shifted."""
    for t in range(len(shifts)):
        if used[t]:
            for entry in range(starts[t], starts[t + 1]):
                template[amplitude_bin[entry], (depth_bin[entry] + shifts[t]) % template.shape[1]] += value[entry]


@numba.njit(nogil=True, cache=True)
def _add_covariances(  # type: ignore[no-untyped-def]
    starts, depth_bin, amplitude_bin, value, shifts, extended, weights, first, covariance
):
    """Add each entry, times its weight, times what lies around it in the template, to its temporal bin's sums (T, S).

    The template starts at spatial bin `first` and is extended by the largest shift at both ends; weights: (D,).
    """
    n_shifts = covariance.shape[1]
    width = extended.shape[1] - n_shifts + 1
    for t in range(len(shifts)):
        for entry in range(starts[t], starts[t + 1]):
            depth = (depth_bin[entry] + shifts[t]) % len(weights)
            if first <= depth < first + width:
                weighted = value[entry] * weights[depth]
                around = extended[amplitude_bin[entry], depth - first : depth - first + n_shifts]
                for s in range(n_shifts):
                    covariance[t, s] += weighted * around[s]


@numba.njit(nogil=True, cache=True)
def _add_amplitudes(starts, amplitude_bin, value, total):  # type: ignore[no-untyped-def]
    """Add each entry to its temporal bin's and amplitude's sum (T, A)."""
    for t in range(len(total)):
        for entry in range(starts[t], starts[t + 1]):
            total[t, amplitude_bin[entry]] += value[entry]
