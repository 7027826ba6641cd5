"""driftcli apply"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from driftcli.cli.options import (
    MotionPath,
    OutputDtype,
    PresetOptions,
    RecordingOptions,
    StreamOptions,
    grouped,
)
from driftcli.cli.show import summary_rows

Out = Annotated[Path | None, typer.Option(help="The corrected binary. (default: rec.driftcli/corrected.bin)")]


@grouped
def apply(
    source: RecordingOptions,
    motion: MotionPath,
    preset: PresetOptions,
    options: StreamOptions,
    out: Out = None,
    output_dtype: OutputDtype = None,
) -> None:
    """Correct a recording with a motion: corrected.bin and its probe.

    Probe, rate and gain come from the motion file, the methods from the preset it was made with, unless options say
    otherwise.

    Example: driftcli apply rec.bin rec.driftcli/motion.h5 --set apply.signal=raw
    """
    from driftcli.workflow.apply import apply
    from driftcli.workflow.run import CORRECTED, default_folder
    from driftcli.workflow.steps import BEFORE_APPLY

    settings = preset.settings(motion, "motion", BEFORE_APPLY)

    out = out or default_folder(source.recording) / CORRECTED
    with options.console() as console:
        recording = source.open(console, motion)
        facts = apply(recording, motion, settings, out, options.work(console), dtype=output_dtype)
    console.summary(str(out), summary_rows({"apply": facts}, recording.duration_s), facts)


command = apply
