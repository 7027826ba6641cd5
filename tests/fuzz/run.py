"""Reads spoiled inputs in a process of its own, with a limit on memory and on time for each.

    python tests/fuzz/run.py READER SEED FIRST COUNT

prints one line of JSON: how many inputs were read, how many of them were refused, and what failed. The number of the
input that is being read is in the file that FUZZ_PROGRESS names, for the case that the process dies.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import tempfile
import traceback
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2]))

from driftcli.errors import DriftcliError
from fuzz.readers import READERS, generator_of

SECONDS = 2.0  # of processor time for one input
GROWTH_BYTES = 400 << 20  # of memory over all inputs
ADDRESS_BYTES = 4 << 30


class TooLong(BaseException):
    """Not an Exception, so that no reader takes it for a damaged file."""


def main(name: str, seed: int, first: int, count: int) -> dict[str, Any]:
    warnings.simplefilter("ignore", RuntimeWarning)
    used = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_BYTES, used))
    signal.signal(signal.SIGVTALRM, _too_long)
    failures: list[dict[str, Any]] = []
    refused, done = 0, 0
    with tempfile.TemporaryDirectory(dir=_fast_folder()) as folder:
        reader = READERS[name](Path(folder))
        progress = os.environ.get("FUZZ_PROGRESS")
        grown_from = _peak_bytes()
        for number in range(first, first + count):
            if progress:
                Path(progress).write_text(str(number))
            wrong = ""
            try:
                signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
                reader.one(generator_of(seed, number))
            except DriftcliError as error:
                refused += 1
                wrong = "" if error.message and len(error.message) < 5000 else f"message: {error.message[:100]!r}"
            except TooLong:
                wrong = "takes too long: " + "".join(traceback.format_exc().splitlines(keepends=True)[-7:-1])
            except BaseException:
                wrong = "".join(traceback.format_exc().splitlines(keepends=True)[-9:])
            finally:
                signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            done += 1
            if _peak_bytes() - grown_from > GROWTH_BYTES:
                wrong += f"memory grew by {_peak_bytes() - grown_from} bytes"
                grown_from = _peak_bytes()
            if wrong:
                failures.append({"reader": name, "seed": seed, "number": number, "wrong": wrong})
    return {"reader": name, "inputs": done, "refused": refused, "failures": failures}


def _too_long(*_: Any) -> None:
    raise TooLong


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _fast_folder() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], *map(int, sys.argv[2:5]))))
