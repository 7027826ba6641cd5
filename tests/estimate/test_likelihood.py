import tracemalloc

import numpy as np
import pytest
from pydantic import ValidationError

from driftcli.errors import UsageError
from driftcli.estimate import likelihood
from driftcli.estimate.likelihood import Parameters
from driftcli.estimate.timeline import Timeline
from driftcli.estimate.tissue import Nodes, Tissue, cells_bytes
from driftcli.model import DepthPeaks, Motion
from driftcli.reporter import Reporter
from oracles import drift
from oracles import likelihood as oracle

SPAN_UM, DURATION_S, UNITS = (0.0, 400.0), 40.0, 30
WIDE_UM = (0.0, 800.0)  # of the peaks of `oracles.drift`
LOST = (0, 4, 7)  # seeds of `drift.lost_peaks`, of which the coarse motion has blocks in a wrong place


@pytest.fixture
def method():
    return likelihood


@pytest.fixture
def run(run):
    """On a short shank and with a short reach, unless told otherwise: there are as many cells as that takes."""

    def short(peaks, duration_s=DURATION_S, span_um=SPAN_UM, jobs=1, **parameters):
        return run(peaks, duration_s, span_um, jobs, **{"max_disp_um": 60.0, **parameters})

    return short


def evenly(rng, count=6000):
    """Times, and units that all fire as often."""
    return np.sort(rng.uniform(0, DURATION_S, count)), rng.integers(0, UNITS, count)


def made(moved_um, seed=0, times_and_units=evenly, **others):
    """Peaks of units along the shank that move by moved_um(time, depth); each is found within 2 µm and 8 %."""
    rng = np.random.default_rng(seed)
    depth_um, size = rng.uniform(*SPAN_UM, UNITS), np.exp(rng.normal(4.3, 0.5, UNITS))
    time_s, unit = times_and_units(rng, **others)
    found_um = depth_um[unit] + moved_um(time_s, depth_um[unit]) + rng.normal(0, 2, len(time_s))
    return time_s, found_um, -size[unit] * np.exp(rng.normal(0, 0.08, len(time_s)))


def still(time_s, depth_um):
    return 0 * time_s


def rigid(time_s, depth_um):
    return 15 * np.sin(time_s / 3)


def gradient(time_s, depth_um):
    """The tip moves three times as far as the top."""
    return (12 * np.sin(time_s / 5) + time_s / 4) * (1.2 - depth_um / 500)


def jumping(time_s, depth_um):
    """At the borders of bins."""
    return 25.0 * (time_s >= 11) - 40.0 * (time_s >= 26)


def errors_um(motion, moved_um):
    """(T, W), each window's median taken off: where a depth rests nobody sees."""
    true_um = moved_um(motion.temporal_bins_s[:, None], motion.spatial_bins_um[None])
    found_um = motion.displacement_um - true_um
    return found_um - np.median(found_um, axis=0)


# --- against the oracle ---------------------------------------------------------------------------------------------

SMALL = {"bin_s": 1.0, "max_disp_um": 40.0, "rounds": 5, "depth_sigma_um": 2.0, "amplitude_sigma": 0.3}


