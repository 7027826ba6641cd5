"""Contacts with something wrong, in simulated recordings whose signal without it is known."""

from dataclasses import replace

import known_recordings as known
import numpy as np
import pytest
from probeinterface import read_probeinterface
from scipy.ndimage import uniform_filter1d

from driftcli import presets
from driftcli.model import CONTACT_LABELS, GOOD, Motion
from driftcli.recording.facts import facts_of
from driftcli.recording.given_bad import with_bad_channels
from driftcli.reporter import Reporter
from driftcli.store.motion import read_motion, write_motion
from driftcli.store.peaks import read_peaks
from driftcli.workflow.apply import apply
from driftcli.workflow.detect import detect
from driftcli.workflow.estimate import estimate
from driftcli.workflow.work import Work

DEAD, NOISY, OUTSIDE, REFERENCE, EXCLUDED = (
    CONTACT_LABELS.index(each) for each in ("dead", "noisy", "out_of_brain", "reference", "excluded")
)
WRONG = {5: DEAD, 17: NOISY, 22: REFERENCE, 30: EXCLUDED}  # contact: what is wrong with it
OTHERS = np.setdiff1d(np.arange(40), list(WRONG))
DURATION_S = 6.0
PRESET = ("rigid_fast", ["estimate.bin_s=1.0"])
WAYS = ("interpolate", "keep", "zero")


@pytest.fixture(scope="module")
def simulated():
    """Little noise: what neighbours say of a contact is what it would say itself."""
    return known.simulated(
        8, num_channels=40, num_units=60, duration_s=DURATION_S, drift_um=15.0, period_s=8.0, noise_uv=4.0
    )


def spoilt(samples, seed=0, level=0):
    """The same with a contact stuck at a level, one with noise up high, and two that others must not hear of."""
    rng, changed = np.random.default_rng(seed), samples.copy()
    changed[:, 5] = level
    for contact, sigma in ((17, 2000), (22, 300), (30, 700)):
        changed[:, contact] = rng.normal(0, sigma, len(samples))
    return changed


def labelled(recording):
    """What the meta and the user say: a reference and a contact to leave out."""
    labels = np.zeros(len(recording.geometry), np.uint8)
    labels[22] = REFERENCE
    return with_bad_channels(replace(recording, labels=labels), "30")


def of_spoilt(folder, simulated, seed=0, level=0):
    simulation, samples = simulated
    return labelled(known.opened(folder, spoilt(samples, seed, level), simulation.positions_um))


def settings_of(*changes):
    return presets.load(PRESET[0], [*PRESET[1], *changes])


def moving(displacement_um):
    return {0: Motion(np.array(displacement_um, float)[:, None], np.arange(len(displacement_um)) + 0.5, np.zeros(1))}


def corrected(recording, motions, *changes, labels=None, reporter=None):
    """(facts of `apply`, corrected samples) along a motion; labels: those that its file carries."""
    folder, settings = recording.path.parent, settings_of(*changes)
    facts = replace(facts_of(recording), labels=labels)
    write_motion(folder / "made.h5", motions, recording.duration_s, facts, settings)
    work = Work(jobs=2, overwrite=True, reporter=reporter or Reporter())
    done = apply(recording, folder / "made.h5", settings, folder / "out.bin", work)
    return done, np.fromfile(folder / "out.bin", "<i2").reshape(recording.num_samples, -1)


def likeness(trace, truth):
    """(correlation, slope) of a trace over the true one where that one is a spike, both less their slow potentials."""
    fast, true = (each - uniform_filter1d(each.astype(float), 90) for each in (trace, truth))
    spikes = np.abs(true) > 7 * np.median(np.abs(true))
    return np.corrcoef(fast[spikes], true[spikes])[0, 1], np.polyfit(true[spikes], fast[spikes], 1)[0]


def test_labels_travel_from_detect_to_apply(tmp_path, simulated, reporter):
    recording, settings, work = of_spoilt(tmp_path, simulated), settings_of(), Work(jobs=2, reporter=reporter)
    detect(recording, settings, tmp_path / "peaks.h5", work)
    file = read_peaks(tmp_path / "peaks.h5")
    assert {int(i): int(file.facts.labels[i]) for i in np.flatnonzero(file.facts.labels)} == WRONG
    assert np.flatnonzero(np.isnan(file.noise_levels)).tolist() == sorted(WRONG)
    assert not set(file.peaks.channel_index.tolist()) & set(WRONG)
    assert len(set(file.peaks.channel_index.tolist())) > 20
    told = "not used: 1 dead (channel 5), 1 noisy (channel 17), 1 reference (channel 22), 1 excluded (channel 30)"
    assert told in reporter.messages
    estimate(tmp_path / "peaks.h5", settings, tmp_path / "motion.h5", work)
    np.testing.assert_array_equal(read_motion(tmp_path / "motion.h5").facts.labels, file.facts.labels)
    # the recording alone says nothing of these, and has nothing wrong: what apply knows came with the motion
    simulation, samples = simulated
    clean = known.opened(tmp_path / "clean", samples, simulation.positions_um)
    done = apply(clean, tmp_path / "motion.h5", settings, tmp_path / "out.bin", work)
    assert done["bad_channels"] == {"dead": [5], "noisy": [17], "reference": [22], "excluded": [30]}


