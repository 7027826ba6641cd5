"""Saturation, gaps and artifacts of made recordings: each where it was put, nothing in noise and spikes."""

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftcli.mask import spans
from driftcli.mask.automatic import Parameters, Watcher, mask_of
from driftcli.model import MASK_REASONS, Geometry
from driftcli.preprocess import bandpass
from driftcli.preprocess.noise import mad_noise_level
from oracles import mask as oracle

RATE_HZ = 30_000.0
NO_BREAKS = np.empty(0, np.int64)
ROWS = 260
COLUMNS = np.setdiff1d(np.arange(90), [3, 40, 41, 80])[::-1]
SHORT = {"gap_ms": 0.2, "join_ms": 0.3, "padding_ms": 0.1}  # 6, 9 and 3 samples


def watched(watcher, samples, traces, cuts=(), rows_before=1):
    """The runs of a recording that is cut into blocks."""
    runs = []
    for start, stop in pairwise([0, *cuts, len(traces)]):
        low, high = max(start - rows_before, 0), min(stop + 1, len(samples))
        runs.append(watcher.watch(samples[low:high], start - low, traces[start:stop], start))
    return runs


def sets_of(mask):
    return {
        reason: oracle.samples_of(*spans.of_reason(mask, reason).T.tolist())
        for reason in ("saturation", "gap", "artifact")
    }


@cache
def eventful():
    """(ROWS, 90) noise with many short events on various numbers of contacts, and its traces, as if band-passed."""
    rng = np.random.default_rng(5)
    samples = np.rint(rng.normal(0, 5, (ROWS, 90)))
    traces = rng.normal(0, 10, (ROWS, len(COLUMNS)))
    for start in range(5, ROWS - 20, 9):
        rows, share = slice(start, start + int(rng.integers(1, 12))), rng.choice([0.15, 0.19, 0.25, 0.5, 0.88, 0.93, 1])
        some = rng.random(90) < share
        kind = rng.integers(0, 5)
        if kind == 0:
            samples[rows, some] = rng.choice([-512, 511, 502, -503, 500])
        elif kind == 1:
            samples[rows, some] = rng.choice([0, 17])
        elif kind == 2:
            length = len(samples[rows])
            samples[rows, some] = np.rint(np.linspace(-40, 33.3, length)[:, None] * rng.uniform(-1, 1, some.sum()))
        else:
            traces[rows, some[COLUMNS]] += rng.choice([-70, 70, 49])
            traces[start, 30] += rng.choice([0, 0, 400])
    return samples.astype("int16"), traces.astype(np.float32)


def noise_levels():
    noise = np.full(len(COLUMNS), 10.0)
    noise[:20:2] = [0, np.nan, 0, 1.9, 2.1, 7.9, 8.1, 6.5, 7, 0]
    return noise


def watcher(parameters=None, full_scale=(-512.0, 511.0), **facts):
    known = {"num_columns": 90, "dtype": "int16", "gain_to_uv": np.full(len(COLUMNS), 4.0)} | facts
    return Watcher(parameters or Parameters(), COLUMNS, noise_levels(), full_scale=full_scale, **known)


def expected_flags(samples, traces, parameters, ends):
    noise, p = np.nan_to_num(noise_levels()), parameters
    saturated = oracle.saturated(samples, COLUMNS, noise, p.saturation_share, ends)
    return {
        "saturation": saturated,
        "gap": oracle.straight(samples, COLUMNS, noise / 4.0, p.gap_share) - saturated,
        "artifact": oracle.artifacts(traces, noise, p.artifact_contacts, p.artifact_share, p.artifact_threshold),
    }


@pytest.mark.parametrize("ends", [(-512.0, 511.0), (-560.0, 530.0), None])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"saturation_share": 1.0, "gap_share": 1.0, "artifact_share": 0.85},
        {"saturation_share": 0.01, "gap_share": 0.14, "artifact_share": 0.01, "artifact_contacts": 0},
        {"artifact_contacts": 77, "artifact_threshold": 4.0},
        {"artifact_contacts": 87},
    ],
)
def test_samples_are_flagged_as_by_asking_each(changes, ends):
    samples, traces = eventful()
    parameters = Parameters(**changes)
    (found,) = watched(watcher(parameters, ends), samples, traces)
    expected = expected_flags(samples, traces, parameters, ends or (-32768.0, 32767.0))
    assert sets_of(found) == expected
    if not changes and ends == (-512.0, 511.0):
        assert min(len(flagged) for flagged in expected.values()) > 5


