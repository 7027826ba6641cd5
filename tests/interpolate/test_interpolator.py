from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest

from driftcli.errors import InputError
from driftcli.interpolate import gaussian_process, idw, interpolator, kriging, nearest
from driftcli.interpolate.interpolator import Interpolator
from driftcli.interpolate.weights import InterpolateParameters
from driftcli.model import CONTACT_LABELS, Geometry, Motion
from oracles import interpolate as oracle

RATE = 1000.0
METHODS = [kriging, gaussian_process, idw, nearest]


def _motion(num_bins=8, bin_s=0.1, seed=0, amplitude=15.0):
    rng = np.random.default_rng(seed)
    displacement = rng.uniform(-amplitude, amplitude, (num_bins, 3))
    return Motion(displacement, bin_s * (np.arange(num_bins) + 0.5), np.array([50.0, 120, 260]))


def _still(displacement_um=0.0):
    return Motion(np.full((1, 1), displacement_um), np.array([1.0]), np.array([0.0]))


def _traces(num_samples, num_contacts, seed=1):
    return np.random.default_rng(seed).normal(0, 50, (num_samples, num_contacts)).astype(np.float32)


@pytest.fixture
def probe(small_np1):
    return Geometry(small_np1, np.zeros(32, np.int64))


@pytest.fixture
def two_shanks(small_np1):
    """Contacts of shanks 2 and 5 by turns; shank 5 is 60 µm deeper and close by."""
    positions = np.repeat(small_np1[:16], 2, axis=0)
    shanks = np.tile([2, 5], 16)
    positions[shanks == 5] += [40.0, 60.0]
    return Geometry(positions, shanks)


def _oracle_weights(module, positions, displacement, extrapolate, sources=None):
    if module is kriging:
        dense = oracle.kriging_weights(positions, displacement, 20.0, 2, extrapolate, sources)
        return oracle.drop_smallest(dense, 1e-4)
    if module is gaussian_process:
        numbers = list(
            gaussian_process.Parameters().model_dump(exclude=set(InterpolateParameters.model_fields)).values()
        )
        dense = oracle.gaussian_process_weights(positions, displacement, *numbers, extrapolate, sources)
        return oracle.drop_smallest(dense, 1e-4)
    if module is idw:
        return oracle.idw_weights(positions, displacement, 3, extrapolate, sources)
    return oracle.nearest_weights(positions, displacement, extrapolate, sources)


def _expected(module, geometry, motions, traces, start, extrapolate):
    """Corrected traces by the slow functions, `nearest_bin`."""
    result = np.empty(traces.shape)
    for shank in np.unique(geometry.shanks):
        on_shank = geometry.shanks == shank
        positions, motion, known = geometry.positions_um[on_shank], motions[shank], {}

        def weights(sample, positions=positions, motion=motion, known=known):
            displacement = np.array(
                [
                    oracle.displacement(
                        motion.displacement_um,
                        motion.temporal_bins_s,
                        motion.spatial_bins_um,
                        (start + sample) / RATE,
                        depth,
                        "nearest_bin",
                    )
                    for depth in positions[:, 1]
                ]
            )
            key = displacement.tobytes()
            if key not in known:
                known[key] = _oracle_weights(module, positions, displacement, extrapolate)
            return known[key]

        result[:, on_shank] = oracle.corrected(traces[:, on_shank], weights)
    return result


def _parameters(module, **values):
    return module.Parameters(**values, **({"p": 2} if module is kriging else {}))


@pytest.mark.parametrize("mode", ["force_extrapolate", "force_zeros"])
@pytest.mark.parametrize("module", METHODS)
def test_corrected_traces_of_two_shanks(two_shanks, module, mode):
    motions = {2: _motion(seed=2), 5: _motion(num_bins=5, bin_s=0.13, seed=5)}
    subject = Interpolator(module.Kernel, _parameters(module, border_mode=mode), two_shanks, motions, RATE, 800)
    traces = _traces(300, 32)
    expected = _expected(module, two_shanks, motions, traces, 170, mode == "force_extrapolate")
    corrected = subject(traces, 170)
    assert corrected.dtype == np.float32
    np.testing.assert_array_equal(subject.kept_contacts, np.arange(32))
    np.testing.assert_allclose(corrected, expected, atol=1e-3)


def test_shanks_do_not_mix(two_shanks):
    motions = {2: _motion(seed=2), 5: _motion(seed=5)}
    subject = Interpolator(
        kriging.Kernel, kriging.Parameters(border_mode="force_extrapolate"), two_shanks, motions, RATE, 800
    )
    traces = _traces(500, 32)
    changed = traces.copy()
    changed[:, two_shanks.shanks == 5] += 100
    difference = subject(changed, 0) - subject(traces, 0)
    np.testing.assert_array_equal(difference[:, two_shanks.shanks == 2], 0)
    assert (difference[:, two_shanks.shanks == 5] != 0).any(axis=0).all()


