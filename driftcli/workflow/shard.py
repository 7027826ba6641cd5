"""Shards: which part of a recording's blocks one of several jobs does, and which part this job of an array is.

Variables that clusters set in the tasks of a job array: Slurm (job_array.html of its documentation), Grid Engine
(submit(1), `-t`), OpenPBS (qsub(1B), `-J`) and Torque (`-t`), LSF (its reference of environment variables).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from driftcli.errors import UsageError

Block = TypeVar("Block")

_MOST_TOLD = 8
_BY_HAND = "give --shard INDEX/COUNT instead of --array"


@dataclass(frozen=True)
class Shard:
    """Part `index`, counted from 1, of `count`. It is written 3/16."""

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            first_last = f"of {self.count} shards the first is 1/{self.count}, the last {self.count}/{self.count}"
            raise UsageError(f"there is no shard {self}", first_last if self.count > 0 else "for example --shard 3/16")

    @classmethod
    def of(cls, text: str) -> Shard:
        """The shard that `3/16` names. Raises UsageError."""
        found = re.fullmatch(r"\s*([0-9]{1,9})\s*/\s*([0-9]{1,9})\s*", text)
        if found is None:
            raise UsageError(f"{text!r} names no shard", "for example --shard 3/16, the third of sixteen")
        return cls(int(found[1]), int(found[2]))

    @classmethod
    def from_array(cls, environment: Mapping[str, str]) -> Shard:
        """The shard that this task of a job array is; the array's base and step may be any.

        Where variables of several clusters are set (one that runs in another, or sets the names of another for scripts
        written for it), which is the inner one can't be seen: they have to agree on the task's number. Raises
        UsageError if they don't, if there is no array, or if the number of its tasks isn't told.
        """
        tasks = {cluster: number for cluster, (name, _) in _CLUSTERS.items() if (number := _task(environment, name))}
        if not tasks:
            raise UsageError("this is no task of a job array", _BY_HAND.replace(" instead of --array", ""))
        if len({int(number) if number.isdecimal() else number for number in tasks.values()}) > 1:
            told = ", ".join(f"{_CLUSTERS[cluster][0]}={number}" for cluster, number in tasks.items())
            raise UsageError(f"two job arrays, one in the other: {told}", _BY_HAND)
        return _CLUSTERS[next(iter(tasks))][1](environment)

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @property
    def name(self) -> str:
        """The same for the name of a file."""
        return f"{self.index}-of-{self.count}"

    def blocks(self, blocks: Sequence[Block]) -> Sequence[Block]:
        """The blocks of this shard, neighbours in time: all shards share them out, the sizes differing by one at most.

        It depends on nothing but the numbers of blocks and shards. With more shards than blocks some are empty.
        """
        return blocks[len(blocks) * (self.index - 1) // self.count : len(blocks) * self.index // self.count]


WHOLE = Shard(1, 1)


def _slurm(environment: Mapping[str, str]) -> Shard:
    """A list (0,2,5) has no step that leads from its first to its last index with as many tasks as there are."""
    first, last, count = (_number(environment, f"SLURM_ARRAY_TASK_{name}") for name in ("MIN", "MAX", "COUNT"))
    step = _number(environment, "SLURM_ARRAY_TASK_STEP", default=1)
    shard = _in_range(_number(environment, "SLURM_ARRAY_TASK_ID"), first, last, step)
    if shard.count != count:
        raise UsageError(f"the job array is a list of {count} tasks between {first} and {last}, no range", _BY_HAND)
    return shard


def _grid_engine(environment: Mapping[str, str]) -> Shard:
    first, last, step = (_number(environment, f"SGE_TASK_{name}") for name in ("FIRST", "LAST", "STEPSIZE"))
    return _in_range(_number(environment, "SGE_TASK_ID"), first, last, step)


def _lsf(environment: Mapping[str, str]) -> Shard:
    """LSF doesn't tell the first index, which is taken to be 1; `merge` names the shards that then are missing."""
    last, step = (_number(environment, f"LSB_JOBINDEX_{name}") for name in ("END", "STEP"))
    return _in_range(_number(environment, "LSB_JOBINDEX"), 1, last, step)


def _pbs(environment: Mapping[str, str]) -> Shard:
    name = next(name for name in ("PBS_ARRAY_INDEX", "PBS_ARRAYID") if environment.get(name))
    hint = f"for an array of 1-16 give --shard ${name}/16 instead of --array"
    raise UsageError("PBS doesn't tell a job array's number of tasks", hint)


# Torque and OpenPBS call the index differently. PBS comes last: where another cluster sets its names, that one
# tells the number of tasks.
_CLUSTERS: dict[str, tuple[str, Callable[[Mapping[str, str]], Shard]]] = {
    "Slurm": ("SLURM_ARRAY_TASK_ID", _slurm),
    "Grid Engine": ("SGE_TASK_ID", _grid_engine),
    "LSF": ("LSB_JOBINDEX", _lsf),
    "OpenPBS": ("PBS_ARRAY_INDEX", _pbs),
    "Torque": ("PBS_ARRAYID", _pbs),
}


def _task(environment: Mapping[str, str], name: str) -> str:
    """What a cluster says of the task's number; empty outside of arrays, which Grid Engine and LSF say in words."""
    text = environment.get(name, "").strip()
    outside = {"SGE_TASK_ID": "undefined", "LSB_JOBINDEX": "0"}.get(name, "")
    return "" if text == outside else text


def _in_range(task: int, first: int, last: int, step: int) -> Shard:
    """The shard of a task of the range `first`-`last`:`step`."""
    told = f"task {task} of the job array {first}-{last}:{step}"
    if step < 1 or not first <= task <= last or (task - first) % step:
        raise UsageError(f"{told} makes no sense", _BY_HAND)
    if first == last and first > 1:
        # a range of one that begins in the middle is a task of another array, submitted again
        raise UsageError(f"{told} is alone, and of how many isn't told", _BY_HAND)
    return Shard((task - first) // step + 1, (last - first) // step + 1)


def _number(environment: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = environment.get(name, "").strip()
    if not text and default is not None:
        return default
    if not re.fullmatch(r"[0-9]{1,9}", text):
        told = f"{name} is {text!r}, which is no number" if text else f"{name} is not set"
        raise UsageError(f"the job array can't be understood: {told}", _BY_HAND)
    return int(text)


def in_words(shards: Sequence[Shard]) -> str:
    """`3/16, 5/16 and 7 more`."""
    shown = ", ".join(map(str, shards[:_MOST_TOLD]))
    return f"{shown} and {len(shards) - _MOST_TOLD} more" if len(shards) > _MOST_TOLD else shown
