"""Grid convolution against the oracle, SpikeInterface's, and where no template fits."""

import numpy as np
import pytest
from pydantic import ValidationError

from driftcli.localize import grid_convolution
from driftcli.model import Geometry
from oracles import localization

SIGMAS = (5.0, 10.0, 15.0, 20.0, 25.0)
GAUSSIAN = {"mode": "gaussian_2d", "sigma_list_um": SIGMAS}

# SpikeInterface 0.105.3, with the waveforms' prototype left to its default
GOLDEN_EXPONENTIAL = [
    [24.15, 65.35, 113.026],
    [17.628, 178.863, 108.773],
    [23.831, 145.837, 108.335],
    [33.39, 152.689, 109.324],
    [29.819, 60.701, 107.114],
    [21.626, 179.499, 111.85],
    [14.63, 144.339, 108.776],
    [26.547, 166.934, 110.655],
]
GOLDEN_GAUSSIAN = [
    [24.502, 68.075, 24.709],
    [17.877, 178.114, 24.417],
    [24.567, 147.276, 24.021],
    [34.29, 150.689, 24.122],
    [31.077, 61.679, 23.614],
    [22.245, 179.981, 24.71],
    [15.76, 147.035, 24.515],
    [25.434, 168.351, 24.61],
]


@pytest.mark.parametrize(("method", "golden"), [({}, GOLDEN_EXPONENTIAL), (GAUSSIAN, GOLDEN_GAUSSIAN)])
def test_golden_locations_of_the_peer(locate, method, golden):
    np.testing.assert_allclose(locate(grid_convolution, weight_method=method), golden, atol=2e-3)


def oracle(spikes, shanks, sign, row, channel, method, names, sigma_3d, threshold, **numbers):
    """One location with a radius of 30 µm, a grid of 7 µm and a margin of 21 µm."""
    shank = np.flatnonzero(shanks == shanks[channel])
    places = spikes.geometry.positions_um[shank]
    templates = localization.grid_templates(places, 7.0, 21.0)
    weights = localization.grid_weights(places, templates, method, names, sigma_3d, threshold)
    prototype = sign * np.exp(-((np.arange(-3, 9) / 30) ** 2) / (2 * 0.2**2))
    here = int(np.flatnonzero(shank == channel)[0])
    waveforms = spikes.traces[row - 3 : row + 9][:, shank]
    return localization.grid_convolution(
        waveforms, prototype, weights, names, templates, here, places, 30.0, numbers["percentile"]
    )


@pytest.mark.parametrize("percentile", [0.0, 5.0, 37.0, 100.0])
@pytest.mark.parametrize(
    ("weight_method", "oracle_method"),
    [
        ({"mode": "gaussian_2d", "sigma_list_um": (8.0, 21.0)}, ("gaussian_2d", (8.0, 21.0), 0.0, None)),
        (
            {"mode": "exponential_3d", "z_list_um": (0.0, 15.0, 40.0), "sigma_3d": 9.0, "sparsity_threshold": 0.2},
            ("exponential_3d", (0.0, 15.0, 40.0), 9.0, 0.2),
        ),
        ({"sparsity_threshold": 0.0}, ("exponential_3d", (0.0, 30.0, 60.0, 90.0, 120.0), 2.5, 0.0)),
    ],
)
@pytest.mark.parametrize("sign", ["neg", "pos"])
def test_locations_are_the_oracles(spikes, percentile, weight_method, oracle_method, sign):
    shanks = np.repeat([0, 1], [18, 14])
    parameters = grid_convolution.Parameters(
        radius_um=30, upsampling_um=7, sigma_ms=0.2, margin_um=21, percentile=percentile, peak_sign=sign,
        weight_method=weight_method,
    )  # fmt: skip
    localizer = grid_convolution.Localizer(parameters, Geometry(spikes.geometry.positions_um, shanks), 30_000.0)
    side = {"neg": -1, "pos": 1}[sign]
    found = localizer(-side * spikes.traces, spikes.rows, spikes.channels)
    for at, row, channel in zip(found, spikes.rows, spikes.channels, strict=True):
        expected = oracle(spikes, shanks, -1, row, channel, *oracle_method, percentile=percentile)
        np.testing.assert_allclose(at, expected, atol=1e-3)


@pytest.mark.parametrize("value", [0, np.nan, np.inf])
def test_without_a_score_it_is_the_contact(locate, spikes, value):
    found = locate(grid_convolution, traces=np.full_like(spikes.traces, value))
    assert (found[:, :2] == spikes.geometry.positions_um[spikes.channels]).all()
    assert (found[:, 2] == 0).all()


def test_peaks_of_the_other_sign_are_put_on_their_contact(locate, spikes):
    traces = np.where(np.isin(np.arange(len(spikes.traces)), spikes.rows)[:, None], 50, 0).astype(np.float32)
    traces = np.repeat(traces[:, :1], 32, axis=1)
    assert (locate(grid_convolution, traces=traces)[:, 2] == 0).all()
    assert (locate(grid_convolution, traces=traces, peak_sign="pos")[:, 2] > 0).all()


def test_a_probe_of_one_contact():
    geometry = Geometry(np.array([[3.0, 50.0]]), np.zeros(1, np.int64))
    localizer = grid_convolution.Localizer(grid_convolution.Parameters(), geometry, 30_000.0)
    traces = np.zeros((60, 1), np.float32)
    traces[30] = -10
    found = localizer(traces, np.array([30]), np.array([0], np.int32))
    assert np.isfinite(found).all()
    assert np.abs(found[0, :2] - [3, 50]).max() < 3
    assert localizer(traces, np.zeros(0, np.int64), np.zeros(0, np.int32)).shape == (0, 3)


def test_a_radius_in_which_there_is_no_template_gives_the_contact(locate, spikes):
    found = locate(grid_convolution, radius_um=1, upsampling_um=7, margin_um=3)
    alone = found[:, 2] == 0
    assert (found[alone, :2] == spikes.geometry.positions_um[spikes.channels][alone]).all()
    assert alone.any()


@pytest.mark.parametrize(
    "method", [{"mode": "gaussian"}, {"mode": "gaussian_2d", "sigma_3d": 2.0}, {"sigma_list_um": (5.0,)}, 3]
)
def test_a_method_takes_its_own_keys_only(method):
    with pytest.raises(ValidationError):
        grid_convolution.Parameters(weight_method=method)
