import numpy as np
import pytest

import made_units
from driftcli.footprints import groups
from oracles import footprints as oracle


def _shares(labels, unit):
    """(groups, units) share of a group's peaks that are the unit's."""
    counts = np.zeros((labels.max() + 1, unit.max() + 1))
    np.add.at(counts, (labels[labels >= 0], unit[labels >= 0]), 1)
    return counts / counts.sum(axis=1, keepdims=True)


def test_groups_are_the_units(case):
    shares = _shares(case.labels, case.peaks.unit)
    assert len(shares) == len(case.units.sizes)
    assert sorted(shares.argmax(axis=1)) == list(range(len(shares)))
    assert shares.max(axis=1).min() > 0.97
    assert np.mean(case.labels >= 0) > 0.98
    assert case.labels.dtype == np.int64


@pytest.mark.parametrize(("seed", "a_unit"), [(1, 40), (2, 40), (3, 150)])
def test_groups_are_the_units_with_few_peaks_too(tools, case, seed, a_unit):
    """Groups of some 30 peaks would lie apart for their noise alone."""
    peaks = made_units.peaks(made_units.units(seed=seed), case.positions, a_unit)
    labels = tools.grouped(peaks, case.positions)
    np.testing.assert_array_equal(_shares(labels, peaks.unit).max(axis=1), 1)
    assert labels.max() + 1 == 12


def test_the_displacement_is_taken_out(tools):
    """A unit far up and far down, with nothing between, is one group; left in, it splits units."""
    positions = made_units.probe(32)
    peaks = made_units.peaks(made_units.units(3, 2, (80, 220)), positions, 200, range_um=20)
    far = np.abs(peaks.displacement_um) > 14
    peaks = made_units.Peaks(*(values[far] for values in vars(peaks).values()))
    place = peaks.contacts, positions, peaks.places_um, peaks.displacement_um
    labels = groups.group(peaks.snippets, *place, tools.gaussian(positions))
    np.testing.assert_array_equal(_shares(labels, peaks.unit).max(axis=0), 1)
    assert labels.max() + 1 == 3
    blind = groups.group(peaks.snippets, *place, lambda moved_um: np.eye(len(positions)))
    assert blind.max() + 1 > 3


@pytest.mark.parametrize("bad", [(), (7, 20, 21)])
def test_groups_are_those_of_the_oracle(tools, bad):
    """Noisy and with units that are much alike, so that every step has something to decide."""
    positions = made_units.probe(32)
    peaks = made_units.peaks(made_units.units(11, 3, (40, 260)), positions, 60, noise=30, bad=bad)
    weights_at = tools.gaussian(positions)
    labels = groups.group(peaks.snippets, peaks.contacts, positions, peaks.places_um, peaks.displacement_um, weights_at)
    dense = tools.dense_snippets(peaks, positions)
    expected = oracle.group(dense, positions, peaks.places_um, peaks.displacement_um, weights_at)
    assert 3 < expected.max() < 20
    assert np.mean(labels == expected) > 0.995


def test_same_groups_again_whatever_the_type_and_layout(case, tools):
    peaks = made_units.peaks(case.units, case.positions, 40)
    first = tools.grouped(peaks, case.positions)
    np.testing.assert_array_equal(tools.grouped(peaks, case.positions), first)
    peaks.snippets = np.asfortranarray(peaks.snippets.astype(np.float32))
    np.testing.assert_array_equal(tools.grouped(peaks, case.positions), first)


def test_upside_down(case, tools):
    peaks = made_units.peaks(case.units, case.positions, 60)
    labels = tools.grouped(peaks, case.positions)
    peaks.places_um, peaks.displacement_um = peaks.places_um * [1, -1], -peaks.displacement_um
    np.testing.assert_array_equal(tools.grouped(peaks, case.positions * [1, -1]), labels)


def test_few_peaks_have_no_groups(case, tools):
    peaks = made_units.peaks(case.units, case.positions, 1)
    few = made_units.Peaks(*(values[:9] for values in vars(peaks).values()))
    np.testing.assert_array_equal(tools.grouped(few, case.positions), np.full(9, groups.UNGROUPED))


def test_silence_is_one_group_and_no_error(case, tools):
    peaks = made_units.peaks(case.units, case.positions, 5)
    peaks.snippets[:] = 0
    np.testing.assert_array_equal(tools.grouped(peaks, case.positions), np.zeros(60))


def test_groups_are_local_on_a_long_shank(tools):
    """The same units again far down the shank: the same groups twice."""
    positions = made_units.probe(48)
    peaks = made_units.peaks(made_units.units(), positions, 150)
    long = np.concatenate([positions, positions + np.array([0, 800])])
    twice = made_units.Peaks(*(np.concatenate([values, values]) for values in vars(peaks).values()))
    count = len(peaks.unit)
    twice.places_um[count:, 1] += 800
    twice.contacts[count:][twice.contacts[count:] >= 0] += 48
    twice.unit[count:] += 12
    shares = _shares(tools.grouped(twice, long), twice.unit)
    assert shares.max(axis=1).min() > 0.97
    assert sorted(set(shares.argmax(axis=1))) == list(range(24))
    assert len(shares) <= 26
