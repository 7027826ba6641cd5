"""What --resume takes, what it refuses and why, and what is done again."""

import json
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import driftcli.workflow.run as run_module
import small_recording
from driftcli import presets
from driftcli.errors import OutputError
from driftcli.files import part_path
from driftcli.recording.given_bad import with_bad_channels
from driftcli.recording.open import open_recording
from driftcli.reporter import Reporter
from driftcli.workflow import apply as apply_module
from driftcli.workflow import delivery, portion, runlog
from driftcli.workflow.apply import apply
from driftcli.workflow.assess import assess
from driftcli.workflow.detect import detect
from driftcli.workflow.estimate import estimate
from driftcli.workflow.identity import differences
from driftcli.workflow.run import run, taken_bytes
from driftcli.workflow.shard import Shard
from driftcli.workflow.work import Work

CHANGES = ("estimate.bin_s=0.5", "detect.detect_threshold=6")
RESUME = Work(jobs=2, resume=True)
AFRESH = Work(jobs=2, overwrite=True)
NAMES = ["assessment.h5", "corrected.bin", "motion.h5", "peaks.h5", "probe.json", "run.json"]
WHOLE_BLOCKS = 3  # that a run writes of the correction before it is cut off


class CutOff(BaseException):
    """As a signal would end it."""


@pytest.fixture
def binary(tmp_path):
    return small_recording.write(tmp_path, small_recording.samples(100_001, 12))[0]


def opened(binary):
    return open_recording(binary, probe=binary.with_suffix(".json"), reporter=Reporter())


def settings(*changes):
    return presets.load("rigid_fast", [*CHANGES, *changes])


def run_it(binary, work=RESUME, *changes, out=None, recording=None, **options):
    recording = opened(binary) if recording is None else recording
    return run(recording, settings(*changes), out or binary.parent / "out", work, **options)


@pytest.fixture
def undisturbed(binary):
    out = binary.parent / "undisturbed"
    run_it(binary, Work(jobs=1), out=out)
    return content(out)


def content(out):
    return {path.name: path.read_bytes() for path in out.iterdir() if path.is_file() and path.name != "run.json"}


@pytest.fixture
def cut_off(binary, monkeypatch):
    """A run that was cut off when some blocks of the correction were in their place."""
    cut(binary, monkeypatch)
    return binary.parent / "out"


def cut(binary, monkeypatch, work=None, *changes, **options):
    with monkeypatch.context() as patched:
        _cut_after(WHOLE_BLOCKS, patched)
        with pytest.raises(CutOff):
            run_it(binary, work or Work(jobs=1), *changes, **options)


def _cut_after(blocks, patched):
    plain = apply_module.Corrector.fill

    def fill(self, *arguments, **named):
        for number, entry in enumerate(plain(self, *arguments, **named), 1):
            yield entry
            if number == blocks:
                raise CutOff

    patched.setattr(apply_module.Corrector, "fill", fill)


def blocks_of(out, name="corrected.bin"):
    return json.loads((out / "run.json").read_text())["outputs"][name]["counts"]["blocks"]


def stage(out):
    return out / ".run.work" / "1-of-1"


def work_of(out, name):
    return stage(out) / f".{name}.work"


def state(folder):
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, path.stat().st_ino, path.stat().st_size)
        for path in folder.rglob("*")
        if path.is_file()
    }


def check(out, undisturbed):
    assert content(out) == undisturbed
    assert sorted(os.listdir(out)) == NAMES


# what is taken


def test_where_nothing_is_it_starts_afresh(binary, undisturbed):
    run_it(binary)
    check(binary.parent / "out", undisturbed)


def test_what_is_whole_is_kept(binary, cut_off, undisturbed):
    run_it(binary)
    check(cut_off, undisturbed)
    blocks = blocks_of(cut_off)
    assert blocks["total"] == 7
    assert blocks["kept"] >= WHOLE_BLOCKS
    assert blocks["redone"] == 0


def test_threads_and_chunks_may_be_others(binary, cut_off, undisturbed):
    run_it(binary, Work(jobs=3, chunk_s=2.0, resume=True))
    check(cut_off, undisturbed)


