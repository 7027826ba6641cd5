"""What the user says about a recording's file."""

from __future__ import annotations

import math
from dataclasses import dataclass

from driftcli.errors import UsageError
from driftcli.model import LARGEST_RATE_HZ

DTYPES = ("int16", "float32")


@dataclass(frozen=True)
class Options:
    """Facts given by hand; None is "not said". Raises UsageError for values that make no sense.

    dtype: "int16" or "float32", little endian.
    truncated_ok: whether a file that was cut off is read as far as it goes.
    lf_ok: whether it may be the LF band of a SpikeGLX run.
    """

    num_channels: int | None = None
    sampling_frequency_hz: float | None = None
    dtype: str | None = None
    gain_to_uv: float | None = None
    offset_bytes: int | None = None
    truncated_ok: bool = False
    lf_ok: bool = False

    def __post_init__(self) -> None:
        if self.num_channels is not None and self.num_channels < 1:
            raise UsageError(
                f"--num-channels {self.num_channels} is less than 1", "give the columns of the file, or leave it away"
            )
        for option, value in (
            ("--sampling-frequency", self.sampling_frequency_hz),
            ("--gain-to-uv", self.gain_to_uv),
        ):
            if value is not None and not (math.isfinite(value) and value > 0):
                raise UsageError(f"{option} {value} is not a number above 0", "check its unit, or leave it away")
        if self.sampling_frequency_hz is not None and self.sampling_frequency_hz > LARGEST_RATE_HZ:
            raise UsageError(
                f"--sampling-frequency {self.sampling_frequency_hz:g} is no rate in Hz of a recording", "check its unit"
            )
        if self.dtype is not None and self.dtype not in DTYPES:
            raise UsageError(f"--dtype {self.dtype} is not known", f"use one of {', '.join(DTYPES)}")
        if self.first_byte < 0:
            raise UsageError(
                f"--offset-bytes {self.offset_bytes} is less than 0", "give the bytes before the first sample"
            )

    @property
    def first_byte(self) -> int:
        """Where the first frame starts."""
        return self.offset_bytes or 0
