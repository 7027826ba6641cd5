"""info: it says what is in a recording, finds what a run finds, foresees what a run takes, and writes nothing."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import make_cbin
import make_spikeglx
import small_recording
from driftcli import presets
from driftcli.errors import UsageError
from driftcli.mask.spans import shares
from driftcli.model import GOOD, MASK_REASONS, DepthPeaks, Stage
from driftcli.recording.open import open_recording
from driftcli.reporter import Reporter
from driftcli.store.peaks import read_peaks
from driftcli.workflow import cost
from driftcli.workflow.estimate import Memory, spans_um_of
from driftcli.workflow.info import info
from driftcli.workflow.run import run
from driftcli.workflow.work import Work

RATE_HZ = small_recording.RATE_HZ
GAP, SATURATED, DEAD = (20_000, 23_000), (50_000, 51_000), 7
CHANGES = ("estimate.bin_s=0.5", "detect.detect_threshold=6")


@pytest.fixture(scope="module")
def damaged():
    """(S, C) int16: the drifting recording with a gap of zeros, a saturated span and a dead contact."""
    data = small_recording.samples(87_001)
    data[:, DEAD] = 0
    data[slice(*GAP)] = 0
    data[slice(*SATURATED)] = 32_767
    return data


def opened(folder, data, name="rec", *, gain_to_uv=small_recording.GAIN_TO_UV, bad_channels=None, **probe):
    binary, probe_file = small_recording.write(folder, data, name, **probe)
    options = {"gain_to_uv": gain_to_uv, "bad_channels": bad_channels, "reporter": Reporter()}
    return open_recording(binary, probe=probe_file, sampling_frequency_hz=RATE_HZ, **options)


def settings_with(*changes, preset="rigid_fast"):
    return presets.load(preset, [*CHANGES, *changes])


def look(recording, settings=None, *, work=None, **options):
    folder = recording.path.with_suffix(".driftcli")
    return info(recording, settings or settings_with(), folder, work or Work(jobs=2), **options)


def in_seconds(mask):
    times_s = mask.in_seconds(RATE_HZ).tolist()
    named = [MASK_REASONS[reason] for reason in mask.reasons.tolist()]
    return [
        {"reason": reason, "start_s": start, "stop_s": stop}
        for reason, (start, stop) in zip(named, times_s, strict=True)
    ]


def content(folder):
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in Path(folder).rglob("*") if path.is_file()}


def test_it_finds_what_a_run_finds_and_writes_nothing(tmp_path, damaged):
    recording = opened(tmp_path, damaged)
    before = content(tmp_path)
    facts = look(recording, full=True)
    assert content(tmp_path) == before
    assert [path for path in tmp_path.rglob("*") if path.is_dir()] == []

    assert facts["bad_channels"] == {"meta": {}, "user": {}, "data": {"dead": [DEAD]}}
    run(recording, settings_with(), tmp_path / "out", Work(jobs=2))
    of_run = read_peaks(tmp_path / "out/peaks.h5")
    assert facts["mask"]["spans"] == in_seconds(of_run.mask)
    assert facts["mask"]["share"] == shares(of_run.mask, len(damaged))
    by_reason = {span["reason"]: (span["start_s"], span["stop_s"]) for span in facts["mask"]["spans"]}
    for reason, span in (("gap", GAP), ("saturation", SATURATED)):
        np.testing.assert_allclose(by_reason[reason], np.array(span) / RATE_HZ, atol=0.006)  # 5 ms are padding
    assert (facts["mask"]["full"], facts["mask"]["looked_at_share"], facts["mask"]["slices"]) == (True, 1.0, None)

    good = of_run.noise_levels[of_run.facts.labels == GOOD]
    noise = {"unit": "uV", "median": np.median(good), "lowest": good.min(), "highest": good.max()}
    assert facts["noise"] == noise

    foreseen = facts["cost"]
    assert foreseen["peaks"] == len(of_run.peaks)  # so short a recording is tried as a whole
    assert foreseen["tried_s"] == recording.duration_s
    assert foreseen["disk_bytes"]["corrected"] == (tmp_path / "out/corrected.bin").stat().st_size
    assert foreseen["disk_bytes"]["peaks"] == len(of_run.peaks) * 24  # int64, int32, float32 and x, y in float32
    (span_um,) = spans_um_of(recording.geometry, "each").values()
    needed = Memory.of([(span_um, len(of_run.peaks))], recording.duration_s, settings_with()["estimate"], 2)
    assert foreseen["memory_bytes"]["estimate"] == round(needed.n_bytes)
    assert foreseen["memory_bytes"]["streaming"] > 50e6
    times = foreseen["time_s"]
    assert times["assess"] == 3 * times["estimate"]
    assert times["total"] == pytest.approx(sum(each for name, each in times.items() if name != "total"))
    assert min(times.values()) > 0


def test_slices_say_how_much_was_looked_at(tmp_path, damaged):
    """Five slices of 15,000 samples: from 18,600 on with the gap, and from 36,000 on, to the end of the saturation."""
    facts = look(opened(tmp_path, damaged))
    mask = facts["mask"]
    assert (mask["full"], mask["slices"], mask["spans"]) == (False, 5, None)
    assert mask["looked_at_s"] == 2.5
    assert mask["looked_at_share"] == 75_000 / len(damaged)
    padding = 150
    assert mask["share"]["gap"] == (3_000 + 2 * padding) / 75_000
    assert mask["share"]["saturation"] == (1_000 + padding) / 75_000
    assert mask["share"]["artifact"] == mask["share"]["excluded"] == 0


def test_threads_and_chunks_change_no_finding(tmp_path, damaged):
    recording = opened(tmp_path, damaged)
    one, other = (look(recording, work=Work(jobs=jobs, chunk_s=chunk_s)) for jobs, chunk_s in ((1, 0.1), (3, 2.0)))
    assert one.pop("cost")["peaks"] == other.pop("cost")["peaks"]
    assert one == other


def test_a_raw_recording_in_words(tmp_path, drifting):
    places = np.vstack([small_recording.positions_um(24), [[500.0, 500.0]]])
    columns = np.append(np.arange(24), -1)
    facts = look(opened(tmp_path, drifting, gain_to_uv=None, bad_channels="3,5", places=places, columns=columns))
    recording, probe = facts["recording"], facts["probe"]
    assert (recording["format"], recording["compressed"], recording["dtype"]) == ("raw", False, "int16")
    assert recording["size_bytes"] == drifting.nbytes
    assert (recording["num_samples"], recording["duration_s"]) == (87_001, 87_001 / RATE_HZ)
    assert recording["columns"] == {"with_contact": 24, "without_contact": 0}
    assert recording["gain_to_uv"] is recording["full_scale"] is None
    assert facts["noise"]["unit"] == "file units"
    assert facts["bad_channels"]["user"] == {"excluded": [3, 5]}
    assert (probe["contacts"], probe["unconnected"], probe["bad"]) == (24, 1, 2)
    assert probe["sites"] is None
    assert probe["shanks"] == [
        {
            "shank": 0,
            "contacts": 24,
            "bad": 2,
            "columns": 2,
            "column_pitch_um": [32.0, 32.0],
            "rows": 24,
            "row_pitch_um": [10.0, 10.0],
            "depth_um": [0.0, 230.0],
        }
    ]


def spikeglx(folder, data, number=0, first_sample="1000", kind="NP1", **values):
    text = make_spikeglx.made_meta(kind, saved=data.shape[1])
    name = f"D:/made_g0/made_g0_t{number}.imec0.ap.bin"
    text = make_spikeglx.with_values(text, fileName=name, firstSample=first_sample, **values)
    sync = np.zeros((len(data), 1), "<i2")
    return make_spikeglx.make_spikeglx(folder, text, np.column_stack([data, sync]))


def test_files_of_one_run_and_what_is_missing_between_them(tmp_path, drifting):
    lengths, firsts = (30_000, 33_000, 24_000), (1_000, 31_000, 64_000 + 15_000)
    ends = np.cumsum(lengths)
    files = [
        spikeglx(tmp_path, drifting[end - length : end], number, str(first))
        for number, (length, first, end) in enumerate(zip(lengths, firsts, ends, strict=True))
    ]
    facts = look(open_recording(files, reporter=Reporter()))["recording"]
    assert [file["path"] for file in facts["files"]] == [str(path) for path in files]
    assert [file["begins_s"] for file in facts["files"]] == [0.0, 1.0, 2.1]
    assert [file["missing_before_s"] for file in facts["files"]] == [None, 0.0, 0.5]
    assert [file["first_sample"] for file in facts["files"]] == list(firsts)
    assert facts["size_bytes"] == 87_000 * 25 * 2


def test_files_of_different_runs_have_no_common_clock(tmp_path, drifting):
    (tmp_path / "a").mkdir()
    first = spikeglx(tmp_path / "a", drifting[:30_000])
    other = spikeglx(tmp_path, drifting[30_000:60_000], first_sample="900000")
    other = other.rename(other.with_name("other_g0_t0.imec0.ap.bin"))
    (tmp_path / "made_g0_t0.imec0.ap.meta").rename(other.with_suffix(".meta"))
    recording = open_recording([first, other], concatenate=True, reporter=Reporter())
    assert [file["missing_before_s"] for file in look(recording)["recording"]["files"]] == [None, None]


def test_a_spikeglx_recording_in_words(tmp_path, drifting):
    """A map of contacts that has one as not used; a meta with a gain and the range of its converter."""
    places = "".join(f"(0:{channel % 2}:{channel // 2}:{int(channel != 11)})" for channel in range(24))
    path = spikeglx(tmp_path, drifting, snsShankMap=f"(1,2,480){places}")
    facts = look(open_recording(path, reporter=Reporter()))
    recording, probe = facts["recording"], facts["probe"]
    assert recording["format"] == "SpikeGLX"
    assert recording["columns"] == {"ap": 24, "lf": 0, "sync": 1}
    assert recording["gain_to_uv"] == 2.34375
    assert recording["full_scale"] == [-512, 511]
    assert recording["full_scale_uv"] == [-1200.0, 511 * 2.34375]
    assert recording["lined_up"] == {"already": False, "by_run": True, "reason": "probe type 0"}
    assert facts["bad_channels"] == {"meta": {"reference": [11]}, "user": {}, "data": {}}
    assert (probe["name"], probe["part"], probe["type"]) == ("Neuropixels 1.0 probe", "NP1000", "0")
    assert (probe["sites"], probe["contacts"]) == (960, 24)
    assert probe["shanks"][0]["depth_um"] == [0.0, 220.0]
    assert (probe["shanks"][0]["rows"], probe["shanks"][0]["row_pitch_um"]) == (12, [20.0, 20.0])


def test_shanks_are_told_one_by_one(tmp_path):
    path = make_spikeglx.make_spikeglx(tmp_path, make_spikeglx.made_meta("NP2 four shanks"), 30_000)
    probe = look(open_recording(path, reporter=Reporter()))["probe"]
    assert [shank["shank"] for shank in probe["shanks"]] == [0, 1, 2, 3]
    assert [shank["contacts"] for shank in probe["shanks"]] == [12] * 4
    assert {tuple(shank["column_pitch_um"]) for shank in probe["shanks"]} == {(32.0, 32.0)}
    assert probe["sites"] == 5120


def test_a_probe_without_a_part_number_gets_no_name_of_another(tmp_path):
    """One of phase 3A: its sites are found as those of a Neuropixels 1.0, which it isn't."""
    path = make_spikeglx.make_spikeglx(tmp_path, make_spikeglx.made_meta("3A"), 30_000)
    probe = look(open_recording(path, reporter=Reporter()))["probe"]
    told = (probe["name"], probe["part"], probe["type"], probe["sites"])
    assert told == ("Neuropixels, type 3A", None, "3A", None)


