"""No parameter is swallowed: every parameter of every method, changed, changes the method's output."""

from functools import cache

import numpy as np
import pytest

import small_recording
from driftcli import presets
from driftcli.model import DepthPeaks, Geometry, Motion
from driftcli.reporter import Reporter

RATE_HZ = small_recording.RATE_HZ

# stage -> method -> parameter -> (another value, what else must be set for it to matter)
WAVEFORMS = {"ms_before": (0.3, {}), "ms_after": (0.8, {})}
WINDOWS = {
    "rigid": (True, {}),
    "win_shape": ("rect", {}),
    "win_step_um": (150.0, {}),
    "win_scale_um": (150.0, {}),
    "win_margin_um": (0.0, {}),
}
EXTREMA = {"peak_sign": ("both", {}), "detect_threshold": (9.0, {}), "exclude_sweep_ms": (0.2, {})}
BORDER = {"border_mode": ("remove_channels", {}), "time": ("linear", {})}
CHANGES = {
    "filter": {"bandpass": {"freq_min_hz": (200.0, {}), "freq_max_hz": (4000.0, {}), "order": (3, {})}, "none": {}},
    "reference": {"global_median": {"operator": ("average", {})}, "none": {}},
    "detect": {"locally_exclusive": {**EXTREMA, "radius_um": (15.0, {})}, "by_channel": EXTREMA},
    "select": {
        "all": {},
        "uniform": {
            "n_peaks": (300, {}),
            "select_per_channel": (True, {"n_peaks": 20}),
            "n_time_bins": (7, {"n_peaks": 300}),
            "seed": (1, {"n_peaks": 300}),
        },
        "smart_sampling_amplitudes": {
            "n_peaks": (300, {}),
            "select_per_channel": (True, {"n_peaks": 20}),
            "seed": (1, {"n_peaks": 300}),
        },
    },
    "localize": {
        "center_of_mass": {**WAVEFORMS, "radius_um": (40.0, {}), "feature": ("energy", {})},
        "grid_convolution": {
            **WAVEFORMS,
            "radius_um": (60.0, {}),
            "upsampling_um": (3.0, {}),
            "sigma_ms": (0.1, {}),
            "margin_um": (10.0, {}),
            "percentile": (20.0, {}),
            "peak_sign": ("pos", {}),
            "weight_method": ({"mode": "gaussian_2d"}, {}),
        },
        "monopolar_triangulation": {
            **WAVEFORMS,
            "radius_um": (40.0, {}),
            "max_distance_um": (12.0, {}),
            "feature": ("energy", {}),
            "enforce_decrease": (False, {}),
        },
    },
    "estimate": {
        "iterative_template": {
            **WINDOWS,
            "bin_um": (5.0, {}),
            "hist_margin_um": (-60.0, {}),
            "bin_s": (1.0, {}),
            "num_amp_bins": (5, {}),
            "num_shifts_global": (1, {"bin_um": 2.0}),
            "num_iterations": (1, {}),
            "num_shifts_block": (1, {"num_shifts_global": 0, "bin_um": 2.0}),
            "smoothing_sigma": (2.0, {}),
            "kriging_sigma": (2.0, {}),
            "kriging_p": (1.0, {}),
            "kriging_d": (1.0, {}),
        },
        "decentralized": {
            **WINDOWS,
            "bin_um": (2.0, {}),
            "hist_margin_um": (-60.0, {}),
            "bin_s": (1.0, {}),
            "histogram_depth_smooth_um": (6.0, {}),
            "histogram_time_smooth_s": (None, {}),
            "max_displacement_um": (10.0, {}),
            "weight_scale": ("exp", {"soft_weights": True}),
            "error_sigma": (1.0, {"weight_scale": "exp", "soft_weights": True}),
            "corr_threshold": (0.95, {}),
            "time_horizon_s": (6.0, {}),
            "convergence_method": ("lsqr_robust", {}),
            "soft_weights": (True, {}),
            "normalized_xcorr": (False, {}),
            "centered_xcorr": (False, {}),
            "temporal_prior": (False, {}),
            "spatial_prior": (True, {}),
            "force_spatial_median_continuity": (True, {}),
            "reference_displacement": ("mean", {}),
            "reference_displacement_time_s": (12.0, {"reference_displacement": "time"}),
            "robust_regression_sigma": (0.5, {"convergence_method": "lsqr_robust"}),
            "lsqr_robust_n_iter": (1, {"convergence_method": "lsqr_robust"}),
            "weight_with_amplitude": (True, {}),
        },
        "dredge_ap": {
            **WINDOWS,
            "bin_um": (2.0, {}),
            "bin_s": (2.0, {}),
            "max_disp_um": (8.0, {}),
            "time_horizon_s": (6.0, {}),
            "mincorr": (0.7, {}),
            "mincorr_percentile": (90.0, {}),
            "mincorr_percentile_nneighbs": (4, {"mincorr_percentile": 90.0}),
            "do_window_weights": (False, {"weights_threshold_low": 100.0, "weights_threshold_high": 200.0}),
            "weights_threshold_low": (100.0, {"weights_threshold_high": 200.0}),
            "weights_threshold_high": (200.0, {}),
            "histogram_depth_smooth_um": (6.0, {}),
            "histogram_time_smooth_s": (None, {}),
            "avg_in_bin": (True, {}),
            "centered": (False, {}),
            "normalized": (False, {}),
            "lambda_t": (20.0, {}),
            "lambda_s": (20.0, {}),
            "eps": (10.0, {}),
        },
    },
    "interpolate": {
        "kriging": {**BORDER, "sigma_um": (10.0, {}), "p": (2.0, {})},
        "idw": {**BORDER, "num_closest": (5, {})},
        "nearest": BORDER,
    },
}


