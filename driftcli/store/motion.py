"""`motion.h5`: the estimated motion, one group a shank."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from driftcli.model import Motion, RecordingFacts, Settings
from driftcli.store import schema


@dataclass(frozen=True)
class MotionFile:
    """All that `motion.h5` holds.

    facts: of the recording that the peaks came from; None for peaks that came without one (an .npz).
    duration_s: the time the estimate covers, from 0.
    motions: the motion of each shank, by its number.
    """

    facts: RecordingFacts | None
    preset: dict[str, Any]
    duration_s: float
    motions: dict[int, Motion]


def write_motion(
    path: Path, motions: dict[int, Motion], duration_s: float, facts: RecordingFacts | None, settings: Settings
) -> None:
    """Write `motion.h5`; see the README for its layout."""
    with schema.create(path, "motion", settings.to_dict()) as file:
        file.attrs["duration_s"] = duration_s
        file.attrs["sign"] = "corrected depth = depth - displacement"
        if facts is not None:
            schema.put_facts(file, facts)
        for shank, motion in sorted(motions.items()):
            group = file.create_group(f"shank{shank}")
            described = "displacement of the tissue relative to the probe along y: temporal bins x spatial windows"
            schema.put(group, "displacement_um", motion.displacement_um, "um", described)
            schema.put(group, "temporal_bins_s", motion.temporal_bins_s, "s", "centres of the temporal bins")
            schema.put(group, "spatial_bins_um", motion.spatial_bins_um, "um", "centres of the spatial windows")


def read_motion(path: Path) -> MotionFile:
    """Read `motion.h5`. Raises InputError when the file is not what it should be."""
    with schema.opened(path, "motion") as file:
        names = ("displacement_um", "temporal_bins_s", "spatial_bins_um")
        motions = {
            int(match[1]): Motion(*(file[f"{group}/{name}"][()].astype(float) for name in names))
            for group in file
            if (match := re.fullmatch(r"shank(\d+)", group))
        }
        if not motions:
            raise KeyError("there is no group shank0")
        return MotionFile(schema.get_facts(file), schema.get_preset(file), float(file.attrs["duration_s"]), motions)
