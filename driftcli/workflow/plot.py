"""plot: the files of a run in, pictures of it and a page out. Needs no recording."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from driftcli.errors import OutputError
from driftcli.files import refuse_existing
from driftcli.model import Settings
from driftcli.report.figures import DRAW
from driftcli.report.page import page
from driftcli.report.style import library_version, rendered
from driftcli.report.view import View
from driftcli.units import readable_size
from driftcli.workflow.identity import checksum_of
from driftcli.workflow.outdated import tell_of_outdated
from driftcli.workflow.place import begin, kept_from_before
from driftcli.workflow.runlog import RunLog
from driftcli.workflow.view import Span, require_folder, view_of
from driftcli.workflow.work import ASSESSMENT, MOTION, PEAKS, Work, check_outputs

REPORT, FIGURES = "report.html", "figures"
KINDS = ("png", "svg")
PLOT_BYTES = 4e8  # more than pictures took on any recording tried, Python and libraries included


def plot_outputs(folder: Path) -> list[Path]:
    """All files that `plot` leaves in a folder but for `run.json`; the last one is the mark that all are there."""
    figures = [folder / FIGURES / f"{name}.{kind}" for name in DRAW for kind in KINDS]
    return [*figures, folder / REPORT]


def with_pictures(
    folder: Path, wanted: bool, work: Work, correct: Callable[[], dict[str, dict[str, Any]]]
) -> dict[str, dict[str, Any]]:
    """What `correct` does, and pictures of it where they are wanted.

    Pictures that are there are refused before it begins, unless it goes on or replaces: then those of what it made are
    kept, and others are drawn again. Returns the facts that `correct` gives, with those of `plot`.
    """
    if wanted and work.max_memory_bytes is not None and work.max_memory_bytes < PLOT_BYTES:
        work.reporter.message(
            f"no pictures: they take up to {readable_size(PLOT_BYTES)} of memory, more than --max-memory; draw them "
            "with driftcli plot"
        )
        wanted = False
    if not wanted:
        facts = correct()
        tell_of_outdated(folder, work.reporter)
        return facts
    for file in plot_outputs(folder):
        refuse_existing(file, overwrite=work.overwrite or work.resume)
    return {**correct(), "plot": plot(folder, folder, replace(work, overwrite=True))}


def plot(
    folder: Path,
    out: Path,
    work: Work,
    *,
    name: str | None = None,
    time_limits_s: Span | None = None,
    depth_limits_um: Span | None = None,
) -> dict[str, Any]:
    """Draw what is in a folder, at least `peaks.h5` and `motion.h5`: `figures/` and `report.html` go to `out`.

    name: what figures are called after; by default the recording. time_limits_s, depth_limits_um: what is drawn; by
    default all.

    Returns the facts that went to `run.json`. Raises InputError when files are missing, can't be read or don't belong
    together, and OutputError when pictures are there.
    """
    require_folder(folder)
    inputs = {Path(file).stem: folder / file for file in (PEAKS, MOTION, ASSESSMENT) if (folder / file).exists()}
    outputs = plot_outputs(out)
    _check(outputs, inputs, out)
    view = view_of(folder, work.reporter, name=name, time_limits_s=time_limits_s, depth_limits_um=depth_limits_um)
    log = RunLog("plot", out / REPORT, inputs, Settings({}), (), work, options=_options(view))
    kept = kept_from_before(outputs, log, work)
    if kept is not None:
        return kept
    with begin(outputs, log.output, log.identity, work) as portion:
        with log.timed("draw"):
            made = list(_made(view, portion.folder, work))
        names = [file.relative_to(portion.folder).as_posix() for file in made]
        log.facts["checksums"] = {name: checksum_of(file) for name, file in zip(names, made, strict=True)}
        log.counts = {"peaks": view.num_peaks, "drawn": len(view.peaks), "figures": len(DRAW)}
        facts = log.closed()
        portion.deliver(made, {log.output.name: facts})
    return {"output": str(log.output), **facts}


def _check(outputs: list[Path], inputs: dict[str, Path], out: Path) -> None:
    check_outputs(outputs, inputs.values())
    if (out / FIGURES).exists() and not (out / FIGURES).is_dir():
        raise OutputError(f"{out / FIGURES} is not a folder", "move it away, or name another folder with --out")


def _options(view: View) -> dict[str, Any]:
    """What beside the inputs the pictures depend on. Times are in them, too, but the same work may take others."""
    return {
        "name": view.name,
        "time_limits_s": view.time_limits_s,
        "depth_limits_um": view.depth_limits_um,
        "corrections": dict(view.corrections),
        "matplotlib": library_version(),
    }


def _made(view: View, place: Path, work: Work) -> Iterator[Path]:
    """Draw everything into the folder of the work; the page comes last."""
    (place / FIGURES).mkdir(exist_ok=True)
    pictures: dict[str, bytes] = {}
    for done, (name, draw) in enumerate(DRAW.items()):
        work.reporter.progress("draw", done, len(DRAW))
        figure = draw(view)
        for kind in KINDS:
            data = rendered(figure, kind)
            pictures |= {name: data} if kind == "png" else {}
            yield _written(place / FIGURES / f"{name}.{kind}", data)
    work.reporter.progress("draw", len(DRAW), len(DRAW))
    yield _written(place / REPORT, page(view, pictures).encode())


def _written(file: Path, data: bytes) -> Path:
    file.write_bytes(data)
    return file
