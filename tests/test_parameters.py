"""No parameter is swallowed: every parameter of every method, changed, changes the method's output."""

import tempfile
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from pydantic import BaseModel

import fake_medicine
import made_units
import small_recording
from driftcli import presets
from driftcli.catalogue import FITTED_TO_PEAKS, WORK_ON_TRACES
from driftcli.footprints import fields
from driftcli.model import CONTACT_LABELS, DepthPeaks, Geometry, Motion
from driftcli.recording.facts import facts_of
from driftcli.recording.open import open_recording
from driftcli.reporter import Reporter
from driftcli.store.motion import write_motion
from driftcli.workflow.apply import apply
from driftcli.workflow.lfp import lfp_of
from driftcli.workflow.work import Work
from oracles import drift, lfp

RATE_HZ = small_recording.RATE_HZ

# Stage -> method -> parameter -> (another value, what else must be set for it to matter). A parameter within another
# has a dotted name; where that one holds one of several models, the model's mode comes between.
WAVEFORMS = {"ms_before": (0.3, {}), "ms_after": (0.8, {})}
WINDOWS = {
    "rigid": (True, {}),
    "win_shape": ("rect", {}),
    "win_step_um": (150.0, {}),
    "win_scale_um": (150.0, {}),
    "win_margin_um": (0.0, {}),
}
EXTREMA = {"peak_sign": ("both", {}), "detect_threshold": (9.0, {}), "exclude_sweep_ms": (0.2, {})}
BORDER = {"border_mode": ("remove_channels", {}), "bad_channels": ("keep", {}), "time": ("linear", {})}
CHANGES = {
    "shift": {"phase_shift": {}, "none": {}},
    "filter": {"bandpass": {"freq_min_hz": (200.0, {}), "freq_max_hz": (4000.0, {}), "order": (3, {})}, "none": {}},
    "bad_channels": {
        "coherence_psd": {
            "dead_coherence": (-0.4, {}),
            "noisy_coherence": (0.8, {}),
            "noisy_power_uv2_per_hz": (0.05, {}),
            "noisy_power_factor": (8.0, {"noisy_power_uv2_per_hz": 0.0}),
            "outside_coherence": (-0.5, {}),
            "outside": ("both", {}),
            "neighbours": (5, {}),
            "highpass_hz": (50.0, {}),
        },
        "none": {},
    },
    "reference": {"global_median": {"operator": ("average", {})}, "none": {}},
    "mask": {
        "automatic": {
            "saturation_share": (0.4, {}),
            "gap_share": (0.7, {}),
            "gap_ms": (1.0, {}),
            "artifact_contacts": (34, {}),
            "artifact_share": (0.8, {}),
            "artifact_threshold": (9.0, {}),
            "join_ms": (2.0, {}),
            "padding_ms": (1.0, {}),
        },
        "none": {},
    },
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
            "weight_method.exponential_3d.mode": ("gaussian_2d", {}),
            "weight_method.exponential_3d.z_list_um": ((0.0, 20.0), {}),
            "weight_method.exponential_3d.sigma_3d": (9.0, {}),
            "weight_method.exponential_3d.sparsity_threshold": (0.4, {}),
            "weight_method.gaussian_2d.mode": ("exponential_3d", {}),
            "weight_method.gaussian_2d.sigma_list_um": ((8.0, 16.0), {}),
            "weight_method.gaussian_2d.sparsity_threshold": (0.4, {}),
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
        "likelihood": {
            "bin_s": (1.0, {}),
            "win_step_um": (150.0, {}),
            "max_disp_um": (10.0, {}),
            "block_s": (4.0, {}),
            "time_horizon_s": (6.0, {}),
            "rounds": (9, {}),
            "depth_sigma_um": (2.0, {}),
            "amplitude_sigma": (0.3, {}),
            "background_hz": (0.5, {}),
            "saturation_hz": (2.0, {}),
            "border_um": (80.0, {}),
            "likeness_um": (300.0, {}),
            "bending_um": (0.2, {}),
            "step_freedom": (4.0, {}),
            "recover": (False, {"max_disp_um": 100.0}),
            "shrinkage": (0.0, {}),
        },
        # of the stand-in for its package; test_medicine does it with the package
        "medicine": {
            "motion_bound_um": (100.0, {}),
            "bin_s": (2.0, {}),
            "time_kernel_width_s": (10.0, {}),
            "activity_network_hidden_features": ((64,), {}),
            "num_depth_bins": (3, {}),
            "amplitude_threshold_quantile": (0.2, {}),
            "batch_size": (256, {}),
            "training_steps": (100, {}),
            "initial_motion_noise": (0.2, {}),
            "motion_noise_steps": (50, {}),
            "learning_rate": (0.01, {}),
            "epsilon_s": (0.1, {}),
            "seed": (1, {}),
        },
        "dredge_lfp": {
            **{name: (value, {"rigid": False}) for name, (value, _) in WINDOWS.items()},
            "rigid": (False, {}),
            "bin_s": (0.005, {}),
            "freq_min_hz": (5.0, {}),
            "freq_max_hz": (30.0, {}),
            "derivative": (1, {}),
            "chunk_len_s": (0.2, {}),
            "max_disp_um": (20.0, {"mincorr": 0.2}),
            "time_horizon_s": (0.02, {}),
            "mincorr": (0.5, {}),
            "mincorr_percentile": (50.0, {}),
            "mincorr_percentile_nneighbs": (4, {"mincorr_percentile": 50.0}),
            "soft": (True, {}),
            "centered": (False, {}),
            "normalized": (False, {}),
            "lambda_t": (20.0, {}),
            "lambda_s": (20.0, {"rigid": False, "win_step_um": 300.0, "win_scale_um": 200.0}),
            "eps": (10.0, {}),
        },
    },
    "interpolate": {
        "kriging": {**BORDER, "sigma_um": (10.0, {}), "p": (2.0, {})},
        "gaussian_process": {
            **BORDER,
            "spike_length_um": (10.0, {}),
            "spike_offset_um": (5.0, {}),
            "noise_length_um": (5.0, {"shared_noise": 0.5}),
            "shared_noise": (0.5, {}),
            "own_noise": (0.1, {}),
        },
        "fitted_gaussian_process": {
            **BORDER,
            "spike_length_um": (10.0, {}),
            "spike_offset_um": (5.0, {}),
            "noise_length_um": (5.0, {"shared_noise": 0.5}),
            "shared_noise": (0.5, {}),
            "own_noise": (0.1, {}),
            "bin_um": (8.0, {}),
            "unseen": (1.0, {}),
            "trace_noise": (0.1, {}),
        },
        "idw": {**BORDER, "num_closest": (5, {})},
        "nearest": BORDER,
    },
    "apply": {"": {"signal": ("raw", {})}},
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


