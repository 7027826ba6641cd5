"""driftcli accuracy"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from driftcli.cli.console import Console
from driftcli.cli.options import Debug, Json, MotionPath


def accuracy(
    motion: MotionPath,
    truth: Annotated[Path, typer.Argument(help="truth.npz, as simulate wrote it.", show_default=False)],
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Say how far a motion is from the truth of a simulated recording.

    The median difference is taken off first, as drift has no absolute zero.

    Example: driftcli accuracy demo/rec.driftcli/motion.h5 demo/truth.npz
    """
    from driftcli.errors import InputError
    from driftcli.simulate.truth import error_against_truth, load_truth
    from driftcli.store.motion import read_motion

    motions = read_motion(motion).motions
    if len(motions) > 1:
        raise InputError(f"{motion} holds {len(motions)} shanks, the truth one", "give the motion of that recording")
    error = error_against_truth(next(iter(motions.values())), load_truth(truth))
    rows = {
        "error": f"{error['mean_um']:.2f} µm mean, {error['p95_um']:.2f} µm at the 95th percentile",
        "drift": f"{error['true_range_um']:.1f} µm from lowest to highest, without correction",
    }
    Console(quiet=False, json=json).summary(str(motion), rows, error)


command = accuracy
