"""SpikeGLX pairs in and out: one made from each real meta file, and one of a made meta of each family of probes."""

import hashlib
import json
import os
import re
from dataclasses import replace

import h5py
import numpy as np
import pytest
from probeinterface import read_spikeglx

import make_spikeglx
from driftcli import __version__, presets
from driftcli.errors import InputError, OutputError, UsageError
from driftcli.model import Motion
from driftcli.recording.facts import facts_of
from driftcli.recording.open import open_recording
from driftcli.recording.probe import write_probe
from driftcli.reporter import Reporter
from driftcli.store.motion import write_motion
from driftcli.store.schema import read_handover
from driftcli.workflow import sinks as workflow
from driftcli.workflow.apply import apply
from driftcli.workflow.outputs import default_name
from driftcli.workflow.run import run
from driftcli.workflow.work import Work

REAL = sorted(make_spikeglx.SHARED_METAS.glob("*.meta"))
METAS = {path.stem: path for path in REAL} | {f"made {kind}": kind for kind in make_spikeglx.MADE}
MODES = ("force_extrapolate", "remove_channels")
CHANGED = {"fileName", "fileSHA1", "fileSizeBytes", "fileTimeSecs"}
QUAD_BASES = ("NP2020_sample_g0_t0.imec0.ap", "made quad base")
SHRUNK = {"nSavedChans", "snsApLfSy", "snsSaveChanSubset", "~snsChanMap", "~snsGeomMap", "~snsShankMap"}


def text_of(meta):
    found = METAS[meta]
    return make_spikeglx.made_meta(found) if isinstance(found, str) else make_spikeglx.read_meta_text(found)


def with_spikes(text, num_samples=24_000):
    """(S, nSavedChans) int16: noise with spikes on every 7th AP channel, and the sync words as they were."""
    values = make_spikeglx.meta_values(text)
    samples = make_spikeglx.noise(num_samples, values)
    num_ap = int(values["snsApLfSy"].split(",")[0])
    rng = np.random.default_rng(0)
    for channel in range(0, num_ap, 7):
        for start in rng.integers(200, num_samples - 300, num_samples // 800):
            samples[start : start + 20, channel] -= (300 * np.hanning(20)).astype("<i2")
    return samples


def moving(recording, path, settings):
    """Write a motion of every shank that steps, and differs from shank to shank; returns it by shank."""
    motions = {
        shank: Motion(np.array([[-13.0], [8.0 + shank], [21.0]]), np.array([0.1, 0.3, 0.6]), np.array([50.0]))
        for shank, _ in recording.geometry.each_shank()
    }
    write_motion(path, motions, recording.duration_s, facts_of(recording), settings)
    return motions


def corrected(folder, text, changes=(), samples=None, **work):
    """Make a pair, correct it by `moving`; returns the recording, what was in it, and the path of the new binary."""
    samples = with_spikes(text, 17_000) if samples is None else samples
    recording = open_recording(make_spikeglx.make_spikeglx(folder, text, samples), reporter=Reporter())
    settings = presets.load("rigid_fast", changes)
    moving(recording, folder / "motion.h5", settings)
    out = folder / "out" / default_name(recording)
    apply(recording, folder / "motion.h5", settings, out, Work(**{"jobs": 2, **work}))
    return recording, samples, out


def as_raw(recording, folder, changes):
    """The bytes that the same samples, probe and motion give as a raw recording, and its kept contacts."""
    folder.mkdir()
    (folder / "rec.bin").write_bytes(recording.path.read_bytes())
    contacts = np.arange(len(recording.geometry))
    write_probe(folder / "probe_in.json", recording, contacts, recording.columns)
    raw = open_recording(
        folder / "rec.bin",
        probe=folder / "probe_in.json",
        num_channels=recording.num_columns,
        sampling_frequency_hz=recording.sampling_frequency_hz,
        gain_to_uv=float(recording.gain_to_uv[0]),
        reporter=Reporter(),
    )
    raw = replace(raw, sample_shifts=recording.sample_shifts, labels=recording.labels)  # a raw file can't tell
    settings = presets.load("rigid_fast", changes)
    moving(raw, folder / "motion.h5", settings)
    apply(raw, folder / "motion.h5", settings, folder / "corrected.bin", Work(jobs=1))
    return (folder / "corrected.bin").read_bytes()


def kept_contacts(recording):
    """Contacts that the motion of `moving` never takes past the ends of their shank, by hand."""
    kept = []
    for shank, contacts in recording.geometry.each_shank():
        depths = recording.geometry.depths_um[contacts]
        highest = max(21.0, 8.0 + shank)
        kept.extend(contacts[(depths - 13.0 >= depths.min()) & (depths + highest <= depths.max())])
    return np.sort(np.array(kept, dtype=np.int64))


def entries(table):
    return re.findall(r"\([^)]*\)", table)[1:]


def test_the_real_meta_files_are_here():
    if not REAL:
        pytest.skip("the real SpikeGLX meta files are not here: only made ones are tested")
    assert len(REAL) >= 10


@pytest.mark.parametrize("meta", METAS)
def test_a_pair_of_each_probe_type_is_corrected(tmp_path, meta):
    text = text_of(meta)
    samples = with_spikes(text)
    recording = open_recording(make_spikeglx.make_spikeglx(tmp_path, text, samples), reporter=Reporter())
    settings = presets.load("rigid_fast", ["estimate.bin_s=0.2"])
    run(recording, settings, tmp_path / "out", Work(jobs=2))
    name = default_name(recording)
    pair = {name, name.removesuffix("bin") + "meta"}
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        *pair,
        "peaks.h5",
        "motion.h5",
        "assessment.h5",
        "probe.json",
        "run.json",
    }
    written = np.fromfile(tmp_path / "out" / name, "<i2").reshape(samples.shape)
    sync = np.setdiff1d(np.arange(samples.shape[1]), recording.columns)
    assert sync.size >= 1
    np.testing.assert_array_equal(written[:, sync], samples[:, sync])
    assert (written[:, recording.columns] != 0).any(axis=0).all()
    with h5py.File(tmp_path / "out/peaks.h5") as peaks, h5py.File(tmp_path / "out/motion.h5") as motion:
        channels = peaks["peaks/channel_index"][:]
        assert np.isin(channels, np.arange(0, len(recording.columns), 7)).mean() > 0.9
        assert {f"shank{shank}" for shank in np.unique(recording.geometry.shanks)} <= set(motion)


