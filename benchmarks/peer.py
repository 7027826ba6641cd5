"""Correct a recording with SpikeInterface, as its documentation says to (run with the peer's python).

usage: peer.py DATA OUT PRESET [--jobs 2]
Band-pass 300-6000 Hz, global median reference, the motion preset, int16 out. Writes OUT/peaks.npy, locations.npy,
noise_levels.npy, motion.npz, corrected.bin and times.json.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

STARTED = time.perf_counter()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("preset")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    import probeinterface
    import spikeinterface.full as si

    options.out.mkdir(parents=True, exist_ok=True)
    facts = json.loads((options.data / "rec.json").read_text())
    recording = si.read_binary(
        options.data / "rec.bin",
        sampling_frequency=facts["sampling_frequency"],
        num_channels=facts["num_channels"],
        dtype=facts["dtype"],
        gain_to_uV=facts["gain_to_uV"],
        offset_to_uV=0.0,
    )
    recording.set_probegroup(probeinterface.read_probeinterface(options.data / "probe.json"))
    recording = si.bandpass_filter(recording, freq_min=300.0, freq_max=6000.0, dtype="float32")
    recording = si.common_reference(recording, reference="global", operator="median")
    jobs = {"n_jobs": options.jobs, "chunk_duration": "1s", "progress_bar": False}
    corrected, motion, info = si.correct_motion(
        recording, preset=options.preset, output_motion=True, output_motion_info=True, **jobs
    )
    motion_at = time.perf_counter()
    # rounded to int16: written as it is, the peer would truncate
    si.write_binary_recording(
        si.astype(corrected, "int16"), file_paths=[options.out / "corrected.bin"], dtype="int16", **jobs
    )
    times = {**info["run_times"], "apply": time.perf_counter() - motion_at, "total": time.perf_counter() - STARTED}
    np.save(options.out / "peaks.npy", info["peaks"])
    np.save(options.out / "locations.npy", info["peak_locations"])
    np.save(options.out / "noise_levels.npy", si.get_noise_levels(recording, return_in_uV=False))
    np.savez(
        options.out / "motion.npz",
        displacement_um=motion.displacement[0],
        temporal_bins_s=motion.temporal_bins_s[0],
        spatial_bins_um=motion.spatial_bins_um,
        kept_channels=corrected.channel_ids.astype(int),
    )
    (options.out / "times.json").write_text(json.dumps(times, indent=1))


if __name__ == "__main__":
    main()
