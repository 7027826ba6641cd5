import numpy as np
import pytest

from driftcli.model import Geometry


@pytest.fixture
def geometry():
    """Makes a probe of `contacts` in two columns."""

    def make(contacts):
        index = np.arange(contacts)
        positions = np.column_stack([32.0 * (index % 2), 20.0 * (index // 2)])
        return Geometry(positions, np.zeros(contacts, np.int64))

    return make


@pytest.fixture
def counts():
    """Makes int16 counts as a converter gives them: offset, slow potentials, noise and large spikes."""

    def make(samples, channels, sampling_frequency_hz=30000.0, seed=0):
        rng = np.random.default_rng(seed)
        time_s = np.arange(samples)[:, None] / sampling_frequency_hz
        slow = 300 * np.sin(2 * np.pi * rng.uniform(1, 10, channels) * time_s + rng.uniform(0, 6, channels))
        traces = 500 + slow + rng.normal(0, 8, (samples, channels))
        for _ in range(samples * channels // 3000):
            start = rng.integers(samples)
            traces[start : start + 12, rng.integers(channels)] -= rng.uniform(100, 2000)
        return np.rint(traces).astype(np.int16)

    return make
