import numpy as np
import pytest

from driftcli.preprocess.global_median import Parameters, Step
from oracles.noise import without_median


def step(geometry, contacts, used=None, **parameters):
    return Step(Parameters(**parameters), geometry(contacts), 30000.0, used)


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


@pytest.mark.parametrize("operator", ["median", "average"])
@pytest.mark.parametrize("bad", [[0], [3, 4], [0, 2, 5, 6, 8], list(range(8))])
def test_contacts_that_are_not_used_get_the_reference_of_the_others(geometry, operator, bad):
    traces = np.random.default_rng(3).normal(0, 10, (300, 9)).astype(np.float32)
    traces[:, bad] *= 1e4
    used = ~np.isin(np.arange(9), bad)
    reference = {"median": np.median, "average": np.mean}[operator](traces[:, used].astype(float), axis=1)
    expected = traces - reference[:, None]
    got = step(geometry, 9, used, operator=operator)(traces.copy())
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-5)
    alone = step(geometry, int(used.sum()), operator=operator)(np.ascontiguousarray(traces[:, used]))
    assert got[:, used].tobytes() == alone.tobytes()  # those used, as if there were no others


@pytest.mark.parametrize("operator", ["median", "average"])
def test_contacts_that_are_not_used_change_no_bit_of_the_others(geometry, operator):
    traces = np.random.default_rng(4).normal(0, 10, (300, 33)).astype(np.float32)
    used = np.ones(33, bool)
    used[[2, 32]] = False
    clean = step(geometry, 33, used, operator=operator)(traces.copy())
    traces[:, 2], traces[:, 32] = np.nan, 1e30
    assert step(geometry, 33, used, operator=operator)(traces)[:, used].tobytes() == clean[:, used].tobytes()


@pytest.mark.parametrize("operator", ["median", "average"])
def test_all_contacts_used_is_as_when_nothing_is_said(geometry, operator):
    traces = np.random.default_rng(5).normal(0, 10, (50, 6)).astype(np.float32)
    given, unsaid = (step(geometry, 6, used, operator=operator)(traces.copy()) for used in (np.ones(6, bool), None))
    assert given.tobytes() == unsaid.tobytes()


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
