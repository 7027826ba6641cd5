"""driftcli verify"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from driftcli.cli.options import LookOptions, grouped

if TYPE_CHECKING:
    from driftcli.workflow.findings import Finding

Target = Annotated[
    Path, typer.Argument(metavar="DIR", help="The folder of the outputs, or one of them.", show_default=False)
]
Places = Annotated[
    int | None,
    typer.Option(min=0, help="Blocks, at random places, that are done again and compared. (default: 8)"),
]
Seed = Annotated[int | None, typer.Option(min=0, help="Look at the same places again. (default: others each time)")]


@grouped
def verify(target: Target, options: LookOptions, places: Places = None, seed: Seed = None) -> None:
    """Check outputs: inputs unchanged, files whole, contents consistent, blocks the same when done again.

    Ends with exit code 5 if anything is wrong. Writes nothing.

    Examples:
        driftcli verify rec.driftcli
        driftcli verify rec.driftcli --places 100
    """
    from driftcli.workflow.verify import DEFAULT_PLACES, verify

    with options.console() as console:
        work = options.work(console)
        found = verify(target, work, places=DEFAULT_PLACES if places is None else places, seed=seed)
    console.summary(str(target), _rows(found.findings), found.to_dict())
    found.require_ok()


def _rows(findings: list[Finding]) -> dict[str, str]:
    """A row for each file and check, with all that was found."""
    rows: dict[str, str] = {}
    for each in findings:
        name = f"{each.file}: {each.check}"
        told = ": ".join(filter(None, (_WORDS[each.state], each.text)))
        rows[name] = f"{rows[name]}; {told}" if name in rows else told
    return rows


_WORDS = {"ok": "ok", "note": "note", "unchecked": "can't be checked", "wrong": "WRONG"}

command = verify
