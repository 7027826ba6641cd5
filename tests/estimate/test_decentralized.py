import tracemalloc

import numpy as np
import pytest
from pydantic import ValidationError

from driftcli.errors import UsageError
from driftcli.estimate import decentralized
from driftcli.estimate.decentralized import Parameters
from oracles import decentralized as oracle
from oracles import drift
from oracles import windows as windows_oracle


@pytest.fixture
def method():
    return decentralized


def test_the_motion_is_the_peers(run):
    # SpikeInterface 0.105.3, estimate_motion(method="decentralized") on the same peaks and contacts every 20 um
    motion = run(drift.peaks(20.0, 800.0, 6000), 20.0)
    np.testing.assert_allclose(motion.temporal_bins_s, np.arange(1, 20, 2))
    np.testing.assert_allclose(motion.spatial_bins_um, [200, 400, 600])
    expected = [
        [-2.608, -2.580, -2.580],
        [-0.255, -0.673, -0.673],
        [1.499, 1.278, 1.278],
        [2.735, 2.297, 2.297],
        [3.183, 2.754, 2.754],
        [1.796, 1.796, 1.796],
        [0.823, 0.255, 0.262],
        [-3.827, -2.678, -2.535],
        [-5.873, -5.669, -6.266],
        [-9.725, -8.532, -8.084],
    ]
    np.testing.assert_allclose(motion.displacement_um, expected, atol=2e-3)


@pytest.mark.parametrize("parameters", [{}, {"win_shape": "rect"}, {"rigid": True}, {"weight_with_amplitude": True}])
def test_the_motion_is_the_oracles(run, parameters):
    peaks = drift.peaks(12.0, 400.0, 3000)
    fixed = {"win_scale_um": 150.0, "win_step_um": 100.0, "bin_um": 10.0, "bin_s": 1.0, "max_displacement_um": 30.0}
    plain = {"histogram_depth_smooth_um": None, "histogram_time_smooth_s": None}
    found = run(peaks, 12.0, (0.0, 400.0), **fixed, **plain, **parameters)

    time_s, depth_um, amplitude = peaks
    edges = (np.arange(13.0), np.arange(-20, 425, 10.0))
    places = np.column_stack([time_s, depth_um])
    counts = np.histogramdd(places, bins=edges)[0]
    if "weight_with_amplitude" in parameters:
        counts = np.histogramdd(places, bins=edges, weights=np.abs(amplitude))[0] / np.maximum(counts, 1)
    shape, rigid = parameters.get("win_shape", "gaussian"), parameters.get("rigid", False)
    windows = windows_oracle.all_weights((0.0, 400.0), edges[1][:-1] + 5, shape, 100.0, 150.0, rigid=rigid)
    expected = []
    for window in windows:
        inside = np.flatnonzero(window > 1e-5)
        inside = slice(inside[0], inside[-1] + 1)
        bins, correlation = oracle.best_pairs(counts[:, inside], window[inside], 3)
        solution = oracle.reconcile(bins[None] * 10, correlation[None] > 0, n_iterations=20)[0]
        expected.append(solution + (bins * 10).mean())
    expected = np.transpose(expected)
    np.testing.assert_allclose(found.displacement_um, expected - np.median(expected), atol=1e-4)


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"win_shape": "triangle"},
        {"soft_weights": True},
        {"convergence_method": "lsqr_robust", "weight_scale": "exp"},
        {"convergence_method": "gradient_descent"},
        {"temporal_prior": False},
        {"spatial_prior": True},
        {"time_horizon_s": 12.0},
        {"bin_s": 1.0, "bin_um": 2.0},
        {"normalized_xcorr": False},
    ],
)
def test_the_motion_is_near_the_truth(run, error_um, parameters):
    motion = run(drift.peaks(), **parameters)
    assert error_um(motion) < 2
    assert np.ptp(motion.displacement_um) > 15


def test_a_gap_without_peaks_is_bridged(run, error_um):
    motion = run(drift.peaks(gap_s=(10.0, 16.0)), histogram_time_smooth_s=None)
    assert error_um(motion) < 2
    inside = motion.displacement_um[5:8]
    ends = np.sort(motion.displacement_um[[4, 8]], axis=0)
    assert ((inside >= ends[0] - 1e-6) & (inside <= ends[1] + 1e-6)).all()


