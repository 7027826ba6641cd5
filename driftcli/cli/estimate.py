"""driftcli estimate"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from driftcli.cli.annotations import ExcludeTimes, IgnoreMask, Shanks, SpanUm
from driftcli.cli.console import Console
from driftcli.cli.options import FileOptions, PresetOptions, StreamOptions, grouped
from driftcli.cli.show import summary_rows

Source = Annotated[
    Path,
    typer.Argument(
        metavar="PEAKS",
        help="peaks.h5, or an .npz with time_s, depth_um, amplitude_uv. With --preset dredge_lfp a recording, such as "
        "the .lf.bin of a SpikeGLX pair.",
        show_default=False,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(help="The file of the motion. (default: motion.h5 beside the peaks, or in rec.driftcli)"),
]


@grouped
def estimate(
    peaks: Source,
    source: FileOptions,
    preset: PresetOptions,
    options: StreamOptions,
    out: Out = None,
    span_um: SpanUm = None,
    shanks: Shanks = "each",
    exclude_times: ExcludeTimes = None,
    ignore_mask: IgnoreMask = False,
) -> None:
    """Estimate the motion of the tissue from peaks: motion.h5. Needs no recording.

    Uses the preset that the peaks were found with, unless --preset or --set says otherwise. Presets that work on the
    local field potential take a recording instead of peaks; options under "Recording" are for that.

    Examples:
        driftcli estimate rec.driftcli/peaks.h5 --set estimate.bin_s=2 --overwrite
        driftcli estimate rec.driftcli/peaks.h5 --exclude-times 12.5-14,300-310
        driftcli estimate peaks.npz --span-um 0 3840 --preset dredge
        driftcli estimate run_g0_t0.imec0.lf.bin --preset dredge_lfp
    """
    from driftcli.workflow.given import is_peaks, settings_of_source

    settings = settings_of_source(peaks, preset.preset, preset.changes or ())

    def of_peaks(console: Console) -> dict[str, Any]:
        from driftcli.workflow.estimate import estimate
        from driftcli.workflow.estimate_traces import refuse_for_peaks
        from driftcli.workflow.work import MOTION

        refuse_for_peaks(source.named())
        return estimate(
            peaks,
            settings,
            out or peaks.with_name(MOTION),
            options.work(console),
            span_um=span_um,
            shanks=shanks,
            exclude_times=exclude_times,
            ignore_mask=ignore_mask,
        )

    def of_traces(console: Console) -> dict[str, Any]:
        from driftcli.workflow.estimate_traces import estimate_traces, refuse_for_traces
        from driftcli.workflow.run import default_folder
        from driftcli.workflow.work import MOTION

        refuse_for_traces(settings, span_um, ignore_mask)
        recording = source.opened([peaks], console, lf_ok=True)
        target = out or default_folder(peaks) / MOTION
        work = options.work(console)
        return estimate_traces(recording, settings, target, work, shanks=shanks, exclude_times=exclude_times)

    with options.console() as console:
        facts = of_peaks(console) if is_peaks(peaks) else of_traces(console)
    console.summary(facts["output"], summary_rows({"estimate": facts}), facts)


command = estimate
