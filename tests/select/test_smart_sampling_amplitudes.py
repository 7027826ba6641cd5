"""Peaks drawn by the rank of their amplitude."""

import numpy as np
import pytest

from driftcli.select import smart_sampling_amplitudes
from driftcli.select.smart_sampling_amplitudes import Parameters, select
from oracles import selection


@pytest.mark.parametrize("n_peaks", [1, 40, 2999])
def test_as_many_as_asked(peaks, n_peaks):
    kept = select(*peaks, Parameters(n_peaks=n_peaks))
    assert kept.dtype == np.int64
    assert len(kept) == n_peaks
    assert (np.diff(kept) > 0).all()


def test_each_channel_by_itself(peaks):
    kept = select(*peaks, Parameters(n_peaks=50, select_per_channel=True))
    assert np.bincount(peaks[1][kept]).tolist() == np.minimum(np.bincount(peaks[1]), 50).tolist()


def test_probabilities_are_those_of_rounds_played_out():
    sizes = np.array([3.0, 9.0, 5.0, 20.0, 7.0, 4.0])
    fixed = np.arange(6), np.zeros(6, np.int32), -2 * sizes.astype(np.float32), np.array([2.0])
    counts = np.zeros(6)
    for seed in range(3000):
        kept = select(*fixed, Parameters(n_peaks=3, seed=seed))
        counts[kept] += 1
    expected = selection.keep_probability(sizes, 3, 3000, seed=0)
    np.testing.assert_allclose(counts / 3000, expected, atol=0.04)


def test_the_smallest_peak_comes_last():
    """Its rank is 0, so that it is kept in no round; only when all others are kept it is there."""
    channel_index, noise = np.zeros(50, np.int32), np.array([2.0])
    amplitude = -np.arange(1, 51, dtype=np.float32)
    for seed in range(100):
        kept = select(np.arange(50), channel_index, amplitude, noise, Parameters(n_peaks=49, seed=seed))
        assert kept.tolist() == list(range(1, 50))


def test_large_peaks_are_likelier_for_either_sign(peaks):
    sample_index, channel_index, amplitude, noise = peaks
    size = np.abs(amplitude) / noise[channel_index]
    for sign in (1, -1):
        kept = select(sample_index, channel_index, sign * amplitude, noise, Parameters(n_peaks=600))
        assert np.median(size[kept]) > np.quantile(size, 0.6)


def test_ranks_share_the_middle_of_equal_values():
    rank = smart_sampling_amplitudes._rank(np.array([1.0, 2.0, 2.0, 2.0, 5.0]))
    np.testing.assert_allclose(rank, [0, 0.5, 0.5, 0.5, 1])


def test_the_seed_decides(peaks):
    one, same, other = (select(*peaks, Parameters(n_peaks=500, seed=seed)).tolist() for seed in (1, 1, 2))
    assert one == same
    assert one != other


def test_channels_without_noise_rank_last(peaks):
    sample_index, channel_index, amplitude, noise = peaks
    noise = noise.copy()
    noise[1] = 0
    kept = select(sample_index, channel_index, amplitude, noise, Parameters(n_peaks=600))
    assert np.mean(channel_index[kept] == 1) < 0.5 * np.mean(channel_index == 1)


def test_asking_for_more_than_there_is(peaks):
    assert select(*peaks, Parameters(n_peaks=3000)).tolist() == list(range(3000))
    assert select(*peaks, Parameters(select_per_channel=True)).tolist() == list(range(3000))
    nothing = np.zeros(0, np.int64)
    for per_channel in (True, False):
        parameters = Parameters(select_per_channel=per_channel)
        kept = select(nothing, nothing.astype(np.int32), np.zeros(0, np.float32), np.ones(3), parameters)
        assert kept.dtype == np.int64
        assert kept.tolist() == []
