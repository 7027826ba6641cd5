"""The tissue as an estimate sees it: how densely peaks lie in depth and log amplitude once the motion is taken out.

A unit is a hump in that density. A peak beside a hump says which way it has moved, and how surely: that is the slope of
the log density at its place, and what it is worth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from driftcli.model import DepthPeaks

_LOGS_PER_SIGMA = 2.4  # cells of log amplitude; those of depth are half a sigma
_OUTER = 0.1  # percent of the amplitudes at either end that share the outermost cells
_BEYOND_SIGMAS = 8  # cells beyond the depths that peaks can get to
_UNIT_UM = 2.0  # how far the positions of one unit scatter, about: a hump is as large as that and the smoothing
_TRUNCATE = 4.0  # where the Gaussians end, in sigmas
_NOTHING = 1e-12  # peaks a cell
_NARROWEST = 0.1  # of depths corrected to depths as found: no tissue is pressed together like that
_FIELDS = 7  # arrays of all cells that there are at once
_LOGS = 4.6  # range of log amplitudes that are told apart: a hundredfold; memory is reckoned for it


@dataclass(frozen=True)
class TissueParameters:
    """What the density is made with; see the method's `Parameters`."""

    depth_sigma_um: float
    amplitude_sigma: float
    background_hz: float
    saturation_hz: float
    border_um: float


@dataclass(frozen=True)
class Nodes:
    """Where the displacement is told: bins of time, each one value throughout, and depths, straight between them.

    bin_s: length of a bin, from 0 s on. depths_um: (W,) float64, evenly spaced, ascending.
    """

    n_bins: int
    bin_s: float
    depths_um: NDArray[np.float64]

    @property
    def spacing_um(self) -> float:
        return float(self.depths_um[1] - self.depths_um[0]) if len(self.depths_um) > 1 else 1.0

    @property
    def grid(self) -> tuple[float, float, float]:
        """Length of a bin, the first depth and the distance to the next one: what kernels need."""
        return self.bin_s, float(self.depths_um[0]), self.spacing_um


@dataclass(frozen=True)
class Bands:
    """What the peaks of each band of depths say, in each stay, of the motion that they were corrected by.

    A stay is a stretch of time in which the tissue is nearly in one place. In each, a band has a push, the gradient of
    the log likelihood if the band were displaced by more, in 1/µm, and a hold, its curvature in 1/µm²: the larger, the
    surer. These are sums over stays.

    depths_um: (D,) float64, middles of the bands, corrected. pushes, holds: (D,). squares: (D,) of push² / hold.
    scatter: (D,) of what these would be if each peak was misplaced on its own. squared_holds: (D,) of hold². crowds:
    (D,) of hold² / that of all bands.
    """

    n_stays: int
    depths_um: NDArray[np.float64]
    pushes: NDArray[np.float64]
    holds: NDArray[np.float64]
    squares: NDArray[np.float64]
    scatter: NDArray[np.float64]
    squared_holds: NDArray[np.float64]
    crowds: NDArray[np.float64]

    @property
    def freedom(self) -> NDArray[np.float64]:
        """(D,) share of the misplacement that shows beside the mean of all stays; 0 of a band that is seen in one."""
        return np.where(self.holds > 0, 1 - self.squared_holds / np.maximum(self.holds, _NOTHING) ** 2, 0.0)

    @property
    def concentration(self) -> NDArray[np.float64]:
        """(D,) mean square of what a band has of all holds of a stay, by its square mean: 1 if that is always alike."""
        return self.crowds * self.holds.sum() / np.maximum(self.holds, _NOTHING) ** 2


