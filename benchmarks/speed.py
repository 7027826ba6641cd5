"""Time whole runs of driftcli and SpikeInterface in turn, on the same recording and the same cores.

usage: speed.py DATA --peer PEER_PYTHON [--presets rigid_fast ...] [--rounds 1] [--jobs 2]
Each side is a process of its own, imports included; driftcli's kernels are compiled by one run that isn't counted.
`cp` of the recording, synced to the disk, is timed in the same round.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--peer", default="")
    parser.add_argument("--presets", nargs="+", default=["rigid_fast", "kilosort_like", "nonrigid_accurate"])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    print("| preset | peer (s) | driftcli (s) | ratio | cp (s) | peer (MB) | driftcli (MB) |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for preset in options.presets:
        print_row(preset, options)


def print_row(preset: str, options: argparse.Namespace) -> None:
    peers, ours, copies = [], [], []
    run_driftcli(preset, options)
    for _ in range(options.rounds):
        if options.peer:
            peers.append(run_peer(preset, options))
        ours.append(run_driftcli(preset, options))
        copies.append(run_copy(options))
    own_s, own_mb = medians(ours)
    copy_s, _ = medians(copies)
    peer_s, peer_mb = medians(peers) if peers else (float("nan"), float("nan"))
    cells = [
        f"{peer_s:.1f}",
        f"{own_s:.2f}",
        f"{peer_s / own_s:.1f}",
        f"{copy_s:.2f}",
        f"{peer_mb:.0f}",
        f"{own_mb:.0f}",
    ]
    print(f"| {preset} | {' | '.join(cells)} |", flush=True)


def medians(runs: list[tuple[float, float]]) -> tuple[float, float]:
    return statistics.median(run[0] for run in runs), statistics.median(run[1] for run in runs)


def run_peer(preset: str, options: argparse.Namespace) -> tuple[float, float]:
    with tempfile.TemporaryDirectory(dir=options.data) as out:
        return measured(
            [options.peer, str(HERE / "peer.py"), str(options.data), out, preset, "--jobs", str(options.jobs)]
        )


def run_driftcli(preset: str, options: argparse.Namespace) -> tuple[float, float]:
    facts = json.loads((options.data / "rec.json").read_text())
    with tempfile.TemporaryDirectory(dir=options.data) as out:
        command = [sys.executable, "-m", "driftcli", "run", str(options.data / "rec.bin"), "--quiet", "--overwrite"]
        command += ["--probe", str(options.data / "probe.json"), "--preset", preset, "--jobs", str(options.jobs)]
        command += ["--sampling-frequency", str(facts["sampling_frequency"]), "--gain-to-uv", str(facts["gain_to_uV"])]
        return measured([*command, "--out", out])


def run_copy(options: argparse.Namespace) -> tuple[float, float]:
    copy = options.data / "copy.bin"
    began = time.perf_counter()
    shutil.copyfile(options.data / "rec.bin", copy)
    descriptor = os.open(copy, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
    took = time.perf_counter() - began
    copy.unlink()
    return took, 0.0


def measured(command: list[str]) -> tuple[float, float]:
    """Seconds of the process and MB of its largest member, as the system accounts for them."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    took = time.perf_counter() - began
    if status:
        raise SystemExit(f"failed: {' '.join(command)}")
    return took, usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()
