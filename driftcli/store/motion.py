"""`motion.h5`: the estimated motion, one group a shank."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from driftcli.errors import InputError
from driftcli.joining import join
from driftcli.model import LARGEST_TIME_S, Mask, Motion, RecordingFacts, Settings
from driftcli.store import checked, schema

JOINED_WITHIN_UM = 0.02  # a twelfth of what the correction itself allows for motion within a piece
_MOST_VALUES = 1_000_000  # of a shank that are read as they are: 8 MB, a day of 10 windows in bins of 1 s
_BINS_AT_ONCE = 65_536


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
    """Write `motion.h5`; see docs/files.md for its layout.

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
            if motion.deviation_um is not None:
                described = "standard deviation of the displacement, as the estimate has it"
                schema.put(group, "deviation_um", motion.deviation_um, "um", described)
            if len(motion.steps_s):
                schema.put(group, "steps_s", motion.steps_s, "s", "times at which the motion may step: files begin")


def read_motion(path: Path, *, every_bin: bool = True) -> MotionFile:
    """Read `motion.h5`. Raises InputError when the file is not what it should be.

    every_bin: False for work that needs no more than what the motion is at any time. Of a shank with more than a
        million values, neighbouring bins that are equal or shorter than peaks can tell apart are then joined where one
        displacement is within 0.02 µm of all of them: the first and the last of them stay, with that displacement, and
        without deviations. Both lookups thus stay within 0.02 µm of the whole motion at any time, and memory grows with
        how far the motion goes and no longer with how finely it was sampled. Only noise that goes further than that
        from each bin to the next has as many bins as before.
    """
    with schema.opened(path, "motion") as file:
        there = (name for name in file if isinstance(name, str))  # others are not even Unicode
        names = {int(match[1]): name for name in there if (match := schema.SHANK.fullmatch(name))}
        if not names:
            raise KeyError("there is no group shank0")
        motions, joined = {}, False
        for shank, name in names.items():
            group = checked.subgroup(file, name)
            with of_shank(path, shank):
                arrays = _Arrays.of(group)
                whole = every_bin or arrays.displacement_um.size <= _MOST_VALUES
                motions[shank] = _whole(arrays) if whole else _joined(arrays)
            joined = joined or len(motions[shank].temporal_bins_s) < len(arrays.temporal_bins_s)
        preset, duration_s = schema.get_preset(file), checked.number(file, "duration_s")
        if not 0 <= duration_s <= LARGEST_TIME_S:
            raise ValueError(f"it covers {duration_s:g} s")
        return MotionFile(schema.get_facts(file), preset, duration_s, motions, joined)


def without_motion(file: MotionFile) -> MotionFile:
    """The same, if nothing had moved."""
    still = {
        shank: Motion(np.zeros((1, 1)), motion.temporal_bins_s[:1], motion.spatial_bins_um[:1])
        for shank, motion in file.motions.items()
    }
    return replace(file, motions=still)


def read_mask(path: Path, mask_rate_hz: float) -> Mask | None:
    """What the estimate left out, in samples of `mask_rate_hz`; None where the file doesn't say, as imported ones."""
    with schema.opened(path, "motion") as file:
        return schema.get_mask(file, mask_rate_hz) if "mask" in file else None


@contextmanager
def of_shank(path: Path, shank: int) -> Iterator[None]:
    """Put the file and the shank before what an InputError of the block says is wrong with the motion."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}, shank {shank}: {error.message}", error.hint) from None


class _Arrays(NamedTuple):
    """The arrays of a shank, of which the first is read piece by piece; they fit each other."""

    displacement_um: h5py.Dataset
    temporal_bins_s: h5py.Dataset
    spatial_bins_um: NDArray[np.float64]
    steps_s: NDArray[np.float64]
    deviation_um: h5py.Dataset | None

    @classmethod
    def of(cls, group: h5py.Group) -> _Arrays:
        displacement_um = checked.dataset(group, "displacement_um", checked.NUMBERS, 2)
        temporal_bins_s = checked.dataset(group, "temporal_bins_s", checked.NUMBERS, 1)
        spatial_bins_um = checked.array(group, "spatial_bins_um", checked.NUMBERS, 1, float)
        steps_s = checked.array(group, "steps_s", checked.NUMBERS, 1, float) if "steps_s" in group else np.empty(0)
        deviation_um = None
        if "deviation_um" in group:
            deviation_um = checked.dataset(group, "deviation_um", checked.NUMBERS, 2)
        if displacement_um.shape != temporal_bins_s.shape + spatial_bins_um.shape:
            shape = temporal_bins_s.shape + spatial_bins_um.shape
            raise InputError(
                f"a motion of shape {displacement_um.shape} does not fit bins of shape {shape}",
                "estimate the motion again",
            )
        return cls(displacement_um, temporal_bins_s, spatial_bins_um, steps_s, deviation_um)


def _whole(arrays: _Arrays) -> Motion:
    displacement_um, temporal_bins_s = (
        arrays.displacement_um[()].astype(float),
        arrays.temporal_bins_s[()].astype(float),
    )
    deviation_um = None if arrays.deviation_um is None else arrays.deviation_um[()].astype(float)
    return Motion(displacement_um, temporal_bins_s, arrays.spatial_bins_um, arrays.steps_s, deviation_um)


def _joined(arrays: _Arrays) -> Motion:
    """The motion with bins joined, some of them at a time: each batch stands for itself."""
    batches = []
    for start in range(0, len(arrays.temporal_bins_s), _BINS_AT_ONCE):
        rows = slice(start, start + _BINS_AT_ONCE)
        batch = arrays.displacement_um[rows].astype(float), arrays.temporal_bins_s[rows].astype(float)
        batches.append(_knots(Motion(*batch, arrays.spatial_bins_um, arrays.steps_s)))
    displacement, times_s = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    return Motion(displacement, times_s, arrays.spatial_bins_um, arrays.steps_s)


def _knots(motion: Motion) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Displacements and times of the first and the last bin of every run, which may be the same one."""
    runs = join(motion.displacement_um, motion.temporal_bins_s, motion.parted, JOINED_WITHIN_UM)
    bins = np.column_stack([runs.first, runs.last]).ravel()
    kept = np.append(True, np.diff(bins) > 0)
    return np.repeat(runs.displacement_um, 2, axis=0)[kept], motion.temporal_bins_s[bins[kept]]