def small_peaks(seed=0):
    rng = np.random.default_rng(seed)
    unit, time_s = rng.integers(0, 12, 400), np.sort(rng.uniform(0, 12, 400))
    depth_um = rng.uniform(0, 300, 12)[unit] + 8 * np.sin(time_s / 2) + rng.normal(0, 1, 400)
    return time_s, depth_um, -np.exp(rng.normal(4, 0.6, 12)[unit] + rng.normal(0, 0.05, 400))


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"win_step_um": 400.0},
        {"win_step_um": 60.0, "likeness_um": 200.0, "bending_um": 0.2, "step_freedom": 3.0},
        {"block_s": 1.0, "time_horizon_s": 4.0, "rounds": 1},
        {"background_hz": 1.0, "saturation_hz": 2.0, "border_um": 80.0},
        {"shrinkage": 0.0},
        {"shrinkage": 50.0},
        {"recover": False},
    ],
)
def test_the_motion_is_the_oracles(run, parameters):
    parameters, span_um = {**SMALL, **parameters}, (0.0, 300.0)
    motion = run(small_peaks(), 12.0, span_um, **parameters)
    displacement_um, deviation_um = oracle.estimate(small_peaks(), span_um, 12.0, **parameters)
    # the coarse motion is single precision
    np.testing.assert_allclose(motion.displacement_um, displacement_um, atol=2e-4)
    np.testing.assert_allclose(motion.deviation_um, deviation_um, rtol=1e-4)
    np.testing.assert_allclose(motion.spatial_bins_um, oracle.depths_of(span_um, parameters.get("win_step_um", 100.0)))
    np.testing.assert_allclose(motion.temporal_bins_s, np.arange(12) + 0.5)
    assert np.ptp(displacement_um) > 8


# --- known answers --------------------------------------------------------------------------------------------------


def test_the_motion_is_near_the_truth(run, error_um):
    assert error_um(run(drift.peaks(), span_um=WIDE_UM)) < 1


@pytest.mark.parametrize("moved_um", [still, rigid, gradient, jumping])
@pytest.mark.parametrize(("count", "within_um"), [(12_000, 0.3), (3000, 0.6), (1200, 1.2)])
def test_known_motions_are_found(run, moved_um, count, within_um):
    motion = run(made(moved_um, count=count))
    errors = np.abs(errors_um(motion, moved_um))
    assert errors.mean() < within_um
    assert np.ptp(motion.displacement_um, axis=0).max() < 1.5 or moved_um is not still


def test_a_jump_is_as_sharp_as_a_bin(run):
    motion = run(made(jumping, count=12_000))
    rows = np.searchsorted(motion.temporal_bins_s, [11, 26])
    for row, height_um in zip(rows, (25, -40), strict=True):
        np.testing.assert_allclose(motion.displacement_um[row] - motion.displacement_um[row - 1], height_um, atol=2)


def test_the_sign_is_that_of_a_motion(run):
    """What is subtracted from a peak's depth brings it to where its unit rests."""
    peaks = made(rigid)
    motion = run(peaks)
    corrected_um = peaks[1] - motion.at(peaks[0], peaks[1])
    units_um = np.random.default_rng(0).uniform(*SPAN_UM, UNITS)
    nearest_um = np.abs(corrected_um[:, None] - units_um).min(axis=1)
    assert np.median(nearest_um) < 2


def test_depths_rest_at_0(run):
    """Between two places it is near the middle of them; along the shank zeros lie on a straight line."""
    motion = run(made(jumping)).displacement_um
    assert np.abs((motion.max(axis=0) + motion.min(axis=0)) / 2).max() < 0.2 * np.ptp(motion)
    swinging = run(made(rigid)).displacement_um
    assert np.abs(np.percentile(swinging, (10, 90), axis=0).sum(axis=0)).max() < 0.3 * np.ptp(swinging)


@pytest.mark.parametrize("windows", [1, 2, 5])
@pytest.mark.parametrize("share", [0.1, 0.45, 0.9])
@pytest.mark.parametrize("first_s", [0, 6, 12])
def test_the_zero_is_the_oracles(windows, share, first_s):
    """Stays at -5 µm, swings for a while, then rests at 8 µm; the other end of the shank moves less."""
    time_s = np.arange(0, 60, 0.2)
    moved_um = np.where(time_s < 60 * (1 - share), 20 * np.sin(time_s), 8.0)
    moved_um[time_s < first_s] = -5.0
    moved_um = moved_um[:, None] * np.linspace(1, 0.4, windows)
    moved_um += np.random.default_rng(0).normal(0, 0.2, moved_um.shape)
    zero_um = likelihood._resting(moved_um, 0.2)
    np.testing.assert_allclose(zero_um, oracle.resting(moved_um, 0.2), rtol=1e-9)
    if share == 0.9:
        np.testing.assert_allclose(zero_um, 8 * np.linspace(1, 0.4, windows), atol=0.3)
    elif first_s:
        line = -5 * np.linspace(1, 0.4, windows)
        np.testing.assert_allclose(zero_um - zero_um.mean(), line - line.mean(), atol=0.5)


