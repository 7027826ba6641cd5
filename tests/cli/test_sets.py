"""Sets of files, spans and compressed files as a user meets them, and what is told of inputs that are no good."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import make_spikeglx
import small_recording
from driftcli.cli import main
from driftcli.recording.mtscomp import CompressedSamples
from make_cbin import make_cbin

LENGTHS, GAP = [40_000, 35_000], 500
FAST = ("--preset", "rigid_fast", "--set", "estimate.bin_s=0.5", "--set", "detect.detect_threshold=6")
ONE = "made_driftcorr_g0_tcat.imec0.ap"
EACH = ["made_driftcorr_g0_t0.imec0.ap", "made_driftcorr_g0_t1.imec0.ap"]


def driftcli(*arguments, **options):
    command = [sys.executable, "-m", "driftcli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **options)


def well(*arguments):
    done = driftcli(*arguments)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture
def here(capsys):
    """The same within this process, as what is refused before work begins is told the sooner."""

    def call(*arguments):
        capsys.readouterr()
        try:
            code = main.app([*map(str, arguments)], standalone_mode=False) or 0
        except Exception as error:
            code = main._told(error)
        return subprocess.CompletedProcess(arguments, code, *capsys.readouterr())

    return call


@pytest.fixture(scope="module")
def data():
    moving = small_recording.samples(sum(LENGTHS))
    return np.column_stack([moving, (np.arange(len(moving)) % 60 * 512).astype("<i2")])


@pytest.fixture(scope="module")
def text():
    return make_spikeglx.made_meta("NP1", saved=24)


@pytest.fixture
def pair(tmp_path, text, data):
    return make_spikeglx.make_set(tmp_path, text, data, LENGTHS, [GAP])


@pytest.fixture(scope="module")
def motion(tmp_path_factory, text, data):
    """The motion of such a pair."""
    folder = tmp_path_factory.mktemp("motion")
    well(
        "run", "--no-report", *make_spikeglx.make_set(folder, text, data, LENGTHS, [GAP]), *FAST, "--out", folder / "o"
    )
    return folder / "o/motion.h5"


def there(folder):
    return {file.name for file in folder.iterdir()}


def files_of(*stems, compressed=False):
    suffixes = (".cbin", ".ch", ".meta") if compressed else (".bin", ".meta")
    return {f"{stem}{suffix}" for stem in stems for suffix in suffixes}


OTHERS = {"peaks.h5", "motion.h5", "probe.json", "run.json"}


def test_a_run_of_two_files_and_an_apply_of_them(tmp_path, pair, data):
    before = [path.read_bytes() for path in pair]
    done = well("run", "--no-report", *pair, *FAST)
    folder = tmp_path / "made_g0_t0.imec0.ap.driftcli"
    assert there(folder) == OTHERS | files_of(ONE)
    assert f"{ONE}.bin" in done.stdout
    log = json.loads((folder / "run.json").read_text())
    assert [log["outputs"]["peaks.h5"]["inputs"][key]["path"] for key in ("recording", "recording_2")] == list(
        map(str, pair)
    )
    whole = (folder / f"{ONE}.bin").read_bytes()
    assert len(whole) == data.nbytes
    well("apply", *pair, folder / "motion.h5", "--split", "--out", tmp_path / "each", "--jobs", 1)
    assert there(tmp_path / "each") == files_of(*EACH) | {"probe.json", "run.json"}
    assert b"".join((tmp_path / "each" / f"{stem}.bin").read_bytes() for stem in EACH) == whole
    well("apply", *pair, folder / "motion.h5", "--compress", "--out", tmp_path / f"packed/{ONE}.cbin")
    assert there(tmp_path / "packed") == files_of(ONE, compressed=True) | {"probe.json", "run.json"}
    packed = CompressedSamples.open(tmp_path / f"packed/{ONE}.cbin")
    assert packed.read(0, packed.num_samples).tobytes() == whole
    assert [path.read_bytes() for path in pair] == before
    # what was written is read again, compressed or not
    again = well("detect", tmp_path / f"packed/{ONE}.cbin", *FAST, "--out", tmp_path / "a.h5", "--json")
    plain = well("detect", folder / f"{ONE}.bin", *FAST, "--out", tmp_path / "b.h5", "--json")
    counts = [json.loads(each.stdout.splitlines()[-1])["counts"] for each in (again, plain)]
    assert counts[0] == counts[1]


def test_a_run_that_splits_and_compresses(tmp_path, pair):
    well("run", "--no-report", *pair, *FAST, "--split", "--compress", "--out", tmp_path / "o")
    assert there(tmp_path / "o") == OTHERS | files_of(*EACH, compressed=True)


def test_a_run_of_a_span_and_an_apply_of_a_span_of_it(tmp_path, pair, data):
    well("run", "--no-report", *pair, *FAST, "--start-s", 0.5, "--end-s", 2.25, "--out", tmp_path / "o")
    assert (tmp_path / f"o/{ONE}.bin").stat().st_size == 52_500 * 50
    motion = tmp_path / "o/motion.h5"
    out = tmp_path / "o2/x.imec0.ap.bin"
    well("apply", *pair, motion, "--start-s", 1, "--end-s", 2, "--out", out)
    assert out.stat().st_size == 30_000 * 50
    refused = driftcli("apply", *pair, motion, "--start-s", 1, "--out", tmp_path / "o3/x.imec0.ap.bin", "--quiet")
    assert_told(refused, 3, "the motion covers 0.500 to 2.250 s", "--end-s")


def test_bad_channels_are_left_out_of_the_sources(tmp_path, pair):
    well("run", "--no-report", *pair, *FAST, "--bad-channels", "3,10:12", "--out", tmp_path / "o")
    log = json.loads((tmp_path / "o/run.json").read_text())
    assert log["outputs"]["peaks.h5"]["bad_channels"]["excluded"] == [3, 10, 11, 12]
    values = make_spikeglx.meta_values((tmp_path / f"o/{ONE}.meta").read_text("utf-8"))
    assert values["driftcliBadChannels"] == "excluded 3,10:12"
    # the motion carries them on
    well("apply", *pair, tmp_path / "o/motion.h5", "--out", tmp_path / "p/x.imec0.ap.bin")
    assert (tmp_path / "p/x.imec0.ap.bin").read_bytes() == (tmp_path / f"o/{ONE}.bin").read_bytes()


def test_raw_files_are_joined_when_told_to(tmp_path, data):
    files = []
    for number, part in enumerate((data[:40_000, :24], data[40_000:, :24])):
        binary, probe = small_recording.write(tmp_path, part, f"rec{number}")
        files.append(binary)
    told = ("--probe", probe, *FAST, "--gain-to-uv", 2.34375)
    assert_told(
        driftcli("run", "--no-report", *files, *told, "--quiet"), 2, "rec0.bin and rec1.bin", "Try: give --concatenate"
    )
    assert there(tmp_path) == {"rec0.bin", "rec0.json", "rec1.bin", "rec1.json"}
    well("run", "--no-report", *files, *told, "--concatenate", "--split")
    names = {"corrected_rec0.bin", "corrected_rec1.bin"}
    assert there(tmp_path / "rec0.driftcli") == OTHERS | names


def test_what_is_there_of_a_truncated_file_is_taken_when_told_to(tmp_path, pair):
    pair[0].write_bytes(pair[0].read_bytes()[:-100_001])
    done = well("run", "--no-report", *pair, *FAST, "--truncated", "ok", "--out", tmp_path / "o")
    assert "going on with the 37999 whole frames there are" in done.stderr
    values = make_spikeglx.meta_values((tmp_path / f"o/{ONE}.meta").read_text("utf-8"))
    assert values["fileSizeBytes"] == str((37_999 + LENGTHS[1]) * 50)


# Inputs that are no good


def assert_told(done, code, *words):
    """One line that says all of the words, and the exit code."""
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith("error: "), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert "Try: " in done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr
    assert not done.stdout


def change_meta(path, **values):
    meta = path.with_suffix(".meta")
    meta.write_text(make_spikeglx.with_values(meta.read_text("utf-8"), **values), "utf-8")


def no_whole_frames(paths):
    paths[1].write_bytes(paths[1].read_bytes()[:-7])
    change_meta(paths[1], fileSizeBytes=str(paths[1].stat().st_size))


def less_than_the_meta_says(paths):
    paths[1].write_bytes(paths[1].read_bytes()[:-5000])


def no_bin(paths):
    paths[1].unlink()


def no_meta(paths):
    paths[1].with_suffix(".meta").unlink()


def without(key):
    def change(paths):
        change_meta(paths[1], **{key: None})

    change.__name__ = f"without_{key}"
    return change


def a_channel_more(paths):
    text = make_spikeglx.with_values(
        make_spikeglx.made_meta("NP1", saved=25), fileName="made_g0_t1.imec0.ap.bin", firstSample="600000"
    )
    make_spikeglx.make_spikeglx(paths[1].parent, text, 35_000)


def other_gains(paths):
    meta = paths[1].with_suffix(".meta")
    meta.write_text(meta.read_text("utf-8").replace("(5 0 0 500 250 1)", "(5 0 0 250 250 1)"), "utf-8")


def overlapping(paths):
    change_meta(paths[1], firstSample=str(500_141 + 39_000))


def out_of_order(paths):
    paths.reverse()


def twice(paths):
    paths.append(paths[1])


def packed(paths):
    cbin = make_cbin(paths[1].with_suffix(".cbin"), np.fromfile(paths[1], "<i2").reshape(-1, 25), length=7_000)
    paths[1].unlink()
    paths[1] = cbin
    return cbin


def corrupt_chunk(paths):
    cbin = packed(paths)
    content = bytearray(cbin.read_bytes())
    content[len(content) // 2] ^= 0x55
    cbin.write_bytes(content)


def cut_chunk(paths):
    cbin = packed(paths)
    cbin.write_bytes(cbin.read_bytes()[:-10])


def no_header(paths):
    packed(paths).with_suffix(".ch").unlink()


def foreign_header(paths):
    packed(paths)
    header = paths[1].with_suffix(".ch")
    header.write_text(header.read_text().replace('"n_channels": 25', '"n_channels": 24'))


@pytest.mark.parametrize(
    ("spoil", "code", "words"),
    [
        (no_whole_frames, 3, ["made_g0_t1.imec0.ap.bin", "43 bytes more than 34,999 whole frames", "--truncated ok"]),
        (less_than_the_meta_says, 3, ["1,745,000 bytes", "says 1,750,000 bytes, 5,000 more", "--truncated ok"]),
        (no_bin, 3, ["no file", "made_g0_t1.imec0.ap.meta is there, its .bin is not"]),
        (no_meta, 2, ["made_g0_t1.imec0.ap.bin does not say where its contacts are", "put made_g0_t1.imec0.ap.meta"]),
        (without("imSampRate"), 3, ["made_g0_t1.imec0.ap.meta", "imSampRate"]),
        (without("nSavedChans"), 3, ["made_g0_t1.imec0.ap.meta", "nSavedChans"]),
        (without("snsApLfSy"), 3, ["made_g0_t1.imec0.ap.meta", "snsApLfSy"]),
        (without("imroTbl"), 3, ["made_g0_t1.imec0.ap.meta", "imroTbl"]),
        (without("imAiRangeMax"), 3, ["made_g0_t1.imec0.ap.meta", "imAiRangeMax"]),
        (a_channel_more, 3, ["made_g0_t1.imec0.ap.bin has other channels than made_g0_t0", "number of columns differ"]),
        (other_gains, 3, ["made_g0_t1.imec0.ap.bin has other channels than made_g0_t0", "gains differ"]),
        (overlapping, 3, ["made_g0_t1.imec0.ap.bin begins at sample 539141, before", "ends at 540141"]),
        (out_of_order, 3, ["made_g0_t0.imec0.ap.bin was recorded before made_g0_t1.imec0.ap.bin"]),
        (twice, 3, ["made_g0_t1.imec0.ap.bin is given twice"]),
        (corrupt_chunk, 3, ["chunk", "made_g0_t1.imec0.ap.cbin is corrupt", "copy the file again"]),
        (cut_chunk, 3, ["made_g0_t1.imec0.ap.cbin", "cut short"]),
        (no_header, 3, ["made_g0_t1.imec0.ap.ch"]),
        (foreign_header, 3, ["made_g0_t1.imec0.ap.ch"]),
    ],
)
def test_inputs_that_are_no_good_are_told_in_a_line(tmp_path, pair, here, spoil, code, words):
    spoil(pair)
    before = there(tmp_path)
    for verb, out in (("run", "o"), ("detect", "o/peaks.h5")):
        assert_told(here(verb, *pair, *FAST, "--out", tmp_path / out, "--quiet"), code, *words)
    written = tmp_path / "o"
    assert not written.exists() or not there(written)
    assert there(tmp_path) - {"o"} == before


def test_a_chunk_that_went_bad_leaves_no_output_of_an_apply(tmp_path, pair, motion, here):
    corrupt_chunk(pair)
    for way in ((), ("--split",), ("--compress",)):
        out = tmp_path / f"again{''.join(way)}"
        name = {"--split": "", "--compress": f"{ONE}.cbin"}.get("".join(way), f"{ONE}.bin")
        assert_told(here("apply", *pair, motion, "--out", out / name, *way, "--quiet"), 3, "is corrupt")
        assert not [name for name in there(out) if not name.startswith(".")]


def test_a_signal_leaves_none_of_several_outputs(tmp_path, text, data):
    long = np.tile(data, (20, 1))
    files = make_spikeglx.make_set(tmp_path, text, long, [len(long) // 2] * 2, [GAP])
    folder = tmp_path / "o"
    ways = ("--split", "--compress", "--out", folder)
    command = [sys.executable, "-m", "driftcli", "run", "--no-report", *map(str, (*files, *FAST, *ways))]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 120
    while not list(folder.glob(".run.work/1-of-1/.*.cbin.work/1-of-1/*.spool")) and time.monotonic() < end:
        time.sleep(0.002)
    assert process.poll() is None
    os.kill(process.pid, signal.SIGTERM)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 143, told
    assert there(folder) == {".run.work"}


def test_no_room_for_a_plain_binary_may_be_enough_for_a_compressed_one(tmp_path, monkeypatch, pair, here):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=3_000_000))
    assert_told(here("run", "--no-report", *pair, *FAST, "--out", tmp_path / "o", "--quiet"), 4, "no room on the disk")
    assert not (tmp_path / "o").exists()
    assert here("run", "--no-report", *pair, *FAST, "--out", tmp_path / "o", "--compress", "--quiet").returncode == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--start-s", 9), "--start-s 9 is not within the recording of 2.5 s"),
        (("--end-s", -1), "--end-s -1 is not within"),
        (("--start-s", 2, "--end-s", 1), "nothing lies between 2 s and 1 s"),
        (("--start-s", 2.5), "nothing lies between 2.5 s and 2.5 s"),
        (("--bad-channels", "77"), "no contact is on 77"),
        (("--bad-channels", "all"), "'all' is no channel"),
        (("--truncated", "maybe"), "maybe"),
        (("--num-channels", 24), "--num-channels 24 contradicts"),
    ],
)
def test_options_that_make_no_sense_are_told_before_anything_is_made(tmp_path, pair, here, options, words):
    before = there(tmp_path)
    assert_told(here("run", "--no-report", *pair, *FAST, *options, "--quiet"), 2, words)
    assert there(tmp_path) == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--out", "x.imec0.ap.bin", "--compress"), "end it with .cbin"),
        (("--out", "x.imec0.ap.cbin"), "give --compress"),
        (("--out", "x.imec1.ap.cbin", "--compress"), "must end in .imec0.ap.cbin"),
        (("--out", "corrected.bin"), "must end in .imec0.ap.bin"),
        (("--output-dtype", "float32", "--split"), "float32 makes no SpikeGLX file"),
    ],
)
def test_outputs_that_cannot_be_are_told_before_anything_is_made(
    tmp_path, monkeypatch, pair, motion, here, options, words
):
    monkeypatch.chdir(tmp_path)
    before = there(tmp_path)
    assert_told(here("apply", *pair, motion, *options, "--quiet"), 2, words)
    assert there(tmp_path) == before


def test_no_file_of_a_set_is_ever_an_output(tmp_path, pair, motion, here):
    before = {path: path.read_bytes() for path in tmp_path.glob("made*")}
    for out in (pair[0], pair[1]):
        assert_told(here("apply", *pair, motion, "--out", out, "--overwrite", "--quiet"), 4, "is the input")
    assert {path: path.read_bytes() for path in tmp_path.glob("made*")} == before


def test_an_output_of_a_set_that_exists_is_kept_without_overwrite(tmp_path, pair, here):
    (tmp_path / "o").mkdir()
    (tmp_path / f"o/{EACH[1]}.meta").write_text("precious")
    assert_told(
        here("run", "--no-report", *pair, *FAST, "--split", "--out", tmp_path / "o", "--quiet"), 4, "--overwrite"
    )
    assert there(tmp_path / "o") == {f"{EACH[1]}.meta"}
    well("run", "--no-report", *pair, *FAST, "--split", "--out", tmp_path / "o", "--overwrite")
    assert there(tmp_path / "o") == OTHERS | files_of(*EACH)
