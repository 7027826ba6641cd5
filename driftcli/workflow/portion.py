"""What one process does of a piece of work: all of it, or a shard."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

from driftcli.errors import OutputError
from driftcli.lock import Held, locked
from driftcli.spool import Spool, spool
from driftcli.workflow.delivery import DELIVERY, PORTION, finish_delivery, read_json, sync, write_json
from driftcli.workflow.identity import require_same
from driftcli.workflow.journal import Entry, Journal, read_journal
from driftcli.workflow.shard import Shard

IDENTITY, _DONE = "identity.json", "done.json"
ALL_OUTPUTS = "run"  # the name of the work on all outputs of a folder, where an output has its own

Json = dict[str, Any]


def work_folder(output: Path) -> Path:
    """The hidden folder in which an output is made."""
    return output.with_name(f".{output.name}.work")


def go_on_delivering(output: Path) -> None:
    """Finish a delivery that was cut off, if there is one. Raises Held where another process delivers."""
    if (work_folder(output) / DELIVERY).exists():
        with locked_delivery(output):
            finish_delivery(work_folder(output))


def locked_delivery(output: Path) -> AbstractContextManager[None]:
    """Held while files are given their names."""
    return locked(work_folder(output) / "delivery.lock", str(final(output)))


def final(path: Path) -> Path:
    """Where an output will be that is made in the folder of a portion; any other path as it is."""
    for folder in path.parents:
        if PORTION.fullmatch(folder.name) and re.fullmatch(r"\..+\.work", folder.parent.name):
            return final(folder.parents[1] / path.relative_to(folder))
    return path


class Portion:
    """What one process does of a piece of work, and what it has done so far.

    place: the folder of the work, which all its shards share. folder, lock: those of this portion.
    goes_on: whether it goes on with what an earlier process did. worth_keeping: whether --resume would find something
        to go on from.
    """

    def __init__(self, output: Path, shard: Shard) -> None:
        self.output, self.shard, self.place = output, shard, work_folder(output)
        self.folder, self.lock = self.place / shard.name, self.place / f"{shard.name}.lock"
        self.goes_on = self.worth_keeping = False
        self._forgotten = False
        self._open = ExitStack()

    @property
    def called(self) -> str:
        """What the user calls that which is made."""
        return str(self.output.parent if self.output.name == ALL_OUTPUTS else final(self.output))

    def journal(self, name: str) -> Journal:
        """A journal of this portion, open until it ends."""
        journal = Journal(self.folder / f"{name}.journal")
        self._open.callback(journal.close)
        self._open.callback(self._judge, journal)
        return journal

    def spool(self, name: str) -> Spool:
        """A spool of this portion, open until it ends."""
        return self._open.enter_context(self.spool_to_read(name))

    def spool_to_read(self, name: str) -> AbstractContextManager[Spool]:
        """A spool of this portion, for as long as a block runs."""
        return spool(self.folder / f"{name}.spool")

    def entries(self, name: str) -> dict[int, Entry]:
        """What a journal of this portion knows."""
        return read_journal(self.folder / f"{name}.journal")[0]

    def close(self) -> None:
        """Let go of all files."""
        self._open.close()

    def forget(self) -> None:
        """Let nothing of it stay."""
        self._forgotten = True

    @property
    def kept(self) -> bool:
        """Whether it stays when the work is cut off."""
        return self.worth_keeping and not self._forgotten

    def mark_done(self, facts: Mapping[str, Any], files: Sequence[Path] = ()) -> None:
        """The portion is done, and that is known from now on: all that it wrote is on the disk. facts: what is to be
        known of it. files: where it wrote beside its own folder."""
        self.close()
        for file in self.folder.iterdir():
            sync(file)
        for file in files:
            self._sync_shared(file)
        write_json(self.folder / _DONE, facts)
        self.worth_keeping = True

    @property
    def done(self) -> Json | None:
        """What is known of the portion if it is done."""
        return read_json(self.folder / _DONE)

    @property
    def identity(self) -> Json:
        """Which work it is of; empty where it was never begun."""
        identity: Json = (read_json(self.folder / IDENTITY) or {}).get("identity", {})
        return identity

    @property
    def may_overwrite(self) -> bool:
        """Whether it was begun with --overwrite."""
        return bool((read_json(self.folder / IDENTITY) or {}).get("overwrite"))

    def missing(self) -> list[Shard]:
        """The shards of this work that aren't done."""
        return [each.shard for each in self._all() if each.done is None]

    def all_of_work(self, identity: Json, mixed: bool) -> list[Portion]:
        """Every shard. Raises OutputError where one is not of the same work, by the way in which it differs."""
        for portion in self._all():
            portion.require_same(identity, mixed)
        return self._all()

    def require_same(self, identity: Json, mixed: bool) -> None:
        """Raise OutputError unless this portion is of the work of that identity."""
        whose = f"shard {self.shard} of {self.output.name}"
        hint = f"do that shard again with --shard {self.shard} --overwrite"
        require_same(self.identity, identity, whose, hint, mixed=mixed)

    @contextmanager
    def finishing(self) -> Iterator[bool]:
        """Put the shards together while the block runs; False where another process does that, or has done it."""
        with ExitStack() as stack:
            try:
                stack.enter_context(self.locked_to_finish())
            except Held:
                yield False
            except OutputError:
                if self.place.is_dir():
                    raise
                yield False  # all is delivered
            else:
                yield not self.missing()

    def locked_to_finish(self, wait_s: float = 0.0) -> AbstractContextManager[None]:
        """Held by who puts shards together, and by who begins one of them afresh."""
        return locked(self.place / "finish.lock", self.called, wait_s)

    def deliver(self, files: Sequence[Path], outputs: Mapping[str, Json]) -> None:
        """Move files of the work's folder to that of the output, the last one last, and add facts to its `run.json`.

        The work is over then, and its folder is gone.
        """
        self.close()
        for file in files:
            sync(file)
        names = [str(file.relative_to(self.place)) for file in files]
        with locked_delivery(self.output):
            write_json(self.place / DELIVERY, {"files": names, "outputs": outputs})
            self.worth_keeping = True  # from now on nothing is left to do but to move files
            finish_delivery(self.place)

    def _all(self) -> list[Portion]:
        count = self.shard.count
        return [Portion(self.output, Shard(index, count)) for index in range(1, count + 1)]

    def _sync_shared(self, file: Path) -> None:
        """Have the disk take a file that other shards write to, too; if it doesn't, do all of this shard again."""
        try:
            sync(file, remove=False)
        except OutputError:
            self.forget()
            raise

    def _judge(self, journal: Journal) -> None:
        self.worth_keeping = self.worth_keeping or bool(journal.entries)


def portions_of(output: Path) -> list[Portion]:
    """All portions in the work folder of an output, in order, whatever the number of shards."""
    place = work_folder(output)
    names = [path.name for path in place.iterdir() if path.is_dir()] if place.is_dir() else []
    found = [match for match in map(PORTION.fullmatch, names) if match]
    shards = [Shard(int(match[1]), int(match[2])) for match in found]
    return [Portion(output, shard) for shard in sorted(shards, key=lambda shard: (shard.count, shard.index))]
