"""driftcli presets"""

from __future__ import annotations

from typing import Annotated

import typer

from driftcli.cli.annotations import Changes, Debug
from driftcli.cli.completion import offer_presets
from driftcli.cli.help import MARKUP, Verbs, add_command
from driftcli.cli.options import PresetOptions

_BRIEF = "List the presets, or show what one says."
app = typer.Typer(cls=Verbs, no_args_is_help=True, rich_markup_mode=MARKUP, help=_BRIEF, short_help=_BRIEF)


def list_presets() -> None:
    """Name every preset and say what it is for.

    Examples:
        driftcli presets list
    """
    from rich.console import Console
    from rich.table import Table

    from driftcli import presets

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for name in presets.names():
        default = " [dim](the default)[/]" if name == presets.DEFAULT_PRESET else ""
        table.add_row(name, presets.doc(name) + default)
    Console(highlight=False).print(table)


def show_preset(
    name: Annotated[
        str,
        typer.Argument(help="Name of a preset, or a YAML file.", autocompletion=offer_presets, show_default=False),
    ],
    changes: Changes = None,
    debug: Debug = False,
) -> None:
    """Show a preset with every parameter filled in, as YAML that --preset takes.

    Examples:
        driftcli presets show dredge
        driftcli presets show dredge --set estimate.bin_s=2 > my.yaml
    """
    from driftcli import presets

    print(presets.to_yaml(PresetOptions(name, changes).settings(), presets.doc(name)), end="")


add_command(app, list_presets, "list")
add_command(app, show_preset, "show")
