"""Every default of every method against those of SpikeInterface 0.105.3, and a reason for each one that is another.

The peer's values are those of its signatures: the classes of its peak detection and localization, `estimate_motion`
and what it calls, `InterpolateMotionRecording`, `PhaseShiftRecording`, `FilterRecording`, `CommonReferenceRecording`
and `select_peaks`. The times around a peak are those that its `compute_motion` sets (`localize_peaks` by itself has
0.5 ms either way).
"""

import pytest

from driftcli import presets

WAVEFORMS = {"ms_before": 0.1, "ms_after": 0.3}
WINDOWS = {
    "rigid": False,
    "win_shape": "gaussian",
    "win_step_um": 200.0,
    "win_scale_um": 300.0,
    "win_margin_um": None,
}
PEER = {
    "shift": {"phase_shift": {"margin_ms": 40.0, "inter_sample_shift": None, "dtype": None}},
    "filter": {"bandpass": {"freq_min_hz": 300.0, "freq_max_hz": 6000.0, "order": 5}},
    "reference": {"global_median": {"operator": "median"}},
    "detect": {
        "locally_exclusive": {"peak_sign": "neg", "detect_threshold": 5, "exclude_sweep_ms": 1.0, "radius_um": 50},
        "by_channel": {"peak_sign": "neg", "detect_threshold": 5, "exclude_sweep_ms": 1.0},
    },
    "select": {
        "uniform": {"n_peaks": None, "select_per_channel": False, "seed": None},
        "smart_sampling_amplitudes": {"n_peaks": None, "select_per_channel": False, "seed": None},
    },
    "localize": {
        "center_of_mass": {**WAVEFORMS, "radius_um": 75.0, "feature": "ptp"},
        "grid_convolution": {
            **WAVEFORMS,
            "radius_um": 40.0,
            "upsampling_um": 5.0,
            "sigma_ms": 0.25,
            "margin_um": 50.0,
            "prototype": None,
            "percentile": 5.0,
            "peak_sign": "neg",
            "weight_method": {},
        },
        "monopolar_triangulation": {
            **WAVEFORMS,
            "radius_um": 75.0,
            "max_distance_um": 150.0,
            "optimizer": "minimize_with_log_penality",
            "enforce_decrease": True,
            "feature": "ptp",
        },
    },
    "estimate": {
        "dredge_ap": {
            **WINDOWS,
            "direction": "y",
            "bin_um": 1.0,
            "bin_s": 1.0,
            "max_disp_um": None,
            "time_horizon_s": 1000.0,
            "mincorr": 0.1,
            "do_window_weights": True,
            "weights_threshold_low": 0.2,
            "weights_threshold_high": 0.2,
            "mincorr_percentile": None,
            "mincorr_percentile_nneighbs": None,
            "amp_scale_fn": None,
            "post_transform": "log1p",
            "histogram_depth_smooth_um": 1,
            "histogram_time_smooth_s": 1,
            "avg_in_bin": False,
            "thomas_kw": None,
            "xcorr_kw": None,
            "device": None,
            "precomputed_D_C_maxdisp": None,
            "chunk_len_s": None,
            "batching_mode": "full",
        },
        "decentralized": {
            **WINDOWS,
            "direction": "y",
            "bin_um": 5.0,
            "hist_margin_um": 20.0,
            "bin_s": 2.0,
            "histogram_depth_smooth_um": 1.0,
            "histogram_time_smooth_s": 1.0,
            "pairwise_displacement_method": "conv",
            "max_displacement_um": 100.0,
            "weight_scale": "linear",
            "error_sigma": 0.2,
            "conv_engine": None,
            "torch_device": None,
            "batch_size": 1,
            "corr_threshold": 0.0,
            "time_horizon_s": None,
            "convergence_method": "lsmr",
            "soft_weights": False,
            "normalized_xcorr": True,
            "centered_xcorr": True,
            "temporal_prior": True,
            "spatial_prior": False,
            "force_spatial_median_continuity": False,
            "reference_displacement": "median",
            "reference_displacement_time_s": 0,
            "robust_regression_sigma": 2,
            "lsqr_robust_n_iter": 20,
            "weight_with_amplitude": False,
        },
        "iterative_template": {
            **WINDOWS,
            "direction": "y",
            "bin_um": 10.0,
            "hist_margin_um": 0.0,
            "bin_s": 2.0,
            "num_amp_bins": 20,
            "num_shifts_global": 15,
            "num_iterations": 10,
            "num_shifts_block": 5,
            "smoothing_sigma": 0.5,
            "kriging_sigma": 1,
            "kriging_p": 2,
            "kriging_d": 2,
        },
        "medicine": {
            **WINDOWS,
            "direction": "y",
            "bin_s": 1.0,
            "output_dir": None,
            "plot_figures": False,
            "motion_bound": 800,
            "time_kernel_width": 30,
            "activity_network_hidden_features": [256, 256],
            "amplitude_threshold_quantile": 0.0,
            "batch_size": 4096,
            "training_steps": 10_000,
            "initial_motion_noise": 0.1,
            "motion_noise_steps": 2000,
            "optimizer": None,
            "learning_rate": 0.0005,
            "epsilon": 1e-3,
            "num_depth_bins": None,
        },
        "dredge_lfp": {
            **WINDOWS,
            "rigid": True,
            "win_step_um": 800,
            "win_scale_um": 850,
            "direction": "y",
            "chunk_len_s": 10.0,
            "max_disp_um": 500,
            "time_horizon_s": None,
            "mincorr": 0.8,
            "mincorr_percentile": None,
            "mincorr_percentile_nneighbs": 20,
            "soft": False,
            "thomas_kw": None,
            "xcorr_kw": None,
            "device": None,
        },
    },
    "interpolate": {
        "kriging": {"border_mode": "remove_channels", "sigma_um": 20.0, "p": 1},
        "idw": {"border_mode": "remove_channels", "num_closest": 3},
        "nearest": {"border_mode": "remove_channels"},
    },
}

