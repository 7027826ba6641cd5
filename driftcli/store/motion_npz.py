"""A motion as `.npz`: all that `motion.h5` holds, under plain names, for those who have numpy and no h5py."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftcli.arrays import numbers, read_npz
from driftcli.errors import InputError
from driftcli.files import atomic
from driftcli.model import Motion
from driftcli.store import handover
from driftcli.store.handover import ForeignMotion, Handover
from driftcli.store.motion import MotionFile, of_shank

_ARRAYS = ("displacement_um", "temporal_bins_s", "spatial_bins_um")
_STEPS, _DEVIATION = "steps_s", "deviation_um"
_HINT = "it must hold " + ", ".join(f"shank0_{name}" for name in _ARRAYS)


def write_npz_motion(path: Path, file: MotionFile) -> None:
    """Write `shank<k>_displacement_um` (T, W), `_temporal_bins_s`, `_spatial_bins_um`, and the handover.

    A motion that steps has `shank<k>_steps_s` as well, and one that says how certain it is `_deviation_um` (T, W).
    """
    arrays = {
        f"shank{shank}_{name}": getattr(motion, name)
        for shank, motion in file.motions.items()
        for name in _names_of(motion)
    }
    with atomic(path) as part, part.open("wb") as out:
        np.savez(out, **arrays, **handover.to_arrays(Handover.of(file)))  # type: ignore[arg-type]


def read_npz_motion(path: Path) -> ForeignMotion:
    """Read what `write_npz_motion` wrote, or an .npz of such arrays made elsewhere. Raises InputError."""
    try:
        arrays = read_npz(path)
        shanks = sorted({int(match[1]) for name in arrays if (match := re.match(r"shank(\d{1,5})_", name))})
        if not shanks:
            raise InputError(f"{path} holds no motion", _HINT)
        motions = {shank: _motion(path, shank, arrays) for shank in shanks}
        return ForeignMotion(motions, handover.from_arrays(arrays))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist", "check the path") from None
    except KeyError as error:
        raise InputError(f"{path} has no array {error}", _HINT) from None
    except ValueError as error:
        raise InputError(f"{path} can't be read: {error}", _HINT) from None


def _names_of(motion: Motion) -> list[str]:
    steps = [_STEPS] if len(motion.steps_s) else []
    return [*_ARRAYS, *steps, *([] if motion.deviation_um is None else [_DEVIATION])]


def _motion(path: Path, shank: int, arrays: Mapping[str, NDArray[Any]]) -> Motion:
    displacement_um, temporal_bins_s, spatial_bins_um = (
        numbers(arrays[f"shank{shank}_{name}"], "iuf", float) for name in _ARRAYS
    )
    steps_s = numbers(arrays.get(f"shank{shank}_{_STEPS}", np.empty(0)), "iuf", float)
    deviation_um = arrays.get(f"shank{shank}_{_DEVIATION}")
    if deviation_um is not None:
        deviation_um = numbers(deviation_um, "iuf", float)
    with of_shank(path, shank):
        return Motion(displacement_um, temporal_bins_s, spatial_bins_um, steps_s, deviation_um)
