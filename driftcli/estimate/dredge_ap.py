"""DREDge for action potentials: line up every temporal bin with every other one nearby, then solve for the motion.

Windolf et al., "DREDge: robust motion correction for high-density extracellular recordings across species",
Nature Methods 2025; parameters, meanings and defaults are those of `dredge_ap` in SpikeInterface 0.105.3. Differences,
which change its motion by some nanometres: the root of a Gaussian window weighs both bins of a pair, where there the
window weighs one of them and pairs are compared from either side; lags reach `max_disp_um` either way in all windows
(there: up to twice as far where a window touches one end of the shank); `time_horizon_s` holds for every bin_s (there
it is compared with a number of bins), and pairs farther apart than that are never made.
`thomas_kw` is written out as `lambda_t`, `lambda_s` and `eps`, `xcorr_kw` as `centered` and `normalized`; `device`,
`batching_mode`, `chunk_len_s`, `post_transform`, `amp_scale_fn` and `precomputed_D_C_maxdisp` have no counterpart.
Without `normalized` the weights of pairs are kept in single precision, which takes up to four times the memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numba
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from driftcli.estimate.dredge_correlate import Block, Correlator, Weights, correlator_bytes, sides_of
from driftcli.estimate.dredge_solve import PairEquations, pair_bytes, solve_bytes
from driftcli.estimate.footprint import CHECK_BYTES_PER_PEAK, Footprint, refuse_too_large
from driftcli.estimate.histogram import centres, check_peaks, motion_histogram, spatial_bins, temporal_bins, within
from driftcli.estimate.windows import WindowParameters, spatial_windows
from driftcli.model import DepthPeaks, Motion, SearchLimit
from driftcli.reporter import Reporter

# Temporal bins whose matches are looked for at once; they and their neighbours' spectra are held in memory.
_STRETCH = 1024
# Smaller weights of spatial bins in windows count as 0.
_ZERO_THRESHOLD = 1e-5
# Rows of the raster that are made at once.
_PIECE = 256
# Where the smoothing over time ends, in its sigmas.
_SMOOTHING_REACH = 4


class Parameters(WindowParameters):
    """Parameters of DREDge, beyond those of the spatial windows.

    bin_um: size of the bins along depth.
    bin_s: length of the temporal bins.
    max_disp_um: largest displacement looked for between two bins; None: a quarter of win_scale_um, or of the shank's
        span if rigid.
    time_horizon_s: bins farther apart are not compared; None: all are.
    mincorr: pairs that correlate less are left out.
    mincorr_percentile: in place of mincorr, this percentile of the correlations of bins that are near in time; None:
        mincorr holds.
    mincorr_percentile_nneighbs: bins less than so many bins apart are near in time for mincorr_percentile.
    do_window_weights: weigh pairs by how much the window holds in both bins.
    weights_threshold_low: mean amplitude per spatial bin of a window, in the amplitudes' unit, below which a bin counts
        nothing.
    weights_threshold_high: the same, above which a bin counts fully.
    histogram_depth_smooth_um: sigma of the Gaussian that smooths the peaks' image along depth; None: off.
    histogram_time_smooth_s: sigma of the Gaussian that smooths the peaks' image over time; None: off.
    avg_in_bin: average the amplitudes in each bin instead of summing them.
    centered: take off means before the cross-correlation.
    normalized: divide the cross-correlation by standard deviations.
    lambda_t: weight of the temporal prior: neighbouring bins move alike.
    lambda_s: weight of the spatial prior: neighbouring windows move alike.
    eps: weight of the ridge, which draws displacements to 0 where nothing else tells them.
    """

    bin_um: float = Field(default=1.0, gt=0)
    bin_s: float = Field(default=1.0, gt=0)
    max_disp_um: float | None = Field(default=None, gt=0)
    time_horizon_s: float | None = Field(default=1000.0, gt=0)
    mincorr: float = Field(default=0.1, ge=0)
    mincorr_percentile: float | None = Field(default=None, ge=0, le=100)
    mincorr_percentile_nneighbs: int = Field(default=20, ge=2)
    do_window_weights: bool = True
    weights_threshold_low: float = Field(default=0.2, ge=0)
    weights_threshold_high: float = Field(default=0.2, ge=0)
    histogram_depth_smooth_um: float | None = Field(default=1.0, gt=0)
    histogram_time_smooth_s: float | None = Field(default=1.0, gt=0)
    avg_in_bin: bool = False
    centered: bool = True
    normalized: bool = True
    lambda_t: float = Field(default=1.0, ge=0)
    lambda_s: float = Field(default=1.0, ge=0)
    eps: float = Field(default=1e-3, gt=0)

    @model_validator(mode="after")
    def _fit_together(self) -> Parameters:
        if self.time_horizon_s is not None and self.time_horizon_s < self.bin_s:
            raise ValueError(f"time_horizon_s={self.time_horizon_s:g} is less than bin_s={self.bin_s:g}")
        if self.max_disp_um is not None and self.max_disp_um < self.bin_um:
            raise ValueError(f"max_disp_um={self.max_disp_um:g} is less than bin_um={self.bin_um:g}")
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
    `reporter` is told if no two bins could be compared. InputError if there are no peaks within the span or a peak's
    time, depth or amplitude is not finite; UsageError if the displacements don't settle or the weights of pairs would
    take too much memory.
    """
    layout = _Layout.of(span_um, duration_s, parameters, reporter)
    layout.footprint(len(peaks), jobs)
    raster = _Raster(peaks, layout.edges_s, layout.edges_um, parameters)
    comparison = _Comparison(raster, layout.windows, layout.reach, layout.max_lag, parameters)
    equations = PairEquations(len(layout.windows), raster.n_bins, layout.reach, layout.exact)
    comparison.fill(equations, reporter, jobs)
    if raster.n_bins > 1 and not equations.weights.any():
        reporter.message(comparison.why_no_pairs())
    displacement_um = equations.solve(parameters.lambda_t, parameters.lambda_s, parameters.eps)
    return Motion(displacement_um, centres(layout.edges_s), layout.centres_um)


