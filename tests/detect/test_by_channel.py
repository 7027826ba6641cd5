"""Peaks of each channel against the oracle and SpikeInterface's."""

import numpy as np
import pytest

from driftcli.detect.by_channel import Detector, Parameters
from driftcli.model import Geometry
from oracles import detection

RATE_HZ = 10_000.0


@pytest.mark.parametrize("sign", ["neg", "pos", "both"])
@pytest.mark.parametrize(("sweep_ms", "sweep"), [(0.01, 1), (0.35, 3), (1.0, 10)])
def test_peaks_are_the_oracles(geometry, traces, sign, sweep_ms, sweep, as_list):
    noise = np.random.default_rng(1).choice([0.5, 1.0], 13)
    detector = Detector(
        Parameters(peak_sign=sign, detect_threshold=4, exclude_sweep_ms=sweep_ms), geometry, RATE_HZ, noise
    )
    assert detector.margin_samples == sweep
    found = as_list(detector(traces, sweep, 600 - sweep))
    expected = detection.by_channel(traces, 4 * noise, sign, sweep)
    assert len(found) > 20
    assert found == [(row, channel, float(a)) for row, channel, a in expected]


def test_the_threshold_itself_is_not_enough_and_the_earlier_of_equals_counts(as_list):
    traces = np.zeros((60, 2), np.float32)
    traces[[20, 25], 0] = -6, -6
    traces[20, 1] = -5
    geometry = Geometry(np.array([[0.0, 0.0], [0.0, 20.0]]), np.zeros(2, np.int64))
    found = Detector(Parameters(detect_threshold=5), geometry, RATE_HZ, np.ones(2))(traces, 10, 50)
    assert as_list(found) == [(20, 0, -6.0)]


def test_there_is_no_peak_at_or_near_nan(geometry, traces, as_list):
    detector = Detector(Parameters(detect_threshold=2, peak_sign="both"), geometry, RATE_HZ, np.ones(13))
    hurt = traces.copy()
    hurt[300, 4] = np.nan
    kept = [p for p in as_list(detector(traces, 10, 590)) if p[1] != 4 or abs(p[0] - 300) > 10]
    assert as_list(detector(hurt, 10, 590)) == kept


def test_golden_peaks_of_the_peer(staggered):
    """SpikeInterface 0.105.3, by_channel, on the same array with the same noise levels."""
    traces = np.random.default_rng(3).standard_normal((400, 16)).astype(np.float32)
    parameters = Parameters(peak_sign="both", detect_threshold=2.8, exclude_sweep_ms=1.0)
    detector = Detector(parameters, Geometry(staggered(16), np.zeros(16, np.int64)), RATE_HZ, np.linspace(0.9, 1.1, 16))
    found = detector(traces, 10, 390)
    assert list(zip(found[0].tolist(), found[1].tolist(), strict=True)) == GOLDEN


# fmt: off
GOLDEN = [
    (20, 9), (21, 1), (35, 3), (49, 12), (57, 11), (62, 1), (62, 7), (105, 5), (122, 14), (123, 2), (139, 7),
    (151, 2), (172, 7), (178, 6), (188, 2), (194, 4), (222, 0), (229, 4), (252, 5), (254, 11), (257, 2), (272, 0),
    (289, 9), (293, 1), (293, 5), (295, 0), (323, 1), (334, 10), (339, 4), (347, 15), (362, 2), (373, 2), (380, 8),
]