def test_labels_are_found_anew_where_none_come_or_others_are_asked_for(tmp_path, simulated, reporter):
    recording = of_spoilt(tmp_path, simulated)
    every = {"dead": [5], "noisy": [17], "reference": [22], "excluded": [30]}
    done, _ = corrected(recording, moving([0, 5]), reporter=reporter)
    assert done["bad_channels"] == every
    assert sum(message.startswith("not used: 1 dead (channel 5)") for message in reporter.messages) == 1
    carried = np.zeros(40, np.uint8)
    carried[[3, 9]] = DEAD, EXCLUDED
    done, _ = corrected(recording, moving([0, 5]), labels=carried, reporter=reporter)
    assert done["bad_channels"] == {"dead": [3], "reference": [22], "excluded": [9, 30]}
    assert not any("dead (channel 3)" in message for message in reporter.messages)  # detect has told
    # carried labels were found with the settings of the motion's file: others find others, what was said stays
    folder = recording.path.parent
    for changes, found in (
        (["bad_channels.method=none"], {}),
        (["bad_channels.highpass_hz=400"], {"dead": [5], "noisy": [17]}),
    ):
        work = Work(jobs=2, overwrite=True)
        done = apply(recording, folder / "made.h5", settings_of(*changes), folder / "out.bin", work)
        assert done["bad_channels"] == {**found, "reference": [22], "excluded": [9, 30]}


def test_peaks_do_not_depend_on_bad_contacts(tmp_path, simulated):
    """Neither the reference nor the noise, the mask, a place or an amplitude: not a byte of the file."""
    files = []
    for seed, level in ((0, 0), (1, 1234)):
        recording = of_spoilt(tmp_path / str(seed), simulated, seed, level)
        detect(recording, settings_of(), recording.path.with_name("peaks.h5"), Work(jobs=2))
        files.append(recording.path.with_name("peaks.h5").read_bytes())
    assert files[0] == files[1]


def test_without_labels_a_noisy_contact_does_harm(tmp_path, simulated):
    """That the tests around this one can fail."""
    simulation, samples = simulated
    settings = settings_of("bad_channels.method=none")
    peaks = []
    for seed in (0, 1):
        recording = known.opened(tmp_path / str(seed), spoilt(samples, seed), simulation.positions_um)
        detect(recording, settings, recording.path.with_name("peaks.h5"), Work(jobs=2))
        peaks.append(read_peaks(recording.path.with_name("peaks.h5")).peaks)
    on_others = [np.isin(each.channel_index, OTHERS) for each in peaks]
    assert not np.array_equal(*(each.amplitude[here] for each, here in zip(peaks, on_others, strict=True)))


@pytest.mark.parametrize("signal", ["preprocessed", "raw"])
@pytest.mark.parametrize("way", WAYS)
def test_good_contacts_do_not_hear_of_bad_ones(tmp_path, simulated, way, signal):
    changes = [f"interpolate.bad_channels={way}", f"apply.signal={signal}"]
    motions = moving([0.0, 7, -12, 3, 20, -4])
    outs = []
    for seed, level in ((0, 0), (1, 32767)):
        recording = of_spoilt(tmp_path / str(seed), simulated, seed, level)
        done, out = corrected(recording, motions, *changes)
        assert done["bad_channels"] == {"dead": [5], "noisy": [17], "reference": [22], "excluded": [30]}
        outs.append(out)
    assert outs[0][:, OTHERS].tobytes() == outs[1][:, OTHERS].tobytes()
    bad_alike = [outs[0][:, contact].tobytes() == outs[1][:, contact].tobytes() for contact in WRONG]
    assert all(bad_alike) == (way != "keep")


@pytest.mark.parametrize("signal", ["preprocessed", "raw"])
@pytest.mark.parametrize("displacement_um", [0.0, 6.0])
def test_interpolated_ones_are_like_what_they_would_have_been(tmp_path, simulated, displacement_um, signal):
    simulation, samples = simulated
    changes = [f"apply.signal={signal}"]
    motions = moving([displacement_um, displacement_um])
    clean = known.opened(tmp_path / "clean", samples, simulation.positions_um)
    _, truth = corrected(clean, motions, *changes, labels=np.zeros(40, np.uint8))
    _, out = corrected(of_spoilt(tmp_path / "spoilt", simulated, level=32767), motions, *changes)
    for contact in WRONG:
        alike, slope = likeness(out[:, contact], truth[:, contact])
        assert alike > 0.9
        assert 0.8 < slope < 1.3
        assert likeness(out[:, contact], truth[:, (contact + 20) % 40])[0] < 0.3
        assert np.abs(out[:, contact]).max() < 1000  # nothing is left of the level that it was stuck at
    depths = simulation.positions_um[:, 1]
    far = [contact for contact in OTHERS if np.abs(depths[contact] - depths[list(WRONG)]).min() > 30]
    assert len(far) == 16
    assert min(likeness(out[:, contact], truth[:, contact])[0] for contact in far) > 0.998


