"""How much memory detect and apply take, and in how many threads they stay within what they may take.

Measured on blocks of 384 and 96 channels with the presets there are, in 1, 2 and 4 threads: 205 to 235 MB for the
program (kilosort_like's templates included), and for each thread what two blocks of float32 and one of the file take,
less than a third of a block more.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from driftcli.errors import UsageError
from driftcli.recording.recording import Recording
from driftcli.units import readable_size
from driftcli.workflow.stream import BLOCK_SAMPLES
from driftcli.workflow.work import Work

_PROGRAM_BYTES = 250e6
_BYTES_PER_BLOCK = 1000  # of the recording, in the journal: 66 MB for ten hours
_FLOAT_BLOCKS = 2.4  # of a thread, its margins included


class FootprintBytes(NamedTuple):
    """What apply takes to fit weights: before anything is written, and as long as it writes."""

    before: float = 0.0
    on: float = 0.0


NO_FOOTPRINTS = FootprintBytes()


def streaming_bytes(
    recording: Recording, jobs: int, dtype: str | None = None, footprints: FootprintBytes = NO_FOOTPRINTS
) -> float:
    """What detect and apply take at most. dtype: of apply's output, by default the recording's."""
    floats = BLOCK_SAMPLES * len(recording.columns) * np.dtype(np.float32).itemsize
    of_file, of_output = (
        BLOCK_SAMPLES * recording.num_columns * np.dtype(each).itemsize
        for each in (recording.dtype, dtype or recording.dtype)
    )
    # of the output each thread makes a block, and another one waits to be hashed
    of_threads = jobs * (_FLOAT_BLOCKS * floats + of_file) + max(jobs * 2 * of_output, footprints.before)
    of_journals = _BYTES_PER_BLOCK * recording.num_samples / BLOCK_SAMPLES
    return _PROGRAM_BYTES + recording.samples.held_bytes + of_journals + of_threads + footprints.on


def within_memory(
    work: Work, recording: Recording, dtype: str | None = None, footprints: FootprintBytes = NO_FOOTPRINTS
) -> Work:
    """The same work, in fewer threads where that many would take more memory than they may; that is told.

    Raises UsageError where even one would.
    """
    allowed = work.max_memory_bytes
    beside = (dtype, footprints)
    if allowed is None or streaming_bytes(recording, work.jobs, *beside) <= allowed:
        return work
    jobs = max(jobs for jobs in range(work.jobs) if not jobs or streaming_bytes(recording, jobs, *beside) <= allowed)
    if jobs < 1:
        one = streaming_bytes(recording, 1, *beside)
        raise UsageError(
            f"one thread takes about {readable_size(one)} of memory, more than {_limit(allowed)}", "raise --max-memory"
        )
    threads = "1 thread" if jobs == 1 else f"{jobs} threads"
    work.reporter.message(f"{threads} instead of {work.jobs}, to stay within {_limit(allowed)}")
    return replace(work, jobs=jobs)


def _limit(allowed: float) -> str:
    return f"the {readable_size(allowed)} of --max-memory"
