"""Peak memory of `driftcli run` on a simulated recording and on one ten times as long, in processes of their own.

usage: memory.py [--folder DIR] [--seconds 60] [--channels 128] [--preset nonrigid_accurate] [--jobs 2]
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--channels", type=int, default=128)
    parser.add_argument("--preset", default="nonrigid_accurate")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    print("| length (s) | file (MB) | peak memory of run (MB) |")
    print("| --- | --- | --- |")
    for seconds in (options.seconds, 10 * options.seconds):
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            print_row(seconds, Path(folder), options)


def print_row(seconds: float, folder: Path, options: argparse.Namespace) -> None:
    driftcli = [sys.executable, "-m", "driftcli"]
    simulation = ["--duration-s", str(seconds), "--num-channels", str(options.channels), "--quiet"]
    subprocess.run([*driftcli, "simulate", str(folder / "data"), *simulation], check=True)
    recording = folder / "data/rec.bin"
    command = [*driftcli, "run", str(recording), "--probe", str(folder / "data/probe.json"), "--quiet"]
    process = subprocess.Popen([*command, "--preset", options.preset, "--jobs", str(options.jobs)])
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit("driftcli run failed")
    print(f"| {seconds:g} | {recording.stat().st_size / 1e6:.0f} | {usage.ru_maxrss / 1024:.0f} |", flush=True)


if __name__ == "__main__":
    main()