@pytest.mark.parametrize("seed", range(6))
def test_a_walk_does_not_rest_where_it_begins(seed):
    """Half a micrometer a second, or so: it is as fast at first as later, though it stays within reach for a while."""
    walk_um = np.cumsum(np.random.default_rng(seed).normal(0, 0.25, 3000))[:, None] * np.linspace(1, 0.4, 5)
    zero_um = likelihood._resting(walk_um, 0.2)
    np.testing.assert_allclose(zero_um, oracle.resting(walk_um, 0.2), rtol=1e-9)
    away_um = np.linspace(1, 0.4, 5) * np.median(walk_um[:, 0])
    assert np.abs(zero_um - away_um).max() < np.ptp(walk_um) / 4
    began_um = np.median(walk_um[:25], axis=0) - np.median(walk_um[:25])
    assert np.abs(zero_um - zero_um.mean() - began_um + began_um.mean()).max() > 0.3


# --- rates ----------------------------------------------------------------------------------------------------------


def bursting(rng):
    """Each unit's rate rises and falls 37-fold, in a period and phase of its own."""
    times, units = [], []
    for unit in range(UNITS):
        time_s = np.sort(rng.uniform(0, DURATION_S, 3000))
        phase = 2 * np.pi * (time_s / rng.uniform(8, 20) + rng.uniform())
        here = rng.uniform(size=3000) < 37 ** ((np.sin(phase) - 1) / 2) * rng.uniform(0.3, 1)
        times.append(time_s[here])
        units.append(np.full(here.sum(), unit))
    order = np.argsort(np.concatenate(times))
    return np.concatenate(times)[order], np.concatenate(units)[order]


def taking_turns(rng):
    """One half of the units fires 37 times more often in the first half, the other in the second."""
    time_s, unit = np.sort(rng.uniform(0, DURATION_S, 20_000)), rng.integers(0, UNITS, 20_000)
    loud = (unit % 2 == 0) == (time_s < DURATION_S / 2)
    here = loud | (rng.uniform(size=20_000) < 1 / 37)
    return time_s[here], unit[here]


def rising(rng):
    """All units of the upper half fire ever more often, those of the lower ever less."""
    time_s, unit = np.sort(rng.uniform(0, DURATION_S, 20_000)), rng.integers(0, UNITS, 20_000)
    falls = 37 ** (-time_s / DURATION_S)
    here = rng.uniform(size=20_000) < np.where(unit % 2, falls, 1 / 37 / falls)
    return time_s[here], unit[here]


@pytest.mark.parametrize("rates", [bursting, taking_turns, rising])
def test_rates_that_rise_and_fall_37_fold_are_no_motion(run, rates):
    motion = run(made(still, 0, rates))
    assert np.abs(errors_um(motion, still)).mean() < 0.5
    assert np.abs(errors_um(motion, still)).max() < 1.5


def test_motion_is_found_where_units_burst(run):
    assert np.abs(errors_um(run(made(rigid, 0, bursting)), rigid)).mean() < 0.3


# --- blocks that are lost, shapes that nobody agrees on --------------------------------------------------------------


@pytest.mark.parametrize("seed", LOST)
def test_blocks_that_are_lost_are_found_again(run, seed):
    settings = {"duration_s": DURATION_S, "span_um": WIDE_UM, "max_disp_um": 100.0}
    without, found = (run(drift.lost_peaks(seed), **settings, recover=recover) for recover in (False, True))
    assert np.abs(errors_um(without, drift.lost_truth_um)).mean() > 5
    assert np.abs(errors_um(found, drift.lost_truth_um)).mean() < 1.5


