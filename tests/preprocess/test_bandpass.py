import numpy as np
import pytest
from scipy import signal

from driftcli.errors import UsageError
from driftcli.preprocess.bandpass import Parameters, Step
from oracles.bandpass import filter_by_the_book, filter_whole

RATE = 30000.0
SEAM = 0.05  # counts


def step(rate=RATE, **parameters):
    return Step(Parameters(**parameters), None, rate)


@pytest.mark.parametrize("channels", [1, 63, 64, 65, 130])
def test_inside_of_its_margins_it_is_scipy_on_the_whole_file(counts, channels):
    band = step()
    traces = counts(3000, channels)
    got = band(traces.astype(np.float32))
    inside = slice(band.margin_samples, -band.margin_samples)
    np.testing.assert_allclose(got[inside], filter_whole(traces, RATE)[inside], atol=SEAM)


def test_rounding_of_float32_is_small():
    rng = np.random.default_rng(1)
    traces = np.rint(rng.normal(500, 30, (6000, 64)))
    band = step()
    inside = slice(2 * band.margin_samples, -2 * band.margin_samples)
    error = np.abs(band(traces.astype(np.float32)) - filter_whole(traces, RATE))[inside].max()
    assert error < 1e-3


@pytest.mark.parametrize(
    ("rate", "parameters"),
    [
        (30000.0, {}),
        (20000.0, {"freq_max_hz": 5000.0}),
        (30000.0, {"order": 1}),
        (30000.0, {"order": 2}),
        (30000.0, {"order": 8}),
        (30000.0, {"freq_min_hz": 300.0, "freq_max_hz": 500.0}),
        (30000.0, {"freq_min_hz": 500.0, "freq_max_hz": 14000.0}),
        (2500.0, {"freq_min_hz": 5.0, "freq_max_hz": 100.0, "order": 2}),
    ],
)
def test_blocks_with_margins_give_the_whole_file(counts, rate, parameters):
    band = step(rate, **parameters)
    margin = band.margin_samples
    block = 2 * margin + 77
    samples = 3 * block + 2 * margin
    traces = counts(samples, 3, rate)
    whole = filter_whole(traces, rate, **parameters)
    for start in range(margin, samples - margin, block):
        stop = min(start + block, samples - margin)
        got = band(traces[start - margin : stop + margin].astype(np.float32))[margin : stop + margin - start]
        np.testing.assert_allclose(got, whole[start:stop], atol=SEAM)


# 300 Hz runs in float32, the others are close to where that ends on either side or far beyond
LOW_EDGES = [(300.0, 5), (300.0, 8), (150.0, 3), (100.0, 3), (60.0, 3), (50.0, 3), (40.0, 2), (10.0, 1)]