@pytest.mark.parametrize("module", METHODS)
def test_remove_channels_keeps_those_that_stay_inside(two_shanks, module):
    motions = {2: _still(25.0), 5: Motion(np.array([[-21.0], [1.0]]), np.array([0.2, 0.4]), np.array([0.0]))}
    parameters = _parameters(module, border_mode="remove_channels")
    subject = Interpolator(module.Kernel, parameters, two_shanks, motions, RATE, 800)
    depths = two_shanks.depths_um
    stays = np.where(two_shanks.shanks == 2, depths + 25 <= 140, (depths - 21 >= 60) & (depths + 1 <= 200))
    np.testing.assert_array_equal(subject.kept_contacts, np.flatnonzero(stays))
    traces = _traces(600, 32)
    expected = _expected(module, two_shanks, motions, traces, 0, False)[:, stays]
    np.testing.assert_allclose(subject(traces, 0), expected, atol=1e-3)
    assert (expected != 0).all()


def test_a_shank_without_kept_contacts_is_left_out(two_shanks):
    parameters = nearest.Parameters(border_mode="remove_channels")
    subject = Interpolator(nearest.Kernel, parameters, two_shanks, {2: _still(500.0), 5: _still()}, RATE, 100)
    traces = _traces(100, 32)
    np.testing.assert_array_equal(subject.kept_contacts, np.arange(1, 32, 2))
    np.testing.assert_array_equal(subject(traces, 0), traces[:, 1::2])


def test_no_contact_left_is_an_input_error(probe):
    parameters = nearest.Parameters(border_mode="remove_channels")
    with pytest.raises(InputError, match="none would be left") as caught:
        Interpolator(nearest.Kernel, parameters, probe, {0: _still(500.0)}, RATE, 100)
    assert "border_mode" in caught.value.hint


def test_a_shank_without_motion_is_an_input_error(two_shanks):
    with pytest.raises(InputError, match="no shank 5"):
        Interpolator(nearest.Kernel, nearest.Parameters(), two_shanks, {2: _still()}, RATE, 100)


@pytest.mark.parametrize("module", [idw, nearest])
def test_no_motion_gives_the_same_bytes(probe, module):
    traces = _traces(333, 32)
    traces[5, 3], traces[7, 4], traces[9, 5] = -0.0, np.nan, np.inf
    subject = Interpolator(module.Kernel, _parameters(module), probe, {0: _still()}, RATE, 333)
    corrected = subject(traces, 0)
    assert corrected is not traces
    assert corrected.tobytes() == traces.tobytes()


def test_no_motion_and_kriging_is_nearly_the_same(probe):
    traces = _traces(333, 32)
    parameters = kriging.Parameters(p=2, border_mode="force_extrapolate")
    corrected = Interpolator(kriging.Kernel, parameters, probe, {0: _still()}, RATE, 333)(traces, 0)
    np.testing.assert_allclose(corrected, traces, atol=0.02)


def test_the_input_is_left_alone(probe):
    traces = _traces(100, 32)
    before = traces.copy()
    Interpolator(nearest.Kernel, nearest.Parameters(), probe, {0: _still(20.0)}, RATE, 100)(traces, 0)
    np.testing.assert_array_equal(traces, before)


@pytest.mark.parametrize("time", ["nearest_bin", "linear"])
@pytest.mark.parametrize("bin_s", [0.1, 0.0023])
def test_same_bytes_however_blocks_are_cut_and_in_any_number_of_threads(probe, monkeypatch, time, bin_s):
    monkeypatch.setattr(interpolator, "_CACHED_WEIGHTS", 3)
    num_samples = 1000
    parameters = kriging.Parameters(p=2, border_mode="force_extrapolate", time=time)
    motions = {0: _motion(num_bins=int(num_samples / RATE / bin_s), bin_s=bin_s, amplitude=1.0)}

    def fresh():
        return Interpolator(kriging.Kernel, parameters, probe, motions, RATE, num_samples)

    traces = _traces(num_samples, 32)
    whole = fresh()(traces, 0)
    bounds = [0, 1, 2, 39, 40, 171, 500, 503, 999, 1000]
    for threads in (1, 4):
        subject = fresh()
        with ThreadPoolExecutor(threads) as pool:
            blocks = [pool.submit(subject, traces[first:last], first) for first, last in pairwise(bounds)]
            assert np.concatenate([block.result() for block in blocks]).tobytes() == whole.tobytes()


