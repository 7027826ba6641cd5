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
from collections.abc import Iterable
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from driftcli.errors import UsageError
from driftcli.estimate.histogram import motion_histogram, spatial_bins, temporal_bins
from driftcli.estimate.pairwise import Pairs, pairwise_displacements
from driftcli.estimate.solve import Equations, solve_pairs, solve_pairs_robust, solve_with_priors
from driftcli.estimate.windows import WindowParameters, each_window, spatial_windows
from driftcli.model import DepthPeaks, Motion, Reporter

_MODE_STEP_UM = 0.1


class Parameters(WindowParameters):
    """Parameters of the decentralized registration, beyond those of the spatial windows.

    bin_um, bin_s: size of the bins along depth and over time.
    hist_margin_um: how far the bins reach beyond the outermost contacts.
    histogram_depth_smooth_um, histogram_time_smooth_s: sigma of the Gaussian smoothing of the histogram; None: off.
    weight_with_amplitude: bins hold the mean amplitude of their peaks instead of their number.
    max_displacement_um: largest displacement looked for between two bins; None: half the window.
    normalized_xcorr, centered_xcorr: divide by standard deviations, take off means in the cross-correlation.
    corr_threshold: pairs must correlate more than this to count.
    time_horizon_s: pairs this far apart or farther do not count; None: all do.
    weight_scale: a pair's weight is its correlation ("linear") or exp((correlation - 1) / error_sigma) ("exp").
        "lsqr_robust" and "gradient_descent" use the weights, "lsmr" only if soft_weights is on.
    convergence_method: "lsmr": least squares of all pairs and priors, priors dropped where the recording jumps;
        "lsqr_robust": of the pairs alone, badly fitting ones dropped; "gradient_descent": of the pairs alone.
    temporal_prior, spatial_prior: keep neighbouring bins, neighbouring windows together ("lsmr").
    robust_regression_sigma, lsqr_robust_n_iter: at most so many times, terms whose residual is farther from the mean
        than so many standard deviations are dropped.
    force_spatial_median_continuity: without spatial_prior, set the median difference of neighbouring windows to 0.
    reference_displacement: what is called displacement 0: the mean, the median, the displacement at
        reference_displacement_time_s ("time", for each window), or the commonest displacement ("mode_search").
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

    `jobs` threads work on as many windows at a time; the result is the same for any number of them.
    InputError if there are no peaks within reach or a peak's time, depth or amplitude is not finite; UsageError if the
    reference time lies outside the recording.
    """
    edges_s = temporal_bins(duration_s, parameters.bin_s)
    edges_um = spatial_bins(span_um, parameters.bin_um, parameters.hist_margin_um)
    histogram = motion_histogram(
        peaks,
        edges_s,
        edges_um,
        weight_with_amplitude=parameters.weight_with_amplitude,
        depth_smooth_um=parameters.histogram_depth_smooth_um,
        time_smooth_s=parameters.histogram_time_smooth_s,
    )
    windows, centres_um = spatial_windows(parameters, span_um, (edges_um[1:] + edges_um[:-1]) / 2, reporter)

    def pairs(window: int) -> Pairs:
        return _pairs(histogram, windows[window], parameters)

    def alone(window: int) -> NDArray[np.float64]:
        return _one_window(pairs(window), parameters)

    if parameters.spatial_prior:
        all_pairs = each_window(pairs, len(windows), jobs, reporter)
        displacement = _with_priors(all_pairs, (len(windows), len(histogram)), parameters)
    else:
        displacement = np.stack(list(each_window(alone, len(windows), jobs, reporter)), axis=1)
        if parameters.force_spatial_median_continuity:
            _join_medians(displacement)
    displacement -= _reference(displacement, edges_s, parameters)
    return Motion(displacement, (edges_s[1:] + edges_s[:-1]) / 2, centres_um)


def _pairs(histogram: NDArray[np.float64], window: NDArray[np.float64], parameters: Parameters) -> Pairs:
    horizon_bins = None
    if parameters.time_horizon_s is not None:
        horizon_bins = math.ceil(parameters.time_horizon_s / parameters.bin_s)
    return pairwise_displacements(
        histogram,
        window,
        parameters.bin_um,
        max_displacement_um=parameters.max_displacement_um,
        horizon_bins=horizon_bins,
        normalized=parameters.normalized_xcorr,
        centered=parameters.centered_xcorr,
    )


def _one_window(pairs: Pairs, parameters: Parameters) -> NDArray[np.float64]:
    """(T,) displacements of one window from its pairs."""
    if parameters.convergence_method == "lsmr":
        return _with_priors([pairs], (1, len(pairs.first)), parameters)[:, 0]
    weights = _weights(pairs, parameters)
    if parameters.convergence_method == "gradient_descent":
        return solve_pairs(pairs, weights) + _row_means(pairs, weights).mean()
    return solve_pairs_robust(pairs, weights, parameters.robust_regression_sigma, parameters.lsqr_robust_n_iter)


def _with_priors(each_pairs: Iterable[Pairs], shape: tuple[int, int], parameters: Parameters) -> NDArray[np.float64]:
    """(T, W) displacements of `shape[0]` windows of `shape[1]` temporal bins, solved together."""
    start = np.zeros(shape)
    with Equations(*shape) as equations:
        for window, pairs in enumerate(each_pairs):
            weights = _weights(pairs, parameters)
            if not parameters.soft_weights:
                weights = (weights > 0).astype(np.float32)
            start[window] = _row_means(pairs, weights)
            equations.add(pairs, weights)
        solution = solve_with_priors(
            equations,
            start,
            temporal_prior=parameters.temporal_prior,
            spatial_prior=parameters.spatial_prior,
            jump_sigma=parameters.robust_regression_sigma,
            n_iterations=parameters.lsqr_robust_n_iter,
        )
    return solution.T


def _weights(pairs: Pairs, parameters: Parameters) -> NDArray[np.float32]:
    """(T, width) weight of each pair, 0 for those that do not count."""
    counts = pairs.correlation > parameters.corr_threshold
    if parameters.weight_scale == "linear":
        return np.where(counts, pairs.correlation, np.float32(0))
    return np.where(counts, np.exp((pairs.correlation - 1) / np.float32(parameters.error_sigma)), np.float32(0))


def _row_means(pairs: Pairs, weights: NDArray[np.float32]) -> NDArray[np.float64]:
    """(T,) mean displacement of each temporal bin from those that count; a first guess, and the solution's mean."""
    counts = weights > 0
    return (pairs.displacement_um * counts).sum(axis=1, dtype=np.float64) / np.maximum(counts.sum(axis=1), 1)


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