def footprint(
    n_peaks: int, span_um: tuple[float, float], duration_s: float, parameters: Parameters, jobs: int = 1
) -> Footprint:
    """Memory that `estimate` will take; UsageError where it would refuse for that reason."""
    return _Layout.of(span_um, duration_s, parameters, Reporter()).footprint(n_peaks, jobs)


def search_limit(span_um: tuple[float, float], parameters: Parameters) -> SearchLimit:
    """The largest displacement that is looked for between two bins."""
    layout = _Layout.of(span_um, parameters.bin_s, parameters, Reporter())
    return SearchLimit(layout.max_lag * parameters.bin_um, "estimate.max_disp_um", parameters.time_horizon_s)


@dataclass(frozen=True)
class _Layout:
    """Bins and windows of an estimate, and how far apart they are compared.

    windows: (W, D). reach: in temporal bins. max_lag: in depth bins.
    """

    edges_s: NDArray[np.float64]
    edges_um: NDArray[np.float64]
    windows: NDArray[np.float64]
    centres_um: NDArray[np.float64]
    reach: int
    max_lag: int
    parameters: Parameters

    @classmethod
    def of(cls, span_um: tuple[float, float], duration_s: float, parameters: Parameters, reporter: Reporter) -> _Layout:
        edges_s = temporal_bins(duration_s, parameters.bin_s)
        edges_um = spatial_bins(span_um, parameters.bin_um, 0.0)
        windows, centres_um = spatial_windows(parameters, span_um, centres(edges_um), reporter, _ZERO_THRESHOLD)
        reach, max_lag = _reach(parameters, len(edges_s) - 1), _max_lag(parameters, edges_um, len(windows))
        return cls(edges_s, edges_um, windows, centres_um, reach, max_lag, parameters)

    @property
    def exact(self) -> bool | None:
        """The weights of unnormalized correlations have no upper bound, so they can't be kept in few steps."""
        return None if self.parameters.normalized else True

    def footprint(self, n_peaks: int, jobs: int) -> Footprint:
        n_windows, n_bins = len(self.windows), len(self.edges_s) - 1
        hint = "make estimate.time_horizon_s smaller, or estimate.bin_s or estimate.bin_um larger"
        pairs = pair_bytes(n_windows, n_bins, self.reach, self.exact)
        comparison = f"comparing {n_bins} temporal bins with up to {self.reach} others in {n_windows} windows"
        refuse_too_large(pairs, comparison, "make estimate.time_horizon_s smaller or estimate.bin_s larger")
        most = max(self._fill_bytes(jobs), self._percentile_bytes(), solve_bytes(n_windows, n_bins, self.reach))
        return Footprint(n_bins, n_windows, max(CHECK_BYTES_PER_PEAK * n_peaks, pairs + most), hint)

    def _fill_bytes(self, jobs: int) -> int:
        """What comparing takes: a stretch of the raster, and a correlator for each window that is worked on."""
        n_bins, n_depths = len(self.edges_s) - 1, self.windows.shape[1]
        n_rows = min(n_bins, _STRETCH + self.reach)
        widest = int(np.ptp(np.nonzero(self.windows.any(axis=0))[0])) + 1
        correlator = correlator_bytes(n_rows, widest, self.max_lag)
        return 4 * n_rows * n_depths + min(jobs, len(self.windows)) * correlator

    def _percentile_bytes(self) -> int:
        """What the correlations take of which `mincorr_percentile` is one: three copies in single precision."""
        if self.parameters.mincorr_percentile is None:
            return 0
        apart = min(self.parameters.mincorr_percentile_nneighbs - 1, self.reach)
        return 3 * 4 * apart * (len(self.edges_s) - 1) * len(self.windows)


