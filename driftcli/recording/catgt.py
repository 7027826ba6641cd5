"""Whether CatGT lined up the channels of a SpikeGLX recording, by the command lines that it leaves in the meta.

Since version 2.2 it does unless told `-no_tshift`; before, only when told `-tshift`. A first pass adds the key
`catGTCmdline0`, the next one `catGTCmdline1`, and so on. A supercat joins what first passes wrote and leaves the traces
as they are; its meta has `catGTCmdline` instead of all those, which names the folders of its inputs.

Source: the user manual of CatGT 4.4 (no_tshift, output files, supercat, change log).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from driftcli.recording.meta import Meta, read_meta

_COMMAND = re.compile(r"catGTCmdline\d*")
_RETIRED_IN_2_2 = ("-aphipass", "-aplopass", "-lfhipass", "-lflopass")
_SUPERCAT = "-supercat="
_MOST_INPUTS = 256  # of a supercat, whose metas are read one by one


def lined_up_by_catgt(meta: Meta) -> str:
    """Why the channels of a recording count as lined up; empty if they don't.

    A supercat inherits from its inputs where their meta files are still there; else its own command line decides.
    """
    inputs = [each for line in _command_lines(meta).values() for each in _inputs_of_supercat(line, meta.path)]
    for each in inputs or [meta]:
        for key, line in _command_lines(each).items():
            if _lines_up(_options(line)):
                return f"CatGT lined the channels up already ({key} of {each.path.name} without -no_tshift)"
    return ""


def _command_lines(meta: Meta) -> dict[str, str]:
    return {key: line for key, line in meta.values.items() if _COMMAND.fullmatch(key)}


def _options(line: str) -> list[str]:
    return line.strip("<>").split()


def _lines_up(options: list[str]) -> bool:
    old = any(option.startswith(_RETIRED_IN_2_2) for option in options)
    return "-tshift" in options or not (old or "-no_tshift" in options)


def _inputs_of_supercat(line: str, meta_path: Path) -> Iterator[Meta]:
    """The inputs in `-supercat={folder,run_g0}{folder,run_g0}...` whose metas can be read."""
    device = meta_path.name.split(".")[-3:]  # imec0.ap.meta
    elements = re.findall(r"\{([^{},]+),([^{},]+)\}", line) if _SUPERCAT in line else []  # folders may hold blanks
    for folder, run_folder in islice(dict.fromkeys(elements), _MOST_INPUTS):
        run = run_folder.removeprefix("catgt_")
        name = ".".join([f"{run}_tcat", *device])
        of_run = Path(folder) / run_folder
        yield from _first_readable(of_run / f"{run}_{device[0]}" / name, of_run / name, Path(folder) / name)


def _first_readable(*paths: Path) -> Iterator[Meta]:
    for path in paths:
        with suppress(OSError, ValueError):  # ValueError: a path that can't be one
            if path.is_file():  # a pipe would be waited for
                yield read_meta(path)
                return
