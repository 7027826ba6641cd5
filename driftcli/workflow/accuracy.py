"""accuracy: a motion and the truth of its recording in, how far they are from each other out."""

from __future__ import annotations

from pathlib import Path

from driftcli.errors import InputError
from driftcli.model import Motion
from driftcli.simulate.truth import Truth, error_against_truth, load_truth
from driftcli.store.motion import read_motion


def accuracy(motion: Path | Motion, truth: Path | Truth) -> dict[str, float]:
    """The error of a motion in µm, see `error_against_truth`; either may be the path of its file.

    Raises InputError for files that are not what they should be, and for a motion of several shanks.
    """
    known = truth if isinstance(truth, Truth) else load_truth(truth)
    return error_against_truth(motion if isinstance(motion, Motion) else _only_shank(motion), known)


def _only_shank(path: Path) -> Motion:
    motions = read_motion(path).motions
    if len(motions) > 1:
        raise InputError(f"{path} holds {len(motions)} shanks, the truth one", "give the motion of that recording")
    return next(iter(motions.values()))
