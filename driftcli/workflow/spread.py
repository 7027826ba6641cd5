"""run on a Dask cluster: the shards of a job array as tasks that workers with the same disk do in their own processes.

A task that is lost with its worker is given to another one, where it goes on from what the first one left on the disk:
the lock of a process dies with it. Tasks call workflow functions, in threads of the worker, so that nothing here may
need the main thread. `distributed` is an extra, imported only when it is asked for.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from driftcli import __version__, presets
from driftcli.errors import OutputError, UsageError
from driftcli.lock import Held
from driftcli.model import Settings
from driftcli.recording.open import open_recording
from driftcli.recording.recording import Recording
from driftcli.reporter import Reporter
from driftcli.workflow.apply import apply
from driftcli.workflow.assess import assess
from driftcli.workflow.detect import detect
from driftcli.workflow.estimate import estimate
from driftcli.workflow.form import Form
from driftcli.workflow.merge import merge
from driftcli.workflow.shard import Shard
from driftcli.workflow.submit import check_shards
from driftcli.workflow.work import ASSESSMENT, DEFAULT_CHUNK_S, MOTION, PEAKS, Work

if TYPE_CHECKING:
    from distributed import Client, Future

_LONGEST_HELD_S = 180.0  # that a lost worker's lock outlives it on a network disk: leases of NFS take 90 s
_LOOKS_EVERY_S = 0.5
_ANSWERS_WITHIN_S = 20

Facts = dict[str, Any]


@dataclass(frozen=True)
class Spread:
    """The work, in plain data that travels to workers. Options are those of `run`; all paths start at the root.

    how: what `open_recording` is told. corrected: as `apply` is told. shards_each: of a worker, where all get as
    many. jobs: threads of a task, None: its share of those that its worker has.
    """

    how: dict[str, Any]
    preset: dict[str, Any]
    folder: Path
    corrected: Path
    form: Form
    shards_each: int = 1
    jobs: int | None = None
    chunk_s: float = DEFAULT_CHUNK_S
    overwrite: bool = False
    mixed: bool = False
    max_memory_bytes: float | None = None

    def recording(self) -> Recording:
        """The recording, as a worker opens it; what there is to tell was told when the user's process opened it."""
        return open_recording(**self.how, reporter=Reporter())

    def work(self, reporter: Reporter, tasks: int = 1) -> Work:
        """As a worker does it, which always goes on from what there is.

        tasks: how many of its kind the worker has; those that it does at a time share its threads and memory.
        """
        from distributed import get_worker

        threads = max(1, get_worker().state.nthreads)
        at_once = min(threads, tasks)
        memory_bytes = None if self.max_memory_bytes is None else self.max_memory_bytes / at_once
        flags = {"overwrite": self.overwrite, "resume": True, "mixed": self.mixed}
        jobs = self.jobs or threads // at_once
        return Work(jobs, self.chunk_s, **flags, reporter=reporter, max_memory_bytes=memory_bytes)


class Done(NamedTuple):
    """What a task has to tell: facts of each verb, and messages for the user."""

    facts: dict[str, Facts]
    messages: list[str]


class UnwantedError(Exception):
    """The task was called off."""


class _OnWorker(Reporter):
    """Keeps messages, and ends the work when its task is no longer wanted: a thread can't be ended from outside."""

    def __init__(self) -> None:
        from distributed import get_worker

        self.messages: list[str] = []
        self._worker = get_worker()
        self._task = self._worker.get_current_task()

    def message(self, text: str) -> None:
        self.messages.append(text)

    def note(self, event: str, **facts: Any) -> None:
        """The log is written where the user is."""

    def progress(self, stage: str, done: float, total: float, recording_s: float = 0.0) -> None:
        self.require_wanted()

    def require_wanted(self) -> None:
        """Raise UnwantedError if the task was called off."""
        task = self._worker.state.tasks.get(self._task)
        if task is None or task.state in ("cancelled", "released", "forgotten"):
            raise UnwantedError


def _task(do: Callable[..., dict[str, Facts]]) -> Callable[..., Done]:
    """What a worker calls: `do` with a reporter, again while a lock is held that may be that of a lost worker."""

    @wraps(do)
    def task(*arguments: Any) -> Done:
        end = time.monotonic() + _LONGEST_HELD_S
        while True:
            reporter = _OnWorker()
            try:
                return Done(do(reporter, *arguments), reporter.messages)
            except Held:
                if time.monotonic() > end:
                    raise
            reporter.require_wanted()
            time.sleep(_LOOKS_EVERY_S)

    return task


@_task
def detect_shard(reporter: Reporter, spread: Spread, shard: Shard) -> dict[str, Facts]:
    """Task: find the peaks of a part of the recording."""
    recording, settings = spread.recording(), presets.resolve(spread.preset)
    work, peaks = spread.work(reporter, spread.shards_each), spread.folder / PEAKS
    facts = detect(recording, settings, peaks, work, exclude_times=spread.form.exclude_times, shard=shard)
    return {"detect": facts}


@_task
def merge_and_estimate(reporter: Reporter, spread: Spread) -> dict[str, Facts]:
    """Task: make one file of all peaks, estimate the motion, and say whether it helps."""
    work, peaks = spread.work(reporter), spread.folder / PEAKS
    merged = merge(peaks, work)
    settings, motion = presets.resolve(spread.preset), spread.folder / MOTION
    facts = {"detect": merged, "estimate": estimate(peaks, settings, motion, work, shanks=spread.form.shanks)}
    if spread.form.assessed:
        facts["assess"] = assess(peaks, motion, settings, spread.folder / ASSESSMENT, work)
    return facts


