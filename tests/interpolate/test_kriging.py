import numpy as np
import pytest
from pydantic import ValidationError

from driftcli.interpolate.kriging import Kernel, Parameters
from oracles import interpolate as oracle

# SpikeInterface 0.105.3, get_spatial_interpolation_kernel(method="kriging", sigma_um=20, force_extrapolate=True):
# for targets 0, 1, C // 3, C // 2 + 5, C - 2 the weighted sum of sin(1.7 * source) and the sum of |weight|
GOLDEN = {
    ("np1", 1, "rigid"): (
        [-0.1554625, 0.6167081, 0.46325, -0.5276656, 0.413462],
        [1.026159, 1.033615, 1.044814, 1.044814, 0.7511073],
    ),
    ("np1", 1, "wave"): (
        [0.02244094, 0.8401422, 0.4661885, -0.6436909, 0.514077],
        [0.891915, 0.8858247, 1.042868, 1.03248, 1.005662],
    ),
    ("np1", 2, "rigid"): (
        [-0.2738874, 0.645935, 0.7178309, -0.6777083, 0.5500385],
        [1.156305, 1.147378, 1.321363, 1.321363, 1.044164],
    ),
    ("np1", 2, "wave"): (
        [0.09288877, 1.040575, 0.5949334, -0.8529375, 0.5137755],
        [1.143254, 1.070431, 1.306916, 1.232003, 1.019942],
    ),
    ("np2", 1, "rigid"): (
        [-0.1171182, 0.06055459, 0.0433081, 0.083976, 0.5061704],
        [1.007892, 1.007892, 1.015899, 1.015899, 0.7541596],
    ),
    ("np2", 1, "wave"): (
        [0.0266663, 0.8456338, -0.7221939, 0.8938993, 0.7670475],
        [0.8870346, 0.8870346, 1.000782, 1.001921, 0.9817275],
    ),
    ("np2", 2, "rigid"): (
        [-0.5005783, -0.4090497, 0.313689, 0.3130011, 1.908726],
        [1.651299, 1.651299, 2.054823, 2.054823, 2.24972],
    ),
    ("np2", 2, "wave"): (
        [0.2739945, 1.508004, -0.7521281, 0.9617802, 0.8916462],
        [1.682759, 1.682759, 1.047569, 1.11763, 1.115446],
    ),
    ("np_ultra", 1, "rigid"): (
        [0.8369304, 0.184431, -0.7350864, 0.03491609, 0.1023176],
        [1.080303, 1.134991, 1.084319, 1.149661, 1.318741],
    ),
    ("np_ultra", 1, "wave"): (
        [0.1559559, 0.5361368, -0.6204593, 0.7485508, 0.6630348],
        [1.12547, 1.258417, 1.071927, 1.025062, 1.088704],
    ),
    ("np_ultra", 2, "rigid"): (
        [0.9499495, 0.1899439, -0.8748852, 0.01681515, -0.382008],
        [2.424165, 2.67618, 2.575157, 3.061176, 188.4509],
    ),
    ("np_ultra", 2, "wave"): (
        [-0.5633218, 0.9852922, -0.6080797, 0.7685071, 0.6928191],
        [38.53204, 42.94681, 2.591427, 3.034358, 7.61007],
    ),
}


