"""A motion as the folder that SpikeInterface's `Motion.load` reads (0.105.3): one folder a shank.

One shank has the folder itself, several have `shank0`, `shank1`, ... in it. Each holds `spikeinterface_info.json`,
`displacement_seg0.npy` (T, W) in µm with the sign that driftcli has, `temporal_bins_s_seg0.npy` and
`spatial_bins_um.npy`. Beside them `driftcli.npz` holds what motion.h5 carries on; SpikeInterface passes it over.

SpikeInterface's `interpolate_motion` mixes the first temporal bin with the second and the last with the one before it,
as it looks a bin up halfway between its edges, the outermost of which lie at the centres of the outer bins; between
exactly two bins it leaves the edge unset. So a bin is added before the first and after the last, equal to it: the
traces are then those of `apply`, for bins of one length.

Its motion knows no steps. Where ours steps between two bins, a bin equal to the one before is added just before the
step and one equal to the one after just after it, so that the edge between them is there; the bins next to the step are
then not of one length. Reading takes all that was added off again.
"""

from __future__ import annotations

import json
import os
import re
import reprlib
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftcli.arrays import numbers, read_npy, read_npz
from driftcli.bounded import parse_json, read_bytes
from driftcli.errors import InputError, OutputError
from driftcli.files import part_path, refuse_existing, write_error
from driftcli.model import Motion
from driftcli.store import handover
from driftcli.store.checked_facts import whole
from driftcli.store.handover import ForeignMotion, Handover
from driftcli.store.motion import MotionFile, of_shank

_INFO = "spikeinterface_info.json"
_HANDOVER = "driftcli.npz"
_INFO_BYTES = 1 << 20
_BEFORE_STEP_S = 3e-6  # where a bin is added; that after it is at a third of this, so that their edge is 1 µs early
_FORMAT_VERSION = "0.105.3"  # of SpikeInterface, whose layout this is


def write_spikeinterface_motion(folder: Path, file: MotionFile, overwrite: bool = False) -> None:
    """Write the folder, or put it in the place of one that holds such a motion. Raises OutputError."""
    claim_folder(folder, overwrite)
    with _atomic_folder(folder) as part:
        added = {"shanks": np.array(sorted(file.motions)), "padding_bins": np.array(1)}
        for shank, motion in file.motions.items():
            stepping = _with_step_bins(motion)
            _write_shank(part if len(file.motions) == 1 else part / f"shank{shank}", stepping)
            if len(motion.steps_s):
                added[f"shank{shank}_steps_s"] = motion.steps_s
                added[f"shank{shank}_step_bins_s"] = np.setdiff1d(stepping.temporal_bins_s, motion.temporal_bins_s)
        np.savez(part / _HANDOVER, **added, **handover.to_arrays(Handover.of(file)))  # type: ignore[arg-type]


def claim_folder(folder: Path, overwrite: bool) -> None:
    """Raise OutputError if `folder` exists and may not be replaced, or holds other things than a motion."""
    refuse_existing(folder, overwrite)
    if os.path.lexists(folder) and (folder.is_symlink() or not folder.is_dir() or not _is_motion_folder(folder)):
        raise OutputError(f"{folder} is no folder of a motion, and stays", "give the output another name")


def read_spikeinterface_motion(folder: Path) -> ForeignMotion:
    """Read a folder that SpikeInterface's `Motion.save` or driftcli wrote. Raises InputError."""
    folders = _folders_of_shanks(folder)
    try:
        arrays = _read_added(folder / _HANDOVER)
        only = whole(arrays["shanks"].ravel()[0]) if "shanks" in arrays else 0
        by_shank = {only if shank is None else shank: each for shank, each in folders.items()}
        motions = {shank: _motion(each, shank, arrays) for shank, each in by_shank.items()}
        return ForeignMotion(motions, handover.from_arrays(arrays))
    except (OSError, ValueError, LookupError) as error:
        raise InputError(f"{folder} can't be read: {' '.join(str(error).split())}", "save the motion again") from None


def _motion(folder: Path, shank: int, added: Mapping[str, NDArray[Any]]) -> Motion:
    """The motion of one shank. added: what driftcli.npz says was added to it."""
    motion = _read_shank(folder, shank)
    if "padding_bins" in added:
        motion = _without_padding(motion)
    if f"shank{shank}_steps_s" not in added:
        return motion
    with of_shank(folder, shank):
        steps_s, bins_s = (numbers(added[f"shank{shank}_{name}_s"], "iuf", float) for name in ("steps", "step_bins"))
        return _without_step_bins(motion, steps_s, bins_s)


def _write_shank(folder: Path, motion: Motion) -> None:
    folder.mkdir(exist_ok=True)
    motion = _with_padding(motion)
    np.save(folder / "displacement_seg0.npy", motion.displacement_um)
    np.save(folder / "temporal_bins_s_seg0.npy", motion.temporal_bins_s)
    np.save(folder / "spatial_bins_um.npy", motion.spatial_bins_um)
    info = {"version": _FORMAT_VERSION, "dev_mode": False, "object": "Motion", "num_segments": 1}
    info |= {"direction": "y", "interpolation_method": "linear"}
    (folder / _INFO).write_text(json.dumps(info, indent=4) + "\n", encoding="utf-8")


def _with_padding(motion: Motion) -> Motion:
    times_s, displacement_um = motion.temporal_bins_s, motion.displacement_um
    first_s, last_s = (times_s[1] - times_s[0], times_s[-1] - times_s[-2]) if len(times_s) > 1 else (1.0, 1.0)
    times_s = np.concatenate([[times_s[0] - first_s], times_s, [times_s[-1] + last_s]])
    return Motion(np.pad(displacement_um, ((1, 1), (0, 0)), mode="edge"), times_s, motion.spatial_bins_um)


