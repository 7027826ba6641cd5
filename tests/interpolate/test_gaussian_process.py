import numpy as np
import pytest
from pydantic import ValidationError

from driftcli.interpolate import kriging
from driftcli.interpolate.gaussian_process import Kernel, Parameters
from oracles import interpolate as oracle

DEFAULT = Parameters()
BORDERS_UM = (5.0, 12.5, 20.0, 40.0)


def _shift(positions, displacement_um):
    return np.full(len(positions), float(displacement_um))


def _oracle(positions, displacement, parameters=DEFAULT, sources=None):
    return oracle.gaussian_process_weights(
        positions,
        displacement,
        parameters.spike_length_um,
        parameters.spike_offset_um,
        parameters.noise_length_um,
        parameters.shared_noise,
        parameters.own_noise,
        parameters.border_mode == "force_extrapolate",
        sources,
    )


def _inner(positions, margin_um=100.0):
    """Which contacts lie well inside the probe."""
    depths = positions[:, 1]
    return (depths >= depths.min() + margin_um) & (depths <= depths.max() - margin_um)


def _noise_level(weights, positions, length_um=25.0):
    """(targets,) standard deviation of what the weights make of noise with the covariance exp(-distance / length)."""
    apart = np.linalg.norm(positions[:, None] - positions[None], axis=2)
    return np.sqrt(np.einsum("ts,su,tu->t", weights, np.exp(-apart / length_um), weights))


