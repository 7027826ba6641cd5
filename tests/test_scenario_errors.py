"""What the benchmark of scenarios holds motions to: its numbers, by hand."""

import numpy as np
import pytest

from driftcli.model import Motion
from driftcli.simulate.truth import Truth

SPAN_UM = (0.0, 200.0)


@pytest.fixture
def scenario_errors(monkeypatch, request):
    """The module of `benchmarks/`, which is no part of the package."""
    monkeypatch.syspath_prepend(request.config.rootpath / "benchmarks")
    import scenario_errors

    return scenario_errors


def motion(displacement_um):
    """(T, W) in bins of 0.1 s, windows evenly along the span."""
    displacement_um = np.asarray(displacement_um, float)
    times_s = 0.1 * (np.arange(len(displacement_um)) + 0.5)
    return Motion(displacement_um, times_s, np.linspace(*SPAN_UM, displacement_um.shape[1]))


def test_the_error_is_less_the_median_difference(scenario_errors):
    true_um = np.outer(np.sin(np.arange(100) / 20), [4.0, 2.0])
    wrong_um = true_um + 7.0
    wrong_um[30:40, 1] += 6.0  # in one second, up to 6 um at one end
    errors = scenario_errors.errors_of(motion(wrong_um), motion(true_um), SPAN_UM, 10)
    assert errors.error_um.shape == (10, 11)
    np.testing.assert_allclose(errors.error_um[3], np.linspace(0, 6, 11), atol=0.35)
    np.testing.assert_allclose(np.delete(errors.error_um, [2, 3, 4], axis=0), 0, atol=1e-9)
    assert errors.numbers["max_um"] == pytest.approx(6.0)
    assert (errors.numbers["bursts"], errors.numbers["burst_s"]) == (1, 1)
    assert errors.numbers["mean_um"] == pytest.approx(0.3, abs=0.01)


def test_near_jumps_no_burst_counts(scenario_errors):
    true_um = np.zeros((100, 1))
    true_um[50:] = 30.0
    late_um = np.zeros((100, 1))
    late_um[65:] = 30.0  # finds the jump 1.5 s late
    errors = scenario_errors.errors_of(motion(late_um), motion(true_um), SPAN_UM, 10)
    assert errors.largest_um.max() == pytest.approx(30.0)
    assert errors.numbers["bursts"] == 0
    np.testing.assert_array_equal(np.flatnonzero(errors.near_jump), [3, 4, 5, 6, 7])


def test_peaks_are_of_the_nearest_spike_and_spread_around_their_unit(scenario_errors):
    rng = np.random.default_rng(0)
    depths_um, sample = np.array([40.0, 150.0]), np.arange(200) * 100
    unit = np.tile([0, 1], 100)
    truth = Truth(
        motion(np.full((10, 1), 5.0)),
        np.column_stack([np.zeros(2), depths_um, np.zeros(2)]),
        np.full(2, 100.0),
        sample,
        unit.astype(np.int32),
    )
    depth_um = depths_um[unit] + 5.0 + rng.normal(0, 2.0, 200)
    found = scenario_errors.units_of(sample + 3, depth_um, truth, 30_000.0)
    np.testing.assert_array_equal(found, unit)
    assert scenario_errors.units_of(sample[:1] + 50, depth_um[:1], truth, 30_000.0)[0] == -1
    assert scenario_errors.units_of(sample[:1], depth_um[:1] + 60, truth, 30_000.0)[0] == -1
    assert scenario_errors.spread_um(found, depth_um) == pytest.approx(2.0, rel=0.3)
