import numpy as np

import made_units
from driftcli.footprints import local


def test_contacts_within_reach():
    positions = np.column_stack([np.zeros(6), 20.0 * np.arange(6)])
    found = local.around(np.array([[0.0, 0.0], [0.0, 45.0], [500.0, 0.0]]), positions, 40.0)
    np.testing.assert_array_equal(found, [[0, 1, 2, -1], [1, 2, 3, 4], [-1, -1, -1, -1]])
    assert found.dtype == np.int32


def test_no_places():
    assert local.around(np.empty((0, 2)), np.zeros((3, 2)), 10.0).shape == (0, 1)


def test_most_probes_keep_all_contacts():
    for positions in (made_units.probe(), np.column_stack([np.arange(60) % 2 * 32, np.arange(60) // 2 * 15]) * 1.0):
        np.testing.assert_array_equal(local.spread(positions), np.arange(len(positions)))


def test_dense_probes_keep_contacts_that_are_apart_and_miss_no_place():
    index = np.arange(384)
    positions = np.column_stack([6.0 * (index % 8), 6.0 * (index // 8)])
    chosen = positions[local.spread(positions)]
    apart_um = np.linalg.norm(positions[:, None] - chosen[None], axis=2)
    assert apart_um.min(axis=1).max() < 14
    assert np.sort(apart_um[local.spread(positions)], axis=1)[:, 1].min() >= 14
    assert len(chosen) < 384 / 6
