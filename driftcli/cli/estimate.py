"""driftcli estimate"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from driftcli.cli.annotations import ExcludeTimes, IgnoreMask, Shanks, SpanUm
from driftcli.cli.options import PresetOptions, ThreadOptions, grouped
from driftcli.cli.show import summary_rows

Source = Annotated[
    Path,
    typer.Argument(
        metavar="PEAKS", help="peaks.h5, or an .npz with time_s, depth_um, amplitude_uv.", show_default=False
    ),
]
Out = Annotated[Path | None, typer.Option(help="The file of the motion. (default: motion.h5 beside the peaks)")]


@grouped
def estimate(
    peaks: Source,
    preset: PresetOptions,
    options: ThreadOptions,
    out: Out = None,
    span_um: SpanUm = None,
    shanks: Shanks = "each",
    exclude_times: ExcludeTimes = None,
    ignore_mask: IgnoreMask = False,
) -> None:
    """Estimate the motion of the tissue from peaks: motion.h5. Needs no recording.

    Uses the preset that the peaks were found with, unless --preset or --set says otherwise.

    Examples:
        driftcli estimate rec.driftcli/peaks.h5
        driftcli estimate rec.driftcli/peaks.h5 --set estimate.bin_s=2 --overwrite
        driftcli estimate rec.driftcli/peaks.h5 --exclude-times 12.5-14,300-310
        driftcli estimate peaks.npz --span-um 0 3840 --preset dredge
    """
    from driftcli.workflow.estimate import estimate
    from driftcli.workflow.steps import DETECT_STAGES
    from driftcli.workflow.work import MOTION

    settings = preset.settings(None if peaks.suffix.lower() == ".npz" else peaks, "peaks", DETECT_STAGES)
    out = out or peaks.with_name(MOTION)
    with options.console() as console:
        facts = estimate(
            peaks,
            settings,
            out,
            options.work(console),
            span_um=span_um,
            shanks=shanks,
            exclude_times=exclude_times,
            ignore_mask=ignore_mask,
        )
    console.summary(str(out), summary_rows({"estimate": facts}), facts)


command = estimate