@pytest.fixture(scope="module", params=[(meta, mode) for meta in METAS for mode in MODES], ids=" ".join)
def each(request, tmp_path_factory):
    """A corrected pair of each meta, with all contacts and with those at the border removed."""
    meta, mode = request.param
    folder = tmp_path_factory.mktemp("pair")
    return (meta, mode, *corrected(folder, text_of(meta), [f"interpolate.border_mode={mode}"]))


def test_a_corrected_pair_is_read_back_as_what_it_is(tmp_path, each):
    _, mode, recording, samples, out = each
    kept = kept_contacts(recording) if mode == "remove_channels" else np.arange(len(recording.geometry))
    assert 0 < len(kept) <= len(recording.geometry) - 2 * (mode == "remove_channels")
    reporter = Reporter()
    again = open_recording(out, reporter=reporter)
    sync = samples[:, len(recording.columns) :]
    # the reader of this program
    assert (again.num_samples, again.num_columns) == (len(samples), len(kept) + sync.shape[1])
    assert again.sampling_frequency_hz == recording.sampling_frequency_hz
    np.testing.assert_array_equal(again.columns, np.arange(len(kept)))
    np.testing.assert_array_equal(again.gain_to_uv, recording.gain_to_uv[kept])
    np.testing.assert_array_equal(again.geometry.positions_um, recording.geometry.positions_um[kept])
    np.testing.assert_array_equal(again.geometry.shanks, recording.geometry.shanks[kept])
    assert again.sample_shifts.lined_up  # by this correction or before: not to be done again
    # that of probeinterface
    before, after = read_spikeglx(recording.path.with_suffix(".meta")), read_spikeglx(out.with_suffix(".meta"))
    np.testing.assert_array_equal(after.contact_positions, before.contact_positions[kept])
    np.testing.assert_array_equal(after.contact_ids, before.contact_ids[kept])
    np.testing.assert_array_equal(after.device_channel_indices, np.arange(len(kept)))
    # samples: the sync words bit for bit, traces as those of a raw recording
    written = again.read(0, len(samples))
    np.testing.assert_array_equal(written[:, len(kept) :], sync)
    assert out.read_bytes() == as_raw(recording, tmp_path / "raw", [f"interpolate.border_mode={mode}"])
    assert (written[:, : len(kept)] != samples[:, kept]).mean() > 0.5


