"""Presets: YAML files that name a method and its parameters for every stage.

A preset may leave stages and parameters out; their defaults stand in the method's own file. `resolve` fills everything
in and validates it, so that what is stored beside the results says all that was done.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from reprlib import Repr
from types import NoneType
from typing import Any, Literal, NamedTuple, TypeVar, get_args, get_origin

import yaml
from pydantic import ValidationError

from driftcli.bounded import read_bytes
from driftcli.catalogue import DEFAULT_PRESET, STAGES, preset_path
from driftcli.catalogue import preset_names as names
from driftcli.errors import UsageError
from driftcli.model import ApplyParameters, Parameters, Settings, Stage

_HINT = "driftcli presets show NAME, for values that work"
_MOST_BYTES = 1_000_000
_MOST_NODES, _DEEPEST, _LONGEST_SCALAR = 10_000, 8, 2_000  # the presets here have 40 values, 4 levels, 200 characters
_LONGEST_CHANGE = 10_000
_SHOWN = Repr()  # a value as it is shown in an error: it may be a book
_SHOWN.maxlevel, _SHOWN.maxstring, _SHOWN.maxother = 3, 200, 200


Tree = dict[str, dict[str, Any]]
Changes = Iterable[str] | Mapping[str, Any]  # `stage.key=value`, as people write them, or `stage.key` to values
Model = TypeVar("Model", bound=Parameters)


def doc(name: str) -> str:
    """The one line that says what a preset is for."""
    return str(_read(name).get("doc", ""))


def load(name: str | None = None, changes: Changes = ()) -> Settings:
    """Resolve a preset (a name, the path of a YAML file, or the default) with changes on top."""
    tree = _read(name or DEFAULT_PRESET)
    tree.pop("doc", None)
    return resolve(tree, changes)


def resolve(tree: Mapping[str, Any], changes: Changes = ()) -> Settings:
    """Validate `{stage: {"method": ..., parameter: value}}` and fill in all that it leaves out.

    changes: `stage.key=value` texts, or values by `stage.key`; a new method for a stage drops the parameters of the
        old one.

    Raises UsageError for an unknown stage, method or key (naming the nearest known one) and for values out of range.
    """
    stages = _checked_stages(tree)
    _apply_changes(stages, changes)
    return Settings({name: _resolve_stage(name, stages.get(name, {})) for name in STAGES})


class Key(NamedTuple):
    """A key of a stage, as `--set` names it.

    name: dotted where the key lies within another. says: what its docstring does, on one line. values: all that it can
    have, where they are few, as `--set` takes them. now: the one that it has; empty for a list.
    """

    name: str
    says: str
    values: tuple[str, ...]
    now: str


def keys_of(stage: str, preset: str | None = None, changes: Iterable[str] = ()) -> list[Key]:
    """The keys of a stage under the method that a preset and changes choose for it. Raises UsageError as `load`."""
    tree = _read(preset or DEFAULT_PRESET)
    tree.pop("doc", None)
    stages = _checked_stages(tree)
    _apply_changes(stages, changes)
    resolved = _resolve_stage(stage, stages.get(stage, {}))
    methods = STAGES[stage].names
    method = [Key("method", "how the stage is done", methods, resolved.method)] if methods else []
    return method + list(_keys_within(resolved.parameters))


def _keys_within(parameters: Parameters, before: str = "", mode: Key | None = None) -> Iterator[Key]:
    """mode: what chooses between the models that may stand in the place of this one."""
    for name, field in type(parameters).model_fields.items():
        value = getattr(parameters, name)
        says, whole = _says(type(parameters), name), before + name
        if isinstance(value, Parameters):
            modes = [each.model_fields["mode"].annotation for each in get_args(field.annotation)]
            known = tuple(text for each in modes for text in get_args(each))
            yield from _keys_within(value, f"{whole}.", Key(f"{whole}.mode", says, known, getattr(value, "mode", "")))
        elif mode is not None and whole == mode.name:
            yield mode
        else:
            yield Key(whole, says, _values_of(field.annotation), "" if isinstance(value, tuple) else _as_given(value))


def _values_of(annotation: Any) -> tuple[str, ...]:
    """All values of a type, where they are few; of a number that may be missing, only that it is."""
    if get_origin(annotation) is Literal:
        return tuple(map(_as_given, get_args(annotation)))
    if annotation is bool:
        return "true", "false"
    return ("null",) if NoneType in get_args(annotation) else ()


def _as_given(value: Any) -> str:
    """A value as `--set` takes it."""
    return value if isinstance(value, str) else json.dumps(value)


def _says(model: type[Parameters], name: str) -> str:
    """What docstrings say of a field: the text behind `name: ` or `name, other: `, or else one that mentions it."""
    pieces = [piece for each in model.__mro__ for piece in _pieces(each.__doc__ or "", list(model.model_fields))]
    own = [text for known, text in pieces if name in known]
    mentions = [text for _, text in pieces if re.search(rf"\b{name}\b", text)]
    return next(iter(own + mentions), "")


def _pieces(docstring: str, fields: Iterable[str]) -> Iterator[tuple[list[str], str]]:
    """A docstring cut before each `name: `: the names, and what is said of them on one line."""
    text, field = inspect.cleandoc(docstring), "|".join(fields)
    heads = list(re.finditer(rf"\b((?:{field})(?:,\s(?:{field}))*):\s", text)) if field else []
    of_each = [[], *(re.split(r",\s", head[1]) for head in heads)]
    starts, stops = [0, *(head.end() for head in heads)], [*(head.start() for head in heads), len(text)]
    for known, start, stop in zip(of_each, starts, stops, strict=True):
        yield known, " ".join(text[start:stop].partition("\n\n")[0].split()).rstrip(" .;")


def _read(name: str) -> Tree:
    path = Path(name)
    if path.suffix not in (".yaml", ".yml") and path.name == name:
        if name not in names():
            raise UsageError(
                f"there is no preset {_SHOWN.repr(name)}{_nearest(name, names())}", "driftcli presets list"
            )
        path = preset_path(name)
    try:
        tree = _parse(read_bytes(path, _MOST_BYTES).decode("utf-8"))
    except FileNotFoundError:
        raise UsageError(f"the preset file {path} does not exist", "driftcli presets list") from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join((getattr(error, "strerror", None) or str(error)).split())
        raise UsageError(
            f"the preset file {path} can't be read: {reason}", "driftcli presets show NAME shows one that can"
        ) from None
    if not isinstance(tree, dict):
        raise UsageError(f"the preset file {path} holds no stages", "driftcli presets show NAME shows the layout")
    return tree


class _Loader(yaml.SafeLoader):
    """YAML as far as presets need it: no tags, and so no objects; no anchors, and so nothing that multiplies; no key
    twice; bounded in number, depth and length, as the time that some scalars take grows with the square of theirs."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        self._nodes += 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise _refused("an anchor or an alias (& or *): write the values out, or quote the text", event)
        if getattr(event, "tag", None) is not None:
            raise _refused("a tag (!): values are plain numbers and texts", event)
        if self._nodes > _MOST_NODES or self._depth >= _DEEPEST:
            raise _refused("more values or levels than any preset has", event)
        if len(getattr(event, "value", "")) > _LONGEST_SCALAR:
            raise _refused(f"a text of more than {_LONGEST_SCALAR:,} characters", event)
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise _refused(f"the key {_SHOWN.repr(key.value)} twice", key)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _refused(what: str, place: Any) -> yaml.YAMLError:
    return yaml.YAMLError(f"line {place.start_mark.line + 1} holds {what}")


