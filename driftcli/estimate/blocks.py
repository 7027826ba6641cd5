"""A first, coarse motion: blocks of a few seconds, each lined up with all others nearby.

The image of a block is how many peaks there are by depth and by amplitude. Units that are at one depth but differ in
size don't mix, so that one that falls silent isn't taken for another that moved. Of what pairs of blocks ask for,
little of what contradicts the rest is believed.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from driftcli.estimate.dredge_correlate import Correlator, correlator_bytes
from driftcli.estimate.dredge_solve import PairEquations, solve_bytes
from driftcli.model import DepthPeaks, Motion
from driftcli.reporter import Reporter

_BIN_UM = 5.0  # of depth
_LAYERS = 8  # of amplitude, with as many peaks in each
_WINDOW_UM = 400.0  # between the centres of windows; they reach as far
_CONTRADICTION_UM = 6.0  # from what the others ask for: a pair that is so far off counts a quarter
_TRIES = 6  # times that weights follow from the motion and the motion from weights
_LAMBDA, _RIDGE = 1.0, 1e-3  # as DREDge has them
_PIECE = 1 << 18  # peaks at once
_SIZES_BYTES, _PLACES_BYTES = 16, 140  # of a peak: its size, twice, and in its piece its cells and shares
_MATCH_BYTES, _WEIGHT_BYTES = 6, 4  # of a pair: lag and correlation, and the weight in the equations


@dataclass(frozen=True)
class Layout:
    """Blocks, windows and how far apart blocks are compared.

    n_blocks, block_s: in time. n_depths, n_windows: along the shank. reach: in blocks. max_lag: in depth bins.
    """

    span_um: tuple[float, float]
    n_blocks: int
    block_s: float
    n_depths: int
    n_windows: int
    reach: int
    max_lag: int

    @classmethod
    def of(
        cls, span_um: tuple[float, float], duration_s: float, block_s: float, horizon_s: float, max_disp_um: float
    ) -> Layout:
        along_um = span_um[1] - span_um[0]
        n_blocks, n_depths = max(1, int(np.ceil(duration_s / block_s))), int(along_um / _BIN_UM) + 2
        reach = min(n_blocks - 1, max(1, int(horizon_s / block_s)))
        max_lag = min(max(1, int(max_disp_um / _BIN_UM)), n_depths - 1)
        return cls(span_um, n_blocks, block_s, n_depths, round(along_um / _WINDOW_UM) + 1, reach, max_lag)

    @property
    def centres_um(self) -> NDArray[np.float64]:
        """(W,) of the windows, the outermost at the ends of the span."""
        if self.n_windows == 1:
            return np.array([sum(self.span_um) / 2])
        return np.linspace(*self.span_um, self.n_windows, dtype=np.float64)

    @property
    def width(self) -> int:
        """Of a layer in the image: after its depths nothing, so that layers don't meet."""
        return self.n_depths + self.max_lag

    def n_bytes(self, n_peaks: int, jobs: int) -> float:
        """What the coarse motion takes at most."""
        image = _LAYERS * self.width
        counting = 2 * 8 * self.n_blocks * image + _SIZES_BYTES * n_peaks + _PLACES_BYTES * min(n_peaks, _PIECE)
        n_pairs = self.n_windows * self.n_blocks * self.reach
        correlators = min(jobs, self.n_windows) * correlator_bytes(self.n_blocks, image, self.max_lag)
        solving = _WEIGHT_BYTES * n_pairs + solve_bytes(self.n_windows, self.n_blocks, self.reach)
        return max(counting, 4 * self.n_blocks * image + _MATCH_BYTES * n_pairs + max(correlators, solving))


@dataclass(frozen=True)
class _Match:
    """Where some blocks match some others best.

    first: of the blocks. displacement_um: (I, J) int16 of earlier less later ones. weight: (I, J) float32.
    """

    window: int
    first: tuple[int, int]
    displacement_um: NDArray[np.int16]
    weight: NDArray[np.float32]

    def believed(self, motion_um: NDArray[np.float64]) -> NDArray[np.float64]:
        """The weight, less where the motion (T, W) contradicts."""
        (i, j), (n_i, n_j) = self.first, self.weight.shape
        along = motion_um[:, self.window]
        excess_um = self.displacement_um - (along[i : i + n_i, None] - along[None, j : j + n_j])
        believed: NDArray[np.float64] = self.weight / (1 + (excess_um / _CONTRADICTION_UM) ** 2) ** 2
        return believed


