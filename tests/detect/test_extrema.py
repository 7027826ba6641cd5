"""Thresholds and local extrema."""

import numpy as np
import pytest

from driftcli.detect import extrema
from driftcli.errors import InputError
from oracles import detection


@pytest.mark.parametrize(
    ("exclude_sweep_ms", "rate_hz", "samples"),
    [(0.8, 30_000.0, 24), (0.8, 29_999.95, 24), (1.0, 30_000.39, 30), (0.3, 25_000.0, 7), (0.99, 10_000.0, 9)],
)
def test_a_sweep_is_whole_samples_rounded_down(exclude_sweep_ms, rate_hz, samples):
    """A thousandth of a sample less than whole ones counts as whole: rates are measured."""
    assert extrema.Parameters(exclude_sweep_ms=exclude_sweep_ms).sweep_samples(rate_hz) == samples


def test_limits_are_exact_for_float32():
    height = np.array([0.1, 1 / 3, 5.0, 123.456])
    for inclusive in (True, False):
        low, high = extrema.limits(height, "both", inclusive)
        assert (low == -high).all()
        for value, limit in zip(height, high, strict=True):
            rounded = np.float32(value)
            near = [float(s) for s in (np.nextafter(rounded, -rounded), rounded, np.nextafter(rounded, 2 * rounded))]
            for sample in near:
                passes = sample >= value if inclusive else sample > value
                assert (sample >= limit) == passes


@pytest.mark.parametrize(("sign", "low", "high"), [("neg", True, False), ("pos", False, True), ("both", True, True)])
def test_limits_leave_out_the_other_sign(sign, low, high):
    found = extrema.limits(np.array([4.0]), sign, True)
    assert [bool(np.isfinite(side[0])) for side in found] == [low, high]


def test_channels_without_noise_are_out_of_reach(geometry):
    noise = np.ones(13)
    noise[:3] = 0, np.nan, np.inf
    height = extrema.heights(noise, geometry, 6.0)
    assert np.isnan(height[:3]).all()
    assert (height[3:] == 6.0).all()


def test_noise_levels_must_fit(geometry):
    with pytest.raises(InputError, match="5 noise levels do not fit a probe of 13"):
        extrema.heights(np.ones(5), geometry, 6.0)


@pytest.mark.parametrize("sign", ["neg", "pos", "both"])
@pytest.mark.parametrize("n_channels", [1, 7, 8, 13])
def test_extrema_are_the_oracles(traces, sign, n_channels):
    traces = np.ascontiguousarray(traces[:, :n_channels])
    height = np.linspace(2, 4, n_channels)
    rows, channels = extrema.find(traces, 1, 599, *extrema.limits(height, sign, True))
    assert list(zip(rows.tolist(), channels.tolist(), strict=True)) == detection.extrema(traces, height, sign)


def test_more_extrema_than_the_first_buffer_holds():
    traces = np.tile(np.float32([[0], [-9]]), (2000, 13))
    rows, channels = extrema.find(traces, 1, 3999, *extrema.limits(np.full(13, 5.0), "neg", True))
    assert rows.tolist() == np.repeat(np.arange(1, 3999, 2), 13).tolist()
    assert channels.tolist() == np.tile(np.arange(13), 1999).tolist()
