"""The local field potential of a recording, along each shank in few samples, for estimates that work on traces."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from driftcli.estimate.lfp import LfpParameters, Sampler, along_depth, highpass, samples_in_bin
from driftcli.model import DepthTraces
from driftcli.recording.recording import Recording
from driftcli.workflow.stream import Span, Stream
from driftcli.workflow.work import Work

Group = tuple[int, ...]


def lfp_of(
    recording: Recording,
    contacts: Mapping[Group, NDArray[np.int64]],
    parameters: LfpParameters,
    lateness: NDArray[np.float64],
    work: Work,
) -> dict[Group, DepthTraces]:
    """The signal of some groups of contacts, a row for each temporal bin; each stretch without a break begins with one.

    lateness: (C,) how many samples later than it says each contact is sampled. Raises InputError as `along_depth`.
    """
    used = np.unique(np.concatenate(list(contacts.values())))
    view, rate_hz = recording.only(used), recording.sampling_frequency_hz
    bin_samples = samples_in_bin(parameters, rate_hz)
    sampler = Sampler(parameters, rate_hz, lateness[used], bin_samples)
    columns = {group: np.searchsorted(used, of_group) for group, of_group in contacts.items()}
    depth = {group: along_depth(view.geometry.positions_um[here], parameters) for group, here in columns.items()}
    stream = Stream(view, [], sampler.margin_samples, jobs=work.jobs, chunk_s=work.chunk_s)
    stretches = list(pairwise([0, *recording.breaks.tolist(), recording.num_samples]))

    def sampled(span: Span) -> dict[Group, NDArray[np.float32]]:
        """(B, D) of the bins that begin in a block."""
        piece = stream.piece(*span)
        first, last = next(stretch for stretch in stretches if stretch[0] <= span[0] < stretch[1])
        begin = first + bin_samples * np.arange(*(-(-(sample - first) // bin_samples) for sample in span))
        at = piece.first - span[0]  # from samples to rows
        there = max(0, first + at), min(len(piece.traces), last + at)
        values = sampler(piece.traces, begin + at, there)
        # Not a matrix product: libraries may add in another order with another number of threads.
        return {
            group: np.einsum("bc,dc->bd", values[:, columns[group]], shares, optimize=False).astype(np.float32)
            for group, (shares, _) in depth.items()
        }

    n_bins = [-(-(last - first) // bin_samples) for first, last in stretches]
    found = {group: np.empty((sum(n_bins), len(at_um)), np.float32) for group, (_, at_um) in depth.items()}
    row = 0
    with closing(stream.map(sampled, stream.blocks(), work.reporter, "local field potential")) as blocks:
        for block in blocks:
            for group, values in block.items():
                found[group][row : row + len(values)] = values
            row += len(values)
    bin_s, ends = bin_samples / rate_hz, np.cumsum([0, *n_bins]).tolist()
    for values in found.values():
        for start, stop in pairwise(ends):
            highpass(values[start:stop], parameters, bin_s)
    return {group: DepthTraces(values, depth[group][1], bin_s) for group, values in found.items()}