def _parse(text: str) -> Any:
    """The value of a YAML text. Raises YAMLError or ValueError."""
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    except (ArithmeticError, IndexError) as error:  # numbers that are none, such as 0x_, and those beyond all bounds
        raise ValueError(str(error)) from None
    finally:
        loader.dispose()


def _checked_stages(tree: Mapping[str, Any]) -> Tree:
    for name, keys in tree.items():
        if name not in STAGES:
            raise UsageError(
                f"there is no stage {_SHOWN.repr(name)}{_nearest(str(name), STAGES)}", f"one of {', '.join(STAGES)}"
            )
        if not isinstance(keys, dict):
            raise UsageError(
                f"the stage {name!r} must hold keys, not {_SHOWN.repr(keys)}", f"for example {name}: {{method: ...}}"
            )
    return {name: dict(keys) for name, keys in tree.items()}


def _apply_changes(stages: Tree, changes: Changes) -> None:
    """Methods first, so that the order of the changes doesn't matter."""
    if isinstance(changes, Mapping):
        parsed = [(*_place_of(where, _SHOWN.repr(where)), value) for where, value in changes.items()]
    else:
        parsed = [_parse_change(change) for change in changes]
    for stage, keys, value in parsed:
        if keys == ["method"] and stages.get(stage, {}).get("method") != value:
            stages[stage] = {"method": value}
    for stage, keys, value in parsed:
        *parents, key = keys
        target = stages.setdefault(stage, {})
        for parent in parents:
            target[parent] = dict(target[parent]) if isinstance(target.get(parent), dict) else {}
            target = target[parent]
        if parents and key == "mode" and target.get("mode") != value:
            target.clear()  # as with a method: another mode has other parameters
        target[key] = value


