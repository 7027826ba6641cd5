"""compare: several corrections of one recording side by side in one picture."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from driftcli.errors import InputError, UsageError
from driftcli.files import atomic
from driftcli.model import RecordingFacts
from driftcli.report.comparison import MOST_RUNS, comparison
from driftcli.report.style import rendered
from driftcli.report.view import MOST_POINTS
from driftcli.store.schema import read_handover
from driftcli.workflow.runlog import outputs_in_run_log
from driftcli.workflow.view import Span, require_folder, view_of
from driftcli.workflow.work import ASSESSMENT, MOTION, PEAKS, Work, claim_outputs

NAME, KINDS = "comparison", ("png", "svg")


def compare(
    folders: Sequence[Path],
    out: Path,
    work: Work,
    *,
    time_limits_s: Span | None = None,
    depth_limits_um: Span | None = None,
) -> dict[str, Any]:
    """Draw several runs of one recording side by side.

    folders: of each run, with at least `peaks.h5` and `motion.h5`. out: a `.png` or an `.svg`, or the folder where
    `comparison.png` and `comparison.svg` go. time_limits_s, depth_limits_um: what is drawn; by default all.

    Returns the files and what was drawn. Raises InputError when files can't be read or the recordings are not the same,
    UsageError for too few or too many folders, and OutputError when the pictures are there.
    """
    began = perf_counter()
    _require_some(folders)
    for folder in folders:
        require_folder(folder)
    _require_one_recording(folders)
    outputs = _outputs(out)
    inputs = [folder / name for folder in folders for name in (PEAKS, MOTION, ASSESSMENT)]
    claim_outputs(outputs, inputs, work.overwrite)
    limits: dict[str, Any] = {"time_limits_s": time_limits_s, "depth_limits_um": depth_limits_um}
    points = MOST_POINTS // len(folders)
    views = [view_of(folder, work.reporter, most_points=points, **limits) for folder in folders]
    figure = comparison(dict(zip(_names(folders), views, strict=True)))
    for path in outputs:
        data = rendered(figure, path.suffix[1:].lower())
        with atomic(path) as part:
            part.write_bytes(data)
    return {
        "output": str(out),
        "files": [str(path) for path in outputs],
        "runs": [str(folder) for folder in folders],
        "counts": {"peaks": [view.num_peaks for view in views], "drawn": [len(view.peaks) for view in views]},
        "times_s": {"total": round(perf_counter() - began, 3)},
    }


def _require_some(folders: Sequence[Path]) -> None:
    if len(folders) < 2:
        raise UsageError("there is nothing to compare", "give two folders or more; driftcli plot shows one")
    if len(folders) > MOST_RUNS:
        raise UsageError(f"{len(folders)} runs don't fit beside each other", f"give {MOST_RUNS} folders at most")
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise UsageError("a folder is given twice", "give each run once")


def _outputs(out: Path) -> list[Path]:
    if out.suffix.lower() in (".png", ".svg"):
        return [out]
    if out.suffix and not out.is_dir():
        raise UsageError(f"{out.name} is no name of a picture", "end it with .png or .svg, or name a folder")
    return [out / f"{NAME}.{kind}" for kind in KINDS]


def _names(folders: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell the folders apart."""
    whole = [folder.resolve().parts for folder in folders]
    paths = [(*parts[:-1], parts[-1].removesuffix(".driftcli")) for parts in whole]
    if len(set(paths)) < len(paths):  # rec beside rec.driftcli
        paths = whole
    length = next(length for length in count(1) if len({parts[-length:] for parts in paths}) == len(paths))
    return ["/".join(parts[-length:]) for parts in paths]


def _require_one_recording(folders: Sequence[Path]) -> None:
    """Raise InputError unless all are runs of one recording, by what their peaks carry and `run.json` says of it."""
    first, *others = ((folder, _facts_of(folder), _digests_of(folder)) for folder in folders)
    for folder, facts, digests in others:
        told = _difference(first[1], facts)
        if not told and first[2] and digests and first[2] != digests:
            told = "the files have another content"
        if told:
            hint = "compare runs of one recording, and of the same span of it"
            raise InputError(f"{folder} is of another recording than {first[0]}: {told}", hint)


def _facts_of(folder: Path) -> RecordingFacts:
    facts = read_handover(folder / PEAKS, "peaks")[1]
    if facts is None:
        raise InputError(f"{folder / PEAKS} carries no recording", "find the peaks again with driftcli detect")
    return facts


def _difference(ours: RecordingFacts, theirs: RecordingFacts) -> str:
    for what, unit, values in (
        ("sampling frequency", " Hz", (ours.sampling_frequency_hz, theirs.sampling_frequency_hz)),
        ("duration", " s", (ours.duration_s, theirs.duration_s)),
        ("first sample", "", (ours.origin, theirs.origin)),
        ("number of contacts", "", (len(ours.geometry), len(theirs.geometry))),
    ):
        if values[0] != values[1]:
            return f"{what} {values[1]:g}{unit}, not {values[0]:g}{unit}"
    same_shanks = (ours.geometry.shanks == theirs.geometry.shanks).all()
    if not same_shanks or not np.allclose(ours.geometry.positions_um, theirs.geometry.positions_um, atol=0.01):
        return "contacts are in other places"
    return ""


def _digests_of(folder: Path) -> dict[str, str]:
    """Of the files that the peaks were found in, where `run.json` tells of them."""
    inputs = outputs_in_run_log(folder).get(PEAKS, {}).get("inputs", {})
    return {
        name: each["sha256_of_ends"] for name, each in inputs.items() if name != "probe" and "sha256_of_ends" in each
    }