def test_the_meta_of_a_corrected_pair_is_right(each):
    _, mode, recording, _, out = each
    before = make_spikeglx.meta_values(recording.meta.path.read_text("utf-8"))
    after = make_spikeglx.meta_values(out.with_suffix(".meta").read_text("utf-8"))
    content = out.read_bytes()
    assert after["fileName"] == str(out)
    assert after["fileSHA1"] == hashlib.sha1(content).hexdigest().upper()
    assert after["fileSizeBytes"] == str(len(content))
    rate = float(before["imSampRate"])
    assert float(after["fileTimeSecs"]) == len(content) / 2 / int(after["nSavedChans"]) / rate
    # everything else as it was, in its order, and the keys of this program before the tables
    unlike = CHANGED | (SHRUNK if mode == "remove_channels" else set())
    assert [key for key in after if key in before] == list(before)
    assert {key: after[key] for key in before if key not in unlike} == {
        key: value for key, value in before.items() if key not in unlike
    }
    ours = [key for key in after if key.startswith("driftcli")]
    assert set(after) == set(before) | set(ours)
    assert not [key for key in ours if "=" in after[key]]
    assert list(after)[-1].startswith("~")
    assert after["driftcliVersion"] == __version__
    assert (after["driftcliInput"], after["driftcliInputSHA1"]) == (recording.path.name, before["fileSHA1"])
    assert after["driftcliMotion"] == "motion.h5"
    assert json.loads(after["driftcliPreset"])["interpolate"]["border_mode"] == mode
    assert after["driftcliPhaseShift"].startswith("not applied: CatGT" if "catGTCmdline0" in before else "applied")
    # counts and maps tell of the same channels
    kept = kept_contacts(recording)
    outside = np.setdiff1d(np.arange(len(recording.geometry)), kept)
    told = "driftcliRemovedChannels" if mode == "remove_channels" else "driftcliBorderChannels"
    assert spelled_out(after[told]) == outside.tolist()
    if mode == "remove_channels":
        num_others = recording.num_columns - len(recording.columns)
        columns = [*kept.tolist(), *range(len(recording.columns), recording.num_columns)]
        assert int(after["nSavedChans"]) == len(columns)
        assert after["snsApLfSy"] == f"{len(kept)},0,{num_others}"
        saved = np.array(spelled_out(before["snsSaveChanSubset"]))
        assert spelled_out(after["snsSaveChanSubset"]) == saved[columns].tolist()
        for key, places in (("~snsChanMap", columns), ("~snsGeomMap", kept), ("~snsShankMap", kept)):
            assert (key in after) == (key in before)
            if key in before:
                assert entries(after[key]) == [entries(before[key])[place] for place in places]
                assert after[key].partition(")")[0] == before[key].partition(")")[0]


def spelled_out(text):
    numbers = []
    for each in filter(None, text.split(",")):
        first, _, last = each.partition(":")
        numbers.extend(range(int(first), int(last or first) + 1))
    return numbers


def test_neo_reads_a_corrected_pair(each):
    rawio = pytest.importorskip("neo.rawio", reason="neo is not installed")
    meta, mode, recording, samples, out = each
    reader = rawio.SpikeGLXRawIO(str(out.parent))
    reader.parse_header()
    stream = "imec.ap" if ".imec.ap" in out.name else f"{re.search(r'imec[0-9]+', out.name)[0]}.ap"
    streams = reader.header["signal_streams"]["name"].tolist()
    assert set(streams) == {stream, f"{stream}-SYNC"}
    written = np.fromfile(out, "<i2").reshape(len(samples), -1)
    kept = kept_contacts(recording) if mode == "remove_channels" else np.arange(len(recording.geometry))
    channels = reader.header["signal_channels"]
    ap = channels[channels["stream_id"] == stream]
    assert ap["name"].tolist() == [f"AP{number}" for number in kept]
    np.testing.assert_allclose(ap["gain"], recording.gain_to_uv[kept], rtol=1e-6)
    assert set(ap["units"]) == {"uV"}
    if meta in QUAD_BASES:  # neo 0.14.6 hands out four sync words with the traces, whatever its channels say
        np.testing.assert_array_equal(reader.get_analogsignal_chunk(stream_index=streams.index(stream)), written)
        np.testing.assert_array_equal(written[:, len(kept) :], samples[:, len(recording.columns) :])
        return
    sync = samples[:, recording.num_columns - 1 :]
    for name, expected in ((stream, written[:, : len(kept)]), (f"{stream}-SYNC", sync)):
        chunk = reader.get_analogsignal_chunk(stream_index=streams.index(name))
        np.testing.assert_array_equal(chunk, expected)