def test_finished_work_is_kept_untouched(binary, undisturbed):
    out = binary.parent / "undisturbed"
    before = state(out)
    facts = run_it(binary, out=out)
    assert state(out) == before
    check(out, undisturbed)
    assert facts["apply"]["output"] == str(out / "corrected.bin")


REFUSED_WITHOUT = ("run.json",)  # nothing is known of the others then


@pytest.mark.parametrize("lost", ["peaks.h5", "motion.h5", "assessment.h5", "corrected.bin", "probe.json", "run.json"])
def test_a_final_file_that_is_lost_is_no_reason_to_harm_the_others(binary, undisturbed, lost):
    out = binary.parent / "undisturbed"
    (out / lost).unlink()
    if lost in REFUSED_WITHOUT:
        with pytest.raises(OutputError) as told:
            run_it(binary, out=out)
        assert "--overwrite" in told.value.hint
        assert content(out) == {name: data for name, data in undisturbed.items() if name != lost}
    run_it(binary, replace(RESUME, overwrite=lost in REFUSED_WITHOUT), out=out)
    check(out, undisturbed)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("peaks.h5", "1-of-1/detect_and_localize.spool"),
        ("corrected.bin", "corrected.bin"),
    ],
)
def test_a_damaged_block_is_done_again(binary, undisturbed, monkeypatch, name, file):
    out = binary.parent / "out"
    if name == "peaks.h5":
        with monkeypatch.context() as patched:
            patched.setattr("driftcli.workflow.detect.write_peaks", stop)
            with pytest.raises(CutOff):
                run_it(binary, Work(jobs=1))
    else:
        cut(binary, monkeypatch)
    flip(work_of(out, name) / file, 20)
    run_it(binary)
    check(out, undisturbed)
    assert blocks_of(out, name)["redone"] == 1


def stop(*_arguments, **_named):
    raise CutOff


def flip(path, position):
    data = bytearray(path.read_bytes())
    data[position] ^= 16
    path.write_bytes(data)


@pytest.mark.parametrize("kept_bytes", [0, 3, 40, -1, -2, -30])
def test_a_torn_journal_tells_nothing_wrong(binary, cut_off, undisturbed, kept_bytes):
    journal = work_of(cut_off, "corrected.bin") / "1-of-1" / "apply.journal"
    journal.write_bytes(journal.read_bytes()[:kept_bytes])
    run_it(binary)
    check(cut_off, undisturbed)
    assert blocks_of(cut_off)["redone"] <= 1


def test_a_damaged_line_of_a_journal_is_not_believed(binary, cut_off, undisturbed):
    flip(work_of(cut_off, "corrected.bin") / "1-of-1" / "apply.journal", 30)
    run_it(binary)
    check(cut_off, undisturbed)


# what is refused


def refused(binary, *words, work=RESUME, changes=(), **options):
    out = binary.parent / "out"
    before = state(out)
    with pytest.raises(OutputError) as told:
        run_it(binary, work, *changes, **options)
    for word in words:
        assert word in told.value.message
    assert state(out) == before, "what was refused must stay as it was"
    return told.value


def test_without_resume_unfinished_work_is_refused_and_kept(binary, cut_off, undisturbed):
    told = refused(binary, "there is unfinished work on", work=Work())
    assert "--resume" in told.hint
    assert "--overwrite" in told.hint
    run_it(binary)
    check(cut_off, undisturbed)


def test_with_overwrite_it_starts_afresh(binary, cut_off, undisturbed):
    run_it(binary, AFRESH)
    check(cut_off, undisturbed)
    assert blocks_of(cut_off)["kept"] == 0


def change_size(path):
    with path.open("ab") as file:
        file.write(bytes(24))


def change_time(path):
    os.utime(path, (1, 1))


def change_first(path):
    keep_time(path, 100)


def change_last(path):
    keep_time(path, -1000)


