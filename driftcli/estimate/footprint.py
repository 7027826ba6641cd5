"""How much memory an estimate takes, known before it begins: each method's file has a function `footprint` for it.

What is counted is what grows: with the duration, the depth, the windows, the peaks, the threads.
"""

from __future__ import annotations

from dataclasses import dataclass

from driftcli.errors import UsageError
from driftcli.units import readable_size

# What an estimate holds at once, as for pairs of temporal bins, may take so much.
_LARGEST_BYTES = 4e9
# Checking the peaks makes so many flags for each.
CHECK_BYTES_PER_PEAK = 5


@dataclass(frozen=True)
class Footprint:
    """How large the estimate of one shank gets.

    temporal_bins, windows: of the motion. n_bytes: what is held at most at a time, without the peaks themselves.
    hint: what makes it smaller.
    """

    temporal_bins: int
    windows: int
    n_bytes: float
    hint: str


def refuse_too_large(n_bytes: float, what: str, hint: str) -> None:
    """UsageError if what an estimate holds at once takes more than 4 GB. what: that is, in words."""
    if n_bytes > _LARGEST_BYTES:
        limit_gb = _LARGEST_BYTES / 1e9
        raise UsageError(f"{what} takes {readable_size(n_bytes)}, more than {limit_gb:g} GB", hint)


def most_that_fit(bytes_each: float) -> int:
    """How many things of so many bytes the pairs of temporal bins may be."""
    return int(_LARGEST_BYTES // bytes_each)
