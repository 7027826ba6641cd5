"""How much of a motion is at the limit of what its estimate searched: there it may go further than it can say."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from driftcli.model import Motion, SearchLimit

_NEAR = 0.95
_OF_HORIZON = 100  # bins from which the middle is taken


def share_at_limit(motion: Motion, limit: SearchLimit) -> float:
    """Share of bins that lie, but for a twentieth, as far as the limit from the median of those they are compared to:
    at least half of the comparisons of such a bin may be cut off."""
    displacement_um = motion.displacement_um
    from_median_um = np.abs(displacement_um - _medians(displacement_um, motion.temporal_bins_s, limit.horizon_s))
    return float((from_median_um >= _NEAR * limit.limit_um).mean())


def _medians(
    displacement_um: NDArray[np.float64], times_s: NDArray[np.float64], horizon_s: float | None
) -> NDArray[np.float64]:
    if horizon_s is None or len(times_s) < 2 or times_s[-1] - times_s[0] <= horizon_s:
        return np.median(displacement_um, axis=0, keepdims=True)
    bins = max(round(horizon_s / float(np.median(np.diff(times_s)))), 1)
    step = -(-bins // _OF_HORIZON)  # a middle needs no more; time would grow with the bins of a horizon
    some = median_filter(displacement_um[::step], size=(2 * (bins // step) + 1, 1), mode="nearest")
    return np.asarray(np.repeat(some, step, axis=0)[: len(displacement_um)])
