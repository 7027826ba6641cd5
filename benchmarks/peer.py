"""Do with SpikeInterface, as its documentation says to, what driftcli does (run with the peer's python).

usage: peer.py run DATA OUT --preset NAME [--jobs 2]
       peer.py motion DATA OUT --preset NAME
       peer.py detect DATA OUT --preset NAME
       peer.py apply DATA OUT --preset NAME --motion MOTION.npz
       peer.py estimate PEAKS.npz OUT --method NAME --span-um LO HI [--set KEY=VALUE ...]
Recordings are band-passed 300-6000 Hz and referenced to their global median. Leaves in the folder OUT, as far as the
verb makes them: peaks.npy, locations.npy, noise_levels.npy, motion.npz, corrected.bin (int16) and times.json.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

STARTED = time.perf_counter()
# Contacts of the recording that stands in where there are only peaks, and samples per second.
PITCH_UM, RATE_HZ = 20.0, 30000.0


def main() -> None:
    verbs = {"run": run, "motion": motion, "detect": detect, "apply": apply, "estimate": estimate}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("verb", choices=verbs)
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--preset")
    parser.add_argument("--motion", type=Path)
    parser.add_argument("--method")
    parser.add_argument("--span-um", type=float, nargs=2)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    verbs[options.verb](options)


def run(options: argparse.Namespace) -> None:
    corrected = motion(options)
    motion_at = time.perf_counter()
    write_corrected(corrected, options)
    path = options.out / "times.json"
    more = {"apply": time.perf_counter() - motion_at, "total": time.perf_counter() - STARTED}
    path.write_text(json.dumps({**json.loads(path.read_text()), **more}, indent=1))


def motion(options: argparse.Namespace):
    """All but the traces: the corrected recording that is returned is computed when it is written."""
    import spikeinterface.full as si

    recording = preprocessed(options.source)
    corrected, found, info = si.correct_motion(
        recording, preset=options.preset, output_motion=True, output_motion_info=True, **jobs(options)
    )
    np.save(options.out / "peaks.npy", info["peaks"])
    np.save(options.out / "locations.npy", info["peak_locations"])
    np.save(options.out / "noise_levels.npy", si.get_noise_levels(recording, return_in_uV=False))
    write_motion(found, options.out, kept_channels=corrected.channel_ids.astype(int))
    (options.out / "times.json").write_text(json.dumps(info["run_times"], indent=1))
    return corrected


def detect(options: argparse.Namespace) -> None:
    """Detect and localize in one pass, as `correct_motion` does."""
    import spikeinterface.full as si
    from spikeinterface.core.node_pipeline import ExtractDenseWaveforms, run_node_pipeline
    from spikeinterface.preprocessing.motion import motion_options_preset
    from spikeinterface.sortingcomponents.peak_detection import detect_peak_methods
    from spikeinterface.sortingcomponents.peak_localization import peak_localization_methods

    recording, preset = preprocessed(options.source), motion_options_preset[options.preset]
    detection, localization = dict(preset["detect_kwargs"]), dict(preset["localize_peaks_kwargs"])
    detector, localizer = (
        detect_peak_methods[detection.pop("method")],
        peak_localization_methods[localization.pop("method")],
    )
    peaks = detector(recording, noise_levels=si.get_noise_levels(recording, return_in_uV=False), **detection)
    waveforms = ExtractDenseWaveforms(recording, parents=[peaks], ms_before=0.1, ms_after=0.3)
    places = localizer(recording, parents=[peaks, waveforms], return_output=True, **localization)
    found, located = run_node_pipeline(recording, [peaks, waveforms, places], jobs(options), squeeze_output=False)
    np.save(options.out / "peaks.npy", found)
    np.save(options.out / "locations.npy", located)


def apply(options: argparse.Namespace) -> None:
    """Interpolate all channels with the preset's kernel and the motion that is given."""
    from spikeinterface.core.motion import Motion
    from spikeinterface.preprocessing.motion import motion_options_preset
    from spikeinterface.sortingcomponents.motion import interpolate_motion

    given = np.load(options.motion)
    motion = Motion(given["displacement_um"], given["temporal_bins_s"], given["spatial_bins_um"])
    kernel = {**motion_options_preset[options.preset]["interpolate_motion_kwargs"], "border_mode": "force_extrapolate"}
    write_corrected(interpolate_motion(preprocessed(options.source), motion, **kernel), options)


