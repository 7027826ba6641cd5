"""The prior and the step that it and the evidence ask for, against dense matrices."""

import numpy as np
import pytest

from driftcli.estimate.penalized import Prior, Solution, equations_bytes
from oracles import likelihood as oracle

LIKENESS, BENDING, FREEDOM = 0.9, 40.0, 1.5


def some_evidence(n_bins, n_windows, seed=0):
    """(displacement, slopes, bends (T, W, 2), the same as (T, W, W)); some bins have none."""
    rng = np.random.default_rng(seed)
    displacement_um, slopes = rng.normal(0, 5, (n_bins, n_windows)), rng.normal(0, 30, (n_bins, n_windows))
    bends, of_all = np.zeros((n_bins, n_windows, 2)), np.zeros((n_bins, n_windows, n_windows))
    for t in range(n_bins):
        for w in range(n_windows):
            bends[t, w, 0] += rng.uniform(5, 20)
            if w + 1 < n_windows:
                bends[t, w, 1] = rng.uniform(0, 2)
    none = np.arange(n_bins) % 5 == 3
    bends[none], slopes[none] = 0, 0
    for w in range(n_windows):
        of_all[:, w, w] = bends[:, w, 0]
        if w + 1 < n_windows:
            of_all[:, w, w + 1] = of_all[:, w + 1, w] = bends[:, w, 1]
    return displacement_um, slopes, bends, of_all


def some_prior(n_bins, seed=3):
    tension = np.exp(np.random.default_rng(seed).normal(1, 2, n_bins - 1))
    return Prior(LIKENESS, BENDING, FREEDOM, 0.3, tension)


def near(covariance, n_bins, n_windows):
    """(T, W, 2) of a dense covariance: of each with itself, and with the next bin's."""
    found = np.zeros((n_bins * n_windows, 2))
    for i in range(len(found)):
        found[i, 0] = covariance[i, i]
        if i + n_windows < len(found):
            found[i, 1] = covariance[i + n_windows, i]
    return found.reshape(n_bins, n_windows, 2)


SHAPES = [(1, 1), (1, 4), (2, 1), (2, 2), (9, 1), (9, 2), (9, 3), (12, 7)]


