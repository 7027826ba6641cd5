import numpy as np
import pytest

from driftcli.simulate import noise as module
from driftcli.simulate.noise import Noise
from driftcli.simulate.probe import contact_positions
from oracles import simulate

CONTACTS = contact_positions(64)
TIME_S = np.arange(30000) / 30000


def traces(noise_uv=8.0, slow_uv=0.0, seed=0):
    noise = Noise(CONTACTS, noise_uv, slow_uv, np.random.default_rng(seed))
    return noise(TIME_S, np.random.default_rng(seed + 1))


def test_noise_has_the_size_it_was_asked_for_on_every_contact():
    np.testing.assert_allclose(traces().std(axis=0), 8.0, rtol=0.03)


def test_sources_and_offsets_are_added_to_scaled_noise():
    rng = np.random.default_rng(4)
    own, sources, profiles, offsets_uv = (rng.normal(0, 1, s).astype(np.float32) for s in ((9, 5), (9, 3), (3, 5), 5))
    expected = simulate.mixed(own, 2.5, sources, profiles, offsets_uv)
    module._mix(own, np.float32(2.5), sources, profiles, offsets_uv)
    np.testing.assert_allclose(own, expected, atol=1e-5)


def test_the_parts_of_the_noise_add_up_to_its_variance():
    """On each contact: its own, and what the profiles of the local sources and of the common one give."""
    noise = Noise(CONTACTS, 8.0, 0.0, np.random.default_rng(0))
    profiles = noise._profiles[: noise._num_noises].astype(np.float64)
    np.testing.assert_allclose(noise._own_uv**2 / 64, 0.8, rtol=1e-5)
    np.testing.assert_allclose((profiles[:-1] ** 2).sum(axis=0) / 64, 0.15, rtol=1e-5)
    np.testing.assert_allclose(profiles[-1] ** 2 / 64, 0.05, rtol=1e-5)


def test_neighbours_share_some_noise_and_all_contacts_a_little():
    shared = np.corrcoef(traces().T)
    near = np.mean([shared[i, i + 2] for i in range(60)])
    far = np.mean(shared[:8, -8:])
    assert near == pytest.approx(0.2, abs=0.03)
    assert far == pytest.approx(0.05, abs=0.02)


def test_slow_potentials_are_slow():
    slow = traces(noise_uv=0.0, slow_uv=100.0)
    assert slow.std(axis=0).min() > 30
    power = np.abs(np.fft.rfft((slow - slow.mean(axis=0)) * np.hanning(30000)[:, None], axis=0)) ** 2
    assert power[:30].sum() / power.sum() > 0.999
    assert np.ptp(slow.mean(axis=0)) > 50  # offsets


def test_slow_potentials_go_on_from_block_to_block():
    noise = Noise(CONTACTS, 0.0, 100.0, np.random.default_rng(0))
    first, second = (noise(TIME_S + start, np.random.default_rng(0)) for start in (0.0, 1.0))
    assert np.abs(second[0] - first[-1]).max() < 2


def test_one_contact():
    noise = Noise(CONTACTS[:1], 8.0, 0.0, np.random.default_rng(0))
    assert noise(TIME_S, np.random.default_rng(1)).std() == pytest.approx(8.0, rel=0.03)
