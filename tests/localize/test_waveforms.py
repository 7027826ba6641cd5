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
    found = [waveforms.feature(traces, 20, c, 3, 9, waveforms.FEATURES[name]) for c in range(4)]
    np.testing.assert_allclose(found, localization.amplitudes(traces[17:29], 3, name), rtol=1e-12)


@pytest.mark.parametrize("name", ["ptp", "mean", "energy", "peak_voltage"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_hurt_waveform_has_no_feature(name, bad):
    traces = np.ones((50, 2), np.float32)
    traces[25, 0] = bad
    kind = waveforms.FEATURES[name]
    assert np.isnan(waveforms.feature(traces, 20, 0, 3, 9, kind))
    assert np.isfinite(waveforms.feature(traces, 20, 1, 3, 9, kind))
    assert np.isfinite(waveforms.feature(traces, 10, 0, 3, 9, kind))
