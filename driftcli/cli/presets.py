"""driftcli presets"""

from __future__ import annotations

from typing import Annotated

import typer

from driftcli.cli.options import Debug, PresetOptions

app = typer.Typer(no_args_is_help=True, help="List the presets, or show what one says.")


@app.command("list")
def list_presets() -> None:
    """Name every preset and say what it is for."""
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


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="Name of a preset, or a YAML file.", show_default=False)],
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="STAGE.KEY=VALUE", help="Change a value; may be repeated.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Show a preset with every parameter filled in, as YAML that --preset takes.

    Example: driftcli presets show dredge > my.yaml
    """
    from driftcli import presets

    print(presets.to_yaml(PresetOptions(name, changes).settings(), presets.doc(name)), end="")
