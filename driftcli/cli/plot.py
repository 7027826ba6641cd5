"""driftcli plot"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from driftcli.cli.annotations import Resume
from driftcli.cli.options import WorkOptions, grouped
from driftcli.cli.show import summary_rows

Folder = Annotated[
    Path,
    typer.Argument(
        metavar="DIR", help="The folder of a run, or one with a peaks.h5 and a motion.h5.", show_default=False
    ),
]
Out = Annotated[Path | None, typer.Option(metavar="FOLDER", help="Where figures/ and report.html go. (default: DIR)")]
TimeSpan = Annotated[
    tuple[float, float] | None,
    typer.Option("--time-s", metavar="LO HI", help="Draw only these times. (default: all)"),
]
DepthSpan = Annotated[
    tuple[float, float] | None,
    typer.Option("--depth-um", metavar="LO HI", help="Draw only these depths. (default: all)"),
]


@grouped
def plot(
    folder: Folder,
    options: WorkOptions,
    out: Out = None,
    time_s: TimeSpan = None,
    depth_um: DepthSpan = None,
    resume: Resume = False,
) -> None:
    """Draw what a run did: the drift map, peaks on the probe, spread of clusters, run times; PNG, SVG and a page.

    Needs no recording. Of more than 200,000 peaks every 2nd is drawn, or every 4th, 8th and so on.

    Examples:
        driftcli plot rec.driftcli
        driftcli plot rec.driftcli --time-s 0 600 --depth-um 1000 2000 --out part
    """
    from driftcli.workflow.plot import plot

    with options.console() as console:
        work = replace(options.work(console), resume=resume)
        facts = plot(folder, out or folder, work, time_limits_s=time_s, depth_limits_um=depth_um)
    console.summary(f"{out or folder}/", summary_rows({"plot": facts}), facts)


command = plot
