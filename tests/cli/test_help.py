"""The help of every verb: its panels, its examples, its width."""

import inspect
import json
import re
import shlex
import subprocess
import sys

import pytest
from typer.main import get_command

from driftcli import presets
from driftcli.cli.help import examples_of, help_of
from driftcli.cli.main import PANELS, app
from readme_tables import commands
from terminal import environment

COMMANDS = {command.name: command.function for command in commands()}
LINES = [line for function in COMMANDS.values() for line in examples_of(function)]


EACH = """
import json, sys
from driftcli.cli.main import app
for verb in json.loads(sys.argv[1]):
    try:
        app([*verb.split(), "--help"], prog_name="driftcli", standalone_mode=False)
    except SystemExit:
        pass
    print("\\f")
"""


@pytest.fixture(scope="module", params=[50, 80, 120])
def helps(request):
    """The help of the program and of every verb in a terminal with so many columns."""
    verbs = ["", "presets", *COMMANDS]
    variables = environment(COLUMNS=str(request.param), TERM="xterm")
    command = [sys.executable, "-c", EACH, json.dumps(verbs)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=variables)
    assert (done.returncode, done.stderr) == (0, "")
    texts = done.stdout.split("\f\n")
    assert texts.pop() == ""
    return request.param, dict(zip(verbs, texts, strict=True))


def parsed(line):
    """Values of the options and arguments of a command line, which typer refuses if they make no sense."""
    group = get_command(app)
    words = shlex.split(line.partition(" > ")[0])
    assert words.pop(0) == "driftcli"
    while hasattr(group, "commands"):
        group = group.commands[words.pop(0)]
    with group.make_context(group.name, words, resilient_parsing=False) as context:
        return context.params


def test_examples_stand_on_lines_of_their_own(helps):
    columns, texts = helps
    for verb, function in COMMANDS.items():
        lines = [line.strip() for line in texts[verb].splitlines()]
        examples = examples_of(function)
        assert 1 <= len(examples) <= 4
        assert all(f"{line} ".startswith(f"driftcli {verb} ") for line in examples)
        at = lines.index("Examples:")
        if columns >= 80:
            assert lines[at + 1 : at + 1 + len(examples)] == [f"$ {line}" for line in examples]
        assert sum(line.startswith("$ driftcli ") for line in lines) == len(examples)


def test_the_help_fits_the_terminal(helps):
    columns, texts = helps
    for verb, text in texts.items():
        too_long = [line for line in text.splitlines() if len(line) > columns and not line.lstrip().startswith("$ ")]
        assert not too_long, verb
        assert "…" not in text, verb  # where the name of an option has no room


def test_panels_hold_every_command(helps):
    columns, texts = helps
    if columns == 50:  # as plain text, without panels
        assert all(f"\n  {verb.split()[0]} " in texts[""] for verb in COMMANDS)
        return
    for panel in PANELS:
        assert f"─ {panel} ─" in texts[""]
    assert "─ Commands ─" not in texts[""]  # where typer puts those of no panel
    after = texts[""].partition("─ Correct a recording")[2].splitlines()
    shown = {line.split()[1] for line in after if line[2:3].isalpha()}
    assert shown == {verb.split()[0] for verb in COMMANDS}


def test_nothing_is_named_after_a_type_of_python(helps):
    for verb, text in helps[1].items():
        assert not re.search(r"<(bool|path|str|int|float|list.*)>|BOOLEAN", text), verb


def test_the_list_of_commands_is_not_cut(helps):
    _, texts = helps
    shown = {group: " ".join(re.sub("[│\n]", " ", texts[group]).split()) for group in ("", "presets")}
    for name, function in COMMANDS.items():
        first = " ".join(inspect.getdoc(function).partition("\n\n")[0].split())
        assert first in shown[name.rpartition(" ")[0]], name
    assert "List the presets, or show what one says." in shown[""]


def test_the_usage_names_arguments_and_puts_only_optional_ones_in_brackets(helps):
    usages = {"assess": "PEAKS [MOTION]", "run": "RECORDING...", "submit": "[RECORDING]...", "presets show": "NAME"}
    for verb, arguments in usages.items():
        assert f"driftcli {verb} [OPTIONS] {arguments} " in " ".join(helps[1][verb].split())


def test_no_argument_has_a_list_as_its_default():
    """Click 8.2 refuses one where there may be any number of values."""
    for function in COMMANDS.values():
        assert not [each for each in inspect.signature(function).parameters.values() if isinstance(each.default, list)]


@pytest.mark.parametrize("line", LINES)
def test_an_example_is_understood(line):
    values = parsed(line)
    changes = values.get("changes") or []
    assert bool(changes) == ("--set" in line)
    presets.load(values.get("preset") or values.get("name"), changes)


def test_a_line_that_is_no_example_is_refused():
    with pytest.raises(Exception, match="No such option"):
        parsed("driftcli run rec.bin --probes probe.json")


def test_paragraphs_are_broken_by_the_terminal_only():
    def command():
        """What
        it is.

        More [brackets] of
        it.

        Examples:
            driftcli run a
            driftcli run b
        """

    text = help_of(command)
    assert text.startswith("What it is.\n\nMore ")
    assert "brackets] of it.\n\n" in text
    assert text.endswith("Examples:\n$ driftcli run a\n$ driftcli run b")