def test_lined_up_by_catgt_is_told(tmp_path, drifting):
    recording = open_recording(spikeglx(tmp_path, drifting, catGTCmdline0="<CatGT -ap>"), reporter=Reporter())
    told = look(recording)["recording"]["lined_up"]
    assert (told["already"], told["by_run"]) == (True, False)
    assert "CatGT" in told["reason"]


def test_a_compressed_recording(tmp_path, drifting):
    _, probe = small_recording.write(tmp_path, drifting[:30_000])
    path = make_cbin.make_cbin(tmp_path / "c.cbin", drifting[:30_000], 30_000)
    recording = look(open_recording(path, probe=probe, reporter=Reporter()))["recording"]
    assert recording["compressed"]
    assert recording["size_bytes"] == path.stat().st_size
    assert recording["num_samples"] == 30_000


def test_without_a_good_contact_there_is_nothing_to_foresee(tmp_path, drifting):
    facts = look(opened(tmp_path, drifting, bad_channels="0:23"))
    assert facts["bad_channels"]["user"] == {"excluded": list(range(24))}
    assert facts["noise"] is facts["mask"] is facts["cost"] is None


def test_silence_has_no_estimate_to_foresee(tmp_path):
    facts = look(opened(tmp_path, np.zeros((40_000, 24), "<i2")), settings_with("bad_channels.method=none"))
    assert facts["noise"]["median"] == 0
    assert facts["cost"]["peaks"] == 0
    assert facts["cost"]["time_s"]["estimate"] is None
    assert facts["cost"]["time_s"]["apply"] > 0


