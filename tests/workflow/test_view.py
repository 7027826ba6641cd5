"""What is shown of a folder: which peaks, within which limits, and what goes with them."""

import json
from dataclasses import replace

import numpy as np
import pytest

import made_up_view
from driftcli import presets
from driftcli.errors import InputError, UsageError
from driftcli.model import Geometry, Mask, Motion, Peaks, RecordingFacts
from driftcli.reporter import Reporter
from driftcli.store import peaks as store_peaks
from driftcli.store.assessment import write_assessment
from driftcli.store.motion import write_motion
from driftcli.store.peaks import write_peaks
from driftcli.workflow.identity import checksum_of
from driftcli.workflow.view import view_of

RATE_HZ, DURATION_S = 1_000.0, 100.0
MOTION = Motion(np.linspace(0, 20, 50)[:, None], np.arange(50) * 2.0 + 1, np.array([300.0]))


@pytest.fixture
def facts():
    places = np.column_stack([np.zeros(20), np.arange(20) * 20.0])
    geometry = Geometry(places, np.repeat([0, 1], 10))
    columns, breaks = np.arange(20), np.array([40_000])
    labels = np.zeros(20, np.uint8)
    return RecordingFacts(RATE_HZ, 100_000, 20, "int16", 0, geometry, columns, np.ones(20), "{}", breaks, labels=labels)


@pytest.fixture
def folder(tmp_path, facts):
    return write(tmp_path / "rec.driftcli", facts, 1_000)


def write(folder, facts, number, *, mask=None, locations=("x_um", "y_um"), motion_facts=None, seed=0):
    rng = np.random.default_rng(seed)
    folder.mkdir()
    channel = rng.integers(0, 20, number).astype(np.int32)
    place = {"x_um": rng.normal(0, 5, number), "y_um": channel * 20.0 + rng.normal(0, 5, number)}
    location = {name: place[name].astype(np.float32) for name in locations}
    sample = np.sort(rng.integers(0, facts.num_samples, number))
    found = Peaks(sample, channel, -rng.uniform(20, 90, number).astype(np.float32), location)
    settings, noise = presets.load("rigid_fast"), np.ones(20)
    write_peaks(folder / "peaks.h5", [found], number, locations, facts, settings, noise, Mask())
    motions = {0: MOTION, 1: replace(MOTION, displacement_um=-MOTION.displacement_um)}
    write_motion(folder / "motion.h5", motions, DURATION_S, motion_facts or facts, settings, mask, RATE_HZ)
    return folder


def test_all_peaks_with_their_corrected_depths(folder, facts):
    view = view_of(folder, Reporter())
    whole = store_peaks.read_peaks(folder / "peaks.h5").peaks
    assert view.num_peaks == len(view.peaks) == 1_000
    np.testing.assert_array_equal(view.peaks.time_s, whole.sample_index / RATE_HZ)
    np.testing.assert_array_equal(view.peaks.amplitude, whole.amplitude)
    np.testing.assert_array_equal(view.peaks.shank, facts.geometry.shanks[whole.channel_index])
    moved = MOTION.at(view.peaks.time_s, view.peaks.depth_um) * np.where(view.peaks.shank == 0, 1, -1)
    np.testing.assert_allclose(view.peaks.depth_um - view.peaks.corrected_depth_um, moved, atol=1e-4)
    assert view.name == "rec.driftcli"
    np.testing.assert_array_equal(view.breaks_s, [40.0])
    assert (view.time_limits_s, view.amplitude_unit) == ((0.0, 100.0), "uV")
    low, high = view.depth_limits_um
    assert low < 0 < 380 < high


