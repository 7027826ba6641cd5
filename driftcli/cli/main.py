"""The `driftcli` program: its verbs, and the one place where errors become a line and an exit code."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
import traceback
from io import TextIOWrapper
from types import FrameType
from typing import Annotated

import typer

from driftcli import __version__, kernels
from driftcli.cli import (
    accuracy,
    apply,
    assess,
    compare,
    completion,
    correct_peaks,
    detect,
    estimate,
    export,
    import_,
    info,
    merge,
    plot,
    presets,
    run,
    simulate,
    submit,
    verify,
)
from driftcli.cli.console import close_log, show_error, tracebacks_wanted
from driftcli.cli.help import MARKUP, Verbs, add_command, as_written
from driftcli.errors import DriftcliError, UsageError

app = typer.Typer(
    name="driftcli",
    cls=Verbs,
    no_args_is_help=True,
    rich_markup_mode=MARKUP,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="\n\n".join(
        [
            "Take probe drift out of extracellular recordings.",
            as_written("", "driftcli run rec.bin --probe probe.json", "driftcli run run_g0_t0.imec0.ap.bin"),
            "leave the peaks, the motion of the tissue, the corrected recording and its probe in a folder beside the "
            "recording, with pictures and a verdict. driftcli COMMAND --help has examples.",
        ]
    ),
)
PANELS = {
    "Correct a recording": (run,),
    "Step by step": (detect, estimate, assess, apply, correct_peaks),
    "Clusters": (submit, merge),
    "Look and check": (info, plot, compare, verify),
    "Motions and presets": (export, import_),
    "Simulation": (simulate, accuracy),
}
for panel, modules in PANELS.items():
    for module in modules:
        add_command(app, module.command, panel=panel)
app.add_typer(presets.app, name="presets", rich_help_panel="Motions and presets")


def _print_version(context: typer.Context, wanted: bool) -> None:
    if not wanted or context.resilient_parsing:  # a shell asks how the line may go on
        return
    print(f"driftcli {__version__}")
    if context.params.get("verbose"):  # known by now: it is eager and --version is not
        from driftcli.cli.show_machine import machine_lines

        print("\n".join(machine_lines()))
    raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, help="Show the version and exit.")
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", is_eager=True, help="With --version: libraries, CPUs and memory, for a bug report."),
    ] = False,
) -> None:
    """Options of the program itself."""
    if verbose:
        raise UsageError("--verbose belongs to --version", "driftcli --version --verbose")


STOPS = {signal.SIGHUP: "the terminal was closed", signal.SIGINT: "Ctrl-C", signal.SIGTERM: "asked to end"}


class Stopped(BaseException):
    """Ctrl-C, a closed terminal, or SIGTERM, which a cluster sends before a job's time is up. Work is cleaned up.

    Not KeyboardInterrupt: typer would take that for its own.
    """


def _stop(number: int, _frame: FrameType | None) -> None:
    if number == signal.SIGTERM:  # of a cluster it comes twice: to all processes of the job, and from its script
        signal.signal(number, signal.SIG_IGN)
    raise Stopped(number)


def main() -> None:
    """Run the command line. Exit codes: 0, those of driftcli.errors, and 128 + the number of a signal of `STOPS`."""
    for number in STOPS:
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup has it, and shells for what runs in the background
            signal.signal(number, _stop)
    completion.prepare(os.environ)
    atexit.register(gc.freeze)  # on its way out Python would look through all objects of all libraries for cycles
    kernels.find_a_place()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without µ gets a question mark, not a traceback
    ended_by: BaseException | None = None
    try:
        exit_code = app(standalone_mode=False) or 0
    except Stopped as stopped:
        ended_by, number = stopped, signal.Signals(stopped.args[0])
        show_error(f"stopped by {number.name} ({STOPS[number]}); no output was left half-written")
        exit_code = 128 + number
    except Exception as error:
        ended_by, exit_code = error, _told(error)
    close_log(exit_code, ended_by)
    sys.exit(exit_code)


def _told(error: Exception) -> int:
    """Show an error in one line, or with its traceback where that is wanted; returns its exit code."""
    if tracebacks_wanted():
        traceback.print_exc()
    elif isinstance(error, DriftcliError):
        show_error(error.message, error.hint)
    elif type(error).__name__ == "NoArgsIsHelpError":  # the help has been shown
        pass
    elif hasattr(error, "format_message"):  # what typer raises for options it doesn't know
        show_error(error.format_message().rstrip("."), "driftcli --help, or driftcli COMMAND --help")
    else:
        name = type(error).__name__
        show_error(f"an internal fault, {name}: {error}", "again with --debug, and report what it prints")
    return getattr(error, "exit_code", DriftcliError.exit_code)
