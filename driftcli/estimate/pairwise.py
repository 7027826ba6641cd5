"""How far apart every two temporal bins of a histogram are along depth, seen through one spatial window.

For temporal bins i and j and each displacement d on the grid of spatial bins, the window-weighted correlation of
bin j's histogram with bin i's, read d further up, is computed; the best d and its correlation are kept. This is the
measure of Varol et al. 2021 and Windolf et al. 2023 as `decentralized` of SpikeInterface 0.105.3 computes it. Here all
pairs of one displacement are one product of matrices, in tiles that fit the cache.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

# Where the window weighs less, it ends.
_WINDOW_ENDS = 1e-5
# A variance below this share of the mean square is rounding, not signal.
_FLAT = 1e-6
# Rows whose means and variances are taken at once, in double precision.
_PIECE_ROWS = 256
_TILE_ROWS = 32
_TILE_COLUMNS = 128
_UNROLLED = 4


@dataclass(frozen=True)
class Pairs:
    """Displacement and correlation of pairs of temporal bins, those within the horizon only.

    Entry [i, k] belongs to bins i and j = first[i] + k; lag says how many spatial bins further up bin i's peaks are.

    lag: (T, width) integers, of one byte where they fit.
    correlation: (T, width) float32; 0 (with a lag of 0) where nothing correlates and beyond the horizon.
    first: (T,) int64.
    bin_um: what a lag of 1 is in µm.
    """

    lag: NDArray[Any]
    correlation: NDArray[np.float32]
    first: NDArray[np.int64]
    bin_um: float


def pair_width(n_bins: int, horizon_bins: int | None) -> int:
    """How many columns hold all pairs of a bin: bins less than the horizon away on either side, None: all bins."""
    return n_bins if horizon_bins is None else min(n_bins, 2 * horizon_bins - 1)


def pairwise_displacements(
    histogram: NDArray[np.float64],
    window: NDArray[np.float64],
    bin_um: float,
    *,
    max_displacement_um: float | None,
    horizon_bins: int | None,
    normalized: bool,
    centered: bool,
    jobs: int = 1,
) -> Pairs:
    """Best displacement of every pair of rows of `histogram` (T, D) within `window` (D,), less than the horizon apart.

    `max_displacement_um` None and values beyond it stand for half the window's width. `normalized` divides by both
    standard deviations, `centered` subtracts both means, each weighted and over the bins that overlap. `jobs` threads
    share the rows.
    """
    within, reach = _within_reach(window, bin_um, max_displacement_um)
    rows, weights = histogram[:, within], window[within]
    n_bins = len(rows)
    moved, still = _measure(rows, weights, reach, normalized, centered)

    n_columns = pair_width(n_bins, horizon_bins)
    horizon = n_bins if horizon_bins is None else horizon_bins
    first = np.clip(np.arange(n_bins) - horizon + 1, 0, n_bins - n_columns)
    lag = np.zeros((n_bins, n_columns), dtype=np.min_scalar_type(-reach - 1))
    correlation = np.zeros((n_bins, n_columns), dtype=np.float32)

    def fill(row: int) -> None:
        _best_pairs(moved, still, horizon, first, row, lag, correlation)

    with ThreadPoolExecutor(jobs) as pool:
        for _ in pool.map(fill, range(0, n_bins, _TILE_ROWS)):
            pass  # an exception in a thread comes out here
    return Pairs(lag, correlation, first, bin_um)


def measure_bytes(n_bins: int, window: NDArray[np.float64], bin_um: float, max_displacement_um: float | None) -> int:
    """What `pairwise_displacements` holds of the histogram's rows while it compares them."""
    within, reach = _within_reach(window, bin_um, max_displacement_um)
    width, n_shifts = within.stop - within.start, 2 * reach + 1
    in_double = min(n_bins, _PIECE_ROWS) * (7 * width + 16 * n_shifts)
    return 4 * n_bins * (2 * width + n_shifts + 4 * n_shifts) + 8 * in_double


def largest_shift(window: NDArray[np.float64], bin_um: float, max_displacement_um: float | None) -> int:
    """The largest displacement that is looked for, in bins."""
    return _within_reach(window, bin_um, max_displacement_um)[1]


