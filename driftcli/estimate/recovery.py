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
from driftcli.reporter import Reporter

_STEP_UM, _SIGMA_UM = 2.5, 5.0  # cells along depth, and what they are smoothed by
_STEP_LOG, _SIGMA_LOG = 0.1, 0.12  # the same of the amplitudes' natural logarithms
_OUTER = 0.1  # percent of the amplitudes at either end that share the outermost cells
_MOST_LOG = 4.6  # amplitudes of more than a hundred times the smallest share cells, too
_MOST_PEAKS = 500  # of a block that are laid over the others
_BACKGROUND_HZ = 0.1  # peaks a second in the space of one unit that are no unit's
_OFFSET_UM = 5.0  # between moves that are tried
_SLOPES_UM = np.arange(-60.0, 61.0, 10.0)  # of either end, beside the middle
_LEAST_UM = 10.0  # smaller moves are found anyway
# What a move has to gain: a fixed amount, and an amount for each peak that it moves, the larger the farther it goes.
_LEAST_GAIN, _GAIN, _FAR_GAIN, _FAR_UM = 10.0, 0.3, 0.05, 20.0


def proposal(peaks: DepthPeaks, coarse: Motion, layout: Layout, reporter: Reporter) -> Motion | None:
    """The coarse motion with blocks moved; None if all blocks are best where they are."""
    cells, moves = _Cells.of(peaks, layout), _Moves.of(layout)
    image, seen_s = np.zeros(cells.shape), 0.0
    moved_um = np.zeros((layout.n_blocks, layout.n_windows))
    for block in range(layout.n_blocks):
        here, share = _Block.of(peaks, coarse, layout, cells, block)
        if block:
            moved_um[block] = moved_um[block - 1]
            here.move(moved_um[block])
            step_um = coarse.displacement_um[block] - coarse.displacement_um[block - 1]
            moved_um[block] += here.moved_to_fit(cells.worth(image, seen_s), cells.first_um, moves, step_um)
        image += cells.smoothed(here)
        seen_s += share * layout.block_s
        reporter.progress("estimate", block + 1, layout.n_blocks)
    if not moved_um.any():
        return None
    return Motion(coarse.displacement_um + moved_um, coarse.temporal_bins_s, coarse.spatial_bins_um)


def proposal_bytes(layout: Layout) -> float:
    """What a proposal takes at most, the peaks aside."""
    n_cells = (int(_MOST_LOG / _STEP_LOG) + 2) * _n_columns(layout)
    n_moves = (2 * layout.max_lag + 1) * (len(_SLOPES_UM) + layout.n_windows)
    return 8.0 * (4 * n_cells + 4 * (n_moves + layout.n_blocks) * layout.n_windows)


@dataclass(frozen=True)
class _Moves:
    """By how much windows are moved: all along straight lines, and each on its own.

    offsets_um: (O,) that are tried with each line, of the middle, and with each window. slopes_um: (S,) of the lines,
    at either end. all_um: (M, W) of each window in each move: offsets of the first line, of the next one, then of the
    first window and so on. sizes_um: (M,) the largest of them. farthest_um: that a block may go from the one before.
    """

    offsets_um: NDArray[np.float64]
    slopes_um: NDArray[np.float64]
    all_um: NDArray[np.float64]
    sizes_um: NDArray[np.float64]
    farthest_um: float

    @classmethod
    def of(cls, layout: Layout) -> _Moves:
        farthest_um, n_windows = layout.max_lag * _OFFSET_UM, layout.n_windows
        offsets_um = np.arange(-farthest_um, farthest_um + _OFFSET_UM / 2, _OFFSET_UM)
        slopes_um = _SLOPES_UM if n_windows > 1 else np.zeros(1)
        place = np.linspace(-1, 1, n_windows) if n_windows > 1 else np.zeros(1)
        lines = offsets_um[None, :, None] + slopes_um[:, None, None] * place
        # of two windows, straight lines are all that there is
        single = offsets_um[None, :, None] * np.eye(n_windows if n_windows > 2 else 0, n_windows)[:, None]
        all_um = np.concatenate([lines.reshape(-1, n_windows), single.reshape(-1, n_windows)])
        return cls(offsets_um, slopes_um, all_um, np.abs(all_um).max(axis=1), farthest_um)


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
        low, high = 0.0, 0.0
        if len(sizes):
            low, high = np.log(np.percentile(sizes, (_OUTER, 100 - _OUTER), overwrite_input=True))
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

    def worth(self, image: NDArray[np.float64], seen_s: float) -> NDArray[np.float64]:
        """What a peak in each cell is worth, after so many seconds: its log likelihood beside that of background."""
        hump = 2 * np.pi * (_SIGMA_UM / _STEP_UM) * (_SIGMA_LOG / _STEP_LOG)  # cells of one unit
        worth: NDArray[np.float64] = np.log1p(image / (_BACKGROUND_HZ * seen_s / hump))
        return worth