def test_a_preset_without_a_mask_looks_for_none(tmp_path, drifting):
    assert look(opened(tmp_path, drifting), settings_with("mask.method=none"), full=True)["mask"] is None


@pytest.mark.parametrize(
    "changes",
    [
        ("select.method=uniform", "select.n_peaks=200"),
        ("apply.signal=raw",),
        ("interpolate.border_mode=remove_channels",),
        ("filter.method=none", "reference.method=none", "shift.method=none"),
        ("localize.method=monopolar_triangulation",),
    ],
)
def test_all_kinds_of_presets_are_tried(tmp_path, drifting, changes):
    facts = look(opened(tmp_path, drifting), settings_with(*changes))
    assert facts["cost"]["peaks"] > 20
    assert min(facts["cost"]["time_s"].values()) > 0


def test_what_a_run_would_refuse_is_refused(tmp_path, drifting):
    path = spikeglx(tmp_path, drifting[:30_000])
    with pytest.raises(UsageError, match="float32 makes no SpikeGLX file"):
        look(open_recording(path, reporter=Reporter()), dtype="float32")
    with pytest.raises(UsageError, match=r"comparing .* temporal bins"):
        look(opened(tmp_path, drifting), settings_with("estimate.time_horizon_s=null", "estimate.bin_s=0.00004"))


