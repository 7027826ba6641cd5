import json
import subprocess
import sys

import numpy as np
import pytest
from pydantic import ValidationError

from driftcli.errors import InputError
from driftcli.estimate import dredge_lfp
from driftcli.estimate.dredge_lfp import Parameters, estimate, footprint, search_limit
from driftcli.model import DepthTraces
from driftcli.reporter import Reporter
from oracles import dredge_lfp as oracle
from oracles import lfp as made
from oracles import windows as windows_oracle

STEP_UM = 20.0


class Listener(Reporter):
    def __init__(self):
        self.messages, self.done = [], []

    def message(self, text):
        self.messages.append(text)

    def progress(self, stage, done, total, recording_s=0.0):
        self.done.append((stage, done, total))


def run(values, depths_um, reporter=None, jobs=1, **parameters):
    span_um = float(depths_um[0]), float(depths_um[-1])
    lfp = DepthTraces(values, depths_um, made.BIN_S)
    return estimate(lfp, span_um, len(values) * made.BIN_S, Parameters(**parameters), reporter or Reporter(), jobs)


def small():
    """A short stretch of few depths, and their depths."""
    values, depths_um = made.made_up()
    return values[150:194, :24], depths_um[:24]


NONRIGID = {"rigid": False, "win_step_um": 200.0, "win_scale_um": 150.0}


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"time_horizon_s": 0.04},
        {"mincorr": 0.95},
        {"mincorr_percentile": 40.0, "mincorr_percentile_nneighbs": 5},
        {"soft": True, "mincorr": 0.3},
        {"lambda_t": 5.0, "eps": 0.1},
        {"centered": False},
        {"normalized": False, "mincorr": 0.01},
        NONRIGID,
        {**NONRIGID, "win_shape": "rect", "win_scale_um": 250.0, "lambda_s": 3.0},
        {**NONRIGID, "win_shape": "triangle", "win_scale_um": 240.0, "soft": True, "mincorr": 0.5},
        {"chunk_len_s": 0.024},
    ],
)
def test_the_estimate_is_the_oracles(changed):
    values, depths_um = small()
    parameters = Parameters(**{"chunk_len_s": 0.08, "max_disp_um": 100.0, **changed})
    motion = run(values, depths_um, **{"chunk_len_s": 0.08, "max_disp_um": 100.0, **changed})
    layout = parameters.win_shape, parameters.win_step_um, parameters.win_scale_um, parameters.win_margin_um
    span_um = (depths_um[0], depths_um[-1])
    windows = windows_oracle.all_weights(span_um, depths_um, *layout, rigid=parameters.rigid, threshold=1e-5)
    horizon_s = parameters.time_horizon_s
    expected = oracle.estimate(
        values.astype(np.float64),
        STEP_UM,
        windows,
        5,
        round(parameters.chunk_len_s / made.BIN_S),
        gaussian=parameters.win_shape == "gaussian",
        horizon_bins=None if horizon_s is None else round(horizon_s / made.BIN_S),
        mincorr=parameters.mincorr,
        percentile=parameters.mincorr_percentile,
        neighbours=parameters.mincorr_percentile_nneighbs,
        **{
            name: getattr(parameters, name)
            for name in ("soft", "centered", "normalized", "lambda_t", "lambda_s", "eps")
        },
    )
    assert np.ptp(expected) > 1
    np.testing.assert_allclose(motion.displacement_um, expected, atol=2e-4)
    np.testing.assert_allclose(motion.temporal_bins_s, (np.arange(len(values)) + 0.5) * made.BIN_S)


# SpikeInterface 0.105.3: estimate_motion(method="dredge_lfp") of `made_up` at 250 Hz; each 40th bin from the 11th on
RIGID = [
    (
        {"chunk_len_s": 0.4, "max_disp_um": 200.0},
        [168.1438, 11.8452, -161.5828, 155.5892, 7.0151, 27.4151, 101.2052, 11.3427],
    ),
    (
        {
            "chunk_len_s": 0.3,
            "max_disp_um": 120.0,
            "mincorr": 0.6,
            "soft": True,
            "lambda_t": 3.0,
            "lambda_s": 0.5,
            "eps": 0.01,
        },
        [148.7437, -62.333, -100.686, 128.1206, 61.2772, -38.4909, 135.96, 69.159],
    ),
    (
        {"chunk_len_s": 0.4, "max_disp_um": 100.0, "mincorr_percentile": 30.0, "mincorr_percentile_nneighbs": 10},
        [90.2635, 6.3523, -62.6906, 135.458, 56.8573, -27.0223, 33.1074, -38.8253],
    ),
]


