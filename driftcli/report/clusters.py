"""Spread of clusters of peaks in depth before and after the correction, without spike sorting.

A cluster is a mode of the histogram of depth × log amplitude, and its spread that of the depths of peaks around it. To
be fair the rule knows no difference between before and after:

- every other peak of those drawn, in order of time, says where clusters are, and those between them are measured;
- modes are looked for twice, in the depths as they are and in the corrected ones, and count alike. One that was found
  corrected is looked for before at its depth plus the median displacement there, and the other way round;
- both spreads are of the peaks within the same distance and of about the same amplitude.

With the two depths exchanged the picture would be mirrored at its diagonal.
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from driftcli.model import Motion
from driftcli.report import style
from driftcli.report.view import View

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEWEST_PEAKS = 40  # that are measured of a cluster; the error of its spread is then about a fifth of it
WITHIN_UM = 30.0  # how far from the mode the peaks of a cluster are at most
_WITHIN_DECADES = 0.12  # the same of log10 of their amplitude
_PROMINENCE = 2.0  # how much denser a mode is than its box is on average
# What the robust SD of peaks that are spread evenly within the distance is: their median deviation is half of it.
EVEN_UM = 1.4826 * WITHIN_UM / 2


class _Grid(NamedTuple):
    """One axis of the histogram: the width of its bins, of the Gaussian that smooths it, and how far a cluster goes."""

    step: float
    sigma: float
    within: float

    @property
    def reach(self) -> range:
        bins = round(self.within / self.step)
        return range(-bins, bins + 1)

    def smoothed(self, values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
        offsets = np.arange(-round(3 * self.sigma / self.step), round(3 * self.sigma / self.step) + 1)
        weights = np.exp(-0.5 * (offsets * self.step / self.sigma) ** 2)
        weighted = (
            w * _shifted(values, k, axis) for k, w in zip(offsets.tolist(), weights / weights.sum(), strict=True)
        )
        return reduce(np.add, weighted)

    def summed(self, values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
        return reduce(np.add, (_shifted(values, k, axis) for k in self.reach))

    def highest(self, values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
        return reduce(np.maximum, (_shifted(values, k, axis) for k in self.reach))


_DEPTHS = _Grid(2.0, 4.0, WITHIN_UM)
_DECADES = _Grid(0.02, 0.04, _WITHIN_DECADES)


class Clusters(NamedTuple):
    """Clusters of one shank or several. depth_um: (K,) of the modes, corrected. before_um, after_um: (K,) spreads.
    found_corrected: (K,) whether the mode was one of the corrected depths."""

    depth_um: NDArray[np.float64]
    before_um: NDArray[np.float64]
    after_um: NDArray[np.float64]
    found_corrected: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.depth_um)


def spread_of_clusters(view: View, shank: int) -> Clusters:
    """Find and measure the clusters of a shank as this file's docstring says. Spread: robust SD (1.4826 × median
    absolute deviation), in µm."""
    here = view.peaks.shank == shank
    before = view.peaks.depth_um[here].astype(float)
    after = view.peaks.corrected_depth_um[here].astype(float)
    size = np.log10(np.maximum(np.abs(view.peaks.amplitude[here]), 1e-12)).astype(float)
    finding, measuring = slice(0, None, 2), slice(1, None, 2)
    rows = []
    for is_corrected, depths in ((False, before), (True, after)):
        for depth_um, decade in _modes(depths[finding], size[finding]):
            moved_um = _typical_um(view.motions[shank], depth_um)
            places = (depth_um + moved_um, depth_um) if is_corrected else (depth_um, depth_um - moved_um)
            spreads = [
                _spread_um(each[measuring], size[measuring], place, decade)
                for each, place in zip((before, after), places, strict=True)
            ]
            if None not in spreads:
                rows.append((places[1], *spreads, is_corrected))
    columns = np.array(rows, float).reshape(-1, 4).T
    return Clusters(columns[0], columns[1], columns[2], columns[3] > 0)


def _typical_um(motion: Motion, depth_um: float) -> float:
    return float(np.median(motion.at(motion.temporal_bins_s, depth_um)))


def _modes(depth_um: NDArray[np.float64], decade: NDArray[np.float64]) -> list[tuple[float, float]]:
    """Depth and log10 amplitude of each place where peaks are denser than anywhere within a cluster's reach."""
    if len(depth_um) < FEWEST_PEAKS:
        return []
    edges = [
        np.arange(values.min() - grid.step, values.max() + 2 * grid.step, grid.step)
        for values, grid in ((depth_um, _DEPTHS), (decade, _DECADES))
    ]
    counts = np.histogram2d(depth_um, decade, bins=edges)[0]
    dense = _DECADES.smoothed(_DEPTHS.smoothed(counts, 0), 1)
    in_box = _DECADES.summed(_DEPTHS.summed(counts, 0), 1)
    highest_in_box = _DECADES.highest(_DEPTHS.highest(dense, 0), 1)
    box = len(_DEPTHS.reach) * len(_DECADES.reach)
    modes = (dense == highest_in_box) & (dense > _PROMINENCE * in_box / box) & (in_box >= FEWEST_PEAKS)
    return [
        (float(edges[0][row] + _DEPTHS.step / 2), float(edges[1][column] + _DECADES.step / 2))
        for row, column in np.argwhere(modes)
    ]


def _shifted(values: NDArray[np.float64], by: int, axis: int) -> NDArray[np.float64]:
    """Values moved along an axis, with zeros where none come from."""
    moved = np.zeros_like(values)
    count = values.shape[axis]
    if abs(by) < count:
        to, of = [slice(None)] * values.ndim, [slice(None)] * values.ndim
        to[axis], of[axis] = slice(max(by, 0), count + min(by, 0)), slice(max(-by, 0), count - max(by, 0))
        moved[tuple(to)] = values[tuple(of)]
    return moved


