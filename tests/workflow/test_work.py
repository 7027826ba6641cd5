"""How work is to be done: checks of it, and outputs that are checked before work begins."""

import pytest

from driftcli.errors import OutputError, UsageError
from driftcli.workflow.work import Work, claim_outputs


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
