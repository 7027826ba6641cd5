import numpy as np
import pytest

from driftcli.interpolate.product import add_up, pack
from oracles import interpolate as oracle


def _weights(rng, num_targets, num_sources, share):
    weights = rng.normal(size=(num_targets, num_sources))
    weights[rng.random(weights.shape) > share] = 0
    return weights


def test_packed_weights_are_the_same_weights():
    weights = _weights(np.random.default_rng(10), 21, 30, 0.3)
    weights[5] = 0
    contacts, columns = np.arange(30)[::-1] + 2, np.r_[np.arange(16), [30, 20, 25, 40, 41]]
    packed = pack(weights, contacts, columns)
    unpacked = np.zeros((48, 32), np.float32)
    for group in range(2):
        vectors = slice(packed.starts[group], packed.starts[group + 1])
        lanes = packed.columns[group] >= 0
        unpacked[np.ix_(packed.columns[group][lanes], packed.sources[vectors])] = packed.values[vectors].T[lanes]
        assert (packed.values[vectors].T[~lanes] == 0).all()
    expected = np.zeros((48, 32), np.float32)
    expected[np.ix_(columns, contacts)] = weights
    np.testing.assert_array_equal(unpacked, expected)
    np.testing.assert_array_equal(packed.keep, np.where(packed.values == 0, 0, -1))
    assert packed.columns[1].tolist() == [30, 20, 25, 40, 41] + [-1] * 11
    assert packed.in_a_row.tolist() == [True, False]
    assert np.signbit(packed.zeros).tolist() == [[i != 5 for i in range(16)], [i < 5 for i in range(16)]]


@pytest.mark.parametrize("num_contacts", [16, 40])
@pytest.mark.parametrize("turned", [False, True])
def test_groups_of_targets(num_contacts, turned):
    """Whole groups and a rest; columns in a row are written at once, others one by one."""
    rng = np.random.default_rng(13)
    traces = rng.normal(0, 100, (29, num_contacts)).astype(np.float32)
    weights = _weights(rng, num_contacts, num_contacts, 0.5)
    columns = np.arange(num_contacts)[:: -1 if turned else 1].copy()
    corrected = np.empty_like(traces)
    add_up(traces, 0, 29, *pack(weights, np.arange(num_contacts), columns), corrected)
    np.testing.assert_allclose(corrected[:, columns], oracle.corrected(traces, lambda _: weights), atol=1e-3)


@pytest.mark.parametrize("num_samples", [1, 7, 8, 9, 300])
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
    add_up(traces, 0, num_samples, *pack(weights, contacts, columns), corrected)
    expected = oracle.corrected(traces[:, contacts], lambda _: weights)
    np.testing.assert_allclose(corrected[:, columns], expected, atol=1e-3)
    np.testing.assert_array_equal(corrected[:, [1, 2, 4]], 77)


def test_only_the_rows_asked_for_are_written():
    traces = np.ones((400, 2), np.float32)
    corrected = np.zeros((400, 2), np.float32)
    add_up(traces, 150, 310, *pack(np.eye(2), np.arange(2), np.arange(2)), corrected)
    np.testing.assert_array_equal(np.flatnonzero(corrected[:, 0]), np.arange(150, 310))


def test_same_bytes_wherever_the_rows_are_cut():
    rng = np.random.default_rng(12)
    traces = rng.normal(0, 100, (700, 40)).astype(np.float32)
    weights = pack(_weights(rng, 40, 40, 0.6), np.arange(40), np.arange(40))
    whole, parts = np.empty_like(traces), np.empty_like(traces)
    add_up(traces, 0, 700, *weights, whole)
    for first, last in ((0, 1), (1, 14), (14, 143), (143, 511), (511, 700)):
        add_up(traces, first, last, *weights, parts)
    assert whole.tobytes() == parts.tobytes()


def test_a_single_weight_of_one_copies_the_bytes():
    traces = np.array([[-0.0, np.inf], [np.nan, -3.5], [1e-42, 0.0]], np.float32)
    corrected = np.empty_like(traces)
    add_up(traces, 0, 3, *pack(np.eye(2), np.arange(2), np.arange(2)), corrected)
    assert corrected.tobytes() == traces.tobytes()


def test_nan_does_not_spread_to_contacts_without_its_weight():
    traces = np.ones((5, 3), np.float32)
    traces[2, 0] = np.nan
    traces[3, 0] = np.inf
    corrected = np.empty_like(traces)
    weights = np.array([[1.0, 0, 0], [0.5, 0.5, 0], [0, 0.5, 0.5]])
    add_up(traces, 0, 5, *pack(weights, np.arange(3), np.arange(3)), corrected)
    np.testing.assert_array_equal(np.isfinite(corrected), [[1, 1, 1]] * 2 + [[0, 0, 1]] * 2 + [[1, 1, 1]])
