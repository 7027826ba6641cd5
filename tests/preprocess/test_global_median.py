import numpy as np
import pytest

from driftcli.preprocess.global_median import Parameters, Step
from oracles.noise import without_median


def step(geometry, contacts, **parameters):
    return Step(Parameters(**parameters), geometry(contacts), 30000.0)


@pytest.mark.parametrize("contacts", [1, 2, 5, 64, 129])
def test_takes_off_the_exact_median(geometry, contacts):
    rng = np.random.default_rng(contacts)
    traces = (rng.normal(0, 10, (300, contacts)) + rng.normal(0, 30, (300, 1))).astype(np.float32)
    expected = without_median(traces)
    np.testing.assert_array_equal(step(geometry, contacts)(traces), expected)


def test_average(geometry):
    traces = np.random.default_rng(0).normal(5, 10, (300, 7)).astype(np.float32)
    expected = traces - traces.mean(axis=1, keepdims=True, dtype=np.float64)
    np.testing.assert_allclose(step(geometry, 7, operator="average")(traces), expected, atol=1e-5)


def test_the_two_operators_differ(geometry):
    traces = np.array([[0, 0, 0, 100]], np.float32)
    assert step(geometry, 4)(traces.copy())[0, 3] == 100
    assert step(geometry, 4, operator="average")(traces.copy())[0, 3] == 75


def test_samples_do_not_depend_on_each_other(geometry):
    rng = np.random.default_rng(1)
    traces = (rng.normal(0, 1, (200, 30)) * 10.0 ** rng.uniform(-5, 5, (200, 1))).astype(np.float32)
    order = rng.permutation(200)
    reference = step(geometry, 30)
    np.testing.assert_array_equal(reference(traces[order].copy()), reference(traces.copy())[order])


def test_nan_makes_its_sample_nan(geometry):
    traces = np.random.default_rng(2).normal(0, 1, (5, 6)).astype(np.float32)
    clean = step(geometry, 6)(traces.copy())
    traces[3, 1] = np.nan
    got = step(geometry, 6)(traces)
    assert np.isnan(got[3]).all()
    np.testing.assert_array_equal(got[[0, 1, 2, 4]], clean[[0, 1, 2, 4]])


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
@pytest.mark.parametrize("operator", ["median", "average"])
def test_nothing_to_do(geometry, shape, operator):
    assert step(geometry, shape[1], operator=operator)(np.empty(shape, np.float32)).shape == shape


def test_needs_no_margin(geometry):
    assert step(geometry, 3).margin_samples == 0
