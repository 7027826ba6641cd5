"""Halves of the peaks, and the error that their motions foretell."""

import numpy as np
import pytest

from driftcli.assess import halves
from driftcli.model import DepthPeaks, Motion

TIMES_S, DEPTHS_UM = np.arange(0.5, 100), np.array([100.0, 500.0])


def motion(displacement_um):
    return Motion(np.broadcast_to(displacement_um, (100, 2)).astype(float), TIMES_S, DEPTHS_UM)


def test_halves_are_halves_and_always_the_same():
    first = halves.in_first_half(10_001)
    assert abs(first.mean() - 0.5) < 0.02
    assert (first == halves.in_first_half(10_001)).all()
    assert abs(np.corrcoef(first[:-1], first[1:])[0, 1]) < 0.05


def test_peaks_are_corrected_by_the_displacement_there_and_then():
    moves = motion(np.column_stack([TIMES_S, 3 * TIMES_S]))
    peaks = DepthPeaks(np.array([10.5, 20.5]), np.array([100.0, 500.0]), np.array([-1.0, -2.0]))
    assert halves.corrected(peaks, moves).depth_um.tolist() == [100 - 10.5, 500 - 61.5]


def test_each_half_is_corrected_by_the_motion_of_the_other_at_one_zero():
    n = 1_000
    peaks = DepthPeaks(np.linspace(0, 99, n), np.full(n, 300.0), np.full(n, -1.0))
    first = halves.in_first_half(n)
    wave = 5 * np.sin(TIMES_S)[:, None]
    both = motion(wave + 7.0), motion(0 * wave + 2.0)  # differ by 5 all the time, in the median
    depth_um = halves.corrected_by_the_other_half(peaks, both).depth_um
    assert depth_um[first] == pytest.approx(300 - 2.0 - np.median(wave + 5.0))
    assert depth_um[~first] == pytest.approx(300 - both[0].at(peaks.time_s[~first], 300.0))


def test_a_constant_between_motions_is_no_error():
    moves = motion(np.sin(TIMES_S)[:, None])
    shifted = motion(moves.displacement_um + 30)
    assert np.abs(halves.split_half_um(moves, (moves, shifted))).max() < 1e-12
    assert np.abs(halves.expected_error_um(moves, (moves, shifted), np.zeros((100, 2)))).max() < 1e-12


def test_the_expected_error_is_that_of_an_estimate_from_all_peaks():
    """Halves whose errors are independent, with twice the variance of the whole's, which lies between them."""
    rng = np.random.default_rng(0)
    found, true = [], []
    for _ in range(40):
        noise = rng.normal(0, 2 * np.sqrt(2), (2, 100, 2))
        whole = motion(noise.mean(axis=0))
        expected = halves.expected_error_um(whole, (motion(noise[0]), motion(noise[1])), np.zeros((100, 2)))
        found.append((expected**2).mean())
        true.append((whole.displacement_um**2).mean())
    assert np.sqrt(np.mean(found)) == pytest.approx(np.sqrt(np.mean(true)), rel=0.05)


def test_what_is_found_again_and_what_no_half_shows_comes_on_top():
    still, off = motion(0.0), motion(np.where(TIMES_S < 50, 4.0, -4.0)[:, None])
    assert halves.expected_error_um(off, (still, still), np.zeros((100, 2)))[20, 0] == pytest.approx(4.0)
    assert halves.expected_error_um(still, (still, still), np.full((100, 2), 3.0))[20, 0] == pytest.approx(3.0)
    assert halves.expected_error_um(off, (still, still), np.full((100, 2), 3.0))[20, 0] == pytest.approx(5.0)


def test_it_says_where():
    first, second = motion(0.0), motion(np.column_stack([np.where(TIMES_S > 80, 6.0, 0.0), np.zeros(100)]))
    expected = halves.expected_error_um(motion(0.0), (first, second), np.zeros((100, 2)))
    assert expected[95, 0] > 3
    assert expected[:70].max() == 0
    assert expected[:, 1].max() == 0


def test_motions_on_other_bins_are_looked_up():
    coarse = Motion(np.array([[0.0], [10.0]]), np.array([0.0, 100.0]), np.array([300.0]))
    assert halves.on_bins_of(motion(0.0), coarse)[:, 0] == pytest.approx(TIMES_S / 10)
