"""Make the reference recording with SpikeInterface's drifting generator (run with the peer's python).

usage: reference.py DATA [--seed 42]
Writes DATA/rec.bin (int16, samples x channels), probe.json, rec.json and truth.npz.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from probeinterface import write_probeinterface
from probeinterface.neuropixels_tools import build_neuropixels_probe
from spikeinterface.generation.drifting_generator import generate_drifting_recording

GAIN_TO_UV = 2.34375
NUM_CHANNELS = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seed", type=int, default=42)
    options = parser.parse_args()
    options.data.mkdir(parents=True, exist_ok=True)
    probe = build_neuropixels_probe("NP1000").get_slice(np.arange(NUM_CHANNELS))
    probe.set_device_channel_indices(np.arange(NUM_CHANNELS))
    zigzag = {
        "drift_mode": "zigzag",
        "non_rigid_gradient": None,
        "t_start_drift": 60.0,
        "t_end_drift": None,
        "period_s": 200,
    }
    drift = {
        "displacement_sampling_frequency": 5.0,
        "drift_start_um": [0, 20],
        "drift_stop_um": [0, -20],
        "drift_step_um": 1,
    }
    _, recording, _, extra = generate_drifting_recording(
        num_units=50,
        duration=100.0,
        seed=options.seed,
        probe=probe,
        extra_outputs=True,
        generate_displacement_vector_kwargs={**drift, "motion_list": [zigzag]},
        generate_sorting_kwargs={"firing_rates": (15, 25), "refractory_period_ms": 4.0},
    )
    rate_hz, num_samples = int(recording.sampling_frequency), recording.get_num_samples()
    with (options.data / "rec.bin").open("wb") as file:
        for start in range(0, num_samples, rate_hz):
            traces = recording.get_traces(start_frame=start, end_frame=min(start + rate_hz, num_samples))
            np.clip(np.rint(traces / GAIN_TO_UV), -32768, 32767).astype("<i2").tofile(file)
    write_probeinterface(options.data / "probe.json", recording.get_probegroup())
    keys = ("displacement_vectors", "displacement_unit_factor", "unit_locations", "displacement_sampling_frequency")
    truth = {key: np.asarray(extra[key]) for key in keys}
    np.savez(options.data / "truth.npz", **truth, displacement_steps=np.linspace(-20, 20, 41))
    facts = {"sampling_frequency": rate_hz, "num_channels": NUM_CHANNELS, "gain_to_uV": GAIN_TO_UV, "dtype": "int16"}
    (options.data / "rec.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main()
