"""The local field potential along depth: in time, as tones show, and along the shank."""

import numpy as np
import pytest

from driftcli.errors import InputError, UsageError
from driftcli.estimate.lfp import LfpParameters, Sampler, along_depth, highpass, samples_in_bin

RATE_HZ, BIN_SAMPLES = 2500.0, 10
BIN_S = BIN_SAMPLES / RATE_HZ


def tone(hz, time_s):
    return np.sin(2 * np.pi * hz * time_s + 0.7)


def sampled(traces, lateness=None, there=None, **parameters):
    lateness = np.zeros(traces.shape[1]) if lateness is None else lateness
    sampler = Sampler(LfpParameters(**parameters), RATE_HZ, lateness, BIN_SAMPLES)
    begin = np.arange(0, len(traces), BIN_SAMPLES)
    return sampler(traces.astype(np.float32), begin, there or (0, len(traces)))


def centres_s(count):
    return (np.arange(count) + 0.5) * BIN_S


@pytest.mark.parametrize("hz", [1.0, 20.0, 70.0])
def test_what_is_in_the_band_is_sampled_at_the_centres_of_bins(hz):
    samples_s = np.arange(2000) / RATE_HZ
    values = sampled(tone(hz, samples_s)[:, None])[:, 0]
    # the centre of a bin of samples lies half a sample before that of its span of time
    expected = tone(hz, centres_s(200) - 0.5 / RATE_HZ)
    np.testing.assert_allclose(values[12:-12], expected[12:-12], atol=0.02)


@pytest.mark.parametrize("hz", [135.0, 250.0, 700.0])
def test_what_is_above_the_band_is_gone(hz):
    values = sampled(tone(hz, np.arange(2000) / RATE_HZ)[:, None])
    assert np.abs(values[12:-12]).max() < 0.02


def test_contacts_that_are_sampled_later_are_lined_up():
    late = np.array([0.0, 0.5, 0.9])
    samples_s = (np.arange(2000)[:, None] + late) / RATE_HZ
    values = sampled(tone(60.0, samples_s), late)
    np.testing.assert_allclose(values[12:-12], values[12:-12, :1] * np.ones(3), atol=1e-3)
    apart = sampled(tone(60.0, samples_s))[12:-12]
    assert np.abs(apart[:, 2] - apart[:, 0]).max() > 0.1


def test_a_constant_stays_one_up_to_the_ends():
    traces = np.full((205, 2), 7.0)
    np.testing.assert_allclose(sampled(traces), 7.0, rtol=1e-6)
    traces[:30] = traces[150:] = 0.0  # rows that are not there
    inside = sampled(traces, there=(30, 150))[3:15]
    np.testing.assert_allclose(inside, 7.0, rtol=1e-6)


def test_the_cutoff_is_the_parameters():
    traces = tone(50.0, np.arange(2000) / RATE_HZ)[:, None]
    assert np.abs(sampled(traces)).max() > 0.9
    assert np.abs(sampled(traces, freq_max_hz=15.0)[12:-12]).max() < 0.05


def test_bins_shorter_than_samples_are_refused():
    assert samples_in_bin(LfpParameters(), 29_999.95) == 120
    with pytest.raises(UsageError, match="shorter than a sample"):
        samples_in_bin(LfpParameters(), 100.0)


COLUMNS = np.column_stack([np.tile([0.0, 32.0], 30), np.repeat(np.arange(30) * 20.0, 2)])
STAGGERED = np.column_stack([np.tile([0.0, 32.0], 30), np.arange(60) * 10.0])


@pytest.mark.parametrize("places", [COLUMNS, STAGGERED], ids=["columns", "staggered"])
def test_the_second_derivative_along_depth_does_not_see_what_differs_between_columns(places):
    shares, depths_um = along_depth(places, LfpParameters())
    x, y = places.T
    field = 0.01 * y**2 + 3 * y + 5 * x + 40
    curvature = shares @ field
    inner = slice(4, -4)
    np.testing.assert_allclose(curvature[inner], 0.02, atol=1e-9)
    np.testing.assert_allclose(depths_um, np.unique(y))
    slope = along_depth(places, LfpParameters(derivative=1))[0] @ field
    np.testing.assert_allclose(slope[inner], (0.02 * depths_um + 3)[inner], atol=1e-9)


def test_without_a_derivative_depths_are_means_over_columns():
    shares, depths_um = along_depth(COLUMNS, LfpParameters(derivative=0))
    expected = np.zeros((30, 60))
    for contact, (_, y) in enumerate(COLUMNS):
        expected[int(y / 20), contact] = 0.5
    np.testing.assert_allclose(shares, expected)
    np.testing.assert_allclose(depths_um, np.arange(30) * 20.0)


def test_a_contact_that_is_missing_is_bridged():
    places = np.delete(COLUMNS, [20, 21], axis=0)
    shares, depths_um = along_depth(places, LfpParameters(derivative=0))
    np.testing.assert_allclose(depths_um, np.arange(30) * 20.0)
    np.testing.assert_allclose(shares @ places[:, 1], depths_um)


def test_contacts_that_say_nothing_of_depth_are_refused():
    row = np.column_stack([np.arange(5) * 30.0, np.zeros(5)])
    with pytest.raises(InputError, match="no two contacts lie one above the other"):
        along_depth(row, LfpParameters())
    with pytest.raises(InputError, match="at one depth"):
        along_depth(row, LfpParameters(derivative=0))


def test_the_highpass_takes_off_what_is_slow_and_keeps_the_rest():
    time_s = centres_s(5000)
    fast = np.column_stack([tone(8.0, time_s), tone(20.0, time_s)])
    values = (fast + 100 + 30 * tone(0.02, time_s)[:, None]).astype(np.float32)
    highpass(values, LfpParameters(), BIN_S)
    np.testing.assert_allclose(values[500:-500], fast[500:-500], atol=0.05)
    for length in (1, 2, 7):
        short = np.full((length, 2), 5.0, np.float32)
        highpass(short, LfpParameters(), BIN_S)
        assert np.abs(short).max() < 1e-3