@pytest.mark.parametrize("mode", ["force_extrapolate", "force_zeros"])
@pytest.mark.parametrize("kind", ["rigid", "wave"])
@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"spike_length_um": 22.0, "spike_offset_um": 12.0, "noise_length_um": 60.0},
        {"spike_offset_um": 0.0, "shared_noise": 0.4, "own_noise": 0.05},
    ],
)
def test_weights_are_those_of_the_oracle(small_np1, displacements, parameters, kind, mode):
    chosen = Parameters(border_mode=mode, **parameters)
    displacement = displacements[kind](small_np1)
    weights = Kernel(chosen, small_np1).weights(displacement)
    expected = oracle.drop_smallest(_oracle(small_np1, displacement, chosen), 1e-4)
    np.testing.assert_allclose(weights, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("mode", ["force_extrapolate", "force_zeros"])
def test_weights_of_some_sources(small_np1, displacements, mode):
    """Both ends and a run in the middle are no sources."""
    displacement = displacements["wave"](small_np1)
    sources = small_np1[[3, 4, 5, 8, 9, 11, 12, 19, 20, 21, 23, 26, 28]]
    chosen = Parameters(border_mode=mode)
    weights = Kernel(chosen, small_np1, sources).weights(displacement)
    expected = oracle.drop_smallest(_oracle(small_np1, displacement, chosen, sources), 1e-4)
    np.testing.assert_allclose(weights, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("probe", ["np1", "np2", "np_ultra", "linear"])
def test_what_is_dropped_of_dense_weights(probes, displacements, probe):
    positions = probes[probe]
    displacement = displacements["wave"](positions)
    weights = Kernel(DEFAULT, positions).weights(displacement)
    lost = np.abs(weights - _oracle(positions, displacement)).sum(axis=1)
    assert 0 < lost.max() < 1.01e-4
    assert np.count_nonzero(weights) < 0.7 * weights.size


@pytest.mark.parametrize("probe", ["np1", "np2", "np_ultra", "linear"])
@pytest.mark.parametrize("displacement_um", [0.0, 3.3, 10.0, -7.25])
def test_offsets_stay(probes, probe, displacement_um):
    positions = probes[probe]
    weights = Kernel(DEFAULT, positions).weights(_shift(positions, displacement_um))
    np.testing.assert_allclose(weights.sum(axis=1)[_inner(positions)], 1, atol=1.1e-4)


@pytest.mark.parametrize(("probe", "period_um", "contacts"), [("np1", 40, 4), ("np2", 15, 2), ("linear", 20, 1)])
def test_a_whole_period_gives_the_weights_of_none(probes, probe, period_um, contacts):
    """Moved by as much as the geometry repeats itself, a target is where another contact is: its weights are that's."""
    positions = probes[probe]
    kernel = Kernel(DEFAULT, positions)
    still, moved = (kernel.weights(_shift(positions, by)) for by in (0, period_um))
    np.testing.assert_allclose(moved[:-contacts], still[contacts:], rtol=0, atol=1e-12)


@pytest.mark.parametrize("probe", ["np1", "np2", "linear"])
def test_without_displacement_a_trace_hardly_changes(probes, probe):
    weights = Kernel(DEFAULT, probes[probe]).weights(_shift(probes[probe], 0))
    assert np.abs(weights - np.eye(len(weights))).sum(axis=1).max() < 0.05


@pytest.mark.parametrize("probe", ["np1", "np2", "np_ultra", "linear"])
def test_mirrored_probes_have_mirrored_weights(probes, displacements, probe):
    positions = probes[probe]
    displacement = displacements["wave"](positions)
    weights = Kernel(DEFAULT, positions).weights(displacement)
    upside_down = Kernel(DEFAULT, positions * [1, -1]).weights(-displacement)
    other_hand = Kernel(DEFAULT, positions * [-1, 1]).weights(displacement)
    np.testing.assert_allclose(upside_down, weights, rtol=0, atol=1e-10)
    np.testing.assert_allclose(other_hand, weights, rtol=0, atol=1e-10)


def test_order_of_contacts_does_not_matter(small_np1, displacements):
    order = np.random.default_rng(3).permutation(len(small_np1))
    displacement = displacements["wave"](small_np1)
    weights = Kernel(DEFAULT, small_np1).weights(displacement)
    shuffled = Kernel(DEFAULT, small_np1[order]).weights(displacement[order])
    np.testing.assert_allclose(shuffled, weights[np.ix_(order, order)], rtol=0, atol=1e-10)


def _without_a_run(positions):
    """Sources but for a run of 40 (or a third of the) contacts."""
    count = min(40, len(positions) // 3)
    return np.delete(positions, np.arange(20, 20 + count), axis=0)


@pytest.mark.parametrize("sources", [lambda positions: positions, _without_a_run], ids=["all good", "a run is bad"])
@pytest.mark.parametrize("probe", ["np1", "np2", "np_ultra", "linear"])
def test_noise_is_bounded_past_the_ends_and_among_bad_contacts(probes, probe, sources):
    """sqrt(sum of squares) is how much independent noise of the contacts grows."""
    positions = probes[probe]
    kernel = Kernel(DEFAULT, positions, sources(positions))
    for displacement_um in (0.0, *BORDERS_UM, *(-by for by in BORDERS_UM)):
        weights = kernel.weights(_shift(positions, displacement_um))
        assert np.isfinite(weights).all()
        assert np.sqrt((weights**2).sum(axis=1)).max() < 4, displacement_um


def test_kriging_does_amplify_noise_there(probes):
    """The bound above is one that other covariances miss."""
    positions = probes["np_ultra"]
    weights = kriging.Kernel(kriging.Parameters(p=2), positions).weights(_shift(positions, 20))
    assert np.sqrt((weights**2).sum(axis=1)).max() > 20


@pytest.mark.parametrize(("probe", "period_um"), [("np1", 40), ("np2", 15), ("np_ultra", 6), ("linear", 20)])
def test_noise_level_over_displacements(probes, probe, period_um):
    """More constant than that of kriging, over a period of the geometry."""
    positions = probes[probe]
    inner = _inner(positions)

    def lowest(kernel):
        shifts = np.linspace(0, period_um, 9)
        levels = [_noise_level(kernel.weights(_shift(positions, by)), positions)[inner] for by in shifts]
        return np.min(levels) / np.max(levels)

    own = lowest(Kernel(DEFAULT, positions))
    assert own > 0.84
    if probe == "np1":
        assert own > lowest(kriging.Kernel(kriging.Parameters(p=2), positions)) + 0.02


def _footprints(positions, seed=0, count=60):
    """(count, C) peak amplitudes of cells beside the probe, of sizes and at places of their own."""
    rng = np.random.default_rng(seed)
    depth = rng.uniform(150, 1100, count)
    across = rng.uniform(-10, 45, count)
    apart_sq = (positions[None, :, 0] - across[:, None]) ** 2 + (positions[None, :, 1] - depth[:, None]) ** 2
    beside = rng.uniform(5, 45, (count, 1))
    return np.exp(-np.sqrt(apart_sq + beside**2) / rng.uniform(10, 45, (count, 1)))


@pytest.mark.parametrize("displacement_um", [5.0, 10.0, 15.0, -8.0])
def test_spikes_keep_their_shape_better_than_with_kriging(probes, displacement_um):
    positions = probes["np1"]
    at_rest = _footprints(positions)
    moved = _footprints(positions - [0, displacement_um])
    sizes = np.linalg.norm(at_rest, axis=1)

    def error(kernel):
        weights = kernel.weights(_shift(positions, displacement_um))
        return np.mean(np.linalg.norm(moved @ weights.T - at_rest, axis=1) / sizes)

    assert error(Kernel(DEFAULT, positions)) < 0.95 * error(kriging.Kernel(kriging.Parameters(p=2), positions))


def test_contacts_moved_outside_are_zero_unless_extrapolated(small_np1):
    displacement = _shift(small_np1, -30)
    outside = small_np1[:, 1] < 30
    for mode in ("remove_channels", "force_zeros"):
        weights = Kernel(Parameters(border_mode=mode), small_np1).weights(displacement)
        np.testing.assert_array_equal((weights == 0).all(axis=1), outside)
    weights = Kernel(DEFAULT, small_np1).weights(displacement)
    assert (weights != 0).any(axis=1).all()


def test_one_contact():
    """Far from all there is to go by the guess fades, and twice as much as is known is the most."""
    kernel = Kernel(Parameters(spike_length_um=10, spike_offset_um=0, shared_noise=0), np.array([[3.0, 40.0]]))
    np.testing.assert_allclose(kernel.weights(np.zeros(1)), [[1.0]])
    np.testing.assert_allclose(kernel.weights(np.array([5.0])), [[1.0]])
    np.testing.assert_allclose(kernel.weights(np.array([20.0])), [[2 * np.exp(-2)]], rtol=1e-3)
    np.testing.assert_array_equal(kernel.weights(np.array([4000.0])), [[0.0]])


def test_contacts_at_the_same_place_share_the_weight():
    positions = np.array([[0.0, 0.0], [0.0, 0.0], [0.0, 2000.0]])
    weights = Kernel(DEFAULT, positions).weights(np.zeros(3))
    np.testing.assert_allclose(weights, [[0.5, 0.5, 0], [0.5, 0.5, 0], [0, 0, 1]], atol=1e-4)


@pytest.mark.parametrize(
    "wrong",
    [
        {"spike_length_um": 0},
        {"spike_offset_um": -1},
        {"noise_length_um": 0},
        {"shared_noise": 1.1},
        {"own_noise": 0},
        {"sigma_um": 20},
    ],
)
def test_wrong_parameters_are_refused(wrong):
    with pytest.raises(ValidationError):
        Parameters(**wrong)
