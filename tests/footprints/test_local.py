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


def test_most_probes_are_not_dense():
    two_columns = np.column_stack([np.arange(60) % 2 * 32, np.arange(60) // 2 * 15]) * 1.0
    for positions in (made_units.probe(), two_columns, np.zeros((1, 2)), np.zeros((0, 2))):
        assert not local.is_dense(positions)


def test_probes_with_dozens_of_contacts_under_a_footprint_are_dense():
    index = np.arange(384)
    assert local.is_dense(np.column_stack([6.0 * (index % 8), 6.0 * (index // 8)]))
    assert not local.is_dense(np.column_stack([0.0 * index, 12.5 * index]))
