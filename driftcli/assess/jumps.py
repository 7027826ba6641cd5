"""Single temporal bins that leave their neighbours: tissue rarely moves so, estimates of too few peaks do."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

JUMP_UM = 5.0
_SHOWN_BY_HALF = 0.5  # of a jump: that much a half of the peaks must show of it


def excursions_um(displacement_um: NDArray[np.float64], parted: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(T, W) how far each bin leaves both of its neighbours to the same side; 0 where it lies between them.

    parted: (T - 1,) whether the recording breaks between a bin and the next one; no jump is looked for there.
    """
    excursion = np.zeros(displacement_um.shape)
    if len(displacement_um) < 3:
        return excursion
    steps = np.diff(displacement_um, axis=0)
    rise, fall = steps[:-1], -steps[1:]
    same_side = (rise * fall > 0) & ~(parted[:-1] | parted[1:])[:, None]
    excursion[1:-1] = np.where(same_side, np.sign(rise) * np.minimum(np.abs(rise), np.abs(fall)), 0.0)
    return excursion


def count_jumps(excursion_um: NDArray[np.float64], halves: list[NDArray[np.float64]] | None) -> tuple[int, int | None]:
    """How many temporal bins jump in any window, and how many of those not both halves show.

    halves: excursions of the motions of two halves of the peaks at the same bins; None where there are none.
    """
    jump = np.abs(excursion_um) > JUMP_UM
    count = int(jump.any(axis=1).sum())
    if halves is None:
        return count, None
    enough = _SHOWN_BY_HALF * np.abs(excursion_um)
    shown = [np.sign(excursion_um) * half >= enough for half in halves]
    return count, int((jump & ~(shown[0] & shown[1])).any(axis=1).sum())
