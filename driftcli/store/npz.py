"""Peaks from elsewhere: an .npz with `time_s`, `depth_um` and `amplitude_uv`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from driftcli.arrays import numbers, read_npz
from driftcli.errors import InputError
from driftcli.model import LARGEST_PLACE_UM, LARGEST_TIME_S, DepthPeaks

_KEYS = ("time_s", "depth_um", "amplitude_uv")


def read_npz_peaks(path: Path) -> DepthPeaks:
    """Read (N,) `time_s`, `depth_um`, `amplitude_uv`, sorted by time on the way.

    Raises InputError when the file or one of its arrays is missing, of the wrong shape, empty, negative in time, or
    not finite.
    """
    try:
        arrays = read_npz(path, _KEYS)
        missing = [key for key in _KEYS if key not in arrays]
        if missing:
            raise InputError(f"{path} has no array {missing[0]!r}", f"it must hold {', '.join(_KEYS)}")
        time_s, depth_um, amplitude = (numbers(arrays.pop(key), "iuf", float) for key in _KEYS)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except ValueError as error:
        raise InputError(f"{path} can't be read: {error}", f"it must hold {', '.join(_KEYS)}") from None
    if not (time_s.ndim == 1 and time_s.shape == depth_um.shape == amplitude.shape):
        shapes = f"{time_s.shape}, {depth_um.shape}, {amplitude.shape}"
        raise InputError(f"{path}: the arrays must be of one length, not {shapes}")
    if not len(time_s):
        raise InputError(f"{path} holds no peaks")
    if not all(np.isfinite(array).all() for array in (time_s, depth_um, amplitude)):
        raise InputError(f"{path} holds NaN or infinity", "leave such peaks out")
    if time_s.max() > LARGEST_TIME_S or np.abs(depth_um).max() > LARGEST_PLACE_UM:
        raise InputError(f"{path} holds times or depths that no recording has", "they are in seconds and in µm")
    if time_s.min() < 0:
        raise InputError(f"{path} holds peaks before time 0", "times count from the start of the recording")
    if (time_s[1:] >= time_s[:-1]).all():
        return DepthPeaks(time_s, depth_um, amplitude)  # a day of peaks is a gigabyte, too much to hold twice
    order = np.argsort(time_s, kind="stable")
    return DepthPeaks(time_s[order], depth_um[order], amplitude[order])
