"""The twelve scenarios after Garcia et al. 2024 (eNeuro 11, ENEURO.0229-23.2023), made by `driftcli simulate`.

Three drifts, each with units spread evenly or in two layers, that fire evenly or burst and fall silent layer by layer.
"""

from itertools import product

from driftcli.simulate.simulate import SimulateParameters

DRIFTS = {
    "zigzag-rigid": {"drift": "zigzag", "non_rigid_gradient": 0.0},
    "zigzag-nonrigid": {"drift": "zigzag", "non_rigid_gradient": 0.7},
    "bumps-nonrigid": {"drift": "bumps", "non_rigid_gradient": 0.7, "bump_jitter": 0.5},  # jumps every 30 to 90 s
}
PERIOD_S, START_S = 120.0, 30.0
NAMES = ["-".join(parts) for parts in product(DRIFTS, ("uniform", "bimodal"), ("homogeneous", "modulated"))]


def parameters_of(name: str, seed: int, seconds: float, channels: int, cells: str) -> SimulateParameters:
    """Of a scenario; each has a seed of its own, which keeps its parity, so that odd ones are never tuned on."""
    drift, depths, rates = name.rsplit("-", 2)
    return SimulateParameters(
        **DRIFTS[drift],
        depths=depths,
        rates=rates,
        cells=cells,
        duration_s=seconds,
        num_channels=channels,
        num_units=max(channels // 2, 1),
        firing_rate_hz=5.0,
        drift_um=40.0,
        period_s=PERIOD_S,
        t_start_s=min(START_S, seconds / 10),
        seed=seed + 2 * NAMES.index(name),
    )