def estimate(options: argparse.Namespace) -> None:
    """The motion of peaks that come without a recording; one of the same span and length stands in for it."""
    from spikeinterface.sortingcomponents.motion import estimate_motion

    given, (low_um, high_um) = np.load(options.source), options.span_um
    time_s, depth_um = given["time_s"], given["depth_um"]
    recording = stand_in(low_um, high_um, float(np.ceil(time_s[-1])))
    fields = [("sample_index", "i8"), ("channel_index", "i8"), ("amplitude", "f8"), ("segment_index", "i8")]
    peaks = np.zeros(len(time_s), dtype=fields)
    peaks["sample_index"] = np.minimum(time_s * RATE_HZ, recording.get_num_samples() - 1)
    nearest = np.rint((depth_um - low_um) / PITCH_UM)
    peaks["channel_index"] = np.clip(nearest, 0, recording.get_num_channels() - 1)
    peaks["amplitude"] = given["amplitude_uv"]
    places = np.zeros(len(time_s), dtype=[(axis, "f8") for axis in "xyz"])
    places["y"] = depth_um
    parameters = {key: value_of(text) for key, _, text in (change.partition("=") for change in options.set)}
    write_motion(estimate_motion(recording, peaks, places, method=options.method, **parameters), options.out)


def stand_in(low_um: float, high_um: float, duration_s: float):
    import probeinterface
    from spikeinterface.generation import NoiseGeneratorRecording

    depths_um = np.append(np.arange(low_um, high_um, PITCH_UM), high_um)
    probe = probeinterface.Probe(ndim=2)
    probe.set_contacts(np.column_stack([np.zeros_like(depths_um), depths_um]), shape_params={"radius": 5})
    probe.set_device_channel_indices(np.arange(len(depths_um)))
    recording = NoiseGeneratorRecording(len(depths_um), RATE_HZ, [duration_s])
    recording.set_probe(probe)
    return recording


def preprocessed(data: Path):
    import probeinterface
    import spikeinterface.full as si

    facts = json.loads((data / "rec.json").read_text())
    recording = si.read_binary(
        data / "rec.bin",
        sampling_frequency=facts["sampling_frequency"],
        num_channels=facts["num_channels"],
        dtype=facts["dtype"],
        gain_to_uV=facts["gain_to_uV"],
        offset_to_uV=0.0,
    )
    recording.set_probegroup(probeinterface.read_probeinterface(data / "probe.json"))
    recording = si.bandpass_filter(recording, freq_min=300.0, freq_max=6000.0, dtype="float32")
    return si.common_reference(recording, reference="global", operator="median")


def write_corrected(corrected, options: argparse.Namespace) -> None:
    import spikeinterface.full as si

    # rounded to int16: written as it is, the peer would truncate
    path = options.out / "corrected.bin"
    si.write_binary_recording(si.astype(corrected, "int16"), file_paths=[path], dtype="int16", **jobs(options))


def write_motion(motion, out: Path, **more: np.ndarray) -> None:
    bins = {"temporal_bins_s": motion.temporal_bins_s[0], "spatial_bins_um": motion.spatial_bins_um}
    np.savez(out / "motion.npz", displacement_um=motion.displacement[0], **bins, **more)


def jobs(options: argparse.Namespace) -> dict[str, object]:
    return {"n_jobs": options.jobs, "chunk_duration": "1s", "progress_bar": False}


def value_of(text: str) -> object:
    """Numbers, true, false and null as in JSON; anything else is a word."""
    try:
        return json.loads(text)
    except ValueError:
        return text


if __name__ == "__main__":
    main()