def test_blocks_that_are_found_are_the_oracles(run):
    settings = {**SMALL, "max_disp_um": 80.0, "rounds": 7, "win_step_um": 200.0}
    time_s, depth_um, amplitude = drift.lost_peaks(LOST[0])
    some = slice(None, None, 4)
    peaks = time_s[some], depth_um[some], amplitude[some]
    motion = run(peaks, DURATION_S, WIDE_UM, **settings)
    displacement_um, deviation_um = oracle.estimate(peaks, WIDE_UM, DURATION_S, **settings)
    np.testing.assert_allclose(motion.displacement_um, displacement_um, atol=2e-3)
    np.testing.assert_allclose(motion.deviation_um, deviation_um, rtol=1e-3)
    without = run(peaks, DURATION_S, WIDE_UM, **settings, recover=False)
    assert np.abs(without.displacement_um - motion.displacement_um).max() > 5


def misplaced(moved_um, seed, count=12_000):
    """Units that are found up to 1 µm or so from where they are, by the same at every visit."""
    time_s, depth_um, amplitude = made(moved_um, seed, count=count)
    unit = np.round(np.log(np.abs(amplitude)), 1)
    return time_s, depth_um + 1.5 * np.sin(moved_um(time_s, depth_um) / 4 + 50 * unit), amplitude


def test_a_probe_that_moves_as_one_stays_straight_though_units_are_misplaced(run):
    stretch_um = {}
    for shrinkage in (0.0, 3.0):
        motions = [run(misplaced(rigid, seed), shrinkage=shrinkage).displacement_um for seed in range(4)]
        stretch_um[shrinkage] = np.mean([(motion[:, -1] - motion[:, 0]).std() for motion in motions])
    assert stretch_um[0.0] > 0.15
    assert stretch_um[3.0] < stretch_um[0.0] / 2


def test_a_probe_that_stretches_is_found_to_though_units_are_misplaced(run):
    for seed in range(2):
        assert np.abs(errors_um(run(misplaced(gradient, seed)), gradient)).mean() < 0.5


def test_the_tissue_stays_where_it_is_nearly_in_one_place():
    """At rest, on its way, away for a moment, and back."""
    moved_um = np.concatenate([np.zeros(130), np.linspace(0, 60, 60), np.full(7, 90.0), np.full(3, 60.0)])
    for windows in (1, 3):
        displacement_um = moved_um[:, None] * np.linspace(1, 0.3, windows)
        found = likelihood._stays(displacement_um, Parameters())
        np.testing.assert_array_equal(found, oracle.stays(displacement_um, 0.2))
        lengths = np.bincount(found)
        assert lengths.max() == 50
        assert lengths[:-1].min() == 5
        assert found[189] < found[192] < found[198]


@pytest.mark.parametrize("off_um", [40.0, 3.0])
def test_a_proposal_that_is_not_clearly_better_is_refused(run, monkeypatch, off_um):
    """Half of the recording moved to where it doesn't belong: far off, and so near that the rounds mend it."""
    expected = run(made(gradient), recover=False)

    def worse(peaks, coarse, layout, reporter):
        moved_um = coarse.displacement_um + off_um * (coarse.temporal_bins_s[:, None] > 20)
        return Motion(moved_um, coarse.temporal_bins_s, coarse.spatial_bins_um)

    monkeypatch.setattr(likelihood.recovery, "proposal", worse)
    found = run(made(gradient))
    assert found.displacement_um.tobytes() == expected.displacement_um.tobytes()
    assert found.deviation_um.tobytes() == expected.deviation_um.tobytes()


def test_the_deviation_knows_that_units_are_misplaced(run):
    """So many peaks that little else makes it uncertain."""
    motion = run(misplaced(rigid, 0, count=60_000))
    error_um = np.sqrt((errors_um(motion, rigid) ** 2).mean())
    assert error_um / 2 < np.median(motion.deviation_um) < 2 * error_um
    right = run(made(rigid, count=60_000))
    assert np.median(motion.deviation_um) > 1.05 * np.median(right.deviation_um)


