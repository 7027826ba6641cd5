"""Giving whole outputs their names: a list of the renames first, and then one after the other.

Who finds such a list has nothing to do but to go through with it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from driftcli.errors import OutputError
from driftcli.files import CHECK_AND_RESUME, atomic, publish, write_error
from driftcli.workflow.runlog import add_to_run_log

DELIVERY = "delivery.json"
PORTION = re.compile(r"(\d+)-of-(\d+)")  # the folder of what one process does


def finish_delivery(place: Path) -> None:
    """Go through with a delivery, from wherever it was cut off."""
    plan = read_json(place / DELIVERY)
    if plan is None:
        return
    target = place.parent
    if any(Path(name).is_absolute() or ".." in Path(name).parts for name in plan["files"]):
        raise OutputError(f"{place / DELIVERY} names files outside of its folder", f"remove {place}")
    try:
        for name in plan["files"]:
            file = target / _final_name(name)
            if not os.path.lexists(place / name) and not file.exists():
                raise OutputError(f"{name} is missing in {place}", "start afresh with --overwrite")
            if os.path.lexists(place / name):  # else it was moved before
                if not file.parent.is_dir():
                    file.parent.mkdir()
                publish(place / name, file)
    except OSError as error:
        raise write_error(file, error) from error
    add_to_run_log(target, plan["outputs"], aside=place)
    empty(place, but=DELIVERY)
    (place / DELIVERY).unlink()
    with suppress(OSError):
        place.rmdir()


def _final_name(name: str) -> Path:
    """What a file of the work's folder is called in the end: as it is in its portion, or beside all portions."""
    first, *rest = Path(name).parts
    return Path(*rest) if rest and PORTION.fullmatch(first) else Path(name)


def sync(file: Path, *, remove: bool = True) -> None:
    """Have the disk take a file. One that it fails to take is removed, and so made again: the system forgets what it
    could not write, and the next time says that all is well. remove: False for a file that isn't this process's own.
    """
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if remove:
            file.unlink()
        raise write_error(file, error) from error
    finally:
        os.close(descriptor)


def empty(folder: Path, but: str = "") -> None:
    """Remove a folder with all that is in it; with `but`, all but the file of that name."""
    for path in folder.iterdir():
        if path.name == but:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a small file of a work folder, whole or not at all. Raises OutputError."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(values), encoding="utf-8")


def read_json(path: Path) -> dict[str, Any] | None:
    """Read it back; None where there is none. Raises OutputError."""
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OutputError(f"cannot read {path}: {error.strerror}", CHECK_AND_RESUME) from error
    except (ValueError, RecursionError) as error:
        raise OutputError(f"{path} is damaged: {error}", "start afresh with --overwrite") from error
    return values
