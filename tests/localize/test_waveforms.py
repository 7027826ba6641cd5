"""The span of waveforms and the numbers taken from them."""

import numpy as np
import pytest

from driftcli.localize import waveforms
from oracles import localization


@pytest.mark.parametrize(
    ("ms_before", "ms_after", "rate_hz", "before", "after"),
    [
        (0.1, 0.3, 30_000.0, 3, 9),
        (0.1, 0.3, 29_999.95, 3, 9),
        (0.1, 0.3, 20_000.0, 2, 6),
        (0.1, 0.3, 25_000.0, 2, 7),  # as SpikeInterface 0.105.3 cuts them
        (0.19, 0.39, 30_000.0, 5, 11),
        (0.0, 0.3, 30_000.0, 0, 9),
        (0.1, 0.001, 30_000.0, 3, 1),
    ],
)
def test_a_span_is_whole_samples_and_holds_the_peak(ms_before, ms_after, rate_hz, before, after):
    span = waveforms.Span.of(waveforms.Parameters(ms_before=ms_before, ms_after=ms_after), rate_hz)
    assert (span.before, span.after, span.margin_samples) == (before, after, max(before, after))


@pytest.mark.parametrize("name", ["ptp", "mean", "energy", "peak_voltage"])
def test_features_are_the_oracles(name):
    traces = np.random.default_rng(0).normal(0, 20, (50, 4)).astype(np.float32)
    starts, contacts = np.array([0, 3, 5, 6, 7]), np.array([0, 1, 3, 0, 1, 2, 3])
    rows, channels = np.array([20, 8, 31]), np.array([1, 0, 3], np.int32)
    found = waveforms.features(traces, rows, channels, 3, 9, waveforms.FEATURES[name], starts, contacts)
    expected = [
        localization.amplitudes(traces[row - 3 : row + 9, near], 3, name)
        for row, near in zip(rows, ([0, 1], [0, 1, 3], [3]), strict=True)
    ]
    np.testing.assert_allclose(found, np.concatenate(expected), rtol=1e-12)


@pytest.mark.parametrize("name", ["ptp", "mean", "energy", "peak_voltage"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_hurt_waveform_has_no_feature(name, bad):
    traces = np.ones((50, 2), np.float32)
    traces[25, 0] = bad
    rows, channels = np.array([20, 20, 10]), np.array([0, 1, 0], np.int32)
    alone = np.arange(3), np.arange(2)
    found = waveforms.features(traces, rows, channels, 3, 9, waveforms.FEATURES[name], *alone)
    assert np.isnan(found).tolist() == [True, False, False]


def test_no_peaks_have_no_features():
    nothing = np.zeros(0, np.int64)
    near = np.arange(3), np.arange(2)
    assert waveforms.features(np.ones((9, 2), np.float32), nothing, nothing.astype(np.int32), 1, 2, 0, *near).size == 0