def test_weights_of_a_displacement_are_computed_once(probe, monkeypatch):
    calls = []
    compute = nearest.Kernel.weights
    monkeypatch.setattr(nearest.Kernel, "weights", lambda self, um: calls.append(um[0]) or compute(self, um))
    motion = Motion(np.array([[5.0], [7.0]] * 4), np.arange(8) + 0.5, np.array([0.0]))
    parameters = nearest.Parameters(border_mode="force_extrapolate")
    subject = Interpolator(nearest.Kernel, parameters, probe, {0: motion}, RATE, 8000)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda start: subject(_traces(500, 32), start), range(0, 8000, 500)))
    assert sorted(calls) == [5.0, 7.0]


def test_the_cache_is_bounded(probe, monkeypatch):
    monkeypatch.setattr(interpolator, "_CACHED_WEIGHTS", 4)
    parameters = nearest.Parameters(border_mode="force_extrapolate")
    subject = Interpolator(nearest.Kernel, parameters, probe, {0: _motion(num_bins=50, bin_s=0.01)}, RATE, 500)
    subject(_traces(500, 32), 0)
    assert len(subject._shanks[0]._recent._slots) == 4


def test_time_changes_the_traces(probe):
    traces = _traces(800, 32)
    corrected = [
        Interpolator(
            idw.Kernel, idw.Parameters(time=time, border_mode="force_zeros"), probe, {0: _motion()}, RATE, 800
        )(traces, 0)
        for time in ("nearest_bin", "linear")
    ]
    assert np.abs(corrected[0] - corrected[1]).max() > 1


@pytest.mark.parametrize("time", ["nearest_bin", "linear"])
def test_is_still(two_shanks, time):
    moves = Motion(np.array([0, 0, 0, 4.0, 0, 0, 0])[:, None], np.arange(7) + 0.5, np.array([0.0]))
    parameters = nearest.Parameters(border_mode="force_zeros", time=time)
    subject = Interpolator(nearest.Kernel, parameters, two_shanks, {2: moves, 5: _still()}, RATE, 7000)
    first, last = {"nearest_bin": (3000, 4000), "linear": (2500, 4500)}[time]
    assert subject.is_still(0, first)
    assert not subject.is_still(0, first + 1)
    assert not subject.is_still(last - 1, last)
    assert subject.is_still(last, 7000)


def test_a_block_without_samples(probe):
    subject = Interpolator(nearest.Kernel, nearest.Parameters(), probe, {0: _still()}, RATE, 100)
    assert subject(np.empty((0, 32), np.float32), 50).shape == (0, 32)
    assert subject(np.empty((0, 32), np.float32), 0).shape == (0, 32)


def test_one_contact():
    geometry = Geometry(np.array([[0.0, 10.0]]), np.zeros(1, np.int64))
    traces = _traces(50, 1)
    for module in METHODS:
        subject = Interpolator(module.Kernel, _parameters(module), geometry, {0: _still()}, RATE, 50)
        np.testing.assert_array_equal(subject(traces, 0), traces)


def test_the_motion_may_be_sampled_finer_than_the_recording(probe):
    motion = _motion(num_bins=400, bin_s=0.00025, amplitude=3.0)
    parameters = nearest.Parameters(border_mode="force_extrapolate")
    traces = _traces(100, 32)
    subject = Interpolator(nearest.Kernel, parameters, probe, {0: motion}, RATE, 100)
    expected = _expected(nearest, probe, {0: motion}, traces, 0, True)
    np.testing.assert_allclose(subject(traces, 0), expected)


@pytest.fixture
def labels():
    """Of `two_shanks`: one of each kind, at an end, next to each other, and on both shanks."""
    of_contact = {0: "dead", 2: "noisy", 9: "reference", 14: "excluded", 29: "out_of_brain", 31: "out_of_brain"}
    labels = np.zeros(32, np.uint8)
    for contact, label in of_contact.items():
        labels[contact] = CONTACT_LABELS.index(label)
    return labels


def _of_good(module, positions, displacement, good, extrapolate):
    """The oracle's weights (targets, sources) among all contacts, of which only the good ones give anything."""
    weights = np.zeros((len(positions), len(positions)))
    weights[:, good] = _oracle_weights(module, positions, displacement, extrapolate, positions[good])
    return weights


