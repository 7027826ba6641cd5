"""Outputs that were made from others which are not there any more: their successors have taken the names."""

from __future__ import annotations

from pathlib import Path

from driftcli.reporter import Reporter
from driftcli.workflow.runlog import outputs_in_run_log


def outdated(folder: Path) -> dict[str, str]:
    """By the `run.json` of a folder: outputs there, and what each was made of that is another file now."""
    outputs = outputs_in_run_log(folder)
    now = {name: sums.get("sha256") for facts in outputs.values() for name, sums in facts.get("checksums", {}).items()}
    return {
        name: used["path"]
        for name, facts in outputs.items()
        for used in facts.get("inputs", {}).values()
        if (folder / name).exists() and now.get(used.get("path"), used.get("sha256")) != used.get("sha256")
    }


def tell_of_outdated(folder: Path, reporter: Reporter) -> None:
    """Say which outputs are of the time before: they would pass for what was made now."""
    for name, used in outdated(folder).items():
        reporter.message(f"{name} was made from an earlier {used}: make it again with --overwrite")
