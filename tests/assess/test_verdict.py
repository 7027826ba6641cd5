"""From scores to words."""

from dataclasses import replace

import numpy as np
import pytest

from driftcli.assess.verdict import MOST_SHANKS_TOLD, overall, reasons_for, verdict_of
from driftcli.model import VERDICTS, Scores, SearchLimit, ShankAssessment

GOOD = Scores(
    peaks=50_000,
    range_um=30.0,
    alignment_before=0.4,
    alignment_after=0.9,
    gain=0.5,
    gain_se=0.05,
    gain_held_out=0.48,
    gain_held_out_se=0.05,
    split_half_um=0.6,
    residual_um=0.2,
    error_um=0.4,
    at_limit=0.0,
    leaving=0.0,
    jumps=0,
    unsupported_jumps=0,
)
STILL = replace(
    GOOD, alignment_before=0.9, range_um=2.0, gain=0.001, gain_se=0.002, gain_held_out=-0.001, gain_held_out_se=0.002
)
UNKNOWN = replace(GOOD, alignment_before=None, alignment_after=None, gain=None, gain_se=None, gain_held_out=None)


@pytest.mark.parametrize(
    ("scores", "verdict"),
    [
        (GOOD, "helps"),
        (replace(GOOD, gain=0.02, gain_se=0.004, gain_held_out=0.018, gain_held_out_se=0.004), "helps"),
        (replace(GOOD, gain_se=0.25), "unsure"),
        (replace(GOOD, gain_held_out=0.05, gain_held_out_se=0.05), "unsure"),
        (replace(GOOD, gain_held_out=None), "unsure"),
        (replace(GOOD, gain=-0.1, gain_se=0.02), "makes it worse"),
        (replace(GOOD, gain=-0.1, gain_se=0.05), "unsure"),
        (replace(GOOD, gain=-0.009, gain_se=0.001), "unsure"),
        (STILL, "no drift found"),
        (replace(STILL, range_um=8.0, error_um=2.1), "no drift found"),
        (replace(STILL, range_um=8.0, error_um=1.0), "unsure"),
        (replace(STILL, gain=0.05, gain_se=0.01), "no drift found"),  # only the peaks it was estimated from gain
        (replace(GOOD, error_um=20.0), "helps"),  # much of what was missing is there again
        (replace(GOOD, error_um=20.0, gain=0.1, gain_se=0.01), "unsure"),
        (replace(GOOD, error_um=31.0), "unsure"),  # an error beyond the motion itself, however peaks line up
        (replace(GOOD, leaving=0.3), "makes it worse"),  # what is moved off the probe can't be out of line
        (replace(GOOD, leaving=0.2), "helps"),
        (replace(STILL, alignment_before=0.5, alignment_after=0.5), "unsure"),  # something moves that was not found
        (UNKNOWN, "unsure"),
    ],
)
def test_scores_have_a_verdict(scores, verdict):
    assert verdict in VERDICTS
    assert verdict_of(scores) == verdict


def test_reasons_tell_the_numbers():
    told = " | ".join(reasons_for(replace(GOOD, jumps=3, unsupported_jumps=2, at_limit=0.2), SearchLimit(100.0, "a.b")))
    for words in ("0.40 before, 0.90 after", "± 0.05", "30.0 µm", "0.40 µm", "0.20 µm", "3 temporal bins", "2 of them"):
        assert words in told
    assert "20% of the motion" in told
    assert "raise a.b" in told


def test_reasons_are_silent_of_what_is_not_there():
    told = " | ".join(reasons_for(GOOD, None))
    assert "jump" not in told
    assert "raise" not in told
    assert "too few" in reasons_for(UNKNOWN, None)[0]
    assert "with certainty" in " | ".join(reasons_for(replace(GOOD, gain_held_out=0.0), None))


def shank(verdict, peaks=1_000):
    return ShankAssessment(verdict, (f"why {verdict}",), replace(GOOD, peaks=peaks), np.zeros((1, 1)), np.zeros((1, 1)))


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (["helps", "no drift found"], "helps"),
        (["helps", "makes it worse"], "makes it worse"),
        (["helps", "unsure"], "helps"),
        (["no drift found", "no drift found"], "no drift found"),
        (["no drift found", "unsure"], "unsure"),
    ],
)
def test_shanks_have_one_verdict_together(verdicts, expected):
    verdict, reasons = overall({number: shank(each) for number, each in enumerate(verdicts)})
    assert verdict == expected
    assert reasons == tuple(f"shank {number}: {each}; why {each}" for number, each in enumerate(verdicts))


def test_a_shank_with_few_peaks_decides_nothing():
    assert overall({0: shank("helps", 10_000), 1: shank("makes it worse", 100)})[0] == "helps"


def test_one_shank_speaks_for_itself_and_none_is_unsure():
    assert overall({3: shank("helps")}) == ("helps", ("why helps",))
    assert overall({})[0] == "unsure"


def test_not_more_shanks_are_told_of_than_anybody_reads():
    _, reasons = overall({number: shank("helps") for number in range(MOST_SHANKS_TOLD + 5)})
    assert len(reasons) == MOST_SHANKS_TOLD + 1
    assert reasons[-1] == "and 5 more shanks"