class _Raster:
    """The image that is lined up: amplitude of the peaks over time and depth, smoothed, made piece by piece."""

    def __init__(
        self,
        peaks: DepthPeaks,
        edges_s: NDArray[np.float64],
        edges_um: NDArray[np.float64],
        parameters: Parameters,
    ) -> None:
        check_peaks(peaks, edges_s, edges_um)
        self._peaks, self._edges_s, self._edges_um = peaks, edges_s, edges_um
        self._parameters = parameters
        self._margin = 0
        if parameters.histogram_time_smooth_s is not None:
            sigmas = _SMOOTHING_REACH * parameters.histogram_time_smooth_s / parameters.bin_s
            self._margin = int(sigmas) + 1

    @property
    def n_bins(self) -> int:
        return len(self._edges_s) - 1

    def rows(self, first: int, last: int) -> NDArray[np.float32]:
        """(last - first, D) of the temporal bins from `first` to before `last`."""
        raster = np.empty((last - first, len(self._edges_um) - 1), dtype=np.float32)
        for start in range(first, last, _PIECE):
            stop = min(start + _PIECE, last)
            raster[start - first : stop - first] = self._piece(start, stop)
        return raster

    def _piece(self, first: int, last: int) -> NDArray[np.float32]:
        low, high = max(0, first - self._margin), min(self.n_bins, last + self._margin)
        peaks, edges_s, parameters = self._peaks, self._edges_s[low : high + 1], self._parameters
        # Only the very last bin holds its upper edge.
        side: Literal["left", "right"] = "right" if high == self.n_bins else "left"
        here = slice(np.searchsorted(peaks.time_s, edges_s[0]), np.searchsorted(peaks.time_s, edges_s[-1], side))
        inside = within(peaks.depth_um[here], self._edges_um)
        if not inside.any():
            return np.zeros((last - first, len(self._edges_um) - 1), dtype=np.float32)
        histogram = motion_histogram(
            DepthPeaks(peaks.time_s[here][inside], peaks.depth_um[here][inside], peaks.amplitude[here][inside]),
            edges_s,
            self._edges_um,
            weight_with_amplitude=True,
            avg_in_bin=parameters.avg_in_bin,
            depth_smooth_um=parameters.histogram_depth_smooth_um,
            time_smooth_s=parameters.histogram_time_smooth_s,
        )
        return histogram[first - low : last - low].astype(np.float32)


@dataclass(frozen=True)
class _Stretch:
    """Temporal bins that are compared at once: `n_templates` of them with each other and those after.

    first: the first bin. raster: (N, D) from there on.
    """

    first: int
    n_templates: int
    raster: NDArray[np.float32]