# stage -> method -> parameter -> (ours, why)
SAMPLED = {
    "n_peaks": (100_000, "the peer has no default and stops without it"),
    "seed": (0, "two runs give the same peaks"),
}
BORDER = {
    "border_mode": ("force_extrapolate", "no channel is lost unless asked for"),
    "time": ("nearest_bin", "what the peer does, which has no name for it"),
    "bad_channels": ("interpolate", "the peer's correct_motion knows no bad channels"),
}
DIFFERENT = {
    "select": {
        "uniform": {**SAMPLED, "n_time_bins": (100, "here peaks are spread over time, which the peer does not do")},
        "smart_sampling_amplitudes": SAMPLED,
    },
    "localize": {
        "grid_convolution": {
            "weight_method": (
                {
                    "mode": "exponential_3d",
                    "z_list_um": [0.0, 30.0, 60.0, 90.0, 120.0],
                    "sigma_3d": 2.5,
                    "sparsity_threshold": None,
                },
                "the peer's own, spelled out",
            )
        }
    },
    "estimate": {
        "dredge_ap": {
            "mincorr_percentile_nneighbs": (20, "that of the peer's function that uses it, which fails given None"),
            "centered": (True, "of xcorr_kw, with the default of the peer's xcorr_windows"),
            "normalized": (True, "of xcorr_kw, with the default of the peer's xcorr_windows"),
            "lambda_t": (1.0, "of thomas_kw, with the default of the peer's thomas_solve"),
            "lambda_s": (1.0, "of thomas_kw, with the default of the peer's thomas_solve"),
            "eps": (1e-3, "of thomas_kw, with the default of the peer's thomas_solve"),
        },
        "medicine": {
            "motion_bound_um": (800.0, "the peer's motion_bound, with its unit"),
            "time_kernel_width_s": (30.0, "the peer's time_kernel_width, with its unit"),
            "epsilon_s": (1e-3, "the peer's epsilon, with its unit"),
            "num_depth_bins": (2, "the peer's None means that where it isn't rigid"),
            "seed": (0, "two runs give the same motion"),
        },
        "dredge_lfp": {
            "bin_s": (0.004, "the peer is given the signal at that rate"),
            "freq_min_hz": (0.5, "of the band-pass in the peer's guide"),
            "freq_max_hz": (
                100.0,
                "below half the rate at which the signal is sampled; the peer's resampling cuts there",
            ),
            "derivative": (2, "of directional_derivative in the peer's guide"),
            "centered": (True, "of xcorr_kw, with the default of the peer's xcorr_windows"),
            "normalized": (True, "of xcorr_kw, with the default of the peer's xcorr_windows"),
            "lambda_t": (1.0, "of thomas_kw, with the default of the peer's thomas_solve"),
            "lambda_s": (1.0, "of thomas_kw, with the default of the peer's thomas_solve"),
            "eps": (1e-3, "of thomas_kw, with the default of the peer's thomas_solve"),
        },
    },
    "interpolate": {"kriging": BORDER, "idw": BORDER, "nearest": BORDER},
}

