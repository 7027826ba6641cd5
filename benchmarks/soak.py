"""Kill runs and break the disk under them for as long as asked, and hold what is left against an undisturbed run.

usage: soak.py FOLDER [--minutes 60] [--seed N] [--cases raw,spikeglx,...]
Prints a row of the table in the end, and of each failure what it takes to see it again. Exit code 1: there were some.
FOLDER is made, and removed if all held.
"""

import argparse
import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import killing
from faulty import Server
from killing import Case, Tally

_MOST_CUTS = 4  # of one piece of work, one after the other


def main() -> int:
    options = parsed()
    randomly = random.Random(options.seed)
    options.folder.mkdir(parents=True)
    failures, totals, ended = 0, Counter[str](), Counter[str]()
    with Server(options.folder) as server:
        cases = [killing.make_case(name, options.folder / name, server) for name in options.cases.split(",")]
        until = time.monotonic() + 60 * options.minutes
        while time.monotonic() < until:
            case, kind = randomly.choice(cases), randomly.choice(list(KINDS))
            seed = randomly.randrange(2**31)
            try:
                tally = KINDS[kind](case, server, random.Random(seed))
            except AssertionError as error:
                failures += 1
                print(f"FAILED {case.name}, {kind}, random.Random({seed}): {error}", flush=True)
                continue
            ended[kind] += tally.cut
            totals.update(trials=tally.trials, cut=tally.cut, bytes=tally.bytes, redone=tally.redone)
    print("| minutes | cases | pieces of work | processes cut off | of these by | bytes compared | redone | failures |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    by = ", ".join(f"{kind} {count:,}" for kind, count in ended.most_common())
    print(
        f"| {options.minutes:g} | {len(cases)} | {totals['trials']:,} | {totals['cut']:,} | {by} | "
        f"{totals['bytes']:,} | {totals['redone']:,} | {failures} |"
    )
    if not failures:
        shutil.rmtree(options.folder)
    return int(failures > 0)


def _cuts(make: Callable[[Case, random.Random], killing.Fault]) -> Callable[[Case, Server, random.Random], Tally]:
    def cut(case: Case, server: Server, randomly: random.Random) -> Tally:
        return killing.cut_off(case, server, [make(case, randomly) for _ in range(randomly.randint(1, _MOST_CUTS))])

    return cut


def _any(case: Case, randomly: random.Random) -> killing.Fault:
    return randomly.choice([killing.kill, killing.stop, killing.fault])(case, randomly)


KINDS = {
    "kill at a call": _cuts(killing.kill),
    "signal": _cuts(killing.stop),
    "fault of the disk": _cuts(killing.fault),
    "all of these": _cuts(_any),
    "kill by the clock": killing.killed_by_the_clock,
    "kill of --overwrite": killing.overwriting_cut_off,
    "kill of shards": killing.shards_cut_off,
}


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.randrange(2**31))
    parser.add_argument("--cases", default=",".join(killing.NAMES))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    return options


if __name__ == "__main__":
    sys.exit(main())
