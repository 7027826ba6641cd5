"""What is true of a simulated recording, its file, and how far an estimated motion is from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from driftcli.arrays import numbers, read_npz
from driftcli.errors import InputError
from driftcli.files import atomic
from driftcli.model import Motion

_MOTION = ("displacement_um", "temporal_bins_s", "spatial_bins_um")


@dataclass(frozen=True)
class Truth:
    """The truth of a simulated recording.

    motion: displacement of the tissue; a unit moves as its depth at rest does.
    unit_positions_um: (U, 3) float64, at rest: x across and y along the probe, z away from it.
    unit_amplitude_uv: (U,) float64, depth of the trough at a contact straight in front of the unit.
    spike_sample: (N,) int64, sample of the trough, ascending.
    spike_unit: (N,) int32.
    """

    motion: Motion
    unit_positions_um: NDArray[np.float64]
    unit_amplitude_uv: NDArray[np.float64]
    spike_sample: NDArray[np.int64]
    spike_unit: NDArray[np.int32]


def save_truth(path: Path | str, truth: Truth) -> None:
    """Write truth as an .npz file with the names of its fields; those of the motion stand beside the others."""
    with atomic(path) as part, part.open("wb") as file:
        np.savez_compressed(
            file,
            displacement_um=truth.motion.displacement_um,
            temporal_bins_s=truth.motion.temporal_bins_s,
            spatial_bins_um=truth.motion.spatial_bins_um,
            unit_positions_um=truth.unit_positions_um,
            unit_amplitude_uv=truth.unit_amplitude_uv,
            spike_sample=truth.spike_sample,
            spike_unit=truth.spike_unit,
        )


def load_truth(path: Path | str) -> Truth:
    """Read what `save_truth` wrote. Raises InputError if the file is missing or is something else."""
    path = Path(path)
    try:
        arrays = read_npz(path)
        motion = Motion(*(numbers(arrays[name], "iuf", float) for name in _MOTION))
        units = (numbers(arrays["unit_positions_um"], "iuf", float), numbers(arrays["unit_amplitude_uv"], "iuf", float))
        spikes = (numbers(arrays["spike_sample"], "iu", np.int64), numbers(arrays["spike_unit"], "iu", np.int32))
        if units[0].shape != (*units[1].shape, 3) or units[1].ndim != 1 or not np.isfinite(units[0]).all():
            raise ValueError("its units have no places")
        return Truth(motion, *units, *spikes)
    except FileNotFoundError:
        raise InputError(f"there is no file {path}", "`driftcli simulate` writes truth.npz") from None
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{path} does not hold the truth of a simulated recording: {error}", "`driftcli simulate` writes truth.npz"
        ) from error


def error_against_truth(motion: Motion, truth: Truth) -> dict[str, float]:
    """Error of an estimated motion in um: mean_um, median_um, p95_um, max_um, and true_range_um to compare with.

    Taken at the depth of each unit at rest and at every temporal bin of the truth, after the median difference is
    taken off, as drift has no absolute zero. Raises InputError if there are no units.
    """
    depths_um, times_s = truth.unit_positions_um[:, 1], truth.motion.temporal_bins_s[:, None]
    if not len(depths_um):
        raise InputError("there are no units in this truth", "simulate with num_units of 1 or more")
    true_um = truth.motion.at(times_s, depths_um)
    difference_um = motion.at(times_s, depths_um) - true_um
    error_um = np.abs(difference_um - np.median(difference_um))
    return {
        "mean_um": float(error_um.mean()),
        "median_um": float(np.median(error_um)),
        "p95_um": float(np.percentile(error_um, 95)),
        "max_um": float(error_um.max()),
        "true_range_um": float(np.ptp(true_um)),
    }
