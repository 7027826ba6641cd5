"""driftcli run"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, get_args

import typer

from driftcli.cli.arguments import text_of
from driftcli.cli.options import (
    ExcludeTimes,
    FormOptions,
    PresetOptions,
    RecordingOptions,
    StreamOptions,
    grouped,
)
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
    """Correct a recording: detect, estimate and apply in one go.

    Leaves peaks.h5, motion.h5, corrected.bin, probe.json and run.json in a folder beside the recording.
    Of SpikeGLX input, rec_driftcorr_g0_t0.imec0.ap.bin and its .meta take the place of corrected.bin.

    With --scheduler the workers of a Dask cluster share the recording out, and leave the same files.

    Example: driftcli run rec.bin --probe probe.json --preset nonrigid_accurate
    """
    if shards is not None and scheduler is None:
        raise UsageError("--shards are for the workers of --scheduler", "driftcli submit makes shards of Slurm jobs")
    settings = preset.with_bad_channels_out(form.bad_channels_out).settings()
    from driftcli.workflow import run as workflow

    with options.console() as console:
        recording = source.open(console)
        folder = out or workflow.default_folder(source.first)
        work = options.work(console)
        wanted = form.form()
        if scheduler is None:
            facts = workflow.run(recording, settings, folder, work, **vars(wanted))
        else:
            from driftcli.workflow.spread import run_on_cluster

            if form.exclude_times is not None:
                wanted = replace(wanted, exclude_times=text_of(form.exclude_times, get_args(ExcludeTimes)[1:]))
            how, folder, jobs = source.how(), folder.absolute(), options.jobs
            facts = run_on_cluster(scheduler, shards, recording, how, settings, folder, work, wanted, jobs=jobs)
    console.summary(f"{folder}/", summary_rows(facts, recording.duration_s), facts)


command = run