@dataclass(frozen=True)
class _Comparison:
    """Compares the temporal bins of a raster with each other, up to `reach` bins and `max_lag` depth bins apart.

    windows: (W, D).
    """

    raster: _Raster
    windows: NDArray[np.float64]
    reach: int
    max_lag: int
    parameters: Parameters

    def fill(self, equations: PairEquations, reporter: Reporter, jobs: int) -> None:
        """Add what each pair asks for to the equations, `jobs` windows at a time."""
        mincorr, total = self._mincorr(), -(-self.raster.n_bins // _STRETCH) * len(self.windows)
        done = 0
        with ThreadPoolExecutor(jobs) as pool:
            for stretch in self._stretches(self.reach):
                fill_window = partial(self._fill_window, equations, stretch, mincorr)
                for _ in pool.map(fill_window, range(len(self.windows))):
                    done += 1
                    reporter.progress("estimate", done, total)
                del stretch, fill_window  # before the next raster is made

    def _fill_window(self, equations: PairEquations, stretch: _Stretch, mincorr: float, window: int) -> None:
        doubts = self._doubts(stretch.raster, window)
        sides = self._sides(window)
        for weights in sides:
            for block in self._blocks(stretch, weights, self.reach):
                i, j = block.first_template, block.first_input
                n_i, n_j = block.lag.shape
                weight = _weights(block.correlation, doubts[i : i + n_i], doubts[j : j + n_j], mincorr)
                displacement_um = block.lag.astype(np.float64) * -self.parameters.bin_um
                first = stretch.first + i, stretch.first + j
                equations.add(window, first, displacement_um, weight * (2 / len(sides)))

    def _mincorr(self) -> float:
        """The correlation that pairs must reach, the same in all windows."""
        percentile = self.parameters.mincorr_percentile
        apart = min(self.parameters.mincorr_percentile_nneighbs - 1, self.reach)
        if percentile is None or apart == 0:
            return self.parameters.mincorr
        found = []
        for stretch in self._stretches(apart):
            for window in range(len(self.windows)):
                for block in self._blocks(stretch, self._sides(window)[0], apart):
                    i, j = np.indices(block.lag.shape)
                    later = block.first_input + j - block.first_template - i
                    found.append(block.correlation[(later > 0) & (later <= apart)])
        return float(np.percentile(np.concatenate(found), percentile))

    def why_no_pairs(self) -> str:
        """What to tell the user where no pair of different bins has any weight."""
        parameters = self.parameters
        contents = [
            self._content(stretch.raster, window).max()
            for stretch in self._stretches(0)
            for window in range(len(self.windows))
        ]
        text = "no two temporal bins could be lined up, so no motion is found: "
        if parameters.do_window_weights and max(contents) < parameters.weights_threshold_high:
            return text + (
                f"the largest content of a bin is {max(contents):.3g}, below weights_threshold_low="
                f"{parameters.weights_threshold_low:g} or weights_threshold_high={parameters.weights_threshold_high:g}"
                "; amplitudes should be in uV (detect --gain-to-uv)"
            )
        return text + f"none correlate by the mincorr of {self._mincorr():.3g} or more"

    def _stretches(self, reach: int) -> Iterator[_Stretch]:
        n_bins = self.raster.n_bins
        for first in range(0, n_bins, _STRETCH):
            n_templates = min(_STRETCH, n_bins - first)
            yield _Stretch(first, n_templates, self.raster.rows(first, min(n_bins, first + n_templates + reach)))

    def _sides(self, window: int) -> list[Weights]:
        return sides_of(self.windows[window], self.parameters.win_shape == "gaussian", self.max_lag)

    def _blocks(self, stretch: _Stretch, weights: Weights, reach: int) -> Iterator[Block]:
        options = self.parameters.centered, self.parameters.normalized
        return Correlator(stretch.raster, *weights, self.max_lag, *options).best(stretch.n_templates, reach)

    def _doubts(self, raster: NDArray[np.float32], window: int) -> NDArray[np.float64]:
        """(N,) what a lack of content adds to the variance of each row's pairs; infinite: they have no weight."""
        parameters = self.parameters
        if not parameters.do_window_weights:
            return np.zeros(len(raster))
        content = self._content(raster, window)
        with np.errstate(divide="ignore"):
            doubts = 1 / content
        doubts[content > parameters.weights_threshold_high] = 0
        doubts[content < parameters.weights_threshold_low] = np.inf
        return doubts

    def _content(self, raster: NDArray[np.float32], window: int) -> NDArray[np.float64]:
        """(N,) the mean amplitude that the window holds in each row."""
        # Not a matrix product: libraries may add in another order with another number of threads.
        content: NDArray[np.float64] = np.einsum("d,td->t", self.windows[window], raster, optimize=False)
        return content


def _reach(parameters: Parameters, n_bins: int) -> int:
    """How many temporal bins apart two bins are still compared."""
    if parameters.time_horizon_s is None:
        return n_bins - 1
    # A horizon of a whole number of bins includes the last of them whatever the division's rounding.
    return min(int(parameters.time_horizon_s / parameters.bin_s + 1e-9), n_bins - 1)


def _max_lag(parameters: Parameters, edges_um: NDArray[np.float64], n_windows: int) -> int:
    """The largest displacement looked for between two bins, in depth bins."""
    max_disp_um = parameters.max_disp_um
    if max_disp_um is None:
        rigid = n_windows == 1
        max_disp_um = (edges_um[-1] - edges_um[0]) // 4 if rigid else parameters.win_scale_um // 4
    return min(int(max_disp_um // parameters.bin_um), len(edges_um) - 2)


@numba.njit(nogil=True, cache=True)
def _weights(correlation, template_doubt, input_doubt, mincorr):  # type: ignore[no-untyped-def]
    """(I, J) weight of each pair: its squared correlation, less where its bins are doubtful, 0 below `mincorr`."""
    weights = np.zeros(correlation.shape)
    for i in range(len(template_doubt)):
        for j in range(len(input_doubt)):
            value = np.float64(correlation[i, j])
            if value >= mincorr and value > 0:
                weights[i, j] = 1 / (1 / value**2 + template_doubt[i] + input_doubt[j])
    return weights
