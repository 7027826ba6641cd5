import numpy as np
import pytest

from driftcli.interpolate.nearest import Kernel, Parameters
from oracles import interpolate as oracle

# SpikeInterface 0.105.3, get_spatial_interpolation_kernel(method="nearest", force_extrapolate=True): for targets
# 0, 1, C // 3, C // 2 + 5, C - 2 of Neuropixels Ultra the value sin(1.7 * source)
GOLDEN = {
    "rigid": [0.8591618, 0.3967406, -0.957399, 0.2150905, 0.7893069],
    "wave": [0.0, 0.9916648, -0.7380035, 0.7562414, 0.7893069],
}


@pytest.mark.parametrize("kind", GOLDEN)
def test_weights_are_those_of_spikeinterface(probes, displacements, kind):
    positions = probes["np_ultra"]
    weights = Kernel(Parameters(border_mode="force_extrapolate"), positions).weights(displacements[kind](positions))
    targets = [0, 1, 128, 197, 382]
    np.testing.assert_allclose(weights[targets] @ np.sin(1.7 * np.arange(384)), GOLDEN[kind], atol=1e-6)


@pytest.mark.parametrize("extrapolate", [True, False])
@pytest.mark.parametrize("amount", [0.0, 7.25, -20.0, 10.0, 33.0, -500.0])
def test_weights(small_np1, extrapolate, amount):
    displacement = np.full(len(small_np1), amount)
    mode = "force_extrapolate" if extrapolate else "remove_channels"
    weights = Kernel(Parameters(border_mode=mode), small_np1).weights(displacement)
    np.testing.assert_array_equal(weights, oracle.nearest_weights(small_np1, displacement, extrapolate))


@pytest.mark.parametrize("extrapolate", [True, False])
@pytest.mark.parametrize("amount", [0.0, 7.25, -20.0])
def test_weights_of_some_sources(small_np1, extrapolate, amount):
    displacement = np.full(len(small_np1), amount)
    sources = small_np1[[3, 4, 5, 8, 9, 19, 20, 26]]
    mode = "force_extrapolate" if extrapolate else "force_zeros"
    weights = Kernel(Parameters(border_mode=mode), small_np1, sources).weights(displacement)
    expected = oracle.nearest_weights(small_np1, displacement, extrapolate, sources)
    np.testing.assert_array_equal(weights, expected)


def test_border_mode_changes_the_weights(small_np1):
    displacement = np.full(len(small_np1), 30.0)
    sums = {
        mode: Kernel(Parameters(border_mode=mode), small_np1).weights(displacement).sum()
        for mode in ("force_extrapolate", "force_zeros")
    }
    assert sums == {"force_extrapolate": 32, "force_zeros": 28}
