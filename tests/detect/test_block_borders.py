"""Every detector finds the same peaks wherever blocks end."""

from itertools import pairwise

import numpy as np
import pytest

from driftcli.detect import by_channel, locally_exclusive


@pytest.mark.parametrize("method", [by_channel, locally_exclusive])
@pytest.mark.parametrize("sign", ["neg", "both"])
def test_block_borders_change_nothing(geometry, traces, as_list, method, sign):
    parameters = method.Parameters(peak_sign=sign, detect_threshold=2)
    detector = method.Detector(parameters, geometry, 10_000.0, np.ones(13))
    margin = detector.margin_samples
    whole = as_list(detector(traces, margin, 600 - margin))
    assert len(whole) > 50
    pieces = []
    for first, last in pairwise([margin, margin + 1, 57, 58, 60, 133, 400, 401, 600 - margin]):
        block = np.ascontiguousarray(traces[first - margin : last + margin])
        rows, channels, amplitudes = detector(block, margin, margin + last - first)
        pieces += as_list((rows + first - margin, channels, amplitudes))
    assert pieces == whole
