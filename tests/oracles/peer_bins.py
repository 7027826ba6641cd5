"""Which displacement SpikeInterface 0.105.3's `interpolate_motion` takes at a time, by its defaults, spelled out.

Edges: the first centre, halfway between centres, the last centre. The bin of a time is that whose edges are around it,
clipped to the first and last. The displacement is the motion's, linear between centres, halfway between those edges.
"""

from itertools import pairwise

import numpy as np


def displacement_um(times_s, centres_s, displacement):
    """(N, W) displacement at each of (N,) times; displacement: (T, W)."""
    edges = [centres_s[0], *((a + b) / 2 for a, b in pairwise(centres_s)), centres_s[-1]]
    out = []
    for time_s in times_s:
        number = 0
        while number < len(edges) - 2 and edges[number + 1] <= time_s:
            number += 1
        middle = (edges[number] + edges[number + 1]) / 2
        out.append([np.interp(middle, centres_s, window) for window in np.transpose(displacement)])
    return np.array(out)
