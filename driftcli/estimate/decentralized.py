"""Decentralized registration: every temporal bin is compared with every other one, then all are reconciled.

Varol et al. 2021 ("Decentralized motion inference and registration of Neuropixel data", ICASSP) and Windolf et al.
2023 ("Robust online multiband drift estimation in electrophysiology data", ICASSP); parameters, meanings and defaults
are those of `decentralized` in SpikeInterface 0.105.3. Differences: the last spatial bin of a window counts, pairs
without any positive correlation never do, bins without peaks take the displacement between their neighbours', and all
`convergence_method`s find their least-squares solution directly. `pairwise_displacement_method` is always "conv";
`conv_engine`, `torch_device` and `batch_size` have no counterpart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from driftcli.errors import UsageError
from driftcli.estimate.footprint import CHECK_BYTES_PER_PEAK, Footprint, most_that_fit, refuse_too_large
from driftcli.estimate.histogram import centres, motion_histogram, spatial_bins, temporal_bins
from driftcli.estimate.pairwise import Pairs, largest_shift, measure_bytes, pair_width, pairwise_displacements
from driftcli.estimate.solve import Equations, mean_displacements, solve_pairs, solve_pairs_robust, solve_with_priors
from driftcli.estimate.windows import WindowParameters, spatial_windows
from driftcli.model import DepthPeaks, Motion, SearchLimit
from driftcli.reporter import Reporter

_MODE_STEP_UM = 0.1
# The pairs of one window, all that grows with the square of the duration: a lag and a correlation each, and which of
# them count or, over and over, a copy of the weights that still do.
_BYTES_PER_PAIR = {"lsmr": 6, "gradient_descent": 6, "lsqr_robust": 10}
# Arrays of all displacements that solving holds at once.
_VECTORS = 14


class Parameters(WindowParameters):
    """Parameters of the decentralized registration, beyond those of the spatial windows.

    bin_um: size of the bins along depth.
    bin_s: length of the temporal bins.
    hist_margin_um: how far the bins reach beyond the outermost contacts.
    histogram_depth_smooth_um: sigma of the Gaussian that smooths the histogram along depth; None: off.
    histogram_time_smooth_s: sigma of the Gaussian that smooths the histogram over time; None: off.
    weight_with_amplitude: bins hold the mean amplitude of their peaks instead of their number.
    max_displacement_um: largest displacement looked for between two bins; None: half the window.
    normalized_xcorr: divide the cross-correlation by standard deviations.
    centered_xcorr: take off means before the cross-correlation.
    corr_threshold: pairs must correlate more than this to count.
    time_horizon_s: pairs this far apart or farther do not count; None: all do.
    weight_scale: a pair's weight is its correlation ("linear") or exp((correlation - 1) / error_sigma) ("exp").
        "lsqr_robust" and "gradient_descent" use the weights, "lsmr" only if soft_weights is on.
    error_sigma: how fast the weights of "exp" fall with the correlation.
    soft_weights: have "lsmr" weigh pairs; without, all that correlate enough count the same.
    convergence_method: "lsmr": least squares of all pairs and priors, priors dropped where the recording jumps;
        "lsqr_robust": of the pairs alone, badly fitting ones dropped; "gradient_descent": of the pairs alone.
    temporal_prior: keep neighbouring temporal bins together ("lsmr").
    spatial_prior: keep neighbouring windows together ("lsmr").
    robust_regression_sigma: terms whose residual is farther from the mean than so many standard deviations are dropped.
    lsqr_robust_n_iter: how many times that is done at most.
    force_spatial_median_continuity: without spatial_prior, set the median difference of neighbouring windows to 0.
    reference_displacement: what is called displacement 0: the mean, the median, the displacement at
        reference_displacement_time_s ("time", for each window), or the commonest displacement ("mode_search").
    reference_displacement_time_s: when the displacement is 0, with "time".
    """

    bin_um: float = Field(default=5.0, gt=0)
    hist_margin_um: float = 20.0
    bin_s: float = Field(default=2.0, gt=0)
    histogram_depth_smooth_um: float | None = Field(default=1.0, gt=0)
    histogram_time_smooth_s: float | None = Field(default=1.0, gt=0)
    max_displacement_um: float | None = Field(default=100.0, gt=0)
    weight_scale: Literal["linear", "exp"] = "linear"
    error_sigma: float = Field(default=0.2, gt=0)
    corr_threshold: float = Field(default=0.0, ge=0)
    time_horizon_s: float | None = Field(default=None, gt=0)
    convergence_method: Literal["lsmr", "lsqr_robust", "gradient_descent"] = "lsmr"
    soft_weights: bool = False
    normalized_xcorr: bool = True
    centered_xcorr: bool = True
    temporal_prior: bool = True
    spatial_prior: bool = False
    force_spatial_median_continuity: bool = False
    reference_displacement: Literal["mean", "median", "time", "mode_search"] = "median"
    reference_displacement_time_s: float = Field(default=0.0, ge=0)
    robust_regression_sigma: float = Field(default=2.0, gt=0)
    lsqr_robust_n_iter: int = Field(default=20, ge=1)
    weight_with_amplitude: bool = False

    @model_validator(mode="after")
    def _fit_together(self) -> Parameters:
        if self.spatial_prior and self.convergence_method != "lsmr":
            raise ValueError(f"spatial_prior needs convergence_method lsmr, not {self.convergence_method}")
        if self.max_displacement_um is not None and self.max_displacement_um < self.bin_um:
            raise ValueError(f"max_displacement_um={self.max_displacement_um:g} is less than bin_um={self.bin_um:g}")
        if self.time_horizon_s is not None and self.time_horizon_s <= self.bin_s:
            raise ValueError(f"time_horizon_s={self.time_horizon_s:g} must be more than bin_s={self.bin_s:g}")
        if self.weight_scale == "exp" and not self.normalized_xcorr:
            raise ValueError("weight_scale exp needs normalized_xcorr: without, the weights have no upper bound")
        return self


def estimate(
    peaks: DepthPeaks,
    span_um: tuple[float, float],
    duration_s: float,
    parameters: Parameters,
    reporter: Reporter,
    jobs: int = 1,
) -> Motion:
    """Motion of one shank whose contacts lie at depths from span_um[0] to span_um[1].

    One window is worked on at a time, by `jobs` threads; the result is the same for any number of them.
    InputError if there are no peaks within reach or a peak's time, depth or amplitude is not finite; UsageError if the
    reference time lies outside the recording or a window's pairs would take too much memory; OutputError if the
    temporary file of `spatial_prior` can't be written.
    """
    footprint(len(peaks), span_um, duration_s, parameters, jobs)
    edges_s, edges_um = _edges(span_um, duration_s, parameters)
    histogram = motion_histogram(
        peaks,
        edges_s,
        edges_um,
        weight_with_amplitude=parameters.weight_with_amplitude,
        depth_smooth_um=parameters.histogram_depth_smooth_um,
        time_smooth_s=parameters.histogram_time_smooth_s,
    )
    windows, centres_um = spatial_windows(parameters, span_um, centres(edges_um), reporter)

    def pairs(window: int) -> Pairs:
        reporter.progress("estimate", window, len(windows))
        return _pairs(histogram, windows[window], parameters, jobs)

    if parameters.spatial_prior:
        displacement = _with_priors(pairs, range(len(windows)), len(histogram), parameters)
    else:
        each = [_one_window(pairs, window, len(histogram), parameters) for window in range(len(windows))]
        displacement = np.stack(each, axis=1)
        if parameters.force_spatial_median_continuity:
            _join_medians(displacement)
    reporter.progress("estimate", len(windows), len(windows))
    displacement -= _reference(displacement, edges_s, parameters)
    return Motion(displacement, centres(edges_s), centres_um)


def footprint(
    n_peaks: int, span_um: tuple[float, float], duration_s: float, parameters: Parameters, jobs: int = 1
) -> Footprint:
    """Memory that `estimate` will take, whatever the `jobs`; UsageError where it would refuse for that reason."""
    edges_s, edges_um = _edges(span_um, duration_s, parameters)
    windows, _ = spatial_windows(parameters, span_um, centres(edges_um), Reporter())
    n_bins = len(edges_s) - 1
    pairs = _pair_bytes(n_bins, parameters)
    averaging = 2 if parameters.weight_with_amplitude else 1
    histogram = 8 * n_bins * windows.shape[1]
    measured = max(
        measure_bytes(n_bins, window, parameters.bin_um, parameters.max_displacement_um) for window in windows
    )
    solving = 8 * n_bins * _VECTORS * (len(windows) if parameters.spatial_prior else 1)
    most = max(CHECK_BYTES_PER_PEAK * n_peaks, averaging * histogram, histogram + pairs + measured + solving)
    return Footprint(
        n_bins, len(windows), most, "make estimate.time_horizon_s smaller, or estimate.bin_s or estimate.bin_um larger"
    )


def search_limit(span_um: tuple[float, float], parameters: Parameters) -> SearchLimit:
    """The largest displacement that is looked for between two bins, in the window where that is least."""
    edges_um = spatial_bins(span_um, parameters.bin_um, parameters.hist_margin_um)
    windows, _ = spatial_windows(parameters, span_um, centres(edges_um), Reporter())
    reach = min(largest_shift(window, parameters.bin_um, parameters.max_displacement_um) for window in windows)
    return SearchLimit(reach * parameters.bin_um, "estimate.max_displacement_um", parameters.time_horizon_s)


def _edges(
    span_um: tuple[float, float], duration_s: float, parameters: Parameters
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    edges_s = temporal_bins(duration_s, parameters.bin_s)
    return edges_s, spatial_bins(span_um, parameters.bin_um, parameters.hist_margin_um)


def _horizon_bins(parameters: Parameters) -> int | None:
    if parameters.time_horizon_s is None:
        return None
    return math.ceil(parameters.time_horizon_s / parameters.bin_s)


def _pair_bytes(n_bins: int, parameters: Parameters) -> int:
    """What the pairs of one window take; UsageError if that is too much."""
    bytes_per_pair = _BYTES_PER_PAIR[parameters.convergence_method]
    needed = n_bins * pair_width(n_bins, _horizon_bins(parameters)) * bytes_per_pair
    horizon_s = (most_that_fit(n_bins * bytes_per_pair) + 1) // 2 * parameters.bin_s
    refuse_too_large(
        needed,
        f"comparing {n_bins} temporal bins of {parameters.bin_s:g} s with each other",
        f"set estimate.time_horizon_s, to {horizon_s:g} or less, or make estimate.bin_s larger",
    )
    return needed


def _pairs(histogram: NDArray[np.float64], window: NDArray[np.float64], parameters: Parameters, jobs: int) -> Pairs:
    return pairwise_displacements(
        histogram,
        window,
        parameters.bin_um,
        max_displacement_um=parameters.max_displacement_um,
        horizon_bins=_horizon_bins(parameters),
        normalized=parameters.normalized_xcorr,
        centered=parameters.centered_xcorr,
        jobs=jobs,
    )


def _one_window(
    pairs_of: Callable[[int], Pairs], window: int, n_bins: int, parameters: Parameters
) -> NDArray[np.float64]:
    """(T,) displacements of one window from its pairs."""
    if parameters.convergence_method == "lsmr":
        return _with_priors(pairs_of, [window], n_bins, parameters)[:, 0]
    pairs = pairs_of(window)
    weights = _weights(pairs, parameters)
    if parameters.convergence_method == "gradient_descent":
        mean = mean_displacements(pairs, weights).mean()
        return solve_pairs(pairs, weights) + mean
    return solve_pairs_robust(pairs, weights, parameters.robust_regression_sigma, parameters.lsqr_robust_n_iter)


def _with_priors(
    pairs_of: Callable[[int], Pairs], windows: Sequence[int], n_bins: int, parameters: Parameters
) -> NDArray[np.float64]:
    """(T, W) displacements of some windows, solved together; the pairs of one of them are held at a time."""
    with Equations(len(windows), n_bins) as equations:
        start = np.stack([_add_window(equations, pairs_of(window), parameters) for window in windows])
        solution = solve_with_priors(
            equations,
            start,
            temporal_prior=parameters.temporal_prior,
            spatial_prior=parameters.spatial_prior,
            jump_sigma=parameters.robust_regression_sigma,
            n_iterations=parameters.lsqr_robust_n_iter,
        )
    return solution.T


def _add_window(equations: Equations, pairs: Pairs, parameters: Parameters) -> NDArray[np.float64]:
    """Add a window's pairs to the equations; gives the mean displacement of each bin, (T,), a first guess."""
    weights = _weights(pairs, parameters) if parameters.soft_weights else _all_or_nothing(pairs, parameters)
    start = mean_displacements(pairs, weights)
    equations.add(pairs, weights)
    return start


