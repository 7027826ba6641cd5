"""What each idea of the estimate `likelihood` brings: its error without one of them, on peaks of the twelve scenarios.

usage: ablation.py [--seeds 101 ...] [--parts recover,shrinkage] [--seconds 300] [--channels 128] [--spread-um 15]
           [--attraction 0.1]
Peaks are drawn without traces (see scenario_peaks.py), so this takes minutes. Each column is the mean over the four
scenarios of one drift, and over the seeds; bursts are of all of them together.
"""

import argparse

import numpy as np
from garcia import DRIFTS, NAMES, parameters_of
from scenario_errors import Errors, errors_of
from scenario_peaks import peaks_of
from scenario_tables import table

from driftcli.estimate import likelihood
from driftcli.model import DepthPeaks, Motion
from driftcli.reporter import Reporter

WITHOUT = {
    "all of it": {},
    "the coarse motion, refined once": {"rounds": 1},
    "blocks that are lost stay lost": {"recover": False},
    "shapes as they are found": {"shrinkage": 0.0},
    "amplitudes not told apart": {"amplitude_sigma": 3.0},
    "a density smoothed by 2 µm": {"depth_sigma_um": 2.0},
    "bins of 1 s": {"bin_s": 1.0},
    "Gaussian steps": {"step_freedom": 1e3},
    "depths that step on their own": {"likeness_um": 50.0},
    "no straight line along the shank": {"bending_um": 5.0},
    "depths 400 µm apart": {"win_step_um": 400.0},
    "peaks of busy units count fully": {"saturation_hz": 1e6},
    "peaks at the borders count fully": {"border_um": 0.01},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[101])
    parser.add_argument("--parts", type=lambda text: text.split(","), help="parameters to go without; default: all")
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--channels", type=int, default=128)
    parser.add_argument("--spread-um", type=float, default=15.0)
    parser.add_argument("--attraction", type=float, default=0.1)
    options = parser.parse_args()
    drawn = {}
    for name in NAMES:
        for seed in options.seeds:
            parameters = parameters_of(name, seed, options.seconds, options.channels, "monopole")
            drawn[name, seed] = peaks_of(parameters, options.spread_um, options.attraction)
    span_um = (0.0, 20.0 * ((options.channels - 1) // 2))
    rows = [["mean error in µm; bursts", *DRIFTS]]
    for label, changed in WITHOUT.items():
        if options.parts and not changed.keys() <= set(options.parts):
            continue
        parameters = likelihood.Parameters(**changed)
        errors = {key: error_of(peaks, span_um, options.seconds, parameters) for key, peaks in drawn.items()}
        cells = [cell([each for (name, _), each in errors.items() if name.startswith(drift)]) for drift in DRIFTS]
        rows.append([label, *cells])
    print(table(rows))


def error_of(
    drawn: dict[str, np.ndarray], span_um: tuple[float, float], seconds: int, parameters: likelihood.Parameters
) -> Errors:
    peaks = DepthPeaks(drawn["time_s"], drawn["depth_um"], drawn["amplitude_uv"])
    motion = likelihood.estimate(peaks, span_um, float(seconds), parameters, Reporter())
    truth = Motion(drawn["displacement"], drawn["temporal_bins_s"], drawn["spatial_bins_um"])
    return errors_of(motion, truth, span_um, seconds)


def cell(errors: list[Errors]) -> str:
    mean_um = np.mean([each.numbers["mean_um"] for each in errors])
    return f"{mean_um:.2f}; {sum(each.numbers['bursts'] for each in errors)}"


if __name__ == "__main__":
    main()
