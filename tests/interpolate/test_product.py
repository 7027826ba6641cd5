import numpy as np
import pytest

from driftcli.interpolate.product import add_up
from driftcli.interpolate.weights import sparse
from oracles import interpolate as oracle


def _weights(rng, num_targets, num_sources, share):
    weights = rng.normal(size=(num_targets, num_sources))
    weights[rng.random(weights.shape) > share] = 0
    return weights


@pytest.mark.parametrize("num_samples", [1, 127, 128, 129, 300])
@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_weighted_sums(num_samples, share):
    """Ten sources of thirteen contacts, in another order, to some of the columns."""
    rng = np.random.default_rng(11)
    traces = rng.normal(0, 100, (num_samples, 13)).astype(np.float32)
    contacts = rng.permutation(13)[:10]
    columns = np.array([6, 0, 3, 5])
    weights = _weights(rng, 4, 10, share)
    weights[2] = 0
    corrected = np.full((num_samples, 7), 77, np.float32)
    add_up(traces, 0, num_samples, contacts, *sparse(weights), columns, corrected)
    expected = oracle.corrected(traces[:, contacts], lambda _: weights)
    np.testing.assert_allclose(corrected[:, columns], expected, atol=1e-3)
    np.testing.assert_array_equal(corrected[:, [1, 2, 4]], 77)


def test_only_the_rows_asked_for_are_written():
    traces = np.ones((400, 2), np.float32)
    corrected = np.zeros((400, 2), np.float32)
    add_up(traces, 150, 310, np.arange(2), *sparse(np.eye(2)), np.arange(2), corrected)
    np.testing.assert_array_equal(np.flatnonzero(corrected[:, 0]), np.arange(150, 310))


def test_same_bytes_wherever_the_rows_are_cut():
    rng = np.random.default_rng(12)
    traces = rng.normal(0, 100, (700, 40)).astype(np.float32)
    weights = sparse(_weights(rng, 40, 40, 0.6))
    everything = np.arange(40)
    whole, parts = np.empty_like(traces), np.empty_like(traces)
    add_up(traces, 0, 700, everything, *weights, everything, whole)
    for first, last in ((0, 1), (1, 14), (14, 143), (143, 511), (511, 700)):
        add_up(traces, first, last, everything, *weights, everything, parts)
    assert whole.tobytes() == parts.tobytes()


def test_a_single_weight_of_one_copies_the_bytes():
    traces = np.array([[-0.0, np.inf], [np.nan, -3.5], [1e-42, 0.0]], np.float32)
    corrected = np.empty_like(traces)
    add_up(traces, 0, 3, np.arange(2), *sparse(np.eye(2)), np.arange(2), corrected)
    assert corrected.tobytes() == traces.tobytes()


def test_nan_does_not_spread_to_contacts_without_its_weight():
    traces = np.ones((5, 3), np.float32)
    traces[2, 0] = np.nan
    traces[3, 0] = np.inf
    corrected = np.empty_like(traces)
    weights = np.array([[1.0, 0, 0], [0.5, 0.5, 0], [0, 0.5, 0.5]])
    add_up(traces, 0, 5, np.arange(3), *sparse(weights), np.arange(3), corrected)
    np.testing.assert_array_equal(np.isfinite(corrected), [[1, 1, 1]] * 2 + [[0, 0, 1]] * 2 + [[1, 1, 1]])