@cache
def shank_of_all_sorts():
    """(S, C) in µV: contacts that hear more and more of what all hear, have more and more noise, and lie farther and
    farther out of the brain at either end."""
    rng = np.random.default_rng(1)
    samples, contacts = 15_000, 96
    time_s = np.arange(samples)[:, None] / RATE_HZ
    gain, sigma, inside = np.ones(contacts), np.full(contacts, 5.0), np.ones(contacts)
    gain[15:40:4] = np.linspace(0.3, 0.9, 7)
    gain[42:60:3] = np.linspace(1.5, 2.2, 6)
    sigma[62:78:2] = np.linspace(8, 40, 8)
    inside[80:], inside[:14] = np.linspace(1, 0, 16), np.linspace(0, 1, 14)
    slow = 50 * np.sin(2 * np.pi * 9 * time_s) + 25 * np.sin(2 * np.pi * 90 * time_s)
    found = gain * (slow + 10 * rng.normal(0, 1, (samples, 1)) * inside) + rng.normal(0, sigma, (samples, contacts))
    return found.astype(np.float32)


@cache
def recording_of_all_sorts():
    """(S, C) counts with artifacts, gaps and saturation on more and more contacts, ever higher, longer and closer."""
    rng = np.random.default_rng(2)
    found = np.rint(rng.normal(0, 5, (60_000, 40))).astype(np.int16)
    for i in range(16):
        start = 1000 + 1500 * i
        found[start : start + 10, : 25 + i] = 300
        found[start + 500 : start + 510] = np.where(np.arange(10) % 2, 1, -1)[:, None] * (10 + 4 * i)
        found[start + 20_000 : start + 20_000 + 6 * i, : 30 if i % 2 else 40] = 0
        found[start + 30_000 : start + 30_010, : 2 + i] = 32_767
    return found


