"""Penalized likelihood: the motion under which peaks pile up most sharply in depth and amplitude, and no wilder.

driftcli's own. Where units are, how large their spikes are and how the tissue moves is found together, in rounds: the
density of all peaks, their depths corrected by the motion so far, tells each peak where it belongs; the motion goes
where the peaks of each bin want it, as far as what is known of motions allows; so the density gets sharper. The first
motion comes from blocks of a few seconds, each lined up with the others, and blocks that were lost by that are found
again. Of the last one, what is no larger than the error of misplaced units is left out.

As amplitude is part of the density, and as only where peaks lie counts and not how many there are, units that burst or
fall silent aren't taken for motion. Steps of the tissue follow a Student-t distribution, which allows both for rest and
for jumps, and whose size is learned from the recording; along the shank motions close to a straight line are preferred.
Bins without peaks are bridged, and how uncertain each displacement is comes with the motion.

The position of a hump is what point registration by a density does (Myronenko and Song, "Point set registration:
coherent point drift", IEEE PAMI 2010); the robust random walk is an iterated Kalman smoother with Student-t steps
(Aravkin et al., "Robust and trend-following Student's t Kalman smoothers", SIAM J. Control Optim. 2014).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from driftcli import model
from driftcli.estimate import agreement, blocks, recovery
from driftcli.estimate.footprint import Footprint, refuse_too_large
from driftcli.estimate.histogram import centres, check_peaks, temporal_bins, within
from driftcli.estimate.penalized import Prior, Solution, equations_bytes
from driftcli.estimate.tissue import Nodes, Tissue, TissueParameters, cells_bytes
from driftcli.model import DepthPeaks, Motion, SearchLimit
from driftcli.reporter import Part, Reporter

_FIRST_SIGMA_UM, _SHARPER = 8.0, 0.75  # of the density in the first round, and by which factor in each further one
_FIRST_STEP_UM = 0.2  # of the tissue at least, before anything but the coarse motion is known
_LEARN_EVERY = 3  # rounds
_BENDING_UM = 100.0  # distance of windows that `bending_um` is told for
_MOST_LIKE, _LEAST_BENDING_UM = 1 - 1e-7, 1e-5  # beyond, windows move as one, lines are straight, and rounding grows
_COARSE, _RECOVERED = 0.4, 0.5  # shares of the work, about, that are done by then
# Rounds after which the better of several starts is seen, and by how much it must be better, in nats a peak.
_TRIAL, _BETTER = 6, 0.03
# Bands of depths are misplaced by the same while the tissue stays within so many µm. A stay is no longer than that, as
# rates change, too, and no shorter, as peaks scatter.
_BAND_UM, _STAY_UM, _LONGEST_S, _SHORTEST_S = 20.0, 5.0, 10.0, 1.0
# See `_resting`: shares of the range, and of the time; what it takes to be at rest when the recording begins.
_NEAR_MIDDLE, _AT_REST, _FOR_LONG = 1 / 8, 1 / 10, 0.8
_LEAST_REST_UM, _FIRST_S, _STILL = 1.0, 5.0, 0.25


class Parameters(model.Parameters):
    """Parameters of the penalized likelihood.

    bin_s: length of the temporal bins.
    win_step_um: distance between the depths at which the displacement is told, about: the shank is divided evenly.
    max_disp_um: largest displacement looked for between two blocks.
    block_s: length of the blocks that the first, coarse motion is made of.
    time_horizon_s: blocks farther apart are not compared.
    rounds: how often density and motion are made from each other.
    depth_sigma_um: sigma of the Gaussian that smooths the density along depth, in the last rounds.
    amplitude_sigma: the same of its smoothing over amplitude, in units of the natural logarithm: 0.1 is some 10 %.
    background_hz: peaks a second in the space of one unit that are no unit's; smaller humps say little.
    saturation_hz: rate of a unit from which its peaks count half, as it says no more by firing more.
    border_um: nearer than this to the outermost contacts peaks count less: their depth is uncertain.
    likeness_um: how far apart along the shank steps of the tissue are still alike.
    bending_um: how far the displacement may be from a straight line over 200 µm of the shank, for a second.
    step_freedom: degrees of freedom of the steps' Student-t distribution; small: long rests and sudden jumps.
    recover: whether blocks that fit far better elsewhere than where the coarse motion has them are moved there, if
        peaks pile up clearly more sharply then.
    shrinkage: how many times the variance of its error is subtracted from that of each shape along the shank; more than
        once, as both are known from few movements of the tissue. 0: shapes stay as they are found.
    """

    bin_s: float = Field(default=0.2, gt=0)
    win_step_um: float = Field(default=100.0, gt=0)
    max_disp_um: float = Field(default=150.0, gt=0)
    block_s: float = Field(default=2.0, gt=0)
    time_horizon_s: float = Field(default=300.0, gt=0)
    rounds: int = Field(default=16, ge=1)
    depth_sigma_um: float = Field(default=0.7, gt=0)
    amplitude_sigma: float = Field(default=0.12, gt=0)
    background_hz: float = Field(default=0.02, gt=0)
    saturation_hz: float = Field(default=20.0, gt=0)
    border_um: float = Field(default=20.0, gt=0)
    likeness_um: float = Field(default=3000.0, gt=0)
    bending_um: float = Field(default=0.025, gt=0)
    step_freedom: float = Field(default=1.0, gt=0)
    recover: bool = True
    shrinkage: float = Field(default=3.0, ge=0)

    @model_validator(mode="after")
    def _fit_together(self) -> Parameters:
        if self.block_s < self.bin_s:
            raise ValueError(f"block_s={self.block_s:g} is less than bin_s={self.bin_s:g}")
        return self


def estimate(
    peaks: DepthPeaks,
    span_um: tuple[float, float],
    duration_s: float,
    parameters: Parameters,
    reporter: Reporter,
    jobs: int = 1,
) -> Motion:
    """Motion of one shank whose contacts lie at depths from span_um[0] to span_um[1], and how uncertain it is.

    The displacement of each depth is 0 about where the tissue rests, see `_resting`. `jobs` threads line up blocks; the
    result is the same for any number of them. `reporter` is told if no peak says anything about the motion. InputError
    if there are no peaks within the span or a peak's time, depth or amplitude is not finite; UsageError if it would
    take too much memory.
    """
    edges_s = temporal_bins(duration_s, parameters.bin_s)
    check_peaks(peaks, edges_s, np.array(span_um, float))
    peaks = _during(edges_s, peaks)
    footprint(len(peaks), span_um, duration_s, parameters, jobs)
    nodes = Nodes(len(edges_s) - 1, parameters.bin_s, _depths_um(span_um, parameters))
    layout = _layout(span_um, duration_s, parameters)
    coarse = blocks.coarse_motion(peaks, layout, Part(reporter, 0, _COARSE), jobs)
    proposal = None
    if parameters.recover:
        proposal = recovery.proposal(peaks, coarse, layout, Part(reporter, _COARSE, _RECOVERED))
    starts = [coarse] if proposal is None else [coarse, proposal]
    starts_um = [start.at(centres(edges_s)[:, None], nodes.depths_um[None]) for start in starts]
    tissue = Tissue.of(peaks, nodes, span_um, parameters.max_disp_um, _of_tissue(parameters))
    displacement_um, deviation_um = _refined(starts_um, tissue, parameters, Part(reporter, _RECOVERED, 1))
    motion_um = displacement_um - _resting(displacement_um, parameters.bin_s)
    return Motion(motion_um, centres(edges_s), nodes.depths_um, deviation_um=deviation_um)


def footprint(
    n_peaks: int, span_um: tuple[float, float], duration_s: float, parameters: Parameters, jobs: int = 1
) -> Footprint:
    """Memory that `estimate` will take; UsageError where it would refuse for that reason."""
    n_bins, n_windows = len(temporal_bins(duration_s, parameters.bin_s)) - 1, len(_depths_um(span_um, parameters))
    equations = equations_bytes(n_bins, n_windows)
    hint = "make estimate.bin_s or estimate.win_step_um larger"
    refuse_too_large(equations, f"the motion in {n_bins} temporal bins and {n_windows} windows", hint)
    cells = cells_bytes(span_um, parameters.max_disp_um, _of_tissue(parameters))
    finer = "make estimate.depth_sigma_um or estimate.amplitude_sigma larger, or estimate.max_disp_um smaller"
    refuse_too_large(cells, "the density of the peaks", finer)
    layout = _layout(span_um, duration_s, parameters)
    in_blocks = max(layout.n_bytes(n_peaks, jobs), recovery.proposal_bytes(layout))
    return Footprint(n_bins, n_windows, max(equations, cells, in_blocks), hint)


def search_limit(span_um: tuple[float, float], parameters: Parameters) -> SearchLimit:
    """The largest displacement that is looked for between two blocks."""
    return SearchLimit(parameters.max_disp_um, "estimate.max_disp_um", parameters.time_horizon_s)


def _during(edges_s: NDArray[np.float64], peaks: DepthPeaks) -> DepthPeaks:
    """The peaks of all times that there are, as other methods take them."""
    there = within(peaks.time_s, edges_s)
    if there.all():
        return peaks
    return DepthPeaks(peaks.time_s[there], peaks.depth_um[there], peaks.amplitude[there])


def _layout(span_um: tuple[float, float], duration_s: float, parameters: Parameters) -> blocks.Layout:
    return blocks.Layout.of(span_um, duration_s, parameters.block_s, parameters.time_horizon_s, parameters.max_disp_um)


def _depths_um(span_um: tuple[float, float], parameters: Parameters) -> NDArray[np.float64]:
    """(W,) depths from one end of the span to the other, or its middle if it is short."""
    count = round((span_um[1] - span_um[0]) / parameters.win_step_um) + 1
    return np.linspace(*span_um, count) if count > 1 else np.array([sum(span_um) / 2])


def _refined(
    starts_um: list[NDArray[np.float64]],
    tissue: Tissue,
    parameters: Parameters,
    reporter: Reporter,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(T, W) the displacement after all rounds, and its standard deviation. Of several starts, (T, W) each, the first
    is taken unless peaks pile up more sharply from another one after some rounds."""
    attempts = [_Attempt.of(start_um, tissue.nodes, parameters) for start_um in starts_um]
    trial = min(_TRIAL, parameters.rounds)
    n_rounds, done = parameters.rounds + trial * (len(attempts) - 1), 0
    for attempt in attempts:
        attempt.go_on(tissue, range(trial), parameters, Part(reporter, done / n_rounds, (done + trial) / n_rounds))
        done += trial
    best = attempts[0]
    for attempt in attempts[1:]:
        if attempt.likelihood(tissue) > best.likelihood(tissue) + _BETTER:
            best = attempt
    best.go_on(tissue, range(trial, parameters.rounds), parameters, Part(reporter, done / n_rounds, 1))
    if not best.heard:
        reporter.message(
            "no peak says anything about the motion, so none is found: peaks at the outermost contacts and beyond don't"
        )
    stays = _stays(best.displacement_um, parameters)
    bands = tissue.by_band(best.displacement_um, best.sigma_um, stays, _BAND_UM)
    displacement_um, misplaced = agreement.shrunk(
        best.displacement_um, tissue.nodes, bands, best.prior.bending, parameters.shrinkage
    )
    return displacement_um, np.sqrt(best.covariance[..., 0] + misplaced)


