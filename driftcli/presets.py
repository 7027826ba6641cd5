"""Presets: YAML files that name a method and its parameters for every stage, and the list of methods there are.

A preset may leave stages and parameters out; their defaults stand in the method's own file. `resolve` fills everything
in and validates it, so that what is stored beside the results says all that was done.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from reprlib import Repr
from typing import Any, NamedTuple, TypeVar, get_args

import yaml
from pydantic import ValidationError

from driftcli.bounded import read_bytes
from driftcli.errors import UsageError
from driftcli.model import ApplyParameters, Parameters, Settings, Stage

DEFAULT_PRESET = "dredge_fast"
_HINT = "driftcli presets show NAME, for values that work"
_MOST_BYTES = 1_000_000
_MOST_NODES, _DEEPEST, _LONGEST_SCALAR = 10_000, 8, 2_000  # the presets here have 40 values, 4 levels, 200 characters
_LONGEST_CHANGE = 10_000
_SHOWN = Repr()  # a value as it is shown in an error: it may be a book
_SHOWN.maxlevel, _SHOWN.maxstring, _SHOWN.maxother = 3, 200, 200


class Methods(NamedTuple):
    """The folder of a stage's methods and their names, the default first."""

    folder: str
    names: tuple[str, ...]


# The stages in the order of the data's road. `none` switches a stage off and has no file.
STAGES = {
    "shift": Methods("preprocess", ("phase_shift", "none")),
    "filter": Methods("preprocess", ("bandpass", "none")),
    "bad_channels": Methods("preprocess", ("coherence_psd", "none")),
    "reference": Methods("preprocess", ("global_median", "none")),
    "mask": Methods("mask", ("automatic", "none")),
    "detect": Methods("detect", ("locally_exclusive", "by_channel")),
    "select": Methods("select", ("all", "uniform", "smart_sampling_amplitudes")),
    "localize": Methods("localize", ("grid_convolution", "center_of_mass", "monopolar_triangulation")),
    "estimate": Methods("estimate", ("dredge_ap", "decentralized", "iterative_template")),
    "interpolate": Methods("interpolate", ("kriging", "idw", "nearest")),
    "apply": Methods("", ()),
}

Tree = dict[str, dict[str, Any]]
Model = TypeVar("Model", bound=Parameters)


def names() -> list[str]:
    """Names of the presets that come with driftcli, in alphabetical order."""
    return sorted(path.stem for path in _folder().glob("*.yaml"))


def doc(name: str) -> str:
    """The one line that says what a preset is for."""
    return str(_read(name).get("doc", ""))


def load(name: str | None = None, changes: Iterable[str] = ()) -> Settings:
    """Resolve a preset (a name, the path of a YAML file, or the default) with `stage.key=value` changes on top."""
    tree = _read(name or DEFAULT_PRESET)
    tree.pop("doc", None)
    return resolve(tree, changes)


def resolve(tree: Mapping[str, Any], changes: Iterable[str] = ()) -> Settings:
    """Validate `{stage: {"method": ..., parameter: value}}` and fill in all that it leaves out.

    changes: `stage.key=value` texts; a new method for a stage drops the parameters of the old one.

    Raises UsageError for an unknown stage, method or key (naming the nearest known one) and for values out of range.
    """
    stages = _checked_stages(tree)
    _apply_changes(stages, changes)
    return Settings({name: _resolve_stage(name, stages.get(name, {})) for name in STAGES})


def _folder() -> Path:
    """`presets/` lies beside the package in a source tree; a wheel holds it inside the package."""
    package = Path(__file__).parent
    installed = package / "preset_files"
    return installed if installed.is_dir() else package.parent / "presets"


def _read(name: str) -> Tree:
    path = Path(name)
    if path.suffix not in (".yaml", ".yml") and path.name == name:
        if name not in names():
            raise UsageError(
                f"there is no preset {_SHOWN.repr(name)}{_nearest(name, names())}", "driftcli presets list"
            )
        path = _folder() / f"{name}.yaml"
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


def _apply_changes(stages: Tree, changes: Iterable[str]) -> None:
    """Methods first, so that the order of the changes doesn't matter."""
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
    stage, *keys = where.strip().split(".")
    shown = _SHOWN.repr(change)
    if not equals or not keys or not all(keys) or len(keys) > _DEEPEST or len(change) > _LONGEST_CHANGE:
        raise UsageError(f"--set {shown} is not of the form stage.key=value", "for example --set estimate.bin_s=1")
    if stage not in STAGES:
        raise UsageError(
            f"--set {shown}: there is no stage {_SHOWN.repr(stage)}{_nearest(stage, STAGES)}",
            f"one of {', '.join(STAGES)}",
        )
    try:
        return stage, keys, _parse(text)
    except (ValueError, yaml.YAMLError):
        raise UsageError(
            f"--set {shown}: the value can't be read", "quote text that holds :, [, {, &, * or !"
        ) from None


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
