"""Tables of the documents that are made from the code: `python tests/readme_tables.py --write` puts them in place.

A table stands between `<!-- table: NAME -->` and `<!-- end -->`, in the README or any page of docs/, where a table may
stand in several. `tests/test_readme.py` holds the documents against the code.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from importlib import import_module
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from typer.models import ArgumentInfo, OptionInfo

import parameter_tables
from driftcli import presets
from driftcli.cli.export import FORMATS as MOTION_FORMATS
from driftcli.cli.main import STOPS, app
from driftcli.errors import DriftcliError
from driftcli.model import LABEL_MEANINGS, REASON_MEANINGS, VERDICT_MEANINGS, ApplyParameters, Parameters, Scores
from driftcli.presets import STAGES
from driftcli.recording.families import NUMBERS, Family
from driftcli.recording.formats import FORMATS
from driftcli.workflow.export import default_output

ROOT = Path(__file__).parents[1]
README, CONTRIBUTING = ROOT / "README.md", ROOT / "CONTRIBUTING.md"
COMMAND = "python tests/readme_tables.py --write"
_PLACE = re.compile(
    r"(<!-- table: (?P<name>[a-z_ -]+?) -->\n)(?:(?!<!-- table: ).)*?^(<!-- end -->)", re.DOTALL | re.MULTILINE
)
_OWN = "Options"  # as the help calls those that are in no panel
_APART = "Simulation"  # many options of one verb: a row of names
_VALUES = {"Path": "PATH", "str": "TEXT", "int": "N", "float": "X"}


def documents() -> list[Path]:
    """Everything that users and contributors read, the README first."""
    return [README, CONTRIBUTING, *sorted((ROOT / "docs").rglob("*.md"))]


def filled(text: str) -> str:
    """The text of a document with every table as the code has it now. Raises KeyError for one that isn't known."""
    return _PLACE.sub(lambda place: f"{place[1]}{TABLES[place['name']]()}\n{place[3]}", text)


def names_in(text: str) -> list[str]:
    """Names of the tables that the text has places for."""
    return [place["name"] for place in _PLACE.finditer(text)]


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    escaped = ([cell.replace("|", "\\|") for cell in row] for row in rows)
    lines = [header, ["---"] * len(header), *escaped]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def first_sentence(docstring: str | None) -> str:
    """Of a docstring, on one line and without its full stop."""
    paragraph = " ".join(inspect.cleandoc(docstring or "").partition("\n\n")[0].split())
    return re.split(r"\.(?:\s|$)", paragraph, maxsplit=1)[0]


class Command(NamedTuple):
    """A command as it is registered: its name as the user types it, and the function whose signature typer reads."""

    name: str
    function: Callable[..., Any]


class Option(NamedTuple):
    """names: all of an option (`--jobs`, `-j`), or the one of an argument. value: what stands for its value, if any.

    many: whether there may be several values.
    """

    names: tuple[str, ...]
    value: str
    info: OptionInfo | ArgumentInfo
    many: bool


def commands(typer_app: Any = app, before: str = "") -> Iterator[Command]:
    for each in typer_app.registered_commands:
        yield Command(before + (each.name or each.callback.__name__.replace("_", "-")), each.callback)
    for group in typer_app.registered_groups:
        yield from commands(group.typer_instance, f"{before}{group.name} ")


def parameters_of(function: Callable[..., Any]) -> Iterator[Option]:
    """What typer makes options and arguments of. It is read from the signature: that is the same in every typer."""
    hints = get_type_hints(function, include_extras=True)
    for parameter in inspect.signature(function).parameters.values():
        annotation, info = _parts_of(hints[parameter.name])
        # within Annotated, what looks like the default of an option is the first of its names
        names = tuple(each for each in (info.default, *(info.param_decls or ())) if isinstance(each, str))
        own = parameter.name if isinstance(info, ArgumentInfo) else f"--{parameter.name.replace('_', '-')}"
        yield Option(names or (own,), info.metavar or _value(annotation), info, get_origin(annotation) is list)


def _parts_of(hint: Any) -> tuple[Any, OptionInfo | ArgumentInfo]:
    """A parameter's type and what typer is told of it. Python 3.10 makes an Optional of what may be None."""
    if hasattr(hint, "__metadata__"):
        return hint.__origin__, hint.__metadata__[0]
    return next(_parts_of(each) for each in get_args(hint) if hasattr(each, "__metadata__"))


def _value(annotation: Any) -> str:
    if get_origin(annotation) in (Union, types.UnionType):
        annotation = next(each for each in get_args(annotation) if each is not type(None))
    if get_origin(annotation) is Literal:
        return "|".join(get_args(annotation))
    return _VALUES.get(getattr(annotation, "__name__", ""), "")