def _all_or_nothing(pairs: Pairs, parameters: Parameters) -> NDArray[np.uint8]:
    """(T, width) 1 for each pair that counts, else 0."""
    return (pairs.correlation > parameters.corr_threshold).view(np.uint8)


def _weights(pairs: Pairs, parameters: Parameters) -> NDArray[np.float32]:
    """(T, width) weight of each pair, 0 for those that do not count; takes the correlation's place in memory."""
    counts, weights = pairs.correlation > parameters.corr_threshold, pairs.correlation
    if parameters.weight_scale == "exp":
        weights -= 1
        weights /= np.float32(parameters.error_sigma)
        np.exp(weights, out=weights)
    weights *= counts
    return weights


def _join_medians(displacement: NDArray[np.float64]) -> None:
    """Shift each window so that its median difference from the one below is 0."""
    for window in range(1, displacement.shape[1]):
        displacement[:, window] -= np.median(displacement[:, window] - displacement[:, window - 1])


def _reference(
    displacement: NDArray[np.float64], edges_s: NDArray[np.float64], parameters: Parameters
) -> NDArray[np.float64] | float:
    """What to call 0: a number, or one for each window."""
    if parameters.reference_displacement == "mean":
        return float(displacement.mean())
    if parameters.reference_displacement == "median":
        return float(np.median(displacement))
    if parameters.reference_displacement == "mode_search":
        return _mode(displacement)
    time_s = parameters.reference_displacement_time_s
    if time_s >= edges_s[-1]:
        raise UsageError(
            f"reference_displacement_time_s={time_s:g} lies behind the end of the recording",
            f"use a time below {edges_s[-1]:g}",
        )
    return displacement[np.searchsorted(edges_s, time_s, side="right") - 1].copy()


def _mode(displacement: NDArray[np.float64]) -> float:
    """The displacement, on a fine grid, that most others round to; the median unless another one has more."""
    candidates = np.arange(np.floor(displacement.min()), np.ceil(displacement.max()), _MODE_STEP_UM)
    candidates = np.concatenate([[np.median(displacement)], candidates])
    votes = [np.count_nonzero(np.round(displacement - candidate) == 0) for candidate in candidates]
    return float(candidates[np.argmax(votes)])
