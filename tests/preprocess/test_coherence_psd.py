import warnings

import numpy as np
import pytest
from pydantic import ValidationError

import small_recording
from driftcli.errors import UsageError
from driftcli.model import CONTACT_LABELS, Geometry
from driftcli.preprocess import coherence_psd
from driftcli.preprocess.coherence_psd import Finder, Parameters, median_filter, shared_coherence, vote
from driftcli.preprocess.noise import noise_slices
from driftcli.simulate.simulate import SimulateParameters, Simulation
from oracles import bad_channels as oracle

RATE = 30000.0
GOOD, DEAD, NOISY, OUT = range(4)


def probe(contacts, shanks=1):
    index = np.arange(contacts)
    positions = np.column_stack([32.0 * (index % 2), 20.0 * (index // 2)])
    return Geometry(positions, index * shanks // contacts)


def insertion(samples=15_000, contacts=96, outside=20, dead=(), noisy=(), loud=(), weak=1.0, seed=0, rate=RATE):
    """Traces (S, C) in µV as of a probe that is partly in the brain, with some bad contacts.

    Slow potentials change with depth and reach beyond the surface; noise of the reference is common to what is in the
    brain; each contact has an offset, a drift and noise of its own. weak: of the slow potentials.
    """
    rng = np.random.default_rng(seed)
    time_s = np.arange(samples) / rate
    depth = np.linspace(0, 1, contacts)
    inside = np.arange(contacts) < contacts - outside
    traces = rng.normal(0, 5, (samples, contacts))
    for hz in (3.0, 8.0, 21.0, 60.0):
        amplitude = weak * 120 / np.sqrt(hz) * (0.8 + 0.4 * depth) * np.where(inside, 1.0, 0.6)
        traces += amplitude * np.sin(2 * np.pi * hz * time_s[:, None] + rng.uniform(0, 6) + 0.4 * depth)
    traces += 6 * rng.normal(0, 1, (samples, 1)) * inside
    traces[:, list(loud)] *= 3
    traces[:, list(dead)] = rng.normal(0, 1, (samples, len(dead)))
    traces[:, list(noisy)] += rng.normal(0, 40, (samples, len(noisy)))
    traces += rng.normal(0, 300, contacts) + rng.normal(0, 10, contacts) * time_s[:, None]
    return traces.astype(np.float32)


BAD = {"dead": (10, 47), "noisy": (25, 30), "loud": (60,)}
EXPECTED = np.full(96, GOOD)
EXPECTED[[*BAD["dead"]]], EXPECTED[[*BAD["noisy"], *BAD["loud"]]], EXPECTED[76:] = DEAD, NOISY, OUT


def labels(traces, geometry=None, rate=RATE, gain_known=True, **parameters):
    geometry = geometry or probe(traces.shape[1])
    return Finder(Parameters(**parameters), geometry, rate, gain_known)(traces)


def whole(traces, geometry, gain_known=True, **parameters):
    """The vote over slices of a recording, as it is run."""
    finder = Finder(Parameters(**parameters), geometry, RATE, gain_known)
    return vote(np.stack([finder(traces[start:stop]) for start, stop in noise_slices(len(traces), RATE)]))


def test_the_labels_have_the_order_of_the_model():
    assert CONTACT_LABELS[:4] == ("good", "dead", "noisy", "out_of_brain")


@pytest.mark.parametrize("seed", range(4))
def test_bad_contacts_are_found(seed):
    got = labels(insertion(**BAD, seed=seed))
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, EXPECTED)


@pytest.mark.parametrize("contacts", [7, 8, 9, 12, 63, 64, 65, 96, 130])
@pytest.mark.parametrize("rate", [RATE, 20_000.0, 32_000.0, 5_000.0])
def test_features_are_those_of_the_oracle(contacts, rate):
    traces = insertion(round(0.2 * rate), contacts, outside=contacts // 5, rate=rate)
    every = max(int(rate / 7500), 1)
    raw = coherence_psd._without_line(traces[::every])
    np.testing.assert_allclose(raw, oracle.without_line(traces[::every]), atol=1e-3)
    finder = Finder(Parameters(), probe(contacts), rate, True)
    settled = finder._settled
    filtered = coherence_psd._highpassed(traces, finder._sections, settled, every)
    np.testing.assert_allclose(filtered, oracle.highpassed(traces, rate, 300.0)[settled::every], atol=0.01)
    for rows in (raw, filtered):
        coherence = shared_coherence(rows)
        assert (coherence is not None) == oracle.shares_a_signal(rows)
        if coherence is not None:
            np.testing.assert_allclose(coherence, oracle.coherence(rows), atol=1e-6)
        trend = median_filter(oracle.coherence(rows), 11)
        np.testing.assert_array_equal(trend, oracle.running_median(oracle.coherence(rows), 11))
    power = coherence_psd._power_up_high(traces, rate)
    np.testing.assert_allclose(power, oracle.power_up_high(traces, rate), rtol=1e-3)


def test_a_low_edge_is_filtered_in_float64():
    traces = insertion(30_000)
    finder = Finder(Parameters(highpass_hz=10.0), probe(96), RATE, True)
    got = coherence_psd._highpassed(traces, finder._sections, 9000, 4)
    np.testing.assert_allclose(got, oracle.highpassed(traces, RATE, 10.0)[9000::4], atol=1e-3)


def test_power_is_the_density_of_white_noise():
    noise = np.random.default_rng(0).normal(0, 9, (15_000, 64)).astype(np.float32)
    assert coherence_psd._power_up_high(noise, RATE).mean() == pytest.approx(81 / (RATE / 2), rel=0.05)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("outside", ["top", "bottom", "both"])
def test_labels_are_those_of_the_oracle(seed, outside):
    traces = insertion(6000, 96, **BAD, seed=seed)
    geometry = Geometry(probe(96).positions_um * [1, -1 if seed == 2 else 1], np.arange(96) % 2)
    got = labels(traces, geometry, outside=outside)
    wanted = oracle.label(traces, geometry.positions_um, geometry.shanks, RATE, outside=outside)
    assert len(set(wanted)) > 2
    np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize(("seed", "outside"), [(0, "top"), (1, "both")])
def test_labels_are_those_of_spikeinterface(seed, outside):
    core = pytest.importorskip("spikeinterface.core")
    preprocessing = pytest.importorskip("spikeinterface.preprocessing")
    traces, geometry = insertion(60_000, **BAD, seed=seed), probe(96)
    recording = core.NumpyRecording(traces, RATE)
    recording.set_channel_gains(1.0)
    recording.set_channel_offsets(0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        recording.set_channel_locations(geometry.positions_um)
        _, names = preprocessing.detect_bad_channels(
            recording,
            method="coherence+psd",
            outside_channels_location=outside,
            num_random_chunks=6,
            seed=0,
            job_kwargs={"n_jobs": 1},
        )
    wanted = [("good", "dead", "noise", "out").index(name) for name in names]
    np.testing.assert_array_equal(wanted, EXPECTED)
    np.testing.assert_array_equal(whole(traces, geometry, outside=outside), wanted)


@pytest.mark.parametrize("seed", range(6))
def test_contacts_that_are_bad_here_are_bad_for_the_ibl(seed):
    rng = np.random.default_rng(seed)
    some = rng.permutation(70)
    made = insertion(dead=some[:3], noisy=some[3:6], loud=some[6:9], weak=rng.uniform(0, 2), seed=seed)
    crowded = small_recording.samples(15_000, 32, seed).astype(np.float32)
    simulation = Simulation(SimulateParameters(duration_s=0.5, slow_uv=0.0, noise_uv=3.0 + 4 * seed, seed=seed))
    ours, theirs = zip(
        *((labels(t) > 0, oracle.bad_by_the_ibl(t, RATE)) for t in (made, crowded, simulation.block_uv(0))),
        strict=True,
    )
    assert ours[0].any()
    assert not (np.concatenate(ours) & ~np.concatenate(theirs)).any()


@pytest.mark.parametrize(
    ("parameter", "changed", "traces", "context"),
    [
        ("dead_coherence", -1.5, insertion(**BAD), {}),
        ("noisy_coherence", 5.0, insertion(loud=(60,)), {"noisy_power_factor": 100.0}),
        ("noisy_power_uv2_per_hz", 5.0, insertion(noisy=(25,)), {}),
        ("noisy_power_factor", 100.0, insertion(noisy=(25,)), {}),
        ("outside_coherence", -0.999, insertion(), {}),
        ("outside", "bottom", insertion(), {}),
        ("neighbours", 95, insertion(dead=(73,)), {}),
        ("highpass_hz", 2.0, insertion(), {}),
    ],
)
def test_each_parameter_matters(parameter, changed, traces, context):
    base = labels(traces, **context)
    assert base.any()
    assert (base != labels(traces, **{**context, parameter: changed})).any()


@pytest.mark.parametrize("contacts", [8, 12, 16, 24, 32, 64])
def test_small_recordings_have_no_bad_contact(contacts):
    for seed in range(3):
        traces = small_recording.samples(30_000, contacts, seed)
        for gain_known in (False, True):
            got = whole(traces, Geometry(small_recording.positions_um(contacts), np.zeros(contacts, int)), gain_known)
            np.testing.assert_array_equal(got, GOOD)


@pytest.mark.parametrize("contacts", [16, 64])
@pytest.mark.parametrize(
    "changes", [{}, {"slow_uv": 0.0}, {"slow_uv": 0.0, "noise_uv": 2.0, "firing_rate_hz": 30.0}, {"noise_uv": 40.0}]
)
def test_simulated_recordings_have_no_bad_contact(contacts, changes):
    for seed in range(2):
        simulation = Simulation(SimulateParameters(duration_s=1.0, num_channels=contacts, seed=seed, **changes))
        geometry = Geometry(simulation.positions_um, np.zeros(contacts, int))
        np.testing.assert_array_equal(whole(simulation.block_uv(0), geometry), GOOD)


@pytest.mark.parametrize("level", [1.0, 8.0, 100.0])
@pytest.mark.parametrize("contacts", [16, 64, 96])
def test_independent_noise_says_nothing_even_if_it_is_uneven(level, contacts):
    """White noise that differs between contacts, and loud units on some, which have large detrended coherences."""
    rng = np.random.default_rng(contacts)
    traces = level * rng.uniform(0.65, 1.2, contacts) * rng.normal(0, 1, (15_000, contacts))
    spike = 60 * level * np.exp(-0.5 * ((np.arange(40) - 20) / 4) ** 2)
    for start in rng.integers(0, 14_900, 60):
        near = rng.integers(2) * 8
        traces[start : start + 40, near : near + 4] -= spike[:, None]
    values = oracle.coherence(traces)
    assert (values - oracle.running_median(values, 11)).max() > 1
    np.testing.assert_array_equal(labels(traces), GOOD)


def test_the_thresholds_grow_with_the_trend():
    """Slow potentials of opposite sign cancel in the reference: coherences of good neighbours are far apart."""
    depth = np.linspace(-1, 1, 64)
    wave = np.sin(2 * np.pi * 8 * np.arange(15_000) / RATE)
    traces = np.random.default_rng(0).normal(0, 2, (15_000, 64)) + 200 * wave[:, None] * (depth**3 + 0.3)
    traces[:, 50] = traces[:, 51] * 0.1
    values = oracle.coherence(traces)
    detrended = values - oracle.running_median(values, 11)
    assert np.count_nonzero(detrended < -0.5) > 1
    np.testing.assert_array_equal(np.flatnonzero(labels(traces)), [50])


def test_on_a_noisy_amplifier_contacts_are_compared_with_each_other():
    traces = 5 * insertion(outside=0, noisy=(25,))
    assert (oracle.power_up_high(traces, RATE) > 0.02).all()
    np.testing.assert_array_equal(np.flatnonzero(labels(traces)), [25])


def test_without_a_gain_contacts_are_compared_with_each_other():
    traces = insertion(noisy=(25,), outside=0) / 100
    assert not labels(traces).any()
    np.testing.assert_array_equal(np.flatnonzero(labels(traces, gain_known=False)), [25])


def test_where_most_contacts_are_bad_none_is():
    traces, loud = insertion(contacts=64, outside=0), np.ones(64)
    loud[0:40:2] = 4
    values = oracle.coherence(oracle.without_line(loud * traces))
    trend = oracle.running_median(values, 11)
    share = (values - trend) / np.maximum(trend, 1)
    assert np.count_nonzero((share < -0.5) | (share > 1)) > 32
    assert not labels(loud * traces).any()


def test_a_shank_in_noise_is_not_out_of_the_brain():
    geometry = probe(128, shanks=2)
    traces = np.hstack([insertion(contacts=64, outside=0), insertion(contacts=64, outside=64, weak=0.0, seed=1)])
    assert not labels(traces, geometry).any()


@pytest.mark.parametrize("outside", ["top", "bottom", "both"])
def test_a_whole_shank_is_not_out_of_the_brain_even_if_it_denies_its_reference(outside):
    """At any time most contacts have the reference's sign, and the others are so large that all anticorrelate."""
    rng = np.random.default_rng(0)
    size = np.where(rng.uniform(size=(3000, 200)) < 0.6, 10, -50)
    filtered = (size * rng.choice([-1, 1], (3000, 1))).astype(np.float32)
    assert (shared_coherence(filtered) < 0).all()
    assert not Finder(Parameters(outside=outside), probe(200), RATE, True)._outside(filtered).any()


@pytest.mark.parametrize("outside", ["top", "bottom"])
def test_which_end_is_out_of_the_brain(outside):
    traces = insertion()
    assert (np.flatnonzero(labels(traces, outside="top")) == np.arange(76, 96)).all()
    assert not labels(traces, outside="bottom").any()
    upside_down = traces[:, ::-1]
    assert (np.flatnonzero(labels(upside_down, outside="bottom")) == np.arange(20)).all()
    assert not labels(upside_down, outside="top").any()
    assert labels(traces, outside="both").sum() == labels(upside_down, outside="both").sum() == 20 * OUT


def test_each_shank_has_its_own_reference_and_trend():
    parts = [insertion(contacts=48, outside=10, dead=(5,), seed=1), insertion(contacts=48, outside=0, noisy=(9,))]
    got = labels(np.hstack(parts), probe(96, shanks=2))
    wanted = np.zeros(96)
    wanted[5], wanted[38:48], wanted[48 + 9] = DEAD, OUT, NOISY
    np.testing.assert_array_equal(got, wanted)


def test_contacts_in_another_order_have_the_same_labels():
    traces, geometry = insertion(**BAD), probe(96, shanks=1)
    order = np.random.default_rng(1).permutation(96)
    shuffled = Geometry(geometry.positions_um[order], geometry.shanks[order])
    np.testing.assert_array_equal(labels(traces[:, order], shuffled), EXPECTED[order])


@pytest.mark.parametrize("value", [0.0, 7.5, np.nan, np.inf, -np.inf])
def test_contacts_without_a_signal_are_dead_and_touch_no_others(value):
    traces = insertion(**BAD)
    traces[:, 40] = value
    traces[0, 41] = traces[8123, 42] = value if not np.isfinite(value) else 0
    expected = EXPECTED.copy()
    expected[[40, 41, 42] if not np.isfinite(value) else 40] = DEAD
    np.testing.assert_array_equal(labels(traces), expected)


@pytest.mark.parametrize("contacts", [1, 4, 7, 16])
def test_silence_is_found_on_few_contacts_and_in_short_slices(contacts):
    traces = insertion(contacts=contacts, outside=0)
    assert not labels(traces).any()
    traces[:, 0] = 3
    for samples in (15_000, 2000, 2):
        wanted = np.zeros(contacts)
        wanted[0] = DEAD if contacts > 1 else GOOD
        np.testing.assert_array_equal(labels(traces[:samples]), wanted)


def test_nothing_is_said_of_a_gap():
    assert not labels(np.zeros((15_000, 16), np.float32)).any()


@pytest.mark.parametrize("shape", [(0, 16), (1, 16), (100, 0), (2999, 16)])
def test_slices_that_are_too_short(shape):
    assert not labels(np.random.default_rng(0).normal(0, 5, shape), probe(shape[1])).any()


@pytest.mark.parametrize("contacts", [8, 9, 10])
def test_few_contacts_have_a_shorter_filter(contacts):
    traces = insertion(contacts=contacts, outside=0, dead=(3,))
    np.testing.assert_array_equal(np.flatnonzero(labels(traces)), [3])


def test_the_input_stays_as_it_is():
    traces = insertion(**BAD)
    before = traces.copy()
    labels(traces)
    np.testing.assert_array_equal(traces, before)


def test_the_commonest_label_wins_and_good_wins_ties():
    votes = np.array([[0, 1, 1, 0, 3, 1], [0, 1, 0, 2, 3, 2], [1, 0, 2, 2, 0, 3], [1, 1, 2, 0, 1, 0]], np.uint8)
    np.testing.assert_array_equal(vote(votes), [0, 1, 2, 0, 3, 0])
    np.testing.assert_array_equal(vote(votes), oracle.vote(votes))
    assert vote(votes).dtype == np.uint8
    random = np.random.default_rng(0).integers(0, 4, (7, 200)).astype(np.uint8)
    np.testing.assert_array_equal(vote(random), oracle.vote(random))


def test_an_even_number_of_neighbours_is_refused():
    with pytest.raises(ValidationError, match="odd"):
        Parameters(neighbours=10)


def test_an_edge_beyond_the_band_is_refused():
    with pytest.raises(UsageError, match="sampling frequency of more than 600 Hz"):
        Finder(Parameters(), probe(16), 500.0, True)


def test_a_low_edge_still_lets_the_other_faults_be_found():
    got = labels(insertion(**BAD), highpass_hz=2.0)
    np.testing.assert_array_equal(got, np.where(EXPECTED == OUT, GOOD, EXPECTED))
