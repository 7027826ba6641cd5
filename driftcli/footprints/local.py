"""Which contacts lie around places: a footprint has none beyond."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

REACH_UM = 110.0  # from a spike; beyond it is little of it but noise
SNIPPETS_UM = 130.0  # from a peak, within which its snippet has contacts: peaks are not quite where their spikes are

MOST_CONTACTS = 48  # within reach; 22 to 30 on Neuropixels 1.0 and 2.0


def is_dense(positions_um: NDArray[np.float64]) -> bool:
    """Whether a footprint lies on many dozens of the contacts (C, 2) of a shank, as on probes of the Ultra kind: what
    is worked out of it would take their number cubed."""
    return len(positions_um) > 0 and around(positions_um, positions_um, REACH_UM).shape[1] > MOST_CONTACTS


def around(places_um: NDArray[np.float64], positions_um: NDArray[np.float64], reach_um: float) -> NDArray[np.int32]:
    """(P, K) the contacts within reach of each place (P, 2), ascending, then -1; positions_um: (C, 2)."""
    counts = _count(places_um, positions_um, reach_um)
    found = np.full((len(places_um), max(1, int(counts.max(initial=0)))), -1, np.int32)
    _find(places_um, positions_um, reach_um, found)
    return found


@numba.njit(nogil=True, cache=True)
def _count(places_um, positions_um, reach_um):  # type: ignore[no-untyped-def]
    counts = np.zeros(len(places_um), np.int64)
    for place in range(len(places_um)):
        for contact in range(len(positions_um)):
            across = positions_um[contact, 0] - places_um[place, 0]
            counts[place] += np.hypot(across, positions_um[contact, 1] - places_um[place, 1]) <= reach_um
    return counts


@numba.njit(nogil=True, cache=True)
def _find(places_um, positions_um, reach_um, found):  # type: ignore[no-untyped-def]
    for place in range(len(places_um)):
        slot = 0
        for contact in range(len(positions_um)):
            across = positions_um[contact, 0] - places_um[place, 0]
            if np.hypot(across, positions_um[contact, 1] - places_um[place, 1]) <= reach_um:
                found[place, slot] = contact
                slot += 1
