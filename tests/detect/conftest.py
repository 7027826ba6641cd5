"""Traces with peaks, ties, gaps and two shanks, small enough for an oracle."""

import numpy as np
import pytest

from driftcli.model import Geometry


def _staggered(count):
    row = np.arange(count) // 2
    return np.column_stack([np.where(row % 2 == 0, 16, 0) + 32 * (np.arange(count) % 2), 20 * row]).astype(float)


@pytest.fixture
def geometry():
    """Two shanks of 7 and 6 contacts, side by side so that the distance alone would make them neighbours."""
    positions = np.concatenate([_staggered(7), _staggered(6) + np.array([10, 0])])
    return Geometry(positions, np.repeat([0, 1], [7, 6]))


@pytest.fixture
def traces():
    """(600, 13) float32 of small whole numbers, so that equal samples and equal peaks abound."""
    return np.random.default_rng(7).normal(0, 2.2, (600, 13)).round().astype(np.float32)


@pytest.fixture
def staggered():
    """A function: positions of a staggered two-row probe of `count` contacts."""
    return _staggered


def _as_list(found):
    assert [array.dtype for array in found] == [np.int64, np.int32, np.float32]
    return list(zip(*(array.tolist() for array in found), strict=True))


@pytest.fixture
def as_list():
    """A function: the peaks that a detector found, as a list of (row, channel, amplitude)."""
    return _as_list
