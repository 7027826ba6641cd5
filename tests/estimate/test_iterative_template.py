import numpy as np
import pytest
from pydantic import ValidationError

from driftcli.estimate import iterative_template
from driftcli.estimate.iterative_template import Parameters
from oracles import drift
from oracles import iterative_template as oracle
from oracles import windows as windows_oracle


@pytest.fixture
def method():
    return iterative_template


def test_the_motion_is_the_peers(run):
    # SpikeInterface 0.105.3, estimate_motion(method="iterative_template", win_shape="rect", win_scale_um=400) on the
    # same peaks and contacts every 20 um. It leaves out each window's last bin, so one in ten may differ by a step.
    motion = run(drift.peaks(20.0, 800.0, 6000), 20.0, win_shape="rect", win_scale_um=400.0)
    np.testing.assert_allclose(motion.temporal_bins_s, np.arange(1, 20, 2))
    np.testing.assert_allclose(motion.spatial_bins_um, [200, 400, 600])
    expected = np.array(
        [
            [-7, -2, -1, 1, 1, -1, -2, -8, -9, -13],
            [-7, -2, -1, 1, 0, -1, -2, -8, -9, -12],
            [-7, -2, -2, 0, 0, -2, -2, -7, -8, -10],
        ]
    ).T
    difference = np.abs(motion.displacement_um - expected)
    assert difference.max() < 1.001
    assert np.count_nonzero(difference > 1e-6) <= 3


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"win_shape": "rect"},
        {"win_shape": "triangle", "num_amp_bins": 7},
        {"rigid": True, "bin_um": 5.0, "hist_margin_um": 30.0},
        {"num_iterations": 1, "num_shifts_block": 8},
        {"num_shifts_global": 3, "num_iterations": 3, "smoothing_sigma": 1.5},
        {"kriging_sigma": 0.7, "kriging_p": 1.0, "kriging_d": 1.0},
    ],
)
def test_the_motion_is_the_oracles(run, parameters, span_um):
    peaks = drift.peaks()
    found = run(peaks, **parameters)
    settings = Parameters(**parameters)
    margin, bin_um = settings.hist_margin_um, settings.bin_um
    edges = (np.arange(0, 41, 2.0), np.arange(-margin, 800 + margin + bin_um, bin_um))
    windows = windows_oracle.all_weights(span_um, edges[1][:-1] + bin_um / 2, settings.win_shape, rigid=settings.rigid)
    shifts = oracle.shifts(
        oracle.image(*peaks, *edges, settings.num_amp_bins),
        windows,
        settings.num_shifts_global,
        settings.num_iterations,
        settings.num_shifts_block,
        settings.smoothing_sigma,
        (settings.kriging_sigma, settings.kriging_p, settings.kriging_d),
    )
    np.testing.assert_allclose(found.displacement_um, -shifts * bin_um, atol=1e-9)
    assert np.ptp(shifts) > 0.5


@pytest.mark.parametrize("shape", ["gaussian", "rect", "triangle"])
def test_the_motion_is_near_the_truth(run, error_um, shape):
    assert error_um(run(drift.peaks(), win_shape=shape)) < 1.5


@pytest.mark.parametrize("bin_s", [0.7, 1.0, 2.0, 3.0])
def test_temporal_bins_are_true_centres(run, bin_s):
    motion = run(drift.peaks(), bin_s=bin_s)
    np.testing.assert_allclose(motion.temporal_bins_s, (np.arange(np.ceil(40 / bin_s)) + 0.5) * bin_s)


def test_bins_without_peaks_lie_between_their_neighbours(run, error_um):
    motion = run(drift.peaks(gap_s=(10.0, 16.0)))
    for column in motion.displacement_um.T:
        np.testing.assert_allclose(column[4:9], np.linspace(column[4], column[8], 5))
    assert error_um(motion) < 4


def test_a_last_bin_without_peaks_keeps_the_one_before(run):
    motion = run(drift.peaks(gap_s=(36.0, 40.0)))
    np.testing.assert_array_equal(motion.displacement_um[-2:], motion.displacement_um[[-3, -3]])


@pytest.mark.parametrize("duration_s", [0.5, 2.0, 3.0])
def test_one_or_two_temporal_bins(run, duration_s):
    motion = run(drift.peaks(duration_s, 800.0, 500), duration_s)
    assert motion.displacement_um.shape == (1 if duration_s <= 2 else 2, 3)
    assert duration_s > 2 or (motion.displacement_um == 0).all()


def test_shifts_larger_than_the_shank_go_around(run):
    motion = run(drift.peaks(20.0, 40.0, 2000), 20.0, (0.0, 40.0), num_shifts_global=40, num_shifts_block=9)
    assert motion.displacement_um.shape == (10, 1)


def test_peaks_at_one_depth_do_not_move(run):
    peaks = (np.linspace(0, 39.9, 400), np.full(400, 305.0), np.full(400, -50.0))
    assert (run(peaks).displacement_um == 0).all()


def test_no_shifts_are_no_motion(run):
    assert (run(drift.peaks(), num_shifts_global=0, num_shifts_block=0).displacement_um == 0).all()


def test_peaks_that_nothing_can_be_made_of_are_errors(run, check_refused_peaks):
    check_refused_peaks(run)


@pytest.mark.parametrize("parameters", [{"num_iterations": 0}, {"smoothing_sigma": 0.0}, {"bin_um": -1.0}, {"bins": 3}])
def test_parameters_that_make_no_sense_are_errors(parameters):
    with pytest.raises(ValidationError):
        Parameters(**parameters)


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_the_same_peaks_give_the_same_bytes_for_any_number_of_threads(run, jobs):
    peaks = drift.peaks()
    parameters = {"bin_s": 1.0}
    expected, found = run(peaks, **parameters), run(peaks, jobs=jobs, **parameters)
    assert expected.displacement_um.tobytes() == found.displacement_um.tobytes()
    assert np.ptp(found.displacement_um) > 10
