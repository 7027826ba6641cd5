"""Shards: any number of processes give the bytes of one, and what doesn't belong together is named."""

import json
import multiprocessing
import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import make_spikeglx
import small_recording
from driftcli import presets
from driftcli.errors import InputError, OutputError
from driftcli.lock import Held
from driftcli.recording.open import open_recording
from driftcli.reporter import Reporter
from driftcli.workflow import delivery, identity, place, portion, runlog
from driftcli.workflow.apply import apply
from driftcli.workflow.detect import detect
from driftcli.workflow.estimate import estimate
from driftcli.workflow.merge import merge
from driftcli.workflow.outputs import default_name
from driftcli.workflow.shard import Shard
from driftcli.workflow.work import Work

CHANGES = ("estimate.bin_s=0.5", "detect.detect_threshold=6")
AT_ONCE = Work(jobs=2)
UNIFORM = ("select.method=uniform", "select.n_peaks=60", "localize.method=center_of_mass")


def settings_of(*changes):
    return presets.load("rigid_fast", [*CHANGES, *changes])


@pytest.fixture
def recording(tmp_path, drifting):
    """2.9 s in 6 blocks, with a gap in the middle that is found."""
    data = drifting.copy()
    data[40_000:42_000] = 0
    return opened(small_recording.write(tmp_path, data)[0])


def opened(binary):
    probe = None if binary.with_suffix(".meta").exists() else binary.with_suffix(".json")
    return open_recording(binary, probe=probe, reporter=Reporter())


def files_of(folder):
    """What a folder holds, but for the log, which tells times, and what a meta says of where it is."""
    files = [file for file in folder.iterdir() if file.name != "run.json"]
    return {file.name: re.sub(rb"fileName=.*", b"", file.read_bytes()) for file in files}


def detect_shards(recording, settings, out, count, order=None, work=AT_ONCE, **options):
    for index in order or range(1, count + 1):
        detect(recording, settings, out, work, shard=Shard(index, count), **options)


def apply_shards(recording, motion, settings, out, count, work=AT_ONCE, **options):
    """In an order that isn't theirs; returns what each told."""
    return [
        apply(recording, motion, settings, out, work, shard=Shard(index, count), **options)
        for index in [*range(2, count + 1), 1]
    ]


@pytest.mark.parametrize("changes", [(), UNIFORM], ids=["all", "uniform"])
@pytest.mark.parametrize("count", [2, 5, 9])
def test_peaks_of_shards_are_those_of_one_process(tmp_path, recording, changes, count):
    """Nine shards share six blocks: some have none."""
    settings = settings_of(*changes)
    out, options = tmp_path / "parts/peaks.h5", {"exclude_times": "0.2-0.4"}
    detect(recording, settings, tmp_path / "whole/peaks.h5", Work(), **options)
    detect_shards(recording, settings, out, count, [*range(2, count + 1), 1], **options)
    facts = merge(out, Work())
    assert files_of(out.parent) == files_of(tmp_path / "whole")
    whole = json.loads((tmp_path / "whole/run.json").read_text())["outputs"]["peaks.h5"]
    assert {key: facts["counts"][key] for key in ("peaks", "contacts", "samples")} == {
        key: whole["counts"][key] for key in ("peaks", "contacts", "samples")
    }
    assert facts["counts"]["blocks"]["shards"] == count
    assert facts["mask"] == whole["mask"]
    assert identity.identity_of(facts) == identity.identity_of(whole)
    assert sorted(path.name for path in out.parent.iterdir()) == ["peaks.h5", "run.json"]


@pytest.fixture
def moving(tmp_path, recording):
    """The recording's motion."""
    detect(recording, settings_of(), tmp_path / "peaks.h5", Work())
    estimate(tmp_path / "peaks.h5", settings_of(), tmp_path / "motion.h5", Work())
    return tmp_path / "motion.h5"


@pytest.mark.parametrize("form", [{}, {"dtype": "float32"}, {"compress": True}], ids=str)
@pytest.mark.parametrize("count", [2, 9])
def test_a_binary_of_shards_is_that_of_one_process(tmp_path, recording, moving, form, count):
    name = default_name(recording, compress=bool(form.get("compress")))
    apply(recording, moving, settings_of(), tmp_path / "whole" / name, Work(), **form)
    *first, last = apply_shards(recording, moving, settings_of(), tmp_path / "parts" / name, count, **form)
    assert [each["missing"] for each in first][-1] == [f"1/{count}"]
    assert last["output"] == str(tmp_path / "parts" / name)
    assert files_of(tmp_path / "parts") == files_of(tmp_path / "whole")
    log = json.loads((tmp_path / "parts/run.json").read_text())["outputs"][name]
    whole = json.loads((tmp_path / "whole/run.json").read_text())["outputs"][name]
    assert (log["checksums"], log["counts"]["clipped_values"]) == (
        whole["checksums"],
        whole["counts"]["clipped_values"],
    )


