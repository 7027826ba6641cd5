"""plot leaves all pictures and the page, or none; they are those of the files, and `verify` knows them."""

import json
import os
import shutil

import pytest

from driftcli.errors import InputError, OutputError
from driftcli.store import peaks as store_peaks
from driftcli.workflow import plot as plot_module
from driftcli.workflow.compare import compare
from driftcli.workflow.plot import plot, plot_outputs
from driftcli.workflow.verify import verify
from driftcli.workflow.work import Work

FILES = {
    f"figures/{name}.{kind}" for name in ("drift_map", "peaks_on_probe", "clusters", "times") for kind in ("png", "svg")
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with peaks, motion, a corrected recording and what is drawn of them."""
    import small_recording
    from driftcli import presets
    from driftcli.recording.open import open_recording
    from driftcli.reporter import Reporter
    from driftcli.workflow.run import run

    folder = tmp_path_factory.mktemp("plot")
    binary, probe = small_recording.write(folder, small_recording.samples(60_000, 16))
    recording = open_recording(binary, probe=probe, reporter=Reporter())
    settings = presets.load("rigid_fast", ["estimate.bin_s=0.5", "detect.detect_threshold=6"])
    run(recording, settings, folder / "rec.driftcli", Work(jobs=2))
    plot(folder / "rec.driftcli", folder / "rec.driftcli", Work())
    return folder / "rec.driftcli"


@pytest.fixture
def folder(made, tmp_path):
    """A copy of it, without pictures."""
    shutil.copytree(made, tmp_path / "rec.driftcli", ignore=shutil.ignore_patterns("figures", "report.html"))
    log = json.loads((made / "run.json").read_text())
    del log["outputs"]["report.html"]
    (tmp_path / "rec.driftcli" / "run.json").write_text(json.dumps(log))
    return tmp_path / "rec.driftcli"


def pictures(folder):
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in plot_outputs(folder)}


def test_everything_is_there_and_known_to_run_json(made):
    assert set(pictures(made)) == FILES | {"report.html"}
    facts = json.loads((made / "run.json").read_text())["outputs"]["report.html"]
    assert facts["verb"] == "plot"
    assert set(facts["checksums"]) == FILES | {"report.html"}
    assert set(facts["inputs"]) == {"peaks", "motion", "assessment"}
    assert facts["counts"]["peaks"] == facts["counts"]["drawn"] > 100
    assert not list(made.glob(".*"))
    assert b"rec.bin" in (made / "report.html").read_bytes()


def test_the_same_files_give_the_same_pictures_however_they_are_read(made, folder, monkeypatch):
    monkeypatch.setattr(store_peaks, "_PIECE_ROWS", 17)
    plot(folder, folder, Work())
    for name, data in pictures(made).items():
        assert pictures(folder)[name] == data, name


def test_pictures_of_a_part_go_to_another_folder(folder, tmp_path):
    before = sorted(os.listdir(folder))
    plot(folder, tmp_path / "part", Work(), time_limits_s=(0.5, 1.0), depth_limits_um=(0, 80))
    assert set(pictures(tmp_path / "part")) == FILES | {"report.html"}
    assert sorted(os.listdir(folder)) == before
    facts = json.loads((tmp_path / "part/run.json").read_text())["outputs"]["report.html"]
    assert facts["options"]["time_limits_s"] == [0.5, 1.0]
    assert facts["inputs"]["peaks"]["path"] == str(folder / "peaks.h5")


def test_what_is_there_stays_unless_it_may_go(folder):
    (folder / "figures").mkdir()
    (folder / "figures/mine.txt").write_text("precious")
    (folder / "figures/times.svg").write_text("old")
    with pytest.raises(OutputError, match="exists already"):
        plot(folder, folder, Work())
    assert sorted(path.name for path in (folder / "figures").iterdir()) == ["mine.txt", "times.svg"]
    plot(folder, folder, Work(overwrite=True))
    assert (folder / "figures/times.svg").read_bytes().startswith(b"<?xml")
    assert (folder / "figures/mine.txt").read_text() == "precious"


def test_resume_keeps_what_is_whole_and_refuses_what_is_of_other_work(folder, reporter):
    first = plot(folder, folder, Work(resume=True))
    again = plot(folder, folder, Work(resume=True, reporter=reporter))
    assert "report.html is whole: kept as it is" in reporter.messages
    assert again["times_s"] == first["times_s"]
    with pytest.raises(OutputError, match="time_limits_s"):
        plot(folder, folder, Work(resume=True), time_limits_s=(0.0, 1.0))
    (folder / "figures/times.png").write_bytes(b"half")
    with pytest.raises(OutputError, match="another size"):
        plot(folder, folder, Work(resume=True))


def test_a_fault_leaves_nothing(folder, monkeypatch):
    before = sorted(os.listdir(folder))

    def faulty(view, figures):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(plot_module, "page", faulty)
    with pytest.raises(OutputError, match="No space left"):
        plot(folder, folder, Work())
    assert sorted(os.listdir(folder)) == before


def test_a_file_called_figures_is_in_the_way(folder):
    (folder / "figures").write_text("")
    with pytest.raises(OutputError, match="is not a folder"):
        plot(folder, folder, Work(overwrite=True))


def test_verify_tells_a_picture_that_was_changed(folder):
    plot(folder, folder, Work())
    assert not verify(folder, Work(), places=0).wrong
    picture = folder / "figures/drift_map.png"
    picture.write_bytes(picture.read_bytes()[:-1] + b"x")
    (found,) = verify(folder, Work(), places=0).wrong
    assert (found.file, found.check) == ("figures/drift_map.png", "checksums")
    assert verify(picture, Work(), places=0).wrong == [found]
    with pytest.raises(InputError, match=r"does not tell of other\.png"):
        verify(folder / "figures" / "other.png", Work(), places=0)


@pytest.mark.parametrize("name", ["comparison.png", "c.SVG", "."])
def test_comparison(made, folder, tmp_path, name):
    facts = compare([made, folder], tmp_path / "out" / name, Work())
    names = ["comparison.png", "comparison.svg"] if name == "." else [name]
    assert sorted(os.listdir(tmp_path / "out")) == names
    assert facts["counts"]["drawn"] == facts["counts"]["peaks"]
    with pytest.raises(OutputError, match="exists already"):
        compare([made, folder], tmp_path / "out" / name, Work())
    compare([made, folder], tmp_path / "out" / name, Work(overwrite=True))
