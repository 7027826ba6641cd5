"""All peaks."""

import numpy as np

from driftcli.select import all as every


def test_every_peak_is_kept(peaks):
    kept = every.select(*peaks, every.Parameters())
    assert kept.dtype == np.int64
    assert kept.tolist() == list(range(3000))


def test_no_peaks():
    nothing = np.zeros(0, np.int64)
    assert (
        every.select(nothing, nothing.astype(np.int32), np.zeros(0, np.float32), np.ones(3), every.Parameters()).size
        == 0
    )
