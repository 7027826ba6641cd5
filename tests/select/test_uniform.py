"""Peaks spread over time and channels."""

import numpy as np
import pytest

from driftcli.select.uniform import Parameters, select
from oracles import selection


def cells(peaks, n_time_bins):
    sample_index, channel_index = peaks[:2]
    span = sample_index.max() + 1 - sample_index.min()
    time_bin = np.array([int((s - sample_index.min()) * n_time_bins // span) for s in sample_index])
    return channel_index * 1000 + time_bin


@pytest.mark.parametrize("n_peaks", [1, 7, 200, 1111, 2999])
@pytest.mark.parametrize("n_time_bins", [1, 10])
def test_cells_give_equal_numbers(peaks, n_peaks, n_time_bins):
    kept = select(*peaks, Parameters(n_peaks=n_peaks, n_time_bins=n_time_bins))
    assert kept.dtype == np.int64
    assert (np.diff(kept) > 0).all()
    assert len(kept) == n_peaks
    cell = cells(peaks, n_time_bins)
    for name, (least, most) in zip(np.unique(cell), selection.cell_counts(cell, n_peaks), strict=True):
        assert least <= np.sum(cell[kept] == name) <= most


def test_each_channel_by_itself(peaks):
    kept = select(*peaks, Parameters(n_peaks=50, select_per_channel=True, n_time_bins=10))
    channel = peaks[1]
    assert np.bincount(channel[kept]).tolist() == np.minimum(np.bincount(channel), 50).tolist()
    cell = cells(peaks, 10)
    of_first = channel == 0
    counts = selection.cell_counts(cell[of_first], 50)
    found = cell[kept][channel[kept] == 0]
    for name, (least, most) in zip(np.unique(cell[of_first]), counts, strict=True):
        assert least <= np.sum(found == name) <= most


def test_the_seed_decides(peaks):
    one, same, other = (select(*peaks, Parameters(n_peaks=500, seed=seed)).tolist() for seed in (1, 1, 2))
    assert one == same
    assert one != other


def test_asking_for_more_than_there_is(peaks):
    assert select(*peaks, Parameters()).tolist() == list(range(3000))
    nothing = np.zeros(0, np.int64)
    assert select(nothing, nothing.astype(np.int32), np.zeros(0, np.float32), np.ones(3), Parameters()).tolist() == []
