"""Writing files so that a final name only ever names a whole file.

An output is written under a temporary name in its own folder, synced to the disk, and renamed.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from driftcli.errors import OutputError
from driftcli.units import readable_size

CHECK_AND_RESUME = "check the disk, then go on with --resume"


@contextmanager
def atomic(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; when the block ends well, the file there takes the name `path`.

    The temporary name keeps the suffix of `path`, as some writers choose or add one by it. Whatever leaves the block
    early, an interrupt included, removes the temporary file and leaves what `path` named before untouched. An OSError
    in the block is one of writing, so it becomes an OutputError: read inputs outside of it.
    """
    path = Path(path)
    require_target(path)
    part = part_path(path)
    try:
        yield part
        publish(part, path)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def part_path(path: Path) -> Path:
    """The temporary name under which this process writes `path`."""
    return path.with_name(f".{path.stem}.part{os.getpid()}{path.suffix}")


def publish(part: Path, path: Path) -> None:
    """Sync the finished file `part` to the disk and rename it to `path`. Raises OSError."""
    descriptor = os.open(part, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(part, path)
    with suppress(OSError):  # some network file systems refuse to sync a folder; the rename itself has happened
        _sync_folder(path.parent)


def require_target(path: Path) -> None:
    """Raise OutputError unless `path` may name a file: its folder exists and it is no folder itself."""
    if path.is_dir():
        raise OutputError(f"{path} is a folder, not a file", "give the name of a file")
    if not path.parent.is_dir():
        raise OutputError(f"there is no folder {path.parent} to write {path.name} in", "make the folder first")


def require_room(folder: Path | str, size_bytes: int) -> None:
    """Raise OutputError unless the disk that holds `folder`, which need not exist yet, has `size_bytes` free."""
    folder, free = Path(folder).absolute(), free_bytes(folder)
    if size_bytes > free:
        raise OutputError(
            f"no room on the disk of {folder}: {readable_size(size_bytes)} needed, {readable_size(free)} free",
            "free some space or write to another disk",
        )


def free_bytes(folder: Path | str) -> int:
    """Free space on the disk that holds `folder`, which need not exist yet."""
    folder = Path(folder).absolute()
    present = next(parent for parent in (folder, *folder.parents) if parent.exists())
    return shutil.disk_usage(present).free


def refuse_same_file(inputs: Iterable[Path | str], output: Path | str) -> None:
    """Raise OutputError if `output` is one of the `inputs`: the same path, or a link to the same file."""
    output = Path(output)
    for path in map(Path, inputs):
        linked = path.exists() and output.exists() and path.samefile(output)
        if linked or path.resolve() == output.resolve():
            raise OutputError(f"the output {output} is the input {path}", "give the output another name")


def refuse_existing(output: Path | str, overwrite: bool) -> None:
    """Raise OutputError if something has the name `output` already and may not be replaced."""
    if not overwrite and os.path.lexists(output):
        raise OutputError(f"{output} exists already", "use --overwrite to replace it, or give another name")


def write_error(path: Path, error: OSError) -> OutputError:
    """What to tell the user of an OSError met while writing `path`."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    hint = "free some space or write to another disk" if full else "check the folder, its permissions and the disk"
    reason = os.strerror(error.errno) if error.errno else str(error)  # h5py gives a number and no plain words
    return OutputError(f"cannot write {path}: {reason}", hint)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
