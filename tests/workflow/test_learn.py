"""Footprints for apply: which peaks they are learned from, and what is seen around these."""

from dataclasses import replace

import numpy as np
import pytest

import small_recording
from driftcli import presets
from driftcli.errors import InputError, OutputError, UsageError
from driftcli.mask.spans import contains, union
from driftcli.model import CONTACT_LABELS, GOOD, Motion
from driftcli.recording.facts import facts_of
from driftcli.recording.open import open_recording
from driftcli.reporter import Reporter
from driftcli.store.motion import write_motion
from driftcli.store.peaks import read_peaks
from driftcli.workflow import learn as learning
from driftcli.workflow.apply import apply
from driftcli.workflow.detect import detect
from driftcli.workflow.work import Work

PLAIN = ["filter.method=none", "reference.method=none", "bad_channels.method=none"]
FITTED = ["interpolate.method=fitted_gaussian_process", "interpolate.time=linear"]
BAD = 11
MOTION = Motion(np.array([[-9.0, -3.0], [8.0, 12.0]]), np.array([0.4, 2.4]), np.array([40.0, 200.0]))
GAIN = small_recording.GAIN_TO_UV


@pytest.fixture(scope="module")
def found(tmp_path_factory, drifting):
    """The folder of a recording without slow waves and offsets, so that nothing need be filtered, with peaks.h5."""
    folder = tmp_path_factory.mktemp("found")
    data = drifting - np.median(drifting, axis=0)
    small_recording.write(folder, np.rint(data - np.median(data, axis=1)[:, None]).astype("<i2"))
    settings = presets.load("rigid_fast", [*PLAIN, "detect.detect_threshold=6", "mask.method=none"])
    detect(opened(folder), settings, folder / "peaks.h5", Work(), exclude_times="1.1-1.3")
    return folder


def opened(folder, **how):
    return open_recording(folder / "rec.bin", probe=folder / "rec.json", gain_to_uv=GAIN, reporter=Reporter(), **how)


def settings_of(changes=()):
    return presets.load("rigid_fast", [*PLAIN, *FITTED, *changes])


def labels_of(recording):
    labels = np.full(len(recording.geometry), GOOD, np.uint8)
    labels[BAD] = CONTACT_LABELS.index("noisy")
    return labels


@pytest.fixture
def seen(monkeypatch):
    """What groups are made of, whenever some are."""
    calls = []
    group = learning.groups.group

    def listening(*arguments):
        calls.append(arguments)
        return group(*arguments)

    monkeypatch.setattr(learning.groups, "group", listening)
    return calls


def learned(folder, recording=None, motion=MOTION, jobs=2, begins_at=0, reporter=None):
    recording = recording or opened(folder)
    context = (recording, folder / "peaks.h5", {0: motion}, settings_of(), labels_of(recording))
    return learning.learn(*context, Work(jobs=jobs, reporter=reporter or Reporter()), begins_at=begins_at)