@cache
def traces():
    data = small_recording.samples(60_000, 24).astype(np.float32)
    return data - np.median(data, axis=0)


@cache
def geometry():
    return Geometry(small_recording.positions_um(24), np.zeros(24, np.int64))


@cache
def detected():
    stage = presets.load("rigid_fast").stages["detect"]
    detector = stage.module.Detector(stage.parameters, geometry(), RATE_HZ, np.full(24, 4.0))
    return detector(traces(), 100, len(traces()) - 100)


@cache
def depth_peaks():
    rng = np.random.default_rng(3)
    n, span_um = 12_000, 800.0
    time_s = np.sort(rng.uniform(0, 40, n))
    unit = rng.integers(0, 60, n)
    depth = rng.uniform(40, span_um - 40, 60)[unit]
    drift = 12 * np.sin(time_s / 6) * (1 - 0.5 * depth / span_um) + 6 * (time_s > 23)
    amplitude = -rng.uniform(40, 200, 60)[unit] * rng.normal(1, 0.1, n)
    return DepthPeaks(time_s, depth + drift + rng.normal(0, 4, n), amplitude)


def preprocessed(stage):
    return stage.module.Step(stage.parameters, geometry(), RATE_HZ)(traces().copy())


def detections(stage):
    return stage.module.Detector(stage.parameters, geometry(), RATE_HZ, np.full(24, 4.0))(traces(), 100, 59_900)


def selection(stage):
    rng = np.random.default_rng(0)
    n = 4000
    peaks = (np.sort(rng.integers(0, 10**6, n)), rng.integers(0, 24, n).astype(np.int32), -rng.lognormal(4, 0.5, n))
    return (stage.module.select(*peaks[:2], peaks[2].astype(np.float32), np.full(24, 4.0), stage.parameters),)


def locations(stage):
    rows, channels, _ = detected()
    return stage.module.Localizer(stage.parameters, geometry(), RATE_HZ)(traces(), rows, channels)


def motion(stage):
    found = stage.module.estimate(depth_peaks(), (0.0, 800.0), 40.0, stage.parameters, Reporter())
    return found.displacement_um, found.temporal_bins_s, found.spatial_bins_um


def corrected(stage):
    from driftcli.interpolate.interpolator import Interpolator

    bins_s = np.array([0.5, 1.5])
    moving = {0: Motion(np.array([[7.0, 4.0], [13.0, -6.0]]), bins_s, np.array([0.0, 230.0]))}
    interpolator = Interpolator(stage.module.Kernel, stage.parameters, geometry(), moving, RATE_HZ, 60_000)
    return interpolator.kept_contacts, interpolator(traces(), 0)


OUTPUTS = {
    "filter": preprocessed,
    "reference": preprocessed,
    "detect": detections,
    "select": selection,
    "localize": locations,
    "estimate": motion,
    "interpolate": corrected,
}


def parameters_of(stage, method):
    return presets.resolve({stage: {"method": method}})[stage].parameters


def same(one, other):
    pairs = list(zip(one, other, strict=True))
    return all(a.shape == b.shape and np.array_equal(a, b) for a, b in pairs)


def test_every_parameter_of_every_method_is_in_the_table():
    for stage, (_, methods) in presets.STAGES.items():
        for method in methods:
            known = set(CHANGES[stage][method])
            assert known == set(type(parameters_of(stage, method)).model_fields), f"{stage}.{method}"


CASES = [
    (stage, method, name, value, context)
    for stage, methods in CHANGES.items()
    for method, changes in methods.items()
    for name, (value, context) in changes.items()
]


@pytest.mark.parametrize(
    ("stage", "method", "name", "value", "context"), CASES, ids=lambda v: v if isinstance(v, str) else ""
)
def test_a_changed_parameter_changes_the_output(stage, method, name, value, context):
    base = presets.resolve({stage: {"method": method, **context}})[stage]
    assert getattr(base.parameters, name) != value
    changed = presets.resolve({stage: {"method": method, **context, name: value}})[stage]
    output = OUTPUTS[stage]
    assert not same(output(base), output(changed))
