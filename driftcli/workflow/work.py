"""How work is to be done, and the checks on outputs that every verb makes before it begins."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from driftcli.errors import OutputError, UsageError
from driftcli.files import refuse_existing, refuse_same_file
from driftcli.reporter import Reporter
from driftcli.workflow.machine import allotted_cpus

DEFAULT_CHUNK_S = 1.0
PEAKS, MOTION, ASSESSMENT, RUN_LOG = "peaks.h5", "motion.h5", "assessment.h5", "run.json"
_UNITS = {"gib": 2**30, "gb": 10**9, "g": 10**9, "": 10**9, "mib": 2**20, "mb": 10**6, "m": 10**6}


@dataclass(frozen=True)
class Work:
    """Threads, chunk length, whether outputs may be replaced, and who is told; none of it changes a result.

    resume: go on from what an earlier process did, which may be nothing. mixed: also from what a machine of another
        type did, or one with other versions of libraries.
    max_memory_bytes: an estimate that is predicted to need more is refused; None: none is.
    """

    jobs: int = field(default_factory=allotted_cpus)
    chunk_s: float = DEFAULT_CHUNK_S
    overwrite: bool = False
    resume: bool = False
    mixed: bool = False
    reporter: Reporter = field(default_factory=Reporter)
    max_memory_bytes: float | None = None

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise UsageError(f"{self.jobs} jobs can't work", "give --jobs 1 or more")
        if not 0 < self.chunk_s < math.inf:
            raise UsageError(f"a chunk of {self.chunk_s} s makes no sense", "give --chunk-s a number above 0")


def memory_bytes(size: str | float) -> float:
    """`2GB`, `500MB`, `1.5GiB`, or a bare number of GB, in bytes; what is no text is in bytes already. UsageError for
    anything else, and for nothing."""
    n_bytes = _in_bytes(size) if isinstance(size, str) else float(size)
    if not 0 < n_bytes < math.inf:
        raise UsageError(f"{size!r} is no amount of memory", "for example --max-memory 2GB, or 500MB")
    return n_bytes


def _in_bytes(text: str) -> float:
    """0 for what is no amount."""
    found = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*([a-z]*)\s*", text.lower())
    return float(found[1]) * _UNITS.get(found[2], 0) if found else 0.0


def claim_outputs(outputs: Iterable[Path], inputs: Iterable[Path], overwrite: bool) -> None:
    """Make the folders of the outputs; nothing is deleted here: a file is replaced when its successor is whole.

    Raises OutputError when an output is an input, a folder, or exists and may not be overwritten.
    """
    outputs = list(outputs)
    check_outputs(outputs, inputs)
    for output in outputs:
        refuse_existing(output, overwrite)
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"the folder {output.parent} can't be made: {error.strerror}", "choose another --out"
            ) from error


def check_outputs(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Raise OutputError when an output is an input or a folder, or bears the name of the log."""
    inputs = list(inputs)
    for output in outputs:
        if output.is_dir():
            raise OutputError(f"the output {output} is a folder", "name a file with --out")
        if output.name == RUN_LOG:
            raise OutputError(f"{output} is where the facts of a run go", "give the output another name")
        refuse_same_file(inputs, output)
