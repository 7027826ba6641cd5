import os
import subprocess
import sys

import numpy as np
import pytest
from pydantic import ValidationError

from driftcli.errors import InputError, UsageError
from driftcli.estimate import dredge_ap, dredge_solve
from driftcli.estimate.dredge_ap import Parameters, estimate
from driftcli.estimate.dredge_correlate import Correlator
from driftcli.estimate.dredge_solve import PairEquations
from driftcli.model import DepthPeaks
from driftcli.reporter import Reporter
from oracles import dredge_ap as oracle
from oracles import windows as windows_oracle

SPAN_UM = (0.0, 300.0)
SMALL = {"win_step_um": 100.0, "win_scale_um": 80.0, "max_disp_um": 20.0, "bin_um": 2.0}


class Listener(Reporter):
    def __init__(self):
        self.messages, self.done = [], []

    def message(self, text):
        self.messages.append(text)

    def progress(self, stage, done, total, recording_s=0.0):
        self.done.append((stage, done, total))


def drift(time_s, depth_um):
    """Slow, and larger at the tip."""
    return 8 * np.sin(time_s / 5) * (1 - 0.6 * depth_um / SPAN_UM[1])


def make_peaks(seconds, rate=120, seed=0, displacement=drift, span_um=SPAN_UM):
    rng = np.random.default_rng(seed)
    units = rng.uniform(*span_um, 40)
    amplitudes = rng.uniform(40, 200, 40)
    time_s = np.sort(rng.uniform(0, seconds, int(rate * seconds)))
    unit = rng.integers(0, 40, len(time_s))
    depth_um = units[unit] + displacement(time_s, units[unit]) + rng.normal(0, 1.5, len(time_s))
    return DepthPeaks(time_s, depth_um, -amplitudes[unit])


def without(peaks, left_out):
    return DepthPeaks(peaks.time_s[~left_out], peaks.depth_um[~left_out], peaks.amplitude[~left_out])


def spatial_windows(parameters, edges_um):
    centres = (edges_um[1:] + edges_um[:-1]) / 2
    layout = parameters.win_shape, parameters.win_step_um, parameters.win_scale_um, parameters.win_margin_um
    return windows_oracle.all_weights(SPAN_UM, centres, *layout, rigid=parameters.rigid, threshold=1e-5)


def expected(peaks, seconds, parameters, **others):
    """What the oracle says."""
    edges_s = np.arange(0, seconds + parameters.bin_s, parameters.bin_s)
    edges_um = np.arange(SPAN_UM[0], SPAN_UM[1] + parameters.bin_um, parameters.bin_um)
    windows = spatial_windows(parameters, edges_um)
    max_lag = int(parameters.max_disp_um // parameters.bin_um)
    arrays = peaks.time_s, peaks.depth_um, peaks.amplitude
    return oracle.estimate(*arrays, edges_s, edges_um, windows, max_lag, **others)


# --- the whole estimate ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"time_horizon_s": 4.0},
        {"mincorr": 0.6},
        {"win_shape": "rect", "win_scale_um": 130.0},
        {"win_step_um": 130.0, "win_scale_um": 40.0},
        {"win_shape": "triangle", "win_scale_um": 200.0},
        {"lambda_t": 5.0, "lambda_s": 0.3, "eps": 0.1},
        {"weights_threshold_low": 1.0, "weights_threshold_high": 60.0},
        {"histogram_depth_smooth_um": 4.0, "histogram_time_smooth_s": 0.4},
    ],
)
def test_the_estimate_is_the_oracles(changed):
    names = {
        "weights_threshold_low": "threshold_low",
        "weights_threshold_high": "threshold_high",
        "histogram_depth_smooth_um": "depth_smooth_um",
        "histogram_time_smooth_s": "time_smooth_s",
    }
    peaks, parameters = make_peaks(12), Parameters(**{**SMALL, **changed})
    motion = estimate(peaks, SPAN_UM, 12.0, parameters, Reporter())
    passed_on = {names.get(k, k): v for k, v in changed.items() if k not in ("win_scale_um", "win_step_um")}
    theirs = expected(peaks, 12.0, parameters, **passed_on)
    np.testing.assert_allclose(motion.displacement_um, theirs, atol=1e-5)
    np.testing.assert_allclose(motion.temporal_bins_s, np.arange(12) + 0.5)


