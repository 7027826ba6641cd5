"""Several files as one recording, spans, an output for each file, compressed files: what is written, byte for byte."""

import hashlib
import json
import re
import resource
from dataclasses import replace

import mtscomp
import numpy as np
import pytest

import make_spikeglx
import small_recording
from driftcli import presets
from driftcli.errors import InputError, OutputError, UsageError
from driftcli.files import write_error
from driftcli.model import Motion
from driftcli.recording.facts import facts_of
from driftcli.recording.mtscomp import CompressedSamples
from driftcli.recording.mtscomp_out import CompressedFile
from driftcli.recording.open import open_recording
from driftcli.reporter import Reporter
from driftcli.store.motion import read_motion, write_motion
from driftcli.store.peaks import read_peaks
from driftcli.workflow import sinks
from driftcli.workflow.apply import apply
from driftcli.workflow.correct_peaks import correct_peaks
from driftcli.workflow.detect import detect
from driftcli.workflow.outputs import default_name
from driftcli.workflow.run import run
from driftcli.workflow.work import Work
from make_cbin import make_cbin

RATE_HZ = small_recording.RATE_HZ
LENGTHS = [30_001, 16_384, 24_000]  # neither is a whole number of blocks but the second
STARTS = [0, 30_001, 46_385]
TOTAL = sum(LENGTHS)
GAP = 1_000
QUICK = ["estimate.bin_s=0.25", "detect.detect_threshold=6"]
FIRST = 500_141
# all that looks beyond a sample is switched off, so that outputs tell exactly which displacement each sample had
SAMPLE_BY_SAMPLE = ["shift.method=none", "filter.method=none", "reference.method=none"]


@pytest.fixture(scope="module")
def samples():
    """(S, 25) int16: drifting spikes on 24 channels, and sync words."""
    data = small_recording.samples(TOTAL)
    return np.column_stack([data, (np.arange(TOTAL) % 60 * 512).astype("<i2")])


@pytest.fixture(scope="module")
def text():
    return make_spikeglx.made_meta("NP1", saved=24)


@pytest.fixture
def paths(tmp_path, text, samples):
    """Three files of one run with gaps between them."""
    (tmp_path / "set").mkdir()
    return make_spikeglx.make_set(tmp_path / "set", text, samples, LENGTHS, [GAP, GAP])


def opened(paths, **options):
    return open_recording(paths, reporter=Reporter(), **options)


def stepping(steps):
    """A motion that is another in each bin, and steps. No bin changes at the very time of a sample otherwise."""
    times_s = np.array([0.10001, 0.60001, 1.10001, 1.30001, 1.70001, 2.20001])
    displacement_um = np.array([[-13.0, 4.0], [8.0, 9.0], [21.0, 0.0], [-5.0, -5.0], [17.0, 30.0], [3.0, -11.0]])
    return Motion(displacement_um, times_s, np.array([40.0, 160.0]), np.array(steps) / RATE_HZ)


def write(path, motion, recording, changes=()):
    """Write a motion of the recording, all of whose contacts are good."""
    settings = presets.load("rigid_fast", changes)
    facts = replace(facts_of(recording), labels=np.zeros(len(recording.geometry), np.uint8))
    write_motion(path, {0: motion}, recording.duration_s, facts, settings)
    return path, settings


def corrected(recording, motion, settings, out, **options):
    """Apply; returns the bytes of the one binary, or of those of a folder in order of their names."""
    work = options.pop("work", None) or Work(jobs=2)
    apply(recording, motion, settings, out, work, **options)
    binaries = sorted([*out.glob("*.bin"), *out.glob("*.cbin")]) if out.is_dir() else [out]
    return b"".join(each.read_bytes() for each in binaries)


NAME = "made_driftcorr_g0_tcat.imec0.ap.bin"


@pytest.fixture
def of_set(tmp_path, paths):
    """The recording of the three files, its motion and settings."""
    recording = opened(paths)
    return recording, *write(tmp_path / "motion.h5", stepping(STARTS[1:]), recording)


# Where a recording breaks


