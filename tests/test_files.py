"""Final names only ever name whole files."""

import os
import shutil

import pytest

from driftcli.errors import OutputError
from driftcli.files import atomic, refuse_existing, refuse_same_file, require_room


def test_atomic_gives_the_file_its_name_and_its_whole_content(tmp_path):
    with atomic(tmp_path / "out.h5") as part:
        part.write_text("new")
        assert not (tmp_path / "out.h5").exists()
        assert part.parent == tmp_path
        assert part.suffix == ".h5"
    assert (tmp_path / "out.h5").read_text() == "new"
    assert os.listdir(tmp_path) == ["out.h5"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, RuntimeError])
def test_atomic_leaves_the_old_file_and_nothing_else_when_interrupted(tmp_path, error):
    def interrupted():
        with atomic(tmp_path / "out.h5") as part:
            part.write_text("half")
            raise error

    (tmp_path / "out.h5").write_text("old")
    with pytest.raises(error):
        interrupted()
    assert (tmp_path / "out.h5").read_text() == "old"
    assert os.listdir(tmp_path) == ["out.h5"]


def test_atomic_tells_of_a_full_disk(tmp_path):
    with (
        pytest.raises(OutputError, match=r"cannot write .*out\.h5: No space left") as caught,
        atomic(tmp_path / "out.h5"),
    ):
        raise OSError(28, "No space left on device")
    assert "free some space" in caught.value.hint


def test_atomic_lets_our_own_errors_pass(tmp_path):
    with pytest.raises(OutputError, match="as it was"), atomic(tmp_path / "out.h5"):
        raise OutputError("as it was")


def test_atomic_refuses_targets_before_the_work_starts(tmp_path):
    (tmp_path / "folder").mkdir()
    for path, message in ((tmp_path / "folder", "is a folder"), (tmp_path / "absent" / "x", "there is no folder")):
        with pytest.raises(OutputError, match=message), atomic(path):
            pytest.fail("the block must not run")


def test_atomic_reports_that_nothing_was_written(tmp_path):
    with pytest.raises(OutputError, match="cannot write"), atomic(tmp_path / "out.h5"):
        pass
    assert os.listdir(tmp_path) == []


def test_require_room_names_what_is_needed_and_what_is_free(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**10, 9 * 10**9, 10**9))
    require_room(tmp_path / "not" / "yet" / "there", 10**9)
    with pytest.raises(OutputError, match=r"2.5 GB needed, 1 GB free"):
        require_room(tmp_path, 2_500_000_000)


def test_the_output_may_not_be_an_input_under_any_name(tmp_path):
    source, other = tmp_path / "in.bin", tmp_path / "other.bin"
    source.write_text("x")
    other.write_text("x")
    (tmp_path / "soft.bin").symlink_to(source)
    os.link(source, tmp_path / "hard.bin")
    refuse_same_file([source], other)
    refuse_same_file([source], tmp_path / "new.bin")
    for name in ("in.bin", "soft.bin", "hard.bin", "sub/../in.bin"):
        with pytest.raises(OutputError, match="is the input"):
            refuse_same_file([other, source], tmp_path / name)


def test_existing_outputs_need_overwrite(tmp_path):
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "there").write_text("x")
    refuse_existing(tmp_path / "new", overwrite=False)
    refuse_existing(tmp_path / "there", overwrite=True)
    for name in ("there", "dangling"):
        with pytest.raises(OutputError, match="exists already") as caught:
            refuse_existing(tmp_path / name, overwrite=False)
        assert "--overwrite" in caught.value.hint