def _parse_change(change: str) -> tuple[str, list[str], Any]:
    where, equals, text = change.partition("=")
    shown = _SHOWN.repr(change)
    if not equals or len(change) > _LONGEST_CHANGE:
        raise _no_change(shown)
    stage, keys = _place_of(where, shown)
    try:
        return stage, keys, _parse(text)
    except (ValueError, yaml.YAMLError):
        raise UsageError(
            f"--set {shown}: the value can't be read", "quote text that holds :, [, {, &, * or !"
        ) from None


def _place_of(where: str, shown: str) -> tuple[str, list[str]]:
    """The stage and the keys below it that `stage.key` names. shown: the change, for errors."""
    stage, *keys = where.strip().split(".")
    if not keys or not all(keys) or len(keys) > _DEEPEST:
        raise _no_change(shown)
    if stage not in STAGES:
        raise UsageError(
            f"--set {shown}: there is no stage {_SHOWN.repr(stage)}{_nearest(stage, STAGES)}",
            f"one of {', '.join(STAGES)}",
        )
    return stage, keys


def _no_change(shown: str) -> UsageError:
    return UsageError(f"--set {shown} is not of the form stage.key=value", "for example --set estimate.bin_s=1")


def _resolve_stage(name: str, keys: dict[str, Any]) -> Stage:
    folder, methods = STAGES[name]
    keys = dict(keys)
    if not methods:
        return Stage("", validate(name, ApplyParameters, keys), "")
    method = keys.pop("method", methods[0])
    if method not in methods:
        raise UsageError(
            f"the stage {name!r} has no method {_SHOWN.repr(method)}{_nearest(str(method), methods)}",
            f"one of {', '.join(methods)}",
        )
    model = Parameters if method == "none" else import_module(f"driftcli.{folder}.{method}").Parameters
    return Stage(method, validate(f"{name} ({method})", model, keys), folder)


def validate(where: str, model: type[Model], keys: dict[str, Any], hint: str = _HINT) -> Model:
    """The parameters of a model, from keys and values; UsageError names what is unknown or out of range."""
    try:
        return model.model_validate(keys)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            known = _known_keys(model, first["loc"][:-1])
            raise UsageError(
                f"{where} has no key {_SHOWN.repr(path)}{_nearest(str(first['loc'][-1]), known)}",
                f"one of {', '.join(known)}" if known else "without it",
            ) from None
        reason = first["msg"][0].lower() + first["msg"][1:]
        value = "" if not path else f"{path} = {_SHOWN.repr(first['input'])}: "
        raise UsageError(f"{where}: {value}{reason}", hint) from None


def _known_keys(model: Any, path: Sequence[Any]) -> list[str]:
    """Keys of the model at a path; where a key may hold one of several models, the path names one by its mode."""
    if not path:
        return list(model.model_fields)
    inner = model.model_fields[path[0]].annotation
    models = [inner] if hasattr(inner, "model_fields") else [m for m in get_args(inner) if hasattr(m, "model_fields")]
    chosen = [m for m in models if path[1:2] == (m.model_fields["mode"].default,)] or models
    return list(chosen[0].model_fields)


def _nearest(name: str, known: Iterable[str]) -> str:
    name = name[:100]  # what is longer is like nothing known, and takes long to compare
    found = get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {found[0]!r}?" if found else ""


def to_yaml(settings: Settings, doc: str) -> str:
    """A resolved preset as the text of a preset file."""
    return yaml.safe_dump({"doc": doc, **settings.to_dict()}, sort_keys=False, allow_unicode=True, width=120)