@settings(deadline=None, max_examples=40)
@given(
    st.sets(st.integers(1, ROWS - 1), max_size=12),
    st.sampled_from([1, 5]),
    st.sets(st.integers(1, ROWS - 1), max_size=3),
)
def test_blocks_cut_anywhere_give_the_mask_of_the_whole(cuts, rows_before, breaks):
    samples, traces = eventful()
    parameters = Parameters(**SHORT)
    runs = watched(watcher(parameters), samples, traces, sorted(cuts), rows_before)
    found = mask_of(runs, ROWS, np.array(sorted(breaks), np.int64), parameters, RATE_HZ)
    flags = expected_flags(samples, traces, parameters, (-512.0, 511.0))
    flags["gap"] = oracle.gaps(flags["gap"], ROWS, sorted(breaks), 6)
    for reason, flagged in flags.items():
        spans_of = [tuple(span) for span in spans.of_reason(found, reason).tolist()]
        assert spans_of == oracle.spans(flagged, ROWS, 9, 3), reason


def test_one_row_blocks_give_the_mask_of_the_whole():
    samples, traces = eventful()
    parameters = Parameters(**SHORT)
    several = watched(watcher(parameters), samples, traces, range(1, ROWS))
    one = watched(watcher(parameters), samples, traces)
    found, expected = (mask_of(runs, ROWS, NO_BREAKS, parameters, RATE_HZ) for runs in (several, one))
    assert sets_of(found) == sets_of(expected)
    assert len(found) > 6


def test_tiles_within_a_block_change_nothing():
    samples, traces = (np.tile(array, (10, 1)) for array in eventful())
    samples[1_020:1_030] = 0
    whole = watched(watcher(), samples, traces)
    pieces = watched(watcher(), samples, traces, range(100, len(samples), 100))
    found, expected = (sets_of(spans.merged(runs)) for runs in (whole, pieces))
    assert found == expected
    assert set(range(1_021, 1_029)) <= found["gap"]


# --- recordings with known spans


def spike(contacts, reach, centre, peak):
    """(40, contacts) of a unit that is at 5 times the band-passed noise `reach` contacts away from its centre."""
    time = np.arange(40)
    shape = np.exp(-0.5 * ((time - 12) / 3.0) ** 2) - 0.4 * np.exp(-0.5 * ((time - 22) / 6.0) ** 2)
    distance = np.abs(np.arange(contacts) - centre)
    return -np.outer(shape, peak * (15.5 / peak) ** (distance / reach))


