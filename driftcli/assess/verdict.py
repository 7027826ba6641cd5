"""From scores to a verdict in words. The thresholds rest on simulated recordings: docs/assess.md has their table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from driftcli.model import Scores, SearchLimit, ShankAssessment

SIGNIFICANT = 2.5  # standard errors
GAIN = 0.01  # of alignment; what is less is no use to anybody
ERROR_OF_RANGE = 4.0  # so many expected errors wide is the range that errors alone make
STILL_UM = 5.0  # range below which a correction has nothing to gain beyond what it costs
ERROR_OF_MOTION = 0.125  # of the range: more of it is expected error where a correction is unsure
LINED_UP = 0.7  # alignment without a correction, below which drift may have been missed
CLOSED = 0.25  # of what is missing in the alignment; who gains as much may have a larger error
ERROR_OF_LARGE_GAIN = 0.8  # of the range: an error that not even that excuses, as the motion is little else
LEAVING = 0.25  # of the peaks: those that a correction moves off the probe are no longer out of line, but lost
AT_LIMIT = 0.05
MOST_SHANKS_TOLD = 16
LARGE_SHARE = 0.1  # of the peaks: a shank that counts


def verdict_of(scores: Scores) -> str:
    """One of `model.VERDICTS`."""
    if scores.gain is None or scores.gain_se is None:
        return "unsure"
    if scores.leaving > LEAVING:
        return "makes it worse"
    if scores.gain < -GAIN and scores.gain < -SIGNIFICANT * scores.gain_se:
        return "makes it worse"
    if _gains(scores) and _is_known_well(scores):
        return "helps"
    small = scores.range_um <= max(STILL_UM, ERROR_OF_RANGE * (scores.error_um or 0.0))
    return "no drift found" if small and not _gains(scores) and not _is_scattered(scores) else "unsure"


def _gains(scores: Scores) -> bool:
    """Whether peaks line up better, also those that the motion was not estimated from."""
    pairs = ((scores.gain, scores.gain_se), (scores.gain_held_out, scores.gain_held_out_se))
    return all(gain is not None and se is not None and gain >= GAIN and gain > SIGNIFICANT * se for gain, se in pairs)


def _is_scattered(scores: Scores) -> bool:
    """Whether peaks don't line up anyhow, so that something may move that was not found."""
    return scores.alignment_before is not None and scores.alignment_before < LINED_UP


def _is_known_well(scores: Scores) -> bool:
    error_um, gain, before = scores.error_um or 0.0, scores.gain or 0.0, scores.alignment_before or 0.0
    closes = gain >= CLOSED * (1 - before)
    return error_um <= (ERROR_OF_LARGE_GAIN if closes else ERROR_OF_MOTION) * scores.range_um


def reasons_for(scores: Scores, limit: SearchLimit | None) -> tuple[str, ...]:
    """What the verdict rests on, in words, the weightiest first."""
    return tuple(_reasons(scores, limit))


def _reasons(scores: Scores, limit: SearchLimit | None) -> Iterator[str]:
    if scores.alignment_before is None or scores.alignment_after is None:
        yield f"{scores.peaks:,} peaks are too few to tell whether they line up"
    else:
        yield (
            f"alignment of peaks over time {scores.alignment_before:.2f} before, {scores.alignment_after:.2f} after, "
            f"gain {scores.gain:+.2f}{_uncertainty(scores)}"
        )
    yield f"the tissue moves over {_um(scores.range_um)}{_expected_error(scores)}"
    if scores.leaving > LEAVING:
        yield f"{scores.leaving:.0%} of the peaks are moved off the probe"
    if scores.gain is not None and scores.gain >= GAIN and not _gains(scores):
        yield "peaks that the motion was not estimated from don't line up better with certainty"
    if _is_scattered(scores) and not _gains(scores):
        yield "much stays out of line: the drift may be faster than temporal bins, or units fire at changing rates"
    if scores.residual_um is not None:
        yield f"{_um(scores.residual_um)} of motion are found again in the corrected peaks"
    if scores.at_limit > AT_LIMIT and limit is not None:
        yield (
            f"{scores.at_limit:.0%} of the motion is {limit.limit_um:g} µm or more from its middle, as far as the "
            f"estimate searches: raise {limit.key}"
        )
    if scores.jumps:
        yield f"{scores.jumps} temporal bins jump by more than 5 µm and back{_unsupported(scores)}"


def _um(value: float) -> str:
    return f"{value:.2f} µm" if value < 1 else f"{value:.1f} µm"


def _uncertainty(scores: Scores) -> str:
    return "" if scores.gain_se is None else f" ± {scores.gain_se:.2f}"


def _expected_error(scores: Scores) -> str:
    return "" if scores.error_um is None else f", with an expected error of {_um(scores.error_um)} or more"


def _unsupported(scores: Scores) -> str:
    return f", {scores.unsupported_jumps} of them not in both halves of the peaks" if scores.unsupported_jumps else ""


def overall(shanks: Mapping[int, ShankAssessment]) -> tuple[str, tuple[str, ...]]:
    """The verdict on a recording, and why. A shank with few of the peaks decides nothing, unless all have few."""
    if not shanks:
        return "unsure", ("no shank has peaks to tell from",)
    first, *others = shanks.values()
    if all(other is first for other in others):  # one shank, or several that move as one
        return first.verdict, first.reasons
    total = sum(shank.scores.peaks for shank in shanks.values())
    counting = [shank for shank in shanks.values() if shank.scores.peaks >= LARGE_SHARE * total] or shanks.values()
    said = {shank.verdict for shank in counting}
    told = [f"shank {number}: {shank.verdict}; {shank.reasons[0]}" for number, shank in shanks.items()]
    more = [f"and {len(told) - MOST_SHANKS_TOLD} more shanks"] if len(told) > MOST_SHANKS_TOLD else []
    return _verdict_of_all(said), (*told[:MOST_SHANKS_TOLD], *more)


def _verdict_of_all(said: set[str]) -> str:
    if len(said) == 1:
        return next(iter(said))
    return next((verdict for verdict in ("makes it worse", "helps") if verdict in said), "unsure")