@pytest.mark.parametrize("form", [{}, {"split": True}, {"split": True, "compress": True}], ids=str)
def test_metas_and_headers_of_shards_are_those_of_one_process(tmp_path, drifting, form):
    text = make_spikeglx.made_meta("NP1", saved=24)
    data = np.column_stack([drifting, np.arange(len(drifting)) % 60]).astype("<i2")
    paths = make_spikeglx.make_set(tmp_path, text, data, [30_000, 57_001], [500])
    recording, settings = open_recording(paths, reporter=Reporter()), settings_of()
    detect_shards(recording, settings, tmp_path / "peaks.h5", 3)
    merge(tmp_path / "peaks.h5", Work())
    estimate(tmp_path / "peaks.h5", settings, tmp_path / "motion.h5", Work())
    name = "" if form.get("split") else default_name(recording)
    apply(recording, tmp_path / "motion.h5", settings, tmp_path / "whole" / name, Work(), **form)
    apply_shards(recording, tmp_path / "motion.h5", settings, tmp_path / "parts" / name, 4, **form)
    assert files_of(tmp_path / "parts") == files_of(tmp_path / "whole")


def test_shards_at_once_are_finished_by_one_of_them(tmp_path, recording, moving):
    """Processes that end at the same time: one finds all there and finishes, or sees that another one does."""
    out = tmp_path / "parts/corrected.bin"
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(
            target=apply, args=(recording, moving, settings_of(), out, Work(jobs=1)), kwargs={"shard": Shard(i, 4)}
        )
        for i in range(1, 5)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * 4
    apply(recording, moving, settings_of(), tmp_path / "whole/corrected.bin", Work())
    assert files_of(out.parent) == files_of(tmp_path / "whole")


def test_missing_shards_are_named(tmp_path, recording):
    out = tmp_path / "o/peaks.h5"
    with pytest.raises(InputError, match="there are no shards of") as caught:
        merge(out, Work())
    assert "--shard" in caught.value.hint
    detect_shards(recording, settings_of(), out, 5, [1, 3, 4])
    with pytest.raises(InputError, match=r"not all 5 shards of .* are done: 2/5, 5/5 missing"):
        merge(out, Work())
    detect_shards(recording, settings_of(), out, 5, [2, 5])
    merge(out, Work())
    assert out.exists()


def test_a_doubled_shard_is_named(tmp_path, recording, moving):
    out = tmp_path / "o/peaks.h5"
    detect_shards(recording, settings_of(), out, 2)
    with pytest.raises(OutputError, match="cut otherwise: 1/2, 2/2"):
        detect_shards(recording, settings_of(), out, 3, [2])
    with pytest.raises(OutputError, match=r"unfinished work on .* that was cut otherwise: 1/2, 2/2"):
        detect(recording, settings_of(), out, Work(resume=True))
    shutil.copytree(out.parent / ".peaks.h5.work/1-of-2", out.parent / ".peaks.h5.work/1-of-3")
    with pytest.raises(InputError, match="more than one way: 1/2, 2/2 and 1/3"):
        merge(out, Work())
    # without shards, --overwrite starts afresh
    detect(recording, settings_of(), out, Work(overwrite=True))
    assert sorted(path.name for path in out.parent.iterdir()) == ["peaks.h5", "run.json"]


def test_a_shard_that_is_there_is_done_again_only_if_the_user_says_so(tmp_path, recording):
    out = tmp_path / "o/peaks.h5"
    detect_shards(recording, settings_of(), out, 2)
    with pytest.raises(OutputError, match="unfinished work"):
        detect_shards(recording, settings_of(), out, 2, [1])
    done = out.parent / ".peaks.h5.work/1-of-2/done.json"
    before = done.stat().st_mtime_ns
    detect_shards(recording, settings_of(), out, 2, [1], Work(resume=True))
    assert done.stat().st_mtime_ns == before
    detect_shards(recording, settings_of(), out, 2, [1], Work(overwrite=True))
    assert done.stat().st_mtime_ns > before