@pytest.mark.parametrize(("freq_min_hz", "order"), LOW_EDGES)
def test_a_signal_that_wanders_far(freq_min_hz, order):
    """A random walk, reflected at ±20,000 counts; a filter with a low edge has the longest sums to round."""
    band = step(freq_min_hz=freq_min_hz, order=order)
    margin, length = band.margin_samples, 500
    walk = np.cumsum(np.random.default_rng(1).normal(0, 100, (3 * margin + 4 * length, 3)), axis=0)
    traces = np.rint(np.abs((walk + 20_000) % 80_000 - 40_000) - 20_000)
    whole = filter_whole(traces, RATE, freq_min_hz=freq_min_hz, order=order)
    for start in range(margin, len(traces) - margin - length, margin // 4):
        block = traces[start - margin : start + length + margin].astype(np.float32)
        np.testing.assert_allclose(band(block)[margin:-margin], whole[start : start + length], atol=SEAM)


@pytest.mark.parametrize(("freq_min_hz", "order"), LOW_EDGES)
def test_a_large_jump_near_a_seam(freq_min_hz, order):
    band = step(freq_min_hz=freq_min_hz, order=order)
    margin = band.margin_samples
    start, stop = 4 * margin, 4 * margin + 2000
    pace = max(margin // 150, 1)
    places = np.r_[start - margin - 200 : start + 100 : pace, stop - 100 : stop + margin + 200 : pace]
    traces = np.where(np.arange(stop + 4 * margin)[:, None] < places, -5000, 5000)
    got = band(traces[start - margin : stop + margin].astype(np.float32))[margin:-margin]
    whole = filter_whole(traces, RATE, freq_min_hz=freq_min_hz, order=order)
    np.testing.assert_allclose(got, whole[start:stop], atol=SEAM)


def test_forward_and_backward_follow_the_difference_equation():
    rng = np.random.default_rng(2)
    trace = rng.normal(0, 10, 400)
    trace[:1] = 0
    b, a = signal.butter(1, (300.0, 6000.0), btype="bandpass", fs=RATE)
    forward = filter_by_the_book(trace, b, a)
    both = filter_by_the_book(forward[::-1], b, a)[::-1]
    got = step(order=1)(trace[:, None].astype(np.float32))
    np.testing.assert_allclose(got[:, 0], both, atol=1e-4)


def test_margin_follows_the_slowest_pole():
    assert step().margin_samples == 766
    assert step(20000.0).margin_samples == pytest.approx(2 / 3 * 766, rel=0.02)
    # a slow pole's transients are given longer
    assert step(60000.0).margin_samples == pytest.approx(2 * 766 * np.log(3e-7) / np.log(1e-6), rel=0.02)
    assert step(order=1).margin_samples < 300


def test_every_parameter_changes_the_result(counts):
    traces = counts(3000, 2).astype(np.float32)
    results = [
        step(**change)(traces.copy()) for change in ({}, {"freq_min_hz": 400.0}, {"freq_max_hz": 5000.0}, {"order": 4})
    ]
    for other in results[1:]:
        assert np.abs(results[0] - other)[1000:2000].max() > 0.5


def test_a_constant_of_any_size_leaves_nothing():
    assert np.abs(step()(np.full((2000, 3), 30000.0, np.float32))).max() == 0


@pytest.mark.parametrize("freq_min_hz", [300.0, 100.0])
@pytest.mark.parametrize("num_channels", [63, 64, 65, 70, 130])
def test_the_same_numbers_wherever_a_channel_stands(counts, num_channels, freq_min_hz):
    """In a whole group of channels or the rest of them, in single and in double precision."""
    traces = counts(1500, num_channels).astype(np.float32)
    order = np.random.default_rng(3).permutation(num_channels)
    same = step(freq_min_hz=freq_min_hz)
    np.testing.assert_array_equal(same(traces[:, order].copy()), same(traces.copy())[:, order])
    np.testing.assert_array_equal(same(traces[:, :1].copy()), same(traces.copy())[:, :1])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_stays_in_its_channel(counts, value):
    traces = counts(1500, 5).astype(np.float32)
    broken = traces.copy()
    broken[700, 2] = value
    others = [0, 1, 3, 4]
    got = step()(broken)
    np.testing.assert_array_equal(got[:, others], step()(traces)[:, others])
    assert np.isnan(got[:, 2]).any()


def test_silence_gives_zeros_not_denormal_numbers():
    traces = np.zeros((20000, 64), np.float32)
    traces[1:100] = np.random.default_rng(4).normal(0, 100, (99, 64))
    got = step()(traces.copy())
    tiny = np.finfo(np.float32).tiny
    assert not ((got != 0) & (np.abs(got) < tiny)).any()
    assert not got[12000:].any()


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (1, 1), (3, 2)])
def test_small_blocks(shape):
    traces = np.ones(shape, np.float32)
    assert step()(traces).shape == shape
    assert not traces.any()


@pytest.mark.parametrize(
    ("rate", "parameters", "words"),
    [
        (12000.0, {}, "sampling frequency"),
        (2500.0, {}, "sampling frequency"),
        (30000.0, {"freq_min_hz": 6000.0}, "empty"),
        (30000.0, {"freq_min_hz": 7000.0}, "empty"),
        (30000.0, {"freq_min_hz": 0.001}, "rings"),
    ],
)
def test_bands_that_make_no_sense(rate, parameters, words):
    with pytest.raises(UsageError, match=words) as caught:
        step(rate, **parameters)
    assert "freq_m" in caught.value.hint


@pytest.mark.parametrize("parameters", [{"freq_min_hz": 0}, {"freq_max_hz": -1}, {"order": 0}, {"order": 2.5}])
def test_parameters_out_of_range(parameters):
    with pytest.raises(ValueError, match=next(iter(parameters))):
        Parameters(**parameters)
