"""Several corrections of one recording side by side: what each makes of the peaks, its motion, scores and run time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from driftcli.model import Scores
from driftcli.report import style
from driftcli.report.drift_map import (
    draw_motion,
    draw_raster,
    label_times,
    mark_times,
    marks_of,
    tell_depths,
    time_unit,
)
from driftcli.report.times import verb_times
from driftcli.report.view import View

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.gridspec import GridSpec

MOST_RUNS = 6
MOST_SHANKS = 4  # whose peaks and motions are drawn; the table tells of all
# Lines that stay apart without colours.
_LINES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)), (0, (9, 2)), (0, (3, 3)))
_COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")
_HEADER = ("run", "verdict", "alignment", "error (µm)", "left (µm)", "range (µm)", "run time")
_WIDTHS = (0.28, 0.16, 0.13, 0.11, 0.1, 0.1, 0.12)
_LONGEST_NAME = 24
_IN_PART = " *"  # behind a run time that is not of all of the work, or of several processes: the caption says of what


@style.in_house_style
def comparison(views: Mapping[str, View]) -> Figure:
    """A column for each run, by its name: corrected peaks over time × depth above the motion of all depths, for each
    shank, with the same axes in all columns; of more than `MOST_SHANKS` shanks for those with the most peaks. Below,
    where there is one shank, the mean motions over each other; and a table of the scores.

    views: of one recording, with the same limits, two to `MOST_RUNS`.
    """
    views = _labelled(views)
    names, first = list(views), next(iter(views.values()))
    shanks, every = style.shown_shanks(first, MOST_SHANKS), sorted(first.motions)
    rows = len(names) * len(every)
    heights = [2.6, 1.7] * len(shanks) + ([2.2] if len(every) == 1 else []) + [0.45 + 0.2 * rows]
    figure = style.new_figure(max(10.0, min(4.6 * len(names), 18.0)), 1.3 + sum(heights))
    grid = figure.add_gridspec(len(heights), len(names), height_ratios=heights)
    colours = style.AmplitudeColours.of(np.concatenate([view.peaks.amplitude for view in views.values()]))
    for row, shank in enumerate(shanks):
        rasters = _draw_shank(figure, grid, views, 2 * row, shank, colours)
        style.amplitude_bar(figure, colours, first.unit, rasters)
    if len(every) == 1:
        _draw_means(figure.add_subplot(grid[-2, :]), views, shanks[0])
    _draw_table(figure.add_subplot(grid[-1, :]), views, every)
    style.title(figure, first, f"{len(names)} corrections", with_verdict=False)
    style.caption(figure, _caption(views) + style.told_shanks(first, shanks), marks_of(first))
    return figure


def _labelled(views: Mapping[str, View]) -> dict[str, View]:
    """The views by names that are short enough, and numbered where they aren't different any more."""
    labels = [style.shortened(name, _LONGEST_NAME) for name in views]
    if len(set(labels)) < len(labels):
        labels = [f"{number}: {label}" for number, label in enumerate(labels, 1)]
    return dict(zip(labels, views.values(), strict=True))


def _draw_shank(
    figure: Figure, grid: GridSpec, views: Mapping[str, View], row: int, shank: int, colours: style.AmplitudeColours
) -> list[Axes]:
    """The corrected peaks and the motion of a shank, of each run; returns the axes of the peaks."""
    rasters: list[Axes] = []
    motions: list[Axes] = []
    for column, (name, view) in enumerate(views.items()):
        raster = figure.add_subplot(grid[row, column], sharey=rasters[0] if rasters else None)
        motion = figure.add_subplot(grid[row + 1, column], sharex=raster)
        draw_raster(raster, view, shank, colours, corrected=True)
        draw_motion(motion, view.motions[shank], view)
        tell_depths(motion, most=2)
        for axes in (raster, motion):
            mark_times(axes, view)
            label_times(axes, view, labelled=axes is motion)
            axes.tick_params(labelleft=not column)
            axes.set_ylabel("" if column else axes.get_ylabel())
        raster.set_title(name + (f", shank {shank}" if len(view.motions) > 1 else ""), loc="left")
        rasters.append(raster)
        motions.append(motion)
    limits = np.array([axes.get_ylim() for axes in motions])
    for axes in motions:
        axes.set_ylim(limits[:, 0].min(), limits[:, 1].max())
    return rasters


