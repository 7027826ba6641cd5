"""All scores of one motion, from its peaks and from what its estimate finds in halves of them and in corrected ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from driftcli.assess import halves as of_halves
from driftcli.assess.alignment import Alignment, alignment_of, gain_of
from driftcli.assess.jumps import count_jumps, excursions_um
from driftcli.assess.limit import share_at_limit
from driftcli.assess.verdict import reasons_for, verdict_of
from driftcli.model import DepthPeaks, Motion, Scores, SearchLimit, ShankAssessment

_AROUND_UM = 50.0  # how far from the outermost contact a peak may still be of these
_BEYOND_UM = 100.0  # peaks may be localized so far beyond the contacts, or be moved there


def assess_shank(
    peaks: DepthPeaks,
    motion: Motion,
    halves: tuple[Motion, Motion] | None,
    left: Motion | None,
    span_um: tuple[float, float],
    duration_s: float,
    limit: SearchLimit | None,
) -> ShankAssessment:
    """The verdict on the motion of one shank.

    peaks: all that the estimate took, at their times in the recording. halves: motions of two halves of them, as
    `halves.in_first_half` parts them. left: motion that is found in the corrected peaks. Both None where none could be
    estimated. span_um: lowest and highest depth of the contacts. limit: of the method's search, None if it has none.
    """
    unknown = np.full(motion.displacement_um.shape, np.nan)
    residual_um = unknown if left is None else of_halves.centred(of_halves.on_bins_of(motion, left))
    error_um = unknown
    if halves is not None and left is not None:
        error_um = of_halves.expected_error_um(motion, halves, residual_um)
    scores = _scores(peaks, motion, halves, residual_um, error_um, span_um, duration_s, limit)
    return ShankAssessment(verdict_of(scores), reasons_for(scores, limit), scores, error_um, residual_um)


def _scores(
    peaks: DepthPeaks,
    motion: Motion,
    halves: tuple[Motion, Motion] | None,
    residual_um: NDArray[np.float64],
    error_um: NDArray[np.float64],
    span_um: tuple[float, float],
    duration_s: float,
    limit: SearchLimit | None,
) -> Scores:
    def aligned(some: DepthPeaks) -> Alignment:
        return alignment_of(some, duration_s, (span_um[0] - _BEYOND_UM, span_um[1] + _BEYOND_UM))

    corrected = of_halves.corrected(peaks, motion)
    before, after = aligned(peaks), aligned(corrected)
    gain, gain_se = gain_of(before, after)
    held_out = held_out_se = split_half_um = None
    if halves is not None:
        held_out, held_out_se = gain_of(before, aligned(of_halves.corrected_by_the_other_half(peaks, halves)))
        split_half_um = _rms(of_halves.split_half_um(motion, halves))
    of_both = None if halves is None else [_excursions(motion, of_halves.on_bins_of(motion, half)) for half in halves]
    jumps, unsupported = count_jumps(_excursions(motion, motion.displacement_um), of_both)
    low, high = np.percentile(motion.displacement_um, [2.5, 97.5], axis=0)
    return Scores(
        peaks=len(peaks),
        range_um=float((high - low).max()),
        alignment_before=before.value,
        alignment_after=after.value,
        gain=gain,
        gain_se=gain_se,
        gain_held_out=held_out,
        gain_held_out_se=held_out_se,
        split_half_um=split_half_um,
        residual_um=_rms(residual_um),
        error_um=_rms(error_um),
        at_limit=0.0 if limit is None else share_at_limit(motion, limit),
        leaving=_leaving(peaks, corrected, span_um),
        jumps=jumps,
        unsupported_jumps=unsupported,
    )


def _leaving(peaks: DepthPeaks, corrected: DepthPeaks, span_um: tuple[float, float]) -> float:
    """Share of the peaks along the contacts that are not there any more when corrected."""
    low_um, high_um = span_um[0] - _AROUND_UM, span_um[1] + _AROUND_UM
    here, there = ((each.depth_um >= low_um) & (each.depth_um <= high_um) for each in (peaks, corrected))
    return float((here & ~there).sum() / max(here.sum(), 1))


def _excursions(motion: Motion, displacement_um: NDArray[np.float64]) -> NDArray[np.float64]:
    return excursions_um(displacement_um, motion.parted)


def _rms(values: NDArray[np.float64]) -> float | None:
    """None where nothing is known."""
    return None if np.isnan(values).all() else float(np.sqrt(np.nanmean(values**2)))