def _spread_um(
    depth_um: NDArray[np.float64], decade: NDArray[np.float64], place_um: float, at_decade: float
) -> float | None:
    """Robust SD of the depths of peaks around a place; None of too few."""
    near = (np.abs(depth_um - place_um) <= WITHIN_UM) & (np.abs(decade - at_decade) <= _WITHIN_DECADES)
    if np.count_nonzero(near) < FEWEST_PEAKS:
        return None
    there = depth_um[near]
    return float(1.4826 * np.median(np.abs(there - np.median(there))))


@style.in_house_style
def clusters(view: View) -> Figure:
    """Left: the spread of each cluster after against before, with a diagonal (no change), the medians, and what peaks
    without any cluster would have. Right, for each shank: the two spreads over depth, joined by a line."""
    shanks = style.shown_shanks(view)
    found = {shank: spread_of_clusters(view, shank) for shank in shanks}
    columns = min(len(shanks), style.SHANKS_A_ROW)
    rows = -(-len(shanks) // columns)
    figure = style.new_figure(7.0 + 2.6 * columns, 6.2 if rows == 1 else 1.2 + 4.4 * rows)
    grid = figure.add_gridspec(rows, 1 + columns, width_ratios=[4.6] + [2.2] * columns)
    first = figure.add_subplot(grid[:, 0], anchor="N" if rows > 1 else "C")
    every = Clusters(*(np.concatenate(parts) for parts in zip(*found.values(), strict=True)))
    style.title(figure, view, "spread of clusters of peaks in depth")
    if not len(every):
        first.axis("off")
        style.words_instead(first, _too_few(view))
        return figure
    _draw_against(first, every)
    for index, shank in enumerate(shanks):
        row, column = divmod(index, columns)
        axes = figure.add_subplot(grid[row, 1 + column])
        _draw_over_depth(axes, found[shank], view)
        axes.set_xlim(0, 1.08 * max(every.before_um.max(), every.after_um.max()))
        axes.set_title(f"shank {shank}" if len(view.motions) > 1 else "over depth", loc="left")
        axes.set_ylabel("depth, corrected (µm)" if not column else "")
        axes.set_xlabel("spread (µm)" if index >= len(shanks) - columns else "")
        axes.tick_params(labelleft=not column)
    dotted = " Dotted: peaks spread evenly, that is no cluster at all." if _axes_end(every) > EVEN_UM else ""
    style.caption(
        figure,
        f"{style.drawn(view)}. Clusters are modes of depth × amplitude, found in every other one of those drawn and "
        f"measured in the ones between (≥ {FEWEST_PEAKS} within {WITHIN_UM:g} µm); modes of the depths as they are and "
        f"of the corrected ones count alike. Spread: robust SD.{dotted}{style.told_shanks(view, shanks)}",
    )
    return figure


def _too_few(view: View) -> str:
    return (
        f"too few peaks to tell: of {len(view.peaks):,} peaks drawn nowhere {2 * FEWEST_PEAKS} are of one depth and "
        "amplitude"
    )


def _axes_end(found: Clusters) -> float:
    """Where the axes of spreads end, at which all clusters fit in."""
    return 1.08 * max(float(found.before_um.max()), float(found.after_um.max()), 0.6 * EVEN_UM)


def _draw_against(axes: Axes, found: Clusters) -> None:
    from matplotlib.ticker import MaxNLocator

    end = _axes_end(found)
    axes.plot([0, end], [0, end], color=style.GREY, lw=0.8, gid="diagonal")
    for corrected, mark, name in ((False, "o", "found as they are"), (True, "s", "found corrected")):
        these = found.found_corrected == corrected
        look: dict[str, Any] = {
            "facecolors": style.AFTER if corrected else "none",
            "edgecolors": style.AFTER,
            "alpha": 0.75,
        }
        axes.scatter(found.before_um[these], found.after_um[these], s=22, marker=mark, label=name, gid=name, **look)
    medians = float(np.median(found.before_um)), float(np.median(found.after_um))
    axes.plot(*medians, marker="+", ms=18, mew=2.5, color=style.BEFORE, ls="", label="medians", gid="medians")
    for line in (axes.axhline, axes.axvline):
        if end > EVEN_UM:
            line(EVEN_UM, color=style.GREY, lw=0.8, ls=":", gid="even")
    axes.set(xlim=(0, end), ylim=(0, end), aspect="equal")
    axes.set_xlabel("spread before (µm)")
    axes.set_ylabel("spread after (µm)")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(6))
    narrower = np.count_nonzero(found.after_um < found.before_um)
    axes.set_title(
        f"median {medians[0]:.1f} → {medians[1]:.1f} µm; {narrower} of {len(found)} modes narrower", loc="left"
    )
    axes.legend(loc="upper left", bbox_to_anchor=(0.01, 0.99))


def _draw_over_depth(axes: Axes, found: Clusters, view: View) -> None:
    axes.hlines(found.depth_um, found.before_um, found.after_um, color=style.PALE, lw=1.2, zorder=1)
    axes.scatter(found.before_um, found.depth_um, s=14, color=style.BEFORE, marker="o", label="before", gid="before")
    axes.scatter(found.after_um, found.depth_um, s=14, color=style.AFTER, marker="s", label="after", gid="after")
    axes.set_ylim(*view.depth_limits_um)
    if len(found):
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, borderaxespad=0, handletextpad=0.1)
    else:
        style.words_instead(axes, "too few peaks")
