import numpy as np
import pytest

from driftcli.simulate.rates import draw_clocks

DEPTHS_UM = np.array([10.0, 140.0, 160.0, 290.0, 900.0, -20.0])
DURATION_S = 600.0


@pytest.fixture
def clocks():
    return draw_clocks(DEPTHS_UM, DURATION_S, np.random.default_rng(0))


def rates(clocks):
    return np.diff(clocks.clock_s, axis=1) / np.diff(clocks.times_s)


def test_clocks_never_stand_still_and_end_with_the_true_one(clocks):
    assert clocks.times_s[[0, -1]].tolist() == [0, DURATION_S]
    assert not clocks.clock_s[:, 0].any()
    np.testing.assert_allclose(clocks.clock_s[:, -1], DURATION_S)
    assert rates(clocks).min() > 0


def test_layers_of_150_um_have_one_clock_each(clocks):
    alike = [[bool((a == b).all()) for b in clocks.clock_s] for a in clocks.clock_s]
    layer = np.floor(DEPTHS_UM / 150)
    np.testing.assert_array_equal(alike, layer[:, None] == layer)


def test_rates_swing_37_fold_and_fall_silent_for_5_to_20_s_about_once_a_minute():
    for rate in rates(draw_clocks(np.arange(4) * 150.0, 6000.0, np.random.default_rng(0))):
        silent = rate < 0.01
        edges = np.flatnonzero(np.diff(np.concatenate([[False], silent, [False]])))
        lengths_s = 0.1 * (edges[1::2] - edges[::2])
        assert 60 < len(lengths_s) < 105  # one may run into another
        assert lengths_s.min() > 4.8
        assert np.median(lengths_s) == pytest.approx(13, abs=2.5)
        assert 36 < rate.max() / rate[~silent].min() < 37


def test_a_swing_takes_one_to_two_minutes():
    rate = rates(draw_clocks(np.array([0.0]), 6000.0, np.random.default_rng(1)))[0]
    power = np.abs(np.fft.rfft(rate - rate.mean())) ** 2
    assert 60 <= 6000 / power.argmax() <= 120


def test_true_times_are_those_that_a_clock_shows(clocks):
    shown = np.array([0.0, 1.3, 77.7, 599.0])
    for unit in (0, 4):
        true_s = clocks.true_s(unit, shown)
        for wanted, at in zip(shown, true_s, strict=True):
            before = int(np.searchsorted(clocks.times_s, at, "right")) - 1
            low, high = clocks.clock_s[unit, before], clocks.clock_s[unit, min(before + 1, 6000)]
            assert low - 1e-9 <= wanted <= high + 1e-9


@pytest.mark.parametrize("duration_s", [1e-6, 0.1, 2.3])
def test_short_recordings_and_no_units(duration_s):
    clocks = draw_clocks(DEPTHS_UM, duration_s, np.random.default_rng(0))
    np.testing.assert_allclose(clocks.clock_s[:, -1], duration_s)
    assert draw_clocks(np.empty(0), duration_s, np.random.default_rng(0)).clock_s.shape[0] == 0
