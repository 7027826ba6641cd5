"""What the weights of apply are fitted to: footprints of the recording's own units, from some of its peaks.

Which peaks follows from the peaks, the motion and the grid of blocks alone: every shard of an apply takes the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numba
import numpy as np
from numpy.typing import NDArray

from driftcli.catalogue import FITTED_TO_PEAKS
from driftcli.errors import UsageError
from driftcli.footprints import fields, groups, local
from driftcli.mask.spans import contains, union
from driftcli.model import GOOD, Footprints, Geometry, Motion, Peaks, Settings, Stage
from driftcli.recording.facts import facts_of
from driftcli.recording.recording import Recording
from driftcli.store.peaks import joined_peaks, peaks_in_pieces, read_peaks
from driftcli.units import count_of
from driftcli.workflow.fit import require_peaks
from driftcli.workflow.memory import FootprintBytes
from driftcli.workflow.steps import preprocess_steps
from driftcli.workflow.stream import Span, Stream
from driftcli.workflow.work import PEAKS, Work

if TYPE_CHECKING:
    from driftcli.interpolate import fitted_gaussian_process

MOST_BLOCKS = 120  # spread over the recording; more would tell little more, and reading them takes its time
PEAKS_A_DEPTH, DEPTH_UM = 200, 10.0  # so many peaks for so much of the shank at most
FARTHEST_UM = 120.0  # displacements beyond are rare, and would cost memory
COURSE_S = np.arange(-20, 36, 2) / 30_000  # from the peak, what is looked at of a spike
_LEVELS = 50  # steps of a snippet's integers in a noise level
_LARGEST = 32_000
_FEATURE_BYTES = 32  # of each contact in a snippet, what groups are made by


@dataclass(frozen=True)
class _Drawn:
    """Peaks of one shank in order of time, and what there is around them.

    sample: (P,) of the recording. places_um: (P, 2) x and depth where they were seen. moved_um: (P,) displacements.
    used: (U,) the shank's good contacts, of all of the shank; columns: (U,) the same, of all of the recording.
    contacts: (P, K) those around each peak, of `used`, or -1. snippets: (P, T, K) int16 in steps of `unit`.
    noise: of the traces, in the same steps.
    """

    sample: NDArray[np.int64]
    places_um: NDArray[np.float64]
    moved_um: NDArray[np.float64]
    used: NDArray[np.int64]
    columns: NDArray[np.int64]
    contacts: NDArray[np.int32]
    snippets: NDArray[np.int16]
    unit: float
    noise: float


def peaks_for(settings: Settings, peaks_path: Path | None, motion_path: Path, work: Work) -> Path | None:
    """The peaks that the weights are fitted to: those given, or those beside the motion; None for a method that isn't
    fitted, and where there are none, which is told. Raises UsageError for peaks that nothing would be done with."""
    method = settings["interpolate"].method
    if method not in FITTED_TO_PEAKS:
        if peaks_path is not None:
            raise UsageError(
                f"the weights of {method} are not fitted to peaks",
                f"leave --peaks away, or --set interpolate.method={FITTED_TO_PEAKS[0]}",
            )
        return None
    beside = motion_path.with_name(PEAKS)
    if peaks_path is None and beside.exists():
        return beside
    if peaks_path is None:
        work.reporter.message(
            f"no {PEAKS} beside {motion_path.name}: weights for units of any kind, not fitted to those of this "
            "recording; apply --peaks says where its peaks are"
        )
    return peaks_path


def most_bytes(recording: Recording, settings: Settings) -> FootprintBytes:
    """What fitting the weights of a recording takes at most; nothing for a method that isn't fitted."""
    stage, snippets, weights = settings["interpolate"], 0.0, 0.0
    if stage.method not in FITTED_TO_PEAKS:
        return FootprintBytes()
    displacements = 2 * FARTHEST_UM / _parameters(stage).bin_um + 1
    for _, contacts in recording.geometry.each_shank():
        positions_um = recording.geometry.positions_um[contacts]
        peaks = PEAKS_A_DEPTH * (np.ptp(positions_um[:, 1]) / DEPTH_UM + 1)
        around = min(local.around(positions_um, positions_um, local.SNIPPETS_UM).shape[1], 2 * local.MOST_CONTACTS)
        snippets += peaks * around * (2 * len(COURSE_S) + _FEATURE_BYTES)
        weights += displacements * len(contacts) ** 2 * np.dtype(np.float32).itemsize
    return FootprintBytes(snippets, weights)