def _without_padding(motion: Motion) -> Motion:
    """The motion as it was before `_with_padding`; one whose outer bins somebody changed is left as it is."""
    displacement_um = motion.displacement_um
    if len(displacement_um) < 3 or (displacement_um[[0, -1]] != displacement_um[[1, -2]]).any():
        return motion
    return Motion(displacement_um[1:-1].copy(), motion.temporal_bins_s[1:-1].copy(), motion.spatial_bins_um)


def _with_step_bins(motion: Motion) -> Motion:
    """The motion for a program without steps: a bin more on either side of each, equal to the next one on that side."""
    bins = np.column_stack([np.flatnonzero(motion.parted), np.flatnonzero(motion.parted) + 1])
    centres_s, step_s = motion.temporal_bins_s[bins], motion.temporal_edges_s[bins[:, 0]]
    # no rounding may take the edge past the sample at the step, however near to it a bin is
    before_s = np.maximum(step_s - _BEFORE_STEP_S, centres_s[:, 0])
    after_s = np.minimum(step_s + (step_s - before_s) / 3, centres_s[:, 1])
    added_s = np.column_stack([before_s, after_s])
    needed = added_s != centres_s
    times_s = np.concatenate([motion.temporal_bins_s, added_s[needed]])
    displacement_um = np.concatenate([motion.displacement_um, motion.displacement_um[bins[needed]]])
    order = np.argsort(times_s)
    return Motion(displacement_um[order], times_s[order], motion.spatial_bins_um)


def _without_step_bins(motion: Motion, steps_s: NDArray[np.float64], added_s: NDArray[np.float64]) -> Motion:
    """The motion as it was before `_with_step_bins`; one in which somebody changed bins at a step keeps all of them."""
    times_s, displacement_um = motion.temporal_bins_s, motion.displacement_um
    added = np.isin(times_s, added_s)
    equal = np.pad((displacement_um[1:] == displacement_um[:-1]).all(axis=1), 1)
    kept = ~added if (equal[1:] | equal[:-1])[added].all() else np.ones(len(times_s), bool)
    return Motion(displacement_um[kept], times_s[kept], motion.spatial_bins_um, steps_s)


@contextmanager
def _atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield a new folder beside `folder` that takes its name when the block ends well; what had it goes last."""
    folder = folder.resolve()
    part = part_path(folder)
    before = part.with_name(f"{part.name}.before")
    try:
        part.mkdir()
        yield part
        for file in sorted(part.rglob("*")):
            _sync(file)
        if folder.exists():
            os.replace(folder, before)
        os.replace(part, folder)
    except OSError as error:
        raise write_error(folder, error) from error
    finally:
        if before.exists() and not folder.exists():
            os.replace(before, folder)
        shutil.rmtree(before, ignore_errors=True)
        shutil.rmtree(part, ignore_errors=True)


def _sync(file: Path) -> None:
    if file.is_file():
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _is_motion_folder(folder: Path) -> bool:
    """Whether all that lies in it belongs to a motion."""
    names = rf"{_INFO}|{_HANDOVER}|spatial_bins_um\.npy|(displacement|temporal_bins_s)_seg\d+\.npy"
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink() and re.fullmatch(r"shank\d+", path.name):
            if not _is_motion_folder(path):
                return False
        elif not path.is_file() or not re.fullmatch(names, path.name):
            return False
    return True


def _folders_of_shanks(folder: Path) -> dict[int | None, Path]:
    """The folder of each shank's motion; under None where the folder is that of the only one."""
    if (folder / _INFO).is_file():
        return {None: folder}
    shanks = {path: re.fullmatch(r"shank(\d{1,5})", path.name) for path in sorted(folder.iterdir())}
    found: dict[int | None, Path] = {int(m[1]): path for path, m in shanks.items() if m and (path / _INFO).is_file()}
    if not found:
        inner = folder / "motion"
        hint = f"give {inner}" if (inner / _INFO).is_file() else "give what SpikeInterface's Motion.save wrote"
        raise InputError(f"{folder} holds no motion of SpikeInterface", hint)
    return dict(sorted(found.items(), key=lambda item: item[0] or 0))


def _read_shank(folder: Path, shank: int) -> Motion:
    info = parse_json(read_bytes(folder / _INFO, _INFO_BYTES))
    if not isinstance(info, dict) or info.get("object") != "Motion":
        named = info.get("object") if isinstance(info, dict) else None
        what = named[:50] if isinstance(named, str) else "thing without a name"
        raise InputError(f"{folder} holds a {what}, no motion", "give what Motion.save wrote")
    for key, wanted in (("num_segments", 1), ("direction", "y"), ("interpolation_method", "linear")):
        if info.get(key) != wanted:
            what = f"{folder}: its {key} is {reprlib.repr(info.get(key))}, driftcli takes {wanted!r} only"
            raise InputError(what, "save each segment as a motion along y of its own")
    names = ("displacement_seg0", "temporal_bins_s_seg0", "spatial_bins_um")
    displacement_um, temporal_bins_s, spatial_bins_um = (_load(folder / f"{name}.npy") for name in names)
    with of_shank(folder, shank):
        return Motion(displacement_um, temporal_bins_s, spatial_bins_um)


def _load(path: Path) -> NDArray[np.float64]:
    return numbers(read_npy(path), "iuf", float)


def _read_added(path: Path) -> dict[str, NDArray[Any]]:
    """What driftcli added to the folder: the handover, the shanks, and whether the motions are padded."""
    if not path.is_file():
        return {}
    return read_npz(path)
