"""A command's options turned back into a command line, for jobs that go on elsewhere."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

from typer.models import ArgumentInfo, OptionInfo

from driftcli.cli.annotations import NamesFile


def values_of(*groups: Any) -> dict[str, Any]:
    """Names and values of the fields of option groups."""
    return {field.name: getattr(group, field.name) for group in groups for field in fields(group)}


def arguments_for(
    command: Callable[..., None], values: Mapping[str, Any], *, leave_out: Collection[str] = ()
) -> list[str]:
    """What to write behind a command's name so that its parameters have the values given.

    A value that the command knows no parameter for is not handed on, nor is one that is the default anyway. Files are
    named from the root. command: as it is registered with typer, so that an option that is new to it is known here.
    """
    positional: list[str] = []
    options: list[str] = []
    for parameter in inspect.signature(command).parameters.values():
        value = values.get(parameter.name, parameter.default)
        if parameter.name in leave_out or value == parameter.default:
            continue
        metadata = _metadata(parameter.annotation)
        texts = [text_of(each, metadata) for each in (value if isinstance(value, (list, tuple)) else [value])]
        info = next(each for each in metadata if isinstance(each, (OptionInfo, ArgumentInfo)))
        if isinstance(info, ArgumentInfo):
            positional += texts
        else:
            options += _option(_name(info, parameter.name), value, texts)
    return positional + options


def _option(name: str, value: Any, texts: list[str]) -> list[str]:
    """A flag; an option as often as its list has values; or one with all values of its tuple."""
    if isinstance(value, bool):
        return [name]
    if isinstance(value, list):
        return [word for text in texts for word in (name, text)]
    return [name, *texts]


def _name(info: OptionInfo, parameter: str) -> str:
    """What the user writes. Within Annotated, what looks like the default of an option is the first of its names."""
    names = (each for each in (info.default, *(info.param_decls or ())) if isinstance(each, str))
    return next(names, f"--{parameter.replace('_', '-')}")


def text_of(value: Any, metadata: Sequence[Any]) -> str:
    """A value as text, in which a file is named from the root. metadata: of the annotation of its option."""
    may_be = next((each for each in metadata if isinstance(each, NamesFile)), None)
    if isinstance(value, Path) or (may_be is not None and may_be.test(value)):
        return os.path.abspath(value)  # not resolved: what a link leads to may have another name on another machine
    return str(value)


def _metadata(hint: Any) -> tuple[Any, ...]:
    return next(_all_metadata(hint))


def _all_metadata(hint: Any) -> Iterator[tuple[Any, ...]]:
    """Python 3.10 makes an Optional of what may be None, with the metadata inside."""
    if hasattr(hint, "__metadata__"):
        yield hint.__metadata__
    for each in get_args(hint):
        yield from _all_metadata(each)