def _usage(command: Command) -> str:
    words = ["driftcli", command.name]
    own = inspect.signature(command.function).parameters.values()
    for (names, _, info, many), parameter in zip(parameters_of(command.function), own, strict=True):
        if isinstance(info, ArgumentInfo):
            word = (info.metavar or names[0]).upper()
            word = word if parameter.default is inspect.Parameter.empty else f"[{word}]"
            words.append(f"{word}..." if many else word)
    return f"`{' '.join(words)}`"


def of_commands() -> str:
    rows = ([_usage(command), first_sentence(command.function.__doc__)] for command in commands())
    return table(["command", "what it does"], rows)


def of_options() -> str:
    """Options with the same names and text are one row; options of a panel stand together."""
    every = [command.name for command in commands()]
    takers: dict[tuple[str, str, str], list[str]] = {}
    for command in commands():
        for names, value, info, _ in parameters_of(command.function):
            if isinstance(info, OptionInfo):
                spelled = ", ".join(f"`{name}`" for name in names) + (f" `{value}`" if value else "")
                takers.setdefault((info.rich_help_panel or "", spelled, info.help or ""), []).append(command.name)
    rows = []
    for panel in dict.fromkeys(panel for panel, _, _ in takers):  # in the order in which the help has them first
        if panel != _APART:
            here = sorted((spelled, verbs, text) for (of, spelled, text), verbs in takers.items() if of == panel)
            rows.append([f"**{panel or _OWN}**", "", ""])
            rows += [[spelled, _who(verbs, every), text] for spelled, verbs, text in here]
    apart = [spelled.partition("` `")[0].rstrip("`") + "`" for panel, spelled, _ in takers if panel == _APART]
    rows.append([f"**{_APART}**", "", ""])
    rows.append([", ".join(apart), "simulate", "What is simulated: `driftcli simulate --help`"])
    return table(["option", "commands", "what it does"], rows)


def _who(verbs: Sequence[str], every: Sequence[str]) -> str:
    """The verbs, or all but the others where that is shorter."""
    others = [verb for verb in every if verb not in verbs]
    return ", ".join(verbs) if len(verbs) <= len(others) + 1 else f"all but {', '.join(others)}"


def of_stages() -> str:
    rows = []
    for stage, (folder, methods) in STAGES.items():
        named = [method for method in methods if method != "none"]
        for method in named:
            default = " (default)" if method == methods[0] and len(methods) > 1 else ""
            off = "; `none` switches the stage off" if "none" in methods and method == named[-1] else ""
            says = first_sentence(import_module(f"driftcli.{folder}.{method}").__doc__)
            rows.append([f"`{stage}`" if method == named[0] else "", f"`{method}`{default}", says + off])
        if not methods:
            rows.append([f"`{stage}`", "–", _of_parameters(ApplyParameters.__doc__)])
    return table(["stage", "method", "what it is"], rows)


def _of_parameters(docstring: str | None) -> str:
    """What a docstring says of its one parameter, behind its first paragraph."""
    name, _, says = " ".join(inspect.cleandoc(docstring or "").partition("\n\n")[2].split()).partition(": ")
    return f"`{name}`: {says.rstrip('.')}"


def of_presets() -> str:
    """A column for each stage that presets have different methods for; those that they share stand below."""
    methods = {name: {s: stage.method for s, stage in presets.load(name).stages.items()} for name in presets.names()}
    shared = {stage: method for stage, method in methods[presets.DEFAULT_PRESET].items() if method}
    different = [stage for stage in shared if len({each[stage] for each in methods.values()}) > 1]
    rows = [
        [_preset(name), presets.doc(name).rstrip("."), *(f"`{methods[name][stage]}`" for stage in different)]
        for name in presets.names()
    ]
    others = ", ".join(f"`{stage}` {method}" for stage, method in shared.items() if stage not in different)
    return f"{table(['preset', 'what it is for', *different], rows)}\n\nAll of them: {others}."


def _preset(name: str) -> str:
    return f"`{name}`" + (" (default)" if name == presets.DEFAULT_PRESET else "")


def of_preset_values() -> str:
    """What presets set to other values than a method's defaults."""
    rows: dict[tuple[str, str, str], list[str]] = {}
    for name in presets.names():
        tree = presets.load(name).to_dict()
        for stage, values in tree.items():
            method = {"method": values["method"]} if "method" in values else {}
            plain = _flat(presets.resolve({stage: method}).to_dict()[stage])
            for key, value in _flat(values).items():
                if key not in plain or plain[key] != value:
                    default = parameter_tables.yaml_text(plain.get(key, "–"))
                    shown = parameter_tables.yaml_text(value)
                    rows.setdefault((f"{stage}.{key}", shown, default), []).append(name)
    every = set(presets.names())
    cells = (
        [f"`{key}`", default, value, "all" if set(names) == every else ", ".join(f"`{name}`" for name in names)]
        for (key, value, default), names in rows.items()
    )
    return table(["key", "default of the method", "value", "presets"], cells)