@pytest.mark.parametrize(("most", "step"), [(1_000, 1), (999, 2), (500, 2), (499, 4), (126, 8), (125, 8), (1, 1_024)])
@pytest.mark.parametrize("rows", [41, 333, 1 << 20])
def test_thinned_peaks_are_every_so_manieth_however_they_are_read(folder, monkeypatch, most, step, rows):
    monkeypatch.setattr(store_peaks, "_PIECE_ROWS", rows)
    view = view_of(folder, Reporter(), most_points=most)
    whole = store_peaks.read_peaks(folder / "peaks.h5").peaks
    assert view.num_peaks == 1_000
    np.testing.assert_array_equal(view.peaks.time_s, whole.sample_index[::step] / RATE_HZ)
    np.testing.assert_array_equal(view.peaks.amplitude, whole.amplitude[::step])
    assert len(view.peaks) <= most


def test_limits_keep_what_one_of_both_depths_puts_within(folder):
    whole = view_of(folder, Reporter()).peaks
    view = view_of(folder, Reporter(), time_limits_s=(20.0, 70.0), depth_limits_um=(100.0, 150.0))
    inside = (whole.time_s >= 20) & (whole.time_s <= 70)
    depths = [(depth >= 100) & (depth <= 150) for depth in (whole.depth_um, whole.corrected_depth_um)]
    np.testing.assert_array_equal(view.peaks.time_s, whole.time_s[inside & (depths[0] | depths[1])])
    assert view.num_peaks == len(view.peaks)
    assert (view.time_limits_s, view.depth_limits_um) == ((20.0, 70.0), (100.0, 150.0))


@pytest.mark.parametrize(
    "limits",
    [
        {"time_limits_s": (5.0, 5.0)},
        {"time_limits_s": (200.0, 300.0)},
        {"depth_limits_um": (9.0, float("inf"))},
        {"depth_limits_um": (5_000.0, 6_000.0)},
        {"depth_limits_um": (-900.0, -800.0)},
    ],
)
def test_limits_that_show_nothing_are_refused(folder, limits):
    with pytest.raises(UsageError, match=r"is no span|shows nothing"):
        view_of(folder, Reporter(), **limits)


@pytest.mark.parametrize("limits_um", [(381.0, 405.0), (100.001, 100.002)])
def test_depths_may_show_peaks_beyond_the_contacts_or_contacts_alone(folder, limits_um):
    view = view_of(folder, Reporter(), depth_limits_um=limits_um)
    assert view.depth_limits_um == limits_um
    assert (view.num_peaks > 0) == (limits_um[0] > 380)


def test_the_mask_is_that_of_the_estimate(tmp_path, facts):
    mask = Mask(np.array([1_000]), np.array([2_000]), np.array([0], np.uint8))
    view = view_of(write(tmp_path / "masked", facts, 10, mask=mask), Reporter())
    np.testing.assert_array_equal(view.mask.in_seconds(view.mask_rate_hz), [[1.0, 2.0]])


def test_peaks_of_a_span_are_at_the_times_of_the_motion(tmp_path, facts):
    span = replace(facts, origin=20_000, num_samples=30_000, breaks=np.empty(0, np.int64))
    view = view_of(write(tmp_path / "span", span, 100, motion_facts=facts), Reporter())
    assert view.time_limits_s == (20.0, 50.0)
    assert 20 <= view.peaks.time_s.min() <= view.peaks.time_s.max() <= 50


def test_limits_may_hold_no_peaks(tmp_path, facts):
    view = view_of(write(tmp_path / "few", facts, 3), Reporter(), time_limits_s=(1e-9, 2e-9))
    assert view.num_peaks == len(view.peaks) == 0
    assert view.depth_limits_um[0] < 0 < 380 < view.depth_limits_um[1]


def test_motions_of_shanks_that_the_probe_lacks_are_not_shown(tmp_path, facts):
    one_shank = replace(facts, geometry=Geometry(facts.geometry.positions_um, np.zeros(20, np.int64)))
    view = view_of(write(tmp_path / "one", one_shank, 10), Reporter())
    assert list(view.motions) == [0]


