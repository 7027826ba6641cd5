"""Peaks that crowd in one part of the recording and on some channels."""

import numpy as np
import pytest


@pytest.fixture
def peaks():
    """sample_index, channel_index, amplitude of 3000 peaks and the noise levels of 6 channels."""
    rng = np.random.default_rng(2)
    sample_index = np.sort(np.concatenate([rng.integers(0, 100_000, 600), rng.integers(60_000, 70_000, 2400)]))
    channel_index = rng.choice(6, 3000, p=[0.5, 0.2, 0.15, 0.1, 0.04, 0.01]).astype(np.int32)
    amplitude = -rng.gamma(2, 30, 3000).astype(np.float32) - 40
    return sample_index.astype(np.int64), channel_index, amplitude, np.linspace(4, 9, 6)
