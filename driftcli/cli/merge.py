"""driftcli merge"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from driftcli.cli.annotations import Mixed, Resume
from driftcli.cli.options import WorkOptions, grouped
from driftcli.cli.show import summary_rows

Out = Annotated[
    Path,
    typer.Argument(
        metavar="PEAKS", help="The folder of the outputs, or peaks.h5 as detect was told.", show_default=False
    ),
]


@grouped
def merge(out: Out, options: WorkOptions, resume: Resume = False, mixed: Mixed = False) -> None:
    """Put the shards of detect together: peaks.h5, to the byte what detect writes in one go.

    Shards that are missing, doubled or of other work are named. Those of apply need no merge: the last one to end
    gives the binary its name.

    Examples:
        driftcli merge rec.driftcli
        driftcli merge peaks.h5 --overwrite
    """
    from dataclasses import replace

    from driftcli.workflow.merge import merge
    from driftcli.workflow.work import PEAKS

    with options.console() as console:
        work = replace(options.work(console), resume=resume, mixed=mixed)
        facts = merge(out / PEAKS if out.is_dir() else out, work)
    console.summary(facts["output"], summary_rows({"detect": facts}), facts)


command = merge