def test_names_come_from_what_run_json_tells(folder):
    outputs = {
        "peaks.h5": {"verb": "detect", "recording": {"files": [{"name": "rec.ap.bin"}, {"name": "b"}]}},
        "corrected.bin": {"verb": "apply", "corrected": False},
        "report.html": {"verb": "plot"},
    }
    (folder / "run.json").write_text(json.dumps({"format": "driftcli run", "outputs": outputs}))
    view = view_of(folder, Reporter())
    assert view.name == "rec.ap.bin and 1 more"
    assert view.corrections == {"corrected.bin": "left as it was"}
    assert set(view.facts) == {"peaks.h5", "corrected.bin"}


def test_what_is_missing_is_told_with_what_to_try(tmp_path, facts):
    with pytest.raises(InputError, match="is not a folder"):
        view_of(tmp_path / "nowhere", Reporter())
    with pytest.raises(InputError, match=r"no peaks\.h5"):
        view_of(tmp_path, Reporter())
    folder = write(tmp_path / "no_x", facts, 10, locations=("y_um",))
    with pytest.raises(InputError, match="has no column x_um"):
        view_of(folder, Reporter())
    (folder / "motion.h5").unlink()
    with pytest.raises(InputError, match=r"no motion\.h5") as told:
        view_of(folder, Reporter())
    assert "driftcli estimate" in told.value.hint


def test_an_assessment_is_shown_if_it_is_of_this_motion(folder, reporter):
    found = made_up_view.assessment(dict.fromkeys((0, 1), MOTION))
    empty = np.full((50, 1), np.nan)
    shanks = {shank: replace(each, error_um=empty + 1, residual_um=empty) for shank, each in found.shanks.items()}
    found = replace(found, shanks=shanks)
    settings, motions = presets.load("rigid_fast"), {0: MOTION, 1: MOTION}
    digest = checksum_of(folder / "motion.h5")["sha256"]
    write_assessment(folder / "assessment.h5", found, motions, settings, digest)
    shown = view_of(folder, reporter).assessment
    assert (shown.verdict, shown.reasons, list(shown.shanks)) == (found.verdict, found.reasons, [0, 1])
    assert not reporter.messages
    write_assessment(folder / "assessment.h5", found, motions, settings, "0" * 64)
    assert view_of(folder, reporter).assessment is None
    assert "is of another motion and not shown" in reporter.messages[0]


def log(folder, **outputs):
    named = {name.replace("_", "."): facts for name, facts in outputs.items()}
    (folder / "run.json").write_text(json.dumps({"format": "driftcli run", "outputs": named}))


def digest_of(path):
    return checksum_of(path)["sha256"]


def applied(digest=None, **facts):
    return {
        "verb": "apply",
        "inputs": {"motion": {"path": "motion.h5"} | ({"sha256": digest} if digest else {})},
    } | facts


def test_by_which_motion_a_recording_was_corrected(folder, reporter):
    this = digest_of(folder / "motion.h5")
    log(folder, a_bin=applied(this), b_bin=applied("0" * 64), c_bin=applied(), d_bin=applied(this, corrected=False))
    view = view_of(folder, reporter)
    assert view.corrections == {
        "a.bin": "this motion",
        "b.bin": "another motion",
        "c.bin": "unknown motion",
        "d.bin": "left as it was",
    }
    (told,) = reporter.messages
    assert told == f"{folder / 'b.bin'} was made with another motion: driftcli apply … --overwrite"


@pytest.mark.parametrize(("peaks", "motion", "is_told"), [("", "", False), ("0", "", True), ("0", "0", False)])
def test_a_motion_of_other_peaks_is_told_where_run_json_knows_it(folder, reporter, peaks, motion, is_told):
    """Of a motion that isn't the one that `run.json` tells of, nothing is known."""
    facts = {
        "verb": "estimate",
        "inputs": {"peaks": {"sha256": peaks or digest_of(folder / "peaks.h5")}},
        "checksums": {"motion.h5": {"sha256": motion or digest_of(folder / "motion.h5")}},
    }
    log(folder, motion_h5=facts)
    assert view_of(folder, reporter).other_peaks == is_told
    assert any("was estimated from other peaks" in message for message in reporter.messages) == is_told