def by_chance(sample, channel):
    """SplitMix64's mixing of one number."""
    number = (int(sample) * 0x9E3779B97F4A7C15 + int(channel)) % 2**64
    number = (number ^ (number >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    number = (number ^ (number >> 27)) * 0x94D049BB133111EB % 2**64
    return number ^ (number >> 31)


def moved_at(file, row, later):
    """Displacement where and when a peak is; later: samples that the peaks begin after the motion."""
    time_s = (file.peaks.sample_index[row] + later) / small_recording.RATE_HZ
    return float(MOTION.at(time_s, float(file.peaks.location["y_um"][row])))


def drawn(file, most, blocks=((0, 1 << 60),), later=0):
    """Rows of the peaks that are to be drawn, in plain words."""
    cells = {}
    for row in range(len(file)):
        sample, channel = file.peaks.sample_index[row], file.peaks.channel_index[row]
        masked = contains(union(file.mask), [sample])[0]
        if channel == BAD or masked or not any(start <= sample < stop for start, stop in blocks):
            continue
        corrected = float(file.peaks.location["y_um"][row]) - moved_at(file, row, later)
        cells.setdefault(np.floor(corrected / 10), []).append((by_chance(sample, channel), row))
    return sorted(row for cell in cells.values() for _, row in sorted(cell)[:most])


def unit_of(file, rows):
    noise_uv = np.sqrt(np.mean(np.delete(file.noise_levels, BAD) ** 2))
    return max(noise_uv / 50, np.abs(file.amplitude[rows]).max() / 32_000)


def test_peaks_are_drawn_by_depth_and_seen_as_they_are(found, seen, monkeypatch):
    monkeypatch.setattr(learning, "PEAKS_A_DEPTH", 7)
    _, facts = learned(found)
    ((snippets, contacts, positions_um, places_um, moved_um, _, _),) = seen
    file = read_peaks(found / "peaks.h5")
    rows = drawn(file, 7)
    assert len(file.mask.starts)
    assert facts["0"]["peaks"] == len(rows) < len(file)
    where = np.column_stack([file.peaks.location["x_um"], file.peaks.location["y_um"]])[rows].astype(float)
    moved = [moved_at(file, row, 0) for row in rows]
    np.testing.assert_allclose(moved_um, moved)
    np.testing.assert_allclose(places_um, where - np.column_stack([np.zeros(len(rows)), moved]))
    recording = opened(found)
    good = np.delete(np.arange(24), BAD)
    np.testing.assert_array_equal(positions_um, recording.geometry.positions_um[good])
    unit_uv = unit_of(file, rows)
    data = np.fromfile(found / "rec.bin", "<i2").reshape(-1, 24) * GAIN
    for index in range(0, len(rows), 5):
        sample = file.peaks.sample_index[rows[index]]
        near = np.flatnonzero(np.hypot(*(positions_um - where[index]).T) <= 130)
        np.testing.assert_array_equal(contacts[index][contacts[index] >= 0], near)
        times = sample + np.arange(-20, 36, 2)
        times = times[times < len(data)]
        got = snippets[index, : len(times), : len(near)] * unit_uv
        np.testing.assert_allclose(got, data[times][:, good[near]], atol=0.51 * unit_uv)


def test_few_blocks_are_spread_over_the_recording(found, seen, monkeypatch):
    monkeypatch.setattr(learning, "MOST_BLOCKS", 2)
    learned(found)
    file = read_peaks(found / "peaks.h5")
    rows = drawn(file, 200, [(16_384, 32_768), (4 * 16_384, 5 * 16_384)])
    assert len(seen[0][0]) == len(rows) > 50


@pytest.mark.parametrize("begins_at", [30_000, 12_000])
def test_a_span_of_the_recording_sees_its_own_peaks(found, seen, begins_at):
    """The snippet of each peak holds its amplitude, ten steps from its beginning. The motion may be of a span, too."""
    learned(found, opened(found, start_s=1.0, end_s=2.5), begins_at=begins_at)
    snippets, contacts, _, _, moved_um, *_ = seen[0]
    file = read_peaks(found / "peaks.h5")
    rows = drawn(file, 200, [(30_000, 75_000)], begins_at - 30_000)
    assert len(rows) > 50
    np.testing.assert_allclose(moved_um, [moved_at(file, row, begins_at - 30_000) for row in rows])
    good = np.delete(np.arange(24), BAD)
    unit_uv = unit_of(file, rows)
    for snippet, around, row in zip(snippets, contacts, rows, strict=True):
        (slot,) = np.flatnonzero((around >= 0) & (good[around] == file.peaks.channel_index[row]))
        assert abs(snippet[10, slot] * unit_uv - file.amplitude[row]) <= 0.51 * unit_uv


def test_threads_change_nothing(found):
    one, four = (learned(found, jobs=jobs)[0][0] for jobs in (1, 4))
    assert one.displaced.tobytes() == four.displaced.tobytes()
    assert one.resting.tobytes() == four.resting.tobytes()
    assert one.displaced.any()


def test_shanks_that_stand_still_or_are_dense_have_no_footprints(found, seen, monkeypatch, reporter):
    still = Motion(np.zeros((1, 1)), np.zeros(1), np.zeros(1))
    assert learned(found, motion=still, reporter=reporter) == ({}, {})
    assert not reporter.messages
    monkeypatch.setattr(learning.local, "MOST_CONTACTS", 12)
    assert learned(found, reporter=reporter) == ({}, {})
    assert [text for text in reporter.messages if "1 shank with more than 12 contacts within 110 µm" in text]
    assert not seen


def test_few_peaks_are_told(found, monkeypatch, reporter):
    monkeypatch.setattr(learning, "PEAKS_A_DEPTH", 1)
    _, facts = learned(found, motion=Motion(np.full((1, 1), 9.0), np.zeros(1), np.zeros(1)), reporter=reporter)
    assert facts["0"]["groups"] == 0
    assert [text for text in reporter.messages if "too few peaks on shank 0" in text]


def test_displacements_far_beyond_all_others_are_left_out(found, seen):
    far = Motion(np.array([[0.0], [5.0], [400.0]]), np.array([0.1, 1.5, 2.8]), np.zeros(1))
    footprints, _ = learned(found, motion=far)
    assert np.abs(seen[0][4]).max() <= 120
    assert len(footprints[0].displaced) <= 31


def test_peaks_of_another_recording_are_refused(found, tmp_path):
    louder = replace(opened(found), gain_to_uv=np.full(24, 2 * GAIN))
    with pytest.raises(InputError, match="another gain"):
        learned(found, louder)
    slower = opened(found, sampling_frequency_hz=25_000.0)
    with pytest.raises(InputError, match="sampling frequency"):
        learned(found, slower)
    binary, probe = small_recording.write(tmp_path, np.zeros((90_000, 24), "<i2"))
    longer = open_recording(binary, probe=probe, reporter=Reporter())
    with pytest.raises(InputError, match="samples 0 to 87001"):
        learned(found, longer)
    places = small_recording.positions_um(24) + 5
    binary, probe = small_recording.write(tmp_path, np.zeros((80_000, 24), "<i2"), places=places)
    moved = open_recording(binary, probe=probe, reporter=Reporter())
    with pytest.raises(InputError, match="the peaks were found on a probe with other contact"):
        learned(found, moved)


def applied(found, folder, name, method, reporter, resume=False, **options):
    settings = presets.load("rigid_fast", [*PLAIN, f"interpolate.method={method}", "interpolate.time=linear"])
    out = folder / f"{name}.bin"
    apply(opened(found), folder / "motion.h5", settings, out, Work(reporter=reporter, resume=resume), **options)
    return out.read_bytes()


def test_apply_takes_the_peaks_beside_the_motion_or_those_it_is_given(found, tmp_path, reporter):
    recording = opened(found)
    write_motion(tmp_path / "motion.h5", {0: MOTION}, recording.duration_s, facts_of(recording), settings_of())
    plain = applied(found, tmp_path, "plain", "gaussian_process", reporter)
    assert not reporter.messages
    assert applied(found, tmp_path, "none", "fitted_gaussian_process", reporter) == plain
    assert [text for text in reporter.messages if "no peaks.h5 beside motion.h5" in text]
    given = applied(found, tmp_path, "given", "fitted_gaussian_process", reporter, peaks_path=found / "peaks.h5")
    assert given != plain
    (tmp_path / "peaks.h5").write_bytes((found / "peaks.h5").read_bytes())
    assert applied(found, tmp_path, "beside", "fitted_gaussian_process", reporter) == given
    (tmp_path / "peaks.h5").unlink()
    with pytest.raises(OutputError, match="there is no longer an input peaks"):
        applied(found, tmp_path, "beside", "fitted_gaussian_process", reporter, resume=True)
    with pytest.raises(UsageError, match="not fitted to peaks"):
        applied(found, tmp_path, "kriging", "kriging", reporter, peaks_path=found / "peaks.h5")
