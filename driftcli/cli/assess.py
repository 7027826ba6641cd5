"""driftcli assess"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from driftcli.cli.annotations import SpanUm
from driftcli.cli.options import PresetOptions, ThreadOptions, grouped
from driftcli.cli.show import summary_rows

Source = Annotated[
    Path,
    typer.Argument(
        metavar="PEAKS",
        help="Folder of a run, or peaks.h5, or an .npz with time_s, depth_um, amplitude_uv.",
        show_default=False,
    ),
]
MotionOf = Annotated[
    Path | None, typer.Argument(metavar="MOTION", help="The motion to look at. (default: motion.h5 beside the peaks)")
]
Out = Annotated[Path | None, typer.Option(help="The file of the scores. (default: assessment.h5 beside the motion)")]


@grouped
def assess(
    peaks: Source,
    preset: PresetOptions,
    options: ThreadOptions,
    motion: MotionOf = None,
    out: Out = None,
    span_um: SpanUm = None,
) -> None:
    """Say whether a motion helps, with scores and reasons: assessment.h5. Needs no recording.

    Uses the preset that the motion was estimated with, unless --preset or --set says otherwise.

    Examples:
        driftcli assess rec.driftcli
        driftcli assess rec.driftcli/peaks.h5 rec.driftcli/motion_imported.h5
    """
    from driftcli.workflow.assess import assess, default_assessment
    from driftcli.workflow.steps import DETECT_STAGES
    from driftcli.workflow.work import MOTION, PEAKS

    peaks = peaks / PEAKS if peaks.is_dir() else peaks
    motion = motion or peaks.with_name(MOTION)
    settings = preset.settings(motion, "motion", DETECT_STAGES)
    out = out or default_assessment(motion)
    with options.console() as console:
        facts = assess(peaks, motion, settings, out, options.work(console), span_um=span_um)
    console.summary(str(out), summary_rows({"assess": facts}), facts)


command = assess