def test_the_rigid_estimate_is_the_oracles():
    peaks, parameters = make_peaks(10), Parameters(rigid=True, bin_um=2.0, max_disp_um=30.0)
    motion = estimate(peaks, SPAN_UM, 10.0, parameters, Reporter())
    np.testing.assert_allclose(motion.displacement_um, expected(peaks, 10.0, parameters), atol=1e-5)


def spread_out_peaks():
    """60 units that move up and down and jump at 8 s, without random numbers."""
    unit, spike = np.meshgrid(np.arange(60), np.arange(126), indexing="ij")
    home = unit * 0.6180339887498949 % 1 * 880 + 10
    time_s = (spike + unit * 0.7548776662466927 % 1) / 9
    moved = (3 + home / 180) * np.sin(2 * np.pi * time_s / 14) + 4 * (time_s > 8)
    jitter = 6 * ((unit * 0.5698402909980532 + spike * 0.6180339887498949) % 1 - 0.5)
    order = np.argsort(time_s.ravel(), kind="stable")
    amplitude = -(40.0 + 17 * (unit % 7))
    return DepthPeaks(*(a.ravel()[order] for a in (time_s, home + moved + jitter, amplitude)))


# SpikeInterface 0.105.3: estimate_motion(method="dredge_ap"), contacts every 20 um from 0 to 900, 14 s; each third bin
SPIKEINTERFACE = [
    (
        {"win_step_um": 300.0, "win_scale_um": 300.0},
        [
            [0.0771, 0.3808, 0.7354],
            [2.1448, 2.9318, 3.7745],
            [-0.5038, -0.5533, -0.3044],
            [-1.4252, -2.1913, -3.0869],
            [-0.3561, -0.8111, -1.5012],
        ],
    ),
    ({"rigid": True, "bin_s": 2.0}, [[0.7914], [-1.17], [-0.3578]]),
]


@pytest.mark.parametrize(("parameters", "golden_um"), SPIKEINTERFACE, ids=["windows", "rigid"])
def test_the_estimate_is_spikeinterfaces(parameters, golden_um):
    motion = estimate(spread_out_peaks(), (0.0, 900.0), 14.0, Parameters(**parameters), Reporter())
    difference = np.abs(motion.displacement_um[::3] - golden_um)
    assert difference.mean() < 0.005
    assert difference.max() < 0.05


def test_a_known_drift_is_found():
    span_um = (0.0, 900.0)
    peaks = make_peaks(60, rate=500, span_um=span_um, displacement=lambda t, y: 8 * np.sin(t / 5) * (1 - y / 3000))
    motion = estimate(peaks, span_um, 60.0, Parameters(histogram_time_smooth_s=None), Reporter())
    truth = 8 * np.sin(motion.temporal_bins_s[:, None] / 5) * (1 - motion.spatial_bins_um / 3000)
    error = motion.displacement_um - truth
    assert np.abs(error - np.median(error, axis=0)).mean() < 0.5


def test_pieces_and_stretches_do_not_show(monkeypatch):
    peaks, parameters = make_peaks(50), Parameters(**SMALL, time_horizon_s=7.0)
    whole = estimate(peaks, SPAN_UM, 50.0, parameters, Reporter())
    monkeypatch.setattr(dredge_ap, "_STRETCH", 16)
    monkeypatch.setattr(dredge_ap, "_PIECE", 5)
    cut = estimate(peaks, SPAN_UM, 50.0, parameters, Reporter())
    np.testing.assert_allclose(cut.displacement_um, whole.displacement_um, atol=1e-5)


