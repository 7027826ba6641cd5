"""`prepared.h5`: what `detect` knows before it looks for peaks, kept for who goes on with its work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftcli.model import RecordingFacts, Settings
from driftcli.store import schema


@dataclass(frozen=True)
class Prepared:
    """facts: of the recording, with the labels of its contacts. preset: all of it.

    noise_levels, noise_before_reference: (G,) of the good contacts, MAD of the preprocessed traces and of those before
        the common reference.
    """

    facts: RecordingFacts
    preset: dict[str, Any]
    noise_levels: NDArray[np.float64]
    noise_before_reference: NDArray[np.float64]

    @property
    def labels(self) -> NDArray[np.uint8]:
        """(C,) what is wrong with each contact."""
        if self.facts.labels is None:
            raise ValueError("it has no labels of contacts")
        return self.facts.labels


def write_prepared(
    path: Path,
    facts: RecordingFacts,
    settings: Settings,
    noise_levels: NDArray[np.float64],
    noise_before_reference: NDArray[np.float64],
) -> None:
    """Write it; raises OutputError."""
    with schema.create(path, "prepared", settings.to_dict()) as file:
        schema.put_facts(file, facts)
        unit = facts.amplitude_unit
        schema.put(file, "noise_levels", noise_levels, unit, "of each good contact")
        schema.put(file, "noise_before_reference", noise_before_reference, unit, "of each good contact")


def read_prepared(path: Path) -> Prepared:
    """Read it back. Raises InputError when the file is not what it should be."""
    with schema.opened(path, "prepared") as file:
        facts = schema.get_facts(file)
        if facts is None:
            raise KeyError("the group 'recording' is missing")
        levels = (file[name][()].astype(float) for name in ("noise_levels", "noise_before_reference"))
        return Prepared(facts, schema.get_preset(file), *levels)