# --- deviation ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("moved_um", "count"), [(still, 3000), (rigid, 12_000), (gradient, 3000)])
def test_the_deviation_is_as_large_as_the_error(run, moved_um, count):
    motion = run(made(moved_um, count=count))
    error_um = np.sqrt((errors_um(motion, moved_um) ** 2).mean())
    deviation_um = np.sqrt((motion.deviation_um**2).mean())
    assert error_um / 3 < deviation_um
    # of a still tissue's motion nothing is left, as it is no more than its error
    assert deviation_um < (3 * error_um if moved_um is not still else 0.4)
    assert motion.deviation_um.shape == motion.displacement_um.shape


def test_more_peaks_are_more_certain(run):
    few, many = (run(made(rigid, count=count)).deviation_um for count in (2000, 20_000))
    assert np.median(few) > 1.3 * np.median(many)


def test_bins_without_peaks_are_bridged_and_uncertain(run):
    """12 to 15.6 s of nothing: a straight line from one end to the other, the less certain the farther from both."""
    time_s, depth_um, amplitude = made(gradient, count=12_000)
    there = (time_s < 12) | (time_s >= 15.6)
    motion = run((time_s[there], depth_um[there], amplitude[there]))
    inside = slice(60, 78)  # bins of 0.2 s
    before_um, after_um = motion.displacement_um[59], motion.displacement_um[78]
    share = (np.arange(1, 19) / 19)[:, None]
    line_um = before_um + share * (after_um - before_um)
    np.testing.assert_allclose(motion.displacement_um[inside], line_um, atol=0.15 * np.abs(after_um - before_um).max())
    assert np.abs(after_um - before_um).max() > 3
    deviation_um = motion.deviation_um[inside]
    middle = np.argmax(deviation_um, axis=0)
    assert ((middle > 4) & (middle < 13)).all()
    assert deviation_um.max(axis=0).min() > 1.5 * np.median(motion.deviation_um)


def test_ends_without_peaks_keep_the_last_that_is_known(run):
    time_s, depth_um, amplitude = made(rigid)
    there = (time_s >= 3) & (time_s < 36)
    motion = run((time_s[there], depth_um[there], amplitude[there]))
    known_um = motion.displacement_um[15:180]
    # windows lie on a straighter line there
    np.testing.assert_allclose(motion.displacement_um[:15], known_um[:1].repeat(15, 0), atol=0.4)
    np.testing.assert_allclose(motion.displacement_um[180:], known_um[-1:].repeat(20, 0), atol=0.4)
    assert (np.diff(motion.deviation_um[180:], axis=0) > 0).all()
    assert (np.diff(motion.deviation_um[:15], axis=0) < 0).all()


def test_the_deviation_goes_where_the_motion_goes(run):
    """A file of 20 s and one of 20 s, and a mask of 3 s, the middle of which is least certain."""
    timeline = Timeline.of(DURATION_S, 0.2, np.array([20.0]), np.array([[8.0, 11.0]]))
    taken = timeline.take(DepthPeaks(*made(rigid)))
    worked = run((taken.time_s, taken.depth_um, taken.amplitude), timeline.duration_s)
    motion = timeline.restore(worked)
    assert motion.deviation_um.shape == motion.displacement_um.shape == (200, 5)
    kept = np.flatnonzero(timeline.kept)
    np.testing.assert_array_equal(motion.deviation_um[kept], worked.deviation_um[timeline.place[kept]])
    masked_um, ends_um = motion.deviation_um[40:55], motion.deviation_um[[39, 55]]
    assert (np.diff(masked_um[:7], axis=0) > 0).all()
    assert (np.diff(masked_um[8:], axis=0) < 0).all()
    assert (masked_um[7] > 2 * ends_um.max(axis=0)).all()
    assert (np.abs(errors_um(motion, rigid)[40:55]) < 3 * masked_um).all()


# --- what must not matter -------------------------------------------------------------------------------------------


