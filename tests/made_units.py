"""Peaks of a dozen made-up units on a moving tissue: what they look like is known at any displacement."""

from dataclasses import dataclass

import numpy as np

RATE_OF_TIMES = np.arange(-8, 12)


def probe(count=48):
    """(C, 2) Neuropixels 1.0: four columns staggered, rows 20 µm apart."""
    row = np.arange(count) // 2
    return np.column_stack([np.where(row % 2 == 0, 16, 0) + 32 * (np.arange(count) % 2), 20 * row]).astype(float)


@dataclass
class Units:
    """places_um: (U, 2); sizes, lengths_um, beside_um, slants: (U,) how footprints fall off, and to which side."""

    places_um: np.ndarray
    sizes: np.ndarray
    lengths_um: np.ndarray
    beside_um: np.ndarray
    slants: np.ndarray
    widths: np.ndarray

    def footprints(self, positions_um, displacement_um=0.0):
        """(U, T, C) spikes at contacts while the tissue has moved; later and wider far from the cell."""
        apart = positions_um[None] - self.places_um[:, None] - [0, displacement_um]
        slanted = np.hypot(apart[..., 0], apart[..., 1] * np.exp(self.slants[:, None] * np.sign(apart[..., 1])))
        size = np.exp(
            -(np.hypot(slanted, self.beside_um[:, None]) - self.beside_um[:, None]) / self.lengths_um[:, None]
        )
        since = RATE_OF_TIMES[None, :, None] - slanted[:, None] / 40
        width = self.widths[:, None, None]
        course = -np.exp(-((since / width) ** 2)) + 0.4 * np.exp(-(((since - 2 * width) / (2 * width)) ** 2))
        return self.sizes[:, None, None] * size[:, None] * course


def units(count=12, seed=0, span_um=(40.0, 420.0)):
    """Cells on both sides of the contacts, evenly along the span."""
    rng = np.random.default_rng(seed)
    depth = np.linspace(*span_um, count) + rng.uniform(-8, 8, count)
    across = np.where(np.arange(count) % 2, 10.0, 40.0) + rng.uniform(-12, 12, count)
    return Units(
        np.column_stack([across, depth]),
        rng.uniform(90, 250, count),
        rng.uniform(12, 30, count),
        rng.uniform(5, 20, count),
        rng.uniform(-0.4, 0.4, count),
        rng.uniform(1.5, 3.5, count),
    )


@dataclass
class Peaks:
    """As driftcli/footprints wants them, and whose they are: unit (P,)."""

    snippets: np.ndarray
    contacts: np.ndarray
    places_um: np.ndarray
    displacement_um: np.ndarray
    unit: np.ndarray


def peaks(made, positions_um, a_unit=150, noise=6.0, seed=1, bad=(), reach_um=130.0, range_um=10.0):
    """a_unit peaks of each unit in random order, within +-range_um; snippets are int16 and hold no bad contacts."""
    rng = np.random.default_rng(seed)
    unit = rng.permutation(np.repeat(np.arange(len(made.sizes)), a_unit))
    displacement_um = rng.uniform(-range_um, range_um, len(unit))
    places_um = made.places_um[unit] + rng.normal(0, 3, (len(unit), 2))
    apart_um = np.hypot(
        *(places_um[:, None] + np.stack([0 * displacement_um, displacement_um], 1)[:, None] - positions_um).T
    ).T
    apart_um[:, list(bad)] = np.inf
    contacts = np.argsort(apart_um, axis=1, kind="stable")[:, : int((apart_um <= reach_um).sum(axis=1).max())]
    found = np.take_along_axis(apart_um, contacts, 1) <= reach_um
    snippets = np.empty((len(unit), len(RATE_OF_TIMES), contacts.shape[1]))
    for index, (whose, moved) in enumerate(zip(unit, displacement_um, strict=True)):
        one = Units(*(values[whose : whose + 1] for values in vars(made).values()))
        snippets[index] = one.footprints(positions_um[contacts[index]], moved)[0] * rng.normal(1, 0.05)
    snippets += rng.normal(0, noise, snippets.shape)
    return Peaks(
        np.rint(snippets).astype(np.int16),
        np.where(found, contacts, -1).astype(np.int32),
        places_um,
        displacement_um,
        unit,
    )
