"""driftcli run"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from driftcli.cli.options import (
    BadChannelsOut,
    Compress,
    ExcludeTimes,
    MaxMemory,
    OutputDtype,
    PresetOptions,
    RecordingOptions,
    Shanks,
    Split,
    StreamOptions,
    grouped,
    limited,
)
from driftcli.cli.show import summary_rows

Out = Annotated[Path | None, typer.Option(help="Folder of the outputs. (default: rec.driftcli beside rec.bin)")]


@grouped
def run(
    source: RecordingOptions,
    preset: PresetOptions,
    options: StreamOptions,
    out: Out = None,
    output_dtype: OutputDtype = None,
    split: Split = False,
    compress: Compress = False,
    bad_channels_out: BadChannelsOut = None,
    shanks: Shanks = "each",
    exclude_times: ExcludeTimes = None,
    max_memory: MaxMemory = None,
) -> None:
    """Correct a recording: detect, estimate and apply in one go.

    Leaves peaks.h5, motion.h5, corrected.bin, probe.json and run.json in a folder beside the recording.
    Of SpikeGLX input, rec_driftcorr_g0_t0.imec0.ap.bin and its .meta take the place of corrected.bin.

    Example: driftcli run rec.bin --probe probe.json --preset nonrigid_accurate
    """
    settings = preset.with_bad_channels_out(bad_channels_out).settings()
    from driftcli.workflow import run as workflow

    with options.console() as console:
        recording = source.open(console)
        folder = out or workflow.default_folder(source.first)
        work = limited(options.work(console), max_memory)
        facts = workflow.run(
            recording,
            settings,
            folder,
            work,
            dtype=output_dtype,
            split=split,
            compress=compress,
            shanks=shanks,
            exclude_times=exclude_times,
        )
    console.summary(f"{folder}/", summary_rows(facts, recording.duration_s), facts)


command = run