@_task
def apply_shard(reporter: Reporter, spread: Spread, shard: Shard) -> dict[str, Facts]:
    """Task: correct a part of the recording."""
    recording, settings = spread.recording(), presets.resolve(spread.preset)
    form = spread.form
    facts = apply(
        recording,
        spread.folder / MOTION,
        settings,
        spread.corrected,
        spread.work(reporter, spread.shards_each),
        dtype=form.dtype,
        split=form.split,
        compress=form.compress,
        if_better=form.if_better,
        shard=shard,
    )
    return {"apply": facts}


class Cluster:
    """The workers of an existing Dask cluster."""

    def __init__(self, client: Client, address: str) -> None:
        self._client, self._address = client, address

    def check(self) -> None:
        """Raise UsageError unless there are workers, and all have this driftcli."""
        if not self.count:
            raise UsageError(f"the Dask cluster at {self._address} has no workers", "start some with dask worker")
        try:
            there = self._client.run(_version)
        except Exception as error:  # what a worker without driftcli says depends on the version of distributed
            raise UsageError(
                f"a Dask worker can't run driftcli: {error}", "install driftcli in the environment of the workers"
            ) from error
        others = {version for version in there.values() if version != __version__}
        if others:
            told = f"Dask workers have driftcli {', '.join(sorted(others))}, and here is {__version__}"
            raise UsageError(told, "install the same version everywhere")

    @property
    def count(self) -> int:
        """How many workers there are."""
        return len(self._client.scheduler_info(n_workers=-1)["workers"])

    def run(self, spread: Spread, shards: int, reporter: Reporter) -> dict[str, Facts]:
        """Do all of the work; the facts of each verb, as `run` returns them."""
        parts = [Shard(index, shards) for index in range(1, shards + 1)]
        with _in_plain_words():
            found = self._do("detect", detect_shard, spread, parts, reporter)
            _tell(_common(found), reporter)
            (between,) = self._do("estimate", merge_and_estimate, spread, [], reporter)
            _tell(between.messages, reporter)
            applied = self._do("apply", apply_shard, spread, parts, reporter)
        last = next((done for done in applied if "output" in done.facts["apply"]), None)
        if last is None:
            raise OutputError("all shards were applied, and none gave the output its name", "again with --resume")
        _tell(last.messages, reporter)
        return {**between.facts, **last.facts}

    def _do(
        self, name: str, task: Callable[..., Done], spread: Spread, parts: Sequence[Shard], reporter: Reporter
    ) -> list[Done]:
        """Have a task done for each part, or once. Those that still run are called off when this is left early."""
        from distributed import as_completed

        arguments: list[tuple[Any, ...]] = [(spread, part) for part in parts] or [(spread,)]
        # pure: a task is done for what it leaves on the disk, so that a result of the same name doesn't replace it
        futures: list[Future[Any]] = [self._client.submit(task, *each, pure=False) for each in arguments]
        reporter.progress(name, 0, len(futures))
        try:
            for count, future in enumerate(as_completed(futures, loop=self._client.loop), 1):
                future.result()
                reporter.progress(name, count, len(futures))
            return [future.result() for future in futures]
        finally:
            self._client.cancel(futures)


def run_on_cluster(
    address: str,
    shards: int | None,
    recording: Recording,
    how: dict[str, Any],
    settings: Settings,
    folder: Path,
    work: Work,
    form: Form,
    *,
    jobs: int | None = None,
) -> dict[str, Facts]:
    """Correct a recording as `run` does, on the workers of the Dask cluster at `address`; outputs go to `folder`.

    shards: parts of the recording, None: as many as there are workers. how: what `open_recording` was told. jobs:
    threads of a task, None: those of its worker, shared out among the tasks that it does at a time. form: with files
    named from the root. Outputs get their names one after the other. Raises UsageError where there is no cluster that
    can do it, and what `run` raises.
    """
    with cluster(address) as workers:
        workers.check()
        count = shards or max(2, workers.count)
        check_shards(recording, settings, folder, work, count, form)
        spread = Spread(
            how,
            settings.to_dict(),
            folder,
            form.corrected(recording, folder),
            form,
            math.ceil(count / workers.count),
            jobs,
            work.chunk_s,
            work.overwrite,
            work.mixed,
            work.max_memory_bytes,
        )
        return workers.run(spread, count, work.reporter)


@contextmanager
def cluster(address: str) -> Iterator[Cluster]:
    """Connect to the Dask cluster of a scheduler. Raises UsageError where that isn't possible."""
    try:
        from distributed import Client
    except ImportError:
        raise UsageError("--scheduler needs dask.distributed", "pip install 'driftcli[dask]'") from None
    try:
        client = Client(address, timeout=_ANSWERS_WITHIN_S, set_as_default=False)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(
            f"no Dask scheduler answers at {address}: {reason}", "check the address, such as tcp://host:8786"
        ) from error
    with client:
        yield Cluster(client, address)


@contextmanager
def _in_plain_words() -> Iterator[None]:
    """What Dask has to say of tasks that it gave up."""
    from distributed import CancelledError, KilledWorker

    try:
        yield
    except KilledWorker as error:
        raise OutputError(
            "the Dask cluster lost several workers one after the other with the same task, the last one "
            f"{error.last_worker.address}",
            "look at their logs, often it is memory; --resume goes on from what is done",
        ) from error
    except CancelledError as error:
        raise OutputError("the Dask cluster has gone away", "--resume goes on from what is done") from error


def _version() -> str:
    return __version__


def _common(found: Sequence[Done]) -> list[str]:
    """What all shards tell is of the recording; the rest, such as which shards there are, is of no interest here."""
    first, *others = found
    return [text for text in first.messages if all(text in other.messages for other in others)]


def _tell(messages: Sequence[str], reporter: Reporter) -> None:
    for text in dict.fromkeys(messages):
        reporter.message(text)
