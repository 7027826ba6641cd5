"""Hold every stage of driftcli against SpikeInterface's on one recording.

usage: parity.py DATA --peer PEER_PYTHON [--presets ...] [--keep DIR]
Each stage is given the peer's input, so that differences don't add up: peaks with the peer's noise levels, positions of
the peer's peaks, motion of the peer's positions, traces with the peer's motion. The error of both motions is that of
the truth at every unit's depth, less the median difference.
"""

import argparse
import json
import subprocess
import tempfile
from functools import partial
from pathlib import Path

import numpy as np

from driftcli import presets
from driftcli.model import GOOD, DepthPeaks, Motion, Peaks
from driftcli.recording.facts import facts_of
from driftcli.recording.open import open_recording
from driftcli.reporter import Reporter
from driftcli.store.motion import write_motion
from driftcli.store.peaks import joined_peaks
from driftcli.workflow.apply import apply
from driftcli.workflow.contacts import labels_of
from driftcli.workflow.peak_finder import Noise, PeakFinder, rows_in
from driftcli.workflow.work import Work

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--peer", default="", help="not needed where --keep holds the peer's results already")
    parser.add_argument("--presets", nargs="+", default=["rigid_fast", "kilosort_like", "nonrigid_accurate"])
    parser.add_argument("--keep", type=Path, help="folder for the peer's results, used again when it has them")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.data) as scratch:
        print("| preset | same peaks | y, median | motion, mean | error (peer) | traces within 1 LSB |")
        print("| --- | --- | --- | --- | --- | --- |")
        for preset in options.presets:
            print_row(preset, options, Path(scratch))


def print_row(preset: str, options: argparse.Namespace, scratch: Path) -> None:
    results = (options.keep or scratch) / f"peer_{preset}"
    if not (results / "times.json").exists():
        command = [options.peer, str(HERE / "peer.py"), "run", str(options.data), str(results), "--preset", preset]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    facts = json.loads((options.data / "rec.json").read_text())
    recording = open_recording(
        options.data / "rec.bin",
        probe=options.data / "probe.json",
        sampling_frequency_hz=facts["sampling_frequency"],
        reporter=Reporter(),  # no gain: the peer works in file units, too
    )
    settings = presets.load(preset)
    peaks, places = np.load(results / "peaks.npy"), np.load(results / "locations.npy")
    levels, labels = np.load(results / "noise_levels.npy"), labels_of(recording, settings, Work())
    finder = PeakFinder(recording, settings, labels, Noise(levels[labels == GOOD], levels[labels == GOOD]), Work())
    motion, peer_motion = motions(settings, peaks, places, recording, results)
    cells = [
        f"{same_peaks(finder, peaks):.3%}",
        f"{median_difference_um(finder, peaks, places):.4f} µm",
        f"{np.abs(motion.displacement_um - peer_motion.displacement_um).mean():.3f} µm",
        f"{error_um(motion, options.data):.3f} ({error_um(peer_motion, options.data):.3f}) µm",
        f"{traces_within_1_lsb(recording, settings, peer_motion, results, scratch):.5%}",
    ]
    print(f"| {preset} | {' | '.join(cells)} |", flush=True)


def same_peaks(finder: PeakFinder, peaks: np.ndarray) -> float:
    """Share of (sample, channel) that both found, of those that either found."""
    blocks = finder.stream.map(finder.located, finder.blocks(), Reporter(), "detect")
    found = joined_peaks([located for located, _ in blocks])
    ours = set(zip(found.sample_index.tolist(), found.channel_index.tolist(), strict=True))
    theirs = set(zip(peaks["sample_index"].tolist(), peaks["channel_index"].tolist(), strict=True))
    return len(ours & theirs) / len(ours | theirs)


def median_difference_um(finder: PeakFinder, peaks: np.ndarray, places: np.ndarray) -> float:
    chosen = Peaks(peaks["sample_index"], peaks["channel_index"].astype(np.int32), peaks["amplitude"], {})
    spans = [span for span in finder.blocks() if rows_in(chosen, span)]
    again = finder.stream.map(partial(finder.located_again, chosen), spans, Reporter(), "localize")
    y_um = joined_peaks([located for located, _ in again]).location["y_um"]
    return float(np.median(np.abs(y_um - places["y"])))


def motions(settings, peaks, places, recording, results: Path) -> tuple[Motion, Motion]:
    stage = settings["estimate"]
    time_s = peaks["sample_index"] / recording.sampling_frequency_hz
    depth_peaks = DepthPeaks(time_s, places["y"].astype(float), peaks["amplitude"].astype(float))
    depths = recording.geometry.depths_um
    span_um = (float(depths.min()), float(depths.max()))
    motion = stage.module.estimate(depth_peaks, span_um, recording.duration_s, stage.parameters, Reporter())
    peer = np.load(results / "motion.npz")
    return motion, Motion(peer["displacement_um"].astype(float), peer["temporal_bins_s"], peer["spatial_bins_um"])


def error_um(motion: Motion, data: Path) -> float:
    truth = np.load(data / "truth.npz")
    rate_hz, steps = float(truth["displacement_sampling_frequency"]), np.sort(truth["displacement_steps"])
    true = np.einsum("tv,uv->tu", truth["displacement_vectors"][:, 1], truth["displacement_unit_factor"])
    true = steps[np.abs(true[..., None] - steps).argmin(-1)]
    time_s = (np.arange(len(true)) + 0.5) / rate_hz  # the generator holds each value for a whole bin
    error = motion.at(time_s[:, None], truth["unit_locations"][None, :, 1]) - true
    return float(np.abs(error - np.median(error)).mean())


def traces_within_1_lsb(recording, settings, peer_motion: Motion, results: Path, scratch: Path) -> float:
    """Share of samples, on the channels that the peer kept, that differ by no more than 1."""
    write_motion(scratch / "motion.h5", {0: peer_motion}, recording.duration_s, facts_of(recording), settings)
    apply(recording, scratch / "motion.h5", settings, scratch / "corrected.bin", Work(overwrite=True))
    kept = np.load(results / "motion.npz")["kept_channels"]
    ours = np.memmap(scratch / "corrected.bin", "<i2", "r").reshape(-1, recording.num_columns)
    theirs = np.memmap(results / "corrected.bin", "<i2", "r").reshape(-1, len(kept))
    near, step = 0, 1 << 16
    for start in range(0, len(ours), step):
        difference = ours[start : start + step, kept].astype(np.int32) - theirs[start : start + step]
        near += int((np.abs(difference) <= 1).sum())
    return near / theirs.size


if __name__ == "__main__":
    main()