def learn(
    recording: Recording,
    peaks_path: Path,
    motions: Mapping[int, Motion],
    settings: Settings,
    labels: NDArray[np.uint8],
    work: Work,
    *,
    begins_at: int = 0,
) -> tuple[dict[int, Footprints], dict[str, Any]]:
    """Footprints of each shank that moves, by its number, and what they are from, for `run.json`.

    labels: (C,) of the contacts. begins_at: the sample, in the motion's time, that is the first of the recording.
    Shanks whose contacts are so close that a footprint lies on many dozens of them have none, which is told.
    Raises InputError for peaks that can't be read or are not of this recording.
    """
    stage, geometry = settings["interpolate"], recording.geometry
    shanks = _fitted_shanks(geometry, motions, labels, work)
    if not shanks:
        return {}, {}
    steps, margin = preprocess_steps(settings, recording, labels), int(np.abs(_offsets(recording)).max())
    stream = Stream(recording, steps, margin, jobs=work.jobs, chunk_s=work.chunk_s)
    blocks = _some(stream.blocks())
    head = read_peaks(peaks_path, slice(0, 0))
    first = require_peaks(facts_of(recording), head.facts)
    peaks = _in_blocks(peaks_path, blocks + first, union(head.mask), labels)
    drawn = {}
    for shank, contacts in shanks.items():
        here = peaks.at(np.flatnonzero(geometry.shanks[peaks.channel_index] == shank))
        here, moved_um = _draw(here, motions[shank], begins_at - first, recording.sampling_frequency_hz, stage)
        drawn[shank] = _prepared(here, first, moved_um, contacts, labels[contacts], geometry, head.noise_levels)
    _look(stream, blocks, drawn, work)
    return _footprints(geometry, drawn, stage, work)


def _fitted_shanks(
    geometry: Geometry, motions: Mapping[int, Motion], labels: NDArray[np.uint8], work: Work
) -> dict[int, NDArray[np.int64]]:
    """The contacts of each shank whose weights are to be fitted."""
    moving = {
        shank: contacts
        for shank, contacts in geometry.each_shank()
        if motions[shank].displacement_um.any() and (labels[contacts] == GOOD).any()
    }
    dense = [shank for shank, contacts in moving.items() if local.is_dense(geometry.positions_um[contacts])]
    if dense:
        work.reporter.message(
            f"weights for units of any kind, not fitted to those of this recording, on {count_of(len(dense), 'shank')} "
            f"with more than {local.MOST_CONTACTS} contacts within {local.REACH_UM:g} µm"
        )
    return {shank: contacts for shank, contacts in moving.items() if shank not in dense}


def _parameters(stage: Stage) -> fitted_gaussian_process.Parameters:
    """Those that every method has whose weights are fitted."""
    return cast("fitted_gaussian_process.Parameters", stage.parameters)


def _offsets(recording: Recording) -> NDArray[np.int64]:
    """(T,) the samples of a snippet, from that of its peak."""
    return np.rint(COURSE_S * recording.sampling_frequency_hz).astype(np.int64)


