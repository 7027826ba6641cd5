"""Where outputs are made until they are whole: a hidden folder beside them, from which work that was cut off goes on.

`.peaks.h5.work/` beside `peaks.h5` holds

    1-of-1/             what one process does: all of the work, or as 3-of-16 one shard of it
        identity.json   which work it is: inputs, preset, options, versions
        *.journal       which blocks are whole
        done.json       a shard has ended well
    1-of-1.lock         held while a process works on it
    delivery.json       all is whole, and files are being given their names

Outputs move out of the folder by being renamed, as the last thing that happens. The list of the renames is written
first: who finds it has nothing to do but to go through with them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from driftcli.errors import OutputError
from driftcli.files import refuse_existing, write_error
from driftcli.lock import Held, locked
from driftcli.workflow.delivery import DELIVERY, empty, read_json, write_json
from driftcli.workflow.identity import differences, identity_of, require_same
from driftcli.workflow.portion import IDENTITY, Json, Portion, final, go_on_delivering, portions_of, work_folder
from driftcli.workflow.runlog import RunLog, outputs_in_run_log
from driftcli.workflow.shard import WHOLE, Shard, in_words
from driftcli.workflow.work import Work

_WAIT_S = 30.0  # for shards that begin at the same time


def kept_from_before(files: Sequence[Path], log: RunLog, work: Work) -> Json | None:
    """What `run.json` says of outputs that --resume finds whole; None where there is work to do.

    A delivery that was cut off is finished first. Raises OutputError where the outputs are of other work and may not be
    replaced.
    """
    if not work.resume:
        return None
    with disk_errors(log.output):
        go_on_delivering(log.output)
        if not all(os.path.lexists(file) for file in files) or _is_begun(log.output):
            return None
        sweep(log.output)
        facts = outputs_in_run_log(log.output.parent).get(log.output.name)
        try:
            facts = require_whole(files, facts, log, work)
        except OutputError:
            if work.overwrite:
                return None
            raise
    work.reporter.message(f"{log.output.name} is whole: kept as it is")
    return {"output": str(log.output), **facts}


def require_whole(files: Sequence[Path], facts: Json | None, log: RunLog, work: Work) -> Json:
    """Raise OutputError unless outputs are there as `facts`, those in `run.json`, say, and are of this work."""
    hint = "replace it with --overwrite"
    if facts is None:
        raise OutputError(f"{final(log.output)} exists, and run.json does not say what of", hint)
    require_same(identity_of(facts), log.identity, log.output.name, mixed=work.mixed)
    for file in files:
        require_size(file, log.output.parent, facts)
    return facts


def require_size(file: Path, folder: Path, facts: Json) -> None:
    """Raise OutputError unless a file is as long as the `run.json` of the folder says."""
    name = file.relative_to(folder).as_posix()
    if file.stat().st_size != facts.get("checksums", {}).get(name, {}).get("size_bytes"):
        raise OutputError(f"{final(file)} is not what was written: it has another size", "replace it with --overwrite")


def _is_begun(output: Path) -> bool:
    """Whether there is unfinished work on an output; a kill just before or after it leaves a folder without any."""
    return any(portion.identity for portion in portions_of(output))


def sweep(output: Path) -> None:
    """Remove the folder of work that was not begun, or is over. Raises OutputError where a process is about to."""
    place = work_folder(output)
    if place.is_dir():
        with ExitStack() as stack:
            for lock in sorted(place.glob("*.lock")):
                stack.enter_context(locked(lock, str(output)))
            empty(place)


@contextmanager
def begin(
    files: Sequence[Path],
    output: Path,
    identity: Json,
    work: Work,
    shard: Shard = WHOLE,
    *,
    takes_in: bool = False,
) -> Iterator[Portion]:
    """Do a piece of work, or a shard of it, in a folder of its own, which stays if the work is cut off.

    files: all that the work will write. output: the one that it is named after. takes_in: whether --resume may find
    some of the files there though there is no unfinished work.
    Raises OutputError where another process does it, where there is other unfinished work, and where outputs exist.
    """
    portion, parents = Portion(output, shard), _absent(work_folder(output))
    _deliver_what_is_whole(portion, work)
    try:
        with _locked(portion), disk_errors(portion.place):
            portion.goes_on = _goes_on(portion, [] if takes_in and work.resume else files, identity, work)
            portion.worth_keeping = portion.goes_on
            if not portion.goes_on:
                _clear(portion)
            try:  # what was refused until here stays as it was
                work.reporter.note("goes on" if portion.goes_on else "begins", folder=str(portion.folder))
                if not portion.goes_on:
                    _mark_begun(portion, identity, work)
                yield portion
            except BaseException:
                portion.close()
                _leave(portion, work)
                raise
            portion.close()
    finally:
        for folder in dict.fromkeys([portion.place, *parents]):
            with suppress(OSError):  # it holds something
                folder.rmdir()


def _deliver_what_is_whole(portion: Portion, work: Work) -> None:
    """Go through with a delivery that was cut off, whose files are whole: to begin afresh beside it would mix two
    kinds of work. Only where that can't be done --overwrite gives it up."""
    if not (work.resume or work.overwrite):
        return
    try:
        go_on_delivering(portion.output)
    except Held:
        raise
    except OutputError:
        if portion.shard != WHOLE or not work.overwrite:
            raise