def test_gains_that_differ_stay_with_their_channels(tmp_path):
    text = make_spikeglx.made_meta("NP1")
    for channel in range(0, 48, 5):
        text = text.replace(f"({channel} 0 0 500 250 1)", f"({channel} 0 0 250 250 1)")
    recording, _, out = corrected(tmp_path, text, ["interpolate.border_mode=remove_channels"])
    kept = kept_contacts(recording)
    expected = np.where(kept % 5 == 0, 1e6 * 0.6 / 512 / 250, 1e6 * 0.6 / 512 / 500)
    np.testing.assert_allclose(open_recording(out, reporter=Reporter()).gain_to_uv, expected, rtol=1e-12)


@pytest.mark.parametrize("work", [{"jobs": 1}, {"jobs": 3, "chunk_s": 0.01}, {"jobs": 2, "chunk_s": 20.0}])
def test_the_sum_of_the_samples_is_theirs_however_work_is_cut(tmp_path, work):
    text = make_spikeglx.made_meta("NP2 four shanks", saved=24)
    samples = with_spikes(text, 150_001)
    _, _, out = corrected(tmp_path, text, samples=samples, **work)
    values = make_spikeglx.meta_values(out.with_suffix(".meta").read_text("utf-8"))
    assert values["fileSHA1"] == hashlib.sha1(out.read_bytes()).hexdigest().upper()


def test_no_motion_gives_the_raw_samples_and_their_sum(tmp_path):
    text = make_spikeglx.made_meta("NP1")
    samples = with_spikes(text)
    recording = open_recording(make_spikeglx.make_spikeglx(tmp_path, text, samples), reporter=Reporter())
    settings = presets.load("rigid_fast", ["apply.signal=raw"])
    still = Motion(np.zeros((2, 1)), np.array([0.1, 0.6]), np.array([50.0]))
    write_motion(tmp_path / "motion.h5", {0: still}, recording.duration_s, facts_of(recording), settings)
    out = tmp_path / "made_driftcorr_g0_t0.imec0.ap.bin"
    apply(recording, tmp_path / "motion.h5", settings, out, Work())
    assert out.read_bytes() == recording.path.read_bytes()
    values = make_spikeglx.meta_values(out.with_suffix(".meta").read_text("utf-8"))
    assert values["fileSHA1"] == hashlib.sha1(samples.tobytes()).hexdigest().upper()
    assert values["driftcliBorderChannels"] == ""
    assert values["driftcliPhaseShift"] == "not applied: the raw signal is corrected"
    assert not open_recording(out, reporter=Reporter()).sample_shifts.lined_up


def test_a_shift_that_is_switched_off_is_told(tmp_path):
    _, _, out = corrected(tmp_path, make_spikeglx.made_meta("NP1"), ["shift.method=none"])
    values = make_spikeglx.meta_values(out.with_suffix(".meta").read_text("utf-8"))
    assert values["driftcliPhaseShift"] == "not applied: switched off"


def test_a_corrected_pair_can_be_corrected_again(tmp_path):
    _, _, out = corrected(tmp_path, make_spikeglx.made_meta("NP1"))
    recording = open_recording(out, reporter=Reporter())
    settings = presets.load("rigid_fast")
    moving(recording, tmp_path / "again.h5", settings)
    twice = tmp_path / "twice" / default_name(recording)
    assert twice.name == "made_driftcorr_driftcorr_g0_t0.imec0.ap.bin"
    apply(recording, tmp_path / "again.h5", settings, twice, Work())
    values = make_spikeglx.meta_values(twice.with_suffix(".meta").read_text("utf-8"))
    assert (values["driftcliMotion"], values["driftcliMotion_2"]) == ("motion.h5", "again.h5")
    assert values["driftcliInput_2"] == out.name
    assert values["fileCreateTime"] == "2023-09-04T16:01:07"
    assert values["driftcliPhaseShift"] == "applied"
    assert values["driftcliPhaseShift_2"].startswith("not applied: driftcli lined the channels up already")


