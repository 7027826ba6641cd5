"""driftcli apply"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from driftcli.cli.annotations import Array, BadChannelsOut, Compress, IfBetter, MotionPath, OutputDtype, ShardOf, Split
from driftcli.cli.options import PresetOptions, RecordingOptions, StreamOptions, grouped, shard_of
from driftcli.cli.show import summary_rows

Out = Annotated[
    Path | None,
    typer.Option(
        help="The corrected binary, with --split the folder of all. (default: corrected.bin in rec.driftcli/, of "
        "SpikeGLX X_driftcorr....ap.bin)"
    ),
]
FittedTo = Annotated[
    Path | None,
    typer.Option(
        metavar="PEAKS",
        help="The peaks that weights are fitted to, where the method does that. (default: peaks.h5 beside the motion)",
        show_default=False,
    ),
]


@grouped
def apply(
    source: RecordingOptions,
    motion: MotionPath,
    preset: PresetOptions,
    options: StreamOptions,
    out: Out = None,
    output_dtype: OutputDtype = None,
    split: Split = False,
    compress: Compress = False,
    bad_channels_out: BadChannelsOut = None,
    if_better: IfBetter = False,
    peaks: FittedTo = None,
    shard: ShardOf = None,
    array: Array = False,
) -> None:
    """Correct a recording with a motion: corrected.bin and its probe, or of a SpikeGLX pair another one.

    Probe, rate and gain come from the motion file, the methods from the preset it was made with, unless options or a
    SpikeGLX meta say otherwise.

    Examples:
        driftcli apply rec.bin rec.driftcli/motion.h5
        driftcli apply rec.bin rec.driftcli/motion.h5 --set apply.signal=raw
    """
    from driftcli.workflow.apply import apply
    from driftcli.workflow.outputs import default_name
    from driftcli.workflow.run import default_folder
    from driftcli.workflow.steps import BEFORE_APPLY

    part = shard_of(shard, array)
    settings = preset.with_bad_channels_out(bad_channels_out).settings(motion, "motion", BEFORE_APPLY)

    with options.console() as console:
        recording = source.open(console, motion)
        folder = default_folder(source.first)
        out = out or (folder if split else folder / default_name(recording, compress=compress))
        facts = apply(
            recording,
            motion,
            settings,
            out,
            options.work(console),
            dtype=output_dtype,
            split=split,
            compress=compress,
            if_better=if_better,
            peaks_path=peaks,
            shard=part,
        )
    console.summary(str(out), summary_rows({"apply": facts}, recording.duration_s), facts)


command = apply