@pytest.mark.parametrize("linear", [False, True])
def test_each_file_of_a_set_gives_what_it_gives_by_itself(tmp_path, paths, linear):
    changes = [f"interpolate.time={'linear' if linear else 'nearest_bin'}"]
    recording = opened(paths)
    motion, settings = write(tmp_path / "motion.h5", stepping(STARTS[1:]), recording, changes)
    whole = np.frombuffer(corrected(recording, motion, settings, tmp_path / NAME), "<i2").reshape(TOTAL, 25)
    assert (
        whole[:, :24] != np.concatenate([each.read(0, each.num_samples) for each in map(opened, paths)])[:, :24]
    ).any()
    for path, start, length in zip(paths, STARTS, LENGTHS, strict=True):
        alone = opened(path)
        joined = stepping(STARTS[1:])
        shifted = Motion(
            joined.displacement_um,
            joined.temporal_bins_s - start / RATE_HZ,
            joined.spatial_bins_um,
            (np.array(STARTS[1:]) - start) / RATE_HZ,
        )
        its_motion, _ = write(tmp_path / f"{start}.h5", shifted, alone, changes)
        theirs = corrected(alone, its_motion, settings, tmp_path / f"{start}.imec0.ap.bin")
        assert whole[start : start + length].tobytes() == theirs


def test_a_broken_set_is_not_the_same_as_one_file(tmp_path, text, paths, samples):
    """Else the test above would say nothing: without the break the filter rings across."""
    one = opened(make_spikeglx.make_spikeglx(tmp_path, text, samples))
    motion, settings = write(tmp_path / "motion.h5", stepping(STARTS[1:]), one)
    unbroken = corrected(one, motion, settings, tmp_path / "one.imec0.ap.bin")
    motion, _ = write(tmp_path / "motion_of_set.h5", stepping(STARTS[1:]), opened(paths))
    assert unbroken != corrected(opened(paths), motion, settings, tmp_path / NAME)


def test_contiguous_files_give_the_very_bytes_of_the_one_that_they_were_cut_from(tmp_path, text, samples):
    settings = presets.load("kilosort_like", QUICK)
    one = opened(make_spikeglx.make_spikeglx(tmp_path, text, samples))
    run(one, settings, tmp_path / "one", Work(jobs=2))
    (tmp_path / "set").mkdir()
    several = opened(make_spikeglx.make_set(tmp_path / "set", text, samples, LENGTHS, [0, 0]))
    run(several, settings, tmp_path / "several", Work(jobs=2))
    written = tmp_path / "several" / NAME
    assert written.read_bytes() == (tmp_path / "one/made_driftcorr_g0_t0.imec0.ap.bin").read_bytes()
    for name in ("peaks.h5", "motion.h5", "probe.json"):
        assert (tmp_path / "several" / name).read_bytes() == (tmp_path / "one" / name).read_bytes(), name
    for compress in (False, True):  # a block may lie in two files
        out = tmp_path / f"each{compress}"
        apply(several, tmp_path / "one/motion.h5", settings, out, Work(jobs=2), split=True, compress=compress)
        suffix = ".cbin" if compress else ".bin"
        again = opened([out / f"made_driftcorr_g0_t{number}.imec0.ap{suffix}" for number in range(3)])
        assert not len(again.breaks)
        assert again.read(0, TOTAL).tobytes() == written.read_bytes()
    motion = read_motion(tmp_path / "one/motion.h5").motions[0]
    assert np.ptp(motion.displacement_um) > 10  # it is a recording that moves