# stage -> method -> parameters of the peer that are not there, and why
Y_ONLY = {"direction": "depth is y"}
LEFT_OUT = {
    "shift": {
        "phase_shift": {
            "margin_ms": "the filter ends after a few samples, so the margin is exact",
            "inter_sample_shift": "the recording's own, the peer's meaning of None",
            "dtype": "traces are always float32",
        }
    },
    "localize": {
        "grid_convolution": {"prototype": "always made from sigma_ms and peak_sign, the peer's meaning of None"},
        "monopolar_triangulation": {"optimizer": "its default is the only one that is there"},
    },
    "estimate": {
        "dredge_ap": Y_ONLY
        | dict.fromkeys(["amp_scale_fn", "post_transform"], "functions, which a preset file can't hold")
        | dict.fromkeys(["thomas_kw", "xcorr_kw"], "their keys are parameters themselves")
        | dict.fromkeys(["device", "precomputed_D_C_maxdisp"], "how it is computed, not what")
        | dict.fromkeys(["chunk_len_s", "batching_mode"], "memory is bounded without batches"),
        "decentralized": Y_ONLY
        | {"pairwise_displacement_method": "its default is the only one that is there"}
        | dict.fromkeys(["conv_engine", "torch_device", "batch_size"], "how it is computed, not what"),
        "iterative_template": Y_ONLY,
        "medicine": Y_ONLY
        | dict.fromkeys(["motion_bound", "time_kernel_width", "epsilon"], "ours have their unit in the name")
        | dict.fromkeys(WINDOWS, "the peer ignores them but for rigid, which is num_depth_bins=1")
        | dict.fromkeys(["output_dir", "plot_figures"], "nothing is saved or plotted")
        | {"optimizer": "a class, which a preset file can't hold; Adam as there"},
        "dredge_lfp": Y_ONLY
        | dict.fromkeys(["thomas_kw", "xcorr_kw"], "their keys are parameters themselves")
        | {"device": "how it is computed, not what"},
    },
}

# correct_motion has no such stages: their values are the IBL's, and their own tests hold them
NOT_THE_PEERS = ("bad_channels", "mask")


def has_a_peer(stage, method):
    """Whether the table has it, or the method's own docstring speaks of the peer's."""
    if stage in NOT_THE_PEERS or method == "none":
        return False
    return (
        method in PEER[stage] or "SpikeInterface" in presets.resolve({stage: {"method": method}})[stage].module.__doc__
    )


METHODS = [
    (stage, method) for stage, (_, methods) in presets.STAGES.items() for method in methods if has_a_peer(stage, method)
]


def of(table, stage, method):
    return table.get(stage, {}).get(method, {})


@pytest.mark.parametrize(("stage", "method"), METHODS)
def test_defaults_are_the_peers_but_for_those_named(stage, method):
    ours = presets.resolve({stage: {"method": method}})[stage].parameters.model_dump(mode="json")
    missing = of(LEFT_OUT, stage, method)
    different = {name: value for name, (value, _) in of(DIFFERENT, stage, method).items()}
    peers = of(PEER, stage, method)
    assert ours == {name: value for name, value in peers.items() if name not in missing} | different
    assert missing.keys() <= peers.keys()


@pytest.mark.parametrize(("stage", "method"), METHODS)
def test_what_is_named_as_different_is(stage, method):
    peers = of(PEER, stage, method)
    for name, (value, why) in of(DIFFERENT, stage, method).items():
        assert name not in peers or peers[name] != value, name
        assert why


def test_every_method_of_the_table_is_there():
    assert {(stage, method) for stage in PEER for method in PEER[stage]} == set(METHODS)