@pytest.mark.parametrize(
    ("name", "reference"), [("mean", np.mean), ("median", np.median), ("time", lambda d: d[7]), ("mode_search", None)]
)
def test_what_is_called_zero(run, name, reference):
    displacement = run(drift.peaks(), reference_displacement=name, reference_displacement_time_s=15.5).displacement_um
    if reference:
        np.testing.assert_allclose(reference(displacement), 0, atol=1e-9)
    else:
        votes = [np.count_nonzero(np.round(displacement - at) == 0) for at in np.arange(-20, 20, 0.1)]
        assert np.count_nonzero(np.round(displacement) == 0) >= max(votes) - 1


def test_medians_of_neighbouring_windows_are_joined(run):
    motion = run(drift.peaks(), force_spatial_median_continuity=True)
    np.testing.assert_allclose(np.median(np.diff(motion.displacement_um, axis=1), axis=0), 0, atol=1e-9)


def test_a_reference_time_behind_the_end_is_an_error(run):
    with pytest.raises(UsageError, match="reference_displacement_time_s=40"):
        run(drift.peaks(), reference_displacement="time", reference_displacement_time_s=40.0)


@pytest.mark.parametrize(
    "parameters",
    [
        {"spatial_prior": True, "convergence_method": "lsqr_robust"},
        {"max_displacement_um": 2.0},
        {"time_horizon_s": 2.0},
        {"conv_engine": "torch"},
        {"weight_scale": "square"},
        {"weight_scale": "exp", "normalized_xcorr": False},
        {"bin_s": 0.0},
    ],
)
def test_parameters_that_make_no_sense_are_errors(parameters):
    with pytest.raises(ValidationError):
        Parameters(**parameters)


@pytest.mark.parametrize("duration_s", [0.5, 2.0, 3.0])
def test_one_or_two_temporal_bins(run, duration_s):
    motion = run(drift.peaks(duration_s, 800.0, 500), duration_s)
    assert motion.displacement_um.shape == (1 if duration_s <= 2 else 2, 3)
    assert duration_s > 2 or (motion.displacement_um == 0).all()


def test_a_horizon_longer_than_the_recording_is_none(run):
    peaks = drift.peaks()
    np.testing.assert_array_equal(run(peaks, time_horizon_s=999.0).displacement_um, run(peaks).displacement_um)


def test_peaks_at_one_depth_do_not_move(run):
    count = 400
    peaks = (np.linspace(0, 39.9, count), np.full(count, 300.0), np.full(count, -50.0))
    assert (run(peaks).displacement_um == 0).all()


def test_peaks_that_nothing_can_be_made_of_are_errors(run, check_refused_peaks):
    check_refused_peaks(run)


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_the_same_peaks_give_the_same_bytes_for_any_number_of_threads(run, jobs):
    peaks = drift.peaks()
    parameters = {"spatial_prior": True, "bin_s": 0.5}
    expected, found = run(peaks, **parameters), run(peaks, jobs=jobs, **parameters)
    assert expected.displacement_um.tobytes() == found.displacement_um.tobytes()
    assert np.ptp(found.displacement_um) > 10


@pytest.mark.parametrize("parameters", [{}, {"spatial_prior": True}, {"soft_weights": True}])
def test_the_pairs_of_one_window_are_held_at_a_time(run, parameters):
    peaks = drift.peaks(count=6000)
    run(peaks, jobs=4, **parameters)
    tracemalloc.start()
    motion = run(peaks, jobs=4, bin_s=0.03, bin_um=20.0, histogram_time_smooth_s=None, **parameters)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    n_bins, n_windows = motion.displacement_um.shape
    assert n_bins > 1300
    assert n_windows == 3
    assert peak_bytes < 10 * n_bins**2


def test_pairs_that_would_take_too_much_memory_are_refused(run):
    peaks = drift.peaks(count=300)
    with pytest.raises(UsageError, match=r"30000 temporal bins of 2 s .* takes 5.4 GB, more than 4 GB") as refused:
        run(peaks, 60_000.0)
    assert "estimate.time_horizon_s, to 22222 or less" in refused.value.hint
    with pytest.raises(UsageError, match=r"takes 9 GB"):
        run(peaks, 60_000.0, convergence_method="lsqr_robust")


def test_the_horizon_that_is_told_is_not_refused(span_um):
    decentralized.footprint(0, span_um, 2e6, Parameters(time_horizon_s=666.0))
    with pytest.raises(UsageError, match=r"takes 4\.0") as refused:
        decentralized.footprint(0, span_um, 2e6, Parameters(time_horizon_s=670.0))
    assert "to 666 or less" in refused.value.hint


def test_the_commonest_displacement_is_found_between_whole_ones():
    near = np.linspace(2.1, 2.95, 30)
    displacement = np.concatenate([near, np.linspace(-30, -10, 40), [17.0]])
    assert np.abs(near - decentralized._mode(displacement[:, None])).max() <= 0.5