@pytest.mark.parametrize("shape", SHAPES)
def test_step_and_covariance_are_the_dense_ones(shape):
    displacement_um, slopes, bends, of_all = some_evidence(*shape)
    prior = some_prior(shape[0])
    solution = Solution(displacement_um, slopes, bends, prior)
    expected, covariance = oracle.solution(displacement_um, slopes, of_all, LIKENESS, BENDING, prior.tension)
    np.testing.assert_allclose(solution.displacement_um, expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(solution.covariance(), near(covariance, *shape), rtol=1e-9, atol=1e-12)
    assert np.abs(expected - displacement_um).max() > 0.1


@pytest.mark.parametrize("shape", [(2, 1), (9, 3), (12, 7)])
def test_steps_are_learned_as_the_oracle_learns_them(shape):
    displacement_um, slopes, bends, of_all = some_evidence(*shape)
    prior = some_prior(shape[0])
    found = prior.learned(displacement_um, Solution(displacement_um, slopes, bends, prior).covariance())
    _, covariance = oracle.solution(displacement_um, slopes, of_all, LIKENESS, BENDING, prior.tension)
    step_um, tension = oracle.learned(displacement_um, covariance, 0.3, FREEDOM)
    assert found.step_um == pytest.approx(step_um, rel=1e-9)
    np.testing.assert_allclose(found.tension, tension, rtol=1e-9)
    assert (found.likeness, found.bending, found.freedom) == (LIKENESS, BENDING, FREEDOM)


@pytest.mark.parametrize("shape", [(1, 2), (2, 1), (9, 3)])
@pytest.mark.parametrize("size_um", [0.01, 3.0])
def test_a_first_prior_has_the_steps_of_a_displacement(shape, size_um):
    displacement_um = np.random.default_rng(0).normal(0, size_um, shape)
    prior = Prior.of(displacement_um, LIKENESS, BENDING, FREEDOM, 0.25)
    step_um, tension = oracle.first_steps(displacement_um, FREEDOM, 0.25)
    assert prior.step_um == pytest.approx(step_um, rel=1e-12)
    np.testing.assert_allclose(prior.tension, tension, rtol=1e-12)
    assert (step_um > 0.25) == (size_um > 1 and shape[0] > 1)


def test_a_first_prior_is_not_loose_for_a_single_jump():
    displacement_um = np.cumsum(np.random.default_rng(0).normal(0, 0.5, (200, 1)), axis=0)
    displacement_um[100:] += 200
    prior = Prior.of(displacement_um, LIKENESS, BENDING, 1.0, 0.2)
    assert 0.2 < prior.step_um < 0.5
    assert prior.tension[99] < 1e-4 * np.median(prior.tension)


def still_prior(n_bins, freedom=FREEDOM, step_um=0.2):
    """All steps weigh the same."""
    return Prior(LIKENESS, BENDING, freedom, step_um, np.full(n_bins - 1, step_um**-2))


def test_one_bin_teaches_nothing():
    prior = still_prior(1)
    assert prior.learned(np.zeros((1, 3)), np.zeros((1, 3, 2))) is prior


def test_a_still_recording_keeps_some_size_of_steps():
    prior = still_prior(50)
    for _ in range(60):
        prior = prior.learned(np.zeros((50, 2)), np.zeros((50, 2, 2)))
    assert prior.step_um == 1e-3
    assert np.isfinite(prior.tension).all()


def test_a_jump_gets_away_and_rest_is_held():
    displacement_um = np.zeros((40, 2))
    displacement_um[20:] = 30.0
    displacement_um += np.random.default_rng(0).normal(0, 0.02, (40, 1))
    prior = still_prior(40, freedom=1.0)
    for _ in range(10):
        prior = prior.learned(displacement_um, np.zeros((40, 2, 2)))
    assert prior.step_um < 0.1
    assert prior.tension[19] < 1e-2 * np.delete(prior.tension, 19).min()


def evidence_at(places_um, n_windows, hold=100.0):
    """Certain of a displacement in some bins: what the evidence of a displacement of 0 is. places_um: bin -> µm."""
    n_bins = max(places_um) + 1
    slopes, bends = np.zeros((n_bins, n_windows)), np.zeros((n_bins, n_windows, 2))
    for t, place_um in places_um.items():
        slopes[t], bends[t, :, 0] = hold * place_um, hold
    return np.zeros((n_bins, n_windows)), slopes, bends


@pytest.mark.parametrize("n_windows", [1, 2, 5])
def test_bins_without_evidence_lie_on_the_straight_line_and_are_uncertain(n_windows):
    evidence = evidence_at({0: 2.0, 1: 2.0, 9: 10.0, 10: 10.0}, n_windows, hold=1e6)
    solution = Solution(*evidence, still_prior(11, step_um=0.5))
    line_um = np.interp(np.arange(11), [1, 9], [2, 10])
    np.testing.assert_allclose(solution.displacement_um, np.repeat(line_um[:, None], n_windows, axis=1), atol=1e-3)
    deviation_um = np.sqrt(solution.covariance()[..., 0])
    assert (np.diff(deviation_um[1:6], axis=0) > 0).all()
    np.testing.assert_allclose(deviation_um, deviation_um[::-1], rtol=1e-6)
    # of a random walk held at both ends, where windows move alike: 0.5 µm sqrt(4 * 4 / 8) in the middle
    if n_windows == 1:
        assert deviation_um[5] == pytest.approx(0.5 * np.sqrt(2), rel=1e-3)


def test_windows_follow_those_that_know():
    """Only the outermost windows have evidence: those between lie on a straight line, the more so for more bending."""
    slopes, bends = np.zeros((3, 6)), np.zeros((3, 6, 2))
    bends[:, [0, -1], 0], slopes[:, -1] = 50.0, 50.0 * 10
    line_um = np.linspace(0, 10, 6)
    distance_um = []
    for bending in (0.0, 1.0, 1e4):
        prior = Prior(0.2, bending, 1.0, 1.0, np.ones(2))
        found = Solution(np.zeros((3, 6)), slopes, bends, prior).displacement_um
        distance_um.append(np.abs(found - line_um).max())
    assert distance_um[0] > distance_um[1] > distance_um[2]
    assert distance_um[2] < 0.01


def test_like_windows_step_alike():
    """One window of four steps by 6 µm; the others have no evidence."""
    others = []
    for likeness in (0.0, 0.5, 0.999):
        displacement_um, slopes, bends = evidence_at({0: 0.0, 1: 0.0}, 4)
        bends[1, 1:] = 0
        slopes[1, 0] = 600.0
        others.append(Solution(displacement_um, slopes, bends, Prior(likeness, 0.0, 1.0, 1.0, np.ones(1))))
    found = [each.displacement_um[1, 3] for each in others]
    assert found[0] == pytest.approx(0, abs=1e-6)
    assert found[1] == pytest.approx(6 * 0.5**3, rel=0.05)
    assert found[2] == pytest.approx(6, rel=0.05)


def test_memory_grows_with_bins_and_windows():
    assert equations_bytes(1000, 10) > 1000 * 10 * 8 * 12
    assert equations_bytes(2000, 10) == 2 * equations_bytes(1000, 10)
    assert equations_bytes(1000, 20) > 2 * equations_bytes(1000, 10)
