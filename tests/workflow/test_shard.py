"""Shards: every block in exactly one of them, and which one a task of a job array is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftcli.errors import UsageError
from driftcli.workflow.shard import Shard


def test_a_shard_is_written_as_it_is_read():
    shard = Shard.of(" 3/16 ")
    assert shard == Shard(3, 16)
    assert (str(shard), shard.name) == ("3/16", "3-of-16")
    assert Shard.of(str(Shard(1, 1))) == Shard(1, 1)


@pytest.mark.parametrize(
    "text", ["", "3", "0/16", "17/16", "3/0", "-1/4", "a/b", "3/16/2", "1.5/3", "³/4", "1/1234567890"]
)
def test_what_names_no_shard_is_refused(text):
    with pytest.raises(UsageError) as refused:
        Shard.of(text)
    assert "shard" in str(refused.value)
    assert refused.value.hint


@given(blocks=st.integers(0, 500), count=st.integers(1, 600))
def test_all_blocks_are_in_exactly_one_shard_in_order(blocks, count):
    parts = [Shard(index, count).blocks(range(blocks)) for index in range(1, count + 1)]
    assert [block for part in parts for block in part] == list(range(blocks))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_blocks_by_hand():
    assert [list(Shard(index, 3).blocks("abcdefgh")) for index in (1, 2, 3)] == [
        ["a", "b"],
        ["c", "d", "e"],
        ["f", "g", "h"],
    ]
    assert [len(Shard(index, 4).blocks([1])) for index in (1, 2, 3, 4)] == [0, 0, 0, 1]


def slurm(task, first, last, step=1, count=None):
    count = (last - first) // step + 1 if count is None else count
    names = ("ID", "MIN", "MAX", "STEP", "COUNT")
    return {
        f"SLURM_ARRAY_TASK_{name}": str(value)
        for name, value in zip(names, (task, first, last, step, count), strict=True)
    }


def sge(task, first, last, step=1):
    names = ("ID", "FIRST", "LAST", "STEPSIZE")
    return {f"SGE_TASK_{name}": str(value) for name, value in zip(names, (task, first, last, step), strict=True)}


def lsf(task, last, step=1):
    return {"LSB_JOBINDEX": str(task), "LSB_JOBINDEX_END": str(last), "LSB_JOBINDEX_STEP": str(step)}


NO_ARRAYS = {"SGE_TASK_ID": "undefined", "SGE_TASK_FIRST": "undefined", "LSB_JOBINDEX": "0", "SLURM_JOB_ID": "7"}


@pytest.mark.parametrize(
    ("environment", "shard"),
    [
        (slurm(0, 0, 15), "1/16"),
        (slurm(15, 0, 15), "16/16"),
        (slurm(1, 1, 16), "1/16"),
        (slurm(107, 100, 109), "8/10"),
        (slurm(7, 1, 10, 3), "3/4"),
        (slurm(5, 5, 9, 2), "1/3"),
        (slurm(0, 0, 0), "1/1"),
        (slurm(1, 1, 1), "1/1"),
        ({name: value for name, value in slurm(2, 0, 3).items() if "STEP" not in name}, "3/4"),
        (sge(1, 1, 16), "1/16"),
        (sge(9, 1, 10, 4), "3/3"),  # -t 1-10:4 runs tasks 1, 5 and 9
        (sge(6, 4, 8, 2), "2/3"),
        (lsf(3, 16), "3/16"),
        (lsf(7, 16, 3), "3/6"),
        (NO_ARRAYS | slurm(3, 0, 3), "4/4"),
        (slurm(3, 1, 4) | {"PBS_ARRAY_INDEX": "3", "PBS_ARRAYID": "03"}, "3/4"),  # Slurm in the clothes of PBS
        (slurm(3, 1, 4) | lsf(3, 9), "3/4"),
    ],
)
def test_a_task_of_an_array_knows_its_shard(environment, shard):
    assert str(Shard.from_array(environment)) == shard


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, "no task of a job array"),
        (NO_ARRAYS, "no task of a job array"),
        (slurm(2, 0, 5, count=3), "a list of 3 tasks between 0 and 5"),
        (slurm(5, 5, 5), "alone"),  # one task of a larger array, submitted again
        (sge(5, 5, 5), "alone"),
        (slurm(9, 0, 5), "no sense"),
        (slurm(2, 1, 10, 3), "no sense"),
        (slurm(1, 0, 3, step=0, count=4), "no sense"),
        ({"SLURM_ARRAY_TASK_ID": "3"}, "SLURM_ARRAY_TASK_MIN is not set"),
        (slurm("x", 0, 3), "SLURM_ARRAY_TASK_ID is 'x'"),
        (sge(3, "undefined", 4), "SGE_TASK_FIRST is 'undefined'"),
        (lsf(2, 16, 3), "no sense"),
        ({"LSB_JOBINDEX": "3"}, "LSB_JOBINDEX_END is not set"),
        ({"PBS_ARRAY_INDEX": "3"}, "PBS doesn't tell"),
        ({"PBS_ARRAYID": "3"}, "PBS doesn't tell"),
        (slurm(3, 1, 4) | {"PBS_ARRAY_INDEX": "2"}, "one in the other: SLURM_ARRAY_TASK_ID=3, PBS_ARRAY_INDEX=2"),
        (sge(3, 1, 4) | lsf(2, 4), "one in the other"),
    ],
)
def test_an_array_that_does_not_tell_is_refused(environment, words):
    with pytest.raises(UsageError, match=words) as refused:
        Shard.from_array(environment)
    assert "--shard" in refused.value.hint


@pytest.mark.parametrize("name", ["PBS_ARRAY_INDEX", "PBS_ARRAYID"])
def test_the_hint_for_pbs_can_be_copied(name):
    with pytest.raises(UsageError) as refused:
        Shard.from_array({name: "3"})
    assert f"--shard ${name}/16" in refused.value.hint


@given(first=st.integers(0, 5), step=st.integers(1, 5), count=st.integers(2, 20))
def test_the_tasks_of_an_array_are_all_shards(first, step, count):
    last = first + step * (count - 1)
    tasks = range(first, last + 1, step)
    assert [Shard.from_array(slurm(task, first, last, step)).index for task in tasks] == list(range(1, count + 1))
    assert {Shard.from_array(sge(task, first, last, step)).count for task in tasks} == {count}