@pytest.mark.parametrize("second", [30_001, 29_999, 16_384, 33_333, 31_415])
@pytest.mark.parametrize("origin", [0, 333, 7_001, 29_000])
def test_a_step_comes_out_at_the_very_sample_where_a_file_begins(tmp_path, text, samples, second, origin):
    files = make_spikeglx.make_set(tmp_path, text, samples[:60_000], [second, 60_000 - second], [GAP])
    changes = [*SAMPLE_BY_SAMPLE, "interpolate.method=nearest", "interpolate.border_mode=force_extrapolate"]
    recording = opened(files)
    centres_s = np.array([second - 3_000, second + 5_000]) / RATE_HZ  # halfway is 1,000 samples later
    motion = Motion(np.array([[0.0], [40.0]]), centres_s, np.array([100.0]), np.array([second / RATE_HZ]))
    path, settings = write(tmp_path / "motion.h5", motion, recording, changes)
    span = opened(files, start_s=origin / RATE_HZ)
    out = tmp_path / default_name(span)
    written = np.frombuffer(corrected(span, path, settings, out), "<i2").reshape(-1, 25)
    depths = recording.geometry.depths_um
    same_side = recording.geometry.positions_um[:, :1] == recording.geometry.positions_um[:, 0]
    above = np.where(same_side & (depths == depths[:, None] + 40.0), 1, 0)
    inside = np.flatnonzero(above.any(axis=1))
    step = max(second - origin, 0)
    np.testing.assert_array_equal(written[:step], samples[origin : origin + step])
    np.testing.assert_array_equal(written[step:, inside], samples[origin + step : 60_000, above.argmax(axis=1)[inside]])
    assert len(inside) > 10


# Spans