def test_a_percentile_stands_in_for_the_correlation_that_must_be_reached():
    peaks = make_peaks(12)
    percentile = Parameters(**SMALL, mincorr_percentile=60.0, mincorr_percentile_nneighbs=5)
    found = estimate(peaks, SPAN_UM, 12.0, percentile, Reporter()).displacement_um
    edges_s, edges_um = np.arange(13.0), np.arange(0, 301, 2.0)
    image = oracle.raster(peaks.time_s, peaks.depth_um, peaks.amplitude, edges_s, edges_um, 1.0, 1.0)
    windows = spatial_windows(percentile, edges_um)
    near = [
        oracle.correlate(image[i], image[j], (np.sqrt(window), np.sqrt(window)), 10).max()
        for window in windows
        for i in range(12)
        for j in range(i + 1, min(i + 5, 12))
    ]
    fixed = Parameters(**SMALL, mincorr=float(np.percentile(near, 60.0)))
    np.testing.assert_allclose(found, estimate(peaks, SPAN_UM, 12.0, fixed, Reporter()).displacement_um, atol=1e-5)


def test_threads_do_not_show():
    peaks, parameters = make_peaks(30), Parameters(**SMALL)
    alone, together = (estimate(peaks, SPAN_UM, 30.0, parameters, Reporter(), jobs) for jobs in (1, 3))
    assert (alone.displacement_um == together.displacement_um).all()


_PRINT_MOTION = """
import numpy as np
from driftcli.estimate.dredge_ap import Parameters, estimate
from driftcli.model import DepthPeaks
from driftcli.reporter import Reporter
rng = np.random.default_rng(0)
time_s = np.sort(rng.uniform(0, 40, 8000))
depth_um = rng.uniform(0, 3840, 200)[rng.integers(0, 200, 8000)] + 9 * np.sin(time_s / 5) + rng.normal(0, 2, 8000)
peaks = DepthPeaks(time_s, depth_um, np.full(8000, -80.0))
motion = estimate(peaks, (0.0, 3840.0), 40.0, Parameters(bin_um=4.0), Reporter())
print(len(motion.spatial_bins_um), motion.displacement_um.tobytes().hex())
"""


def test_threads_of_libraries_do_not_show():
    printed = []
    for threads in ("1", "2"):
        names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
        run = subprocess.run(
            [sys.executable, "-c", _PRINT_MOTION],
            env=os.environ | dict.fromkeys(names, threads),
            capture_output=True,
            text=True,
            check=True,
        )
        printed.append(run.stdout.split())
    assert int(printed[0][0]) >= 18
    assert len(printed[0][1]) == 16 * 40 * int(printed[0][0])
    assert printed[0] == printed[1]


def test_progress_is_told_for_each_window():
    listener = Listener()
    motion = estimate(make_peaks(10), SPAN_UM, 10.0, Parameters(**SMALL), listener)
    n_windows = len(motion.spatial_bins_um)
    assert listener.done == [("estimate", n, n_windows) for n in range(1, n_windows + 1)]


# --- at the borders -------------------------------------------------------------------------------------------------


def test_one_temporal_bin_does_not_move():
    motion = estimate(make_peaks(1), SPAN_UM, 1.0, Parameters(**SMALL), Reporter())
    assert motion.displacement_um.shape == (1, len(motion.spatial_bins_um))
    assert (motion.displacement_um == 0).all()


def test_one_depth_does_not_move():
    peaks = DepthPeaks(np.linspace(0, 9, 50), np.full(50, 20.0), np.full(50, -80.0))
    motion = estimate(peaks, (20.0, 20.0), 10.0, Parameters(), Reporter())
    assert (motion.displacement_um == np.zeros((10, 1))).all()