@dataclass
class _Block:
    """Some peaks of a block.

    rows: (N,) of the cells. depth_um: (N,) corrected. windows, shares: (N,) the window before each, and the share of
    the next one.
    """

    rows: NDArray[np.int64]
    depth_um: NDArray[np.float64]
    windows: NDArray[np.int64]
    shares: NDArray[np.float64]

    @classmethod
    def of(cls, peaks: DepthPeaks, coarse: Motion, layout: Layout, cells: _Cells, block: int) -> tuple[_Block, float]:
        """The block, and the share of its peaks that it has."""
        last = block == layout.n_blocks - 1
        first, end = np.searchsorted(peaks.time_s, (block * layout.block_s, (block + 1) * layout.block_s))
        between = slice(first, None if last else end)
        depth_um, (lowest_um, highest_um) = peaks.depth_um[between], layout.span_um
        inside = first + np.flatnonzero((depth_um > lowest_um) & (depth_um < highest_um))
        share = min(_MOST_PEAKS / max(len(inside), 1), 1.0)
        chosen = inside if share == 1 else inside[np.linspace(0, len(inside) - 1, _MOST_PEAKS).astype(np.int64)]
        time_s, depth_um = peaks.time_s[chosen], peaks.depth_um[chosen]
        windows, shares = _between(depth_um, layout.centres_um)
        rows, corrected_um = cells.rows(peaks.amplitude[chosen]), depth_um - coarse.at(time_s, depth_um)
        return cls(rows, corrected_um, windows, shares), share

    def move(self, moved_um: NDArray[np.float64]) -> None:
        """moved_um: (W,) more displacement of each window."""
        after = np.minimum(self.windows + 1, len(moved_um) - 1)
        self.depth_um -= moved_um[self.windows] * (1 - self.shares) + moved_um[after] * self.shares

    def moved_to_fit(
        self, worth: NDArray[np.float64], first_um: float, moves: _Moves, step_um: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """(W,) by how much the windows were moved, the best move first, until none gains enough.

        step_um: (W,) since the block before; moves that make that of any window too large are none.
        """
        moved_um = np.zeros(len(step_um))
        asked = _GAIN + _FAR_GAIN * np.log1p((moves.sizes_um / _FAR_UM) ** 2)
        for _ in range(2 * len(moved_um)):
            gains, shares = self._gains(worth, first_um, moves)
            gains -= asked * shares + _LEAST_GAIN
            too_far = np.abs(step_um + moved_um + moves.all_um).max(axis=1) > moves.farthest_um
            gains[too_far | (moves.sizes_um < _LEAST_UM)] = -np.inf
            best = int(np.argmax(gains))
            if gains[best] <= 0:
                break
            self.move(moves.all_um[best])
            moved_um += moves.all_um[best]
        return moved_um

    def _gains(
        self, worth: NDArray[np.float64], first_um: float, moves: _Moves
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(M,) what each move gains, and the distance that it moves all peaks together, in units of its largest."""
        gains, distances_um = np.zeros(len(moves.all_um)), np.zeros(len(moves.all_um))
        n_windows = moves.all_um.shape[1]
        peaks, tried_um = (self.rows, self.depth_um, self.windows, self.shares), (moves.offsets_um, moves.slopes_um)
        _add_gains(peaks, n_windows, first_um, worth, tried_um, gains, distances_um)
        return gains, distances_um / np.maximum(moves.sizes_um, _LEAST_UM)


def _between(
    depth_um: NDArray[np.float64], centres_um: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The window before each depth and the share of the next one; depths beyond the outermost belong to these."""
    if len(centres_um) == 1:
        return np.zeros(len(depth_um), np.int64), np.zeros(len(depth_um))
    place = np.clip((depth_um - centres_um[0]) / (centres_um[1] - centres_um[0]), 0, len(centres_um) - 1)
    windows = np.minimum(place.astype(np.int64), len(centres_um) - 2)
    return windows, place - windows


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
    """Between two cells; 0 beyond them."""
    if not 0 <= place < worth.shape[1] - 1:
        return 0.0
    column = int(place)
    return worth[row, column] + (worth[row, column + 1] - worth[row, column]) * (place - column)


@numba.njit(nogil=True, cache=True)
def _add_gains(peaks, n_windows, first_um, worth, tried_um, gains, distances_um):  # type: ignore[no-untyped-def]
    """Add what each peak gains by each of `_Moves`, and how far it is moved."""
    offsets_um, slopes_um = tried_um
    n_offsets, n_lines = len(offsets_um), len(offsets_um) * len(slopes_um)
    for i in range(len(peaks[0])):
        row, window, share = peaks[0][i], peaks[2][i], peaks[3][i]
        here = (peaks[1][i] - first_um) / _STEP_UM
        now = _worth(worth, row, here)
        place = 2 * (window + share) / (n_windows - 1) - 1 if n_windows > 1 else 0.0
        for s in range(len(slopes_um)):
            for o in range(n_offsets):
                by_um = offsets_um[o] + slopes_um[s] * place
                gains[s * n_offsets + o] += _worth(worth, row, here - by_um / _STEP_UM) - now
                distances_um[s * n_offsets + o] += abs(by_um)
        if n_windows <= 2:
            continue
        for beside in range(2):
            part = share if beside else 1 - share
            first = n_lines + (window + beside) * n_offsets
            for o in range(n_offsets):
                by_um = offsets_um[o] * part
                gains[first + o] += _worth(worth, row, here - by_um / _STEP_UM) - now
                distances_um[first + o] += abs(by_um)
