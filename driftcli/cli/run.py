"""driftcli run"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from driftcli.cli.annotations import ExcludeTimes
from driftcli.cli.arguments import text_of
from driftcli.cli.options import FormOptions, PresetOptions, RecordingOptions, StreamOptions, grouped
from driftcli.cli.show import summary_rows
from driftcli.errors import UsageError

_CLUSTER = "Cluster"

Scheduler = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Let the workers of a Dask cluster do it, such as tcp://host:8786. They need the same driftcli, and the "
        "recording and the outputs under the same paths: a shared disk.",
        show_default=False,
        rich_help_panel=_CLUSTER,
    ),
]
Shards = Annotated[
    int | None,
    typer.Option(
        min=2, help="With --scheduler: parts of the recording. (default: as many as workers)", rich_help_panel=_CLUSTER
    ),
]
Out = Annotated[Path | None, typer.Option(help="Folder of the outputs. (default: rec.driftcli beside rec.bin)")]


@grouped
def run(
    source: RecordingOptions,
    preset: PresetOptions,
    options: StreamOptions,
    form: FormOptions,
    out: Out = None,
    scheduler: Scheduler = None,
    shards: Shards = None,
) -> None:
    """Correct a recording: detect, estimate, assess, apply and plot in one go.

    Leaves peaks.h5, motion.h5, assessment.h5, corrected.bin, probe.json, figures, report.html and run.json in a folder
    beside the recording, and ends with a verdict: whether the correction helps. Of SpikeGLX input,
    rec_driftcorr_g0_t0.imec0.ap.bin and its .meta take the place of corrected.bin.

    With --scheduler the workers of a Dask cluster share the recording out, and leave the same files.

    Examples:
        driftcli run rec.bin --probe probe.json
        driftcli run run_g0_t0.imec0.ap.bin --preset dredge --out corrected
        driftcli run rec.bin --probe probe.json --set estimate.bin_s=2 --overwrite
    """
    if shards is not None and scheduler is None:
        raise UsageError("--shards are for the workers of --scheduler", "driftcli submit makes shards of Slurm jobs")
    settings = preset.with_bad_channels_out(form.bad_channels_out).settings()
    from driftcli.workflow import run as workflow
    from driftcli.workflow.plot import with_pictures
    from driftcli.workflow.steps import works_on_traces

    with options.console() as console:
        recording = source.open(console)
        folder = out or workflow.default_folder(source.first)
        work = options.work(console)
        wanted = form.form()
        if works_on_traces(settings):
            wanted = workflow.without_peaks(wanted, settings, work)

        def here() -> dict[str, dict[str, Any]]:
            return workflow.run(recording, settings, folder, work, **vars(wanted))

        def there() -> dict[str, dict[str, Any]]:
            from driftcli.workflow.spread import run_on_cluster

            spans = form.exclude_times and text_of(form.exclude_times, get_args(ExcludeTimes)[1:])
            asked, how = replace(wanted, exclude_times=spans), source.how()
            whole = folder.absolute()
            return run_on_cluster(
                str(scheduler), shards, recording, how, settings, whole, work, asked, jobs=options.jobs
            )

        facts = with_pictures(folder, wanted.report, work, here if scheduler is None else there)
    console.summary(f"{folder}/", summary_rows(facts, recording.duration_s), facts)


command = run
