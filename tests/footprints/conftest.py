"""Peaks of made-up units, grouped once, for all tests of this folder."""

from types import SimpleNamespace

import numpy as np
import pytest

import made_units
from driftcli.footprints import fields, groups
from driftcli.interpolate import gaussian_process

PARAMETERS = gaussian_process.Parameters()


def gaussian(positions):
    """Weights of the Gaussian process for one displacement of all contacts."""
    kernel = gaussian_process.Kernel(PARAMETERS, positions)
    return lambda displacement_um: kernel.weights(np.full(len(positions), float(displacement_um)))


def prior(noise=6.0):
    return fields.Prior(lambda one, other: gaussian_process.covary(PARAMETERS, one, other), noise**2, 25.0)


def grouped(peaks, positions):
    place = peaks.contacts, positions, peaks.places_um, peaks.displacement_um
    return groups.group(peaks.snippets, *place, gaussian(positions))


def learned(peaks, labels, positions, bin_um=4.0):
    place = peaks.contacts, labels, peaks.displacement_um, positions
    return fields.learn(peaks.snippets, *place, prior(), bin_um)


def dense_snippets(peaks, positions):
    """(P, T, C), NaN at contacts that a snippet lacks."""
    dense = np.full((*peaks.snippets.shape[:2], len(positions)), np.nan)
    for full, part, contacts in zip(dense, peaks.snippets, peaks.contacts, strict=True):
        full[:, contacts[contacts >= 0]] = part[:, contacts >= 0]
    return dense


@pytest.fixture(scope="session")
def case():
    positions = made_units.probe()
    units = made_units.units()
    peaks = made_units.peaks(units, positions)
    labels = grouped(peaks, positions)
    footprints = learned(peaks, labels, positions)
    return SimpleNamespace(positions=positions, units=units, peaks=peaks, labels=labels, footprints=footprints)


@pytest.fixture(scope="session")
def tools():
    """The functions above: files of tests can't import each other."""
    return SimpleNamespace(
        gaussian=gaussian, prior=prior, grouped=grouped, learned=learned, dense_snippets=dense_snippets
    )
