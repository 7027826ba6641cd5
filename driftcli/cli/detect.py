"""driftcli detect"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from driftcli.cli.annotations import Array, ExcludeTimes, ShardOf
from driftcli.cli.options import PresetOptions, RecordingOptions, StreamOptions, grouped, shard_of
from driftcli.cli.show import summary_rows

Out = Annotated[Path | None, typer.Option(help="The file of the peaks. (default: rec.driftcli/peaks.h5)")]


@grouped
def detect(
    source: RecordingOptions,
    preset: PresetOptions,
    options: StreamOptions,
    out: Out = None,
    exclude_times: ExcludeTimes = None,
    shard: ShardOf = None,
    array: Array = False,
) -> None:
    """Find and localize the peaks of a recording: peaks.h5.

    Examples:
        driftcli detect rec.bin --probe probe.json
        driftcli detect rec.bin --probe probe.json --set detect.detect_threshold=6
        driftcli detect rec.bin --probe probe.json --shard 1/4
    """
    part = shard_of(shard, array)
    settings = preset.settings()
    from driftcli.workflow.detect import detect
    from driftcli.workflow.run import default_folder
    from driftcli.workflow.work import PEAKS

    out = out or default_folder(source.first) / PEAKS
    with options.console() as console:
        recording = source.open(console)
        work = options.work(console)
        facts = detect(recording, settings, out, work, exclude_times=exclude_times, shard=part)
    console.summary(str(out), summary_rows({"detect": facts}, recording.duration_s), facts)


command = detect
