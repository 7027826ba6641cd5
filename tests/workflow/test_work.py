"""How work is to be done: CPUs, and outputs that are checked before work begins."""

import os

import pytest

from driftcli.errors import OutputError, UsageError
from driftcli.workflow.work import Work, allotted_cpus, claim_outputs


def test_cpus_are_those_allotted(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)))
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    assert allotted_cpus() == 6
    for slurm, cpus in (("4", 4), ("16", 6), ("", 6), ("nonsense", 6), ("0", 6)):
        monkeypatch.setenv("SLURM_CPUS_PER_TASK", slurm)
        assert allotted_cpus() == cpus, slurm


@pytest.mark.parametrize("wrong", [{"jobs": 0}, {"chunk_s": 0.0}, {"chunk_s": float("nan")}])
def test_work_that_can_not_be_done_is_refused(wrong):
    with pytest.raises(UsageError):
        Work(**wrong)


def test_outputs_are_claimed_without_touching_what_is_there(tmp_path):
    there, absent = tmp_path / "there.h5", tmp_path / "new/folder/peaks.h5"
    there.write_text("precious")
    claim_outputs([absent], [there], overwrite=False)
    assert absent.parent.is_dir()
    with pytest.raises(OutputError, match="exists"):
        claim_outputs([there], [], overwrite=False)
    claim_outputs([there], [], overwrite=True)
    with pytest.raises(OutputError, match="is the input"):
        claim_outputs([there], [there], overwrite=True)
    with pytest.raises(OutputError, match="folder"):
        claim_outputs([tmp_path], [], overwrite=True)
    with pytest.raises(OutputError, match="can't be made"):
        claim_outputs([there / "peaks.h5"], [], overwrite=False)
    assert there.read_text() == "precious"
