import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftcli.errors import InputError
from driftcli.preprocess.noise import mad_noise_level, median_level, noise_slices
from oracles import noise as oracle


@pytest.mark.parametrize("samples", [1, 2, 501, 1000])
def test_noise_level(samples):
    rng = np.random.default_rng(samples)
    traces = (rng.normal(0, 1, (samples, 9)) * np.arange(1, 10) + 100).astype(np.float32)
    got = mad_noise_level(traces)
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, oracle.mad_noise_level(traces), rtol=1e-7)


def test_noise_level_of_normal_noise_is_its_standard_deviation_despite_spikes():
    rng = np.random.default_rng(0)
    traces = rng.normal(0, [2, 5, 11], (20000, 3)).astype(np.float32)
    traces[::200] -= 1000
    np.testing.assert_allclose(mad_noise_level(traces), [2, 5, 11], rtol=0.04)


def test_noise_level_of_integers_as_the_peer_normalises_it():
    # median 4, absolute deviations 3 2 1 0 1 2 96: SpikeInterface 0.105.3 gives 2 / 0.6744897501960817
    traces = np.array([[1], [2], [3], [4], [5], [6], [100]], np.float32)
    np.testing.assert_allclose(mad_noise_level(traces), [2.965204437011204], rtol=1e-12)


def test_nan_stays_in_its_channel():
    traces = np.random.default_rng(1).normal(0, 1, (100, 3)).astype(np.float32)
    clean = mad_noise_level(traces)
    traces[7, 1] = np.nan
    got = mad_noise_level(traces)
    assert np.isnan(got[1])
    np.testing.assert_array_equal(got[[0, 2]], clean[[0, 2]])


def test_median_level():
    traces = np.random.default_rng(2).normal(500, 30, (400, 5)).astype(np.float32)
    got = median_level(traces)
    assert got.dtype == np.float64
    np.testing.assert_array_equal(got, [oracle.median(channel) for channel in traces.T])


@given(st.integers(1, 10**7), st.sampled_from([0.5, 1000.0, 20000.0, 29999.7, 30000.0]))
def test_slices_lie_within_apart_and_in_order(samples, rate):
    slices = noise_slices(samples, rate)
    edges = [edge for pair in slices for edge in pair]
    assert edges == sorted(edges)
    assert all(start < stop for start, stop in slices)
    assert edges[0] >= 0
    assert edges[-1] <= samples
    assert len({stop - start for start, stop in slices}) == 1
    assert 1 <= len(slices) <= 20


def test_slices_of_a_long_recording_are_spread_over_all_of_it():
    slices = noise_slices(30000 * 1000, 30000.0)
    assert len(slices) == 20
    starts = np.array([start for start, _ in slices])
    assert {stop - start for start, stop in slices} == {15000}
    np.testing.assert_array_equal(np.diff(starts), 30000 * 50)
    assert starts[0] == 30000 * 25 - 7500


def test_slices_of_short_recordings():
    assert noise_slices(100, 30000.0) == [(0, 100)]
    assert noise_slices(30000, 30000.0) == [(0, 15000), (15000, 30000)]
    with pytest.raises(InputError, match="no samples"):
        noise_slices(0, 30000.0)
