import numpy as np
import pytest

import made_units
from driftcli.footprints import fields
from driftcli.model import Footprints
from oracles import footprints as oracle


@pytest.mark.parametrize(("bin_um", "bad"), [(4.0, ()), (2.5, (6, 7, 21))])
def test_moments_are_those_of_the_oracle(tools, bin_um, bad):
    """Contacts that no snippet has, groups of nobody, and one that is too small."""
    positions = made_units.probe(24)
    peaks = made_units.peaks(made_units.units(4, 5, (40, 180)), positions, 40, bad=bad, reach_um=90)
    labels = np.where(np.arange(len(peaks.unit)) % 9 == 4, -1, peaks.unit)
    labels[np.flatnonzero(labels == 2)[25:]] = -1
    found = tools.learned(peaks, labels, positions, bin_um)
    prior = tools.prior()
    dense = tools.dense_snippets(peaks, positions)
    bins, displaced, resting = oracle.moments(
        dense, labels, peaks.displacement_um, positions, prior.covary, prior.noise_variance, 25.0, bin_um
    )
    np.testing.assert_allclose((found.lowest_bin + np.arange(len(found.displaced))) * found.bin_um, bins)
    for index in range(len(bins)):
        one, other = found.dense(index)
        np.testing.assert_allclose(one, displaced[index], rtol=0, atol=2e-6)
        np.testing.assert_allclose(other, resting[index], rtol=0, atol=2e-6)
    assert displaced.max() > 0.3


def test_moments_are_those_of_the_units(case, tools):
    """Nearly: the second moments of the footprints that the peaks were made with, each unit scaled to 1 at rest."""
    at_rest = case.units.footprints(case.positions)
    sizes = np.linalg.norm(at_rest, axis=(1, 2))[:, None, None]
    learned = tools.learned(case.peaks, case.peaks.unit, case.positions)
    for index in range(len(learned.displaced)):
        moved = case.units.footprints(case.positions, (learned.lowest_bin + index) * 4.0) / sizes
        displaced, resting = learned.dense(index)
        for found, first in ((displaced, moved), (resting, at_rest / sizes)):
            expected = np.einsum("utc,utd->cd", first, moved)
            assert np.linalg.norm(found - expected) < 0.1 * np.linalg.norm(expected)


def test_a_displacement_that_a_unit_missed_is_told_by_the_others(case, tools):
    """Without the peaks between -6 and 6 um, the moments at rest are still near those of the units."""
    peaks = case.peaks
    far = np.abs(peaks.displacement_um) > 6
    some = made_units.Peaks(*(values[far] for values in vars(peaks).values()))
    found = tools.learned(some, some.unit, case.positions)
    at_rest = case.units.footprints(case.positions)
    at_rest /= np.linalg.norm(at_rest, axis=(1, 2))[:, None, None]
    expected = np.einsum("utc,utd->cd", at_rest, at_rest)
    assert np.linalg.norm(found.dense(-found.lowest_bin)[0] - expected) < 0.2 * np.linalg.norm(expected)


def test_zero_is_always_one_of_the_displacements(case, tools):
    peaks = made_units.peaks(case.units, case.positions, 40)
    peaks.displacement_um = np.abs(peaks.displacement_um) + 8.1
    found = tools.learned(peaks, peaks.unit, case.positions)
    assert (found.lowest_bin, len(found.displaced)) == (0, 6)


def test_without_groups_all_is_zero(case, tools):
    peaks = case.peaks
    found = tools.learned(peaks, np.full(len(peaks.unit), -1), case.positions)
    assert not found.displaced.any()
    assert not found.resting.any()
    none = made_units.Peaks(*(values[:0] for values in vars(peaks).values()))
    found = tools.learned(none, none.unit, case.positions)
    assert found.displaced.shape[:2] == (1, len(case.positions))


def test_silent_groups_do_no_harm(case, tools):
    peaks = made_units.peaks(case.units, case.positions, 40)
    peaks.snippets[:] = 0
    found = tools.learned(peaks, peaks.unit, case.positions)
    assert np.isfinite(found.displaced).all()


def test_same_bits_again(case, tools):
    again = tools.learned(case.peaks, case.labels, case.positions)
    assert again.displaced.tobytes() == case.footprints.displaced.tobytes()
    assert again.resting.tobytes() == case.footprints.resting.tobytes()
    assert again.displaced.dtype == again.resting.dtype == np.float32


def test_moments_are_kept_for_neighbours_only():
    positions = made_units.probe(192)
    peaks = made_units.peaks(made_units.units(), positions, 30)
    found = fields.learn(
        peaks.snippets,
        peaks.contacts,
        peaks.unit,
        peaks.displacement_um,
        positions,
        fields.Prior(lambda a, b: np.exp(-np.hypot(*(a[:, None] - b[None]).T).T / 20), 36.0, 25.0),
        4.0,
    )
    assert found.displaced.shape == (len(found.displaced), 192, 42)
    assert isinstance(found, Footprints)
