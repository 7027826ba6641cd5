import numpy as np
import pytest

from driftcli.simulate.drift import make_motion

SPAN_UM = (0.0, 600.0)
DRIFTS = ["zigzag", "bumps", "random_walk"]


def motion(
    drift, drift_um=40.0, period_s=40.0, jitter=0.3, gradient=0.0, span_s=(10.0, 100.0), span_um=SPAN_UM, seed=0
):
    return make_motion(drift, drift_um, period_s, jitter, gradient, span_s, span_um, np.random.default_rng(seed))


@pytest.mark.parametrize("drift", DRIFTS)
def test_rests_before_it_starts_and_covers_its_range(drift):
    made = motion(drift)
    rest = made.temporal_bins_s < 10
    assert not made.displacement_um[rest].any()
    assert np.ptp(made.displacement_um) == pytest.approx(40, abs=0.2)
    assert made.temporal_bins_s[0] == 0
    assert made.temporal_bins_s[-1] >= 100


@pytest.mark.parametrize("drift", DRIFTS)
def test_begins_where_it_rested(drift):
    made = motion(drift)
    at = made.at([9.99, 10.0, 10.1], 0.0)
    assert np.abs(np.diff(at)).max() < 1.5


def test_zigzag_has_the_period_speed_and_sign_it_was_asked_for():
    made = motion("zigzag", drift_um=20.0, period_s=20.0, span_s=(5.0, 60.0))
    np.testing.assert_allclose(
        made.at([5.0, 7.5, 10.0, 15.0, 20.0, 25.0, 30.0], 300.0), [0, 5, 10, 0, -10, 0, 10], atol=1e-9
    )


def test_bumps_are_level_but_for_jumps():
    made = motion("bumps")
    steps = np.diff(made.displacement_um[:, 0])
    assert (np.abs(steps) < 1e-9).mean() > 0.9
    assert np.abs(steps).max() > 1
    assert (steps > 1e-9).any()
    assert (steps < -1e-9).any()


@pytest.mark.parametrize(("period_s", "jump_s"), [(40.0, 0.5), (1.0, 0.3)])
def test_a_bump_takes_half_a_second_or_less_of_a_short_period(period_s, jump_s):
    made = motion("bumps", period_s=period_s, span_s=(0.0, 60.0))
    moving = np.abs(np.diff(made.displacement_um[:, 0])) > 1e-9
    edges = np.flatnonzero(np.diff(np.concatenate([[False], moving, [False]])))
    lengths = np.diff(made.temporal_bins_s)[0] * (edges[1::2] - edges[::2])
    # a jump begins anywhere between two points, and may touch one more step than it is long
    assert np.median(lengths) == pytest.approx(jump_s, abs=0.06)


@pytest.mark.parametrize("period_s", [1.0, 2.0, 40.0])
@pytest.mark.parametrize("jitter", [0.0, 0.3, 0.34, 0.5, 0.9])
def test_a_bump_is_over_before_the_next_begins(monkeypatch, period_s, jitter):
    knots_s, interp = [], np.interp
    monkeypatch.setattr(np, "interp", lambda at, x, y: knots_s.append(x) or interp(at, x, y))
    motion("bumps", period_s=period_s, jitter=jitter, span_s=(0.0, 400.0))
    assert (np.diff(knots_s[0]) > 0).all()


@pytest.mark.parametrize("jitter", [0.0, 0.3, 0.5, 0.9])
def test_times_between_bumps_differ_by_their_jitter(jitter):
    made = motion("bumps", period_s=40.0, span_s=(10.0, 4000.0), jitter=jitter)
    moving = np.abs(np.diff(made.displacement_um[:, 0])) > 1e-9
    starts_s = made.temporal_bins_s[:-1][np.diff(moving.astype(int), prepend=0) > 0]
    between_s = np.diff(starts_s)
    assert starts_s[0] == pytest.approx(12 + 20 * jitter, abs=20 * jitter + 0.1)
    assert between_s.mean() == pytest.approx(20, abs=2)
    assert between_s.min() == pytest.approx(20 * (1 - jitter), abs=1)
    assert between_s.max() == pytest.approx(20 * (1 + jitter), abs=1)


def test_random_walk_is_smooth_and_rough_enough():
    steps = np.abs(np.diff(motion("random_walk", span_s=(0.0, 300.0)).displacement_um[:, 0]))
    assert (steps > 0).mean() > 0.99
    assert steps.max() < 1


def test_random_walk_is_smoothed_over_half_a_second():
    """Steps smoothed by a Gaussian of sigma s correlate by exp(-lag^2 / 4 s^2)."""
    steps = np.diff(motion("random_walk", span_s=(0.0, 1000.0)).displacement_um[:, 0])
    for lag_s, expected in ((0.5, np.exp(-0.25)), (1.0, np.exp(-1))):
        lag = round(lag_s / 0.05)
        assert np.corrcoef(steps[lag:], steps[:-lag])[0, 1] == pytest.approx(expected, abs=0.06)


@pytest.mark.parametrize("drift", ["bumps", "random_walk"])
def test_follows_its_seed_and_its_period(drift):
    first = motion(drift).displacement_um
    np.testing.assert_array_equal(first, motion(drift).displacement_um)
    assert np.abs(first - motion(drift, seed=1).displacement_um).max() > 1
    assert np.abs(first - motion(drift, period_s=20.0).displacement_um).max() > 1


def test_non_rigid_moves_the_top_less():
    made = motion("zigzag", gradient=0.25)
    tip, middle, top = made.at(20.0, [0.0, 300.0, 600.0])
    assert tip == pytest.approx(20)
    assert middle == pytest.approx(20 * 0.875)
    assert top == pytest.approx(20 * 0.75)


def test_rigid_and_single_contact_have_one_window():
    assert motion("zigzag").displacement_um.shape[1] == 1
    assert motion("zigzag", gradient=0.5, span_um=(0.0, 0.0)).displacement_um.shape[1] == 1


def test_none_and_late_starts_do_not_move():
    assert not motion("none").displacement_um.any()
    for drift in DRIFTS:
        assert not motion(drift, span_s=(200.0, 100.0)).displacement_um.any()


@pytest.mark.parametrize("drift", DRIFTS)
def test_very_short_drifts(drift):
    assert np.isfinite(motion(drift, span_s=(1.0, 1.01)).displacement_um).all()