def test_kept_ones_have_the_signal_of_the_file(tmp_path, simulated):
    recording = of_spoilt(tmp_path, simulated)
    samples = recording.read(0, recording.num_samples)
    motions = moving([9.0, -9.0])
    bad = list(WRONG)
    _, raw = corrected(recording, motions, "interpolate.bad_channels=keep", "apply.signal=raw")
    np.testing.assert_array_equal(raw[:, bad], samples[:, bad])
    _, one = corrected(recording, motions, "interpolate.bad_channels=keep")
    _, other = corrected(recording, moving([0.0]), "interpolate.bad_channels=keep")
    np.testing.assert_array_equal(one[:, bad], other[:, bad])  # preprocessed, but never moved
    in_band = np.sqrt((6000 - 300) / 15_000)  # of the white noise that contact 30 holds
    assert np.corrcoef(one[:, 30], samples[:, 30])[0, 1] == pytest.approx(in_band, abs=0.05)
    assert (one[:, OTHERS] != other[:, OTHERS]).any()


@pytest.mark.parametrize("signal", ["preprocessed", "raw"])
def test_zeros_are_zeros(tmp_path, simulated, signal):
    recording = of_spoilt(tmp_path, simulated, level=900)
    changes = ["interpolate.bad_channels=zero", f"apply.signal={signal}"]
    _, out = corrected(recording, moving([5.0]), *changes)
    assert not out[:, list(WRONG)].any()
    assert out[:, OTHERS].any(axis=0).all()


@pytest.mark.parametrize("signal", ["preprocessed", "raw"])
def test_contacts_out_of_the_brain_are_zero_where_others_are_interpolated(tmp_path, simulated, signal):
    recording = of_spoilt(tmp_path, simulated)
    labels = recording.labels.copy()
    labels[35:] = OUTSIDE
    _, out = corrected(replace(recording, labels=labels), moving([5.0]), f"apply.signal={signal}")
    assert not out[:, 35:].any()
    assert out[:, :35].any(axis=0).all()


def test_raw_signals_of_bad_contacts_are_interpolated_even_without_motion(tmp_path, simulated):
    recording = of_spoilt(tmp_path, simulated)
    samples = recording.read(0, recording.num_samples)
    outs = {
        way: corrected(recording, moving([0.0]), f"interpolate.bad_channels={way}", "apply.signal=raw")[1]
        for way in WAYS
    }
    assert outs["keep"].tobytes() == samples.tobytes()
    assert not outs["zero"][:, list(WRONG)].any()
    for way in ("interpolate", "zero"):
        assert np.abs(outs[way][:, OTHERS].astype(int) - samples[:, OTHERS]).max() <= 1
    assert (outs["interpolate"][:, list(WRONG)] != samples[:, list(WRONG)]).mean(axis=0).min() > 0.9


@pytest.mark.parametrize("way", WAYS)
def test_removed_ones_leave_the_binary_and_the_probe(tmp_path, simulated, way):
    """Rows are 20 µm apart and the top row is bad: with 15 µm up, the row below it can't be told either."""
    simulation, samples = simulated
    labels = np.zeros(40, np.uint8)
    labels[[10, 38, 39]] = EXCLUDED
    recording = replace(known.opened(tmp_path, samples, simulation.positions_um), labels=labels)
    changes = [f"interpolate.bad_channels={way}", "interpolate.border_mode=remove_channels", "apply.signal=raw"]
    done, out = corrected(recording, moving([15.0]), *changes)
    depths = simulation.positions_um[:, 1]
    good_top = depths[labels == GOOD].max()
    kept = np.flatnonzero((depths + 15 <= good_top) | ((labels > 0) & (way == "keep")))
    assert done["counts"]["removed_contacts"] == 40 - len(kept)
    assert len(kept) == (38 if way == "keep" else 36)
    assert out.shape[1] == len(kept)
    (probe,) = read_probeinterface(tmp_path / "out.probe.json").probes
    np.testing.assert_array_equal(probe.contact_positions, simulation.positions_um[kept])
    of_bad = out[:, kept.tolist().index(10)]
    if way == "interpolate":
        assert likeness(of_bad, samples[:, 10])[0] > 0.5  # 15 µm further up
    else:
        np.testing.assert_array_equal(of_bad, samples[:, 10] if way == "keep" else 0)
