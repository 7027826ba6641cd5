"""Figures of errors over time and depth, drawn as driftcli draws."""

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from scenario_errors import BURST_UM, Errors

from driftcli.model import Motion
from driftcli.report import style
from driftcli.units import count_of

SHOWN_UM = 2 * BURST_UM  # the darkest colour
TICKS_UM = (0.1, 1, 10, 100)
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


@style.in_house_style
def figure_of_scenario(name: str, truth: Motion, errors: dict[str, Errors]):
    """Above, the true motion of some depths; below, the error of each preset, over time and depth, and by depth."""
    figure = style.new_figure(10.0, 1.4 + 1.3 * len(errors))
    figure.suptitle(f"{name}: error of the motion", x=0.01, ha="left", fontsize=11)
    grid = figure.subplots(len(errors) + 1, 2, sharex="col", squeeze=False, gridspec_kw={"width_ratios": (8, 1)})
    depths_um = next(iter(errors.values())).depths_um
    top, beside = grid[0]
    for depth_um, colour in zip(depths_um[[0, len(depths_um) // 2, -1]], COLOURS, strict=False):
        motion_um = truth.at(truth.temporal_bins_s, depth_um)
        top.plot(truth.temporal_bins_s, motion_um, color=colour, label=f"{depth_um:.0f} µm")
    top.set_ylabel("motion (µm)")
    beside.axis("off")
    beside.legend(*top.get_legend_handles_labels(), title="at the depth of", loc="center left")
    for (panel, by_depth), (label, each) in zip(grid[1:], errors.items(), strict=True):
        extent = (0, len(each.error_um), depths_um[0], depths_um[-1])
        look = {"cmap": "magma_r", "vmin": 0, "vmax": SHOWN_UM, "aspect": "auto", "origin": "lower"}
        image = panel.imshow(each.error_um.T, extent=extent, interpolation="nearest", **look)
        bursts = count_of(each.numbers["bursts"], "burst")
        panel.set_title(f"{label}: {each.numbers['mean_um']:.2f} µm, {bursts}", loc="left")
        panel.set_ylabel("depth (µm)")
        by_depth.plot(each.error_um.mean(axis=0), depths_um, color=style.INK)
        by_depth.set_ylim(depths_um[0], depths_um[-1])
        by_depth.set_yticklabels([])
        by_depth.set_xlim(left=0)
    grid[-1, 0].set_xlabel("time (s)")
    grid[-1, 1].set_xlabel("mean (µm)")
    figure.colorbar(image, ax=grid[1:, 1], label="error (µm)", extend="max", fraction=0.5)
    return figure


@style.in_house_style
def overview(errors: dict[str, dict[str, Errors]], labels: list[str]):
    """The largest error of each second, a panel a scenario, a line a preset; seconds near jumps are shaded."""
    figure = style.new_figure(9.0, 1.2 + 1.1 * ((len(errors) + 1) // 2))
    figure.suptitle("largest error over depth, each second", x=0.01, ha="left", fontsize=11)
    panels = figure.subplots((len(errors) + 1) // 2, 2, sharex=True, sharey=True, squeeze=False).ravel()
    for panel, (name, each) in zip(panels, errors.items(), strict=False):
        for label, colour in zip(labels, COLOURS, strict=False):
            panel.plot(np.arange(len(each[label].largest_um)) + 0.5, each[label].largest_um, color=colour, lw=0.8)
        near_jump = next(iter(each.values())).near_jump
        for edge in np.flatnonzero(near_jump):
            panel.axvspan(edge, edge + 1, color=style.PALE, lw=0, alpha=0.5, zorder=0)
        panel.axhline(BURST_UM, color=style.PALE, lw=0.8, zorder=0)
        panel.set_yscale("log")
        panel.set_ylim(0.1, 200)
        panel.set_yticks(TICKS_UM, labels=[f"{tick:g}" for tick in TICKS_UM])
        panel.minorticks_off()
        panel.set_title(name, loc="left")
    for panel in panels[-2:]:
        panel.set_xlabel("time (s)")
    panels[0].set_ylabel("error (µm)")
    lines = panels[0].get_lines()[: len(labels)]
    figure.legend(lines, labels, loc="outside upper right", ncols=min(len(labels), 4))
    return figure


def save(figure, folder: Path, name: str) -> None:
    """As PNG of so few colours that it is small."""
    image = Image.open(BytesIO(style.rendered(figure, "png"))).convert("RGB")
    image.quantize(128, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
        folder / f"{name}.png", optimize=True
    )