def _flat(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{before}{key}.") if isinstance(value, dict) else {before + key: value}
    return flat


def of_parameters(stage: str) -> str:
    """The parameters of all methods of a stage, a heading and a table each."""
    folder, methods = STAGES[stage]
    if not methods:
        return _table_of(ApplyParameters)
    parts = []
    for method in methods:
        if method != "none":
            module = import_module(f"driftcli.{folder}.{method}")
            parts.append(f"### Parameters of `{method}`\n\n{first_sentence(module.__doc__)}.")
            parts.append(_table_of(module.Parameters))
    return "\n\n".join(parts)


def _table_of(model: type[Parameters]) -> str:
    rows = [
        [f"`{name}`", f"`{default}`", unit, allowed, says]
        for name, default, unit, allowed, says in parameter_tables.rows(model)
    ]
    return table(["parameter", "default", "unit", "values", "what it does"], rows) if rows else "It has none."


def of_formats() -> str:
    rows = (
        [each.name, f"`{each.samples}`", ", ".join(f"`{Path(each.samples).with_suffix(end)}`" for end in each.beside)]
        for each in FORMATS
    )
    return table(["format", "give", "beside it"], rows)


def of_motion_formats() -> str:
    rows = (
        [f"`{name}`", what, f"`{default_output(Path('motion.h5'), name).name}`"]
        for name, what in MOTION_FORMATS.items()
    )
    return table(["`--to`", "what it is", "file or folder"], rows)


def of_exit_codes() -> str:
    rows = [["0", "Done"], [str(DriftcliError.exit_code), "An internal fault; `--debug` shows the traceback"]]
    rows += [[str(each.exit_code), first_sentence(each.__doc__)] for each in DriftcliError.__subclasses__()]
    rows += [[str(128 + number), f"Stopped by {number.name}: {why}"] for number, why in STOPS.items()]
    return table(["code", "meaning"], rows)


def of_verdicts() -> str:
    return table(["verdict", "what it means"], ([f"**{name}**", what] for name, what in VERDICT_MEANINGS.items()))


def of_scores() -> str:
    """The fields of the scores, those that are told of together in a row."""
    fields = [field.name for field in dataclasses.fields(Scores)]
    pieces = presets._pieces(Scores.__doc__ or "", fields)
    return table(
        ["score", "what it is"], ([", ".join(f"`{name}`" for name in names), says] for names, says in pieces if names)
    )


def of_labels() -> str:
    rows = ([str(index), f"`{name}`", what] for index, (name, what) in enumerate(LABEL_MEANINGS.items()))
    return table(["", "label", "what is wrong"], rows)


def of_reasons() -> str:
    rows = ([str(index), f"`{name}`", what] for index, (name, what) in enumerate(REASON_MEANINGS.items()))
    return table(["", "reason", "what happened"], rows)


def of_families() -> str:
    rows = (
        [family.name, _numbers(numbers), _gain(family), f"{-family.max_int} to {family.max_int - 1}"]
        for family, numbers in NUMBERS.items()
    )
    return table(["probes", "types, and numbers of parts", "AP gain", "range in counts"], rows)


def _gain(family: Family) -> str:
    return "in `~imroTbl`" if family.gains_in_imro else f"`imChan0apGain`, else {family.fixed_gain:g}"


def _numbers(numbers: Iterable[int]) -> str:
    """`0, NP1000–1001, NP1010–1017`."""
    runs = [
        [number for _, number in run] for _, run in groupby(enumerate(sorted(numbers)), lambda pair: pair[1] - pair[0])
    ]
    return ", ".join(
        ("NP" if run[0] >= 1000 else "") + (f"{run[0]}–{run[-1]}" if len(run) > 1 else f"{run[0]}") for run in runs
    )


TABLES: dict[str, Callable[[], str]] = {
    "commands": of_commands,
    "options": of_options,
    "stages": of_stages,
    "formats": of_formats,
    "motion-formats": of_motion_formats,
    "exit-codes": of_exit_codes,
    "labels": of_labels,
    "verdicts": of_verdicts,
    "scores": of_scores,
    "reasons": of_reasons,
    "families": of_families,
    "presets": of_presets,
    "preset-values": of_preset_values,
} | {f"parameters {stage}": partial(of_parameters, stage) for stage in STAGES}

if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        for document in documents():
            document.write_text(filled(document.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print("\n\n".join(f"{name}:\n{make()}" for name, make in TABLES.items()))
