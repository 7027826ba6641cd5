"""driftcli compare"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from driftcli.cli.options import WorkOptions, grouped
from driftcli.cli.plot import DepthSpan, TimeSpan
from driftcli.units import seconds

Folders = Annotated[
    list[Path], typer.Argument(metavar="DIR", help="Folders of runs on one recording.", show_default=False)
]
Out = Annotated[
    Path,
    typer.Option(
        metavar="FILE|FOLDER",
        help="A .png or .svg, or the folder of both. (default: comparison.png and comparison.svg here)",
        show_default=False,
    ),
]


@grouped
def compare(
    folders: Folders,
    options: WorkOptions,
    out: Out = Path(),
    time_s: TimeSpan = None,
    depth_um: DepthSpan = None,
) -> None:
    """Draw several runs on one recording side by side, as to choose a preset: peaks, motions, scores, run times.

    Examples:
        driftcli compare rigid_fast likelihood dredge
        driftcli compare rigid_fast likelihood --out presets.png
    """
    from driftcli.workflow.compare import compare

    with options.console() as console:
        facts = compare(folders, out, options.work(console), time_limits_s=time_s, depth_limits_um=depth_um)
    rows = {
        "runs": ", ".join(facts["runs"]),
        "compare": f"{', '.join(facts['files'])} in {seconds(facts['times_s']['total'])}",
    }
    console.summary("comparison", rows, facts)


command = compare
