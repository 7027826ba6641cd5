"""Where the table's data and scratch files are, and how either side is called."""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

import data
import numpy as np

from driftcli.store.motion import read_motion

HERE = Path(__file__).parent


class Bench:
    """The options of the table, the data it asks for, and a scratch folder with one folder for each side's files."""

    def __init__(self, options: argparse.Namespace, scratch: Path) -> None:
        self.options, self.scratch = options, scratch
        self.ours, self.peer = scratch / "ours", scratch / "peer"
        self._given = {data.length_s(path): path for path in options.peaks}
        lengths = [options.seconds_dredge, options.seconds_decentralized, *options.seconds_long]
        if unused := sorted(set(self._given) - set(lengths)):
            raise SystemExit(f"--peaks: none of the lengths asked for is {unused[0]} s")

    def recording(self, scenario: str) -> Path:
        """The folder of one of reference.SCENARIOS."""
        options = self.options
        given, seconds = {
            "reference": (options.recording_128, options.seconds_128),
            "nonrigid384": (options.recording_384, options.seconds_384),
        }[scenario]
        return given or data.make_recording(options.folder, scenario, seconds, options.peer)

    def peaks(self, length_s: int) -> Path:
        """Peaks of a recording of that length, with their truth."""
        return self._given.get(length_s) or data.make_peaks(self.options.folder, length_s)

    def source(self, recording: Path) -> list[str]:
        """The arguments that name a recording to driftcli."""
        facts = data.facts_of(recording)
        rate, gain = str(facts["sampling_frequency"]), str(facts["gain_to_uV"])
        probe = ["--probe", str(recording / "probe.json")]
        return [str(recording / "rec.bin"), *probe, "--sampling-frequency", rate, "--gain-to-uv", gain]

    def driftcli(self, *arguments: str, quiet: bool = True) -> list[str]:
        jobs = ["--jobs", str(self.options.jobs), "--overwrite", *["--quiet"] * quiet]
        return [sys.executable, "-m", "driftcli", *arguments, *jobs]

    def spikeinterface(self, verb: str, source: Path, *arguments: str) -> list[str]:
        """The command of the peer; empty if there is none."""
        if not self.options.peer:
            return []
        jobs = ("--jobs", str(self.options.jobs))
        return [self.options.peer, str(HERE / "peer.py"), verb, str(source), str(self.peer), *jobs, *arguments]

    def motion(self, recording: Path, preset: str) -> Path:
        """The motion.h5 that driftcli finds, uncounted."""
        peaks, motion = (self.scratch / f"{recording.name}-{name}.h5" for name in ("peaks", "motion"))
        if not motion.exists():
            source = [*self.source(recording), "--preset", preset]
            subprocess.run(self.driftcli("detect", *source, "--out", str(peaks)), check=True)
            subprocess.run(self.driftcli("estimate", str(peaks), "--out", str(motion)), check=True)
        return motion

    def as_npz(self, motion: Path) -> Path:
        """A motion.h5 as the peer's side reads it."""
        path, found = motion.with_suffix(".npz"), read_motion(motion).motions[0]
        np.savez(
            path,
            displacement_um=found.displacement_um,
            temporal_bins_s=found.temporal_bins_s,
            spatial_bins_um=found.spatial_bins_um,
        )
        return path

    def clear(self) -> None:
        """Leave no files of earlier runs."""
        for folder in (self.ours, self.peer):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
