"""Make a recording with known truth with SpikeInterface's drifting generator (run with the peer's python).

usage: reference.py DATA [--scenario reference] [--seconds 100] [--seed 42]
Writes DATA/rec.bin (int16, samples x channels), probe.json, truth.npz and, when all is done, rec.json.
"""

import argparse
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

GAIN_TO_UV = 2.34375


class Scenario(NamedTuple):
    """A recording on the lowest channels of a Neuropixels 1.0; the tissue goes to and fro by `reach_um` either way.

    gradient: the share of the tip's displacement that the top keeps; None: all of it.
    """

    channels: int
    units: int
    rates_hz: tuple[float, float]
    reach_um: int
    gradient: float | None
    seed: int
    seconds: float
    start_s: float
    period_s: float

    def lasting(self, seconds: float) -> "Scenario":
        """The same drift in a recording of another length."""
        share = seconds / self.seconds
        return self._replace(seconds=seconds, start_s=self.start_s * share, period_s=self.period_s * share)


SCENARIOS = {
    "reference": Scenario(128, 50, (15, 25), 20, None, 42, 100.0, 60.0, 200.0),
    "nonrigid384": Scenario(384, 200, (1, 8), 30, 0.3, 7, 300.0, 40.0, 140.0),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--scenario", choices=SCENARIOS, default="reference")
    parser.add_argument("--seconds", type=float, help="default: what the scenario says, as for the seed")
    parser.add_argument("--seed", type=int)
    options = parser.parse_args()
    scenario = SCENARIOS[options.scenario]
    scenario = scenario.lasting(options.seconds or scenario.seconds)
    write(options.data, scenario._replace(seed=scenario.seed if options.seed is None else options.seed))


def write(data: Path, scenario: Scenario) -> None:
    from probeinterface import write_probeinterface

    data.mkdir(parents=True, exist_ok=True)
    recording, truth = generate(scenario)
    rate_hz, num_samples = int(recording.sampling_frequency), recording.get_num_samples()
    with (data / "rec.bin").open("wb") as file:
        for start in range(0, num_samples, rate_hz):
            traces = recording.get_traces(start_frame=start, end_frame=min(start + rate_hz, num_samples))
            np.clip(np.rint(traces / GAIN_TO_UV), -32768, 32767).astype("<i2").tofile(file)
    write_probeinterface(data / "probe.json", recording.get_probegroup())
    keys = ("displacement_vectors", "displacement_unit_factor", "unit_locations", "displacement_sampling_frequency")
    steps = np.linspace(scenario.reach_um, -scenario.reach_um, 2 * scenario.reach_um + 1)
    np.savez(data / "truth.npz", **{key: np.asarray(truth[key]) for key in keys}, displacement_steps=steps)
    facts = {"sampling_frequency": rate_hz, "num_channels": scenario.channels, "gain_to_uV": GAIN_TO_UV}
    (data / "rec.json").write_text(json.dumps({**facts, "dtype": "int16"}))


def generate(scenario: Scenario):
    """The peer's recording and the generator's own notes about its drift."""
    from probeinterface.neuropixels_tools import build_neuropixels_probe
    from spikeinterface.generation.drifting_generator import generate_drifting_recording

    probe = build_neuropixels_probe("NP1000").get_slice(np.arange(scenario.channels))
    probe.set_device_channel_indices(np.arange(scenario.channels))
    zigzag = {
        "drift_mode": "zigzag",
        "non_rigid_gradient": scenario.gradient,
        "t_start_drift": scenario.start_s,
        "t_end_drift": None,
        "period_s": scenario.period_s,
    }
    drift = {
        "displacement_sampling_frequency": 5.0,
        "drift_start_um": [0, scenario.reach_um],
        "drift_stop_um": [0, -scenario.reach_um],
        "drift_step_um": 1,
    }
    _, recording, _, truth = generate_drifting_recording(
        num_units=scenario.units,
        duration=scenario.seconds,
        seed=scenario.seed,
        probe=probe,
        extra_outputs=True,
        generate_displacement_vector_kwargs={**drift, "motion_list": [zigzag]},
        generate_sorting_kwargs={"firing_rates": scenario.rates_hz, "refractory_period_ms": 4.0},
    )
    return recording, truth


if __name__ == "__main__":
    main()