def background(contacts, seconds=2.0, seed=0):
    """Noise of 5 counts on slow waves and offsets, with units on 8 contacts each, often two or three at once."""
    rng = np.random.default_rng(seed)
    num_samples = int(seconds * RATE_HZ)
    time_s = np.arange(num_samples) / RATE_HZ
    traces = rng.normal(0, 5, (num_samples, contacts)) + rng.integers(-40, 40, contacts)
    traces += 80 * np.sin(2 * np.pi * 7 * time_s)[:, None]
    for number, start in enumerate(range(100, num_samples - 100, 900)):
        at_once = min(1 + number % 3, contacts // 8)
        for centre in rng.choice(np.arange(3.5, contacts - 3, 8), at_once, replace=False):
            traces[start : start + 40] += spike(contacts, 4, centre, 450)
    return traces


def filtered(samples):
    step = bandpass.Step(bandpass.Parameters(), Geometry(np.zeros((1, 2)), np.zeros(1, np.int64)), RATE_HZ)
    return step(np.array(samples, np.float32, order="C"))


def mask_of_recording(samples, parameters=None, breaks=NO_BREAKS, full_scale=None, noise=None, block=16_384):
    parameters = parameters or Parameters()
    traces, contacts = filtered(samples), samples.shape[1]
    noise = mad_noise_level(traces) if noise is None else noise
    watching = Watcher(
        parameters,
        np.arange(contacts),
        noise,
        num_columns=contacts,
        dtype=samples.dtype,
        gain_to_uv=None,
        full_scale=full_scale,
    )
    runs = watched(watching, samples, traces, range(block, len(samples), block))
    return mask_of(runs, len(samples), breaks, parameters, RATE_HZ)


def as_rows(mask):
    reasons = [MASK_REASONS[reason] for reason in mask.reasons]
    return list(zip(mask.starts.tolist(), mask.stops.tolist(), reasons, strict=True))


def assert_spans(mask, reason, expected, slack=0):
    """The spans of a reason are the expected ones with the padding of 5 ms around, and up to `slack` samples more."""
    found = spans.of_reason(mask, reason)
    assert len(found) == len(expected), found
    widening = (np.array(expected) - found) * [1, -1]
    assert (widening >= 150).all(), found
    assert (widening <= 150 + slack).all(), found


@pytest.mark.parametrize("contacts", [8, 16, 32, 64])
@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_nothing_is_found_in_noise_and_large_spikes(contacts, dtype):
    samples = np.rint(background(contacts)).astype(dtype)
    traces = filtered(samples)
    reached = (np.abs(traces) > 5 * mad_noise_level(traces)).sum(axis=1).max()
    assert reached >= min(24, contacts) - 2
    assert as_rows(mask_of_recording(samples)) == []


def test_a_unit_as_large_as_the_probe_is_no_artifact():
    samples = background(16)
    samples[20_000:20_040] += spike(16, 30, 7.5, 900)
    samples = np.rint(samples).astype("int16")
    assert (np.abs(filtered(samples)[20_000:20_040]) > 30).sum(axis=1).max() == 16
    assert as_rows(mask_of_recording(samples)) == []


def test_broad_units_on_a_dense_probe_are_no_artifact():
    """Two reach 12 contacts on either side each, and thus most contacts; few of them with a quarter of their size."""
    rng = np.random.default_rng(2)
    traces = rng.normal(0, 5, (60_000, 48))
    for start in range(500, 59_000, 700):
        for centre in (11.5, 35.5):
            traces[start : start + 40] += spike(48, 12, centre, 600)
    samples = np.rint(traces).astype("int16")
    sizes = np.abs(filtered(samples))
    assert (sizes > 5 * mad_noise_level(filtered(samples))).sum(axis=1).max() > 39
    assert as_rows(mask_of_recording(samples)) == []


@pytest.mark.parametrize("noise", [0.3, 0.6, 0.8, 1.0, 1.3, 1.6, 1.9, 2.1, 2.3, 3.0])
@pytest.mark.parametrize("contacts", [4, 16])
def test_quiet_noise_is_no_gap(noise, contacts):
    """Band-limited, as that is straighter than white noise."""
    samples = filtered(np.random.default_rng(1).normal(0, 1, (60_000, contacts)))
    samples = np.rint(samples * noise / samples.std()).astype("int16")
    assert as_rows(mask_of_recording(samples)) == []


@pytest.mark.parametrize("fill", ["zero", "constant", "line"])
@pytest.mark.parametrize(("start", "stop"), [(20_000, 20_400), (16_380, 16_396), (0, 700), (59_000, 60_000)])
@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_gaps_are_found(fill, start, stop, dtype):
    samples = background(64)
    if dtype == "float32":
        samples *= 0.195
    before, after = samples[max(start - 1, 0)], samples[min(stop, len(samples) - 1)]
    along = np.linspace(0, 1, stop - start + 2)[1:-1, None]
    filling = {"zero": 0.0, "constant": before, "line": before + along * (after - before)}[fill]
    samples[start:stop] = filling
    samples = (np.rint(samples) if dtype == "int16" else samples).astype(dtype)
    mask = mask_of_recording(samples)
    found = spans.of_reason(mask, "gap")
    expected = np.clip([start - 150, stop + 150], 0, 60_000)
    assert len(found) == 1, found
    assert (np.abs(found[0] - expected) <= 2).all(), found
    assert not len(spans.of_reason(mask, "saturation"))


def test_a_line_in_float32_may_cross_zero_on_a_large_offset():
    samples = background(64).astype(np.float32)
    along = np.linspace(-1, 1, 3000, dtype=np.float32)[:, None]
    samples[20_000:23_000] = along * np.linspace(-3e3, 3e3, 64, dtype=np.float32) + np.float32(700)
    assert_spans(mask_of_recording(samples), "gap", [(20_000, 23_000)], slack=1)


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_noise_on_an_offset_is_no_gap_in_float32(offset):
    samples = (background(16) * 0.1 + offset).astype(np.float32)
    assert as_rows(mask_of_recording(samples)) == []


def test_contacts_that_are_always_straight_make_no_gap():
    samples = np.rint(background(32)).astype("int16")
    samples[:, :30] = 0
    assert as_rows(mask_of_recording(samples)) == []
    samples[20_000:21_000] = 0
    assert_spans(mask_of_recording(samples), "gap", [(20_000, 21_000)], slack=1)


@pytest.mark.parametrize(("full_scale", "end"), [((-512.0, 511.0), 511), ((-512.0, 511.0), -505), (None, -32_500)])
def test_saturation_is_found(full_scale, end):
    samples = np.rint(background(64)).astype("int16")
    samples[16_000:17_000, 20:33] = end  # 13 of 64 contacts are a fifth
    samples[30_000:31_000, 20:32] = end
    mask = mask_of_recording(samples, full_scale=full_scale)
    assert_spans(mask, "saturation", [(16_000, 17_000)])
    assert not len(spans.of_reason(mask, "gap"))


def test_saturation_of_all_contacts_is_no_gap():
    samples = np.rint(background(64)).astype("int16")
    samples[16_000:17_000] = 511
    mask = mask_of_recording(samples, full_scale=(-512.0, 511.0))
    assert_spans(mask, "saturation", [(16_000, 17_000)])
    assert not len(spans.of_reason(mask, "gap"))


def test_float32_saturates_only_where_the_range_is_known():
    samples = background(64).astype(np.float32)
    samples[16_000:17_000] = 1100 + np.random.default_rng(0).normal(0, 5, (1000, 64))
    assert not len(spans.of_reason(mask_of_recording(samples), "saturation"))
    assert_spans(mask_of_recording(samples, full_scale=(-1000.0, 1000.0)), "saturation", [(16_000, 17_000)])


@pytest.mark.parametrize(("contacts", "reached"), [(32, 31), (64, 47), (100, 65)])
def test_artifacts_are_found(contacts, reached):
    traces = background(contacts)
    burst = 150 * np.sin(2 * np.pi * 800 * np.arange(1500) / RATE_HZ)[:, None]
    for start, count in ((16_000, reached), (40_000, reached - 9)):
        chosen = np.random.default_rng(start).permutation(contacts)[:count]
        traces[start : start + 1500, chosen] += burst
    samples = np.rint(traces).astype("int16")
    # the noise of the quiet part: here the artifacts are a large share of the recording
    mask = mask_of_recording(samples, noise=mad_noise_level(filtered(samples)[45_000:]))
    first = spans.of_reason(mask, "artifact")
    assert len(first) == 1
    assert (np.abs(first[0] - [16_000 - 150, 17_500 + 150]) < 60).all(), first
    assert set(mask.reasons.tolist()) == {MASK_REASONS.index("artifact")}


def test_a_short_recording_and_one_without_samples():
    watching = watcher()
    empty = watching.watch(np.zeros((0, 90), "int16"), 0, np.zeros((0, len(COLUMNS)), np.float32), 0)
    assert len(empty) == 0
    single = watching.watch(np.zeros((1, 90), "int16"), 0, np.zeros((1, len(COLUMNS)), np.float32), 0)
    assert len(single) == 0
    assert len(mask_of([], 0, NO_BREAKS, Parameters(), RATE_HZ)) == 0


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_without_contacts_that_have_noise_nothing_is_found(dtype):
    samples = np.zeros((500, 4), dtype)
    samples[100:] = 32_767
    for columns, noise in ((np.arange(4), np.zeros(4)), (np.empty(0, np.int64), np.empty(0))):
        watching = Watcher(
            Parameters(), columns, noise, num_columns=4, dtype=dtype, gain_to_uv=None, full_scale=(-9.0, 9.0)
        )
        assert len(watching.watch(samples, 0, samples[:, : len(columns)].astype(np.float32), 0)) == 0


def test_a_gap_of_two_files_is_two_gaps():
    samples = np.rint(background(64)).astype("int16")
    samples[20_000:20_025] = 0  # 14 samples of one file and 11 of the next
    parameters = Parameters(gap_ms=0.4, padding_ms=0)
    whole, broken = (
        spans.of_reason(mask_of_recording(samples, parameters, np.array(breaks, np.int64)), "gap")
        for breaks in ([], [20_014])
    )
    assert (np.abs(whole - [20_000, 20_025]) <= 1).all()
    assert (np.abs(broken - [20_000, 20_014]) <= 1).all()
    assert broken[0, 1] == 20_014


@cache
def all_kinds():
    """A recording with events that are just enough for the defaults, and the noise levels of the rest of it."""
    traces = background(64)
    noise = mad_noise_level(filtered(traces[:10_000]))
    traces[12_000:12_200, :20] = 600
    traces[20_000:20_100, :60] = 0
    for start in (30_000, 32_000):
        traces[start : start + 300, :50] += 40 * np.sin(2 * np.pi * 1000 * np.arange(300) / RATE_HZ)[:, None]
    return np.rint(traces).astype("int16"), noise


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("saturation_share", 0.5),
        ("gap_share", 0.95),
        ("gap_ms", 5.0),
        ("artifact_share", 0.8),
        ("artifact_contacts", 50),
        ("artifact_threshold", 20.0),
        ("join_ms", 100.0),
        ("padding_ms", 0.0),
    ],
)
def test_each_parameter_changes_the_mask(name, value):
    samples, noise = all_kinds()
    masks = [
        as_rows(mask_of_recording(samples, parameters, full_scale=(-512.0, 511.0), noise=noise))
        for parameters in (Parameters(), Parameters(**{name: value}))
    ]
    assert {kind for _, _, kind in masks[0]} == {"saturation", "gap", "artifact"}
    reason = name.partition("_")[0]
    one, other = ({row for row in mask if row[2] == reason or reason in ("join", "padding")} for mask in masks)
    assert one != other