def bad_contacts(stage):
    places = small_recording.positions_um(96)
    finder = stage.module.Finder(stage.parameters, Geometry(places, np.zeros(96, np.int64)), RATE_HZ, True)
    return (finder(shank_of_all_sorts()),)


def masked(stage):
    samples, noise = recording_of_all_sorts(), np.full(40, 5.0)
    facts = {"num_columns": 40, "dtype": np.int16, "gain_to_uv": None, "full_scale": None}
    watcher = stage.module.Watcher(stage.parameters, np.arange(40), noise, **facts)
    seen = watcher.watch(samples, 0, samples.astype(np.float32), 0)
    mask = stage.module.mask_of([seen], len(samples), np.empty(0, np.int64), stage.parameters, RATE_HZ)
    return mask.starts, mask.stops, mask.reasons


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


@cache
def lf_recording():
    """A short recording of the local field potential, and where it lies: it must be there as long as it is read."""
    folder = tempfile.TemporaryDirectory()
    depths_um = np.arange(48) * 20.0
    values = lfp.potential_uv(np.arange(1600) / 2000.0, depths_um, depths_um[-1], noise_uv=5.0)
    places = np.column_stack([np.zeros(48), depths_um])
    binary, probe = small_recording.write(Path(folder.name), np.rint(values).astype("<i2"), places=places)
    recording = open_recording(binary, probe=probe, sampling_frequency_hz=2000.0, reporter=Reporter())
    return recording, folder


def motion_of_traces(stage):
    recording, _ = lf_recording()
    nothing_late = np.zeros(48)
    signal = lfp_of(recording, {(0,): np.arange(48)}, stage.parameters, nothing_late, Work())[(0,)]
    found = stage.module.estimate(signal, (0.0, 940.0), 0.8, stage.parameters, Reporter())
    return found.displacement_um, found.temporal_bins_s, found.spatial_bins_um


def motion(stage):
    if stage.method in WORK_ON_TRACES:
        return motion_of_traces(stage)
    if stage.method == "medicine":
        with pytest.MonkeyPatch.context() as patch:
            fake_medicine.install(patch)
            return _motion(stage)
    return _motion(stage)


def _motion(stage):
    # of which some seconds are lost, unless they are recovered
    peaks = DepthPeaks(*drift.lost_peaks()) if stage.method == "likelihood" else depth_peaks()
    found = stage.module.estimate(peaks, (0.0, 800.0), 40.0, stage.parameters, Reporter())
    return found.displacement_um, found.temporal_bins_s, found.spatial_bins_um


def corrected(stage):
    from driftcli.interpolate.interpolator import Interpolator

    bins_s = np.array([0.5, 1.5])
    moving = {0: Motion(np.array([[7.0, 4.0], [13.0, -6.0]]), bins_s, np.array([0.0, 230.0]))}
    labels = np.zeros(24, np.uint8)
    labels[11] = CONTACT_LABELS.index("noisy")
    context = (geometry(), moving, RATE_HZ, 60_000, labels)
    footprints = {0: footprints_by(stage)} if stage.method in FITTED_TO_PEAKS else None
    interpolator = Interpolator(stage.module.Kernel, stage.parameters, *context, footprints)
    return interpolator.kept_contacts, interpolator(traces(), 0)


