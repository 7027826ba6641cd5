"""driftcli accuracy"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from driftcli.cli.annotations import Debug, Json, MotionPath
from driftcli.cli.console import Console


def accuracy(
    motion: MotionPath,
    truth: Annotated[Path, typer.Argument(help="truth.npz, as simulate wrote it.", show_default=False)],
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Say how far a motion is from the truth of a simulated recording.

    The median difference is taken off first, as drift has no absolute zero.

    Examples:
        driftcli accuracy demo/rec.driftcli/motion.h5 demo/truth.npz
    """
    from driftcli.workflow.accuracy import accuracy

    error = accuracy(motion, truth)
    rows = {
        "error": f"{error['mean_um']:.2f} µm mean, {error['p95_um']:.2f} µm at the 95th percentile",
        "drift": f"{error['true_range_um']:.1f} µm from lowest to highest, without correction",
    }
    Console(quiet=False, json=json).summary(str(motion), rows, error)


command = accuracy
