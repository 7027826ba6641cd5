"""Rates that rise and fall: whole depths burst while others are silent.

A modulated unit fires evenly on a clock of its own, which runs fast while its rate is high and hardly at all while it
is silent (time rescaling: Brown et al. 2002, Neural Computation 14, 325-346).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_LAYER_UM = 150.0  # of depth that rises and falls together
_PERIOD_S = (60.0, 120.0)
_SWING = 1.8  # of the logarithm of the rate to either side: the highest is 37 times the lowest
_SILENCE_S = (5.0, 20.0)
_BETWEEN_SILENCES_S = 60.0  # on average, from the start of one to that of the next
_SILENT = 1e-3  # what is left of the rate
_STEP_S = 0.1


class Clocks(NamedTuple):
    """What the clock of each unit shows: clock_s (U, T) at the true times_s (T,), linear in between."""

    times_s: NDArray[np.float64]
    clock_s: NDArray[np.float64]

    def true_s(self, unit: int, clock_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """The times at which a unit's clock shows `clock_s` (N,)."""
        return np.interp(clock_s, self.clock_s[unit], self.times_s)


def draw_clocks(depths_um: NDArray[np.float64], duration_s: float, rng: np.random.Generator) -> Clocks:
    """Clocks of units at these depths (U,); over the whole duration each runs as long as a true one."""
    times_s = np.linspace(0, duration_s, int(np.ceil(duration_s / _STEP_S)) + 1)
    layers, layer = np.unique(np.floor(depths_um / _LAYER_UM), return_inverse=True)
    passed = np.zeros((len(layers), len(times_s)))
    for each in range(len(layers)):
        passed[each, 1:] = np.cumsum(_layer_rate(times_s[:-1], duration_s, rng))
    return Clocks(times_s, (duration_s * passed / passed[:, -1:])[layer])


def _layer_rate(times_s: NDArray[np.float64], duration_s: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """A slow swing with sudden silences."""
    rate = np.exp(_SWING * np.sin(2 * np.pi * (times_s / rng.uniform(*_PERIOD_S) + rng.uniform())))
    for start_s in rng.uniform(0, duration_s, rng.poisson(duration_s / _BETWEEN_SILENCES_S)):
        rate[(times_s >= start_s) & (times_s < start_s + rng.uniform(*_SILENCE_S))] = _SILENT
    return rate