@pytest.fixture
def pair(tmp_path):
    """A made recording with its motion: recording, path of the motion, settings, path of the output."""
    text = make_spikeglx.made_meta("NP1")
    recording = open_recording(make_spikeglx.make_spikeglx(tmp_path, text, with_spikes(text)), reporter=Reporter())
    settings = presets.load("rigid_fast", ["estimate.bin_s=0.2"])
    moving(recording, tmp_path / "motion.h5", settings)
    return recording, tmp_path / "motion.h5", settings, tmp_path / "out" / default_name(recording)


def test_samples_of_another_type_make_no_pair(tmp_path, pair):
    recording, motion, settings, out = pair
    with pytest.raises(UsageError, match="--output-dtype float32 makes no SpikeGLX file") as caught:
        apply(recording, motion, settings, out, Work(), dtype="float32")
    assert "leave --output-dtype away" in caught.value.hint
    with pytest.raises(UsageError, match="--output-dtype float32"):
        run(recording, settings, tmp_path / "out", Work(), dtype="float32")
    assert not (tmp_path / "out").exists()
    apply(recording, motion, settings, out, Work(), dtype="int16")
    assert out.exists()


@pytest.mark.parametrize("name", ["corrected.bin", "x_g0_t0.imec1.ap.bin", "x_g0_t0.imec0.lf.bin", "x.imec0.ap"])
def test_names_that_readers_would_not_understand_are_refused(tmp_path, pair, name):
    recording, motion, settings, _ = pair
    with pytest.raises(UsageError, match=r"must end in \.imec0\.ap\.bin") as caught:
        apply(recording, motion, settings, tmp_path / name, Work())
    assert f"{tmp_path / name.partition('.')[0]}.imec0.ap.bin" in caught.value.hint


def test_a_name_of_ones_own_names_all_three_files(tmp_path, pair):
    recording, motion, settings, _ = pair
    apply(recording, motion, settings, tmp_path / "mine/other_g1_t2.imec0.ap.bin", Work())
    assert {file.name for file in (tmp_path / "mine").iterdir()} == {
        "other_g1_t2.imec0.ap.bin",
        "other_g1_t2.imec0.ap.meta",
        "other_g1_t2.imec0.ap.probe.json",
        "run.json",
    }


@pytest.mark.parametrize("suffix", [".bin", ".meta"])
def test_each_file_of_a_pair_is_kept_without_overwrite(pair, suffix):
    recording, motion, settings, out = pair
    out.parent.mkdir()
    out.with_suffix(suffix).write_text("precious")
    with pytest.raises(OutputError, match="exists already"):
        apply(recording, motion, settings, out, Work())
    assert [file.name for file in out.parent.iterdir()] == [out.with_suffix(suffix).name]
    apply(recording, motion, settings, out, Work(overwrite=True))
    assert open_recording(out, reporter=Reporter()).num_samples == recording.num_samples


def test_neither_file_of_the_input_is_ever_an_output(pair):
    recording, motion, settings, _ = pair
    with pytest.raises(OutputError, match="is the input"):
        apply(recording, motion, settings, recording.path, Work(overwrite=True))
    linked = recording.path.with_name("linked.imec0.ap.bin")
    linked.with_suffix(".meta").symlink_to(recording.meta.path)
    with pytest.raises(OutputError, match=r"linked\.imec0\.ap\.meta is the input"):
        apply(recording, motion, settings, linked, Work(overwrite=True))