def _within_reach(window: NDArray[np.float64], bin_um: float, max_displacement_um: float | None) -> tuple[slice, int]:
    """Where the window is, and how many bins its rows are shifted by."""
    inside = np.flatnonzero(window > _WINDOW_ENDS)
    within = slice(int(inside[0]), int(inside[-1]) + 1)
    reach = (within.stop - within.start) // 2
    return within, reach if max_displacement_um is None else min(reach, int(max_displacement_um // bin_um))


def _measure(
    rows: NDArray[np.float64], weights: NDArray[np.float64], reach: int, normalized: bool, centered: bool
) -> tuple[tuple[NDArray[np.float32], ...], tuple[NDArray[np.float32], ...]]:
    """What the products need of the row that is read further up and of the row that stays.

    Of each its values, one over its standard deviation, and its mean by its standard deviation, at every displacement:
    (T, width + 2 * reach), (T, S), (T, S) of the one, (width, T), (S, T), (S, T) of the other.
    """
    n_bins, width = rows.shape
    padded_width, n_shifts = -(-width // _UNROLLED) * _UNROLLED, 2 * reach + 1
    shifted = np.zeros((n_bins, padded_width + 2 * reach), dtype=np.float32)
    fixed = np.zeros((padded_width, n_bins), dtype=np.float32)
    of_shifted = np.empty((2, n_bins, n_shifts), dtype=np.float32)
    of_fixed = np.empty((2, n_shifts, n_bins), dtype=np.float32)
    for start in range(0, n_bins, _PIECE_ROWS):
        piece = slice(start, start + _PIECE_ROWS)
        values = np.pad(rows[piece], ((0, 0), (reach, padded_width - width + reach)))
        total, moments_fixed, moments_shifted = _moments(rows[piece], weights, values, reach)
        scale, level = _scale_and_level(moments_fixed, total, normalized, centered)
        scale /= total
        shifted[piece] = values
        fixed[:width, piece] = (rows[piece] * weights).T
        of_fixed[:, :, piece] = scale.T, level.T
        of_shifted[:, piece] = _scale_and_level(moments_shifted, total, normalized, centered)
    return (shifted, *of_shifted), (fixed, *of_fixed)


def _moments(
    rows: NDArray[np.float64], weights: NDArray[np.float64], shifted: NDArray[np.float64], reach: int
) -> tuple[NDArray[np.float64], tuple[NDArray[np.float64], ...], tuple[NDArray[np.float64], ...]]:
    """Sum of weights (S,) and weighted sums of values and squares (T, S) for each displacement, where rows overlap.

    The first pair of sums is that of the row that stays, the second that of the row that is read further up.
    """
    width, n_shifts = len(weights), 2 * reach + 1
    # At displacement d bins from max(0, -d) up to min(width, width - d) of the row that stays have a partner.
    shift = np.arange(-reach, reach + 1)
    start, stop = np.maximum(0, -shift), np.minimum(width, width - shift)

    def overlap(values: NDArray[np.float64]) -> NDArray[np.float64]:
        sums = np.concatenate([np.zeros((len(values), 1)), np.cumsum(values, axis=1)], axis=1)
        return sums[:, stop] - sums[:, start]

    total = overlap(weights[None])[0]
    weighted = rows * weights
    fixed = (overlap(weighted), overlap(weighted * rows))
    sums = np.zeros((2, len(rows), n_shifts))
    _sliding_sums(shifted, weights, sums)
    return total, fixed, (sums[0], sums[1])


def _scale_and_level(
    moments: tuple[NDArray[np.float64], ...], total: NDArray[np.float64], normalized: bool, centered: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """1 / standard deviation and mean / standard deviation, (T, S) each; both 0 where the row is flat."""
    mean = moments[0] / total if centered else np.zeros_like(moments[0])
    if not normalized:
        return np.ones_like(mean), mean
    square = moments[1] / total
    variance = square - mean**2
    signal = variance > _FLAT * square
    scale = np.where(signal, 1 / np.sqrt(np.where(signal, variance, 1)), 0)
    return scale, mean * scale


@numba.njit(nogil=True, cache=True)
def _sliding_sums(shifted, weights, sums):  # type: ignore[no-untyped-def]
    """Weighted sums of values and of squares of each row, read at every displacement."""
    n_shifts = sums.shape[2]
    for row in range(len(shifted)):
        for k in range(len(weights)):
            weight = weights[k]
            for s in range(n_shifts):
                value = shifted[row, k + s]
                sums[0, row, s] += weight * value
                sums[1, row, s] += weight * value * value


@numba.njit(nogil=True, cache=True)
def _best_pairs(shifted_rows, fixed_rows, horizon, first, row, lag, correlation):  # type: ignore[no-untyped-def]
    """Fill the `_TILE_ROWS` rows of `lag` and `correlation` from `row` on, tile by tile; tiles change no sum."""
    shifted, scale_shifted, level_shifted = shifted_rows
    fixed, scale_fixed, level_fixed = fixed_rows
    n_bins, width = lag.shape
    length, n_shifts = len(fixed), len(scale_fixed)
    product = np.empty((_TILE_ROWS, _TILE_COLUMNS), dtype=np.float32)
    best = np.empty((_TILE_ROWS, _TILE_COLUMNS), dtype=np.float32)
    where = np.empty((_TILE_ROWS, _TILE_COLUMNS), dtype=np.int32)
    rows = min(_TILE_ROWS, n_bins - row)
    last_column = first[row + rows - 1] + width
    for column in range(first[row], last_column, _TILE_COLUMNS):
        columns = min(_TILE_COLUMNS, last_column - column)
        tile = fixed[:, column : column + columns].copy()
        best[:] = 0
        where[:] = n_shifts // 2
        for s in range(n_shifts):
            _multiply(shifted[row : row + rows, s : s + length], tile, product)
            for i in range(rows):
                _keep_better(
                    product[i, :columns],
                    scale_shifted[row + i, s],
                    level_shifted[row + i, s],
                    scale_fixed[s, column : column + columns],
                    level_fixed[s, column : column + columns],
                    s,
                    best[i],
                    where[i],
                )
        for i in range(rows):
            for j in range(columns):
                k = column + j - first[row + i]
                if 0 <= k < width and abs(row + i - column - j) < horizon:
                    lag[row + i, k] = where[i, j] - n_shifts // 2
                    correlation[row + i, k] = best[i, j]


@numba.njit(nogil=True, cache=True, fastmath={"contract"})
def _multiply(left, right, product):  # type: ignore[no-untyped-def]
    """product = left @ right; the inner length is a multiple of 4, the number of rows and columns any.

    "contract" lets the processor multiply and add in one step, rounding once instead of twice: without it this, most
    of the time of `decentralized`, takes 1.4 times as long. It allows nothing else: NaN, infinity and the order of the
    sums stay as written.
    """
    rows, length = left.shape
    columns = right.shape[1]
    product[:] = 0
    for k in range(0, length, 4):
        right0, right1, right2, right3 = right[k], right[k + 1], right[k + 2], right[k + 3]
        for i in range(0, rows - 1, 2):
            a0, a1, a2, a3 = left[i, k], left[i, k + 1], left[i, k + 2], left[i, k + 3]
            b0, b1, b2, b3 = left[i + 1, k], left[i + 1, k + 1], left[i + 1, k + 2], left[i + 1, k + 3]
            out_a, out_b = product[i], product[i + 1]
            for j in range(columns):
                out_a[j] = out_a[j] + a0 * right0[j] + a1 * right1[j] + a2 * right2[j] + a3 * right3[j]
                out_b[j] = out_b[j] + b0 * right0[j] + b1 * right1[j] + b2 * right2[j] + b3 * right3[j]
        if rows % 2:
            a0, a1, a2, a3 = left[rows - 1, k], left[rows - 1, k + 1], left[rows - 1, k + 2], left[rows - 1, k + 3]
            out_a = product[rows - 1]
            for j in range(columns):
                out_a[j] = out_a[j] + a0 * right0[j] + a1 * right1[j] + a2 * right2[j] + a3 * right3[j]


@numba.njit(nogil=True, cache=True)
def _keep_better(product, scale, level, scales, levels, shift, best, where):  # type: ignore[no-untyped-def]
    """Where this displacement correlates better than all before, keep it."""
    for j in range(len(product)):
        value = product[j] * scale * scales[j] - level * levels[j]
        better = value > best[j]
        best[j] = value if better else best[j]
        where[j] = shift if better else where[j]
