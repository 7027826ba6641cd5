"""Locally exclusive peaks against the oracle and SpikeInterface's."""

import numpy as np
import pytest

from driftcli.detect.locally_exclusive import Detector, Parameters
from driftcli.model import Geometry
from oracles import detection

RATE_HZ = 10_000.0


@pytest.mark.parametrize("sign", ["neg", "pos", "both"])
@pytest.mark.parametrize("radius", [0.0, 30.0, 45.0])
def test_peaks_are_the_oracles(geometry, traces, sign, radius, as_list):
    noise = np.random.default_rng(1).choice([0.5, 1.0], 13)
    parameters = Parameters(peak_sign=sign, detect_threshold=4, exclude_sweep_ms=0.8, radius_um=radius)
    detector = Detector(parameters, geometry, RATE_HZ, noise)
    assert detector.margin_samples == 9
    found = as_list(detector(traces, 9, 591))
    places = geometry.positions_um, geometry.shanks
    expected = detection.locally_exclusive(traces, 4 * noise, sign, 8, *places, radius)
    assert len(found) > 20
    assert found == [(row, channel, float(a)) for row, channel, a in expected if 9 <= row < 591]


def one_peak_each(values, spots, as_list):
    traces = np.zeros((60, 2), np.float32)
    for value, (row, channel) in zip(values, spots, strict=True):
        traces[row, channel] = value
    detector = Detector(
        Parameters(peak_sign="both", detect_threshold=1, exclude_sweep_ms=1.0, radius_um=20),
        Geometry(np.array([[0.0, 0.0], [0.0, 20.0]]), np.zeros(2, np.int64)),
        RATE_HZ,
        np.array([1.0, 2.0]),
    )
    return as_list(detector(traces, 11, 49))


@pytest.mark.parametrize(
    ("values", "spots", "kept"),
    [
        # larger in multiples of its threshold, not in µV
        ((-5, -8), ((20, 0), (22, 1)), [(20, 0, -5.0)]),
        # of either sign
        ((-5, 12), ((20, 0), (22, 1)), [(22, 1, 12.0)]),
        # equal: the earlier sample, on whichever channel
        ((-5, 10), ((22, 0), (20, 1)), [(20, 1, 10.0)]),
        # equal at one sample: the lower channel
        ((-5, 10), ((20, 0), (20, 1)), [(20, 0, -5.0)]),
        # the exclusion reaches the last sample of the sweep, and no further
        ((-5, -20), ((20, 0), (30, 1)), [(30, 1, -20.0)]),
        ((-5, -20), ((20, 0), (31, 1)), [(20, 0, -5.0), (31, 1, -20.0)]),
    ],
)
def test_ties_and_reach(values, spots, kept, as_list):
    assert one_peak_each(values, spots, as_list) == kept


def test_an_excluded_peak_still_excludes(as_list):
    traces = np.zeros((80, 1), np.float32)
    traces[[20, 28, 36], 0] = -5, -6, -7
    geometry = Geometry(np.zeros((1, 2)), np.zeros(1, np.int64))
    detector = Detector(Parameters(exclude_sweep_ms=1.0), geometry, RATE_HZ, np.ones(1))
    assert as_list(detector(traces, 11, 69)) == [(36, 0, -7.0)]


def test_nan_is_never_a_peak(geometry, traces, as_list):
    hurt = traces.copy()
    hurt[100:140, 3] = np.nan
    hurt[:, 10] = np.nan
    detector = Detector(Parameters(detect_threshold=2, peak_sign="both"), geometry, RATE_HZ, np.ones(13))
    found = as_list(detector(hurt, 11, 589))
    assert all(np.isfinite(a) for _, _, a in found)
    assert 10 not in {channel for _, channel, _ in found}
    untouched = [p for p in as_list(detector(traces, 11, 589)) if p[0] < 80 and p[1] < 7]
    assert [p for p in found if p[0] < 80 and p[1] < 7] == untouched


def test_zeros_and_empty_blocks_hold_no_peaks(geometry, as_list):
    detector = Detector(Parameters(), geometry, RATE_HZ, np.ones(13))
    assert as_list(detector(np.zeros((100, 13), np.float32), 11, 89)) == []
    assert as_list(detector(np.zeros((22, 13), np.float32), 11, 11)) == []


def test_a_channel_without_noise_has_no_peaks_and_excludes_none(geometry, traces, as_list):
    noise = np.ones(13)
    noise[2] = 0
    found = as_list(Detector(Parameters(detect_threshold=2), geometry, RATE_HZ, noise)(traces, 11, 589))
    silent = traces.copy()
    silent[:, 2] = 0
    expected = Detector(Parameters(detect_threshold=2), geometry, RATE_HZ, np.ones(13))(silent, 11, 589)
    assert found == as_list(expected)


def test_golden_peaks_of_the_peer(staggered):
    """SpikeInterface 0.105.3, locally_exclusive, on the same array with the same noise levels."""
    traces = np.random.default_rng(3).standard_normal((400, 16)).astype(np.float32)
    parameters = Parameters(peak_sign="both", detect_threshold=2.5, exclude_sweep_ms=1.0, radius_um=50)
    detector = Detector(parameters, Geometry(staggered(16), np.zeros(16, np.int64)), RATE_HZ, np.linspace(0.9, 1.1, 16))
    found = detector(traces, 11, 389)
    assert list(zip(found[0].tolist(), found[1].tolist(), strict=True)) == GOLDEN


# fmt: off
GOLDEN = [
    (20, 9), (21, 1), (35, 3), (62, 1), (62, 7), (94, 3), (105, 5), (122, 14), (123, 2), (130, 1), (139, 7),
    (151, 2), (152, 8), (156, 15), (171, 1), (172, 7), (178, 12), (184, 9), (194, 4), (211, 0), (213, 14),
    (222, 0), (223, 11), (240, 13), (252, 5), (254, 11), (257, 2), (272, 0), (275, 11), (289, 9), (295, 0),
    (318, 7), (323, 1), (334, 10), (339, 4), (347, 15), (358, 15), (362, 2), (373, 2), (380, 8),
]
