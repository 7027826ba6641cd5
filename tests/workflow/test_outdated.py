"""What was made from files that are others now is told."""

import numpy as np

import small_recording
from driftcli import presets
from driftcli.recording.open import open_recording
from driftcli.reporter import Reporter
from driftcli.workflow import run as run_module
from driftcli.workflow.estimate import estimate
from driftcli.workflow.outdated import outdated
from driftcli.workflow.plot import plot_outputs, with_pictures
from driftcli.workflow.run import run
from driftcli.workflow.work import Work

CHANGES = ("estimate.bin_s=0.5", "detect.detect_threshold=6")


def opened(folder, **options):
    binary, probe = small_recording.write(folder, small_recording.samples(60_001, **options))
    return open_recording(binary, probe=probe, reporter=Reporter())


def settings(*changes):
    return presets.load("rigid_fast", [*CHANGES, *changes])


def drawn(recording, folder, work, *changes, report=True):
    return with_pictures(folder, report, work, lambda: run(recording, settings(*changes), folder, work, report=report))


def test_a_new_motion_makes_all_that_came_of_the_old_one_outdated(tmp_path, reporter):
    folder = tmp_path / "out"
    drawn(opened(tmp_path), folder, Work())
    assert outdated(folder) == {}
    work = Work(overwrite=True, reporter=reporter)
    estimate(folder / "peaks.h5", settings("estimate.bin_s=0.25"), folder / "motion.h5", work)
    expected = {"assessment.h5", "corrected.bin", "report.html"}
    assert outdated(folder) == dict.fromkeys(expected, "motion.h5")
    told = [each for each in reporter.messages if "earlier motion.h5" in each]
    assert {each.split()[0] for each in told} == expected


def test_a_run_without_pictures_over_one_with_says_what_is_left(tmp_path, reporter):
    folder, recording = tmp_path / "out", opened(tmp_path)
    drawn(recording, folder, Work())
    work = Work(overwrite=True, reporter=reporter)
    drawn(recording, folder, work, "estimate.bin_s=0.25", report=False)
    assert any(each.startswith("report.html was made from an earlier") for each in reporter.messages)
    drawn(recording, folder, work, "estimate.bin_s=0.25")
    assert outdated(folder) == {}


def test_a_run_draws_again_what_it_made_again(tmp_path):
    """Times are not the same, pictures are of the same work all the same."""
    folder, recording = tmp_path / "out", opened(tmp_path)
    drawn(recording, folder, Work())
    before = {file: file.stat().st_mtime_ns for file in plot_outputs(folder)}
    (folder / "corrected.bin").unlink()
    facts = drawn(recording, folder, Work(resume=True))
    assert facts["plot"]["counts"]["figures"] == 4
    assert {file: file.stat().st_mtime_ns for file in before} == before
    (folder / "figures/times.svg").unlink()
    drawn(recording, folder, Work(resume=True))
    assert all(file.exists() for file in before)


def test_an_assessment_that_takes_too_much_memory_is_left_out_and_told(tmp_path, reporter, monkeypatch):
    from driftcli.errors import UsageError

    def refuse(*_arguments, **_options):
        raise UsageError("the estimate needs about 9 GB of memory", "less")

    monkeypatch.setattr(run_module, "assess", refuse)
    folder, recording = tmp_path / "out", opened(tmp_path)
    facts = drawn(recording, folder, Work(reporter=reporter))
    assert "assess" not in facts
    assert np.fromfile(folder / "corrected.bin", "<i2").size == 60_001 * 24
    assert not (folder / "assessment.h5").exists()
    assert (folder / "report.html").exists()
    assert any(each.startswith("no verdict: the estimate needs") for each in reporter.messages)
