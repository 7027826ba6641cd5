"""Jumps of single bins, and the share of a motion at the limit of the search."""

import numpy as np
import pytest

from driftcli.assess.jumps import count_jumps, excursions_um
from driftcli.assess.limit import share_at_limit
from driftcli.model import Motion, SearchLimit

WHOLE = np.zeros(9, bool)


def column(*values):
    return np.array(values, float)[:, None]


def slow_excursions(values, parted):
    found = [0.0] * len(values)
    for t in range(1, len(values) - 1):
        before, after = values[t] - values[t - 1], values[t] - values[t + 1]
        if before * after > 0 and not parted[t - 1] and not parted[t]:
            found[t] = min(before, after, key=abs)
    return found


@pytest.mark.parametrize("seed", range(5))
def test_excursions_are_those_of_a_plain_loop(seed):
    rng = np.random.default_rng(seed)
    values, parted = rng.normal(0, 5, 30), rng.random(29) < 0.1
    assert excursions_um(values[:, None], parted)[:, 0].tolist() == slow_excursions(values, parted)


def test_a_step_and_a_slope_are_no_jumps():
    step, slope = column(0, 0, 0, 0, 20, 20, 20, 20, 20, 20), column(*range(0, 100, 10))
    for each in (step, slope):
        assert count_jumps(excursions_um(each, WHOLE), None) == (0, None)


def test_one_bin_that_leaves_is_a_jump_either_way_but_not_at_a_break():
    for height in (8.0, -8.0):
        jumping = column(0, 0, 0, height, 0, 0, 0, 0, 0, 0)
        assert excursions_um(jumping, WHOLE)[3, 0] == height
        assert count_jumps(excursions_um(jumping, WHOLE), None) == (1, None)
        assert count_jumps(excursions_um(jumping, np.arange(9) == 3), None) == (0, None)
    assert count_jumps(excursions_um(column(0, 0, 4.9, 0, 0, 0, 0, 0, 0, 0), WHOLE), None) == (0, None)


def test_bins_count_once_however_many_windows_jump():
    jumping = np.zeros((10, 3))
    jumping[4] = 9
    assert count_jumps(excursions_um(jumping, WHOLE), None)[0] == 1


@pytest.mark.parametrize(
    ("halves", "unsupported"), [((8, 8), 0), ((8, 0), 1), ((8, -8), 1), ((4, 4), 0), ((4, 3.9), 1)]
)
def test_a_jump_is_supported_by_both_halves_or_not(halves, unsupported):
    jumping = column(0, 0, 0, 8, 0, 0, 0, 0, 0, 0)
    of_halves = [np.where(jumping > 0, height, 0.0) for height in halves]
    assert count_jumps(jumping, of_halves) == (1, unsupported)


def test_two_bins_have_no_jump():
    assert count_jumps(excursions_um(column(0, 50), np.zeros(1, bool)), None) == (0, None)


def test_the_share_at_the_limit_counts_from_the_median():
    displacement_um = np.repeat(column(*[10.0] * 7, 29.0, 30.0, -9.0), 2, axis=1)
    moves = Motion(displacement_um, np.arange(10.0), np.array([0.0, 100.0]))
    assert share_at_limit(moves, SearchLimit(20.0, "key")) == pytest.approx(0.3)
    assert share_at_limit(moves, SearchLimit(20.5, "key")) == pytest.approx(0.1)
    assert share_at_limit(moves, SearchLimit(100.0, "key")) == 0


def test_a_walk_beyond_the_limit_is_none_where_far_times_are_not_compared():
    walk = Motion(np.arange(200.0)[:, None], np.arange(200.0), np.array([0.0]))
    assert share_at_limit(walk, SearchLimit(50.0, "key")) > 0.4
    assert share_at_limit(walk, SearchLimit(50.0, "key", horizon_s=20.0)) == 0