def test_depths_have_no_zero(run):
    time_s, depth_um, amplitude = made(gradient)
    here = run((time_s, depth_um, amplitude))
    there = run((time_s, depth_um + 4096.0, amplitude), span_um=(4096.0, 4496.0))
    np.testing.assert_allclose(there.displacement_um, here.displacement_um, atol=1e-3)
    np.testing.assert_allclose(there.deviation_um, here.deviation_um, rtol=1e-3)
    np.testing.assert_allclose(there.spatial_bins_um, here.spatial_bins_um + 4096)


def test_amplitudes_have_no_unit_and_no_sign(run):
    time_s, depth_um, amplitude = made(gradient)
    expected = run((time_s, depth_um, amplitude))
    for scaled in (amplitude * 1000, np.abs(amplitude) / 7):
        found = run((time_s, depth_um, scaled))
        np.testing.assert_allclose(found.displacement_um, expected.displacement_um, atol=1e-3)


def test_a_shank_that_is_turned_over_moves_the_other_way(run):
    """Cells and coarse bins lie elsewhere then, so it is nearly the same."""
    time_s, depth_um, amplitude = made(gradient, count=12_000)
    here, turned = run((time_s, depth_um, amplitude)), run((time_s, 400 - depth_um, amplitude))
    assert np.abs(here.displacement_um + turned.displacement_um[:, ::-1]).max() < 0.1


def test_time_that_runs_back_is_the_same_motion_backwards(run):
    """But for single bins in which no more is known."""
    time_s, depth_um, amplitude = made(gradient, count=12_000)
    here = run((time_s, depth_um, amplitude))
    back = run((DURATION_S - time_s[::-1], depth_um[::-1], amplitude[::-1]))
    assert np.abs(here.displacement_um - back.displacement_um[::-1]).max() < 0.1


def test_the_order_of_peaks_within_a_bin_is_nothing(run):
    time_s, depth_um, amplitude = made(gradient)
    time_s = np.floor(time_s / 0.2) * 0.2 + 0.1
    order = np.lexsort((np.random.default_rng(0).uniform(size=len(time_s)), time_s))
    expected = run((time_s, depth_um, amplitude))
    found = run((time_s[order], depth_um[order], amplitude[order]))
    np.testing.assert_allclose(found.displacement_um, expected.displacement_um, atol=1e-4)


@pytest.mark.parametrize("jobs", [1, 3])
def test_the_same_peaks_give_the_same_bytes_for_any_number_of_threads(run, jobs):
    expected, found = run(made(gradient)), run(made(gradient), jobs=jobs)
    for name in ("displacement_um", "deviation_um"):
        assert getattr(expected, name).tobytes() == getattr(found, name).tobytes()
    assert np.ptp(found.displacement_um) > 10


def test_peaks_are_left_as_they_are(run):
    peaks = made(gradient)
    copies = [values.copy() for values in peaks]
    run(peaks)
    for values, copy in zip(peaks, copies, strict=True):
        np.testing.assert_array_equal(values, copy)


def test_peaks_before_and_after_the_recording_are_left_out(run):
    time_s, depth_um, amplitude = made(gradient)
    more = np.concatenate([[-5.0, -0.05], time_s, [40.1, 300.0]])
    found = run((more, np.pad(depth_um, 2, mode="edge"), np.pad(amplitude, 2, mode="edge")))
    np.testing.assert_array_equal(found.displacement_um, run((time_s, depth_um, amplitude)).displacement_um)


# --- little of anything ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("time_s", [[17.0], [1.0, 39.0]])
def test_one_or_two_peaks_do_not_move(run, time_s):
    number = len(time_s)
    motion = run((np.array(time_s), np.full(number, 300.0), np.full(number, -50.0)))
    assert np.abs(motion.displacement_um).max() < 1e-3
    known = np.argmin(motion.deviation_um.min(axis=1))
    assert np.abs(motion.temporal_bins_s[known] - time_s).min() < 0.11
    assert motion.deviation_um.max() > 10


@pytest.mark.parametrize("amplitude", [0.0, -50.0])
def test_peaks_at_one_depth_do_not_move(run, amplitude):
    motion = run((np.linspace(0, 39.9, 400), np.full(400, 305.0), np.full(400, amplitude)))
    assert np.abs(motion.displacement_um).max() < 1e-3