@pytest.mark.parametrize("mode", ["force_extrapolate", "force_zeros"])
@pytest.mark.parametrize("bad_channels", ["interpolate", "keep", "zero"])
@pytest.mark.parametrize("module", METHODS)
def test_bad_contacts_give_nothing_and_get_what_is_asked_for(two_shanks, labels, module, bad_channels, mode):
    parameters = _parameters(module, border_mode=mode, bad_channels=bad_channels)
    motions = {2: _still(6.0), 5: _still(-9.0)}
    traces = _traces(40, 32)
    expected = np.zeros(traces.shape)
    for shank, on_shank in two_shanks.each_shank():
        displacement = np.full(16, motions[shank].displacement_um[0, 0])
        good = labels[on_shank] == 0
        weights = _of_good(module, two_shanks.positions_um[on_shank], displacement, good, mode == "force_extrapolate")
        expected[:, on_shank] = oracle.corrected(traces[:, on_shank], lambda sample, weights=weights: weights)
    if bad_channels == "keep":
        expected[:, labels > 0] = traces[:, labels > 0]
    zero = labels == CONTACT_LABELS.index("out_of_brain") if bad_channels == "interpolate" else labels > 0
    if bad_channels != "keep":
        expected[:, zero] = 0
    traces[:, labels > 0] += np.where(bad_channels == "keep", 0, 1e6)  # heard by nobody
    corrected = Interpolator(module.Kernel, parameters, two_shanks, motions, RATE, 40, labels)(traces, 0)
    np.testing.assert_allclose(corrected, expected, atol=2e-3)


@pytest.mark.parametrize("bad_channels", ["interpolate", "keep", "zero"])
@pytest.mark.parametrize("module", METHODS)
def test_what_is_on_bad_contacts_changes_no_bit_of_the_others(two_shanks, labels, module, bad_channels):
    parameters = _parameters(module, bad_channels=bad_channels)
    motions = {2: _motion(seed=2), 5: _motion(seed=5)}
    subject = Interpolator(module.Kernel, parameters, two_shanks, motions, RATE, 800, labels)
    traces = _traces(800, 32)
    before = subject(traces, 0)
    traces[:, labels > 0] = np.nan
    after = subject(traces, 0)
    others = labels == 0 if bad_channels == "keep" else slice(None)
    assert before[:, others].tobytes() == after[:, others].tobytes()
    assert np.isfinite(after[:, others]).all()


@pytest.mark.parametrize("module", METHODS)
def test_a_shank_without_good_contacts_gets_nothing_of_the_other(two_shanks, module):
    labels = np.where(two_shanks.shanks == 5, CONTACT_LABELS.index("dead"), 0).astype(np.uint8)
    motions = {2: _motion(seed=2), 5: _motion(seed=5)}
    corrected = Interpolator(module.Kernel, _parameters(module), two_shanks, motions, RATE, 800, labels)(
        _traces(800, 32), 0
    )
    assert not corrected[:, two_shanks.shanks == 5].any()
    assert corrected[:, two_shanks.shanks == 2].any(axis=0).all()


@pytest.mark.parametrize("module", METHODS)
def test_remove_channels_asks_how_far_the_good_contacts_reach(two_shanks, module):
    """The upper two rows of shank 2 are bad: nothing beyond the good ones can be interpolated, bad or good."""
    labels = np.zeros(32, np.uint8)
    labels[[24, 26, 28, 30]] = CONTACT_LABELS.index("noisy")
    motions = {2: _still(15.0), 5: _still()}
    depths, on_shank = two_shanks.depths_um, two_shanks.shanks == 2
    assert depths[on_shank].max() == 140
    for bad_channels in ("interpolate", "zero", "keep"):
        parameters = _parameters(module, border_mode="remove_channels", bad_channels=bad_channels)
        subject = Interpolator(module.Kernel, parameters, two_shanks, motions, RATE, 800, labels)
        stays = ~on_shank | (depths + 15 <= 100) | ((labels > 0) & (bad_channels == "keep"))
        np.testing.assert_array_equal(subject.kept_contacts, np.flatnonzero(stays))
        traces = _traces(50, 32)
        corrected = dict(zip(subject.kept_contacts.tolist(), subject(traces, 0).T, strict=True))
        for contact in np.flatnonzero(stays & (labels > 0)):
            np.testing.assert_array_equal(corrected[contact], traces[:, contact])


@pytest.mark.parametrize(
    ("bad_channels", "label", "still"),
    [
        ("keep", "noisy", True),
        ("interpolate", "noisy", False),
        ("zero", "noisy", False),
        ("interpolate", "out_of_brain", False),
        ("interpolate", "good", True),
    ],
)
def test_without_motion_traces_stay_only_if_all_contacts_keep_their_own(two_shanks, bad_channels, label, still):
    labels = np.zeros(32, np.uint8)
    labels[7] = CONTACT_LABELS.index(label)
    parameters = nearest.Parameters(bad_channels=bad_channels)
    subject = Interpolator(nearest.Kernel, parameters, two_shanks, {2: _still(), 5: _still()}, RATE, 100, labels)
    assert subject.is_still(0, 100) == still
    traces = _traces(100, 32)
    assert (subject(traces, 0).tobytes() == traces.tobytes()) == still
