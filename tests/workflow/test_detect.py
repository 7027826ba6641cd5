"""detect: selection in two passes, shuffled columns, silent contacts, units."""

import numpy as np
import pytest

import small_recording
from driftcli import presets
from driftcli.errors import InputError
from driftcli.model import CONTACT_LABELS, GOOD
from driftcli.recording.open import open_recording
from driftcli.reporter import Reporter
from driftcli.store.peaks import read_peaks
from driftcli.workflow.detect import detect
from driftcli.workflow.work import Work


def as_set(peaks, digits=2):
    columns = (peaks.sample_index, peaks.channel_index, peaks.location["y_um"].round(digits))
    return set(zip(*(column.tolist() for column in columns), strict=True))


def test_columns_may_come_in_any_order_with_unconnected_ones(drifting, run_verbs):
    """Contact i lies on column order[i] of a file with two columns more; one contact of the probe has none."""
    rng = np.random.default_rng(5)
    contacts = drifting.shape[1]
    order = rng.permutation(contacts + 2)[:contacts]
    shuffled = rng.integers(-3000, 3000, (len(drifting), contacts + 2)).astype("<i2")
    shuffled[:, order] = drifting
    places = small_recording.positions_um(contacts)
    plain = run_verbs(drifting, "plain", places=places)
    places = np.insert(places, 7, [500.0, 500.0], axis=0)
    columns = np.insert(order, 7, -1)
    other = run_verbs(shuffled, "shuffled", places=places, columns=columns)
    ours, theirs = read_peaks(plain / "peaks.h5").peaks, read_peaks(other / "peaks.h5").peaks
    np.testing.assert_array_equal(ours.sample_index, theirs.sample_index)
    np.testing.assert_array_equal(ours.channel_index, theirs.channel_index)
    np.testing.assert_array_equal(ours.amplitude, theirs.amplitude)
    np.testing.assert_array_equal(ours.location["y_um"], theirs.location["y_um"])
    corrected = np.fromfile(plain / "corrected.bin", "<i2").reshape(drifting.shape)
    permuted = np.fromfile(other / "corrected.bin", "<i2").reshape(shuffled.shape)
    np.testing.assert_array_equal(permuted[:, order], corrected)
    unconnected = np.setdiff1d(np.arange(contacts + 2), order)
    np.testing.assert_array_equal(permuted[:, unconnected], shuffled[:, unconnected])


def test_selected_peaks_are_located_as_all_are(drifting, run_verbs):
    every = read_peaks(run_verbs(drifting, "all") / "peaks.h5").peaks
    chosen = read_peaks(
        run_verbs(drifting, "some", changes=["select.method=uniform", "select.n_peaks=200"]) / "peaks.h5"
    ).peaks
    assert 100 < len(chosen) < len(every)
    assert as_set(chosen) <= as_set(every)


def test_silent_contacts_hold_no_peaks_and_are_told(drifting, run_verbs, reporter):
    dead = drifting.copy()
    dead[:, [3, 9]] = 0
    changes = ["reference.method=none", "bad_channels.method=none"]
    peaks = read_peaks(run_verbs(dead, "dead", changes=changes, reporter=reporter) / "peaks.h5").peaks
    assert not set(peaks.channel_index.tolist()) & {3, 9}
    assert any("silent" in message and "3, 9" in message for message in reporter.messages)


def test_dead_contacts_are_found_told_and_not_used(drifting, run_verbs, reporter):
    dead = drifting.copy()
    dead[:, [3, 9]] = 0
    file = read_peaks(run_verbs(dead, "dead", reporter=reporter) / "peaks.h5")
    assert np.flatnonzero(file.facts.labels).tolist() == [3, 9]
    assert set(file.facts.labels.tolist()) == {GOOD, CONTACT_LABELS.index("dead")}
    assert np.flatnonzero(np.isnan(file.noise_levels)).tolist() == [3, 9]
    assert not set(file.peaks.channel_index.tolist()) & {3, 9}
    assert set(file.peaks.channel_index.tolist()) - set(range(12))  # indices are those of all contacts
    assert "not used: 2 dead (channels 3, 9)" in reporter.messages


def test_opposite_signs_are_told(drifting, run_verbs, reporter):
    changes = ["localize.method=grid_convolution", "localize.peak_sign=pos"]
    run_verbs(drifting, "rec", changes=changes, reporter=reporter)
    assert any("peak_sign" in message for message in reporter.messages)


def test_amplitudes_are_in_microvolts(drifting, run_verbs):
    file = read_peaks(run_verbs(drifting, "rec") / "peaks.h5")
    assert file.facts.amplitude_unit == "uV"
    noise_counts = 4.0 * np.sqrt((6000 - 300) / 15_000)  # white noise of 4 counts, less what the band-pass takes
    np.testing.assert_allclose(np.median(file.noise_levels), noise_counts * small_recording.GAIN_TO_UV, rtol=0.1)
    assert file.peaks.amplitude.max() < -6 * file.noise_levels.min()


def test_peaks_that_are_all_masked_are_not_blamed_on_the_threshold(drifting, tmp_path):
    binary, probe = small_recording.write(tmp_path, drifting)
    recording = open_recording(binary, probe=probe, reporter=Reporter())
    settings = presets.load("rigid_fast", ["select.method=uniform"])
    with pytest.raises(InputError, match=r"all of the [\d,]+ peaks lie in times that are left out") as refused:
        detect(recording, settings, tmp_path / "peaks.h5", Work(jobs=1), exclude_times="0-")
    assert "threshold" not in refused.value.hint
    assert not (tmp_path / "peaks.h5").exists()
