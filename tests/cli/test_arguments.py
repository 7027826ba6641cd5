"""A command's values become a command line, and a command line the same values."""

import inspect
from dataclasses import fields
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest
import typer

from driftcli.cli import apply, console, detect, estimate, merge, run, submit
from driftcli.cli.arguments import arguments_for, values_of
from driftcli.cli.options import FormOptions, PresetOptions, RecordingOptions, StreamOptions, grouped

OF_SUBMIT_ALONE = {"quiet", "json", "log"}
AWKWARD = "a b'c\"d$e\nf*;µ"
SAMPLES = {
    "recording": [Path("/data/a b.bin"), Path("/data/$c.bin")],
    "preset": "dredge",
    "changes": ["detect.detect_threshold=6", AWKWARD],
    "start_s": 0.1,
    "gain_to_uv": -2.34375e-7,
}


@pytest.fixture(autouse=True)
def forgetful(monkeypatch):
    """What options do as soon as they are read is undone after each test."""
    monkeypatch.setattr(console, "_tracebacks", False)
    monkeypatch.setattr(console, "_log", None)


def sample(parameter):
    """A value that isn't the default."""
    if parameter.name in SAMPLES:
        return SAMPLES[parameter.name]
    kinds = [each for each in flat(parameter.annotation) if each is not type(None)]
    literals = [value for each in kinds if get_origin(each) is Literal for value in get_args(each)]
    if literals:
        return next(value for value in literals if value != parameter.default)
    return {bool: True, int: 7, float: 1 / 3, str: AWKWARD, Path: Path(f"/tmp/{AWKWARD}"), tuple: (1.5, -2.0)}[kinds[0]]


def flat(hint):
    """The types of a hint."""
    if get_origin(hint) in (list, tuple, Literal) or not get_args(hint):
        return [tuple if get_origin(hint) is tuple else hint]
    return [each for part in get_args(hint) if isinstance(part, type) or get_args(part) for each in flat(part)]


def parsed(function, words):
    """What typer makes of the words."""
    seen = {}

    def command(**values):
        seen.update(values)

    command.__signature__ = inspect.signature(function)
    command.__annotations__ = {each.name: each.annotation for each in inspect.signature(function).parameters.values()}
    app = typer.Typer()
    app.command()(command)
    app(words, standalone_mode=False)
    return seen


@grouped
def all_groups(source: RecordingOptions, preset: PresetOptions, options: StreamOptions, form: FormOptions) -> None:
    """A command of nothing but groups."""


def parameters_of(function):
    return {each.name: each for each in inspect.signature(function).parameters.values() if each.name != "log"}


@pytest.mark.parametrize("name", [*parameters_of(all_groups)])
def test_each_option_comes_back(name):
    parameter = parameters_of(all_groups)[name]
    values = {"recording": [Path("/rec.bin")], name: sample(parameter)}
    assert values[name] != parameter.default
    words = arguments_for(all_groups, values)
    assert len(words) > (name != "recording")
    assert parsed(all_groups, words)[name] == values[name]


@pytest.mark.parametrize("module", [run, detect, merge, estimate, apply], ids=lambda module: module.__name__)
def test_all_options_of_a_verb_come_back_at_once(module):
    parameters = parameters_of(module.command)
    values = {name: sample(parameter) for name, parameter in parameters.items()}
    words = arguments_for(module.command, values)
    assert {name: value for name, value in parsed(module.command, words).items() if name in values} == {
        name: [*value] if isinstance(value, list) else value for name, value in values.items()
    }


def test_defaults_are_left_to_the_command():
    source = RecordingOptions([Path("/rec.bin")])
    assert arguments_for(all_groups, values_of(source, PresetOptions(), StreamOptions())) == ["/rec.bin"]
    assert {field.name for field in fields(source)} <= {*values_of(source)}


def test_what_a_command_does_not_know_is_not_handed_on():
    assert arguments_for(merge.command, {"out": Path("/p.h5"), "probe": Path("/p.json")}) == ["/p.h5"]
    values = {"recording": [Path("/rec.bin")], "preset": "dredge", "truncated": "ok"}
    assert arguments_for(run.command, values, leave_out={"preset"}) == ["/rec.bin", "--truncated", "ok"]


def test_files_are_named_from_the_root(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("spans.txt", "dredge", "my.yaml", "1-2"):
        (tmp_path / name).touch()
    here = str(tmp_path)

    def words(**values):
        return arguments_for(run.command, {"recording": [Path("rec.bin")], **values})

    assert words() == [f"{here}/rec.bin"]
    assert words(probe=Path("../p.json"))[1:] == ["--probe", f"{tmp_path.parent}/p.json"]
    assert words(preset="my.yaml")[1:] == ["--preset", f"{here}/my.yaml"]
    assert words(preset="./other")[1:] == ["--preset", f"{here}/other"]
    assert words(preset="dredge")[1:] == ["--preset", "dredge"]  # the preset, whatever files there are
    assert words(exclude_times="spans.txt")[1:] == ["--exclude-times", f"{here}/spans.txt"]
    assert words(exclude_times="1-2")[1:] == ["--exclude-times", "1-2"]
    assert words(exclude_times="nowhere.txt")[1:] == ["--exclude-times", "nowhere.txt"]


def test_submit_has_every_option_of_the_verbs_that_it_calls():
    """So that a new one is handed on."""
    known = set(parameters_of(submit.command))
    own = {"peaks", "motion", "array", "shard", "span_um", "ignore_mask", "scheduler"}  # of a verb by itself
    for module in (run, detect, merge, estimate, apply):
        assert not set(parameters_of(module.command)) - known - own - OF_SUBMIT_ALONE, module.__name__
