"""What shells offer at a Tab, asked as they ask."""

import os
import select
import shutil
import subprocess
import sys
import time

import pytest

from driftcli import presets
from driftcli.catalogue import STAGES, preset_doc, preset_names
from driftcli.cli import completion, main
from driftcli.cli.completion import _changes, joined_words, offer_presets
from terminal import environment

# `driftcli` as a shell finds it: typer names the variable after the program
PROGRAM = "import sys; sys.argv[0] = 'driftcli'; from driftcli.cli.main import main; main()"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A PATH on which `driftcli` is the one under test."""
    folder = tmp_path_factory.mktemp("bin")
    program = folder / "driftcli"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{PROGRAM}" "$@"\n')
    program.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


@pytest.fixture
def asked(monkeypatch, capsys, tmp_path):
    """What driftcli answers a shell that has a line up to the cursor, in a folder without files."""
    monkeypatch.chdir(tmp_path)

    def ask(shell, line):
        cut = line.split(" ")
        of_bash = {"COMP_WORDS": "\n".join(cut), "COMP_CWORD": str(len(cut) - 1)}
        others = {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
        said = {"_DRIFTCLI_COMPLETE": f"complete_{shell}", "COLUMNS": "20", **(of_bash if shell == "bash" else others)}
        with monkeypatch.context() as asks:
            for name, value in said.items():
                asks.setenv(name, value)
            asks.setenv("_DRIFTCLI_COMPLETE_BEFORE", "")  # so that it is gone afterwards
            completion.prepare(os.environ)
            with pytest.raises(SystemExit) as end:
                main.app(prog_name="driftcli", standalone_mode=False)
        told = capsys.readouterr()
        assert (end.value.code, told.err) == (0, "")
        return told.out.splitlines()

    return ask


def words(offers):
    return [word for word, _ in offers]


def test_presets_and_files_of_presets_are_offered(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("my.yaml", "mine.yml", "my.txt", "od[d].yaml"):
        (tmp_path / name).touch()
    assert words(offer_presets("")) == [*preset_names(), "my.yaml", "od[d].yaml", "mine.yml"]
    assert words(offer_presets("od[")) == [*preset_names(), "od[d].yaml"]  # typer takes those that begin so


def test_the_line_of_a_preset_is_the_doc_it_begins_with():
    for name in preset_names():
        assert preset_doc(name) == presets.doc(name) != ""


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("driftcli run --preset ", presets.names()),
        ("driftcli run rec.bin --preset nonr", ["nonrigid_accurate", "nonrigid_fast_and_accurate"]),
        ("driftcli presets show ki", ["kilosort_like"]),
        ("driftcli run --preset = dre", ["dredge", "dredge_fast", "dredge_lfp"]),  # as bash cuts --preset=dre
        ("driftcli run --set ", [f"{stage}." for stage in STAGES]),
        ("driftcli detect --set lo", None),
        ("driftcli run --set select.method = ", ["all", "uniform", "smart_sampling_amplitudes"]),
        ("driftcli run --preset dredge --set estimate.rigid = t", ["true"]),
        ("driftcli run --preset = dredge --set = estimate.rigid = t", ["true"]),
        ("driftcli run --bad-channels-out ", ["interpolate", "keep", "zero"]),
        ("driftcli run rec", [""]),  # so that the shell offers files
    ],
)
def test_bash_is_offered(asked, line, expected):
    if expected is None:
        keys = presets.keys_of("localize")
        expected = [f"localize.{key.name}=" for key in keys]
    assert asked("bash", line) == expected


def test_zsh_and_fish_are_told_what_each_word_is(asked):
    says = next(key.says for key in presets.keys_of("detect") if key.name == "peak_sign")
    fish = asked("fish", "driftcli run rec.bin --set detect.p")
    assert fish == ["detect.peak_sign=neg\tas it is now", "detect.peak_sign=pos", "detect.peak_sign=both"]
    fish = asked("fish", "driftcli run rec.bin --set detect.")
    assert f"detect.peak_sign=\t{says} (now neg)" in fish  # on one line, however narrow the terminal is
    zsh = asked("zsh", "driftcli run rec.bin --preset kilo")
    assert zsh == [f'_arguments \'*: :(("kilosort_like":"{preset_doc("kilosort_like")}"))\'']


def test_keys_are_those_of_the_methods_that_the_line_chooses():
    assert words(_changes("estimate.conv", None, [])) == []
    chosen = ["estimate.method=decentralized"]
    values = [f"estimate.convergence_method={each}" for each in ("lsmr", "lsqr_robust", "gradient_descent")]
    assert words(_changes("estimate.conv", None, chosen)) == values
    assert words(_changes("estimate.conv", "nonrigid_accurate", [])) == values
    assert words(_changes("estimate.conv", "nonrigid_accurate", ["estimate.method=dredge_ap"])) == []
    assert words(_changes("estimate.conv", "no_such_preset", [])) == []


def test_a_mode_has_keys_of_its_own():
    assert words(_changes("localize.weight_method.mode=", None, [])) == [
        "localize.weight_method.mode=exponential_3d",
        "localize.weight_method.mode=gaussian_2d",
    ]
    mode = ["localize.weight_method.mode=gaussian_2d"]
    assert words(_changes("localize.weight_method.sig", None, mode)) == ["localize.weight_method.sigma_list_um="]
    assert words(_changes("localize.weight_method.sigma_3d", None, []))[0] == "localize.weight_method.sigma_3d="


@pytest.mark.parametrize("text", ["e", "estimate.r", "estimate.bin_s", "estimate.max_d", "estimate.time_h", "apply"])
def test_a_word_that_must_go_on_is_never_the_only_one(text):
    """A shell ends the word behind it with a blank."""
    offers = words(_changes(text, None, []))
    assert offers
    assert len(offers) > 1 or offers[0][-1] not in "=."


@pytest.mark.parametrize("stage", STAGES)
def test_what_is_offered_is_taken(stage):
    for key in presets.keys_of(stage):
        for word, _ in _changes(f"{stage}.{key.name}=", None, []):
            change = presets.load(None, [word]).to_dict()[stage]
            for part in key.name.split("."):
                change = change[part]
            assert presets._as_given(change) == word.partition("=")[2]


def test_every_key_says_what_it_is():
    silent = []
    for stage, (_, methods) in STAGES.items():
        for method in methods or ("",):
            keys = presets.keys_of(stage, changes=[f"{stage}.method={method}"] if method else [])
            silent += [f"{stage}.{method}.{key.name}" for key in keys if len(key.says) < 5]
    assert not silent


@pytest.mark.parametrize(
    ("cut", "whole", "before"),
    [
        (["d", "run", "--set", ""], ["d", "run", "--set", ""], ""),
        (["d", "--set", "a.b", "=", "c"], ["d", "--set", "c"], "a.b="),
        (["d", "--set", "a.b", "="], ["d", "--set", ""], "a.b="),
        (["d", "--set", "=", "a.b", "=", "c"], ["d", "--set", "c"], "a.b="),
        (["d", "--preset", "=", "c"], ["d", "--preset", "c"], ""),
        (["d", "--set", "a.b", "=", "c", "--set", "e"], ["d", "--set", "a.b=c", "--set", "e"], ""),
        (["d", "--set", "a.b=c"], ["d", "--set", "a.b=c"], ""),  # where = is no COMP_WORDBREAKS
    ],
)
def test_words_that_bash_cut_are_joined(cut, whole, before):
    assert joined_words(cut, str(len(cut) - 1)) == (whole, before)


def test_a_tab_writes_no_log(asked, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert asked("bash", "driftcli run --log new.log --preset dredge_f") == ["dredge_fast"]
    assert asked("bash", "driftcli --version ru") == ["run"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("line", ["driftcli run --preset ", "driftcli run --set ", "driftcli run --set mask.method="])
def test_names_are_offered_without_numerics(line):
    code = PROGRAM.replace("main()", "").rstrip("; ") + (
        "\ntry: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'numba', 'scipy', 'h5py', 'yaml'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    variables = {"_DRIFTCLI_COMPLETE": "complete_fish", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(**variables, _TYPER_COMPLETE_ARGS=line),
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


class Bash:
    """A bash at a terminal, in which the completion is installed, and that is typed into."""

    def __init__(self, path, folder):
        import pty

        self.pid, self.terminal = pty.fork()
        if not self.pid:
            os.chdir(folder)
            variables = environment(PATH=path, PS1="> ", TERM="dumb", HISTFILE="/dev/null", INPUTRC="/dev/null")
            os.execvpe("bash", ["bash", "--norc", "--noprofile", "-i"], variables)
        self._until("> ")
        self.typed('eval "$(_DRIFTCLI_COMPLETE=source_bash driftcli)"; echo re""ady\n', "ready\r\n> ")

    def typed(self, text, until):
        os.write(self.terminal, text.encode())
        return self._until(until)

    def _until(self, end):
        read, give_up = "", time.monotonic() + 30
        while end not in read and time.monotonic() < give_up:
            if select.select([self.terminal], [], [], 0.1)[0]:
                read += os.read(self.terminal, 4096).decode()
        assert end in read, read
        return read

    def close(self):
        os.close(self.terminal)
        os.waitpid(self.pid, 0)


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_a_real_bash_completes(path, tmp_path):
    (tmp_path / "recording.bin").touch()
    bash = Bash(path, tmp_path)
    try:
        for line, completed in (
            ("driftcli run --preset dredge_f\t", "dredge_fast "),
            ("driftcli run --set select.method=un\t", "select.method=uniform "),
            ("driftcli run --preset=dredge --set=estimate.rig\t", "id="),
            ("driftcli run rec\t", "recording.bin "),
        ):
            shown = bash.typed(line, completed) + bash.typed("|", "|")
            assert f"{completed}|" in shown.replace("\a", "")  # behind `rigid=` there is no blank
            bash.typed("\x15\n", "> ")
    finally:
        bash.close()


def test_the_script_is_installed(path, tmp_path):
    variables = environment(PATH=path, HOME=str(tmp_path), _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    for option in ("--show-completion", "--install-completion"):
        done = subprocess.run(["driftcli", option, "bash"], capture_output=True, text=True, timeout=60, env=variables)
        assert done.returncode == 0, done.stderr
    script = tmp_path / ".bash_completions" / "driftcli.sh"
    assert "_DRIFTCLI_COMPLETE=complete_bash" in script.read_text()
    assert str(script) in (tmp_path / ".bashrc").read_text()