def coarse_motion(peaks: DepthPeaks, layout: Layout, reporter: Reporter, jobs: int) -> Motion:
    """Displacement at the middle of each block in each window; the same for any number of `jobs`."""
    image = _image(peaks, layout)
    matches: list[_Match] = []
    with ThreadPoolExecutor(jobs) as pool:
        find = partial(_matches_of_window, image, layout)
        for done, found in enumerate(pool.map(find, range(layout.n_windows))):
            matches += found
            reporter.progress("estimate", done + 1, layout.n_windows)
    times_s: NDArray[np.float64] = (np.arange(layout.n_blocks, dtype=np.float64) + 0.5) * layout.block_s
    return Motion(_reconciled(matches, layout), times_s, layout.centres_um)


def _image(peaks: DepthPeaks, layout: Layout) -> NDArray[np.float32]:
    """(blocks, layers * width) log of one more than the number of peaks, each shared among neighbouring cells."""
    image = np.zeros(layout.n_blocks * _LAYERS * layout.width)
    size = np.abs(peaks.amplitude)
    borders = np.quantile(size, np.linspace(0, 1, _LAYERS * 16 + 1))
    for start in range(0, len(peaks), _PIECE):
        rows = slice(start, start + _PIECE)
        cells, shares = _cells(peaks.time_s[rows], peaks.depth_um[rows], size[rows], borders, layout)
        image += np.bincount(cells, shares, len(image))
    layers = image.reshape(layout.n_blocks, _LAYERS, layout.width)
    gaussian_filter1d(layers, 1.0, axis=2, mode="constant", output=layers)
    layers[..., layout.n_depths :] = 0
    return np.log1p(layers, out=layers).astype(np.float32).reshape(layout.n_blocks, -1)


def _cells(
    time_s: NDArray[np.float64],
    depth_um: NDArray[np.float64],
    size: NDArray[np.float64],
    borders: NDArray[np.float64],
    layout: Layout,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The four cells of the image around each peak and its share in each, those of all peaks in one row."""
    block = np.minimum((time_s / layout.block_s).astype(np.int64), layout.n_blocks - 1)
    depth = (depth_um - layout.span_um[0]) / _BIN_UM
    there = (depth >= 0) & (depth < layout.n_depths - 1)
    block, depth, size = block[there], depth[there], size[there]
    rank = np.searchsorted(borders, size) / (len(borders) - 1)  # share of the peaks that are smaller
    layer = np.clip(rank * _LAYERS - 0.5, 0, _LAYERS - 1)
    column, row = depth.astype(np.int64), np.minimum(layer.astype(np.int64), _LAYERS - 2)
    right, up = depth - column, layer - row
    first = (block * _LAYERS + row) * layout.width + column
    cells = [first, first + 1, first + layout.width, first + layout.width + 1]
    shares = [(1 - right) * (1 - up), right * (1 - up), (1 - right) * up, right * up]
    return np.concatenate(cells), np.concatenate(shares)


def _matches_of_window(image: NDArray[np.float32], layout: Layout, window: int) -> list[_Match]:
    depths_um = layout.span_um[0] + _BIN_UM * np.arange(layout.n_depths)
    weights = np.zeros((_LAYERS, layout.width))
    # the root of a Gaussian on both blocks of a pair
    weights[:, : layout.n_depths] = np.exp(-(((depths_um - layout.centres_um[window]) / _WINDOW_UM) ** 2))
    correlator = Correlator(image, weights.ravel(), weights.ravel(), layout.max_lag)
    return [
        _Match(
            window,
            (block.first_template, block.first_input),
            np.rint(-block.lag * _BIN_UM).astype(np.int16),
            np.square(np.maximum(block.correlation, 0)),
        )
        for block in correlator.best(layout.n_blocks, layout.reach)
    ]


def _reconciled(matches: list[_Match], layout: Layout) -> NDArray[np.float64]:
    """(T, W) the motion that most matches agree on."""
    motion_um = np.zeros((layout.n_blocks, layout.n_windows))
    for attempt in range(_TRIES):
        equations = PairEquations(layout.n_windows, layout.n_blocks, layout.reach, exact=True)
        for match in matches:
            weight = match.weight.astype(np.float64) if attempt == 0 else match.believed(motion_um)
            equations.add(match.window, match.first, match.displacement_um.astype(np.float64), weight)
        motion_um = equations.solve(_LAMBDA, _LAMBDA, _RIDGE)
    return motion_um
