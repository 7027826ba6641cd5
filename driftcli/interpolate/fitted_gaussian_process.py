"""The Gaussian process, and what the recording's own units say beside: weights fitted to their footprints.

The Gaussian process expects footprints of any kind; those of a recording are some of them. Where their second moments
are known, for contacts displaced and at rest, the weights W that make the displaced ones those at rest are

    W = G + (B - G A) (A + R)^-1

with G the weights of the Gaussian process, A the moments of displaced contacts among each other, B those of contacts at
rest with displaced ones. R holds W to G: it is what a unit looks like that nobody saw, by the Gaussian process, and
noise. So W differs from G only where units were seen, and only in what many of them agree on. The differences of a
contact's weights are made to sum to 0: offsets and slow potentials, which no unit tells of, stay what they are in G.

The differences are worked out for displacements some micrometers apart and are linear between; beyond those that were
seen they fall to zero. A contact at rest keeps its own trace, as it does in the Gaussian process.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from driftcli.errors import InputError
from driftcli.interpolate import covariance as common
from driftcli.interpolate import gaussian_process
from driftcli.interpolate import weights as shared
from driftcli.model import Footprints

_SEEN_BINS = 0.5  # past the centre of the last bin: its width; over one more bin the differences fall to zero

# The largest sum of |difference| that may be left out of one corrected trace. It halves the weights, and so the time
# that a correction takes; spikes keep their shape as well to the fourth digit.
_DROPPED = 0.02


class Parameters(gaussian_process.Parameters):
    """Those of `gaussian_process`, and:

    bin_um: width of the bins of displacement that footprints are learned in.
    unseen: how much a unit counts that nobody saw, at every contact, beside 1 for one that was seen; the more, the
        closer the weights stay to those of the Gaussian process.
    trace_noise: the same for noise, of the length that contacts share; the more, the less noise is let through.
    """

    bin_um: float = Field(4.0, ge=1)
    unseen: float = Field(0.1, ge=1e-3)
    trace_noise: float = Field(0.003, ge=0)


class Kernel(gaussian_process.Kernel):
    """Weights for the contacts of one shank; without footprints exactly those of the Gaussian process.

    footprints: of all contacts of the shank. sources: (S,) which of them are the sources; None: all.

    Raises InputError if the footprints are of another number of contacts.
    """

    def __init__(
        self,
        parameters: Parameters,
        positions_um: NDArray[np.float64],
        sources_um: NDArray[np.float64] | None = None,
        footprints: Footprints | None = None,
        sources: NDArray[np.int64] | None = None,
    ) -> None:
        super().__init__(parameters, positions_um, sources_um)
        self._footprints = footprints
        if footprints is not None:
            if len(footprints.neighbours) != len(positions_um):
                raise InputError(
                    f"footprints of {len(footprints.neighbours)} contacts do not fit a shank of {len(positions_um)}",
                    "make them again from this recording, its peaks and its motion",
                )
            sources = np.arange(len(positions_um)) if sources is None else sources
            self._differences = self._fit(parameters, footprints, sources)

    def _predicted(self, displacement_um: NDArray[np.float64], wanted: NDArray[np.bool_]) -> NDArray[np.float64]:
        weights = super()._predicted(displacement_um, wanted)
        if self._footprints is not None:
            bins = displacement_um / self._footprints.bin_um - self._footprints.lowest_bin
            _add_differences(weights, bins, wanted, self._differences, _SEEN_BINS)
        return weights

    def _fit(self, parameters: Parameters, footprints: Footprints, sources: NDArray[np.int64]) -> NDArray[np.float32]:
        """(D, C, S) what to add to the weights of the Gaussian process at each displacement of the footprints."""
        unseen = self._covariance(self._sources_um) + parameters.own_noise * np.eye(len(sources))
        noise = gaussian_process.covary(_noise_only(parameters), self._sources_um, self._sources_um)
        held = parameters.unseen * unseen + parameters.trace_noise * noise
        everywhere = np.ones(len(self._positions_um), bool)
        differences = np.empty((len(footprints.displaced), len(everywhere), len(sources)), np.float32)
        for index in range(len(differences)):
            moved_um = np.full(len(everywhere), (footprints.lowest_bin + index) * footprints.bin_um)
            displaced, resting = footprints.dense(index)
            displaced, resting = displaced[np.ix_(sources, sources)], resting[:, sources]
            missed = resting - _product(super()._predicted(moved_um, everywhere), displaced)
            difference = _product(missed, common.invert_positive_definite(displaced + held))
            shared.drop_smallest(difference, _DROPPED)
            _level(difference)
            differences[index] = difference
        differences[-footprints.lowest_bin, sources] = 0.0
        return differences


def covary(
    parameters: Parameters, targets_um: NDArray[np.float64], sources_um: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(targets, sources) what is expected of footprints and noise before any unit was seen: the Gaussian process."""
    return gaussian_process.covary(parameters, targets_um, sources_um)


def _noise_only(parameters: Parameters) -> Parameters:
    return parameters.model_copy(update={"shared_noise": 1.0})


@numba.njit(nogil=True, cache=True)
def _product(left, right):  # type: ignore[no-untyped-def]
    """The matrix product; zeros on the left, which are most, cost nothing."""
    product = np.zeros((left.shape[0], right.shape[1]))
    for row in range(left.shape[0]):
        for inner in range(left.shape[1]):
            factor = left[row, inner]
            if factor != 0.0:
                for column in range(right.shape[1]):
                    product[row, column] += factor * right[inner, column]
    return product


@numba.njit(nogil=True, cache=True)
def _level(differences):  # type: ignore[no-untyped-def]
    """Have each row sum to 0: what it lacks is shared out among those that are not 0."""
    for target in range(len(differences)):
        row, total, count = differences[target], 0.0, 0
        for source in range(len(row)):
            total += row[source]
            count += row[source] != 0.0
        for source in range(len(row)):
            if row[source] != 0.0:
                row[source] -= total / count


@numba.njit(nogil=True, cache=True)
def _add_differences(weights, bins, wanted, differences, seen_bins):  # type: ignore[no-untyped-def]
    """Add to each wanted row the differences at its displacement, which is in bins from the lowest one."""
    last = len(differences) - 1
    for target in range(len(weights)):
        beyond = max(-bins[target], bins[target] - last)
        share = min(1.0, 1.0 + seen_bins - beyond)
        if wanted[target] and share > 0:
            inside = min(max(bins[target], 0.0), float(last))
            lower = min(int(inside), max(last - 1, 0))
            upper = min(lower + 1, last)
            above = inside - lower
            for source in range(weights.shape[1]):
                difference = (1 - above) * differences[lower, target, source]
                difference += above * differences[upper, target, source]
                weights[target, source] += share * difference
