"""The drift map: peaks over time and depth before and after the correction, and the motion that was taken out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from driftcli.model import MASK_REASONS, Motion
from driftcli.report import style
from driftcli.report.spans import joined_spans
from driftcli.report.view import TimeUnit, View

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure
    from matplotlib.gridspec import GridSpec, SubplotSpec

_MAP_COLUMNS, _MAP_ROWS = 1200, 256  # more than a panel has pixels
_MOST_VERTICES = 20_000  # of lines that an SVG holds as lines
_PANEL_PIXELS = 800  # that a panel is about wide: spans closer than that are drawn as one
_MOST_WITH_STRIP = 8  # shanks; the rows of more are lower and have no strip of the expected error
_RUG = 0.025  # share of a panel's height that the marks of masked times take at its top


class _Panels(NamedTuple):
    """The panels of a shank. error: below the map, None without an assessment."""

    before: Axes
    after: Axes
    motion: Axes
    map: Axes
    error: Axes | None


@style.in_house_style
def drift_map(view: View) -> Figure:
    """Of each shank four panels: peaks over time × depth coloured by amplitude, before and after the correction, the
    motion of all depths with their mean, and the motion over time × depth.

    Times that the estimate left out are shaded in the colour of the reason and marked at the top of each panel, files
    begin at dashed lines. Where the motion was assessed, its expected error is a band around each line and, unless
    there are many shanks, a strip below the map.
    """
    from matplotlib.ticker import MaxNLocator

    shanks = style.shown_shanks(view)
    wide = len(view.motions) > 1
    height_in = 0.9 + (3.1 if len(shanks) <= _MOST_WITH_STRIP else 1.8) * len(shanks) if wide else 8.6
    figure = style.new_figure(16.0 if wide else 12.0, height_in)
    colours = style.AmplitudeColours.of(view.peaks.amplitude)
    largest_um = _largest_um([view.motions[shank].displacement_um for shank in shanks])
    grid = figure.add_gridspec(len(shanks), 4) if wide else figure.add_gridspec(2, 2, height_ratios=[1.25, 1])
    with_error = view.assessment is not None and len(shanks) <= _MOST_WITH_STRIP
    rows = [_panels_of(figure, grid, row, wide=wide, with_error=with_error) for row in range(len(shanks))]
    for shank, panels in zip(shanks, rows, strict=True):
        draw_raster(panels.before, view, shank, colours, corrected=False)
        draw_raster(panels.after, view, shank, colours, corrected=True)
        panels.after.set_ylabel("")
        panels.after.tick_params(labelleft=False)
        draw_motion(panels.motion, view.motions[shank], view, error_um=_error_um(view, shank))
        tell_depths(panels.motion, most=2 if wide else 3)
        _draw_map(panels, view, shank, largest_um)
        for axes in filter(None, panels):
            mark_times(axes, view, shade=axes not in (panels.map, panels.error))
            label_times(axes, view, labelled=_is_lowest(axes) and (shank == shanks[-1]))
        if wide:
            panels.before.xaxis.set_major_locator(MaxNLocator(6))  # of all panels, as they share the axis
            panels.before.set_ylabel(f"{_name_of(view, shank)}\ndepth (µm)")
    for panel, name in zip(rows[0][:4], ("peaks", "peaks, corrected", "motion", "motion map"), strict=True):
        panel.set_title(name, loc="left")
    style.amplitude_bar(figure, colours, view.unit, [panels.after for panels in rows])
    style.title(figure, view, "drift map")
    style.caption(figure, _caption(view, with_strip=with_error) + style.told_shanks(view, shanks), marks_of(view))
    return figure


def _panels_of(figure: Figure, grid: GridSpec, row: int, *, wide: bool, with_error: bool) -> _Panels:
    """One shank has two rows of two panels, several have a row of four each."""
    places = [grid[row, column] for column in range(4)] if wide else [grid[0, 0], grid[0, 1], grid[1, 0], grid[1, 1]]
    before = figure.add_subplot(places[0])
    after = figure.add_subplot(places[1], sharex=before, sharey=before)
    motion = figure.add_subplot(places[2], sharex=before)
    map_axes, error = _map_and_error(figure, places[3], before, with_error=with_error)
    return _Panels(before, after, motion, map_axes, error)


def _map_and_error(figure: Figure, place: SubplotSpec, like: Axes, *, with_error: bool) -> tuple[Axes, Axes | None]:
    if not with_error:
        return figure.add_subplot(place, sharex=like, sharey=like), None
    grid = place.subgridspec(2, 1, height_ratios=[2.2, 1])
    upper = figure.add_subplot(grid[0], sharex=like, sharey=like)
    return upper, figure.add_subplot(grid[1], sharex=like)


def draw_raster(axes: Axes, view: View, shank: int, colours: style.AmplitudeColours, *, corrected: bool) -> None:
    """The peaks of a shank over time × depth, within the limits of the view."""
    here, unit = view.peaks.shank == shank, time_unit(view)
    depth_um = view.peaks.corrected_depth_um if corrected else view.peaks.depth_um
    times = view.peaks.time_s[here] / unit.seconds
    pixels = style.point_pixels(len(times), 4.5, 3.5)
    style.scatter(axes, times, depth_um[here], view.peaks.amplitude[here], colours, pixels)
    if not len(times):
        style.words_instead(axes, "no peaks within these limits")
    axes.set_xlim(*(limit / unit.seconds for limit in view.time_limits_s))
    axes.set_ylim(*view.depth_limits_um)
    axes.set_ylabel("depth (µm)")


def draw_motion(
    axes: Axes, motion: Motion, view: View, *, error_um: NDArray[np.float64] | None = None, depths: bool = True
) -> None:
    """The displacement of each window over time, light above and dark below, with the mean of all in black, and the
    expected error as a band. Lines end where a file does."""
    from matplotlib import colormaps

    times = _with_gaps(motion.temporal_bins_s, motion.parted) / time_unit(view).seconds
    count = len(motion.spatial_bins_um)
    many = motion.displacement_um.size > _MOST_VERTICES
    for window, depth_um in enumerate(motion.spatial_bins_um if depths or count == 1 else ()):
        shift = _with_gaps(motion.displacement_um[:, window], motion.parted)
        colour = style.INK if count == 1 else colormaps["viridis"](0.85 * window / (count - 1))
        mark = "." if len(motion.temporal_bins_s) == 1 else None
        label = f"{depth_um:.0f} µm"
        axes.plot(times, shift, color=colour, lw=0.9, label=label, marker=mark, rasterized=many, gid="window")
        if error_um is not None:
            error = _with_gaps(error_um[:, window], motion.parted)
            shade = max(0.3 / count, 0.06)
            axes.fill_between(
                times, shift - error, shift + error, color=colour, alpha=shade, lw=0, rasterized=many, gid="error"
            )
    if count > 1:
        mean = _with_gaps(motion.displacement_um.mean(axis=1), motion.parted)
        axes.plot(times, mean, color=style.INK, lw=1.8, label="mean", rasterized=many, gid="mean")
    axes.axhline(0, color=style.PALE, lw=0.8, zorder=0)
    axes.set_ylabel("displacement (µm)")
    shown = motion.displacement_um[_within(motion.temporal_bins_s, view.time_limits_s)]
    axes.set_ylim(*_padded(shown if shown.size else motion.displacement_um, error_um))


def tell_depths(axes: Axes, most: int) -> None:
    """Which line is of which depth: of many windows only `most` are named, the lowest and the highest among them."""
    handles, labels = axes.get_legend_handles_labels()
    count = len(labels) - 1  # the last one is the mean
    if count < 1:
        return
    named = [*np.unique(np.linspace(count - 1, 0, min(most, count)).round().astype(int))[::-1], count]
    axes.legend(
        [handles[each] for each in named],
        [labels[each] for each in named],
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        ncols=4,
        borderaxespad=0,
        handlelength=1.2,
        columnspacing=1.0,
    )


def _padded(shift_um: NDArray[np.float64], error_um: NDArray[np.float64] | None) -> tuple[float, float]:
    """Limits with all lines within, and with the bands as far as they are no wider than the lines go."""
    low, high = float(shift_um.min()), float(shift_um.max())
    room = 0.08 * max(high - low, 2.0)
    if error_um is not None and np.isfinite(error_um).any():
        room = max(room, min(float(np.nanmedian(error_um)) * 2, max(high - low, 2.0)))
    return min(low - room, -1.0), max(high + room, 1.0)


def _draw_map(panels: _Panels, view: View, shank: int, largest_um: float) -> None:
    from matplotlib.ticker import MaxNLocator

    motion = view.motions[shank]
    times_s = _centres(*view.time_limits_s, _MAP_COLUMNS)
    depths_um = _centres(*view.depth_limits_um, _MAP_ROWS)
    shift_um = motion.at(times_s[None], depths_um[:, None], "nearest_bin")
    _image(panels.map, view, shift_um, "RdBu_r", style.symmetric(largest_um), "displacement (µm)")
    error_um = _error_um(view, shank)
    if panels.error is None or error_um is None:
        return
    rows = np.searchsorted(motion.temporal_edges_s, times_s, side="right")
    middles_um = (motion.spatial_bins_um[1:] + motion.spatial_bins_um[:-1]) / 2
    seen_um = error_um[rows][:, np.searchsorted(middles_um, depths_um, side="right")].T
    _image(panels.error, view, seen_um, "Greys", _from_zero(error_um), "error (µm)")
    panels.error.set_ylim(*view.depth_limits_um)
    panels.error.yaxis.set_major_locator(MaxNLocator(2))
    panels.error.set_ylabel("")
    panels.map.tick_params(labelbottom=False)


def _image(axes: Axes, view: View, values: NDArray[np.float64], colours: str, norm: Normalize, label: str) -> None:
    """Values over time and depth; where there are none the panel is striped."""
    from matplotlib import colormaps

    seconds, time_s = time_unit(view).seconds, view.time_limits_s
    axes.set_facecolor("#fbf3dd")
    image = axes.imshow(
        np.ma.masked_invalid(values),
        extent=(time_s[0] / seconds, time_s[1] / seconds, *view.depth_limits_um),
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        cmap=colormaps[colours],
        norm=norm,
    )
    axes.set_ylabel("depth (µm)")
    figure = axes.get_figure()
    if figure is not None:
        bar = figure.colorbar(image, ax=axes, pad=0.01, fraction=0.05, aspect=20)
        bar.set_label(label)
        bar.outline.set_visible(False)


def mark_times(axes: Axes, view: View, *, shade: bool = True) -> None:
    """Mark at the top of a panel what the estimate left out, and draw where files begin. shade: all of its height, too;
    not where colours mean something."""
    unit, across = time_unit(view), axes.get_xaxis_transform()
    pixel_s = (view.time_limits_s[1] - view.time_limits_s[0]) / _PANEL_PIXELS
    bars: dict[int, list[tuple[float, float]]] = {}
    for start_s, stop_s, index in joined_spans(view.mask, view.mask_rate_hz, pixel_s):
        if start_s < view.time_limits_s[1] and stop_s > view.time_limits_s[0]:
            bars.setdefault(index, []).append((start_s / unit.seconds, (stop_s - start_s) / unit.seconds))
    for index, of_reason in bars.items():
        reason = MASK_REASONS[index]
        look: Mapping[str, Any] = {
            "color": style.REASON_COLOURS[reason],
            "transform": across,
            "gid": f"mask {reason}",
        }
        axes.broken_barh(of_reason, (1 - _RUG, _RUG), lw=0.7, **look)
        if shade:
            axes.broken_barh(of_reason, (0, 1), alpha=0.2, lw=0, **look)
    for time_s in view.breaks_s:
        axes.axvline(time_s / unit.seconds, color=style.INK, lw=0.8, ls=(0, (4, 3)), gid="break")


def label_times(axes: Axes, view: View, *, labelled: bool) -> None:
    """Name the time axis, or leave it to a panel below."""
    axes.set_xlabel(time_unit(view).label if labelled else "")
    axes.tick_params(labelbottom=labelled)


def _is_lowest(axes: Axes) -> bool:
    place = axes.get_subplotspec()
    return place is not None and place.is_last_row()


def marks_of(view: View) -> list[Artist]:
    """What the legend tells of: reasons of the mask, and where files begin."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Artist] = [
        Patch(color=style.REASON_COLOURS[MASK_REASONS[index]], label=f"left out: {MASK_REASONS[index]}")
        for index in np.unique(view.mask.reasons)
    ]
    if len(view.breaks_s):
        handles.append(Line2D([], [], color=style.INK, lw=0.8, ls=(0, (4, 3)), label="a file begins"))
    return handles


