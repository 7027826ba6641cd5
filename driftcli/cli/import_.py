"""driftcli import"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from driftcli.cli.options import WorkOptions, grouped
from driftcli.cli.show import motion_rows
from driftcli.units import seconds

Source = Annotated[
    Path,
    typer.Argument(help="A CSV or .npz as export writes them, or a folder of SpikeInterface.", show_default=False),
]
Like = Annotated[
    Path | None,
    typer.Option(help="motion.h5 of the same recording: hands on its facts and its preset.", show_default=False),
]
AllowGaps = Annotated[
    bool, typer.Option("--allow-gaps", help="Take a motion with missing rows; it is looked up between those there are.")
]
Out = Annotated[Path | None, typer.Option(help="The motion. (default: motion_imported.h5 beside motion.csv)")]


@grouped
def import_(
    source: Source, options: WorkOptions, like: Like = None, out: Out = None, allow_gaps: AllowGaps = False
) -> None:
    """Read a motion that was exported, edited or made elsewhere: a motion.h5 that apply takes.

    A CSV holds the motion only, so give --like; .npz and folders that export wrote hold the rest themselves.

    Examples:
        driftcli import rec.driftcli/motion.csv --like rec.driftcli/motion.h5
        driftcli import motion.npz --out motion.h5
    """
    from driftcli import presets
    from driftcli.workflow.import_ import default_output, import_motion, read_source

    with options.console() as console:
        read = read_source(source, like, gaps_allowed=allow_gaps)
        out = out or default_output(source)
        settings = presets.load() if read.handover is None else presets.resolve(read.handover.preset)
        facts = import_motion(read, settings, out, options.work(console))
    rows = {
        **motion_rows(facts["counts"]),
        "import": f"{facts['output']} in {seconds(facts['times_s']['total'])}",
    }
    console.summary(str(out), rows, facts)


command = import_
