"""The tables of the README are those that the code gives."""

import pytest
import typer

import readme_tables
from driftcli.cli.main import app
from readme_tables import COMMAND, README, TABLES, commands, filled, first_sentence, names_in, parameters_of


@pytest.fixture
def text():
    return README.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", TABLES)
def test_the_readme_has_each_table_once_and_as_the_code_gives_it(text, name):
    assert names_in(text).count(name) == 1
    assert TABLES[name]() in text, f"the table {name} of the README is not that of the code: {COMMAND}"


def test_the_readme_has_no_other_tables_between_marks(text):
    assert filled(text) == text, f"the README is not what the code says: {COMMAND}"
    assert text.count("<!-- end -->") == len(names_in(text)) == len(TABLES)


def test_filling_puts_a_table_in_its_place_and_leaves_the_rest():
    before = "a\n<!-- table: reasons -->\nold\n<!-- end -->\nb <!-- end -->\n"
    assert filled(before) == f"a\n<!-- table: reasons -->\n{TABLES['reasons']()}\n<!-- end -->\nb <!-- end -->\n"
    with pytest.raises(KeyError):
        filled(before.replace("reasons", "nonsense"))


def built(command, before=""):
    """What typer makes of the app: each command's name and its options."""
    for name, each in command.commands.items():
        if hasattr(each, "commands"):
            yield from built(each, f"{before}{name} ")
        else:
            yield before + name, {opt for p in each.params for opt in p.opts if opt.startswith("-")} - {"-h", "--help"}


def test_commands_and_options_are_those_that_typer_has():
    ours = {
        command.name: {name for each in parameters_of(command.function) for name in each.names if name.startswith("-")}
        for command in commands()
    }
    assert ours == dict(built(typer.main.get_command(app)))


def test_every_option_is_in_the_table_with_its_verb():
    rows = [row.split(" | ") for row in readme_tables.of_options().splitlines()]
    listed = {command.name: set() for command in commands()}
    for first, who, *_ in rows[2:]:
        names = {name for name in first.replace("`", " ").replace(",", " ").split() if name.startswith("-")}
        verbs = set(listed) - set(who[8:].split(", ")) if who.startswith("all but ") else set(who.split(", "))
        for verb in verbs & set(listed):
            listed[verb] |= names
    for verb, names in built(typer.main.get_command(app)):
        assert listed[verb] == names, verb


@pytest.mark.parametrize(
    ("docstring", "sentence"),
    [
        ("One: motion.h5. Two.", "One: motion.h5"),
        ("""Over two
        lines.

        More.""", "Over two lines"),
        ("No stop", "No stop"),
        (None, ""),
    ],
)  # fmt: skip
def test_the_first_sentence_ends_at_a_full_stop_and_not_within_a_name(docstring, sentence):
    assert first_sentence(docstring) == sentence


def test_cells_hold_no_bare_bars():
    for name, make in TABLES.items():
        lines = make().splitlines()
        bars = {line.replace("\\|", "").count("|") for line in lines}
        assert len(bars) == 1, name