def _caption(view: View, *, with_strip: bool) -> str:
    told = f"{style.drawn(view)}, the largest on top; corrected depth = depth - displacement."
    if view.assessment is None:
        return told
    if not with_strip:
        return f"{told} Bands: expected error of the motion."
    return f"{told} Bands and the strip below the map: expected error of the motion; pale yellow where it isn't known."


def _name_of(view: View, shank: int) -> str:
    found = None if view.assessment is None else view.assessment.shanks.get(shank)
    return f"shank {shank}" + ("" if found is None else f": {found.verdict}")


def _error_um(view: View, shank: int) -> NDArray[np.float64] | None:
    found = None if view.assessment is None else view.assessment.shanks.get(shank)
    return None if found is None else found.error_um


def time_unit(view: View) -> TimeUnit:
    """The unit of all time axes."""
    return TimeUnit.of(view.time_limits_s[1] - view.time_limits_s[0])


def _centres(low: float, high: float, count: int) -> NDArray[np.float64]:
    return low + (np.arange(count) + 0.5) * (high - low) / count


def _within(values: NDArray[np.float64], limits: tuple[float, float]) -> NDArray[np.bool_]:
    return (values >= limits[0]) & (values <= limits[1])


def _with_gaps(values: NDArray[np.float64], parted: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Values with a NaN where a file ends, so that no line crosses it."""
    return np.insert(values, np.flatnonzero(parted) + 1, np.nan)


def _largest_um(shifts_um: list[NDArray[np.float64]]) -> float:
    return max(float(np.abs(shift_um).max()) for shift_um in shifts_um)


def _from_zero(values: NDArray[np.float64]) -> Normalize:
    from matplotlib.colors import Normalize

    known = values[np.isfinite(values)]
    largest = float(np.percentile(known, 98)) if len(known) else 0.0
    return Normalize(0.0, largest if largest > 0 else 1.0)
