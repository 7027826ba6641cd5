"""driftcli info"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from driftcli.cli.annotations import OutputDtype, Shanks
from driftcli.cli.options import LookOptions, PresetOptions, RecordingOptions, grouped
from driftcli.cli.show_info import info_rows

Out = Annotated[Path | None, typer.Option(help="Folder that a run would write to. (default: that of run)")]
Full = Annotated[
    bool, typer.Option("--full", help="Look at all of the recording, not at slices, and list the spans found.")
]


@grouped
def info(
    source: RecordingOptions,
    preset: PresetOptions,
    options: LookOptions,
    full: Full = False,
    out: Out = None,
    output_dtype: OutputDtype = None,
    shanks: Shanks = "each",
) -> None:
    """Say what a recording is, what is wrong with it, and what a run would cost. Writes nothing.

    Examples:
        driftcli info rec.bin --probe probe.json --preset nonrigid_accurate
        driftcli info run_g0_t0.imec0.ap.bin --full
    """
    settings = preset.settings()
    from driftcli.workflow.info import info
    from driftcli.workflow.run import default_folder

    with options.console() as console:
        recording = source.open(console)
        folder = out or default_folder(source.first)
        work = options.work(console)
        facts = info(recording, settings, folder, work, full=full, dtype=output_dtype, shanks=shanks)
    console.summary(source.first.name, info_rows(facts), facts)


command = info