def test_some_peaks_without_amplitude(run, error_um):
    time_s, depth_um, amplitude = drift.peaks()
    amplitude[::7] = 0
    assert error_um(run((time_s, depth_um, amplitude), span_um=WIDE_UM)) < 1


@pytest.mark.parametrize("span_um", [(305.0, 305.0), (300.0, 320.0)])
def test_a_shank_of_one_contact_or_two(run, span_um):
    depth_um = np.clip(305 + np.random.default_rng(0).normal(0, 1, 400), *span_um)
    motion = run((np.linspace(0, 39.9, 400), depth_um, np.full(400, -50.0)), span_um=span_um)
    np.testing.assert_array_equal(motion.spatial_bins_um, [sum(span_um) / 2])
    assert np.abs(motion.displacement_um).max() < 0.5
    assert (motion.deviation_um > 0).all()


class Told(Reporter):
    def __init__(self):
        self.messages = []

    def message(self, text):
        self.messages.append(text)


@pytest.mark.parametrize(("depth_um", "messages"), [((0.0, 400.0), 1), ((0.0, 200.0), 0)])
def test_peaks_of_which_none_says_anything_are_told_of(depth_um, messages):
    """They lie at the outermost contacts, and wander from one to the other."""
    time_s, told = np.linspace(0, 39.9, 400), Told()
    peaks = DepthPeaks(time_s, np.where(time_s < 20, *depth_um), np.full(400, -50.0))
    motion = likelihood.estimate(peaks, SPAN_UM, DURATION_S, Parameters(bin_s=1.0), told)
    assert len(told.messages) == messages
    if messages:
        assert "no peak says anything about the motion" in told.messages[0]
        assert np.abs(motion.displacement_um).max() < 1e-3


@pytest.mark.parametrize(("rounds", "times"), [(1, 0), (3, 1), (4, 1), (5, 2)])
def test_steps_are_learned_where_a_round_comes_that_uses_them(run, monkeypatch, rounds, times):
    learned, prior = [], likelihood.Prior.learned
    monkeypatch.setattr(likelihood.Prior, "learned", lambda *given: learned.append(1) or prior(*given))
    run(made(rigid, count=500), rounds=rounds, bin_s=1.0)
    assert len(learned) == times


@pytest.mark.parametrize(("duration_s", "bins"), [(0.05, 1), (0.2, 1), (0.3, 2)])
def test_one_or_two_temporal_bins(run, duration_s, bins):
    motion = run(drift.peaks(duration_s, 400.0, 300), duration_s)
    assert motion.displacement_um.shape == (bins, 5)
    assert bins > 1 or (motion.displacement_um == 0).all()


@pytest.mark.parametrize(("win_step_um", "windows"), [(5000.0, 1), (400.0, 2), (200.0, 3), (30.0, 14)])
def test_windows_reach_from_end_to_end(run, win_step_um, windows):
    motion = run(made(rigid), win_step_um=win_step_um)
    assert len(motion.spatial_bins_um) == windows
    np.testing.assert_allclose(motion.spatial_bins_um, np.linspace(0, 400, windows) if windows > 1 else [200])
    assert np.abs(errors_um(motion, rigid)).mean() < 0.6


@pytest.mark.parametrize("bin_s", [0.05, 0.2, 0.7, 1.0])
def test_temporal_bins_are_true_centres(run, bin_s):
    motion = run(made(rigid), bin_s=bin_s)
    np.testing.assert_allclose(motion.temporal_bins_s, (np.arange(np.ceil(40 / bin_s)) + 0.5) * bin_s)
    assert np.abs(errors_um(motion, rigid)).mean() < 1


@pytest.mark.parametrize("name", ["likeness_um", "bending_um", "step_freedom", "border_um", "saturation_hz"])
@pytest.mark.parametrize("value", [1e-9, 1e12])
def test_no_value_is_too_far_out(run, name, value):
    motion = run(made(rigid, count=2000), rounds=4, bin_s=1.0, **{name: value})
    assert np.abs(motion.displacement_um).max() < 150


