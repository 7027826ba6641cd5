"""What the user sees: progress, messages, the summary, errors.

Progress, messages and errors go to standard error, the summary and `--json` to standard output. On a terminal progress
is a bar; elsewhere (batch jobs, pipes) it is a line now and then, and nothing is broken to a width. NO_COLOR,
FORCE_COLOR and TERM=dumb do what they do elsewhere.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console as RichConsole
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from driftcli.errors import OutputError
from driftcli.reporter import Reporter
from driftcli.units import seconds

if TYPE_CHECKING:
    from driftcli.log import Log

_errors = RichConsole(stderr=True, highlight=False)
_tracebacks = False
_log: Log | None = None
_LINE_EVERY_S, _LINE_AT_LEAST_EVERY_S = 10.0, 600.0
_WIDE = 70  # columns that the bar and the rate need


def show_tracebacks() -> None:
    """From now on an error comes with its traceback (`--debug`)."""
    global _tracebacks  # the error boundary lies outside of any verb's options
    _tracebacks = True


def tracebacks_wanted() -> bool:
    return _tracebacks


def open_log(path: Path) -> None:
    """From now on every decision, and how the program ends, goes to a log (`--log`). Raises OutputError."""
    global _log  # as above
    from driftcli.log import Log
    from driftcli.workflow.machine import describe_process

    _log = Log(path, describe_process(), show_note)


def close_log(exit_code: int, error: BaseException | None) -> None:
    """The last line of the log, if there is one."""
    global _log
    if _log is not None:
        _log.end(exit_code, error)
    _log = None


def show_note(text: str) -> None:
    """One line that is worth knowing."""
    _errors.print(f"[cyan]note:[/] {escape(_plain(text))}", soft_wrap=True)


def show_error(message: str, hint: str = "") -> None:
    """One line that says what, and what to try."""
    tail = f" Try: {hint}." if hint else ""
    stop = "" if message.endswith("?") else "."
    _errors.print(f"[bold red]error:[/] {escape(_plain(message + stop + tail))}", soft_wrap=True)


def _plain(text: str) -> str:
    """`text` without what a terminal would obey: it may quote a file of anybody."""
    return "".join(each if each.isprintable() or each == "\n" else "?" for each in text)


def _takes_a_bar() -> bool:
    """Whether the cursor can be moved. FORCE_COLOR may ask for colours in a file, but not for that."""
    return sys.stderr.isatty() and _errors.is_terminal and not _errors.is_dumb_terminal


class Console(Reporter):
    """The reporter of the command line (see driftcli.Reporter), and the summary at the end.

    All that it is told goes to the log, too, where one is open; `--quiet` doesn't silence that.
    """

    def __init__(self, *, quiet: bool, json: bool) -> None:
        self._quiet, self._json = quiet, json
        self._log: Reporter = _log or Reporter()
        self._bar: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._began: dict[str, float] = {}
        self._told: dict[str, float] = {}

    def __enter__(self) -> Console:
        if not self._quiet and _takes_a_bar():
            columns: tuple[ProgressColumn, ...] = (
                TextColumn("{task.description:<20}"),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f} %"),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            )
            if _errors.width < _WIDE:
                columns = (columns[0], columns[2], columns[4])
            self._bar = Progress(*columns, console=_errors)
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def message(self, text: str) -> None:
        """Tell something worth knowing, once."""
        self._log.message(text)
        if not self._quiet:
            show_note(text)

    def note(self, event: str, **facts: Any) -> None:
        """Keep a decision for the log."""
        self._log.note(event, **facts)

    def progress(self, stage: str, done: float, total: float, recording_s: float = 0.0) -> None:
        """Show how far a stage is; the rate is in multiples of real time where `recording_s` is known."""
        self._log.progress(stage, done, total, recording_s)
        if self._quiet:
            return
        now = time.perf_counter()
        if not done or stage not in self._began:
            self._began[stage] = self._told[stage] = now
        elapsed_s = now - self._began[stage]
        rate = f"{recording_s / elapsed_s:.1f} × real time" if recording_s and elapsed_s > 0 else ""
        if self._bar is None:
            self._line(stage, done / total if total else 1.0, now, rate)
            return
        if stage not in self._tasks:
            self._tasks[stage] = self._bar.add_task(stage, rate="")
        self._bar.update(self._tasks[stage], completed=done, total=total, rate=rate)

    def _line(self, stage: str, share: float, now: float, rate: str) -> None:
        """Once a tenth more time has passed, so that the log of a long job holds dozens of lines and not thousands."""
        elapsed_s = now - self._began[stage]
        wait_s = min(max(elapsed_s / 10, _LINE_EVERY_S), _LINE_AT_LEAST_EVERY_S)
        if not share or (share < 1 and now - self._told[stage] < wait_s):
            return
        self._told[stage] = now
        left = f"{seconds(elapsed_s * (1 - share) / share)} left" if share < 1 else f"done in {seconds(elapsed_s)}"
        print(", ".join(filter(None, (f"{stage}: {share:.0%}", rate, left))), file=sys.stderr, flush=True)

    def summary(self, title: str, rows: Mapping[str, str], facts: Any) -> None:
        """The last word: a table for people, or one line of JSON."""
        self._log.note("result", title=title, facts=facts)
        if self._json:
            import json

            try:
                print(json.dumps(facts), flush=True)
            except OSError as error:
                hint = "check what standard output is sent to; the same facts are in run.json"
                raise OutputError(f"the JSON can't be written: {error.strerror}", hint) from error
        elif not self._quiet:
            _show_rows(title, rows)


def _show_rows(title: str, rows: Mapping[str, str]) -> None:
    """A table as wide as the terminal; elsewhere lines that are not broken, so that paths in them stay whole."""
    console = RichConsole(highlight=False)
    if not console.is_terminal:
        width = max(map(len, rows), default=0) + 1
        for name, value in rows.items():
            title += "".join(f"\n{head:<{width}} {line}" for head, line in _lines(name, value))
        print(_plain(title))
        return
    table = Table(title=escape(_plain(title)), title_justify="left", show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, escape(_plain(value)))
    console.print(table)


def _lines(name: str, value: str) -> Iterator[tuple[str, str]]:
    """The lines of a row, the name before the first one only."""
    first, *others = value.split("\n")
    yield name, first
    yield from (("", each) for each in others)