def footprints_by(stage):
    """Of made-up units, learned as apply does."""
    peaks = made_units.peaks(made_units.units(4, span_um=(40.0, 200.0)), geometry().positions_um, 60)
    prior = fields.Prior(partial(stage.module.covary, stage.parameters), 36.0, stage.parameters.noise_length_um)
    place = (peaks.contacts, peaks.unit, peaks.displacement_um, geometry().positions_um)
    return fields.learn(peaks.snippets, *place, prior, stage.parameters.bin_um)


def written(stage):
    """The binary of the verb itself: this stage is about which signal is written."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        binary, probe = small_recording.write(folder, small_recording.samples(20_000))
        recording = open_recording(binary, probe=probe, reporter=Reporter())
        settings = presets.load("rigid_fast", [f"apply.signal={stage.parameters.signal}"])
        still = Motion(np.zeros((1, 1)), np.zeros(1), np.zeros(1))
        write_motion(folder / "motion.h5", {0: still}, recording.duration_s, facts_of(recording), settings)
        apply(recording, folder / "motion.h5", settings, folder / "out.bin", Work())
        return (np.fromfile(folder / "out.bin", "<i2"),)


OUTPUTS = {
    "filter": preprocessed,
    "bad_channels": bad_contacts,
    "mask": masked,
    "reference": preprocessed,
    "detect": detections,
    "select": selection,
    "localize": locations,
    "estimate": motion,
    "interpolate": corrected,
    "apply": written,
}


def resolved(stage, method, keys):
    return presets.resolve({stage: {"method": method, **keys} if method else keys})[stage]


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """The parameter models among the types that a field may hold."""
    parts = get_args(annotation)
    if parts:
        return [model for part in parts for model in models_in(part)]
    return [annotation] if isinstance(annotation, type) and issubclass(annotation, BaseModel) else []


def names_of(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Dotted names of all parameters of a model and of those within it."""
    for name, field in model.model_fields.items():
        inner = models_in(field.annotation)
        if not inner:
            yield prefix + name
        for one in inner:
            mode = f"{one.model_fields['mode'].default}." if len(inner) > 1 else ""
            yield from names_of(one, f"{prefix}{name}.{mode}")


def keys_for(name: str, value: Any, context: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The keys of a stage before and after the parameter of a dotted name is set."""
    outer, *inner = name.split(".")
    if not inner:
        return context, {**context, outer: value}
    *modes, key = inner
    around = {"mode": modes[0]} if modes else {}
    return {**context, outer: around}, {**context, outer: around | {key: value}}


def same(one, other):
    pairs = list(zip(one, other, strict=True))
    return all(a.shape == b.shape and np.array_equal(a, b) for a, b in pairs)


def test_every_parameter_of_every_method_is_in_the_table():
    for stage, (_, methods) in presets.STAGES.items():
        for method in methods or ("",):
            known = set(CHANGES[stage][method])
            assert known == set(names_of(type(resolved(stage, method, {}).parameters))), f"{stage}.{method}"


def test_parameters_within_parameters_have_names():
    class Inner(BaseModel):
        a: int = 0

    class Other(BaseModel):
        mode: str = "other"

    class Third(Inner):
        mode: str = "third"

    class Outer(BaseModel):
        one: Inner | None = None
        either: Other | Third = Other()
        plain: tuple[float, ...] = ()

    assert list(names_of(Outer)) == ["one.a", "either.other.mode", "either.third.a", "either.third.mode", "plain"]


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
    base, changed = (resolved(stage, method, keys) for keys in keys_for(name, value, context))
    assert base.parameters != changed.parameters
    output = OUTPUTS[stage]
    assert not same(output(base), output(changed))