@pytest.mark.parametrize("field", ["time_s", "depth_um", "amplitude"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(field, value):
    peaks = make_peaks(5)
    getattr(peaks, field)[-1] = value
    with pytest.raises(InputError, match="1 of 600 peaks"):
        estimate(peaks, SPAN_UM, 5.0, Parameters(), Reporter())


def test_no_peaks_are_refused():
    peaks = without(make_peaks(5), np.full(600, True))
    with pytest.raises(InputError, match="no peaks"):
        estimate(peaks, SPAN_UM, 5.0, Parameters(), Reporter())


def test_no_peaks_on_the_shank_are_refused():
    with pytest.raises(InputError, match=r"^none of the 600 peaks"):
        estimate(make_peaks(5), (1000.0, 1400.0), 5.0, Parameters(), Reporter())


@pytest.mark.parametrize(
    "changed",
    [{"time_horizon_s": 0.9}, {"time_horizon_s": 4.9, "bin_s": 5.0}, {"max_disp_um": 0.9}, {"bin_um": 30.0}],
)
def test_less_than_a_bin_is_refused(changed):
    with pytest.raises(ValidationError, match="is less than bin_"):
        Parameters(**{"max_disp_um": 20.0, **changed})


def test_a_horizon_of_whole_bins_holds_them_all_whatever_the_rounding():
    assert dredge_ap._reach(Parameters(bin_s=0.1, time_horizon_s=0.3), 100) == 3
    assert dredge_ap._reach(Parameters(bin_s=0.1, time_horizon_s=0.39), 100) == 3
    assert dredge_ap._reach(Parameters(time_horizon_s=None), 100) == 99


def scaled(peaks, factor):
    return DepthPeaks(peaks.time_s, peaks.depth_um, peaks.amplitude * factor)


def test_amplitudes_too_small_for_any_weight_are_told():
    listener, peaks = Listener(), make_peaks(10)
    motion = estimate(scaled(peaks, 1e-6), SPAN_UM, 10.0, Parameters(**SMALL), listener)
    assert (motion.displacement_um == 0).all()
    (message,) = listener.messages
    windows = spatial_windows(Parameters(**SMALL), np.arange(0, 301, 2.0))
    arrays = peaks.time_s, peaks.depth_um, peaks.amplitude * 1e-6
    content = windows @ oracle.raster(*arrays, np.arange(11.0), np.arange(0, 301, 2.0), 1.0, 1.0).T
    assert f"{content.max():.3g}, below weights_threshold_low=0.2 " in message
    assert "uV (detect --gain-to-uv)" in message


def test_bins_that_nothing_lines_up_are_told():
    listener = Listener()
    estimate(make_peaks(5), SPAN_UM, 5.0, Parameters(**SMALL, mincorr=1.5), listener)
    (message,) = listener.messages
    assert "mincorr of 1.5" in message
    assert "uV" not in message


@pytest.mark.parametrize("seconds", [1, 10])
def test_nothing_is_told_where_bins_are_lined_up(seconds):
    listener = Listener()
    estimate(make_peaks(seconds), SPAN_UM, seconds, Parameters(**SMALL), listener)
    assert listener.messages == []


def test_empty_bins_are_bridged():
    peaks = make_peaks(18, displacement=lambda t, _: np.where(t < 9, 0.0, 8.0))
    peaks = without(peaks, (peaks.time_s > 6) & (peaks.time_s < 12))
    parameters = Parameters(**SMALL, histogram_time_smooth_s=None)
    moved = estimate(peaks, SPAN_UM, 18.0, parameters, Reporter()).displacement_um
    np.testing.assert_allclose(moved, expected(peaks, 18.0, parameters, time_smooth_s=1e-3), atol=1e-5)
    assert (np.diff(moved[6:13], axis=0) > 0).all()


def test_a_silent_window_follows_its_neighbours():
    peaks = make_peaks(30, displacement=lambda t, _: 8 * np.sin(t / 4))
    peaks = without(peaks, peaks.depth_um > 120)
    parameters = Parameters(win_shape="rect", win_step_um=90.0, win_scale_um=80.0, max_disp_um=20.0)
    moved = estimate(peaks, SPAN_UM, 30.0, parameters, Reporter()).displacement_um
    silent, next_to_it = moved[:, -1], moved[:, -2]
    assert np.isfinite(silent).all()
    assert np.corrcoef(silent, next_to_it)[0, 1] > 0.95


# --- correlation ----------------------------------------------------------------------------------------------------

WINDOWS = {
    "gaussian": np.exp(-((np.arange(90) - 25) ** 2) / (2 * 12.0**2)),
    "rect": (np.abs(np.arange(90) - 60) < 14).astype(float),
    "at the end": np.maximum(np.arange(90) - 40.0, 0),
    "all": np.ones(90),
}


def sparse_raster(n_rows, seed=4, busy=0.2):
    rng = np.random.default_rng(seed)
    raster = rng.uniform(0, 100, (n_rows, 90)) * (rng.uniform(size=(n_rows, 90)) < busy)
    raster = oracle.smooth(raster, 1.0).astype(np.float32)
    raster[3] = 0
    raster[5, 26:] = 0
    return raster


def on_both(window):
    return np.sqrt(window), np.sqrt(window)


def on_template(window):
    return window, np.ones_like(window)


def on_input(window):
    return np.ones_like(window), window


@pytest.mark.parametrize("name", WINDOWS)
@pytest.mark.parametrize("options", [(True, True), (True, False), (False, True), (False, False)])
@pytest.mark.parametrize("weigh", [on_both, on_template, on_input])
def test_the_best_lags_are_the_oracles(name, options, weigh):
    raster, window = sparse_raster(16), WINDOWS[name] / WINDOWS[name].sum()
    unit = 1.0 if options[1] else float((raster**2).mean())
    compared = 0
    weights = weigh(window)
    for block in Correlator(raster, *weights, 13, *options).best(9, reach=6):
        for (i, j), found in np.ndenumerate(block.correlation):
            template, other = raster[block.first_template + i], raster[block.first_input + j]
            values = oracle.correlate(template.astype(float), other.astype(float), weights, 13, *options)
            lag = block.lag[i, j]
            assert found == pytest.approx(values.max(), abs=1e-4 * unit)
            assert values[lag + 13] == pytest.approx(values.max(), abs=1e-4 * unit)
            compared += 1
    assert compared >= 9 * 7


def test_all_pairs_within_reach_are_made_once():
    correlator, made = Correlator(sparse_raster(80), np.ones(90), np.ones(90), 13), np.zeros((80, 80), dtype=int)
    for block in correlator.best(70, reach=7):
        i, j = block.first_template, block.first_input
        made[i : i + block.lag.shape[0], j : j + block.lag.shape[1]] += 1
    apart = np.subtract.outer(np.arange(80), np.arange(80)) * -1
    assert (made[:70][(apart[:70] >= 0) & (apart[:70] <= 7)] == 1).all()
    assert made.max() == 1
    assert made[70:].sum() == 0


def test_a_large_constant_does_not_change_the_correlations():
    raster, ones = sparse_raster(20), np.ones(90)
    plain, raised = (next(Correlator(r, ones, ones, 13).best(20, 19)) for r in (raster, raster + 4096))
    np.testing.assert_allclose(raised.correlation, plain.correlation, atol=2e-4)


# --- equations ------------------------------------------------------------------------------------------------------


def random_pairs(n_windows, n_bins, reach, seed=1):
    """(W, T, T) displacements and weights, the same from either side."""
    rng = np.random.default_rng(seed)
    displacement = np.triu(rng.normal(0, 10, (n_windows, n_bins, n_bins)), 1)
    weight = np.triu(rng.uniform(0, 1, displacement.shape) * (rng.uniform(size=displacement.shape) < 0.7))
    weight *= np.abs(np.subtract.outer(np.arange(n_bins), np.arange(n_bins))) <= reach
    return displacement - displacement.transpose(0, 2, 1), (weight + weight.transpose(0, 2, 1)) / 2


def filled(displacement, weight, reach, exact=True):
    """Equations of dense (W, T, T) arrays, added in blocks that reach beyond the band and hold both orders."""
    n_windows, n_bins = weight.shape[:2]
    equations = PairEquations(n_windows, n_bins, reach, exact)
    for w in range(n_windows):
        for i in range(0, n_bins, 7):
            for j in range(0, n_bins, 5):
                part = np.s_[w, i : i + 7, j : j + 5]
                equations.add(w, (i, j), displacement[part], 2 * weight[part])
    return equations


def leave_as_is(weight):
    pass


def empty_bins(weight):
    weight[:, 10:17] = weight[:, :, 10:17] = 0


def empty_bins_of_one_window(weight):
    weight[0, 3:12] = weight[0, :, 3:12] = 0


def empty_window(weight):
    weight[1] = 0


def two_islands(weight):
    weight[:, :15, 15:] = weight[:, 15:, :15] = 0


@pytest.mark.parametrize(
    "spoil", [leave_as_is, empty_bins, empty_bins_of_one_window, empty_window, two_islands], ids=lambda f: f.__name__
)
@pytest.mark.parametrize("priors", [(1.0, 1.0, 1e-3), (0.0, 1.0, 1e-3), (1.0, 0.0, 1e-3), (0.0, 0.0, 0.1)])
def test_the_banded_solution_is_the_dense_one(spoil, priors):
    displacement, weight = random_pairs(3, 30, 9)
    spoil(weight)
    solution = filled(displacement, weight, 9).solve(*priors)
    np.testing.assert_allclose(solution, oracle.solve(displacement, weight, *priors), atol=5e-6)


@pytest.mark.parametrize(("n_windows", "n_bins", "reach"), [(1, 1, 0), (4, 1, 0), (1, 2, 1), (2, 3, 1), (1, 25, 24)])
def test_small_shapes_are_solved_as_the_dense_ones(n_windows, n_bins, reach):
    displacement, weight = random_pairs(n_windows, n_bins, reach)
    solution = filled(displacement, weight, reach).solve(1.0, 1.0, 1e-3)
    np.testing.assert_allclose(solution, oracle.solve(displacement, weight, 1.0, 1.0, 1e-3), atol=5e-6)


@pytest.mark.parametrize("reach", [2, 40])
def test_a_long_recording_settles_however_short_the_reach(reach):
    n_bins = 4000
    position = 30 * np.sin(np.arange(n_bins) / 700) + np.arange(n_bins) % 3
    equations = PairEquations(1, n_bins, reach, exact=True)
    for k in range(1, reach + 1):
        for t in range(0, n_bins - k):
            if not 2000 <= t < 2600:
                equations.add(0, (t, t + k), np.array([[position[t] - position[t + k]]]), np.ones((1, 1)))
    moved = equations.solve(1e-6, 1.0, 1e-9)[:, 0]
    for part in (slice(0, 2000), slice(2700, 4000)):
        np.testing.assert_allclose(np.diff(moved[part]), np.diff(position[part]), atol=1e-2)


def test_weights_of_one_byte_give_nearly_the_same_motion():
    rng = np.random.default_rng(2)
    position = rng.normal(0, 20, (2, 60)).cumsum(axis=1)
    weight = random_pairs(2, 60, 25)[1] ** 2
    asked = position[:, :, None] - position[:, None, :] + rng.normal(0, 1, weight.shape).round()
    exact, coarse = (filled(asked, weight, 25, exact).solve(1.0, 1.0, 1e-3) for exact in (True, False))
    assert filled(asked, weight, 25, exact=False).weights.nbytes == weight[:, :, :25].size
    assert np.abs(exact - coarse).max() < 0.1
    assert np.abs(exact - coarse).mean() < 0.02


def test_displacements_that_do_not_settle_are_the_users_to_mend(monkeypatch):
    monkeypatch.setattr(dredge_solve, "_MAX_ITERATIONS", 1)
    with pytest.raises(UsageError, match="did not settle") as raised:
        filled(*random_pairs(2, 30, 9), 9).solve(1.0, 1.0, 1e-3)
    assert "estimate.eps" in raised.value.hint


def test_more_weights_than_memory_should_hold_are_refused():
    parameters = Parameters(**SMALL | {"win_step_um": 150.0}, time_horizon_s=None)
    with pytest.raises(UsageError, match=r"with up to 49999 others in 2 windows takes 5 GB, more than 4 GB") as raised:
        estimate(make_peaks(5), SPAN_UM, 50_000.0, parameters, Reporter())
    assert "estimate.time_horizon_s" in raised.value.hint


def test_what_is_held_stays_and_draws_the_rest():
    equations = PairEquations(1, 4, 3, exact=True)
    apart = np.subtract.outer(np.arange(4.0), np.arange(4.0))
    equations.add(0, (0, 0), 5 * apart, np.ones((4, 4)))
    equations.hold(0, np.full(4, 100.0), np.array([1e9, 0.0, 0.0, 0.0]))
    np.testing.assert_allclose(equations.solve(0.0, 0.0, 1e-9)[:, 0], [100, 105, 110, 115], atol=1e-4)
