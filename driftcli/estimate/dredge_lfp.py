"""DREDge for the local field potential: line up its image along depth at every moment with those shortly before.

Windolf et al., "DREDge: robust motion correction for high-density extracellular recordings across species",
Nature Methods 2025; it works on traces instead of peaks. Chunk after chunk is solved for: pairs of temporal bins within
a chunk say how it moves, and pairs with the bins of the chunk before, whose motion is known by then, where it is.
Parameters, meanings and defaults are those of `dredge_lfp` in SpikeInterface 0.105.3 and those of what is done before
there (`estimate/lfp.py`). Differences: `time_horizon_s` holds (there it changes nothing); windows that are not
Gaussian are looked through from both sides of a pair also where it spans two chunks, and Gaussian ones as in
`dredge_ap`; lags reach `max_disp_um` either way in all windows; temporal bins are named by their centres.
`thomas_kw` is written out as `lambda_t`, `lambda_s` and `eps`, `xcorr_kw` as `centered` and `normalized`; `device` has
no counterpart.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from driftcli.errors import InputError
from driftcli.estimate.dredge_correlate import Correlator, Span, Weights, correlator_bytes, sides_of
from driftcli.estimate.dredge_solve import PairEquations, pair_bytes, solve_bytes
from driftcli.estimate.footprint import Footprint
from driftcli.estimate.histogram import temporal_bins
from driftcli.estimate.lfp import LfpParameters
from driftcli.estimate.windows import WindowParameters, spatial_windows
from driftcli.model import DepthTraces, Motion, SearchLimit
from driftcli.reporter import Reporter

# Smaller weights of depths in windows count as 0.
_ZERO_THRESHOLD = 1e-5
_ROUNDING = 1e-9  # of a bin: a chunk or a horizon of whole bins has all of them whatever the division's rounding
_ROWS = 32  # of a chunk that are compared at once with those after them
# What is told: less than this share of the pairs that correlate enough, and a range of more than this of the shank.
_HARDLY_ANY, _MOST_OF_SHANK = 0.01, 0.5
_COPIES_OF_TRACES = 2
_COPIES_OF_PAIRS = 3  # of a chunk's: while weights are made


class Parameters(WindowParameters, LfpParameters):
    """Parameters of DREDge for the local field potential, beyond those of the spatial windows and of the signal.

    chunk_len_s: length of the chunks that are solved for one after the other.
    max_disp_um: largest displacement looked for between two bins.
    time_horizon_s: bins farther apart are not compared; None: all of a chunk and of the one before are.
    mincorr: pairs that correlate less are left out.
    mincorr_percentile: in place of mincorr, this percentile of the correlations of bins that are near in time, in each
        chunk; None: mincorr holds.
    mincorr_percentile_nneighbs: bins less than so many bins apart are near in time for mincorr_percentile.
    soft: weigh pairs by their squared correlation; without, all that correlate enough count the same.
    centered: take off means before the cross-correlation.
    normalized: divide the cross-correlation by standard deviations.
    lambda_t: weight of the temporal prior: neighbouring bins move alike.
    lambda_s: weight of the spatial prior: neighbouring windows move alike.
    eps: weight of the ridge, which draws displacements to 0 where nothing else tells them.
    """

    rigid: bool = True
    win_step_um: float = Field(default=800.0, gt=0)
    win_scale_um: float = Field(default=850.0, gt=0)
    chunk_len_s: float = Field(default=10.0, gt=0)
    max_disp_um: float = Field(default=500.0, gt=0)
    time_horizon_s: float | None = Field(default=None, gt=0)
    mincorr: float = Field(default=0.8, ge=0)
    mincorr_percentile: float | None = Field(default=None, ge=0, le=100)
    mincorr_percentile_nneighbs: int = Field(default=20, ge=2)
    soft: bool = False
    centered: bool = True
    normalized: bool = True
    lambda_t: float = Field(default=1.0, ge=0)
    lambda_s: float = Field(default=1.0, ge=0)
    eps: float = Field(default=1e-3, gt=0)

    @model_validator(mode="after")
    def _fit_together(self) -> Parameters:
        for name in ("chunk_len_s", "time_horizon_s"):
            length_s = getattr(self, name)
            if length_s is not None and length_s < self.bin_s:
                raise ValueError(f"{name}={length_s:g} is less than bin_s={self.bin_s:g}")
        return self


def estimate(
    lfp: DepthTraces,
    span_um: tuple[float, float],
    duration_s: float,
    parameters: Parameters,
    reporter: Reporter,
    jobs: int = 1,
) -> Motion:
    """Motion of one shank whose contacts lie at depths from span_um[0] to span_um[1].

    The rows of `lfp` are its temporal bins, which cover `duration_s`. `jobs` threads compare as many chunks at a time;
    the result is the same for any number of them. `reporter` is told if hardly any two bins could be lined up, and if
    the motion is hardly possible. InputError if there are fewer than two depths, or if a value is not finite;
    UsageError as of `PairEquations`.
    """
    _check(lfp)
    windows, centres_um = spatial_windows(parameters, span_um, lfp.depths_um, reporter, _ZERO_THRESHOLD)
    comparison = _Comparison.of(lfp, windows, parameters)
    displacement_um, chunks, matched = np.empty((len(lfp), len(windows))), comparison.chunks(), 0
    with ThreadPoolExecutor(jobs) as pool:
        for done, chunk in enumerate(_in_order(pool, comparison.compare, chunks, jobs + 1)):
            displacement_um[slice(*chunk.here)] = chunk.solve(displacement_um[slice(*chunk.before)], parameters)
            matched += chunk.matched
            reporter.progress("estimate", done + 1, len(chunks))
    _tell(matched, comparison.count(chunks), displacement_um, span_um, parameters, reporter)
    return Motion(displacement_um, (np.arange(len(lfp), dtype=np.float64) + 0.5) * lfp.bin_s, centres_um)


def footprint(
    n_rows: int, span_um: tuple[float, float], duration_s: float, parameters: Parameters, jobs: int = 1
) -> Footprint:
    """Memory that `estimate` will take with traces at `n_rows` depths, and what they take themselves."""
    n_bins = len(temporal_bins(duration_s, parameters.bin_s)) - 1
    depths_um = np.linspace(*span_um, max(n_rows, 2))
    windows, _ = spatial_windows(parameters, span_um, depths_um, Reporter(), _ZERO_THRESHOLD)
    n_windows, in_chunk = len(windows), min(n_bins, _chunk_bins(parameters.bin_s, parameters))
    pairs = pair_bytes(n_windows, in_chunk, in_chunk, True) + 4 * n_windows * in_chunk**2
    correlator = correlator_bytes(2 * in_chunk, len(depths_um), _max_lag(depths_um, parameters))
    chunks = (jobs + 1) * pairs + jobs * (correlator + _COPIES_OF_PAIRS * 4 * in_chunk**2 // 2)
    solving = solve_bytes(n_windows, in_chunk, in_chunk)
    traces = _COPIES_OF_TRACES * 4 * n_bins * n_rows + 8 * n_bins * n_windows
    hint = "make estimate.chunk_len_s smaller, or estimate.bin_s larger"
    return Footprint(n_bins, n_windows, traces + chunks + solving, hint)


def search_limit(span_um: tuple[float, float], parameters: Parameters) -> SearchLimit:
    """The largest displacement that is looked for between two bins."""
    horizon_s = 2 * parameters.chunk_len_s if parameters.time_horizon_s is None else parameters.time_horizon_s
    return SearchLimit(parameters.max_disp_um, "estimate.max_disp_um", horizon_s)


def _check(lfp: DepthTraces) -> None:
    if len(lfp.depths_um) < 2:
        raise InputError("there are traces at fewer than two depths", "a motion along depth needs contacts along depth")
    if not np.isfinite(lfp.values).all():
        raise InputError("the traces hold NaN or infinity", "look at the recording with driftcli info")


def _tell(
    matched: int,
    pairs: int,
    displacement_um: NDArray[np.float64],
    span_um: tuple[float, float],
    parameters: Parameters,
    reporter: Reporter,
) -> None:
    """Tell what speaks against a motion. matched: how many pairs of bins could be lined up."""
    mincorr, percentile = f"the mincorr of {parameters.mincorr:g} or more", parameters.mincorr_percentile
    if pairs and not matched:
        reporter.message(f"no two temporal bins could be lined up, so no motion is found: none correlate by {mincorr}")
    elif matched < _HARDLY_ANY * pairs and percentile is None:
        reporter.message(
            f"less than {_HARDLY_ANY:.0%} of the pairs of temporal bins correlate by {mincorr}, so the motion rests on "
            "little: the signal may hold no local field potential; if it does, set estimate.mincorr lower"
        )
    range_um, length_um = float(np.ptp(displacement_um, axis=0).max()), span_um[1] - span_um[0]
    if range_um > _MOST_OF_SHANK * length_um:
        reporter.message(
            f"the motion ranges over {range_um:.0f} µm of a shank of {length_um:.0f} µm: temporal bins were probably "
            "lined up where they only look alike; set estimate.max_disp_um to what can happen within two chunks"
        )


def _chunk_bins(bin_s: float, parameters: Parameters) -> int:
    return int(parameters.chunk_len_s / bin_s + _ROUNDING)


def _max_lag(depths_um: NDArray[np.float64], parameters: Parameters) -> int:
    """The largest displacement looked for, in steps of depth."""
    return min(int(parameters.max_disp_um / np.median(np.diff(depths_um)) + _ROUNDING), len(depths_um) - 1)


@dataclass(frozen=True)
class _Chunk:
    """What the pairs of a chunk's bins, and those with the chunk before, ask for.

    before, here: rows of the chunk before, and of this one. held: (W, I, J) float32, weights of the pairs of bin i
    before and bin j here. apart: (W, J) float64, in µm the weighted sum of how much further the bins before are
    displaced.
    """

    before: Span
    here: Span
    pairs: PairEquations
    held: NDArray[np.float32]
    apart: NDArray[np.float64]

    @property
    def matched(self) -> int:
        """How many pairs could be lined up, in all windows."""
        return int(np.count_nonzero(self.pairs.weights) + np.count_nonzero(self.held))

    def solve(self, before_um: NDArray[np.float64], parameters: Parameters) -> NDArray[np.float64]:
        """(J, W) displacement here, from that of the chunk before (I, W)."""
        for window, weights in enumerate(self.held):
            total = weights.sum(axis=0, dtype=np.float64)
            wanted = (weights * before_um[:, window, None]).sum(axis=0) - self.apart[window]
            self.pairs.hold(window, np.divide(wanted, total, out=np.zeros(len(total)), where=total > 0), total)
        return self.pairs.solve(parameters.lambda_t, parameters.lambda_s, parameters.eps)


@dataclass(frozen=True)
class _Comparison:
    """Compares the bins of a chunk with each other and with those of the chunk before.

    windows: (W, D). chunk_bins, reach: in temporal bins. step_um: distance of the depths. max_lag: in such steps.
    """

    lfp: DepthTraces
    windows: NDArray[np.float64]
    chunk_bins: int
    reach: int
    step_um: float
    max_lag: int
    parameters: Parameters

    @classmethod
    def of(cls, lfp: DepthTraces, windows: NDArray[np.float64], parameters: Parameters) -> _Comparison:
        chunk_bins, horizon_s = _chunk_bins(lfp.bin_s, parameters), parameters.time_horizon_s
        reach = 2 * chunk_bins if horizon_s is None else int(horizon_s / lfp.bin_s + _ROUNDING)
        step_um = float(np.median(np.diff(lfp.depths_um)))
        return cls(lfp, windows, chunk_bins, reach, step_um, _max_lag(lfp.depths_um, parameters), parameters)

    def chunks(self) -> list[Span]:
        """The rows of each chunk."""
        n_bins = len(self.lfp)
        return [(start, min(start + self.chunk_bins, n_bins)) for start in range(0, n_bins, self.chunk_bins)]

    def count(self, chunks: list[Span]) -> int:
        """How many pairs there are in some chunks and with those before them, in all windows."""
        earlier = [np.arange(*here) - max(0, here[0] - self.chunk_bins) for here in chunks]
        return len(self.windows) * sum(int(np.minimum(each, self.reach).sum()) for each in earlier)

    def compare(self, here: Span) -> _Chunk:
        """What a chunk's pairs ask for."""
        before = max(0, here[0] - self.chunk_bins), here[0]
        n_before, n_here = before[1] - before[0], here[1] - here[0]
        raster = self.lfp.values[before[0] : here[1]]
        sides = [sides_of(window, self.parameters.win_shape == "gaussian", self.max_lag) for window in self.windows]
        correlators = [[self._correlator(raster, side) for side in of_window] for of_window in sides]
        mincorr = self._mincorr([of_window[0] for of_window in correlators], n_before, n_here)
        shape = len(self.windows), n_before, n_here
        pairs = PairEquations(len(self.windows), n_here, n_here - 1, exact=True)
        chunk = _Chunk(before, here, pairs, np.zeros(shape, np.float32), np.zeros((shape[0], n_here)))
        for window, of_window in enumerate(correlators):
            for correlator in of_window:
                self._within(chunk, window, correlator, mincorr, 2 / len(of_window))
                self._across(chunk, window, correlator, mincorr, 2 / len(of_window))
        return chunk

    def _correlator(self, raster: NDArray[np.float32], side: Weights) -> Correlator:
        return Correlator(raster, *side, self.max_lag, self.parameters.centered, self.parameters.normalized)

    def _within(self, chunk: _Chunk, window: int, correlator: Correlator, mincorr: float, share: float) -> None:
        """Add the pairs of the bins of the chunk; each is seen once, from its earlier bin."""
        n_before = chunk.held.shape[1]
        rows = n_before, n_before + chunk.held.shape[2]
        for start in range(*rows, _ROWS):
            templates = start, min(start + _ROWS, rows[1])
            for block in correlator.between(templates, (start, rows[1])):
                first = block.first_template - n_before, block.first_input - n_before
                weight = self._weights(block.correlation, first[1] - first[0], mincorr)
                chunk.pairs.add(window, first, block.lag.astype(np.float64) * -self.step_um, weight * share)

    def _across(self, chunk: _Chunk, window: int, correlator: Correlator, mincorr: float, share: float) -> None:
        """Add the pairs of a bin before and one of the chunk."""
        n_before, n_here = chunk.held.shape[1:]
        for block in correlator.between((0, n_before), (n_before, n_before + n_here)):
            first = block.first_input - n_before
            weight = self._weights(block.correlation, block.first_input - block.first_template, mincorr) * share
            rows = slice(block.first_template, block.first_template + len(weight))
            columns = slice(first, first + weight.shape[1])
            chunk.held[window, rows, columns] += weight.astype(np.float32)
            chunk.apart[window, columns] += (weight * block.lag).sum(axis=0) * -self.step_um

    def _weights(self, correlation: NDArray[np.float32], later: int, mincorr: float) -> NDArray[np.float64]:
        """(I, J) weight of each pair; `later`: by how many bins the first of J is later than the first of I."""
        i, j = np.ogrid[: correlation.shape[0], : correlation.shape[1]]
        counts = (correlation >= mincorr) & (correlation > 0) & (np.abs(later + j - i) <= self.reach)
        value = correlation.astype(np.float64) ** 2 if self.parameters.soft else 1.0
        return np.where(counts, value, 0.0)

    def _mincorr(self, correlators: list[Correlator], n_before: int, n_here: int) -> float:
        """The correlation that pairs must reach, the same in all windows."""
        percentile = self.parameters.mincorr_percentile
        apart = min(self.parameters.mincorr_percentile_nneighbs, n_here) - 1
        if percentile is None or apart < 1:
            return self.parameters.mincorr
        found = []
        for correlator in correlators:
            for start in range(n_before, n_before + n_here, _ROWS):
                stop = min(start + _ROWS, n_before + n_here)
                for block in correlator.between((start, stop), (start, min(stop + apart, n_before + n_here))):
                    i, j = np.ogrid[: block.lag.shape[0], : block.lag.shape[1]]
                    later = block.first_input + j - block.first_template - i
                    found.append(block.correlation[(later > 0) & (later <= apart)])
        return float(np.percentile(np.concatenate(found), percentile))


def _in_order(
    pool: ThreadPoolExecutor, compare: Callable[[Span], _Chunk], chunks: list[Span], most: int
) -> Iterator[_Chunk]:
    """Compare all chunks in threads, of which only `most` are held at once."""
    waiting: deque[Future[_Chunk]] = deque()
    for chunk in chunks:
        if len(waiting) == most:
            yield waiting.popleft().result()
        waiting.append(pool.submit(compare, chunk))
    while waiting:
        yield waiting.popleft().result()
