import numpy as np
import pytest

from driftcli.preprocess.phase_shift import Parameters, Step
from oracles.bandpass import filter_whole
from oracles.phase_shift import delay_by_the_book, delay_whole, sines

RATE = 30000.0
SHIFTS = [*(np.arange(13) / 13), *(np.arange(16) / 16)]  # of Neuropixels 1 and 2


def shifted(traces, shifts):
    return Step(Parameters(), np.asarray(shifts, np.float64))(np.ascontiguousarray(traces, np.float32))


def inside(step=Step):
    return slice(step.margin_samples, -step.margin_samples)


def error_of_a_sine(frequency_hz):
    """The largest over all shifts and times, as a share of the amplitude."""
    waves = [(1.0, frequency_hz / RATE, 0.3)]
    time = np.arange(600)[:, None] * np.ones(len(SHIFTS))
    got = shifted(sines(time, waves), SHIFTS)
    return np.abs(got - sines(time - SHIFTS, waves))[inside()].max()


@pytest.mark.parametrize("frequency_hz", [0.0, 10.0, 300.0, 1000.0, 3000.0, 5000.0, 6000.0, 7500.0, 9000.0])
def test_sines_are_delayed_by_the_shift(frequency_hz):
    assert error_of_a_sine(frequency_hz) < 1e-4


def test_the_error_grows_towards_half_the_sampling_frequency():
    assert error_of_a_sine(10_000.0) < 1.5e-3
    assert 0.01 < error_of_a_sine(12_000.0) < 0.2


def test_what_arrives_at_once_lines_up(counts):
    """Channels that sample the same signal one after the other; after the shift they are the same."""
    rng = np.random.default_rng(0)
    waves = np.column_stack([rng.uniform(5, 50, 40), rng.uniform(300, 6000, 40) / RATE, rng.uniform(0, 6, 40)])
    late = np.arange(12) / 13
    sampled = sines(np.arange(800)[:, None] + late, waves)
    got = shifted(sampled, late)[inside()]
    assert np.ptp(sampled, axis=1).max() > 100
    assert np.ptp(got, axis=1).max() < 0.05


@pytest.mark.parametrize("channels", [1, 63, 64, 65, 130])
def test_after_a_band_pass_it_is_the_exact_delay_of_the_whole_file(counts, channels):
    traces = counts(3000, channels)
    shifts = (6 + np.arange(channels) // 2) % 12 / 13
    got = filter_whole(shifted(traces, shifts), RATE)
    exact = filter_whole(delay_whole(traces, shifts), RATE)
    far = slice(800, -800)  # from the ends, which the two continue differently
    assert np.abs(exact - filter_whole(traces, RATE))[far].max() > 5
    np.testing.assert_allclose(got[far], exact[far], atol=0.05)


def test_the_interpolation_formula_says_the_same(counts):
    trace = filter_whole(counts(900, 1, seed=4), RATE)[:, 0]
    for shift in (1 / 13, 0.5, 15 / 16):
        got = shifted(trace[:, None], [shift])[250:-250, 0]
        np.testing.assert_allclose(got, delay_by_the_book(trace, shift)[250:-250], atol=0.1)


def test_a_channel_that_is_not_late_stays_bit_for_bit(counts):
    traces = counts(1000, 70).astype(np.float32)
    np.testing.assert_array_equal(shifted(traces.copy(), np.zeros(70)), traces)


def test_a_later_channel_moves_back_in_time():
    ramp = np.arange(200.0)[:, None] * np.ones(2)
    np.testing.assert_allclose(shifted(ramp, [0.25, 0.75])[inside()], (ramp - [0.25, 0.75])[inside()], atol=1e-3)


@pytest.mark.parametrize("block", [1, 3, 17, 64, 65, 130, 700])
def test_blocks_with_margins_give_the_very_numbers_of_the_whole_file(counts, block):
    margin = Step.margin_samples
    traces = counts(2 * margin + 1500, 66).astype(np.float32)
    shifts = np.arange(66) % 13 / 13
    whole = shifted(traces.copy(), shifts)
    for start in range(margin, len(traces) - margin, block):
        stop = min(start + block, len(traces) - margin)
        got = shifted(traces[start - margin : stop + margin].copy(), shifts)[margin:][: stop - start]
        np.testing.assert_array_equal(got, whole[start:stop])


@pytest.mark.parametrize("samples", [1, 2, 3, 4, 5, 9, 16, 63, 64, 65, 66, 67, 79, 127, 129, 191])
def test_beyond_the_block_the_signal_counts_as_constant(counts, samples):
    traces = counts(samples, 5).astype(np.float32)
    shifts = np.arange(5) / 5
    longer = np.pad(traces, ((100, 100), (0, 0)), mode="edge")
    np.testing.assert_array_equal(shifted(traces.copy(), shifts), shifted(longer, shifts)[100:-100])


def test_the_same_numbers_wherever_a_channel_stands(counts):
    traces = counts(500, 70).astype(np.float32)
    shifts = np.arange(70) % 16 / 16
    order = np.random.default_rng(3).permutation(70)
    got = shifted(traces[:, order].copy(), shifts[order])
    np.testing.assert_array_equal(got, shifted(traces.copy(), shifts)[:, order])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("channels", [5, 64])
def test_what_is_not_finite_stays_in_its_channel_and_near(counts, value, channels):
    traces = counts(600, channels).astype(np.float32)
    shifts = np.arange(channels) % 13 / 13
    broken = traces.copy()
    broken[300, 2] = value
    whole, got = shifted(traces, shifts), shifted(broken, shifts)
    touched = ~np.isfinite(got)
    assert touched[300, 2]
    assert set(zip(*np.nonzero(touched), strict=True)) <= {(300 + k, 2) for k in range(-8, 9)}
    np.testing.assert_array_equal(got[~touched], whole[~touched])


def test_a_constant_stays():
    got = shifted(np.full((300, 13), 20_000.0), np.arange(13) / 13)
    np.testing.assert_allclose(got, 20_000.0, rtol=1e-6)


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (1, 1), (3, 2)])
def test_small_blocks(shape):
    traces = np.ones(shape, np.float32)
    np.testing.assert_allclose(shifted(traces, np.full(shape[1], 0.5)), np.ones(shape), rtol=1e-6)


def test_it_works_in_place(counts):
    traces = counts(300, 3).astype(np.float32)
    assert Step(Parameters(), np.full(3, 0.5))(traces) is traces