@pytest.mark.parametrize(("parameters", "golden_um"), RIGID)
def test_the_rigid_estimate_is_spikeinterfaces(parameters, golden_um):
    motion = run(*made.made_up(), **parameters)
    np.testing.assert_allclose(motion.displacement_um[10::40, 0], golden_um, atol=0.01)


def test_the_first_chunk_in_windows_is_spikeinterfaces():
    """Later ones are seen from both sides here."""
    windows = {"rigid": False, "win_shape": "rect", "win_step_um": 250.0, "win_scale_um": 300.0}
    motion = run(*made.made_up(), chunk_len_s=0.4, max_disp_um=100.0, **windows)
    golden_um = [[66.1154, 17.8691], [13.5426, 1.7162], [-67.0088, -0.9099]]
    np.testing.assert_allclose(motion.displacement_um[10:100:40], golden_um, atol=0.01)
    np.testing.assert_allclose(motion.spatial_bins_um, [265.0, 515.0])


def moving(rows=120, seconds=6.0, **changed):
    depths_um = np.arange(rows) * STEP_UM
    time_s = (np.arange(int(seconds / made.BIN_S)) + 0.5) * made.BIN_S
    # twice differentiated, as `lfp.along_depth` does
    values = made.potential_uv(time_s, depths_um, depths_um[-1], **changed)
    return np.gradient(np.gradient(values, axis=1), axis=1).astype(np.float32), depths_um, time_s


def test_the_motion_is_found():
    values, depths_um, time_s = moving()
    motion = run(values, depths_um, max_disp_um=100.0, chunk_len_s=1.5, rigid=False)
    true = made.truth_um(time_s[:, None], motion.spatial_bins_um[None], depths_um[-1])
    error = motion.displacement_um - true
    error -= np.median(error, axis=0)
    assert np.abs(error).mean() < 2.5
    assert np.abs(true - np.median(true, axis=0)).mean() > 9


def test_threads_change_nothing_and_progress_is_told():
    values, depths_um, _ = moving(rows=30, seconds=1.2)
    told = Listener()
    found = [run(values, depths_um, told, n, chunk_len_s=0.2, max_disp_um=60.0).displacement_um for n in (1, 2, 5)]
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])
    assert told.done == 3 * [("estimate", done, 6) for done in range(1, 7)]
    assert not told.messages


def test_bins_without_a_signal_lie_between_those_that_have_one():
    values, depths_um, _ = moving(rows=60, seconds=0.8)
    values[80:90] = 0
    motion = run(values, depths_um, chunk_len_s=0.8, max_disp_um=100.0).displacement_um[:, 0]
    between = np.interp(np.arange(79, 91), [79, 90], motion[[79, 90]])
    np.testing.assert_allclose(motion[79:91], between, atol=0.05)


def test_where_nothing_lines_up_nothing_moves_and_that_is_told():
    values = np.random.default_rng(0).normal(0, 1, (60, 80)).astype(np.float32)
    told = Listener()
    motion = run(values, np.arange(80) * STEP_UM, told, mincorr=0.99, chunk_len_s=0.1, max_disp_um=60.0)
    assert (motion.displacement_um == 0).all()
    assert len(told.messages) == 1
    assert "none correlate by the mincorr of 0.99" in told.messages[0]


@pytest.mark.parametrize(("noise_uv", "told_of"), [(1.0, 0), (150.0, 1)])
def test_a_motion_that_hardly_any_pair_tells_of_is_told_of(noise_uv, told_of):
    values, depths_um, _ = moving(seconds=2.0, noise_uv=noise_uv)
    told = Listener()
    motion = run(values, depths_um, told, chunk_len_s=1.0, max_disp_um=100.0)
    assert motion.displacement_um.any()
    assert len(told.messages) == told_of
    assert (
        not told_of or "less than 1% of the pairs of temporal bins correlate by the mincorr of 0.8" in told.messages[0]
    )


