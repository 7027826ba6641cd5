"""Probes of three generations, built as their data sheets have them."""

import numpy as np
import pytest


def _np1(count=128):
    """Neuropixels 1.0: four columns staggered, rows 20 µm apart."""
    row = np.arange(count) // 2
    across = np.where(row % 2 == 0, 16, 0) + 32 * (np.arange(count) % 2)
    return np.column_stack([across, 20 * row]).astype(float)


def _np2(count=384):
    """Neuropixels 2.0, one shank: two columns, rows 15 µm apart."""
    index = np.arange(count)
    return np.column_stack([32 * (index % 2), 15 * (index // 2)]).astype(float)


def _np_ultra(count=384):
    """Neuropixels Ultra: eight columns, 6 µm apart both ways."""
    index = np.arange(count)
    return np.column_stack([6 * (index % 8), 6 * (index // 8)]).astype(float)


def _linear(count=64):
    """One column, 20 µm apart."""
    return np.column_stack([np.zeros(count), 20 * np.arange(count)]).astype(float)


@pytest.fixture(scope="session")
def probes():
    """Contact positions (C, 2) in µm by name."""
    return {"np1": _np1(), "np2": _np2(), "np_ultra": _np_ultra(), "linear": _linear()}


@pytest.fixture(scope="session")
def small_np1():
    """32 contacts of Neuropixels 1.0: depths 0 to 300 µm."""
    return _np1(32)


@pytest.fixture(scope="session")
def displacements():
    """Displacement (C,) of contacts at given positions, by name: one for all, or one that varies with depth."""
    return {
        "rigid": lambda positions: np.full(len(positions), 7.25),
        "wave": lambda positions: 4 * np.sin(positions[:, 1] / 37.0) - 3.1,
    }
