"""How work is to be done, and the checks on outputs that every verb makes before it begins."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from driftcli.errors import OutputError, UsageError
from driftcli.files import refuse_existing, refuse_same_file
from driftcli.reporter import Reporter

DEFAULT_CHUNK_S = 1.0
RUN_LOG = "run.json"


def allotted_cpus() -> int:
    """CPUs that this process may use: those of its affinity mask, and no more than Slurm allotted to the task."""
    cpus = len(os.sched_getaffinity(0))
    slurm = os.environ.get("SLURM_CPUS_PER_TASK", "")
    return min(cpus, int(slurm)) if slurm.isdigit() and int(slurm) > 0 else cpus


@dataclass(frozen=True)
class Work:
    """Threads, chunk length, whether outputs may be replaced, and who is told; none of it changes a result."""

    jobs: int = field(default_factory=allotted_cpus)
    chunk_s: float = DEFAULT_CHUNK_S
    overwrite: bool = False
    reporter: Reporter = field(default_factory=Reporter)

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise UsageError(f"{self.jobs} jobs can't work", "give --jobs 1 or more")
        if not 0 < self.chunk_s < math.inf:
            raise UsageError(f"a chunk of {self.chunk_s} s makes no sense", "give --chunk-s a number above 0")


def claim_outputs(outputs: Iterable[Path], inputs: Iterable[Path], overwrite: bool) -> None:
    """Make the folders of the outputs; nothing is deleted here: a file is replaced when its successor is whole.

    Raises OutputError when an output is an input, a folder, or exists and may not be overwritten.
    """
    inputs = list(inputs)
    for output in outputs:
        if output.is_dir():
            raise OutputError(f"the output {output} is a folder", "name a file with --out")
        if output.name == RUN_LOG:
            raise OutputError(f"{output} is where the facts of a run go", "give the output another name")
        refuse_same_file(inputs, output)
        refuse_existing(output, overwrite)
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"the folder {output.parent} can't be made: {error.strerror}", "choose another --out"
            ) from error
