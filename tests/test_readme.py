"""The tables of the documents are those that the code gives."""

import re
from typing import Literal

import pytest
import typer
from pydantic import Field

import parameter_tables
import readme_tables
from driftcli import model, presets
from driftcli.cli.main import app
from readme_tables import COMMAND, README, ROOT, TABLES, commands, filled, first_sentence, names_in, parameters_of

DOCUMENTS = {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in readme_tables.documents()}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_tables_are_as_the_code_gives_them(name):
    text = DOCUMENTS[name]
    assert filled(text) == text, f"{name} is not what the code says: {COMMAND}"
    assert text.count("<!-- end -->") == text.count("<!-- table: ") == len(set(names_in(text)))


def test_each_table_stands_somewhere():
    assert {name for text in DOCUMENTS.values() for name in names_in(text)} == set(TABLES)


def test_the_readme_has_what_a_newcomer_looks_for():
    assert {"formats", "presets", "stages", "commands", "exit-codes"} <= set(names_in(README.read_text("utf-8")))


def test_filling_puts_a_table_in_its_place_and_leaves_the_rest():
    before = "a\n<!-- table: reasons -->\nold\n<!-- end -->\nb <!-- end -->\n"
    assert filled(before) == f"a\n<!-- table: reasons -->\n{TABLES['reasons']()}\n<!-- end -->\nb <!-- end -->\n"
    with pytest.raises(KeyError):
        filled(before.replace("reasons", "nonsense"))


def test_an_empty_place_is_filled_and_one_without_an_end_takes_nothing_with_it():
    empty = "<!-- table: labels -->\n<!-- end -->\n\nkept\n\n<!-- table: reasons -->\n<!-- end -->\n"
    assert names_in(empty) == ["labels", "reasons"]
    assert "\nkept\n" in filled(empty)
    open_ended = empty.replace("<!-- end -->", "", 1)
    assert names_in(open_ended) == ["reasons"]
    assert "\nkept\n" in filled(open_ended)


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
        tables = re.findall(r"(?:^\|.*\n?)+", make(), re.MULTILINE)
        for table in tables:
            assert len({line.replace("\\|", "").count("|") for line in table.splitlines()}) == 1, name


MODELS = {
    f"{stage}.{method}": presets.resolve({stage: {"method": method}})[stage].parameters.__class__
    for stage, (_, methods) in presets.STAGES.items()
    for method in methods
    if method != "none"
} | {"apply": model.ApplyParameters}


@pytest.mark.parametrize("name", MODELS)
def test_docstrings_tell_of_every_parameter_in_whole_sentences(name):
    for row in parameter_tables.rows(MODELS[name]):
        assert len(row.says) > 10, row
    for each in with_those_within(MODELS[name]):
        for text in parameter_tables.entries(each, as_cell=False).values():
            assert text.endswith("."), f"this lacks its full stop: {text}"


def with_those_within(model):
    """A model of parameters, and those that its fields choose from."""
    yield model
    for field in model.model_fields.values():
        for inner in parameter_tables.models_in(field.annotation):
            yield from with_those_within(inner)


def test_an_entry_goes_on_to_its_full_stop():
    class Within(model.Parameters):
        """low: share of the whole; None: half of the share that
        each would have.
        """

        low: float | None = None

    class Around(model.Parameters):
        """within: the inner one.

        What is said of all.
        """

        within: Within = Within()

    assert [each.__name__ for each in with_those_within(Around)] == ["Around", "Within"]
    assert parameter_tables.entries(Within) == {
        "low": "share of the whole; `null`: half of the share that each would have"
    }
    assert parameter_tables.entries(Around) == {"within": "the inner one"}


@pytest.mark.parametrize("name", MODELS)
def test_defaults_in_the_tables_are_taken_as_they_stand(name):
    stage, _, method = name.partition(".")
    rows = [row for row in parameter_tables.rows(MODELS[name]) if not row.says.startswith("With `gaussian_2d`")]
    changes = [f"{stage}.method={method}"] * bool(method) + [f"{stage}.{row.name}={row.default}" for row in rows]
    assert presets.resolve({}, changes)[stage] == presets.resolve({}, changes[: bool(method)])[stage]


def test_a_row_tells_name_default_unit_and_values():
    class Shared(model.Parameters):
        """Some text: which is none of a parameter.

        reach_um: how far,
            and farther; None: not at all.
        """

        reach_um: float | None = Field(default=2.0, gt=0, le=10)

    class Some(Shared):
        """ms_before: when. lambda_s: is not told of here.
        kind: which.
        """

        ms_before: float = 0.5
        kind: Literal["a", "b"] = "a"

    assert [*parameter_tables.rows(Some)] == [
        ("reach_um", "2", "µm", "`null`, > 0, ≤ 10", "how far, and farther; `null`: not at all"),
        ("ms_before", "0.5", "ms", "", "when. lambda_s: is not told of here"),
        ("kind", "a", "", "`a`, `b`", "which"),
    ]
    Some.__doc__ = ""
    with pytest.raises(KeyError):
        list(parameter_tables.rows(Some))
