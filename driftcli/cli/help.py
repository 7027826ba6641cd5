"""How a verb's help is made of its docstring and its options."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import get_terminal_size
from typing import Any, Literal, get_args

import typer
from rich.markup import escape
from typer.core import TyperCommand, TyperGroup
from typer.models import OptionInfo

MARKUP: Literal["rich"] | None = "rich" if get_terminal_size().columns >= 70 else None
"""How typer lays the help out: in a narrow terminal its panels have no room for the names of options."""
_EXAMPLES = "Examples:\n"
_VALUES = {Path: "PATH", str: "TEXT", int: "N", float: "X", bool: ""}  # bool: a switch has none


class _PlainHelp:
    """Of a command: switches have no value in its help, and arguments no type. How typer shows those differs between
    its versions."""

    def get_params(self, context: Any) -> list[Any]:
        params: list[Any] = super().get_params(context)  # type: ignore[misc]
        for each in params:
            if each.param_type_name == "argument":
                each.metavar = each.metavar or each.name.upper()
                each.display_type_rich = lambda **_: ""
            elif each.is_flag and each.metavar is None:  # those that typer makes itself, such as --help
                each.metavar = ""
        return params


class _Verb(_PlainHelp, TyperCommand):
    def collect_usage_pieces(self, context: Any) -> list[str]:
        """`[OPTIONS] PEAKS [MOTION]`"""
        arguments = [each for each in self.get_params(context) if each.param_type_name == "argument"]
        return ["[OPTIONS]", *map(_usage_of, arguments)]


class Verbs(_PlainHelp, TyperGroup):
    """Class of a program that has verbs."""


def _usage_of(argument: Any) -> str:
    name = argument.metavar if argument.required else f"[{argument.metavar}]"
    return name + "..." * (argument.nargs != 1)


def add_command(app: typer.Typer, command: Callable[..., None], name: str = "", panel: str | None = None) -> None:
    """Register a verb. name: by default that of its function. panel: of the help in which the verb stands."""
    _name_values(command)
    name = name or command.__name__.strip("_").replace("_", "-")
    brief = _as_text(_brief(command))
    app.command(name, cls=_Verb, help=help_of(command), short_help=brief, rich_help_panel=panel)(command)


def _brief(command: Callable[..., None]) -> str:
    """For the list of commands, where typer would cut what isn't said to be short: the first paragraph."""
    return " ".join(inspect.cleandoc(command.__doc__ or "").partition("\n\n")[0].split())


def help_of(command: Callable[..., None]) -> str:
    """A docstring as the help shows it: a line for a paragraph, which the terminal breaks, and one for each example."""
    paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
    lines = [_as_text(" ".join(each.split())) for each in paragraphs if not each.startswith(_EXAMPLES)]
    if command_lines := examples_of(command):
        # not set in, as typer takes off what lines have in common; a $ shows where one begins in a narrow terminal
        lines.append(as_written("Examples:", *command_lines))
    return "\n\n".join(lines)


def _as_text(text: str) -> str:
    return escape(text) if MARKUP else text


def as_written(head: str, *command_lines: str) -> str:
    """A paragraph of lines that stay apart."""
    lines = "\n".join([head] * bool(head) + [f"$ {each}" for each in command_lines])
    return escape(lines) if MARKUP else f"\b\n{lines}"


def examples_of(command: Callable[..., None]) -> list[str]:
    """The command lines at the end of a docstring."""
    _, found, lines = inspect.cleandoc(command.__doc__ or "").partition(_EXAMPLES)
    return [line.strip() for line in lines.splitlines()] if found else []


def _name_values(command: Callable[..., None]) -> None:
    """What stands for the value of an option in the help: PATH, N; typer's own names are those of Python's types."""
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        for kind, metadata in _annotated(parameter.annotation):
            for info in metadata:
                if isinstance(info, OptionInfo) and info.metavar is None:
                    info.metavar = next((_VALUES[each] for each in (kind, *get_args(kind)) if each in _VALUES), None)


def _annotated(hint: Any) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """Python 3.10 makes an Optional of what may be None, with the metadata inside."""
    if hasattr(hint, "__metadata__"):
        yield hint.__origin__, hint.__metadata__
    else:
        for each in get_args(hint):
            yield from _annotated(each)