def test_peaks_that_nothing_can_be_made_of_are_errors(run, check_refused_peaks):
    check_refused_peaks(run)


@pytest.mark.parametrize(
    "parameters",
    [
        {"rounds": 0},
        {"bin_s": 0.0},
        {"bin_s": 3.0},  # more than a block
        {"block_s": 0.1},
        {"depth_sigma_um": -1.0},
        {"step_freedom": 0.0},
        {"bins": 3},
    ],
)
def test_parameters_that_make_no_sense_are_errors(parameters):
    with pytest.raises(ValidationError):
        Parameters(**parameters)


# --- memory and progress --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("logs", [4.6, 9.0])
def test_the_cells_take_what_is_predicted(logs):
    """Where amplitudes range over a hundredfold, and no more where they range farther."""
    parameters = likelihood._of_tissue(Parameters(depth_sigma_um=0.3))
    rng = np.random.default_rng(0)
    size = np.exp(rng.uniform(0, logs, 1000))
    peaks = DepthPeaks(np.sort(rng.uniform(0, 40, 1000)), rng.uniform(0, 400, 1000), size)
    tissue = Tissue.of(peaks, Nodes(40, 1.0, np.linspace(0, 400, 5)), SPAN_UM, 150.0, parameters)
    tissue.evidence(np.zeros((40, 5)), 5.0)
    tracemalloc.start()
    tissue.evidence(np.zeros((40, 5)), 5.0)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    predicted = cells_bytes(SPAN_UM, 150.0, parameters)
    assert 0.9 * peak_bytes < predicted < 1.3 * peak_bytes
    assert likelihood.footprint(1000, SPAN_UM, 40.0, Parameters(depth_sigma_um=0.3)).n_bytes >= predicted


@pytest.mark.parametrize(
    ("duration_s", "parameters", "hint"),
    [
        (1e6, {"win_step_um": 20.0}, "estimate.bin_s"),
        (40.0, {"depth_sigma_um": 1e-3}, "estimate.depth_sigma_um"),
        (40.0, {"amplitude_sigma": 1e-6}, "estimate.amplitude_sigma"),
    ],
)
def test_what_does_not_fit_is_refused_before_it_begins(duration_s, parameters, hint):
    parameters = Parameters(**parameters)
    peaks = DepthPeaks(*made(still, count=100))
    with pytest.raises(UsageError, match="more than 4 GB") as refused:
        likelihood.estimate(peaks, SPAN_UM, duration_s, parameters, Reporter())
    assert hint in refused.value.hint


def test_progress_goes_from_start_to_end():
    class Listener(Reporter):
        def __init__(self):
            self.done = []

        def progress(self, stage, done, total, recording_s=0.0):
            assert stage == "estimate"
            self.done.append(done / total)

    listener = Listener()
    likelihood.estimate(DepthPeaks(*made(still)), SPAN_UM, DURATION_S, Parameters(rounds=3), listener)
    assert listener.done == sorted(set(listener.done))
    assert listener.done[-1] == 1
    assert len(listener.done) == 2 + 20 + 3  # windows of the coarse motion, blocks that are looked at, and rounds


def test_progress_goes_on_while_another_start_is_tried():
    class Listener(Reporter):
        def __init__(self):
            self.done = []

        def progress(self, stage, done, total, recording_s=0.0):
            self.done.append(done / total)

    listener = Listener()
    peaks, parameters = DepthPeaks(*drift.lost_peaks(LOST[0])), Parameters(max_disp_um=100.0)
    likelihood.estimate(peaks, WIDE_UM, DURATION_S, parameters, listener)
    assert listener.done == sorted(set(listener.done))
    assert listener.done[-1] == 1
    assert len(listener.done) == 3 + 20 + 16 + 6
    assert np.diff([0, *listener.done]).max() < 0.2
