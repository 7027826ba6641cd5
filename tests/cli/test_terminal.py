"""What a terminal of some size and kind, and a file in its place, gets to see."""

import subprocess
import sys

import pytest

from driftcli.cli import console
from driftcli.cli.console import Console
from terminal import COLOUR, environment, plain, shown

DRIFTCLI = [sys.executable, "-m", "driftcli"]
WIDTHS = (50, 120)


@pytest.fixture(scope="module")
def simulate(tmp_path_factory):
    """A command that shows progress and a summary, and its output."""
    folder = tmp_path_factory.mktemp("a folder with a name longer than a terminal is wide, as some are, " + "x" * 60)
    small = ["--duration-s", "1", "--num-channels", "16", "--overwrite"]
    return [*DRIFTCLI, "simulate", str(folder), *small], f"{folder}/"


@pytest.mark.parametrize("columns", [50, 80])
def test_progress_and_summary_fit_a_terminal(simulate, columns):
    code, text = shown(simulate[0], columns)
    assert code == 0, text
    assert "\x1b[2K" in text  # a bar that is drawn again and again
    end = plain(text[text.rindex("\x1b[?25h") :]).splitlines()
    assert max(map(len, end)) <= columns
    assert [line.split()[0] for line in end if line[:1].isalpha()][-3:] == ["recording", "drift", "next"]
    bar = plain(text[: text.rindex("\x1b[?25h")]).splitlines()[-1]
    assert bar.startswith("simulate ")
    assert "100 %" in bar
    assert ("━" in bar) == (columns == 80)


def test_no_color_takes_the_colours_away(simulate):
    assert COLOUR.search(shown(simulate[0], 80)[1])
    assert not COLOUR.search(shown(simulate[0], 80, NO_COLOR="1")[1])


def test_a_dumb_terminal_gets_lines_and_nothing_to_obey(simulate):
    code, text = shown(simulate[0], 80, TERM="dumb")
    assert code == 0, text
    assert "\x1b" not in text
    assert "simulate: 100%" in text


@pytest.mark.parametrize("forced", [False, True], ids=["", "FORCE_COLOR"])
def test_a_log_of_a_batch_job_holds_whole_lines(simulate, forced):
    command, title = simulate
    variables = {"TERM": "xterm"} | ({"FORCE_COLOR": "1"} if forced else {})
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment(**variables))
    assert done.returncode == 0, done.stderr
    written = done.stderr + done.stdout
    assert ("\x1b[" in written) == forced
    assert not set("\r\x08") & set(written)
    assert "\x1b[2K" not in written
    assert "\x1b[?25" not in written
    assert "simulate: 100%" in plain(done.stderr)
    if not forced:
        lines = done.stdout.splitlines()
        assert lines[0] == title  # however long it is
        assert [line.split()[0] for line in lines[1:]] == ["recording", "drift", "next"]
        assert all(line == line.rstrip() for line in lines)


@pytest.mark.parametrize("columns", WIDTHS)
def test_an_error_is_one_line_that_the_terminal_breaks(columns):
    code, text = shown([*DRIFTCLI, "run", "there is no such file of a recording.bin"], columns)
    assert code == 3
    assert plain(text).strip().splitlines()[-1] == (
        "error: there is no file there is no such file of a recording.bin. Try: check the path."
    )


def test_no_verb_shows_the_help_and_no_error():
    done = subprocess.run(DRIFTCLI, capture_output=True, text=True, timeout=60, env=environment())
    assert (done.returncode, done.stderr) == (2, "")
    assert "Correct a recording" in done.stdout


def test_lines_of_progress_get_rarer(monkeypatch, capsys):
    """A stage of ten hours, told of each second."""
    now_s = [0.0]
    monkeypatch.setattr(console.time, "perf_counter", lambda: now_s[0])
    monkeypatch.setattr(console, "_takes_a_bar", lambda: False)
    hours = 10 * 3600
    with Console(quiet=False, json=False) as shows:
        for second in range(hours + 1):
            now_s[0] = float(second)
            shows.progress("detect", second, hours, 2.0 * second)
    lines = capsys.readouterr().err.splitlines()
    assert 20 < len(lines) < 150
    assert lines[0] == "detect: 0%, 2.0 × real time, 10 h left"
    assert lines[-1] == "detect: 100%, 2.0 × real time, done in 10 h"
