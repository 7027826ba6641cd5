"""driftcli correct-peaks"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from driftcli.cli.annotations import MotionPath
from driftcli.cli.options import PresetOptions, WorkOptions, grouped
from driftcli.cli.show import summary_rows

PeaksFile = Annotated[Path, typer.Argument(help="peaks.h5, as detect wrote it.", show_default=False)]
Out = Annotated[Path | None, typer.Option(help="The corrected peaks. (default: corrected_peaks.h5 beside the peaks)")]


@grouped
def correct_peaks(peaks: PeaksFile, motion: MotionPath, options: WorkOptions, out: Out = None) -> None:
    """Correct the depths of peaks instead of traces: corrected_peaks.h5, with the column y_corrected_um.

    Examples:
        driftcli correct-peaks rec.driftcli/peaks.h5 rec.driftcli/motion.h5
    """
    settings = PresetOptions().settings(peaks, "peaks")
    from driftcli.workflow.correct_peaks import correct_peaks, default_output

    out = out or default_output(peaks)
    with options.console() as console:
        facts = correct_peaks(peaks, motion, settings, out, options.work(console))
    console.summary(str(out), summary_rows({"correct-peaks": facts}), facts)


command = correct_peaks
