"""From traces to the local field potential along depth, in few samples: what `dredge_lfp` works on.

What SpikeInterface's guide to drift from the LFP has before its `dredge_lfp`, put together so that it streams: traces
are low-passed and sampled once a temporal bin, by one window of a sinc that also lines up channels which the converter
samples one after the other; then twice differentiated along each column of contacts, as only what differs between
depths tells where they are; averaged over the columns; and at last high-passed over time, bin by bin. There the
band-pass goes up to 250 Hz, of which sampling at 250 Hz leaves half.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from driftcli.errors import InputError, UsageError
from driftcli.model import Parameters

_REACH_BINS = 8  # of the window of the sinc, either way
_HIGHPASS_ORDER = 3
_PADDED_PERIODS = 1.5  # of freq_min_hz, at either end of what is high-passed
_SAME_UM = 0.01  # contacts that differ by less are in one column, or at one depth


class LfpParameters(Parameters):
    """How the signal is made.

    bin_s: length of the temporal bins: the signal is sampled once in each.
    freq_min_hz: slower changes are left out.
    freq_max_hz: faster changes are left out.
    derivative: how many times the signal is differentiated along the columns of contacts.
    """

    bin_s: float = Field(default=0.004, gt=0)
    freq_min_hz: float = Field(default=0.5, gt=0)
    freq_max_hz: float = Field(default=100.0, gt=0)
    derivative: int = Field(default=2, ge=0, le=2)

    @model_validator(mode="after")
    def _band(self) -> LfpParameters:
        if not self.freq_min_hz < self.freq_max_hz <= 0.5 / self.bin_s:
            raise ValueError(
                f"freq_min_hz={self.freq_min_hz:g} to freq_max_hz={self.freq_max_hz:g} is no band up to half of the "
                f"{1 / self.bin_s:g} bins in a second"
            )
        return self


def samples_in_bin(parameters: LfpParameters, sampling_frequency_hz: float) -> int:
    """Samples of the recording in a temporal bin, which so is of a length near `bin_s`. UsageError if there is none."""
    samples = round(parameters.bin_s * sampling_frequency_hz)
    if samples < 1:
        raise UsageError(
            f"estimate.bin_s={parameters.bin_s:g} is shorter than a sample at {sampling_frequency_hz:g} Hz",
            f"make it {1 / sampling_frequency_hz:.4g} or longer",
        )
    return samples


class Sampler:
    """Samples low-passed traces once in every bin.

    margin_samples: what it needs beyond the samples at which bins begin.
    """

    def __init__(
        self, parameters: LfpParameters, sampling_frequency_hz: float, lateness: NDArray[np.float64], bin_samples: int
    ) -> None:
        """lateness: (C,) how many samples later than it says each contact is sampled."""
        self._bin_samples = bin_samples
        reach = _REACH_BINS * bin_samples
        self.margin_samples = reach + bin_samples
        from_centre = np.arange(-reach, reach + bin_samples) - (bin_samples - 1) / 2
        at = from_centre[:, None] + lateness[None]
        cutoff = 2 * parameters.freq_max_hz / sampling_frequency_hz
        window = 0.5 + 0.5 * np.cos(np.pi * np.clip(at / (reach + bin_samples / 2), -1, 1))
        kernel = np.sinc(cutoff * at) * window
        self._kernel = kernel / kernel.sum(axis=0)
        self._reach = reach

    def __call__(
        self, traces: NDArray[np.float32], rows: NDArray[np.int64], there: tuple[int, int]
    ) -> NDArray[np.float64]:
        """(B, C) the value of each bin. rows: (B,) of the traces (n, C) that bins begin with.

        there: rows from the first to before the last that hold samples. Where the window reaches beyond, what is there
        counts for all of it.
        """
        values = np.empty((len(rows), traces.shape[1]))
        _sample(traces, rows - self._reach, self._kernel, *there, values)
        return values


def along_depth(
    positions_um: NDArray[np.float64], parameters: LfpParameters
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(D, C) what each contact gives to the signal at each depth, and the depths (D,).

    Depths are those of contacts; where they are not evenly spaced, what lies between them is on a straight line.
    positions_um: (C, 2). Columns of contacts that are too short to be differentiated are left out; InputError if none
    is left, or if all contacts lie at one depth.
    """
    places = np.round(positions_um / _SAME_UM) * _SAME_UM
    shares, depths = [], []
    for x in np.unique(places[:, 0]):
        column = np.flatnonzero(places[:, 0] == x)
        of_column = _column(column, places[column, 1], len(places), parameters.derivative)
        if of_column is not None:
            depths.append(of_column[0])
            shares.append(of_column[1])
    if not depths:
        raise InputError(
            "no two contacts lie one above the other, so the signal can't be differentiated along depth",
            "--set estimate.derivative=0",
        )
    every, at = np.unique(np.concatenate(depths), return_inverse=True)
    if len(every) < 2:
        raise InputError("all contacts lie at one depth", "a motion along depth needs contacts along depth")
    mean = np.zeros((len(every), len(places)))
    np.add.at(mean, at, np.concatenate(shares))
    mean /= np.bincount(at)[:, None]
    step = float(np.median(np.diff(every)))
    grid = np.arange(every[0], every[-1] + step / 1000, step)
    return np.column_stack([np.interp(grid, every, of_contact) for of_contact in mean.T]), grid


def highpass(values: NDArray[np.float32], parameters: LfpParameters, bin_s: float) -> None:
    """Take the slow changes off each column of (T, D) values, which follow each other in time, in place."""
    from scipy.signal import butter, sosfiltfilt  # some 50 MB and a second, which only this method should pay

    sections = butter(_HIGHPASS_ORDER, parameters.freq_min_hz, "highpass", fs=1 / bin_s, output="sos")
    padded = min(len(values) - 1, round(_PADDED_PERIODS / parameters.freq_min_hz / bin_s))
    for column in values.T:
        centred = column.astype(np.float64) - column.mean(dtype=np.float64)
        column[:] = sosfiltfilt(sections, centred, padlen=padded) if len(values) > 1 else 0.0


def _column(
    contacts: NDArray[np.int64], depths_um: NDArray[np.float64], n_contacts: int, derivative: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Depths of a column of contacts, and what each of all contacts gives to the derivative there; None if it is too
    short for one."""
    depths, at = np.unique(depths_um, return_inverse=True)
    shares = np.zeros((len(depths), n_contacts))
    shares[at, contacts] = 1
    shares /= shares.sum(axis=1, keepdims=True)
    if derivative and len(depths) < 2:
        return None
    for _ in range(derivative):
        shares = np.asarray(np.gradient(shares, depths, axis=0))
    return depths, shares


@numba.njit(nogil=True, cache=True)
def _sample(traces, starts, kernel, first, last, values):  # type: ignore[no-untyped-def]
    """Each row of values: the sum of kernel (K, C), whose sums are 1, times the traces from its start on, where they
    are there; at the ends divided by the sum of what counts of the kernel."""
    for b in range(len(starts)):
        values[b] = 0.0
        low, high = max(0, first - starts[b]), min(len(kernel), last - starts[b])
        for k in range(low, high):
            for c in range(traces.shape[1]):
                values[b, c] += kernel[k, c] * traces[starts[b] + k, c]
        if high - low < len(kernel):
            values[b] /= kernel[low:high].sum(axis=0)
