"""Blocks that the coarse motion has put in a wrong place, found again.

Windows of the coarse motion are wide, as few peaks say little. Where the tissue jumps and stretches at once, or where
few units are left, a window may match at a wrong depth, and with it all the time that follows. So each block is laid
over the density of all blocks before it. Where it fits there far better if it is moved, all depths along a straight
line or those of a single window, then it and all later blocks are. That is a proposal only: blocks that are wrong
themselves may draw others after them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from driftcli.estimate.blocks import Layout
from driftcli.model import DepthPeaks, Motion

_STEP_UM, _SIGMA_UM = 2.5, 5.0  # cells along depth, and what they are smoothed by
_STEP_LOG, _SIGMA_LOG = 0.1, 0.12  # the same of the amplitudes' natural logarithms
_OUTER = 0.1  # percent of the amplitudes at either end that share the outermost cells
_MOST_LOG = 4.6  # amplitudes of more than a hundred times the smallest share cells, too
_MOST_PEAKS = 500  # of a block that are laid over the others
_BACKGROUND_HZ = 0.1  # peaks a second in the space of one unit that are no unit's
_OFFSET_UM = 5.0  # between moves that are tried
_SLOPES_UM = np.arange(-60.0, 61.0, 10.0)  # of either end, beside the middle
_LEAST_UM = 10.0  # smaller moves are found anyway
# What a move has to gain: so much, so much for each peak that it moves, and that by how far it goes.
_LEAST_GAIN, _GAIN, _FAR_GAIN, _FAR_UM = 10.0, 0.3, 0.05, 20.0


def proposal(peaks: DepthPeaks, coarse: Motion, layout: Layout) -> Motion | None:
    """The coarse motion with blocks moved; None if all blocks are best where they are."""
    cells = _Cells.of(peaks, layout)
    moves_um = _moves_um(layout)
    image, moved_um = np.zeros(cells.shape), np.zeros(layout.n_windows)
    all_moved_um = np.zeros((layout.n_blocks, layout.n_windows))
    for block in range(layout.n_blocks):
        here = _Block.of(peaks, coarse, layout, cells, block)
        here.move(moved_um)
        if block:
            fit, step_um = (
                cells.fit(image, block * layout.block_s),
                np.diff(coarse.displacement_um[block - 1 : block + 1], axis=0),
            )
            moved_um = moved_um + here.moved_to_fit(fit, moves_um, step_um[0], layout.max_lag * _OFFSET_UM)
        all_moved_um[block] = moved_um
        image += cells.smoothed(here)
    if not all_moved_um.any():
        return None
    return Motion(coarse.displacement_um + all_moved_um, coarse.temporal_bins_s, coarse.spatial_bins_um)


def proposal_bytes(layout: Layout) -> float:
    """What a proposal takes at most, the peaks aside."""
    n_rows, n_columns = int(_MOST_LOG / _STEP_LOG) + 2, _n_columns(layout)
    return 8.0 * (5 * n_rows * n_columns + 4 * layout.n_blocks * layout.n_windows)


def _moves_um(layout: Layout) -> NDArray[np.float64]:
    """(M, W) by how much each window is moved."""
    farthest_um = layout.max_lag * _OFFSET_UM
    offsets_um = np.arange(-farthest_um, farthest_um + _OFFSET_UM / 2, _OFFSET_UM)
    place = np.linspace(-1, 1, layout.n_windows) if layout.n_windows > 1 else np.zeros(1)
    slopes_um = _SLOPES_UM if layout.n_windows > 1 else np.zeros(1)
    lines = (offsets_um[:, None, None] + slopes_um[:, None] * place).reshape(-1, layout.n_windows)
    # of two windows, straight lines are all that there is
    single = np.eye(layout.n_windows if layout.n_windows > 2 else 0, layout.n_windows)
    moves_um = np.concatenate([lines, (offsets_um[:, None, None] * single).reshape(-1, layout.n_windows)])
    return moves_um[np.abs(moves_um).max(axis=1) >= _LEAST_UM]


def _n_columns(layout: Layout) -> int:
    return int((layout.span_um[1] - layout.span_um[0] + 2 * _beyond_um(layout)) / _STEP_UM) + 2


def _beyond_um(layout: Layout) -> float:
    return layout.max_lag * _OFFSET_UM + _SLOPES_UM[-1]


@dataclass(frozen=True)
class _Cells:
    """Amplitudes by depths. first_log, first_um: lower ends of the first ones."""

    first_log: float
    first_um: float
    shape: tuple[int, int]

    @classmethod
    def of(cls, peaks: DepthPeaks, layout: Layout) -> _Cells:
        sizes = np.abs(peaks.amplitude)
        sizes = sizes[sizes > 0]
        low, high = np.log(np.percentile(sizes, (_OUTER, 100 - _OUTER), overwrite_input=True)) if len(sizes) else (0, 0)
        n_rows = int(min(high - low, _MOST_LOG) / _STEP_LOG) + 1
        return cls(low, layout.span_um[0] - _beyond_um(layout), (n_rows, _n_columns(layout)))

    def rows(self, amplitude: NDArray[np.float64]) -> NDArray[np.int64]:
        logs = np.log(np.maximum(np.abs(amplitude), np.exp(self.first_log)))
        rows: NDArray[np.int64] = np.minimum((logs - self.first_log) / _STEP_LOG, self.shape[0] - 1).astype(np.int64)
        return rows

    def smoothed(self, block: _Block) -> NDArray[np.float64]:
        """The peaks of a block by cell."""
        image = np.zeros(self.shape)
        _count(block.rows, block.depth_um, self.first_um, image)
        gaussian_filter1d(image, _SIGMA_LOG / _STEP_LOG, axis=0, mode="nearest", output=image)
        gaussian_filter1d(image, _SIGMA_UM / _STEP_UM, axis=1, mode="constant", output=image)
        return image

    def fit(self, image: NDArray[np.float64], seen_s: float) -> _Fit:
        """What a peak in each cell is worth, after so many seconds: its log likelihood beside that of background."""
        hump = 2 * np.pi * (_SIGMA_UM / _STEP_UM) * (_SIGMA_LOG / _STEP_LOG)  # cells of one unit
        return _Fit(self.first_um, np.log1p(image / (_BACKGROUND_HZ * seen_s / hump)))


@dataclass(frozen=True)
class _Fit:
    first_um: float
    worth: NDArray[np.float64]


@dataclass
class _Block:
    """Some peaks of a block.

    depth_um: corrected. windows, shares: the window before each, and the share of the next one.
    """

    rows: NDArray[np.int64]
    depth_um: NDArray[np.float64]
    windows: NDArray[np.int64]
    shares: NDArray[np.float64]

    @classmethod
    def of(cls, peaks: DepthPeaks, coarse: Motion, layout: Layout, cells: _Cells, block: int) -> _Block:
        ends_s = np.array([block, block + 1]) * layout.block_s
        first, last = np.searchsorted(peaks.time_s, ends_s)
        inside = (peaks.depth_um[first:last] > layout.span_um[0]) & (peaks.depth_um[first:last] < layout.span_um[1])
        chosen = first + np.flatnonzero(inside)
        if len(chosen) > _MOST_PEAKS:
            chosen = chosen[np.linspace(0, len(chosen) - 1, _MOST_PEAKS).astype(np.int64)]
        time_s, depth_um, centres_um = peaks.time_s[chosen], peaks.depth_um[chosen], layout.centres_um
        spacing_um = centres_um[1] - centres_um[0] if len(centres_um) > 1 else 1.0
        place = np.clip((depth_um - centres_um[0]) / spacing_um, 0, len(centres_um) - 1)
        windows = np.minimum(place.astype(np.int64), max(len(centres_um) - 2, 0))
        shares = place - windows if len(centres_um) > 1 else np.zeros(len(place))
        return cls(cells.rows(peaks.amplitude[chosen]), depth_um - coarse.at(time_s, depth_um), windows, shares)

    def move(self, moved_um: NDArray[np.float64]) -> None:
        """moved_um: (W,) more displacement of each window."""
        after = np.minimum(self.windows + 1, len(moved_um) - 1)
        self.depth_um -= moved_um[self.windows] * (1 - self.shares) + moved_um[after] * self.shares

    def moved_to_fit(
        self, fit: _Fit, moves_um: NDArray[np.float64], step_um: NDArray[np.float64], farthest_um: float
    ) -> NDArray[np.float64]:
        """(W,) by how much the windows were moved, the best move first, until none gains enough.

        step_um: (W,) since the block before; moves that make any window's larger than `farthest_um` are none.
        """
        moved_um = np.zeros(moves_um.shape[1])
        of_each_um = np.abs(moves_um).max(axis=1)
        asked = _GAIN + _FAR_GAIN * np.log1p((of_each_um / _FAR_UM) ** 2)
        for _ in range(2 * len(moved_um)):
            gains, shares = np.zeros(len(moves_um)), np.zeros(len(moves_um))
            _gains(
                self.rows, self.depth_um, self.windows, self.shares, fit.first_um, fit.worth, moves_um, gains, shares
            )
            gains -= asked * shares / of_each_um + _LEAST_GAIN
            gains[np.abs(step_um + moved_um + moves_um).max(axis=1) > farthest_um] = -np.inf
            best = int(np.argmax(gains)) if len(gains) else -1
            if best < 0 or gains[best] <= 0:
                break
            self.move(moves_um[best])
            moved_um += moves_um[best]
        return moved_um


@numba.njit(nogil=True, cache=True)
def _count(rows, depth_um, first_um, image):  # type: ignore[no-untyped-def]
    """Share each peak between the cells before and after it."""
    for i in range(len(rows)):
        place = (depth_um[i] - first_um) / _STEP_UM
        if 0 <= place < image.shape[1] - 1:
            column = int(place)
            image[rows[i], column] += 1 - (place - column)
            image[rows[i], column + 1] += place - column


@numba.njit(nogil=True, cache=True)
def _worth(worth, row, place):  # type: ignore[no-untyped-def]
    if not 0 <= place < worth.shape[1] - 1:
        return 0.0
    column = int(place)
    return worth[row, column] + (worth[row, column + 1] - worth[row, column]) * (place - column)


@numba.njit(nogil=True, cache=True)
def _gains(rows, depth_um, windows, shares, first_um, worth, moves_um, gains, moved_um):  # type: ignore[no-untyped-def]
    """What each move (M, W) gains, and how far it moves all peaks together."""
    last = moves_um.shape[1] - 1
    for i in range(len(rows)):
        here = (depth_um[i] - first_um) / _STEP_UM
        before, after, share = windows[i], min(windows[i] + 1, last), shares[i]
        now = _worth(worth, rows[i], here)
        for m in range(len(moves_um)):
            by_um = moves_um[m, before] * (1 - share) + moves_um[m, after] * share
            if by_um != 0:
                gains[m] += _worth(worth, rows[i], here - by_um / _STEP_UM) - now
                moved_um[m] += abs(by_um)