def keep_time(path, position):
    """Change a byte; the time stamp doesn't tell."""
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    flip(path, position)
    os.utime(path, ns=times)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (change_size, "the input recording is another file"),
        (change_time, "the input recording has another time stamp"),
        (change_first, "the input recording is another file"),
        (change_last, "the input recording is another file"),
    ],
)
def test_another_input_is_refused(binary, cut_off, change, words):
    change(binary)
    told = refused(binary, "unfinished work on", words)
    assert told.message.count("the input") == 1
    assert "sha256" not in told.message
    assert re.search(r"inputs\.recording\.(size_bytes|modified|sha256_of_ends) was \S+, now ", str(told.__cause__))


def test_another_probe_is_refused(binary, cut_off):
    change_time(binary.with_suffix(".json"))
    refused(binary, "the input probe has another time stamp")


@pytest.mark.parametrize(
    ("changes", "options", "words"),
    [
        (["detect.detect_threshold=7"], {}, "preset.detect.detect_threshold was 6.0, now 7.0"),
        (["interpolate.border_mode=remove_channels"], {}, "preset.interpolate.border_mode was"),
        ([], {"dtype": "float32"}, "options.dtype was int16, now float32"),
        ([], {"exclude_times": "0.5-1"}, "options.excluded was [], now [[15000, 30000]]"),
        ([], {"shanks": "together"}, "options.shanks was each, now together"),
    ],
)
def test_another_preset_or_option_is_refused(binary, cut_off, changes, options, words):
    refused(binary, words, changes=changes, **options)


def test_other_bad_channels_are_refused(binary, cut_off):
    refused(binary, "recording.bad_channels", recording=with_bad_channels(opened(binary), "3"))


def test_another_span_is_refused(binary, cut_off):
    recording = replace(opened(binary), origin=500)
    refused(binary, "recording.origin was 0, now 500", recording=recording)


def test_inputs_that_differ_are_told_once_each_and_without_digests():
    def identity(**inputs):
        return {"verb": "apply", "inputs": inputs, "options": {"if_better": "assessment" in inputs}}

    file = {"size_bytes": 9, "modified": "then", "sha256_of_ends": "e7cc"}
    other = {**file, "sha256_of_ends": "4c80", "sha256": "77"}
    before, now = identity(motion=file, probe=file), identity(motion=other, assessment=file)
    assert differences(before, now) == [
        "the input motion is another file",
        "there is no longer an input probe",
        "there was no input assessment",
        "options.if_better was False, now True",
    ]
    assert differences(before, before) == []
    assert differences(before, identity(motion=file, probe={**file, "modified": "now"})) == [
        "the input probe has another time stamp"
    ]


def test_another_version_of_driftcli_is_refused_come_what_may(binary, cut_off, monkeypatch):
    versions = runlog.versions()
    monkeypatch.setattr(runlog, "versions", lambda: {**versions, "driftcli": "0.0.1"})
    for work in (RESUME, replace(RESUME, mixed=True)):
        refused(binary, f"versions.driftcli was {versions['driftcli']}, now 0.0.1", work=work)


@pytest.mark.parametrize("what", ["library", "cpu"])
def test_another_machine_is_refused_unless_mixed(binary, cut_off, undisturbed, monkeypatch, what):
    if what == "library":
        versions = runlog.versions()
        monkeypatch.setattr(runlog, "versions", lambda: {**versions, "numpy": "0.9"})
        told = refused(binary, f"versions.numpy was {versions['numpy']}, now 0.9")
    else:
        monkeypatch.setattr(runlog, "cpu_type", lambda: "abacus+0")
        told = refused(binary, "cpu was", "now abacus+0")
    assert "--mixed" in told.hint
    run_it(binary, replace(RESUME, mixed=True))
    check(cut_off, undisturbed)


def test_finished_outputs_of_other_work_are_refused(binary, undisturbed):
    (binary.parent / "undisturbed").rename(binary.parent / "out")
    told = refused(binary, "peaks.h5", "detect_threshold was 6.0, now 7.0", changes=["detect.detect_threshold=7"])
    assert "--overwrite" in told.hint