def _stays(displacement_um: NDArray[np.float64], parameters: Parameters) -> NDArray[np.int64]:
    """(T,) the stay of each bin, see `tissue.Bands`."""
    shortest, longest = _n_bins(_SHORTEST_S, parameters), _n_bins(_LONGEST_S, parameters)
    stays, first = np.zeros(len(displacement_um), np.int64), 0
    for t in range(1, len(displacement_um)):
        away_um = np.abs(displacement_um[t] - displacement_um[first]).max()
        ends = t - first >= (shortest if away_um > _STAY_UM else longest)
        stays[t] = stays[t - 1] + ends
        first = t if ends else first
    return stays


def _n_bins(length_s: float, parameters: Parameters) -> int:
    return max(1, round(length_s / parameters.bin_s))


@dataclass
class _Attempt:
    """A displacement (T, W) on its way from a first one.

    prior: what is known of its steps. covariance: (T, W, 2) in µm², see `Solution`, of the last round in which steps
    were learned, or of all rounds. sigma_um: that the density was last smoothed by. heard: whether any peak said
    anything.
    """

    displacement_um: NDArray[np.float64]
    prior: Prior
    covariance: NDArray[np.float64]
    sigma_um: float = _FIRST_SIGMA_UM
    heard: bool = False

    @classmethod
    def of(cls, displacement_um: NDArray[np.float64], nodes: Nodes, parameters: Parameters) -> _Attempt:
        prior = Prior.of(displacement_um, *_of_prior(nodes, parameters), _FIRST_STEP_UM)
        return cls(displacement_um, prior, np.zeros((*displacement_um.shape, 2)))

    def go_on(self, tissue: Tissue, rounds: range, parameters: Parameters, reporter: Reporter) -> None:
        """`rounds` are counted from the first displacement on."""
        for done in rounds:
            self.sigma_um = max(parameters.depth_sigma_um, _FIRST_SIGMA_UM * _SHARPER**done)
            slopes, bends = tissue.evidence(self.displacement_um, self.sigma_um)
            solution = Solution(self.displacement_um, slopes, bends, self.prior)
            self.displacement_um, self.heard = solution.displacement_um, bool(bends.any())
            last = done == parameters.rounds - 1
            if last or done % _LEARN_EVERY == 0:
                self.covariance = solution.covariance()
            if not last and done % _LEARN_EVERY == 0:
                self.prior = self.prior.learned(self.displacement_um, self.covariance)
            del solution  # its equations are as large as those of the next round
            reporter.progress("estimate", done + 1 - rounds.start, len(rounds))

    def likelihood(self, tissue: Tissue) -> float:
        """Of a peak, in nats, as `Tissue.likelihood` has it."""
        return tissue.likelihood(self.displacement_um, self.sigma_um)


