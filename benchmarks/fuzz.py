"""Reads spoiled files of every kind that driftcli takes from others, with the mutations of tests/fuzz.

    python benchmarks/fuzz.py --inputs 100000

Prints a row per reader: inputs, how many of them were refused, failures. A failure comes with what reads it again.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1]))

from fuzz.children import read_spoiled
from fuzz.readers import READERS

BATCH = 1000  # inputs of a reader in a row, so that all have had some when the work is stopped


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=100_000, help="of all readers together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--readers", nargs="+", choices=list(READERS), default=list(READERS))
    options = parser.parse_args()
    each = -(-options.inputs // len(options.readers))
    totals = {name: [0, 0, 0, 0.0] for name in options.readers}
    for first in range(0, each, BATCH):
        for name in options.readers:
            began = time.monotonic()
            found = read_spoiled(name, options.seed, first, min(BATCH, each - first))
            numbers = (found["inputs"], found["refused"], len(found["failures"]), time.monotonic() - began)
            totals[name] = [old + new for old, new in zip(totals[name], numbers, strict=True)]
            for failure in found["failures"]:
                again = f"tests/fuzz/run.py {name} {failure['seed']} {failure['number']} 1"
                print(f"FAILED {again}\n{failure['wrong']}", flush=True)
        print(f"{min(first + BATCH, each) * len(options.readers):,} inputs", file=sys.stderr, flush=True)
    print(f"{'reader':<24}{'inputs':>10}{'refused':>10}{'failures':>10}{'seconds':>10}")
    for name, (inputs, refused, failures, seconds) in totals.items():
        print(f"{name:<24}{inputs:>10,}{refused:>10,}{failures:>10,}{seconds:>10.0f}")
    print(f"{'all':<24}{sum(total[0] for total in totals.values()):>10,}")
    return 1 if any(total[2] for total in totals.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
