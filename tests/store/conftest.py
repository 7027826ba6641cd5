"""Motions of several shapes, and a motion.h5 with all that it can carry."""

from dataclasses import replace

import numpy as np
import pytest

from driftcli import presets
from driftcli.model import Geometry, Motion, RecordingFacts
from driftcli.store.motion import MotionFile, read_motion, write_motion


def motion_of(bins, windows, seed=0, bin_s=1.0):
    rng = np.random.default_rng(seed)
    return Motion(rng.normal(0, 20, (bins, windows)), (np.arange(bins) + 0.5) * bin_s, np.arange(windows) * 100 + 1 / 3)


@pytest.fixture
def motions():
    """Shanks 0 and 2, of other windows and other temporal bins."""
    return {0: motion_of(7, 3), 2: motion_of(4, 1, seed=1, bin_s=1 / 7)}


@pytest.fixture
def motion_file(tmp_path, motions):
    positions = np.array([[0.0, 0.0], [16.0, 20.0], [250.0, 1 / 3]])
    geometry = Geometry(positions, np.array([0, 0, 2]))
    facts = RecordingFacts(
        30_000.123, 210_001, 5, "int16", 7, geometry, np.array([0, 3, 1]), np.array([2.34375, 2, 3]), '{"µ": 1}'
    )
    path = tmp_path / "motion.h5"
    write_motion(path, motions, 7.25, facts, presets.load("rigid_fast"))
    return read_motion(path)


@pytest.fixture
def one_shank():
    return MotionFile(None, presets.load("kilosort_like").to_dict(), 7.0, {3: motion_of(7, 3)})


@pytest.fixture
def stepping():
    """Two shanks that step: one between bins and once more after all of them, the other in the middle of a bin."""
    motions = {0: motion_of(7, 3), 4: motion_of(9, 2, seed=1, bin_s=0.7)}
    steps_s = {0: np.array([3.0, 50.0]), 4: np.array([2.2])}
    motions = {shank: replace(motion, steps_s=steps_s[shank]) for shank, motion in motions.items()}
    return MotionFile(None, presets.load("kilosort_like").to_dict(), 7.0, motions)


@pytest.fixture
def certain():
    """Two shanks, of which one says how certain it is."""
    deviation_um = np.random.default_rng(2).uniform(0.1, 3, (7, 3))
    motions = {0: replace(motion_of(7, 3), deviation_um=deviation_um), 1: motion_of(4, 1)}
    return MotionFile(None, presets.load("kilosort_like").to_dict(), 7.0, motions)
