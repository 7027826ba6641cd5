"""What the page's drift map draws, packed: typed arrays in base64, little-endian, a few bytes a peak.

`packed.js` unpacks it. A number is `from + step * stored`.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftcli.model import MASK_REASONS, Mask, Motion, ShankAssessment
from driftcli.report.spans import joined_spans
from driftcli.report.view import TIME_UNITS, ShownPeaks, View, amplitude_ends

BYTES_PER_PEAK = 4 * 7 / 3  # times, two depths, amplitude, in base64
MISSING = -32768  # stands for NaN in int16

_MOST_MOTION_BYTES = 1_400_000  # of all shanks, before base64; 2 h in bins of 1 s fit with 30 windows
_MOST_SPANS = 5_000
_SHORTEST_TICK_S = 1e-5
_SMALLEST_STEP_UM = 1e-3
Packed = dict[str, Any]


def packed(view: View, most_peaks: int) -> Packed:
    """All that the drift map draws, with no more than `most_peaks` peaks."""
    peaks = thinned(within_reach(view), most_peaks)
    low, high = amplitude_ends(peaks.amplitude)
    place = np.log(np.clip(np.abs(peaks.amplitude), low, high) / low) / np.log(high / low)
    colours = np.rint(255 * place).astype(np.uint8)
    every = stride(view.motions)
    found = view.assessment.shanks if view.assessment else {}
    shanks = sorted({*view.motions, *np.unique(peaks.shank).tolist()})
    return {
        "shanks": [
            {
                "shank": shank,
                "peaks": _packed_peaks(peaks, colours, peaks.shank == shank, _reach_um(view)),
                "motion": _packed_motion(view.motions[shank], found.get(shank), every)
                if shank in view.motions
                else None,
            }
            for shank in shanks
        ],
        "amplitude": [low, high],
        "time_units": [list(unit) for unit in TIME_UNITS],
        "time_limits_s": list(map(float, view.time_limits_s)),
        "depth_limits_um": list(map(float, view.depth_limits_um)),
        "left_out": _spans(view.mask, view.mask_rate_hz, view.duration_s),
        "reasons": list(MASK_REASONS),
        "breaks_s": view.breaks_s.tolist(),
    }


def within_reach(view: View) -> ShownPeaks:
    """Peaks but for those so far beyond the depths that are shown that one of them would make the steps of all coarse.

    The map never goes beyond those depths, so it misses none of them.
    """
    low, high = _reach_um(view)
    depths_um = np.stack([view.peaks.depth_um, view.peaks.corrected_depth_um])
    return _rows(view.peaks, np.flatnonzero(((depths_um >= low) & (depths_um <= high)).any(axis=0)))


def _reach_um(view: View) -> tuple[float, float]:
    low, high = view.depth_limits_um
    return low - (high - low), high + (high - low)


def _rows(peaks: ShownPeaks, rows: NDArray[np.int64]) -> ShownPeaks:
    return ShownPeaks(**{name: values[rows] for name, values in vars(peaks).items()})


def thinned(peaks: ShownPeaks, most: int) -> ShownPeaks:
    """No more than `most` peaks, evenly taken from all."""
    if len(peaks) <= most:
        return peaks
    return _rows(peaks, np.arange(most) * len(peaks) // most)


def stride(motions: Mapping[int, Motion]) -> int:
    """Of how many temporal bins one is drawn, so that motions sampled very finely fit into the page."""
    n_bytes = sum(8 * len(motion.temporal_bins_s) + 6 * motion.displacement_um.size for motion in motions.values())
    return max(1, -(-n_bytes // _MOST_MOTION_BYTES))


def _packed_peaks(
    peaks: ShownPeaks, colours: NDArray[np.uint8], rows: NDArray[np.bool_], reach_um: tuple[float, float]
) -> Packed:
    """Times as uint16 ticks since the peak before, depths within reach as uint16, amplitudes as uint8 of the colours'
    range."""
    time_s = peaks.time_s[rows]
    depths_um = np.clip(np.stack([peaks.depth_um[rows], peaks.corrected_depth_um[rows]]), *reach_um)
    if not len(time_s):
        return {"count": 0}
    tick_s = max(_SHORTEST_TICK_S, float(np.diff(time_s).max(initial=0)) / 65_000)
    ticks = np.rint((time_s - time_s[0]) / tick_s).astype(np.int64)
    low_um = float(depths_um.min())
    step_um = max(_SMALLEST_STEP_UM, (float(depths_um.max()) - low_um) / 65_000)
    depth, corrected = np.rint((depths_um.astype(np.float64) - low_um) / step_um)
    return {
        "count": len(time_s),
        "time": {"from": float(time_s[0]), "step": tick_s, "since": _base64(np.diff(ticks, prepend=0), "<u2")},
        "depth": {"from": low_um, "step": step_um, "before": _base64(depth, "<u2"), "after": _base64(corrected, "<u2")},
        "amplitude": _base64(colours[rows], "u1"),
    }


def _packed_motion(motion: Motion, found: ShankAssessment | None, every: int) -> Packed:
    """Displacement, and where it was assessed its expected error and what is left of it, (T, W) by rows."""
    return {
        "times_s": _base64(motion.temporal_bins_s[::every], "<f8"),
        "windows_um": motion.spatial_bins_um.tolist(),
        "steps_s": motion.steps_s.tolist(),
        "displacement": _packed_um(motion.displacement_um[::every]),
        "error": None if found is None else _packed_um(found.error_um[::every]),
        "residual": None if found is None else _packed_um(found.residual_um[::every]),
    }


def _packed_um(values: NDArray[np.float64]) -> Packed:
    known = np.isfinite(values)
    step = max(float(np.abs(values[known]).max(initial=0)) / 32_000, 1e-4)
    stored = np.where(known, np.rint(np.where(known, values, 0) / step), MISSING)
    return {"step": step, "values": _base64(stored, "<i2")}


def _spans(mask: Mask, rate_hz: float, duration_s: float) -> list[list[float]]:
    """[beginning, end, reason] of each span. Of very many those are one that no screen would show apart."""
    apart_s = 0.0 if len(mask) <= _MOST_SPANS else duration_s * len(MASK_REASONS) / _MOST_SPANS
    return [[round(start, 4), round(stop, 4), reason] for start, stop, reason in joined_spans(mask, rate_hz, apart_s)]


def _base64(values: NDArray[Any], dtype: str) -> str:
    return b64encode(np.ascontiguousarray(values, dtype=dtype).tobytes()).decode("ascii")