def _draw_means(axes: Axes, views: Mapping[str, View], shank: int) -> None:
    for (name, view), line, colour in zip(views.items(), _LINES, _COLOURS, strict=False):
        motion = view.motions[shank]
        mean_um = motion.displacement_um.mean(axis=1)
        mean_um -= np.median(mean_um)  # from where a motion counts is up to the estimate
        times = motion.temporal_bins_s / time_unit(view).seconds
        axes.plot(times, mean_um, ls=line, color=colour, label=name, lw=1.5, gid="mean of run")
    view = next(iter(views.values()))
    axes.axhline(0, color=style.PALE, lw=0.8, zorder=0)
    axes.set_xlim(*(limit / time_unit(view).seconds for limit in view.time_limits_s))
    axes.set_title("mean motion, less its median", loc="left")
    axes.set_ylabel("displacement (µm)")
    label_times(axes, view, labelled=True)
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=len(views), borderaxespad=0, handlelength=2.6)


def _draw_table(axes: Axes, views: Mapping[str, View], shanks: Sequence[int]) -> None:
    axes.axis("off")
    rows = [_row(name, view, shank) for name, view in views.items() for shank in shanks]
    table = axes.table(
        rows,
        colLabels=list(_HEADER),
        colWidths=list(_WIDTHS),
        cellLoc="left",
        colLoc="left",
        loc="upper left",
        edges="horizontal",
    )
    table.auto_set_font_size(False)
    table.set_fontsize(8)
    for (row, _), cell in table.get_celld().items():
        cell.set_edgecolor(style.PALE)
        cell.set_height(1 / (len(rows) + 1.5))
        cell.get_text().set_fontweight("bold" if row == 0 else "normal")


def _row(name: str, view: View, shank: int) -> list[str]:
    label = f"{name}, shank {shank}" if len(view.motions) > 1 else name
    times = verb_times(view.facts).values()
    run_time = (
        f"{sum(s for s, _ in times):,.1f} s{_IN_PART if any(part for _, part in times) else ''}" if times else "–"
    )
    found = None if view.assessment is None else view.assessment.shanks.get(shank)
    if found is None:
        return [label, "not assessed", "–", "–", "–", "–", run_time]
    scores = found.scores
    numbers = [_number(value) for value in (scores.error_um, scores.residual_um, scores.range_um)]
    return [label, found.verdict, _alignment(scores), *numbers, run_time]


def _alignment(scores: Scores) -> str:
    if scores.alignment_before is None or scores.alignment_after is None:
        return "–"
    return f"{scores.alignment_before:.2f} → {scores.alignment_after:.2f}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _caption(views: Mapping[str, View]) -> str:
    drawn = {name: style.drawn(view) for name, view in views.items()}
    same = len(set(drawn.values())) == 1
    told = next(iter(drawn.values())) if same else "; ".join(f"{name}: {each}" for name, each in drawn.items())
    parts = {
        name: [
            f"{verb} {s:,.1f} s{f' ({in_part})' if in_part else ''}"
            for verb, (s, in_part) in verb_times(view.facts).items()
        ]
        for name, view in views.items()
    }
    run_time = "; ".join(f"{name}: {' + '.join(each)}" for name, each in parts.items() if each)
    in_parts = any(part for view in views.values() for _, part in verb_times(view.facts).values())
    marked = f" (of work in parts:{_IN_PART})" if in_parts else ""
    return (
        "Alignment: 0 none, 1 as good as at one moment; error: expected of the motion; left: found in the corrected "
        f"peaks. {told}." + (f" Run time{marked} of {run_time}." if run_time else "")
    )