def _of_tissue(parameters: Parameters) -> TissueParameters:
    return TissueParameters(**{name: getattr(parameters, name) for name in TissueParameters.__dataclass_fields__})


def _of_prior(nodes: Nodes, parameters: Parameters) -> tuple[float, float, float]:
    """likeness, bending and freedom, for the bins and windows that there are."""
    likeness = min(float(np.exp(-nodes.spacing_um / parameters.likeness_um)), _MOST_LIKE)
    bending_um = max(parameters.bending_um * (nodes.spacing_um / _BENDING_UM) ** 2, _LEAST_BENDING_UM)
    return likeness, nodes.bin_s / bending_um**2, parameters.step_freedom


def _resting(displacement_um: NDArray[np.float64], bin_s: float) -> NDArray[np.float64]:
    """(W,) the zero of each depth: about where the tissue rests, less what isn't a straight line along the shank.

    Only differences can be seen, and depths whose zeros are of other times would look as if they moved differently. So
    they are those of the times at which it rests for long; else those of the beginning, if it rests then; else they are
    near the middle of where each depth gets to. With those of the beginning, too, all together are 0 where the tissue
    is for the most part: what is not moved keeps its traces.
    """
    low, median, high = np.percentile(displacement_um, (10, 50, 90), axis=0)
    near_um = np.maximum(_AT_REST * (high - low), _LEAST_REST_UM)
    if (np.abs(displacement_um - median) <= near_um).mean() >= _FOR_LONG:
        resting = median
    else:
        middle, within = (low + high) / 2, _NEAR_MIDDLE * (high - low)
        resting = np.clip(median, middle - within, middle + within)
        began = _at_first(displacement_um, near_um, math.ceil(_FIRST_S / bin_s))
        if began is not None:
            resting = began + np.median(displacement_um.mean(axis=1)) - began.mean()
    mean: NDArray[np.float64] = displacement_um.mean(axis=0)
    # only a straight line of it: at single depths the percentiles' own errors would show
    return mean + _line(resting - mean)


def _at_first(
    displacement_um: NDArray[np.float64], near_um: NDArray[np.float64], least: int
) -> NDArray[np.float64] | None:
    """(W,) median displacement while the tissue rests when the recording begins: until any depth is farther than
    `near_um`. None if that isn't longer than so many bins, or if it moves much then, too, compared with later."""
    near = np.abs(displacement_um - np.median(displacement_um[:least], axis=0)) <= near_um
    gone = np.flatnonzero(~near[least:].all(axis=1))
    until = least + gone[0] if len(gone) else len(displacement_um)
    moves_um = displacement_um[least:] - displacement_um[:-least]
    at_first_um = np.abs(moves_um[: until - least])
    if not at_first_um.size or np.median(at_first_um) > _STILL * np.sqrt((moves_um**2).mean()):
        return None
    began: NDArray[np.float64] = np.median(displacement_um[:until], axis=0)
    return began


def _line(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The straight line through evenly spaced values."""
    place = np.arange(len(values)) - (len(values) - 1) / 2
    line: NDArray[np.float64] = values.mean() + (place * values).sum() / ((place**2).sum() or 1) * place
    return line