def _some(blocks: list[Span]) -> NDArray[np.int64]:
    """(B, 2) blocks spread over the recording, or all of them."""
    count = min(len(blocks), MOST_BLOCKS)
    return np.array(blocks, np.int64)[(2 * np.arange(count) + 1) * len(blocks) // (2 * count)]


def _in_blocks(path: Path, blocks: NDArray[np.int64], masked: NDArray[np.int64], labels: NDArray[np.uint8]) -> Peaks:
    """The peaks of some spans (B, 2) of the samples that they count, at good contacts, and not in masked ones."""
    parts = [read_peaks(path, slice(0, 0)).peaks]
    for piece in peaks_in_pieces(path):
        use = contains(blocks, piece.sample_index) & ~contains(masked, piece.sample_index)
        parts.append(piece.at(np.flatnonzero(use & (labels[piece.channel_index] == GOOD))))
    return joined_peaks(parts)


def _draw(peaks: Peaks, motion: Motion, later: int, rate_hz: float, stage: Stage) -> tuple[Peaks, NDArray[np.float64]]:
    """Some of the peaks of a shank, of each depth up to so many, and their displacements.

    later: by how many samples the peaks begin later than the motion.
    """
    time_s, depth_um = (peaks.sample_index + later) / rate_hz, peaks.location["y_um"].astype(float)
    moved_um = motion.at(time_s, depth_um, _parameters(stage).time)
    near = np.abs(moved_um) <= FARTHEST_UM
    peaks, depth_um, moved_um = peaks.at(near.nonzero()[0]), depth_um[near], moved_um[near]
    depth = np.floor((depth_um - moved_um) / DEPTH_UM)
    order = np.lexsort((_by_chance(peaks), depth))
    rows = np.sort(order[_counted(depth[order]) < PEAKS_A_DEPTH])
    return peaks.at(rows), moved_um[rows]


def _counted(ascending: NDArray[np.float64]) -> NDArray[np.int64]:
    """(N,) how many of the same come before each."""
    return np.arange(len(ascending)) - np.searchsorted(ascending, ascending)


def _by_chance(peaks: Peaks) -> NDArray[np.uint64]:
    """(N,) a number for each peak that looks like chance and is always the same: SplitMix64's (Steele, Lea and Flood
    2014, figure 17)."""
    sample, channel = peaks.sample_index.astype(np.uint64), peaks.channel_index.astype(np.uint64)
    number = sample * np.uint64(0x9E3779B97F4A7C15) + channel
    number = (number ^ (number >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    number = (number ^ (number >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return number ^ (number >> np.uint64(31))


def _prepared(
    peaks: Peaks,
    first: int,
    moved_um: NDArray[np.float64],
    contacts: NDArray[np.int64],
    labels: NDArray[np.uint8],
    geometry: Geometry,
    noise_levels: NDArray[np.float64],
) -> _Drawn:
    """The same with snippets that are still to be filled in.

    first: the peaks' sample that is the recording's first. contacts: of the shank, and their labels. noise_levels: of
    all contacts.
    """
    used = np.flatnonzero(labels == GOOD)
    places_um = np.column_stack([peaks.location["x_um"], peaks.location["y_um"]]).astype(float)
    around = local.around(places_um, geometry.positions_um[contacts[used]], local.SNIPPETS_UM)
    levels = noise_levels[contacts[used]]
    heard = levels[np.isfinite(levels)]
    noise = float(np.sqrt(np.square(heard).mean())) if len(heard) else 0.0
    # without noise, as in made-up recordings, by the largest peak; without any there is nothing to round
    unit = noise / _LEVELS or float(np.abs(peaks.amplitude).max(initial=0)) / _LARGEST or 1.0
    snippets = np.zeros((len(peaks), len(COURSE_S), around.shape[1]), np.int16)
    sample = peaks.sample_index - first
    return _Drawn(sample, places_um, moved_um, used, contacts[used], around, snippets, unit, noise / unit)


def _look(stream: Stream, blocks: NDArray[np.int64], drawn: Mapping[int, _Drawn], work: Work) -> None:
    """Fill in the snippets."""
    offsets = _offsets(stream.recording)

    def cut(span: Span) -> None:
        piece = stream.piece(*span)
        for each in drawn.values():
            rows = slice(*np.searchsorted(each.sample, span))
            at = each.sample[rows] - piece.start + piece.first
            _cut(piece.traces, at, offsets, each.columns, each.contacts[rows], 1 / each.unit, each.snippets[rows])

    wanted = [
        (start, stop)
        for start, stop in blocks.tolist()
        if any(np.ptp(np.searchsorted(each.sample, (start, stop))) for each in drawn.values())
    ]
    for _ in stream.map(cut, wanted, work.reporter, "footprints"):
        pass


def _footprints(
    geometry: Geometry, drawn: Mapping[int, _Drawn], stage: Stage, work: Work
) -> tuple[dict[int, Footprints], dict[str, Any]]:
    """Footprints of each shank, and how many peaks and groups they are from."""
    found, facts, contacts_of = {}, {}, dict(geometry.each_shank())
    for shank, each in drawn.items():
        positions_um = geometry.positions_um[contacts_of[shank]]
        labels = _groups(each, positions_um[each.used], stage, work.jobs)
        found[shank] = _learned(each, labels, positions_um, stage, work.jobs)
        large = np.count_nonzero(np.bincount(labels[labels >= 0]) >= fields.LEAST_PEAKS)
        facts[str(shank)] = {"peaks": len(labels), "groups": int(large)}
        if not large:
            work.reporter.message(f"too few peaks on shank {shank} to fit its weights to: those for units of any kind")
    return found, facts


def _groups(drawn: _Drawn, positions_um: NDArray[np.float64], stage: Stage, jobs: int) -> NDArray[np.int64]:
    """(P,) the group of each peak. positions_um: (U, 2) of the used contacts."""
    anywhere = stage.parameters.model_copy(update={"border_mode": "force_extrapolate"})
    kernel = stage.module.Kernel(anywhere, positions_um)
    corrected_um = drawn.places_um - np.column_stack([np.zeros_like(drawn.moved_um), drawn.moved_um])

    def weights_at(moved_um: float) -> NDArray[np.float64]:
        weights: NDArray[np.float64] = kernel.weights(np.full(len(positions_um), moved_um))
        return weights

    seen = (drawn.snippets, drawn.contacts, positions_um, corrected_um, drawn.moved_um)
    return groups.group(*seen, weights_at, jobs)


def _learned(
    drawn: _Drawn, labels: NDArray[np.int64], positions_um: NDArray[np.float64], stage: Stage, jobs: int
) -> Footprints:
    """positions_um: (C, 2) of all contacts of the shank."""
    parameters = _parameters(stage)
    # the noise of rounding is there in any case
    covary, variance = partial(stage.module.covary, parameters), max(drawn.noise, 1.0) ** 2
    prior = fields.Prior(covary, variance, parameters.noise_length_um)
    contacts = np.where(drawn.contacts >= 0, drawn.used[drawn.contacts], -1).astype(np.int32)
    seen = (drawn.snippets, contacts, labels, drawn.moved_um, positions_um)
    return fields.learn(*seen, prior, parameters.bin_um, jobs)


@numba.njit(nogil=True, cache=True)
def _cut(traces, rows, offsets, columns, contacts, scale, snippets):  # type: ignore[no-untyped-def]
    """Fill in snippets (P, T, K) around rows (P,) of traces (S, C), rounded and clipped; zeros where no contact is."""
    largest = np.iinfo(np.int16).max
    for peak in range(len(rows)):
        for time in range(len(offsets)):
            row = traces[rows[peak] + offsets[time]]
            for slot in range(contacts.shape[1]):
                contact = contacts[peak, slot]
                if contact >= 0:
                    value = np.rint(row[columns[contact]] * scale)
                    snippets[peak, time, slot] = np.int16(min(max(value, -largest), largest))
