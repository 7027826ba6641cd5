"""`motion.h5`: the estimated motion, one group a shank."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from driftcli.errors import InputError
from driftcli.joining import join
from driftcli.model import Mask, Motion, RecordingFacts, Settings
from driftcli.store import schema

JOINED_WITHIN_UM = 0.02  # a twelfth of what the correction itself allows for motion within a piece
_MOST_VALUES = 1_000_000  # of a shank that are read as they are: 8 MB, a day of 10 windows in bins of 1 s
_BINS_AT_ONCE = 65_536
_ARRAYS = ("displacement_um", "temporal_bins_s", "spatial_bins_um")


@dataclass(frozen=True)
class MotionFile:
    """All that `motion.h5` holds.

    facts: of the recording that the peaks came from; None for peaks that came without one (an .npz).
    duration_s: the time the estimate covers, from 0.
    motions: the motion of each shank, by its number.
    joined: whether bins were joined on the way, see `read_motion`.
    """

    facts: RecordingFacts | None
    preset: dict[str, Any]
    duration_s: float
    motions: dict[int, Motion]
    joined: bool = False


def write_motion(
    path: Path,
    motions: dict[int, Motion],
    duration_s: float,
    facts: RecordingFacts | None,
    settings: Settings,
    mask: Mask | None = None,
    mask_rate_hz: float = 1.0,
) -> None:
    """Write `motion.h5`; see the README for its layout.

    mask: what the estimate left out, in samples of `mask_rate_hz`; None where it isn't known.
    """
    with schema.create(path, "motion", settings.to_dict()) as file:
        file.attrs["duration_s"] = duration_s
        file.attrs["sign"] = "corrected depth = depth - displacement"
        if facts is not None:
            schema.put_facts(file, facts)
        if mask is not None:
            schema.put_mask(file, mask, mask_rate_hz)
        for shank, motion in sorted(motions.items()):
            group = file.create_group(f"shank{shank}")
            described = "displacement of the tissue relative to the probe along y: temporal bins x spatial windows"
            schema.put(group, "displacement_um", motion.displacement_um, "um", described)
            schema.put(group, "temporal_bins_s", motion.temporal_bins_s, "s", "centres of the temporal bins")
            schema.put(group, "spatial_bins_um", motion.spatial_bins_um, "um", "centres of the spatial windows")
            if len(motion.steps_s):
                schema.put(group, "steps_s", motion.steps_s, "s", "times at which the motion may step: files begin")


def read_motion(path: Path, *, every_bin: bool = True) -> MotionFile:
    """Read `motion.h5`. Raises InputError when the file is not what it should be.

    every_bin: False for work that needs no more than what the motion is at any time. Of a shank with more than a
        million values, which a recording in bins as estimates have them does not reach, neighbouring bins shorter than
        any real one are then joined where one displacement is within 0.02 µm of all of them: the first and the last of
        them stay, with that displacement. Both lookups thus stay within 0.02 µm of the whole motion at any time, and
        memory grows with how far the motion goes and no longer with how finely it was sampled. Only noise that goes
        further than that from each bin to the next has as many bins as before.
    """
    with schema.opened(path, "motion") as file:
        groups = {int(match[1]): file[name] for name in file if (match := re.fullmatch(r"shank(\d+)", name))}
        if not groups:
            raise KeyError("there is no group shank0")
        motions, joined = {}, False
        for shank, group in groups.items():
            with of_shank(path, shank):
                whole = every_bin or group["displacement_um"].size <= _MOST_VALUES
                motions[shank] = _whole(group) if whole else _joined(group)
            joined = joined or len(motions[shank].temporal_bins_s) < len(group["temporal_bins_s"])
        preset, duration_s = schema.get_preset(file), float(file.attrs["duration_s"])
        return MotionFile(schema.get_facts(file), preset, duration_s, motions, joined)


@contextmanager
def of_shank(path: Path, shank: int) -> Iterator[None]:
    """Put the file and the shank before what an InputError of the block says is wrong with the motion."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}, shank {shank}: {error.message}", error.hint) from None


def _whole(group: h5py.Group) -> Motion:
    displacement_um, temporal_bins_s, spatial_bins_um = (group[name][()].astype(float) for name in _ARRAYS)
    return Motion(displacement_um, temporal_bins_s, spatial_bins_um, _steps_s(group))


def _joined(group: h5py.Group) -> Motion:
    """The motion with bins joined, some of them at a time: each batch stands for itself."""
    displacement_um, temporal_bins_s, spatial_bins_um = (group[name] for name in _ARRAYS)
    if displacement_um.shape != temporal_bins_s.shape + spatial_bins_um.shape or temporal_bins_s.ndim != 1:
        return _whole(group)  # which says what is wrong
    windows_um, steps_s = spatial_bins_um[()].astype(float), _steps_s(group)
    batches = []
    for start in range(0, len(temporal_bins_s), _BINS_AT_ONCE):
        rows = slice(start, start + _BINS_AT_ONCE)
        batch = displacement_um[rows].astype(float), temporal_bins_s[rows].astype(float)
        batches.append(_knots(Motion(*batch, windows_um, steps_s)))
    displacement, times_s = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    return Motion(displacement, times_s, windows_um, steps_s)


def _knots(motion: Motion) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Displacements and times of the first and the last bin of every run, which may be the same one."""
    runs = join(motion.displacement_um, motion.temporal_bins_s, motion.parted, JOINED_WITHIN_UM)
    bins = np.column_stack([runs.first, runs.last]).ravel()
    kept = np.append(True, np.diff(bins) > 0)
    return np.repeat(runs.displacement_um, 2, axis=0)[kept], motion.temporal_bins_s[bins[kept]]


def _steps_s(group: h5py.Group) -> NDArray[np.float64]:
    return group["steps_s"][()].astype(float) if "steps_s" in group else np.empty(0)