@pytest.mark.parametrize("old", [True, False])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_meta_that_cannot_be_written_leaves_no_binary(pair, monkeypatch, error, old):
    def full(_):
        raise error

    recording, motion, settings, out = pair
    out.parent.mkdir()
    before = {}
    if old:
        before = {out.name: b"old", out.with_suffix(".meta").name: b"older"}
        for name, content in before.items():
            (out.parent / name).write_bytes(content)
    monkeypatch.setattr(workflow, "format_meta", full)
    with pytest.raises(OutputError if isinstance(error, OSError) else KeyboardInterrupt):
        apply(recording, motion, settings, out, Work(overwrite=True))
    assert {file.name: file.read_bytes() for file in out.parent.iterdir() if file.name[0] != "."} == before


def test_the_binary_gets_its_name_after_all_that_describes_it(pair, monkeypatch):
    named = []
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda part, path: (named.append(path), replace(part, path)))
    recording, motion, settings, out = pair
    apply(recording, motion, settings, out, Work())
    of_outputs = [path.name for path in named if path.parent == out.parent]
    assert of_outputs == ["probe.json", out.with_suffix(".meta").name, out.name, "run.json"]


def test_maps_that_do_not_fit_are_told_before_work_begins(tmp_path):
    text = make_spikeglx.with_values(make_spikeglx.made_meta("NP1"), snsShankMap="(1,2,480)(0:0:0:1)")
    with pytest.raises(InputError, match=r"snsShankMap has 1 entries for 48 saved channels"):
        corrected(tmp_path, text, ["interpolate.border_mode=remove_channels"])
    assert not (tmp_path / "out").is_dir() or not list((tmp_path / "out").iterdir())


def test_a_probe_given_by_hand_is_told_not_to_be_in_the_meta(tmp_path, pair, reporter):
    recording, _, settings, out = pair
    probe = tmp_path / "mine.json"
    write_probe(probe, recording, np.arange(10), np.arange(10))
    given = open_recording(recording.path, probe=probe, reporter=Reporter())
    moving(given, tmp_path / "m.h5", settings)
    apply(given, tmp_path / "m.h5", settings, out, Work(reporter=reporter))
    assert f"{out.with_suffix('.meta').name} keeps the geometry that SpikeGLX wrote" in " ".join(reporter.messages)
    assert "that of mine.json is in probe.json" in " ".join(reporter.messages)
    written = np.fromfile(out, "<i2").reshape(recording.num_samples, -1)
    np.testing.assert_array_equal(written[:, 10:], recording.read(0, recording.num_samples)[:, 10:])


def of_motion(path):
    """What an earlier verb hands on in a motion file."""
    return read_handover(path, "motion")[1]


@pytest.mark.parametrize("kind", ["NP-Ultra", "NP2 four shanks"])
def test_a_motion_of_another_probe_is_refused(tmp_path, pair, kind):
    recording, motion, settings, _ = pair
    (tmp_path / "other").mkdir()
    text = make_spikeglx.made_meta(kind, saved=len(recording.geometry))
    path = make_spikeglx.make_spikeglx(tmp_path / "other", text, recording.num_samples)
    other = open_recording(path, carried=of_motion(motion), reporter=Reporter())
    with pytest.raises(InputError, match=r"other contact positions or shanks|has no shank 1"):
        apply(other, motion, settings, tmp_path / "other" / default_name(other), Work())


def test_a_motion_hands_on_what_a_meta_does_not_tell(tmp_path, pair):
    recording, _, settings, out = pair
    meta = recording.path.with_suffix(".meta")
    unknown = {"imDatPrb_type": "7777", "imDatPrb_pn": "NP7777", "snsShankMap": None}
    meta.write_text(make_spikeglx.with_values(meta.read_text(), **unknown))
    probe = tmp_path / "mine.json"
    write_probe(probe, recording, np.arange(len(recording.geometry)), recording.columns)
    given = open_recording(recording.path, probe=probe, gain_to_uv=3.0, reporter=Reporter())
    moving(given, tmp_path / "m.h5", settings)
    again = open_recording(recording.path, carried=of_motion(tmp_path / "m.h5"), reporter=Reporter())
    np.testing.assert_array_equal(again.gain_to_uv, given.gain_to_uv)
    np.testing.assert_array_equal(again.geometry.positions_um, given.geometry.positions_um)
    apply(again, tmp_path / "m.h5", settings, out, Work())
    with pytest.raises(InputError, match="is not known"):
        open_recording(recording.path, probe=probe, reporter=Reporter())