def test_a_cut_off_run_keeps_a_shard_out_and_the_other_way_round(binary, tmp_path, monkeypatch):
    recording, out = opened(binary), tmp_path / "peaks.h5"
    detect(recording, settings(), out, Work(), shard=Shard(2, 3))
    before = state(tmp_path)
    for shard in (Shard(1, 1), Shard(1, 4)):
        with pytest.raises(OutputError, match="cut otherwise: 2/3"):
            detect(recording, settings(), out, RESUME, shard=shard)
        assert state(tmp_path) == before


# what holds it


HOLD = """
import sys
from pathlib import Path
from driftcli.lock import locked
with locked(Path(sys.argv[1]), "out"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_living_process_keeps_others_out_and_a_dead_one_does_not(binary, cut_off, undisturbed):
    command = [sys.executable, "-c", HOLD, cut_off / ".run.work" / "1-of-1.lock"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        told = refused(binary, f"is being worked on by process {holder.pid}")
        assert "wait" in told.hint
        holder.kill()
    assert (cut_off / ".run.work" / "1-of-1.lock").exists()
    run_it(binary)
    check(cut_off, undisturbed)


# outputs that are replaced


def test_the_old_outputs_stay_whole_until_the_new_ones_are(binary, undisturbed, monkeypatch):
    out = binary.parent / "out"
    run_it(binary, Work(), "detect.detect_threshold=7")
    old = state(out)
    cut(binary, monkeypatch, Work(jobs=1, overwrite=True))
    assert {name: facts for name, facts in state(out).items() if not name.startswith(".")} == old
    run_it(binary)  # begun with --overwrite, it may end so
    check(out, undisturbed)


def test_a_delivery_that_is_cut_off_is_gone_through_with(binary, undisturbed, monkeypatch):
    out = binary.parent / "out"
    run_it(binary, Work(), "detect.detect_threshold=7")
    plain, done = delivery.publish, []

    def publish(part, path):
        if path.parent == out:
            if len(done) == 2:
                raise CutOff
            done.append(path)
        plain(part, path)

    with monkeypatch.context() as patched:
        patched.setattr(delivery, "publish", publish)
        with pytest.raises(CutOff):
            run_it(binary, AFRESH)
    assert len(done) == 2
    run_it(binary)
    check(out, undisturbed)


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_a_kill_leaves_beside_whole_outputs_is_swept_away(binary, tmp_path, overwrite):
    """The folder of work that was over, or not begun."""
    recording, out = opened(binary), tmp_path / "peaks.h5"
    detect(recording, settings(), out, Work())
    before = out.read_bytes()
    junk = portion.work_folder(out)
    (junk / "1-of-1").mkdir(parents=True)
    (junk / "1-of-1.lock").touch()
    part_path(junk / "delivery.json").touch()
    detect(recording, settings(), out, replace(RESUME, overwrite=overwrite))
    assert out.read_bytes() == before
    assert not junk.exists()


# each verb by itself


def verbs(binary, folder, work):
    recording = opened(binary)
    folder.mkdir(exist_ok=True)
    return {
        "peaks.h5": lambda: detect(recording, settings(), folder / "peaks.h5", work),
        "motion.h5": lambda: estimate(folder / "peaks.h5", settings(), folder / "motion.h5", work),
        "assessment.h5": lambda: assess(
            folder / "peaks.h5", folder / "motion.h5", settings(), folder / "assessment.h5", work
        ),
        "corrected.bin": lambda: apply(recording, folder / "motion.h5", settings(), folder / "corrected.bin", work),
    }


def test_each_verb_resumes(binary, undisturbed, monkeypatch, tmp_path):
    folder = tmp_path / "verbs"
    for name in ("peaks.h5", "motion.h5", "assessment.h5", "corrected.bin"):
        with monkeypatch.context() as patched:
            patched.setattr(portion.Portion, "deliver", stop)
            with pytest.raises(CutOff):
                verbs(binary, folder, Work())[name]()
        assert not (folder / name).exists()
        verbs(binary, folder, RESUME)[name]()
        assert (folder / name).read_bytes() == undisturbed[name]
        before = state(folder)
        verbs(binary, folder, RESUME)[name]()
        assert state(folder) == before
        if name == "assessment.h5":  # who asks again is told
            verbs(binary, folder, Work())[name]()
            assert state(folder) == before
            continue
        with pytest.raises(OutputError, match="exists already"):
            verbs(binary, folder, Work())[name]()
    assert sorted(os.listdir(folder)) == NAMES


def test_a_full_disk_while_run_json_is_written_is_no_end(binary, tmp_path, undisturbed, monkeypatch):
    """The output has its name already, and all that is left to do is known."""
    folder = tmp_path / "verbs"
    verbs(binary, folder, Work())["peaks.h5"]()
    with monkeypatch.context() as patched:
        patched.setattr(delivery, "add_to_run_log", full_disk)
        with pytest.raises(OutputError, match="No space left"):
            verbs(binary, folder, Work())["motion.h5"]()
    assert (folder / "motion.h5").exists()
    verbs(binary, folder, RESUME)["motion.h5"]()
    assert (folder / "motion.h5").read_bytes() == undisturbed["motion.h5"]
    assert sorted(os.listdir(folder)) == ["motion.h5", "peaks.h5", "run.json"]


def full_disk(*_arguments, **_named):
    raise OSError(28, os.strerror(28))


def test_a_file_that_the_disk_did_not_take_is_made_again(binary, undisturbed, monkeypatch):
    """A second fsync would say that all is well."""
    plain, failed = os.fsync, []

    def fsync(descriptor):
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        if path.name == "corrected.bin" and not failed:
            failed.append(path)
            raise OSError(5, os.strerror(5))
        plain(descriptor)

    out = binary.parent / "out"
    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OutputError, match="Input/output error"):
        run_it(binary, Work(jobs=1))
    assert not failed[0].exists()
    run_it(binary)
    check(out, undisturbed)
    assert blocks_of(out)["kept"] == 0 or blocks_of(out)["redone"] == 7


def test_room_that_is_taken_already_counts(tmp_path):
    """A disk on which the binary fits once."""
    output = tmp_path / "corrected.bin"
    part = portion.work_folder(output) / "corrected.bin"
    part.parent.mkdir()
    part.write_bytes(b"1" * 50_000)
    assert 50_000 <= taken_bytes(output, Work(resume=True)) <= 60_000
    assert taken_bytes(output, Work()) == 0
    assert taken_bytes(tmp_path / "other.bin", Work(resume=True)) == 0


def test_room_is_not_asked_for_twice(binary, tmp_path, monkeypatch):
    """A finished folder on a full disk, and one that only lacks the names of its files."""
    run_it(binary, Work(jobs=1))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 1000))
    run_it(binary)
    with pytest.raises(OutputError, match="no room"):
        run_it(binary, out=tmp_path / "another")


@pytest.mark.parametrize("name", ["peaks.h5", "corrected.bin"])
def test_outputs_of_other_work_made_meanwhile_are_not_replaced(binary, cut_off, name):
    """A run is cut off; the user makes something else of that name; the run is to go on."""
    cut_off.mkdir(exist_ok=True)
    (cut_off / name).write_text("precious")
    with pytest.raises(OutputError, match="exists already"):
        run_it(binary)
    assert (cut_off / name).read_text() == "precious"
    (cut_off / name).unlink()
    run_it(binary)
    assert sorted(os.listdir(cut_off)) == NAMES


def test_a_run_that_is_killed_as_it_begins_refuses_what_it_would_have(binary, monkeypatch):
    run_it(binary, Work(jobs=1))
    before = content(binary.parent / "out")
    with monkeypatch.context() as patched:
        patched.setattr(run_module, "_take_what_is_there", lambda *_: os._exit(9))
        assert in_a_child(lambda: run_it(binary, RESUME, "detect.detect_threshold=7")) == 9
    with pytest.raises(OutputError, match="not of this work"):
        run_it(binary, RESUME, "detect.detect_threshold=7")
    assert content(binary.parent / "out") == before


def in_a_child(do):
    process = multiprocessing.get_context("fork").Process(target=do)
    process.start()
    process.join(120)
    return process.exitcode
