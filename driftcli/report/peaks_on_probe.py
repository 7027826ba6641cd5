"""Peaks on the probe: where across and along it they are, before and after the correction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from driftcli.model import CONTACT_LABELS, GOOD
from driftcli.report import style
from driftcli.report.view import View

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROOM_UM = 20.0  # beside the outer contacts
_BEYOND = (0.2, 99.8)  # percentiles of the places of peaks


@style.in_house_style
def peaks_on_probe(view: View) -> Figure:
    """Of each shank two panels, before and after: depth × place across of each peak, coloured by amplitude, on the
    contacts as small circles; those that aren't good have a mark of their own. Many shanks are in rows of
    `SHANKS_A_ROW`.
    """
    shanks = style.shown_shanks(view)
    columns = min(len(shanks), style.SHANKS_A_ROW)
    rows = -(-len(shanks) // columns)
    figure = style.new_figure(max(7.5, 2.0 + 3.2 * columns), 9.0 if rows == 1 else 1.3 + 5.0 * rows)
    colours = style.AmplitudeColours.of(view.peaks.amplitude)
    panels = figure.subplots(rows, 2 * columns, sharey=True, squeeze=False).ravel()
    for index, shank in enumerate(shanks):
        for axes, corrected in zip(panels[2 * index : 2 * index + 2], (False, True), strict=True):
            _draw(axes, view, shank, colours, corrected=corrected)
            name = f"shank {shank}\n" if len(view.motions) > 1 else ""
            axes.set_title(f"{name}{'corrected' if corrected else 'peaks'}", loc="left")
            axes.set_xlabel("x (µm)" if index >= len(shanks) - columns else "")
    for axes in panels[2 * len(shanks) :]:
        axes.set_visible(False)
    for axes in panels[:: 2 * columns]:
        axes.set_ylabel("depth (µm)")
    panels[0].set_ylim(*view.depth_limits_um)
    style.amplitude_bar(figure, colours, view.unit, list(panels))
    style.title(figure, view, "peaks on the probe")
    marks = panels[0].get_legend_handles_labels()[0]
    style.caption(
        figure, f"{style.drawn(view)}, the largest on top; circles: contacts.{style.told_shanks(view, shanks)}", marks
    )
    return figure


def _draw(axes: Axes, view: View, shank: int, colours: style.AmplitudeColours, *, corrected: bool) -> None:
    here = view.peaks.shank == shank
    depth_um = (view.peaks.corrected_depth_um if corrected else view.peaks.depth_um)[here]
    pixels = style.point_pixels(int(here.sum()), 1.5, 7.0)
    style.scatter(axes, view.peaks.x_um[here], depth_um, view.peaks.amplitude[here], colours, pixels)
    _draw_contacts(axes, view, shank)
    axes.set_xlim(*_across_um(view, shank))
    if not here.any():
        style.words_instead(axes, "no peaks within these limits")


def _across_um(view: View, shank: int) -> tuple[float, float]:
    """The contacts of a shank, with room on both sides for all but the outermost peaks."""
    contacts_um = view.geometry.positions_um[view.geometry.shanks == shank, 0]
    peaks_um = view.peaks.x_um[view.peaks.shank == shank]
    ends_um = np.percentile(peaks_um, _BEYOND).tolist() if len(peaks_um) else []
    return min([contacts_um.min() - _ROOM_UM, *ends_um]), max([contacts_um.max() + _ROOM_UM, *ends_um])


def _draw_contacts(axes: Axes, view: View, shank: int) -> None:
    labels = np.zeros(len(view.geometry), np.uint8) if view.labels is None else view.labels
    on_shank = view.geometry.shanks == shank
    for index, name in enumerate(CONTACT_LABELS):
        x_um, depth_um = view.geometry.positions_um[on_shank & (labels == index)].T
        label = f"contact: {name.replace('_', ' ')}"
        if index == GOOD:
            axes.scatter(x_um, depth_um, s=7, marker="o", facecolors="none", edgecolors=style.GREY, lw=0.5, gid="good")
        elif (labels == index).any():  # on any shank: the legend is that of all
            axes.scatter(x_um, depth_um, s=26, marker=style.LABEL_MARKS[name], **_LOOK, label=label, gid=name)


_LOOK: dict[str, Any] = {"facecolors": "#00A087", "edgecolors": "#00A087", "linewidths": 1.2, "zorder": 4}