@pytest.mark.parametrize("kind", ["preset", "input"])
def test_a_stale_shard_is_named(tmp_path, recording, kind):
    out = tmp_path / "o/peaks.h5"
    detect_shards(recording, settings_of(), out, 3, [2, 3])
    settings, other = settings_of(), recording
    if kind == "preset":
        settings = settings_of("localize.radius_um=70")
    else:
        content = bytearray(recording.path.read_bytes())
        content[-5] ^= 1
        recording.path.write_bytes(content)
        other = opened(recording.path)
    detect_shards(other, settings, out, 3, [1])
    told = "preset.localize.radius_um" if kind == "preset" else "the input recording is another file"
    with pytest.raises(OutputError, match=f"shard 1/3 of peaks.h5 is not of this work: {told}"):
        merge(out, Work())
    assert not out.exists()


def test_a_stale_shard_of_apply_is_named(tmp_path, recording, moving):
    out = tmp_path / "o/corrected.bin"
    apply(recording, moving, settings_of("interpolate.method=nearest"), out, Work(), shard=Shard(1, 2))
    with pytest.raises(OutputError, match=r"shard 1/2 of corrected.bin is not of this work: preset.interpolate"):
        apply(recording, moving, settings_of(), out, Work(), shard=Shard(2, 2))
    apply(recording, moving, settings_of(), out, Work(overwrite=True), shard=Shard(1, 2))
    assert out.exists()


@pytest.mark.parametrize("what", ["cpu", "versions"])
def test_machines_of_other_types_are_refused_unless_mixed(tmp_path, recording, moving, monkeypatch, what):
    peaks, binary = tmp_path / "o/peaks.h5", tmp_path / "o/corrected.bin"
    detect_shards(recording, settings_of(), peaks, 2, [1])
    apply(recording, moving, settings_of(), binary, Work(), shard=Shard(1, 2))
    if what == "cpu":
        monkeypatch.setattr(runlog, "cpu_type", lambda: "another")
    else:
        others = {**runlog.versions(), "numpy": "9.9"}
        monkeypatch.setattr(runlog, "versions", lambda: others)
    detect_shards(recording, settings_of(), peaks, 2, [2])
    with pytest.raises(OutputError, match=f"is not of this work: {what}") as caught:
        merge(peaks, Work())
    assert "--mixed" in caught.value.hint
    assert merge(peaks, Work(mixed=True))["mixed"] is True
    with pytest.raises(OutputError, match=f"shard 1/2 of corrected.bin is not of this work: {what}"):
        apply(recording, moving, settings_of(), binary, Work(), shard=Shard(2, 2))
    facts = apply(recording, moving, settings_of(), binary, Work(resume=True, mixed=True), shard=Shard(2, 2))
    assert facts["mixed"] is True
    apply(recording, moving, settings_of(), tmp_path / "whole/corrected.bin", Work())
    assert binary.read_bytes() == (tmp_path / "whole/corrected.bin").read_bytes()  # it is one machine after all


def test_noise_levels_that_differ_are_refused(tmp_path, recording, monkeypatch):
    out = tmp_path / "o/peaks.h5"
    detect_shards(recording, settings_of(), out, 2, [1])
    from driftcli.workflow import detect as workflow

    really = workflow.noise_of
    monkeypatch.setattr(workflow, "noise_of", lambda *given: replaced(really(*given), 1.0001))
    detect_shards(recording, settings_of(), out, 2, [2])
    with pytest.raises(OutputError, match=r"shard 2/2 .* other bad channels or noise levels"):
        merge(out, Work())
    merge(out, Work(mixed=True))


def replaced(noise, factor):
    return noise._replace(levels=noise.levels * factor)


