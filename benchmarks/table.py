"""Print the table: driftcli beside SpikeInterface and `cp`, in turn, in one session; row by row as they are done.

usage: table.py FOLDER [--peer PEER_PYTHON] [--rows run,detect,...]; all options: table.py --help
FOLDER keeps the data between calls. Every run is a process of its own, imports included; driftcli's kernels are
compiled by a run that isn't counted.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from importlib.metadata import version
from math import isnan, nan
from pathlib import Path

import data
import numpy as np
from bench import Bench
from measure import Usage, copy_s, measured, settle
from rows import GROUPS, Result, Row, number

from driftcli import __version__
from driftcli.model import Motion
from driftcli.store.motion import read_motion

COLUMNS = ("work", "peer s", "peer MB", "driftcli s", "driftcli MB", "cp s", "ratio", "asked", "reached", "will do")
CACHE = "NUMBA_CACHE_DIR"


def main() -> None:
    options = parsed()
    options.folder.mkdir(parents=True, exist_ok=True)
    failed = False
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="scratch-") as scratch:
        bench = Bench(options, Path(scratch))
        if options.peer:  # once uncounted: its modules come from the cache afterwards, as driftcli's do
            subprocess.run([options.peer, "-c", "import spikeinterface.full"], check=True, stderr=subprocess.DEVNULL)
        show(*COLUMNS)
        show(*["---"] * len(COLUMNS))
        for group in options.rows:
            for row in GROUPS[group](bench):
                result = first_and_second(row, bench) if row.fresh else in_turn(row, bench)
                show(*cells(row, result))
                failed |= result.ours.failed
    print(f"\n{facts(options)}")
    sys.exit(failed)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--peer", default="", help="python that has SpikeInterface; without it, driftcli and cp alone")
    parser.add_argument("--rows", type=groups, default=list(GROUPS), help=f"default: {','.join(GROUPS)}")
    parser.add_argument("--recording-128", type=Path, help="folder to take in place of the reference recording")
    parser.add_argument("--recording-384", type=Path, help="folder to take in place of the 384-channel recording")
    parser.add_argument("--peaks", type=Path, nargs="+", default=[], help="to take in place of those of their lengths")
    parser.add_argument("--seconds-128", type=float, default=100.0)
    parser.add_argument("--seconds-384", type=float, default=300.0)
    parser.add_argument("--seconds-dredge", type=int, default=2000)
    parser.add_argument("--seconds-decentralized", type=int, default=1000)
    parser.add_argument("--seconds-long", type=int, nargs="+", default=[18000, 86400])
    parser.add_argument("--rounds", type=int, default=1, help="runs of each, in turn; the median counts")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--cold", action="store_true", help="take files out of the cache before each run")
    return parser.parse_args()


def groups(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in GROUPS]:
        raise argparse.ArgumentTypeError(f"no rows {unknown[0]!r}; there are {', '.join(GROUPS)}")
    return names


def in_turn(row: Row, bench: Bench) -> Result:
    """Peer, cp, driftcli, cp, as many times as asked."""
    peers, ours, copied = [], [], []
    errors_um = {"peer": nan, "ours": nan}
    bench.clear()
    measured(row.first or row.ours)
    for _ in range(max(bench.options.rounds, row.runs)):
        if row.peer:
            peers.append(counted(row.peer, row, bench))
            errors_um["peer"] = error_um(bench.peer / "motion.npz", row, peers[-1])
            bench.clear()
        copied += copy_of(row, bench)
        ours.append(counted(row.ours, row, bench))
        errors_um["ours"] = error_um(bench.ours / "motion.h5", row, ours[-1])
        bench.clear()
        copied += copy_of(row, bench)
    return Result(
        middle(ours),
        middle(peers) if peers else None,
        copy_s=statistics.median(copied) if copied else nan,
        own_error_um=errors_um["ours"],
        peer_error_um=errors_um["peer"],
    )


def first_and_second(row: Row, bench: Bench) -> Result:
    """A run without any compiled kernel, and one with those that it left."""
    runs = []
    with tempfile.TemporaryDirectory(dir=bench.scratch) as kernels:
        for _ in range(2):
            bench.clear()
            runs.append(counted(row.ours, row, bench, {CACHE: kernels}))
    failed = next((run for run in runs if run.failed), None)
    return Result(failed) if failed else Result(runs[0], again=runs[1])


def counted(command: list[str], row: Row, bench: Bench, environment: dict[str, str] | None = None) -> Usage:
    if row.file:
        settle(row.file, bench.options.cold)
    return measured(command, environment)


def copy_of(row: Row, bench: Bench) -> list[float]:
    return [copy_s(row.file, bench.scratch, bench.options.cold)] if row.file and row.copied else []


def error_um(motion: Path, row: Row, usage: Usage) -> float:
    if row.peaks is None or usage.failed:
        return nan
    if motion.suffix == ".h5":
        return data.error_um(read_motion(motion).motions[0], row.peaks)
    with np.load(motion) as bins:
        names = ("displacement_um", "temporal_bins_s", "spatial_bins_um")
        return data.error_um(Motion(*(bins[name].astype(float) for name in names)), row.peaks)


def middle(runs: list[Usage]) -> Usage:
    """The median of the seconds, the most memory; failed if any run did."""
    if failures := [run for run in runs if run.failed]:
        return failures[0]._replace(seconds=nan)
    seconds = statistics.median(run.seconds for run in runs)
    largest_mb, all_mb = max(run.largest_mb for run in runs), max(run.all_mb for run in runs)
    return runs[-1]._replace(seconds=seconds, largest_mb=largest_mb, all_mb=all_mb)


def cells(row: Row, result: Result) -> list[str]:
    reached = [asked.reached(result) for asked in row.asked]
    return [
        row.work,
        *sides(result.peer),
        *sides(result.ours),
        told(result.copy_s),
        told(result.ratio),
        ", ".join(asked.text for asked in row.asked),
        ", ".join(text for text, _ in reached) + remark(row, result),
        will_do([enough for _, enough in reached], result),
    ]


def sides(usage: Usage | None) -> tuple[str, str]:
    """Seconds; MB of the largest process and, in brackets, of all at once where that is more."""
    if usage is None or usage.failed:
        return ("failed", "–") if usage else ("–", "–")
    together = f" ({usage.all_mb:.0f})" if usage.all_mb > usage.largest_mb * 1.05 else ""
    return number(usage.seconds), f"{usage.largest_mb:.0f}{together}"


def told(value: float) -> str:
    return "–" if isnan(value) else number(value)


def remark(row: Row, result: Result) -> str:
    """What no limit says: errors, pace, and the second call."""
    if row.peaks:
        pace_s = result.ours.seconds / data.length_s(row.peaks) * 1000
        peer = "" if isnan(result.peer_error_um) else f", peer {number(result.peer_error_um)}"
        return f" (error {told(result.own_error_um)} µm{peer}; {told(pace_s)} s per 1000 s)"
    return f" (second call {told(result.again.seconds)} s)" if result.again else ""


def will_do(enough: list[bool | None], result: Result) -> str:
    if result.ours.failed or False in enough:
        return "no"
    return "–" if None in enough else "yes"


def show(*row: str) -> None:
    print(f"| {' | '.join(row)} |", flush=True)


def facts(options: argparse.Namespace) -> str:
    cores = len(os.sched_getaffinity(0))
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    libraries = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy", "numba"))
    cache = "cold" if options.cold else "warm"
    return (
        f"{cores} cores, {memory_gb:.0f} GB of memory; driftcli {__version__}{peer_version(options)}; "
        f"Python {platform.python_version()}, {libraries}; {options.jobs} jobs, {options.rounds} rounds, files {cache}."
    )


def peer_version(options: argparse.Namespace) -> str:
    if not options.peer:
        return ""
    command = [options.peer, "-c", "import spikeinterface; print(spikeinterface.__version__)"]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return f", SpikeInterface {found.strip()}"


if __name__ == "__main__":
    main()