def test_float32_outputs_take_twice_the_room(tmp_path, drifting):
    recording = opened(tmp_path, drifting)
    disk = look(recording, dtype="float32")["cost"]["disk_bytes"]
    assert disk["corrected"] == 2 * drifting.nbytes
    assert disk["enough"]
    assert disk["free"] > disk["needed"] > disk["corrected"]


def test_an_estimate_of_more_bins_is_extrapolated_along_its_law():
    """Times that follow a * bins + b * bins * (bins compared with) are found again."""
    horizon_s, bin_s, per_bin, per_pair = 1000.0, 2.0, 3e-3, 2e-6
    stage = presets.load("dredge_fast", [f"estimate.time_horizon_s={horizon_s}"])["estimate"]
    estimate = cost._Estimate(stage, bin_s, 7200.0, 10.0, 720.0, [])

    def law(bins):
        return per_bin * bins + per_pair * bins * min(bins, horizon_s / bin_s)

    for bins in (300, 600, 1200):
        np.testing.assert_allclose(estimate._beyond(3600, bins, law(bins // 2), law(bins)), law(3600))
    without = cost._Estimate(
        Stage("dredge_ap", stage.parameters.model_copy(update={"time_horizon_s": None}), "estimate"),
        bin_s,
        1.0,
        1.0,
        1.0,
        [],
    )
    np.testing.assert_allclose(without._beyond(3600, 300, 1.0, 4.0), 4.0 * 144)  # all pairs
    np.testing.assert_allclose(without._beyond(3600, 300, 1.0, 2.0), 2.0 * 12)  # a line
    np.testing.assert_allclose(without._beyond(3600, 300, 1.0, 1.5), 1.5 * 12)  # a large beginning: no less than a line
    np.testing.assert_allclose(without._beyond(3600, 300, 1.0, 9.0), 9.0 * 144)  # never more than all pairs


def test_an_estimate_is_timed_on_twice_as_many_bins_until_it_takes_long(monkeypatch):
    stage = presets.load("dredge_fast")["estimate"]
    estimate = cost._Estimate(stage, 1.0, 5000.0, 10.0, 500.0, [])
    timed = []

    def seconds(self, group, bins, jobs):
        timed.append(bins)
        return once_s + bins * 1e-3

    monkeypatch.setattr(cost._Estimate, "_seconds_of_bins", seconds)
    for once_s in (0.0, 2.0):  # what doesn't grow with the recording is no part of the line
        timed.clear()
        assert estimate._seconds(None, 1) == pytest.approx(5.0 + once_s, abs=0.02)
        assert timed == [1, 150, 300, 600]
    timed.clear()
    assert replace(estimate, duration_s=420.0)._seconds(None, 1) == 2.42
    assert timed == [1, 150, 300, 420]
    timed.clear()
    assert replace(estimate, duration_s=100.0)._seconds(None, 1) == 2.1
    assert timed == [100]


def test_peaks_are_repeated_in_order_of_time():
    peaks = DepthPeaks(np.array([0.5, 1.5]), np.array([10.0, 20.0]), np.array([-1.0, -2.0]))
    longer = cost._repeated(peaks, 2.0, 5.0)
    assert longer.time_s.tolist() == [0.5, 1.5, 2.5, 3.5, 4.5]
    assert longer.depth_um.tolist() == [10.0, 20.0, 10.0, 20.0, 10.0]
    assert longer.amplitude.tolist() == [-1.0, -2.0, -1.0, -2.0, -1.0]


def test_blocks_that_are_tried_are_spread_in_stretches():
    blocks = [(start, start + 10) for start in range(0, 1000, 10)]
    chosen = cost._spread(blocks, 4)
    assert [start // 10 for start, _ in chosen] == [10, 11, 12, 13, 36, 37, 38, 39, 60, 61, 62, 63, 86, 87, 88, 89]
    assert cost._spread(blocks[:7], 4) == blocks[:7]
    assert cost._spread(blocks[:1], 2) == blocks[:1]