def test_damaged_peaks_of_a_shard_are_named(tmp_path, recording):
    out = tmp_path / "o/peaks.h5"
    detect_shards(recording, settings_of(), out, 2)
    spool = out.parent / ".peaks.h5.work/2-of-2/detect_and_localize.spool"
    content = bytearray(spool.read_bytes())
    content[len(content) // 2] ^= 4
    spool.write_bytes(content)
    with pytest.raises(InputError, match=r"2-of-2.*is damaged: the peaks from sample \d+ on") as caught:
        merge(out, Work())
    assert "--overwrite" in caught.value.hint
    assert not out.exists()
    detect_shards(recording, settings_of(), out, 2, [2], Work(overwrite=True))
    merge(out, Work())


def test_what_a_shard_of_apply_lost_is_made_again_by_the_last_one(tmp_path, recording, moving):
    out = tmp_path / "o/corrected.bin"
    apply(recording, moving, settings_of(), out, Work(), shard=Shard(1, 2))
    part = out.parent / ".corrected.bin.work/corrected.bin"
    with part.open("r+b") as file:
        file.seek(1000)
        file.write(b"\xff" * 5)
    facts = apply(recording, moving, settings_of(), out, Work(), shard=Shard(2, 2))
    assert facts["counts"]["blocks"]["redone"] == 1
    apply(recording, moving, settings_of(), tmp_path / "whole/corrected.bin", Work())
    assert out.read_bytes() == (tmp_path / "whole/corrected.bin").read_bytes()


def test_what_is_merged_stays(tmp_path, recording):
    out = tmp_path / "o/peaks.h5"
    detect_shards(recording, settings_of(), out, 2)
    merge(out, Work())
    before = out.stat().st_mtime_ns
    merge(out, Work())
    portion.work_folder(out).mkdir()  # as a kill leaves it that comes when all is done
    merge(out, Work(resume=True))
    detect_shards(recording, settings_of(), out, 2, work=Work(resume=True))
    assert out.stat().st_mtime_ns == before
    assert not portion.work_folder(out).exists()
    with out.open("r+b") as file:
        file.truncate(100)
    with pytest.raises(OutputError, match="another size"):
        merge(out, Work(resume=True))


def test_a_recording_without_peaks_leaves_nothing_to_go_on_from(tmp_path):
    binary, _ = small_recording.write(tmp_path, np.random.default_rng(0).integers(-9, 10, (50_000, 24)).astype("<i2"))
    out = tmp_path / "o/peaks.h5"
    detect_shards(opened(binary), settings_of("detect.detect_threshold=60"), out, 2)
    with pytest.raises(InputError, match="no peaks found"):
        merge(out, Work())


def test_links_in_the_place_of_the_work_are_not_followed(tmp_path, recording):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/1").write_text("1")
    (tmp_path / "o").mkdir()
    (tmp_path / "o/.peaks.h5.work").symlink_to(tmp_path / "precious")
    with pytest.raises(OutputError, match="is a link"):
        detect(recording, settings_of(), tmp_path / "o/peaks.h5", Work(overwrite=True))
    assert [path.name for path in (tmp_path / "precious").iterdir()] == ["1"]


def test_a_link_at_the_name_of_an_output_is_replaced(tmp_path, recording):
    (tmp_path / "precious").write_text("1")
    (tmp_path / "peaks.h5").symlink_to(tmp_path / "precious")
    with pytest.raises(OutputError, match="exists already"):
        detect(recording, settings_of(), tmp_path / "peaks.h5", Work())
    detect(recording, settings_of(), tmp_path / "peaks.h5", Work(overwrite=True))
    assert (tmp_path / "precious").read_text() == "1"
    assert not (tmp_path / "peaks.h5").is_symlink()


def test_a_delivery_that_names_files_elsewhere_is_refused(tmp_path, recording):
    (tmp_path / "precious").write_text("1")
    work_folder = portion.work_folder(Path(tmp_path / "o/peaks.h5"))
    work_folder.mkdir(parents=True)
    plan = {"files": ["../../precious"], "outputs": {}}
    (work_folder / "delivery.json").write_text(json.dumps(plan))
    with pytest.raises(OutputError, match="names files outside"):
        detect(recording, settings_of(), tmp_path / "o/peaks.h5", Work(resume=True))
    assert (tmp_path / "precious").read_text() == "1"


# What must not meet


def died_delivering(target, *arguments, **options):
    """Do it in a process that is killed as soon as files are to get their names."""

    def child():
        delivery.publish = lambda *_: os._exit(9)
        target(*arguments, **options)

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(120)
    assert process.exitcode == 9


def test_a_shard_begun_afresh_finishes_a_delivery_first(tmp_path, recording, moving):
    """Else what it removes would be taken for delivered, and its blocks for those of the others."""
    out, whole = tmp_path / "o/corrected.bin", tmp_path / "whole/corrected.bin"
    apply(recording, moving, settings_of(), whole, Work())
    apply(recording, moving, settings_of(), out, Work(), shard=Shard(1, 2))
    died_delivering(apply, recording, moving, settings_of(), out, Work(), shard=Shard(2, 2))
    apply(recording, moving, settings_of("apply.signal=raw"), out, Work(overwrite=True), shard=Shard(1, 2))
    assert out.read_bytes() == whole.read_bytes()
    assert json.loads((out.parent / "run.json").read_text())["outputs"][out.name]["counts"]["blocks"]["shards"] == 2
    with pytest.raises(OutputError, match=r"shard 1/2 of corrected.bin is not of this work: preset\.apply\.signal"):
        apply(recording, moving, settings_of(), out, Work(overwrite=True), shard=Shard(2, 2))
    assert out.read_bytes() == whole.read_bytes()


def test_a_shard_of_merged_peaks_begun_afresh_loses_none(tmp_path, recording):
    out = tmp_path / "o/peaks.h5"
    detect(recording, settings_of(), tmp_path / "whole/peaks.h5", Work())
    detect_shards(recording, settings_of(), out, 2)
    died_delivering(merge, out, Work())
    detect_shards(recording, settings_of(), out, 2, [1], Work(overwrite=True))
    assert out.read_bytes() == (tmp_path / "whole/peaks.h5").read_bytes()
    with pytest.raises(InputError, match="2/2 missing"):
        merge(out, Work(resume=True))
    detect_shards(recording, settings_of(), out, 2, [2], Work(overwrite=True))
    merge(out, Work(overwrite=True))
    assert files_of(out.parent) == files_of(tmp_path / "whole")


def test_shards_that_are_put_together_are_not_begun_afresh(tmp_path, recording, monkeypatch):
    out = tmp_path / "o/peaks.h5"
    monkeypatch.setattr(place, "_WAIT_S", 0.1)
    detect_shards(recording, settings_of(), out, 2)
    with portion.Portion(out, Shard(1, 2)).finishing() as alone:
        assert alone
        with pytest.raises(Held, match="is being worked on"):
            detect_shards(recording, settings_of(), out, 2, [1], Work(overwrite=True))
        with pytest.raises(OutputError, match="another process merges"):
            merge(out, Work())
    merge(out, Work())


def test_what_is_being_delivered_is_not_delivered_twice(tmp_path, recording, moving):
    out = tmp_path / "o/corrected.bin"
    died_delivering(apply, recording, moving, settings_of(), out, Work())
    with portion.locked_delivery(out), pytest.raises(Held):
        apply(recording, moving, settings_of(), out, Work(resume=True))
    apply(recording, moving, settings_of(), out, Work(resume=True))
    assert sorted(path.name for path in out.parent.iterdir()) == ["corrected.bin", "probe.json", "run.json"]


def test_a_lock_that_cannot_be_is_no_other_process(tmp_path, recording, moving):
    out = tmp_path / "o/corrected.bin"
    apply(recording, moving, settings_of(), out, Work(), shard=Shard(1, 2))
    (out.parent / ".corrected.bin.work/finish.lock").mkdir()
    with pytest.raises(OutputError, match="can't be made"):
        apply(recording, moving, settings_of(), out, Work(), shard=Shard(2, 2))
    (out.parent / ".corrected.bin.work/finish.lock").rmdir()
    apply(recording, moving, settings_of(), out, Work(resume=True), shard=Shard(2, 2))
    assert out.exists()


def test_the_only_shard_is_all_of_the_work(tmp_path, recording):
    """As of an array with one task."""
    out = tmp_path / "o/peaks.h5"
    detect_shards(recording, settings_of(), out, 1)
    assert merge(out, Work())["counts"]["peaks"] > 0


def test_a_binary_of_another_size_is_made_anew_by_the_first_shard(tmp_path, recording, moving):
    out = tmp_path / "o/corrected.bin"
    apply(recording, moving, settings_of(), out, Work(), shard=Shard(1, 2))
    apply(recording, moving, settings_of(), out, Work(overwrite=True), dtype="float32", shard=Shard(1, 2))
    with pytest.raises(OutputError, match="another size") as caught:
        apply(recording, moving, settings_of(), out, Work(), shard=Shard(2, 2))
    assert "--overwrite" in caught.value.hint
    apply(recording, moving, settings_of(), out, Work(), dtype="float32", shard=Shard(2, 2))
    assert out.stat().st_size == 4 * recording.num_samples * recording.num_columns


def test_a_folder_without_work_is_in_nobodys_way(tmp_path, recording):
    (tmp_path / "o/.peaks.h5.work/1-of-4").mkdir(parents=True)
    detect(recording, settings_of(), tmp_path / "o/peaks.h5", Work())
    assert sorted(path.name for path in (tmp_path / "o").iterdir()) == ["peaks.h5", "run.json"]


def test_logs_of_outputs_that_are_whole_at_once_are_all_kept(tmp_path):
    with ThreadPoolExecutor(8) as threads:
        names = [f"{number}.bin" for number in range(40)]
        list(threads.map(lambda name: runlog.add_to_run_log(tmp_path, {name: {"verb": "apply"}}), names))
    assert set(runlog.outputs_in_run_log(tmp_path)) == set(names)
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]
