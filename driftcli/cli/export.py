"""driftcli export"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from driftcli.cli.annotations import MotionPath
from driftcli.cli.options import PresetOptions, WorkOptions, grouped
from driftcli.cli.show import motion_rows
from driftcli.units import seconds

FORMATS = {
    "csv": "a table for a spreadsheet",
    "npz": "numpy arrays",
    "spikeinterface": "a folder for its Motion.load",
    "kilosort": "Kilosort4's probe file for the corrected recording",
}

To = Annotated[
    Literal["csv", "npz", "spikeinterface", "kilosort"],
    typer.Option(
        metavar="FORMAT", help="; ".join(f"{name}: {what}" for name, what in FORMATS.items()) + ".", show_default=False
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        help="The file or folder to write. (default: motion.csv, motion.npz, motion_spikeinterface or "
        "kilosort_probe.json beside the motion)"
    ),
]


@grouped
def export(motion: MotionPath, to: To, preset: PresetOptions, options: WorkOptions, out: Out = None) -> None:
    """Write a motion for other programs and for people: a CSV that import reads back, .npz, SpikeInterface, Kilosort4.

    --preset and --set are for spikeinterface and kilosort: give those that apply was given.

    Examples:
        driftcli export rec.driftcli/motion.h5 --to csv
        driftcli export rec.driftcli/motion.h5 --to kilosort
    """
    from driftcli.workflow.export import default_output, export, settings_of

    settings = settings_of(motion, to, preset.preset, preset.changes or ())
    out = out or default_output(motion, to)
    with options.console() as console:
        facts = export(motion, to, settings, out, options.work(console))
    rows = {
        **motion_rows(facts["counts"]),
        "export": f"{facts['output']} in {seconds(facts['times_s']['total'])}",
    }
    if "kilosort" in facts:
        rows["settings"] = ", ".join(f"{name}={value:.15g}" for name, value in facts["kilosort"].items())
    console.summary(str(out), rows, facts)


command = export
