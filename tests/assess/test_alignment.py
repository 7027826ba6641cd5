"""Alignment: against the pair-by-pair oracle, and what it must and must not depend on."""

import numpy as np
import pytest

from driftcli.assess.alignment import alignment_of, gain_of
from driftcli.model import DepthPeaks
from oracles import alignment as oracle

DURATION_S, SPAN_UM = 60.0, (0.0, 600.0)


def peaks_of(n=6_000, drift_um=0.0, seed=0, n_units=12, scatter_um=4.0, duration_s=DURATION_S):
    """Peaks of units that move together to and fro."""
    rng = np.random.default_rng(seed)
    time_s = np.sort(rng.uniform(0, duration_s, n))
    unit = rng.integers(0, n_units, n)
    depth_um = rng.uniform(100, 500, n_units)[unit] + drift_um * np.sin(2 * np.pi * time_s / 20)
    amplitude = -rng.lognormal(4.5, 0.6, n_units)[unit] * rng.normal(1, 0.05, n)
    return DepthPeaks(time_s, depth_um + rng.normal(0, scatter_um, n), amplitude)


@pytest.mark.parametrize("seed", range(3))
def test_it_is_that_of_all_pairs(seed):
    peaks = peaks_of(400, drift_um=8.0, seed=seed, n_units=3, duration_s=5.0)
    ours = alignment_of(peaks, 5.0, SPAN_UM).value
    assert ours == pytest.approx(oracle.alignment(peaks.time_s, peaks.depth_um, peaks.amplitude, *SPAN_UM), rel=1e-5)


@pytest.mark.parametrize(("apart_um", "by_hand"), [(0.0, 1.0), (5.0, 0.457), (10.0, -0.085)])
def test_it_is_what_docs_assess_md_says(apart_um, by_hand):
    """40 peaks of one amplitude at 300 µm in the first second, 40 somewhat higher in the next.

    Of one second, all pairs meet: 1. Of different ones 1, 0.5 or 0 do, as meetings fall from 1 to 0 over 10 µm in a
    straight line. By chance: that triangle has an area of 10 µm, and a depth known to 50 µm up and down (a Gaussian)
    has at its middle a density of 1 / (50 µm sqrt(2 pi)) = 0.00798 per µm. So 0.0798 meet, some less as the triangle
    has a width, 0.0795, and as half of all pairs are 5 or 10 µm apart: 0.0794 or 0.0787.

    (1 - 0.0795) / (1 - 0.0795) = 1; (0.5 - 0.0794) / (1 - 0.0794) = 0.457; (0 - 0.0787) / (1 - 0.0787) = -0.085.
    """
    time_s = np.repeat([0.5, 1.5], 40)
    depth_um = np.repeat([300.0, 300.0 + apart_um], 40)
    peaks = DepthPeaks(time_s, depth_um, np.full(80, -100.0))
    assert alignment_of(peaks, 2.0, SPAN_UM).value == pytest.approx(by_hand, abs=0.002)


def test_peaks_beyond_the_span_do_not_count():
    peaks = peaks_of(400, seed=1, n_units=3, duration_s=5.0)
    span_um = (150.0, 400.0)
    assert (peaks.depth_um < 150).any() or (peaks.depth_um >= 400).any()
    expected = oracle.alignment(peaks.time_s, peaks.depth_um, peaks.amplitude, *span_um)
    assert alignment_of(peaks, 5.0, span_um).value == pytest.approx(expected, rel=1e-5)


def test_it_is_one_where_nothing_moves_and_none_where_depths_are_lost():
    assert alignment_of(peaks_of(), DURATION_S, SPAN_UM).value == pytest.approx(1.0, abs=0.03)
    still = peaks_of()
    second = np.floor(still.time_s).astype(int)
    jumping_um = np.random.default_rng(1).uniform(-40, 40, 60)[second]
    lost = DepthPeaks(still.time_s, still.depth_um + jumping_um, still.amplitude)
    assert abs(alignment_of(lost, DURATION_S, SPAN_UM).value) < 0.15


def test_it_falls_the_further_units_move():
    values = [alignment_of(peaks_of(drift_um=um), DURATION_S, SPAN_UM).value for um in (0, 3, 6, 12, 25)]
    assert (np.diff(values) < -0.03).all()


def test_few_peaks_make_it_no_better_or_worse_on_average():
    moving = peaks_of(20_000, drift_um=8.0)
    whole = alignment_of(moving, DURATION_S, SPAN_UM).value
    some = []
    for seed in range(20):
        kept = np.random.default_rng(seed).random(len(moving)) < 0.1
        few = DepthPeaks(moving.time_s[kept], moving.depth_um[kept], moving.amplitude[kept])
        some.append(alignment_of(few, DURATION_S, SPAN_UM).value)
    assert np.mean(some) == pytest.approx(whole, abs=4 * np.std(some) / np.sqrt(20) + 0.005)


def test_too_few_peaks_have_none():
    assert alignment_of(peaks_of(20), DURATION_S, SPAN_UM).value is None
    assert alignment_of(peaks_of(0), DURATION_S, SPAN_UM).value is None
    one_moment = peaks_of(500, duration_s=0.9)
    assert alignment_of(one_moment, 0.9, SPAN_UM).value is None


def test_the_gain_has_the_error_that_other_draws_show():
    gains, errors = [], []
    for seed in range(30):
        moving = peaks_of(4_000, drift_um=5.0, seed=seed, n_units=40)
        put_back_um = moving.depth_um - 5.0 * np.sin(2 * np.pi * moving.time_s / 20)
        put_back = DepthPeaks(moving.time_s, put_back_um, moving.amplitude)
        before, after = (alignment_of(each, DURATION_S, SPAN_UM) for each in (moving, put_back))
        gain, error = gain_of(before, after)
        assert gain == after.value - before.value
        gains.append(gain)
        errors.append(error)
    assert min(gains) > 0
    assert 0.3 * np.std(gains) < np.median(errors) < 3 * np.std(gains)


def test_no_gain_where_one_of_both_is_unknown():
    known, unknown = (alignment_of(peaks_of(n), DURATION_S, SPAN_UM) for n in (6_000, 5))
    assert gain_of(known, unknown) == gain_of(unknown, known) == (None, None)


def test_the_same_peaks_gain_nothing():
    known = alignment_of(peaks_of(), DURATION_S, SPAN_UM)
    assert gain_of(known, known) == (0.0, 0.0)
