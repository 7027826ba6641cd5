import numpy as np
import pytest
from pydantic import ValidationError

from driftcli.errors import InputError, UsageError
from driftcli.estimate.decentralized import Parameters, estimate
from driftcli.estimate.windows import spatial_windows
from driftcli.model import DepthPeaks, Reporter
from oracles import decentralized as oracle
from oracles import drift

SPAN_UM = (0.0, 800.0)


def run(peaks, duration_s=40.0, span_um=SPAN_UM, **parameters):
    return estimate(DepthPeaks(*peaks), span_um, duration_s, Parameters(**parameters), Reporter())


def error_um(motion):
    return drift.mean_error_um(motion.displacement_um, motion.temporal_bins_s, motion.spatial_bins_um, SPAN_UM[1])


def test_the_motion_is_the_peers():
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
def test_the_motion_is_the_oracles(parameters):
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
    windows, _ = spatial_windows(Parameters(**fixed, **parameters), (0.0, 400.0), edges[1][:-1] + 5, Reporter())
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
def test_the_motion_is_near_the_truth(parameters):
    motion = run(drift.peaks(), **parameters)
    assert error_um(motion) < 2
    assert np.ptp(motion.displacement_um) > 15


def test_a_gap_without_peaks_is_bridged():
    motion = run(drift.peaks(gap_s=(10.0, 16.0)), histogram_time_smooth_s=None)
    assert error_um(motion) < 2
    inside = motion.displacement_um[5:8]
    ends = np.sort(motion.displacement_um[[4, 8]], axis=0)
    assert ((inside >= ends[0] - 1e-6) & (inside <= ends[1] + 1e-6)).all()


@pytest.mark.parametrize(
    ("name", "reference"), [("mean", np.mean), ("median", np.median), ("time", lambda d: d[7]), ("mode_search", None)]
)
def test_what_is_called_zero(name, reference):
    displacement = run(drift.peaks(), reference_displacement=name, reference_displacement_time_s=15.5).displacement_um
    if reference:
        np.testing.assert_allclose(reference(displacement), 0, atol=1e-9)
    else:
        votes = [np.count_nonzero(np.round(displacement - at) == 0) for at in np.arange(-20, 20, 0.1)]
        assert np.count_nonzero(np.round(displacement) == 0) >= max(votes) - 1


def test_medians_of_neighbouring_windows_are_joined():
    motion = run(drift.peaks(), force_spatial_median_continuity=True)
    np.testing.assert_allclose(np.median(np.diff(motion.displacement_um, axis=1), axis=0), 0, atol=1e-9)


def test_a_reference_time_behind_the_end_is_an_error():
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
        {"bin_s": 0.0},
    ],
)
def test_parameters_that_make_no_sense_are_errors(parameters):
    with pytest.raises(ValidationError):
        Parameters(**parameters)


@pytest.mark.parametrize("duration_s", [0.5, 2.0, 3.0])
def test_one_or_two_temporal_bins(duration_s):
    motion = run(drift.peaks(duration_s, 800.0, 500), duration_s)
    assert motion.displacement_um.shape == (1 if duration_s <= 2 else 2, 3)
    assert duration_s > 2 or (motion.displacement_um == 0).all()


def test_a_horizon_longer_than_the_recording_is_none():
    peaks = drift.peaks()
    np.testing.assert_array_equal(run(peaks, time_horizon_s=999.0).displacement_um, run(peaks).displacement_um)


def test_peaks_at_one_depth_do_not_move():
    count = 400
    peaks = (np.linspace(0, 39.9, count), np.full(count, 300.0), np.full(count, -50.0))
    assert (run(peaks).displacement_um == 0).all()


def test_no_peaks_and_broken_depths_are_errors():
    with pytest.raises(InputError, match="no peaks"):
        run((np.zeros(0), np.zeros(0), np.zeros(0)))
    time_s, depth_um, amplitude = drift.peaks()
    depth_um[3] = np.nan
    with pytest.raises(InputError, match="depth of 1 of"):
        run((time_s, depth_um, amplitude))


def test_the_same_peaks_give_the_same_bytes():
    peaks = drift.peaks()
    one, two = run(peaks, spatial_prior=True), run(peaks, spatial_prior=True)
    assert one.displacement_um.tobytes() == two.displacement_um.tobytes()
