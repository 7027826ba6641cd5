"""What a figure or the page shows of a correction, gathered and thinned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from driftcli.model import Assessment, Geometry, Mask, Motion

MOST_POINTS = 200_000  # of a panel; more of them hide each other, and take long to draw and to load
_AMPLITUDES_SHOWN_PERCENT = (2.0, 99.0)  # percentiles of the amplitudes at the ends of their colours

# What was written with a motion: corrected by the one that is shown, by another one, by one that run.json doesn't tell
# of (older versions wrote no digest), or left as it was.
Correction = Literal["this motion", "another motion", "unknown motion", "left as it was"]


class TimeUnit(NamedTuple):
    """The unit of a time axis, how many seconds it has, and from which span on (s, longer than that) it is used."""

    name: str
    seconds: float
    beyond_s: float

    @property
    def label(self) -> str:
        return f"time ({self.name})"

    @classmethod
    def of(cls, span_s: float) -> TimeUnit:
        """Seconds up to three minutes, minutes up to three hours, else hours."""
        return next((unit for unit in reversed(TIME_UNITS) if span_s > unit.beyond_s), TIME_UNITS[0])


TIME_UNITS = (TimeUnit("s", 1.0, 0.0), TimeUnit("min", 60.0, 180.0), TimeUnit("h", 3600.0, 3 * 3600.0))


@dataclass(frozen=True)
class ShownPeaks:
    """Peaks as they are drawn, thinned to `MOST_POINTS`, in order of time.

    time_s: (N,) float64. x_um, depth_um, corrected_depth_um, amplitude: (N,) float32. shank: (N,) int64.
    """

    time_s: NDArray[np.float64]
    x_um: NDArray[np.float32]
    depth_um: NDArray[np.float32]
    corrected_depth_um: NDArray[np.float32]
    amplitude: NDArray[np.float32]
    shank: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.time_s)


@dataclass(frozen=True)
class View:
    """One correction as it is shown.

    name: what its figures are called after, a recording or a folder. duration_s: of the time that the motion covers.
    num_peaks: within the limits, of which `peaks` are those that are drawn. mask: in samples of `mask_rate_hz`.
    labels: (C,) what is wrong with each contact; None where nobody looked. assessment: None where there is none.
    corrections: of each corrected recording that `run.json` knows, by which motion it was made (`--if-better` may have
    left it as it was). other_peaks: whether the motion was estimated from peaks that are not those in the folder.
    facts: of each output, as `run.json` has them. time_limits_s, depth_limits_um: what is drawn.
    """

    name: str
    duration_s: float
    geometry: Geometry
    labels: NDArray[np.uint8] | None
    amplitude_unit: str
    num_peaks: int
    peaks: ShownPeaks
    motions: dict[int, Motion]
    mask: Mask
    mask_rate_hz: float
    breaks_s: NDArray[np.float64]
    assessment: Assessment | None
    corrections: Mapping[str, Correction]
    other_peaks: bool
    facts: Mapping[str, Mapping[str, Any]]
    time_limits_s: tuple[float, float]
    depth_limits_um: tuple[float, float]

    @property
    def unit(self) -> str:
        """The unit of amplitudes as people write it."""
        return self.amplitude_unit.replace("uV", "µV")


def amplitude_ends(amplitude: NDArray[np.float32]) -> tuple[float, float]:
    """The sizes of amplitudes at the ends of their colours, between which these go by the logarithm."""
    size = np.abs(amplitude[amplitude != 0])
    low, high = np.percentile(size, _AMPLITUDES_SHOWN_PERCENT).tolist() if len(size) else (1.0, 10.0)
    return (low, high) if high > 1.01 * low else (low / 1.5, high * 1.5)