@dataclass(frozen=True)
class Tissue:
    """Peaks of one shank, and the cells in which they are counted.

    span_um: of the contacts. lowest_um, lowest_log, step_um, step_log: the first cell's centre and the distance to the
    next one. shape: (amplitudes, depths).
    """

    peaks: DepthPeaks
    nodes: Nodes
    span_um: tuple[float, float]
    parameters: TissueParameters
    lowest_um: float
    lowest_log: float
    step_um: float
    step_log: float
    shape: tuple[int, int]

    @classmethod
    def of(
        cls,
        peaks: DepthPeaks,
        nodes: Nodes,
        span_um: tuple[float, float],
        farthest_um: float,
        parameters: TissueParameters,
    ) -> Tissue:
        """farthest_um: by how much a displacement may exceed what the contacts span, either way.

        Amplitudes of more than a hundred times the smallest, or so, count as that.
        """
        step_um, step_log = parameters.depth_sigma_um / 2, parameters.amplitude_sigma / _LOGS_PER_SIGMA
        beyond_um = _beyond_um(farthest_um, parameters)
        amplitude = np.abs(peaks.amplitude)
        outer, positive = (_OUTER, 100 - _OUTER), amplitude[amplitude > 0]
        first_log, last_log = np.log(np.percentile(positive, outer, overwrite_input=True)) if len(positive) else (0, 0)
        lowest_um, lowest_log = span_um[0] - beyond_um, first_log - 2 * parameters.amplitude_sigma
        shape = _shape(span_um, farthest_um, min(last_log - first_log, _LOGS), parameters)
        return cls(peaks, nodes, span_um, parameters, lowest_um, lowest_log, step_um, step_log, shape)

    def evidence(
        self, displacement_um: NDArray[np.float64], sigma_um: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What the peaks say of a displacement (T, W), the density smoothed by `sigma_um` along depth.

        Returns the slope of their log likelihood by each displacement, (T, W) float64 in 1/µm, and how it bends:
        (T, W, 2) float64 in 1/µm², of each displacement itself and of it with its deeper neighbour's.
        """
        slopes, bends = np.zeros(displacement_um.shape), np.zeros((*displacement_um.shape, 2))
        _add_up(self._witnesses(displacement_um, sigma_um), slopes, bends)
        return slopes, bends

    def likelihood(self, displacement_um: NDArray[np.float64], sigma_um: float) -> float:
        """Mean log density of the peaks under a displacement (T, W), in cells; the larger, the more they pile up.

        It is that of depths as found: tissue that is pressed together by a correction isn't denser for that.
        """
        density = self._density(displacement_um, sigma_um)
        logarithm = np.log(density + self._floor(sigma_um))
        return float(_mean_at(self._arrays, displacement_um, self.nodes.grid, self._cells, logarithm))

    def by_band(
        self, displacement_um: NDArray[np.float64], sigma_um: float, stays: NDArray[np.int64], band_um: float
    ) -> Bands:
        """What `evidence` tells, by bands of `band_um` of the corrected depths. stays: (T,) of the bins, ascending."""
        n_bands = int(self.shape[1] * self.step_um / band_um) + 1
        sums, of_stay = np.zeros((6, n_bands)), np.zeros((3, n_bands))
        _add_up_bands(self._witnesses(displacement_um, sigma_um), stays, band_um, of_stay, sums)
        middles = np.arange(n_bands, dtype=np.float64) + 0.5
        return Bands(int(stays[-1]) + 1, self.lowest_um + band_um * middles, *sums)

    def _witnesses(self, displacement_um: NDArray[np.float64], sigma_um: float) -> tuple[Any, ...]:
        """The peaks, the displacement and all that `_says` needs: grid, cells, contacts and fields."""
        fields = self._fields(self._density(displacement_um, sigma_um), sigma_um)
        contacts = *self.span_um, self.parameters.border_um
        return self._arrays, displacement_um, self.nodes.grid, self._cells, contacts, fields

    @property
    def _arrays(self) -> tuple[NDArray[np.float64], ...]:
        return self.peaks.time_s, self.peaks.depth_um, self.peaks.amplitude

    @property
    def _cells(self) -> tuple[float, float, float, float]:
        return self.lowest_um, self.step_um, self.lowest_log, self.step_log

    def _density(self, displacement_um: NDArray[np.float64], sigma_um: float) -> NDArray[np.float64]:
        """(amplitudes, depths) peaks a cell, smoothed."""
        density = np.zeros(self.shape)
        peaks, places = self.peaks, (displacement_um, self.nodes.grid, self._cells)
        _count(peaks.time_s, peaks.depth_um, peaks.amplitude, *places, density)
        sigma_log = self.parameters.amplitude_sigma / self.step_log
        gaussian_filter1d(density, sigma_log, axis=0, mode="nearest", truncate=_TRUNCATE, output=density)
        return self._smooth(density, sigma_um)

    def _fields(self, density: NDArray[np.float64], sigma_um: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Slope of the log density in each cell, and what the log likelihood of a peak there bends by on average.

        A unit that fires often counts hardly more than one that fires less: the error of its position is the same for
        all its peaks. Where there is little more than background, there is little slope.
        """
        weight = 1 / (1 + density * self._hump(sigma_um) / self._duration_s / self.parameters.saturation_hz)
        floor = self._floor(sigma_um)
        slope = np.gradient(density, self.step_um, axis=1) / (density + floor)
        # averaged over a hump: the square itself is 0 at the hump's top
        bend = self._smooth(density * slope**2, sigma_um) / np.maximum(self._smooth(density, sigma_um), _NOTHING)
        return weight * slope, weight * bend / _share_of_bend(sigma_um)

    def _floor(self, sigma_um: float) -> float:
        """Density of the background."""
        return self.parameters.background_hz * self._duration_s / self._hump(sigma_um)

    def _hump(self, sigma_um: float) -> float:
        """Cells that the hump of one unit takes, in the units of the density."""
        along_um = float(np.hypot(sigma_um, _UNIT_UM))
        return 2 * np.pi * along_um / self.step_um * self.parameters.amplitude_sigma / self.step_log

    @property
    def _duration_s(self) -> float:
        return self.nodes.n_bins * self.nodes.bin_s

    def _smooth(self, cells: NDArray[np.float64], sigma_um: float) -> NDArray[np.float64]:
        smoothed: NDArray[np.float64] = gaussian_filter1d(
            cells, sigma_um / self.step_um, axis=1, mode="constant", truncate=_TRUNCATE
        )
        return smoothed


def _share_of_bend(sigma_um: float) -> float:
    """What the average over a hump has of how a Gaussian hump bends, from a half (smooth) to all of it (sharp).

    Too small a bend is too long a step: at a half, peaks would go back and forth over the hump's top.
    """
    unit, smoothing = _UNIT_UM**2, sigma_um**2
    hump = unit + smoothing
    return smoothing / (hump + smoothing) + unit * hump / (hump + smoothing) ** 2


def cells_bytes(span_um: tuple[float, float], farthest_um: float, parameters: TissueParameters) -> float:
    """What the density and what is made of it take at most."""
    n_logs, n_depths = _shape(span_um, farthest_um, _LOGS, parameters)
    return 8.0 * _FIELDS * n_logs * n_depths


def _beyond_um(farthest_um: float, parameters: TissueParameters) -> float:
    return farthest_um + _BEYOND_SIGMAS * parameters.depth_sigma_um


def _shape(
    span_um: tuple[float, float], farthest_um: float, logs: float, parameters: TissueParameters
) -> tuple[int, int]:
    """How many cells there are along amplitude, whose logarithms range over `logs`, and along depth."""
    along_um = span_um[1] - span_um[0] + 2 * _beyond_um(farthest_um, parameters)
    n_logs = int((logs / parameters.amplitude_sigma + 4) * _LOGS_PER_SIGMA) + 2
    return n_logs, int(2 * along_um / parameters.depth_sigma_um) + 2


@numba.njit(nogil=True, cache=True)
def _split(value, first, step, count):  # type: ignore[no-untyped-def]
    """The node at or before a value and the share of the next one; values beyond the ends belong to the ends."""
    place = (value - first) / step
    if not place > 0 or count == 1:
        return 0, 0.0
    index = int(place)
    if index >= count - 1:
        return count - 2, 1.0
    return index, place - index


@numba.njit(nogil=True, cache=True)
def _corrected(time_s, depth_um, displacement_um, grid):  # type: ignore[no-untyped-def]
    """Bin of a peak, the node before it, the share of the next one, and its depth less the displacement there."""
    bin_s, first_um, spacing_um = grid
    n_bins, n_windows = displacement_um.shape
    t = min(int(time_s / bin_s), n_bins - 1)
    w, share = _split(depth_um, first_um, spacing_um, n_windows)
    moved_um = displacement_um[t, w] * (1 - share)
    if share > 0:
        moved_um += displacement_um[t, w + 1] * share
    return t, w, share, depth_um - moved_um


@numba.njit(nogil=True, cache=True)
def _cell(depth_um, amplitude, cells, shape):  # type: ignore[no-untyped-def]
    """Cell of a peak along amplitude and depth and the shares of the next ones; depth -1 beyond the cells."""
    lowest_um, step_um, lowest_log, step_log = cells
    place = (depth_um - lowest_um) / step_um
    column = int(place) if 0 <= place < shape[1] - 1 else -1
    size = abs(amplitude)
    row, row_share = _split(math.log(size) if size > 0 else lowest_log, lowest_log, step_log, shape[0])
    return row, row_share, column, place - column


@numba.njit(nogil=True, cache=True)
def _count(time_s, depth_um, amplitude, displacement_um, grid, cells, density):  # type: ignore[no-untyped-def]
    """Share each peak, at its corrected depth, among the cells around it."""
    for i in range(len(time_s)):
        _, _, _, corrected_um = _corrected(time_s[i], depth_um[i], displacement_um, grid)
        row, v, column, u = _cell(corrected_um, amplitude[i], cells, density.shape)
        if column >= 0:
            density[row, column] += (1 - u) * (1 - v)
            density[row, column + 1] += u * (1 - v)
            density[row + 1, column] += (1 - u) * v
            density[row + 1, column + 1] += u * v


@numba.njit(nogil=True, cache=True)
def _between(field, row, v, column, u):  # type: ignore[no-untyped-def]
    low = field[row, column] * (1 - u) + field[row, column + 1] * u
    return low * (1 - v) + (field[row + 1, column] * (1 - u) + field[row + 1, column + 1] * u) * v


@numba.njit(nogil=True, cache=True)
def _mean_at(peaks, displacement_um, grid, cells, field):  # type: ignore[no-untyped-def]
    """Mean over the peaks of a field where they are, or as low as it gets beyond the cells, and of the logarithm of how
    much wider depths as found are than corrected ones."""
    time_s, depth_um, amplitude = peaks
    spacing_um = grid[2]
    total, least = 0.0, field.min()
    for i in range(len(time_s)):
        t, w, share, corrected_um = _corrected(time_s[i], depth_um[i], displacement_um, grid)
        row, v, column, u = _cell(corrected_um, amplitude[i], cells, field.shape)
        total += _between(field, row, v, column, u) if column >= 0 else least
        if 0 < share < 1:
            narrower = (displacement_um[t, w + 1] - displacement_um[t, w]) / spacing_um
            total += math.log(max(1 - narrower, _NARROWEST))
    return total / max(len(time_s), 1)


@numba.njit(nogil=True, cache=True)
def _says(peak, displacement_um, grid, cells, contacts, fields):  # type: ignore[no-untyped-def]
    """Bin of a peak (time_s, depth_um, amplitude), the node before it, the share of the next one, its corrected depth,
    and what it says: by how much more displacement it would be likelier, and how that bends.

    A larger displacement is a smaller corrected depth, so slopes change their sign. Peaks near the outermost contacts
    count less, and beyond them nothing: nobody sees how far beyond they are.
    """
    time_s, depth_um, amplitude = peak
    lowest_um, highest_um, border_um = contacts
    slope, bend = fields
    t, w, share, corrected_um = _corrected(time_s, depth_um, displacement_um, grid)
    inside_um = min(depth_um - lowest_um, highest_um - depth_um)
    row, v, column, u = _cell(corrected_um, amplitude, cells, slope.shape)
    if inside_um <= 0 or column < 0:
        return t, w, share, corrected_um, 0.0, 0.0
    counts = inside_um / border_um if inside_um < border_um else 1.0
    push = -counts * _between(slope, row, v, column, u)
    hold = counts * _between(bend, row, v, column, u)
    return t, w, share, corrected_um, push, hold


@numba.njit(nogil=True, cache=True)
def _add_up(witnesses, slopes, bends):  # type: ignore[no-untyped-def]
    """Add what each peak says to the displacements on either side of it."""
    (time_s, depth_um, amplitude), displacement_um, grid, cells, contacts, fields = witnesses
    for i in range(len(time_s)):
        peak = time_s[i], depth_um[i], amplitude[i]
        t, w, share, _, push, hold = _says(peak, displacement_um, grid, cells, contacts, fields)
        slopes[t, w] += push * (1 - share)
        bends[t, w, 0] += hold * (1 - share) ** 2
        if share > 0:
            slopes[t, w + 1] += push * share
            bends[t, w + 1, 0] += hold * share**2
            bends[t, w, 1] += hold * share * (1 - share)


@numba.njit(nogil=True, cache=True)
def _add_up_bands(witnesses, stays, band_um, of_stay, sums):  # type: ignore[no-untyped-def]
    """Add what each peak says, and its square, to its band of corrected depths, stay by stay as time goes on.

    of_stay: (3, D) zeros for the push, the hold and the sum of squared pushes of a stay. sums: (6, D), see `Bands`.
    """
    (time_s, depth_um, amplitude), displacement_um, grid, cells, contacts, fields = witnesses
    stay = 0
    for i in range(len(time_s)):
        peak = time_s[i], depth_um[i], amplitude[i]
        t, _, _, corrected_um, push, hold = _says(peak, displacement_um, grid, cells, contacts, fields)
        if hold <= 0:
            continue
        if stays[t] != stay:
            _end_stay(of_stay, sums)
            stay = stays[t]
        band = int((corrected_um - cells[0]) / band_um)
        of_stay[0, band] += push
        of_stay[1, band] += hold
        of_stay[2, band] += push * push
    _end_stay(of_stay, sums)


@numba.njit(nogil=True, cache=True)
def _end_stay(of_stay, sums):  # type: ignore[no-untyped-def]
    """Add what a stay has to the sums over stays, and begin the next one."""
    of_all = of_stay[1].sum()
    for band in range(of_stay.shape[1]):
        push, hold, squares = of_stay[0, band], of_stay[1, band], of_stay[2, band]
        if hold > 0:
            sums[0, band] += push
            sums[1, band] += hold
            sums[2, band] += push * push / hold
            sums[3, band] += squares / hold
            sums[4, band] += hold * hold
            sums[5, band] += hold * hold / of_all
    of_stay[:] = 0.0
