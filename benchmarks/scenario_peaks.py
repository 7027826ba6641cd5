"""Draw the peaks of the twelve scenarios without their traces, in seconds: to try an estimate on.

usage: scenario_peaks.py FOLDER [--seed N] [--seconds 300] [--channels 128] [--spread-um 60] [--attraction 0.35]
Leaves FOLDER/NAME-SEED.npz with time_s, depth_um, amplitude_uv as `driftcli estimate` takes them, and the truth:
displacement, temporal_bins_s, spatial_bins_um, unit and unit_depths_um. A peak is as large as its spike is on the
loudest contact, with the noise of that; the smaller, the less sure is its depth, and all are drawn towards the nearest
contact. A tenth of the peaks are noise. `data.error_um` tells the error of a motion. Peaks of the simulated traces that
`grid_convolution` localizes are better than that, as with a spread of 15 and an attraction of 0.1.
"""

import argparse
from pathlib import Path

import numpy as np
from garcia import NAMES, parameters_of

from driftcli.simulate.simulate import SimulateParameters, Simulation

THRESHOLDS = 5.0  # noise levels that a peak has at least
NOISE_SHARE = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--channels", type=int, default=128)
    parser.add_argument("--spread-um", type=float, default=60.0, help="of the depth of a peak as large as the noise")
    parser.add_argument("--attraction", type=float, default=0.35, help="share of the way to the nearest contact")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        parameters = parameters_of(name, options.seed, options.seconds, options.channels, "monopole")
        path = options.folder / f"{name}-{options.seed}.npz"
        np.savez(path, **peaks_of(parameters, options.spread_um, options.attraction))
        print(path)


def peaks_of(parameters: SimulateParameters, spread_um: float, attraction: float) -> dict[str, np.ndarray]:
    """Peaks in order of time, with the truth; unit is -1 for those of noise."""
    simulation = Simulation(parameters)
    rng = np.random.default_rng(parameters.seed)
    contacts_um, units, spikes = simulation.positions_um, simulation.units, simulation.spikes
    time_s = spikes.sample_index / parameters.sampling_frequency_hz
    x_um, y_um, z_um = units.positions_um[spikes.unit].T
    y_um = y_um + simulation.motion.at(time_s, y_um)
    loudest_um, contact_um = nearest_contact(x_um, y_um, z_um, contacts_um)
    size_uv = spikes.scale * units.amplitude_uv[spikes.unit]
    size_uv *= np.exp((z_um - loudest_um) / units.decay_um[spikes.unit])
    size_uv += rng.normal(0, parameters.noise_uv, len(size_uv))
    found = size_uv > THRESHOLDS * parameters.noise_uv
    drawn_um = y_um + attraction * (contact_um - y_um)
    depth_um = drawn_um + rng.standard_t(5, len(drawn_um)) * spread_um * parameters.noise_uv / np.abs(size_uv)
    columns = [time_s[found], depth_um[found], size_uv[found], spikes.unit[found]]
    columns = np.concatenate([columns, noise_peaks(round(NOISE_SHARE * found.sum()), parameters, contacts_um, rng)], 1)
    columns = columns[:, np.argsort(columns[0], kind="stable")]
    return {
        "time_s": columns[0],
        "depth_um": columns[1],
        "amplitude_uv": -columns[2],
        "unit": columns[3].astype(int),
        "unit_depths_um": units.positions_um[:, 1],
        "displacement": simulation.motion.displacement_um,
        "temporal_bins_s": simulation.motion.temporal_bins_s,
        "spatial_bins_um": simulation.motion.spatial_bins_um,
    }


def nearest_contact(
    x_um: np.ndarray, y_um: np.ndarray, z_um: np.ndarray, contacts_um: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Distance of each spike to the contact nearest to it, and the depth of that."""
    nearest_um, depth_um = np.full(len(x_um), np.inf), np.zeros(len(x_um))
    for contact_x_um, contact_y_um in contacts_um:
        distance_um = np.sqrt((x_um - contact_x_um) ** 2 + (y_um - contact_y_um) ** 2 + z_um**2)
        depth_um[distance_um < nearest_um] = contact_y_um
        nearest_um = np.minimum(nearest_um, distance_um)
    return nearest_um, depth_um


def noise_peaks(
    count: int, parameters: SimulateParameters, contacts_um: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    time_s = rng.uniform(0, parameters.duration_s, count)
    depth_um = rng.choice(contacts_um[:, 1], count) + rng.normal(0, 10, count)
    size_uv = parameters.noise_uv * (THRESHOLDS + rng.exponential(0.3, count))
    return np.array([time_s, depth_um, size_uv, np.full(count, -1)])


if __name__ == "__main__":
    main()
