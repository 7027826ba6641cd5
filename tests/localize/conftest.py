"""Spikes of point sources with a known place, in a little noise, on a staggered probe."""

from types import SimpleNamespace

import numpy as np
import pytest

from driftcli.model import Geometry

RATE_HZ = 30_000.0


def _made_up(count=8):
    rng = np.random.default_rng(11)
    row = np.arange(32) // 2
    positions = np.column_stack([np.where(row % 2 == 0, 16, 0) + 32 * (np.arange(32) % 2), 20 * row]).astype(float)
    time = np.arange(-15, 30)
    shape = -np.exp(-(time**2) / 18) + 0.3 * np.exp(-((time - 9) ** 2) / 32)
    rows = 40 + 60 * np.arange(count)
    traces = rng.normal(0, 2, (rows[-1] + 60, 32))
    sources = np.column_stack([rng.uniform(0, 48, count), rng.uniform(40, 260, count), rng.uniform(12, 30, count)])
    for start, source, alpha in zip(rows - 15, sources, rng.uniform(1500, 4000, count), strict=True):
        distance = np.sqrt(((positions - source[:2]) ** 2).sum(axis=1) + source[2] ** 2)
        traces[start : start + 45] += np.outer(shape, alpha / distance)
    traces = traces.astype(np.float32)
    channels = traces[rows].argmin(axis=1).astype(np.int32)
    geometry = Geometry(positions, np.zeros(32, np.int64))
    return SimpleNamespace(traces=traces, rows=rows, channels=channels, geometry=geometry, sources=sources)


@pytest.fixture(scope="session")
def spikes():
    """traces (S, 32), rows and channels of 8 peaks, geometry, and where their sources are (8, 3)."""
    return _made_up()


@pytest.fixture
def locate(spikes):
    """A function: locations by a method's module with parameters, of the spikes or of other traces."""

    def run(module, traces=None, geometry=None, **parameters):
        localizer = module.Localizer(module.Parameters(**parameters), geometry or spikes.geometry, RATE_HZ)
        found = localizer(spikes.traces if traces is None else traces, spikes.rows, spikes.channels)
        assert found.shape == (len(spikes.rows), len(localizer.columns))
        assert found.dtype == np.float32
        return found

    return run
