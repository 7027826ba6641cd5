import numpy as np
import pytest
from pydantic import ValidationError

from driftcli.interpolate.idw import Kernel, Parameters
from oracles import interpolate as oracle

# SpikeInterface 0.105.3, get_spatial_interpolation_kernel(method="idw", num_closest=3, force_extrapolate=True): for
# targets 0, 1, C // 3, C // 2 + 5, C - 2 the weighted sum of sin(1.7 * source) and the sum of the weights, which is
# not 1 for targets outside the probe
GOLDEN = {
    ("np1", "rigid"): ([-0.2449978, 0.5333018, 0.2210225, -0.230226, 0.08816914], [1, 1, 1, 1, 0.2000541]),
    ("np1", "wave"): ([-0.04204113, 0.2869447, 0.2163136, -0.3967451, 0.5114828], [0.393755, 0.3892722, 1, 1, 1]),
    ("np2", "rigid"): ([-0.03619517, 0.1685959, 0.1181073, -0.07040968, 0.04586477], [1, 1, 1, 1, 0.2133524]),
    ("np2", "wave"): ([0.01672683, 0.2687419, -0.7014498, 0.8358834, 1.623853], [0.4089337, 0.4089337, 1, 1, 2.188902]),
}


@pytest.mark.parametrize(("probe", "kind"), GOLDEN)
def test_weights_are_those_of_spikeinterface(probes, displacements, probe, kind):
    positions = probes[probe]
    count = len(positions)
    weights = Kernel(Parameters(border_mode="force_extrapolate"), positions).weights(displacements[kind](positions))
    targets = [0, 1, count // 3, count // 2 + 5, count - 2]
    summed, scale = (np.array(golden) for golden in GOLDEN[probe, kind])
    np.testing.assert_allclose(weights[targets] @ np.sin(1.7 * np.arange(count)), summed / scale, atol=1e-6)


@pytest.mark.parametrize("extrapolate", [True, False])
@pytest.mark.parametrize("num_closest", [1, 3, 50])
@pytest.mark.parametrize("amount", [0.0, 7.25, -20.0, 33.0, 1e-9])
def test_weights(small_np1, extrapolate, num_closest, amount):
    displacement = amount + 0.1 * np.sin(small_np1[:, 1]) * (amount == 7.25)
    mode = "force_extrapolate" if extrapolate else "force_zeros"
    weights = Kernel(Parameters(num_closest=num_closest, border_mode=mode), small_np1).weights(displacement)
    expected = oracle.idw_weights(small_np1, displacement, num_closest, extrapolate)
    np.testing.assert_allclose(weights, expected, atol=1e-12)


@pytest.mark.parametrize("extrapolate", [True, False])
@pytest.mark.parametrize("num_closest", [1, 3, 50])
@pytest.mark.parametrize("amount", [0.0, 7.25, -20.0])
def test_weights_of_some_sources(small_np1, extrapolate, num_closest, amount):
    displacement = np.full(len(small_np1), amount)
    sources = small_np1[[3, 4, 5, 8, 9, 19, 20, 26]]
    mode = "force_extrapolate" if extrapolate else "force_zeros"
    weights = Kernel(Parameters(num_closest=num_closest, border_mode=mode), small_np1, sources).weights(displacement)
    expected = oracle.idw_weights(small_np1, displacement, num_closest, extrapolate, sources)
    assert weights.shape == (32, 8)
    np.testing.assert_allclose(weights, expected, atol=1e-12)


def test_without_displacement_weights_are_the_identity(small_np1):
    weights = Kernel(Parameters(), small_np1).weights(np.zeros(len(small_np1)))
    np.testing.assert_array_equal(weights, np.eye(len(small_np1)))


def test_the_tiniest_distance_is_not_infinite():
    weights = Kernel(Parameters(num_closest=2), np.array([[0.0, 0.0], [0.0, 20.0]])).weights(np.array([5e-324, 0.0]))
    np.testing.assert_array_equal(weights, np.eye(2))


def test_contacts_at_the_same_place():
    weights = Kernel(Parameters(), np.array([[0.0, 0.0], [0.0, 0.0]])).weights(np.zeros(2))
    np.testing.assert_array_equal(weights, [[1, 0], [1, 0]])


def test_every_parameter_changes_the_weights(small_np1, displacements):
    displacement = displacements["rigid"](small_np1)
    base = Kernel(Parameters(), small_np1).weights(displacement)
    for other in ({"num_closest": 4}, {"border_mode": "force_zeros"}):
        assert np.abs(Kernel(Parameters(**other), small_np1).weights(displacement) - base).max() > 0.01, other


def test_wrong_parameters_are_refused():
    with pytest.raises(ValidationError):
        Parameters(num_closest=0)
