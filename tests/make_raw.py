"""Makes small raw files and probe files, spelled out by hand: test support, not part of driftcli."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np


def column_of_contacts(num_contacts: int, pitch_um: float = 20.0) -> list[tuple[float, float]]:
    """Positions on one line along the shank."""
    return [(0.0, pitch_um * i) for i in range(num_contacts)]


def probe_dict(
    positions: Any, wiring: Any = None, shank_ids: Any = None, si_units: str = "um", **more: Any
) -> dict[str, Any]:
    """One probe as probeinterface's JSON has it."""
    positions = [list(map(float, each)) for each in positions]
    ndim = len(positions[0]) if positions else 2
    probe: dict[str, Any] = {
        "ndim": ndim,
        "si_units": si_units,
        "annotations": {"name": "made by hand"},
        "contact_annotations": {},
        "contact_positions": positions,
        "contact_plane_axes": [[[1.0, 0.0, 0.0][:ndim], [0.0, 1.0, 0.0][:ndim]] for _ in positions],
        "contact_shapes": ["circle"] * len(positions),
        "contact_shape_params": [{"radius": 5.0} for _ in positions],
        "contact_ids": [f"e{i}" for i in range(len(positions))],
    }
    if wiring is not None:
        probe["device_channel_indices"] = [int(column) for column in wiring]
    if shank_ids is not None:
        probe["shank_ids"] = list(shank_ids)
    return probe | more


def write_json_probe(path: Path, *probes: dict[str, Any]) -> Path:
    """Write probes (`probe_dict`s) as one probeinterface file."""
    path.write_text(json.dumps({"specification": "probeinterface", "version": "0.2.24", "probes": list(probes)}))
    return path


def write_line_probe(path: Path, num_contacts: int, wiring: Any = None) -> Path:
    """Write a probe of contacts on one line, wired to columns 0, 1, 2, ... unless said otherwise."""
    wiring = range(num_contacts) if wiring is None else wiring
    return write_json_probe(path, probe_dict(column_of_contacts(num_contacts), wiring))


def counts(num_samples: int, num_columns: int, seed: int = 0, sigma: float = 20.0) -> np.ndarray:
    """(num_samples, num_columns) int16 noise."""
    return np.random.default_rng(seed).normal(0, sigma, (num_samples, num_columns)).round().astype("<i2")