@pytest.mark.parametrize(("probe", "p", "kind"), GOLDEN)
def test_weights_are_those_of_spikeinterface(probes, displacements, probe, p, kind):
    positions = probes[probe]
    count = len(positions)
    weights = Kernel(Parameters(p=p, border_mode="force_extrapolate"), positions).weights(
        displacements[kind](positions)
    )
    targets = [0, 1, count // 3, count // 2 + 5, count - 2]
    summed, magnitude = GOLDEN[probe, p, kind]
    np.testing.assert_allclose(weights[targets] @ np.sin(1.7 * np.arange(count)), summed, rtol=0, atol=1.5e-4)
    np.testing.assert_allclose(np.abs(weights[targets]).sum(axis=1), magnitude, rtol=1e-6, atol=1.5e-4)


@pytest.mark.parametrize("extrapolate", [True, False])
@pytest.mark.parametrize("kind", ["rigid", "wave"])
@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("probe", ["np1", "np2", "np_ultra"])
def test_sum_of_differences_from_dense_weights(probes, displacements, probe, p, kind, extrapolate):
    positions = probes[probe]
    displacement = displacements[kind](positions)
    mode = "force_extrapolate" if extrapolate else "force_zeros"
    weights = Kernel(Parameters(p=p, border_mode=mode), positions).weights(displacement)
    expected = oracle.kriging_weights(positions, displacement, 20.0, p, extrapolate)
    assert np.abs(weights - expected).sum(axis=1).max() < 1.05e-4
    assert np.count_nonzero(weights) < 0.95 * weights.size


def test_smallest_weights_are_dropped_by_the_rule(small_np1, displacements):
    displacement = displacements["wave"](small_np1)
    weights = Kernel(Parameters(p=2, border_mode="force_zeros"), small_np1).weights(displacement)
    expected = oracle.drop_smallest(oracle.kriging_weights(small_np1, displacement, 20.0, 2, False), 1e-4)
    np.testing.assert_array_equal(weights != 0, expected != 0)
    np.testing.assert_allclose(weights, expected, atol=1e-12)


def test_contacts_moved_outside_are_zero_unless_extrapolated(small_np1):
    displacement = np.full(len(small_np1), -30.0)
    outside = small_np1[:, 1] < 30
    for mode in ("remove_channels", "force_zeros"):
        weights = Kernel(Parameters(border_mode=mode), small_np1).weights(displacement)
        np.testing.assert_array_equal((weights == 0).all(axis=1), outside)
        np.testing.assert_allclose(weights[~outside].sum(axis=1), 1, atol=1e-4)
    weights = Kernel(Parameters(border_mode="force_extrapolate"), small_np1).weights(displacement)
    assert (weights != 0).any(axis=1).all()
    assert (weights[outside].sum(axis=1) < 0.9).all()  # a guess from afar is smaller, not scaled up


@pytest.mark.parametrize("p", [1, 2])
def test_without_displacement_a_trace_stays_itself(small_np1, p):
    weights = Kernel(Parameters(p=p), small_np1).weights(np.zeros(len(small_np1)))
    np.testing.assert_allclose(weights, np.eye(len(small_np1)), atol=1e-4)


def test_one_contact():
    kernel = Kernel(Parameters(border_mode="force_extrapolate"), np.array([[3.0, 40.0]]))
    np.testing.assert_array_equal(kernel.weights(np.zeros(1)), [[1.0]])
    np.testing.assert_allclose(kernel.weights(np.array([20.0])), [[np.exp(-1)]], rtol=1e-5)


def test_contacts_at_the_same_place_share_the_weight():
    positions = np.array([[0.0, 0.0], [0.0, 0.0], [0.0, 200.0]])
    weights = Kernel(Parameters(p=2), positions).weights(np.zeros(3))
    np.testing.assert_allclose(weights, [[0.5, 0.5, 0], [0.5, 0.5, 0], [0, 0, 1]], atol=1e-5)


def test_a_target_far_from_every_contact_is_zero_not_nan():
    positions = np.array([[0.0, 0.0], [0.0, 20.0], [0.0, 4000.0]])
    weights = Kernel(Parameters(p=2), positions).weights(np.array([2000.0, 0.0, 0.0]))
    np.testing.assert_array_equal(weights[0], 0)
    assert np.isfinite(weights).all()


@pytest.mark.parametrize("extrapolate", [True, False])
@pytest.mark.parametrize("kind", ["rigid", "wave"])
def test_weights_of_some_sources(small_np1, displacements, kind, extrapolate):
    """Both ends and a run in the middle are no sources; what lies beyond those that are is outside."""
    displacement = displacements[kind](small_np1)
    sources = small_np1[[3, 4, 5, 8, 9, 11, 12, 19, 20, 21, 23, 26, 28]]
    mode = "force_extrapolate" if extrapolate else "force_zeros"
    weights = Kernel(Parameters(p=2, border_mode=mode), small_np1, sources).weights(displacement)
    expected = oracle.kriging_weights(small_np1, displacement, 20.0, 2, extrapolate, sources)
    np.testing.assert_allclose(weights, oracle.drop_smallest(expected, 1e-4), atol=1e-6)
    inside = [
        oracle.is_inside(sources, place) for place in small_np1 + np.column_stack([0 * displacement, displacement])
    ]
    assert 0 < sum(inside) < len(inside)
    np.testing.assert_allclose(weights.sum(axis=1)[inside], 1, atol=2e-4)


def test_every_parameter_changes_the_weights(small_np1, displacements):
    displacement = displacements["rigid"](small_np1)
    base = Kernel(Parameters(), small_np1).weights(displacement)
    for other in ({"sigma_um": 30.0}, {"p": 2}, {"border_mode": "force_zeros"}):
        assert np.abs(Kernel(Parameters(**other), small_np1).weights(displacement) - base).max() > 0.01, other


@pytest.mark.parametrize("wrong", [{"sigma_um": 0}, {"sigma_um": float("inf")}, {"p": 0}, {"p": 3}, {"sigma": 20}])
def test_wrong_parameters_are_refused(wrong):
    with pytest.raises(ValidationError):
        Parameters(**wrong)