@pytest.mark.parametrize(("max_disp_um", "told_of"), [(500.0, 1), (100.0, 0)])
def test_a_motion_too_large_for_the_shank_is_told_of(max_disp_um, told_of):
    values, depths_um, _ = moving(rows=24, seconds=2.0, noise_uv=60.0)
    told = Listener()
    motion = run(values, depths_um, told, chunk_len_s=1.0, max_disp_um=max_disp_um)
    assert (np.ptp(motion.displacement_um) > 230) == bool(told_of)
    assert len(told.messages) == told_of
    assert not told_of or "µm of a shank of 460 µm" in told.messages[0]
    assert not told_of or "set estimate.max_disp_um" in told.messages[0]


@pytest.mark.parametrize("horizon_s", [None, 0.1])
def test_pairs_are_counted_as_they_are_compared(horizon_s):
    """Where all correlate enough, all are lined up."""
    values, depths_um, _ = moving(rows=30, seconds=0.6)
    parameters = Parameters(chunk_len_s=0.2, max_disp_um=60.0, mincorr=1e-6, time_horizon_s=horizon_s, **NONRIGID)
    lfp = DepthTraces(values, depths_um, made.BIN_S)
    windows, _ = dredge_lfp.spatial_windows(parameters, (0.0, 580.0), depths_um, Reporter(), 1e-5)
    comparison = dredge_lfp._Comparison.of(lfp, windows, parameters)
    chunks = comparison.chunks()
    found = sum(comparison.compare(chunk).matched for chunk in chunks)
    assert len(windows) > 1
    assert 0.98 * comparison.count(chunks) < found <= comparison.count(chunks)


def test_traces_that_cannot_be_used_are_refused():
    with pytest.raises(InputError, match="fewer than two depths"):
        run(np.zeros((5, 1), np.float32), np.zeros(1))
    values = np.zeros((5, 4), np.float32)
    values[2, 2] = np.nan
    with pytest.raises(InputError, match="NaN or infinity"):
        run(values, np.arange(4) * STEP_UM)


def test_one_bin_stands_still():
    values, depths_um = small()
    assert (run(values[:1], depths_um).displacement_um == 0).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"chunk_len_s": 0.003},
        {"time_horizon_s": 0.001},
        {"bin_s": 0.01},  # freq_max_hz
        {"freq_min_hz": 100.0},
        {"derivative": 3},
        {"mincorr": -1.0},
    ],
)
def test_parameters_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValidationError):
        Parameters(**wrong)


def test_the_limit_is_that_of_the_lags():
    assert search_limit((0.0, 800.0), Parameters(max_disp_um=60.0)).limit_um == 60.0
    assert search_limit((0.0, 800.0), Parameters(chunk_len_s=3.0)).horizon_s == 6.0


MEASURE = """
import json, sys
import numpy as np
from driftcli.estimate.dredge_lfp import Parameters, estimate
from driftcli.model import DepthTraces
from driftcli.reporter import Reporter

n_bins, n_depths, jobs, parameters = json.loads(sys.argv[1])
parameters = Parameters(**parameters)

def memory(name):
    with open("/proc/self/status") as status:
        return next(1024 * int(line.split()[1]) for line in status if line.startswith(name))

def run(n_bins):
    before = memory("VmRSS")
    values = np.random.default_rng(0).normal(0, 1, (n_bins, n_depths)).astype(np.float32)
    estimate(DepthTraces(values, np.arange(n_depths) * 20.0, 0.004), (0.0, 20.0 * n_depths - 20), n_bins * 0.004,
             parameters, Reporter(), jobs)
    return before

run(50)
before = run(n_bins)
print(memory("VmHWM") - before)
"""


def test_what_is_predicted_is_taken():
    windows = {"rigid": False, "win_step_um": 150.0, "win_scale_um": 150.0}
    case = (3_600, 24, 2, {"chunk_len_s": 4.8, "max_disp_um": 60.0, **windows})
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, json.dumps(case)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    n_bins, n_depths, jobs, parameters = case
    found = footprint(n_depths, (0.0, 20.0 * n_depths - 20), n_bins * 0.004, Parameters(**parameters), jobs)
    assert found.temporal_bins == n_bins
    measured = int(done.stdout)
    assert measured > 20e6, "too little to tell it from the rest of the program"
    assert 0.7 * measured < found.n_bytes < 1.6 * measured