@contextmanager
def disk_errors(place: Path) -> Iterator[None]:
    """What a disk refuses that nobody expected it to is an OutputError, too."""
    try:
        yield
    except OSError as error:
        raise write_error(Path(error.filename or place), error) from error


@contextmanager
def _locked(portion: Portion) -> Iterator[None]:
    if portion.place.is_symlink():  # what is removed there might be anybody's
        raise OutputError(f"{portion.place} is a link, not the folder of driftcli's work", "remove the link")
    try:
        portion.place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"the folder {portion.place.parent} can't be made: {error.strerror}", "choose another --out"
        ) from error
    what = portion.called if portion.shard == WHOLE else f"shard {portion.shard} of {portion.called}"
    with locked(portion.lock, what):
        yield


def _goes_on(portion: Portion, files: Sequence[Path], identity: Json, work: Work) -> bool:
    """Whether there is work to go on with. Raises OutputError where there is, but it may not be; changes nothing."""
    begun = read_json(portion.folder / IDENTITY)
    _refuse_other_portions(portion, work)
    left = begun is not None or (portion.place / DELIVERY).exists()
    if left and not work.resume and not work.overwrite:
        raise OutputError(
            f"there is unfinished work on {portion.called}",
            "go on with --resume, or start afresh with --overwrite",
        )
    if (
        begun is None
        or not work.resume
        or (work.overwrite and differences(portion.identity, identity, mixed=work.mixed))
    ):
        _refuse_existing(files, work.overwrite)
        return False
    whose = f"the unfinished work on {portion.called}"
    require_same(portion.identity, identity, whose, mixed=work.mixed)
    _refuse_existing(files, work.overwrite or portion.may_overwrite)
    return True


def _refuse_existing(files: Sequence[Path], overwrite: bool) -> None:
    for file in files:
        if os.path.lexists(file):  # as part of a run: taken from there
            refuse_existing(final(file), overwrite)


def _mark_begun(portion: Portion, identity: Json, work: Work) -> None:
    portion.folder.mkdir()
    write_json(portion.folder / IDENTITY, {"identity": identity, "overwrite": work.overwrite})


def _refuse_other_portions(portion: Portion, work: Work) -> None:
    """Two ways to cut the same work into shards would do some of it twice."""
    begun = [each.shard for each in portions_of(portion.output) if each.identity]
    others = [shard for shard in begun if shard.count != portion.shard.count]
    if others and not (portion.shard == WHOLE and work.overwrite):
        raise OutputError(
            f"there is unfinished work on {portion.called} that was cut otherwise: {in_words(others)}",
            f"finish that, or remove {portion.place}",
        )


def _clear(portion: Portion) -> None:
    """Remove what is left of earlier work; a shard touches only its own."""
    if portion.shard != WHOLE:
        with portion.locked_to_finish(_WAIT_S):  # who puts shards together must not lose one on the way
            shutil.rmtree(portion.folder, ignore_errors=True)
            if not any(other.identity for other in portions_of(portion.output) if other.shard != portion.shard):
                _remove_shared_files(portion.place)
        return
    with ExitStack() as stack:
        for other in portions_of(portion.output):
            if other.shard != portion.shard:
                stack.enter_context(locked(other.lock, f"shard {other.shard} of {portion.called}"))
        (portion.place / DELIVERY).unlink(missing_ok=True)  # first: it would take missing files for delivered ones
        empty(portion.place, but=portion.lock.name)


def _remove_shared_files(place: Path) -> None:
    """What shards of other work have left: a binary that they wrote to together may be of another size."""
    for path in place.iterdir():
        if path.is_file() and path.suffix != ".lock":
            path.unlink()


def _leave(portion: Portion, work: Work) -> None:
    """Keep what --resume can go on from, and say so; else leave nothing."""
    if portion.kept:
        if final(portion.output) == portion.output:  # else it is part of a run, which says so itself
            work.reporter.message(f"what is done is kept in {portion.place}: --resume goes on from there")
        return
    shutil.rmtree(portion.folder, ignore_errors=True)
    if portion.shard == WHOLE:
        with suppress(OSError):  # a disk that has gone away; what went wrong is on its way to the user
            empty(portion.place)


def _absent(folder: Path) -> list[Path]:
    """The folder and those above it that don't exist yet, the deepest first."""
    return [path for path in (folder, *folder.absolute().parents) if not path.exists()]