@pytest.mark.parametrize("raw", [False, True])
def test_a_run_on_a_span_is_a_run_on_a_cut_file(tmp_path, text, samples, paths, raw):
    settings = presets.load("kilosort_like", QUICK)
    start, stop = 4_567, 40_001  # in the first file and in the second
    pieces = [samples[start : LENGTHS[0]], samples[LENGTHS[0] : stop]]
    options = {}
    (tmp_path / "cut").mkdir()
    if raw:
        files, cut = [tmp_path / "set/a.bin", tmp_path / "set/b.bin"], [tmp_path / "cut/a.bin", tmp_path / "cut/b.bin"]
        wholes = [samples[: LENGTHS[0]], samples[LENGTHS[0] : 46_385]]
        for path, data in zip([*files, *cut], [*wholes, *pieces], strict=True):
            path.write_bytes(data.tobytes())
        probe = small_recording.write_probe_file(tmp_path / "p.json", small_recording.positions_um(24), np.arange(24))
        options = {"probe": probe, "num_channels": 25, "gain_to_uv": 2.34375, "concatenate": True}
    else:
        first = make_spikeglx.with_values(text, firstSample=str(FIRST + start))
        cut = make_spikeglx.make_set(tmp_path / "cut", first, np.concatenate(pieces), [len(p) for p in pieces], [GAP])
        files = paths[:2]
    span = opened(files, start_s=start / RATE_HZ, end_s=stop / RATE_HZ, **options)
    alone = opened(cut, **options)
    run(span, settings, tmp_path / "span", Work(jobs=2))
    run(alone, settings, tmp_path / "alone", Work(jobs=2))
    name = default_name(span)
    assert (tmp_path / "span" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()
    assert (tmp_path / "span" / name).stat().st_size == (stop - start) * 50
    ours, theirs = (read_motion(tmp_path / each / "motion.h5") for each in ("span", "alone"))
    np.testing.assert_array_equal(ours.motions[0].displacement_um, theirs.motions[0].displacement_um)
    np.testing.assert_array_equal(ours.motions[0].steps_s, theirs.motions[0].steps_s)
    assert np.ptp(ours.motions[0].displacement_um) > 10
    assert (ours.facts.origin, theirs.facts.origin) == (start, 0)
    if not raw:
        keys = ("firstSample", "fileSHA1", "fileSizeBytes", "driftcliInputOffsets")
        mine, others = (meta_values(tmp_path / each / name) for each in ("span", "alone"))
        assert {key: mine[key] for key in keys} == {key: others[key] for key in keys}
        assert mine["firstSample"] == str(FIRST + start)


@pytest.mark.parametrize(
    ("start", "stop"), [(0, 20_000), (333, 30_000), (7_001, TOTAL), (30_001, 46_385), (33_333, 70_000)]
)
@pytest.mark.parametrize("linear", [False, True])
def test_a_span_is_corrected_by_the_motion_of_its_own_time(tmp_path, paths, start, stop, linear):
    """Bins of half a second end at whole samples, where a time that is rounded falls to the other side."""
    changes = [*SAMPLE_BY_SAMPLE, f"interpolate.time={'linear' if linear else 'nearest_bin'}"]
    recording = opened(paths)
    halves_s = np.arange(5) * 0.5 + 0.25
    displacement_um = np.array([[-13.0], [8.0], [21.0], [-5.0], [17.0]])
    moving = Motion(displacement_um, halves_s, np.array([100.0]), np.array(STARTS[1:]) / RATE_HZ)
    motion, settings = write(tmp_path / "motion.h5", moving, recording, changes)
    whole = np.frombuffer(corrected(recording, motion, settings, tmp_path / NAME), "<i2").reshape(TOTAL, 25)
    span = opened(paths, start_s=start / RATE_HZ, end_s=stop / RATE_HZ)
    written = corrected(span, motion, settings, tmp_path / "span.imec0.ap.bin")
    assert written == whole[start:stop].tobytes()


def test_a_span_to_the_very_end_is_covered(tmp_path, of_set, paths):
    """1 / 3 + 2 / 3 of a length need not be a whole one, in binary."""
    _, motion, settings = of_set
    for start in (1, 7, 12_345, 54_321):
        span = opened(paths, start_s=start / RATE_HZ)
        apply(span, motion, settings, tmp_path / f"{start}.imec0.ap.bin", Work(jobs=2))


def test_what_begins_before_the_motion_is_refused(tmp_path, paths):
    span = opened(paths, start_s=1.0)
    motion, settings = write(tmp_path / "motion.h5", stepping([16_385]), span)
    for other in (opened(paths), opened(paths, start_s=0.9)):
        with pytest.raises(InputError, match="the motion covers"):
            apply(other, motion, settings, tmp_path / "x.imec0.ap.bin", Work())
    apply(opened(paths, start_s=1.2), motion, settings, tmp_path / "x.imec0.ap.bin", Work())


def test_peaks_of_a_span_are_corrected_at_their_own_time(tmp_path, of_set, paths):
    _, motion, _ = of_set
    settings = presets.load("rigid_fast", ["detect.detect_threshold=6"])
    span = opened(paths, start_s=0.7, end_s=2.0)
    detect(span, settings, tmp_path / "peaks.h5", Work(jobs=2))
    correct_peaks(tmp_path / "peaks.h5", motion, settings, tmp_path / "corrected.h5", Work())
    peaks = read_peaks(tmp_path / "corrected.h5").peaks
    assert len(peaks) > 20
    depth_um = peaks.location["y_um"].astype(float)
    moved_um = stepping(STARTS[1:]).at((peaks.sample_index + 21_000) / RATE_HZ, depth_um)
    np.testing.assert_allclose(peaks.location["y_corrected_um"], depth_um - moved_um, atol=1e-4)


# An output for each file


def meta_values(binary):
    return make_spikeglx.meta_values(binary.with_suffix(".meta").read_text("utf-8"))


def test_split_writes_a_pair_for_each_file(tmp_path, of_set, paths):
    recording, motion, settings = of_set
    whole = corrected(recording, motion, settings, tmp_path / "one" / NAME)
    assert corrected(recording, motion, settings, tmp_path / "each", split=True) == whole
    binaries = [tmp_path / f"each/made_driftcorr_g0_t{number}.imec0.ap.bin" for number in range(3)]
    metas = [binary.with_suffix(".meta") for binary in binaries]
    assert {file.name for file in (tmp_path / "each").iterdir()} == {
        "probe.json",
        "run.json",
        *(file.name for file in (*binaries, *metas)),
    }
    assert (tmp_path / "each/probe.json").read_bytes() == (tmp_path / "one/probe.json").read_bytes()
    for number, (binary, path, length) in enumerate(zip(binaries, paths, LENGTHS, strict=True)):
        values = meta_values(binary)
        assert binary.stat().st_size == length * 50
        assert values["fileSizeBytes"] == str(length * 50)
        assert float(values["fileTimeSecs"]) == length / RATE_HZ
        assert values["fileSHA1"] == hashlib.sha1(binary.read_bytes()).hexdigest().upper()
        assert values["fileName"] == str(binary)
        assert values["firstSample"] == str(FIRST + STARTS[number] + number * GAP)
        assert values["driftcliInput"] == path.name
        assert values["driftcliInputOffsets"] == f"0 (acquired {values['firstSample']})"
        assert opened(binary).num_samples == length
    # they are joined as their inputs were
    again = opened(binaries)
    assert again.breaks.tolist() == STARTS[1:]
    assert again.read(0, TOTAL).tobytes() == whole
    values = meta_values(tmp_path / "one" / NAME)
    assert values["fileSHA1"] == hashlib.sha1(whole).hexdigest().upper()
    assert values["firstSample"] == str(FIRST)
    assert values["driftcliInput"] == ", ".join(path.name for path in paths)
    told = [f"{start} (acquired {FIRST + start + number * GAP})" for number, start in enumerate(STARTS)]
    assert values["driftcliInputOffsets"] == ", ".join(told)
    log = json.loads((tmp_path / "each/run.json").read_text())
    (facts,) = log["outputs"].values()
    assert set(facts["files"]) == {"probe.json", *(file.name for file in (*binaries, *metas))}


def test_split_of_a_span_leaves_files_outside_of_it_away(tmp_path, of_set, paths):
    _, motion, settings = of_set
    span = opened(paths, start_s=31_000 / RATE_HZ, end_s=50_000 / RATE_HZ)
    whole = corrected(span, motion, settings, tmp_path / "one.imec0.ap.bin")
    assert corrected(span, motion, settings, tmp_path / "each", split=True) == whole
    assert sorted(each.name for each in (tmp_path / "each").glob("*.bin")) == [
        "made_driftcorr_g0_t1.imec0.ap.bin",
        "made_driftcorr_g0_t2.imec0.ap.bin",
    ]
    values = meta_values(tmp_path / "each/made_driftcorr_g0_t1.imec0.ap.bin")
    assert values["firstSample"] == str(FIRST + 31_000 + GAP)
    assert values["fileSizeBytes"] == str((46_385 - 31_000) * 50)


def test_split_with_contacts_removed_fits_every_meta(tmp_path, paths):
    recording = opened(paths)
    changes = ["interpolate.border_mode=remove_channels"]
    motion, settings = write(tmp_path / "motion.h5", stepping(STARTS[1:]), recording, changes)
    whole = corrected(recording, motion, settings, tmp_path / NAME)
    assert corrected(recording, motion, settings, tmp_path / "each", split=True) == whole
    columns = {opened(binary).num_columns for binary in (tmp_path / "each").glob("*.bin")}
    assert columns == {len(whole) // 2 // TOTAL}
    assert max(columns) < 25


@pytest.fixture
def raw_set(tmp_path, samples):
    """Two raw files in folders of their own, as one recording, its motion and settings."""
    for name, part in (("a/x", samples[:30_001]), ("b/y", samples[30_001:])):
        (tmp_path / name).parent.mkdir()
        (tmp_path / f"{name}.bin").write_bytes(part.tobytes())
    probe = small_recording.write_probe_file(tmp_path / "p.json", small_recording.positions_um(24), np.arange(24))
    options = {"probe": probe, "num_channels": 25, "concatenate": True}
    recording = opened([tmp_path / "a/x.bin", tmp_path / "b/y.bin"], **options)
    return recording, *write(tmp_path / "motion.h5", stepping([30_001]), recording)


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_split_of_raw_files(tmp_path, raw_set, dtype):
    recording, motion, settings = raw_set
    whole = corrected(recording, motion, settings, tmp_path / "corrected.bin", dtype=dtype)
    out = tmp_path / "each"
    assert corrected(recording, motion, settings, out, dtype=dtype, split=True) == whole
    assert {file.name for file in out.iterdir()} == {"corrected_x.bin", "corrected_y.bin", "probe.json", "run.json"}
    assert (out / "corrected_x.bin").stat().st_size == 30_001 * 25 * np.dtype(dtype).itemsize


def test_hundreds_of_files_may_be_open_at_once(tmp_path, text, samples):
    lengths = [50] * 60
    recording = opened(make_spikeglx.make_set(tmp_path, text, samples[:3_000], lengths, [GAP] * 59))
    motion, settings = write(tmp_path / "motion.h5", stepping([]), recording, SAMPLE_BY_SAMPLE)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
    try:
        apply(recording, motion, settings, tmp_path / "each", Work(jobs=2), split=True)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(list((tmp_path / "each").glob("*.bin"))) == 60


def test_two_outputs_of_one_name_are_refused_before_work_begins(tmp_path, raw_set, samples):
    _, motion, settings = raw_set
    (tmp_path / "b/x.bin").write_bytes(samples[30_001:].tobytes())
    options = {"probe": tmp_path / "p.json", "num_channels": 25, "concatenate": True}
    recording = opened([tmp_path / "a/x.bin", tmp_path / "b/x.bin"], **options)
    with pytest.raises(UsageError, match=r"two outputs would be corrected_x\.bin"):
        apply(recording, motion, settings, tmp_path / "each", Work(), split=True)
    assert not (tmp_path / "each").exists()


# Compressed files


@pytest.mark.parametrize("split", [False, True])
def test_compressed_outputs_hold_the_plain_bytes(tmp_path, of_set, split):
    recording, motion, settings = of_set
    whole = corrected(recording, motion, settings, tmp_path / "plain" / NAME)
    out = tmp_path / "packed" if split else (tmp_path / "packed" / NAME).with_suffix(".cbin")
    packed = corrected(recording, motion, settings, out, split=split, compress=True)
    assert len(packed) < len(whole)
    names = [f"made_driftcorr_g0_t{number}.imec0.ap" for number in range(3)] if split else [NAME[:-4]]
    assert {file.name for file in (tmp_path / "packed").iterdir()} == {
        "probe.json",
        "run.json",
        *(f"{name}{suffix}" for name in names for suffix in (".cbin", ".ch", ".meta")),
    }
    by_peer, by_us = b"", b""
    for name in names:
        cbin = tmp_path / "packed" / f"{name}.cbin"
        peer = mtscomp.decompress(str(cbin), str(cbin.with_suffix(".ch")), quiet=True)
        unpacked = np.ascontiguousarray(peer[:]).tobytes()
        peer.close()
        by_peer += unpacked
        again = opened(cbin)
        by_us += again.read(0, again.num_samples).tobytes()
        values = meta_values(cbin)
        assert values["fileSHA1"] == hashlib.sha1(unpacked).hexdigest().upper()
        assert values["fileSizeBytes"] == str(len(unpacked))
        assert values["fileName"].endswith(f"{name}.bin")
        assert CompressedSamples.open(cbin).sha1.upper() == values["fileSHA1"]
    assert by_peer == by_us == whole


def test_compressed_raw_outputs_of_floats(tmp_path, raw_set):
    recording, motion, settings = raw_set
    whole = corrected(recording, motion, settings, tmp_path / "corrected.bin", dtype="float32")
    corrected(
        recording,
        motion,
        settings,
        tmp_path / "corrected.cbin",
        dtype="float32",
        compress=True,
        work=Work(overwrite=True),
    )
    samples = CompressedSamples.open(tmp_path / "corrected.cbin")
    assert samples.read(0, TOTAL).tobytes() == whole


@pytest.mark.parametrize("by", ["hand", "peer"])
def test_compressed_inputs_give_the_bytes_of_the_plain_ones(tmp_path, of_set, paths, by):
    recording, motion, settings = of_set
    whole = corrected(recording, motion, settings, tmp_path / "plain" / NAME)
    packed = []
    for path in paths:
        cbin = path.with_suffix(".cbin")
        if by == "hand":
            make_cbin(cbin, np.fromfile(path, "<i2").reshape(-1, 25), length=7_001)
        else:
            facts = {"sample_rate": 30_000.0, "n_channels": 25, "dtype": "int16"}
            mtscomp.compress(str(path), str(cbin), str(cbin.with_suffix(".ch")), **facts, quiet=True)
        path.unlink()
        packed.append(cbin)
    recording = opened(packed)
    assert recording.breaks.tolist() == STARTS[1:]
    assert list(recording.inputs)[:4] == ["recording", "meta", "header", "recording_2"]
    for work in (Work(jobs=1, chunk_s=0.2), Work(jobs=3)):
        out = tmp_path / f"packed{work.jobs}" / default_name(recording)
        assert out.name == NAME
        assert corrected(recording, motion, settings, out, work=work) == whole


@pytest.mark.parametrize(
    ("name", "compress"), [("x.imec0.ap.bin", True), ("x.imec0.ap.cbin", False), ("x.imec1.ap.cbin", True)]
)
def test_names_that_say_the_contrary_are_refused(tmp_path, of_set, name, compress):
    recording, motion, settings = of_set
    with pytest.raises(UsageError, match=name):
        apply(recording, motion, settings, tmp_path / "out" / name, Work(), compress=compress)
    assert not (tmp_path / "out").exists()


# However work is cut


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("split", [False, True])
def test_chunks_and_threads_change_no_byte_of_a_set(tmp_path, of_set, split, compress):
    recording, motion, settings = of_set
    found = []
    for jobs, chunk_s in ((1, 0.1), (2, 3600.0), (4, 0.777)):
        folder = tmp_path / f"{jobs}"
        out = folder if split else folder / default_name(recording, compress=compress)
        work = Work(jobs=jobs, chunk_s=chunk_s)
        apply(recording, motion, settings, out, work, split=split, compress=compress)
        sums = [meta_values(each)["fileSHA1"] for each in sorted(folder.glob("*.meta"))]
        binaries = {
            file.name: file.read_bytes() for file in folder.iterdir() if file.suffix in (".bin", ".cbin", ".ch")
        }
        found.append((binaries, sums))
    assert len(found[0][0]) == (3 if split else 1) * (2 if compress else 1)
    assert found[0] == found[1] == found[2]


def test_chunks_and_threads_change_no_peak_of_a_set(tmp_path, paths):
    settings = presets.load("kilosort_like", QUICK)
    folders = [tmp_path / name for name in "ab"]
    for folder, work in zip(folders, (Work(jobs=1, chunk_s=0.1), Work(jobs=3)), strict=True):
        run(opened(paths), settings, folder, work)
    for name in ("peaks.h5", "motion.h5", NAME):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes(), name
    assert read_motion(folders[0] / "motion.h5").motions[0].steps_s.tolist() == [
        start / RATE_HZ for start in STARTS[1:]
    ]


# Whole or not at all

WAYS = [{}, {"split": True}, {"compress": True}, {"split": True, "compress": True}]


def out_of(folder, recording, way):
    return folder if way.get("split") else folder / default_name(recording, compress=bool(way.get("compress")))


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize(
    ("way", "calls"),
    [(WAYS[0], 1), (WAYS[1], 1), (WAYS[1], 2), (WAYS[2], 1), (WAYS[3], 3)],
    ids=["plain", "split 1", "split 2", "compress", "both 3"],
)
def test_a_meta_that_cannot_be_written_leaves_none_of_the_outputs(
    tmp_path, of_set, monkeypatch, way, calls, error, old
):
    recording, motion, settings = of_set
    out = out_of(tmp_path / "out", recording, way)
    before = {}
    if old:
        apply(recording, motion, settings, out, Work(), **way)
        before = visible(tmp_path / "out")
        motion, settings = write(tmp_path / "other.h5", stepping([9_000]), recording)
    made, count = sinks.format_meta, []

    def full(values):
        count.append(values)
        if len(count) == calls:
            raise error
        return made(values)

    monkeypatch.setattr(sinks, "format_meta", full)
    with pytest.raises(OutputError if isinstance(error, OSError) else KeyboardInterrupt):
        apply(recording, motion, settings, out, Work(overwrite=True), **way)
    assert len(count) == calls
    assert visible(tmp_path / "out") == before
    monkeypatch.undo()
    apply(recording, motion, settings, out, Work(resume=True), **way)
    apply(recording, motion, settings, out_of(tmp_path / "undisturbed", recording, way), Work(), **way)
    assert visible(tmp_path / "out") == visible(tmp_path / "undisturbed")
    assert not list((tmp_path / "out").glob(".*"))


def visible(folder):
    """What the files of a folder hold, but for those that are being made, the log, which tells times, and what a meta
    says of where it is."""
    files = [file for file in folder.iterdir() if file.name[0] != "." and file.name != "run.json"]
    return {file.name: re.sub(rb"fileName=.*", b"", file.read_bytes()) for file in files}


@pytest.mark.parametrize("calls", [1, 3])
def test_a_header_that_cannot_be_written_leaves_none_of_the_outputs(tmp_path, of_set, monkeypatch, calls):
    recording, motion, settings = of_set
    made, count = CompressedFile.finish, []

    def full(file, sha1):
        count.append(file)
        if len(count) == calls:
            raise write_error(file.header_path, OSError(28, "No space left on device"))
        made(file, sha1)

    monkeypatch.setattr(CompressedFile, "finish", full)
    with pytest.raises(OutputError, match="No space left"):
        apply(recording, motion, settings, tmp_path / "out", Work(), split=True, compress=True)
    assert len(count) == calls
    assert visible(tmp_path / "out") == {}


@pytest.mark.parametrize("way", WAYS)
def test_a_chunk_that_is_corrupt_leaves_none_of_the_outputs(tmp_path, of_set, paths, way):
    _, motion, settings = of_set
    cbin = make_cbin(paths[2].with_suffix(".cbin"), np.fromfile(paths[2], "<i2").reshape(-1, 25), length=6_000)
    content = bytearray(cbin.read_bytes())
    content[-len(content) // 8] ^= 0xFF
    cbin.write_bytes(content)
    recording = opened([*paths[:2], cbin])
    with pytest.raises(InputError, match=r"chunk 3 \(samples 18000 to 24000\) of .*made_g0_t2.* is corrupt") as caught:
        apply(recording, motion, settings, out_of(tmp_path / "out", recording, way), Work(jobs=2), **way)
    assert caught.value.hint
    assert visible(tmp_path / "out") == {}


@pytest.mark.parametrize("suffix", [".bin", ".meta"])
@pytest.mark.parametrize("number", [0, 2])
def test_each_of_several_outputs_is_kept_without_overwrite(tmp_path, of_set, number, suffix):
    recording, motion, settings = of_set
    (tmp_path / "out").mkdir()
    there = tmp_path / f"out/made_driftcorr_g0_t{number}.imec0.ap{suffix}"
    there.write_text("precious")
    with pytest.raises(OutputError, match="exists already"):
        apply(recording, motion, settings, tmp_path / "out", Work(), split=True)
    assert [file.name for file in (tmp_path / "out").iterdir()] == [there.name]
    assert there.read_text() == "precious"


def test_a_motion_of_other_files_of_the_set_is_refused(tmp_path):
    text = make_spikeglx.made_meta("NP1")
    samples = make_spikeglx.noise(60_000, make_spikeglx.meta_values(text))
    paths = make_spikeglx.make_set(tmp_path, text, samples, [20_000] * 3, [100, 100])
    motion, settings = write(tmp_path / "motion.h5", stepping([20_000]), opened(paths))
    for others in (paths[1:2], [paths[0], paths[2]], paths[1:]):
        with pytest.raises(InputError, match="estimated on other files"):
            apply(opened(others), motion, settings, tmp_path / "x.imec0.ap.bin", Work())
    apply(opened(paths[:2]), motion, settings, tmp_path / "x.imec0.ap.bin", Work())  # the first of them
    assert (tmp_path / "x.imec0.ap.bin").stat().st_size == 40_000 * 49 * 2
