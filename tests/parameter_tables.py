"""Tables of the parameters of every method, from their models: names, defaults and limits from the fields, texts from
the docstrings.

A docstring has an entry for each parameter, `name: text`, that goes on in indented lines, and up to its full stop in
others (of a docstring that is one entry, no line is indented any more than the rest); classes inherit the entries.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

UNITS = {"uv2_per_hz": "µV²/Hz", "um": "µm", "s": "s", "ms": "ms", "hz": "Hz", "uv": "µV"}
_ENTRY = re.compile(r"([a-z][a-z0-9_]*): (.*)")


class Row(NamedTuple):
    """A parameter as a table tells of it. default: as YAML has it. allowed: values, or limits, of the value."""

    name: str
    default: str
    unit: str
    allowed: str
    says: str


def rows(model: type[BaseModel], before: str = "", when: str = "") -> Iterator[Row]:
    """The parameters of a model, and of those within it. Raises KeyError for one that its docstring doesn't name."""
    texts = entries(model)
    for name, field in model.model_fields.items():
        if before and name == "mode":  # it is told with the models that it chooses from
            continue
        inner = models_in(field.annotation)
        if not inner:
            allowed = ", ".join(part for part in (_values(field.annotation), _limits(field)) if part)
            yield Row(before + name, yaml_text(field.default), _unit(name), allowed, when + texts[name])
            continue
        modes = [one.model_fields["mode"].default for one in inner]
        chosen = field.default.mode
        yield Row(f"{before}{name}.mode", yaml_text(chosen), "", _listed(modes), when + texts[name])
        for one, mode in zip(inner, modes, strict=True):
            yield from rows(one, f"{before}{name}.", f"With `{mode}`: ")


def entries(model: type[BaseModel], as_cell: bool = True) -> dict[str, str]:
    """What the docstrings of a model and of those that it inherits from say of each parameter."""
    found: dict[str, str] = {}
    for each in reversed(model.__mro__):
        name = None
        for line in inspect.cleandoc(each.__doc__ or "").splitlines():
            entry = _ENTRY.fullmatch(line)
            if entry:
                name = entry[1]
                found[name] = entry[2]
            elif name and (line.startswith(" ") or (line and not found[name].endswith("."))):
                found[name] += " " + line.strip()
            else:
                name = None
    return {name: _with_null(text.rstrip(".")) if as_cell else text for name, text in found.items()}


def _with_null(text: str) -> str:
    """What Python calls None is null in a preset."""
    return re.sub(r"\bNone\b", "`null`", text)


def yaml_text(value: Any) -> str:
    """As a preset file and --set take it."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(yaml_text, value))}]"
    return value if isinstance(value, str) else json.dumps(value)


def _unit(name: str) -> str:
    if name.startswith("ms_"):  # as SpikeInterface calls them
        return "ms"
    if name.startswith("lambda_"):  # weights, of space and time
        return ""
    return next((unit for end, unit in UNITS.items() if name.endswith(f"_{end}")), "")


def _values(annotation: Any) -> str:
    parts = get_args(annotation)
    null = ["null"] if type(None) in parts else []
    if get_origin(annotation) is Literal:
        return _listed(parts)
    return _listed(["true", "false"] if annotation is bool else null)


def _listed(values: Any) -> str:
    return ", ".join(f"`{value}`" for value in values)


def _limits(field: FieldInfo) -> str:
    signs = {Gt: ("> ", "gt"), Ge: ("≥ ", "ge"), Lt: ("< ", "lt"), Le: ("≤ ", "le")}
    each = [item for item in (*field.metadata, *_within(field.annotation)) if type(item) in signs]
    return ", ".join(f"{signs[type(item)][0]}{getattr(item, signs[type(item)][1]):g}" for item in each)


def _within(annotation: Any) -> list[Any]:
    """What limits the items of a list."""
    found = []
    for part in get_args(annotation):
        for item in getattr(part, "__metadata__", ()):
            found += getattr(item, "metadata", [item])
    return found


def models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in models_in(part)]
