"""Peaks from elsewhere: an .npz with `time_s`, `depth_um` and `amplitude_uv`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

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
        peaks = [numbers(arrays.pop(key), "iuf", float) for key in _KEYS]  # one by one: as few as can be held twice
    except FileNotFoundError:
        raise InputError(f"{path} does not exist", "check the path") from None
    except ValueError as error:
        raise InputError(f"{path} can't be read: {error}", f"it must hold {', '.join(_KEYS)}") from None
    try:
        return peaks_of_arrays(*peaks)
    except InputError as error:
        raise InputError(f"{path}: {error.message}", error.hint) from None


def peaks_of_arrays(time_s: ArrayLike, depth_um: ArrayLike, amplitude_uv: ArrayLike) -> DepthPeaks:
    """Peaks of (N,) arrays, sorted by time on the way. Raises InputError as `read_npz_peaks` does.

    Arrays of float64 that are in order of time are not copied.
    """
    try:
        given = [np.asarray(values) for values in (time_s, depth_um, amplitude_uv)]
        time_s, depth_um, amplitude = (numbers(values, "iuf", float) for values in given)
    except ValueError as error:
        raise InputError(f"peaks can't be read: {error}", f"give {', '.join(_KEYS)} as numbers") from None
    if not (time_s.ndim == 1 and time_s.shape == depth_um.shape == amplitude.shape):
        shapes = f"{time_s.shape}, {depth_um.shape}, {amplitude.shape}"
        raise InputError(f"the arrays must be of one length, not {shapes}", "a time, a depth, an amplitude per peak")
    if not len(time_s):
        raise InputError("there are no peaks", "check what they were made from")
    if not all(np.isfinite(array).all() for array in (time_s, depth_um, amplitude)):
        raise InputError("the peaks hold NaN or infinity", "leave such peaks out")
    if time_s.max() > LARGEST_TIME_S or np.abs(depth_um).max() > LARGEST_PLACE_UM:
        raise InputError("the peaks are at times or depths that no recording has", "give seconds and µm")
    if time_s.min() < 0:
        raise InputError("there are peaks before time 0", "count times from the start of the recording")
    if (time_s[1:] >= time_s[:-1]).all():
        return DepthPeaks(time_s, depth_um, amplitude)  # a day of peaks is a gigabyte, too much to hold twice
    order = np.argsort(time_s, kind="stable")
    return DepthPeaks(time_s[order], depth_um[order], amplitude[order])
