"""What CONTRIBUTING says is so: the names that methods have, and the steps by which one is added."""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec

import pytest

import small_recording
from documents import fences
from driftcli.presets import STAGES
from readme_tables import CONTRIBUTING, ROOT

TEXT = CONTRIBUTING.read_text("utf-8")
_CONTRACT = re.compile(
    r"^\| (?P<stages>`[a-z_`, ]+`) \| (?P<names>`[A-Za-z_`, ]+`) \| `(?P<example>driftcli/\S+)` \|$", re.M
)
CONTRACTS = [
    (stage, re.findall(r"`(\w+)`", row["names"]), row["example"])
    for row in _CONTRACT.finditer(TEXT)
    for stage in re.findall(r"`(\w+)`", row["stages"])
]
# of the tests that are named, those that another method can make fail; the others take long
TOUCHED = ("largest", "in_the_table", "tables", "somewhere", "oracles", "kernels_release", "promised", "the_peers")
COPIED = ("driftcli", "presets", "tests", "docs", "README.md", "CONTRIBUTING.md", "mkdocs.yml", "pyproject.toml")


def test_every_stage_with_methods_has_a_contract():
    assert [stage for stage, *_ in CONTRACTS] == sorted(
        (stage for stage in STAGES if STAGES[stage].names), key=[stage for stage, *_ in CONTRACTS].index
    )


@pytest.mark.parametrize(("stage", "names", "example"), CONTRACTS)
def test_every_method_has_the_names_that_its_stage_asks_for(stage, names, example):
    assert (ROOT / example).is_file()
    for method in STAGES[stage].names:
        if method != "none":
            module = import_module(f"driftcli.{STAGES[stage].folder}.{method}")
            assert not [name for name in [*names, "Parameters"] if not hasattr(module, name)], method


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of the source tree, with the method that CONTRIBUTING adds; its steps are followed to the letter."""
    copy = tmp_path_factory.mktemp("tree")
    for name in COPIED:
        if (ROOT / name).is_dir():  # kernels that are compiled come along
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns(".*"))
        else:
            shutil.copy2(ROOT / name, copy / name)
    for fence in fences(TEXT):
        how, _, name = fence.mark.partition(": ")
        if how:
            APPLY[how](copy / name, fence.text)
    return copy


def write_file(path, text):
    assert not path.exists()
    path.write_text(text, "utf-8")


def append_to_file(path, text):
    path.write_text(path.read_text("utf-8") + "\n\n" + text, "utf-8")


def change_file(path, difference):
    """Put the lines with + in the place of those with -."""
    lines = difference.splitlines(keepends=True)
    old, new = ("".join(line[1:] for line in lines if line[0] == sign) for sign in "-+")
    text = path.read_text("utf-8")
    assert text.count(old) == 1, f"{path.name} has no such place: {old}"
    path.write_text(text.replace(old, new), "utf-8")


APPLY = {"file": write_file, "end of file": append_to_file, "change": change_file}


def run(tree, *arguments):
    environment = {**os.environ, "PYTHONPATH": f"{tree}:{tree / 'tests'}"}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=tree, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_tests_that_it_names_pass_with_the_method(tree):
    run(tree, "tests/readme_tables.py", "--write")
    assert "### Parameters of `largest`" in (tree / "docs/select.md").read_text("utf-8")
    assert "`largest_peaks`" in (tree / "README.md").read_text("utf-8")
    (named,) = re.findall(r"^pytest (.*)$", TEXT, re.MULTILINE)
    passed = run(tree, "-m", "pytest", "-v", "-p", "no:cacheprovider", *named.split(), "-k", " or ".join(TOUCHED))
    for ran in ("test_the_largest_are_kept[300]", "imports_go_down[select/largest.py]", "tables_are_as_the_code_gives"):
        assert ran in passed
    assert "test_a_changed_parameter_changes_the_output[select-largest-n_peaks" in passed
    if find_spec("ruff"):
        files = [
            name for mark in (fence.mark for fence in fences(TEXT)) if (name := mark.partition(": ")[2])[-3:] == ".py"
        ]
        run(tree, "-m", "ruff", "check", "--no-cache", *files)
        run(tree, "-m", "ruff", "format", "--no-cache", "--check", *files)


def test_a_recording_is_corrected_with_the_method(tree, tmp_path):
    binary, probe = small_recording.write(tmp_path, small_recording.samples(90_000))
    options = ("--probe", probe, "--preset", "largest_peaks", "--set", "select.n_peaks=200", "--json", "--quiet")
    facts = json.loads(run(tree, "-m", "driftcli", "run", binary, *options).splitlines()[-1])
    assert facts["detect"]["counts"]["peaks"] == 200
    assert facts["detect"]["preset"]["select"] == {"method": "largest", "n_peaks": 200}
    assert (tmp_path / "rec.driftcli/corrected.bin").stat().st_size == binary.stat().st_size
