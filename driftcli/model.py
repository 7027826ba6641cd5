"""The nouns that travel through driftcli: parameters, settings, geometry, peaks, motion, and who is told about it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from types import ModuleType
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict

from driftcli.errors import InputError

LARGEST_RATE_HZ = 1e9  # far more than any converter gives
LARGEST_PLACE_UM = 1e7  # no probe is ten metres long, wherever it counts from
LARGEST_TIME_S = 1e10  # three centuries
MOST_COLUMNS = 65_536  # of a recording, far more than any probe has contacts; a number beyond it is no count
TimeLookup = Literal["nearest_bin", "linear"]
_LARGEST_DISPLACEMENT_UM = 1e5  # ten times the longest shank

# What can be wrong with a contact; a label is an index of this list. Those other than `good` are left out of the
# reference, of detection and as sources of an interpolation.
LABEL_MEANINGS = {
    "good": "nothing is known to be wrong",
    "dead": "no signal, or one that has little in common with that of the contacts around it",
    "noisy": "much more power at high frequencies than the others, or far more of what all contacts see",
    "out_of_brain": "at the end of the shank, where contacts share none of the signal in the brain",
    "reference": "not used, as the maps of contacts in the meta say: a reference site, or switched off",
    "excluded": "named with `--bad-channels`",
}
CONTACT_LABELS = tuple(LABEL_MEANINGS)
GOOD = 0

# Why a span of time is left out of the estimate; a reason is an index of this list.
REASON_MEANINGS = {
    "excluded": "named with `--exclude-times`",
    "saturation": "many contacts are at the end of the converter's range",
    "gap": "nearly all contacts run along a line, as where lost samples were filled in",
    "artifact": "most contacts are far from 0 at once, before the common reference",
}
MASK_REASONS = tuple(REASON_MEANINGS)

# What can be said of a correction.
VERDICT_MEANINGS = {
    "helps": "peaks line up better, also those that the motion was not estimated from",
    "no drift found": "the motion is no larger than its error, or than what a correction can improve",
    "unsure": "the scores contradict each other, or there is too little to tell from",
    "makes it worse": "peaks line up worse than without a correction",
}
VERDICTS = tuple(VERDICT_MEANINGS)
HELPS = VERDICTS[0]


class Parameters(BaseModel):
    """Base of every method's parameter model: unknown keys are errors, values never change once validated."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def whole_samples(duration_ms: float, sampling_frequency_hz: float) -> int:
    """A duration in whole samples, rounded down.

    A thousandth of a sample is added first: rates are measured ones (29999.95 Hz), which should not cost a sample.
    """
    return math.floor(duration_ms * sampling_frequency_hz / 1000.0 + 1e-3)


class ApplyParameters(Parameters):
    """The stage `apply`, the only one without methods.

    signal: what is corrected and written. `preprocessed` is the filtered, referenced signal that the peaks were found
        in; `raw` is the signal of the file.
    """

    signal: Literal["preprocessed", "raw"] = "preprocessed"


@dataclass(frozen=True)
class Stage:
    """The method chosen for one stage and its validated parameters; a stage that is switched off has method `none`."""

    method: str
    parameters: Parameters
    folder: str

    @property
    def module(self) -> ModuleType:
        """The method's module, imported on first use."""
        return import_module(f"driftcli.{self.folder}.{self.method}")


@dataclass(frozen=True)
class Settings:
    """A resolved preset: every stage with its method and all parameters filled in."""

    stages: dict[str, Stage]

    def __getitem__(self, stage: str) -> Stage:
        return self.stages[stage]

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Plain data, as a preset file holds it: `{stage: {"method": ..., parameter: value, ...}}`."""
        return {
            name: ({"method": stage.method} if stage.method else {}) | stage.parameters.model_dump(mode="json")
            for name, stage in self.stages.items()
        }


@dataclass(frozen=True)
class Geometry:
    """Where the contacts are.

    positions_um: (C, 2) float64, x across and y along the probe (depth), in µm.
    shanks: (C,) int64, the shank each contact is on; contacts of different shanks are never neighbours.
    """

    positions_um: NDArray[np.float64]
    shanks: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.positions_um)

    @property
    def depths_um(self) -> NDArray[np.float64]:
        """(C,) depth of each contact in µm."""
        return self.positions_um[:, 1]

    def each_shank(self) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """Yield each shank's number and the indices of its contacts, both ascending."""
        for shank in np.unique(self.shanks):
            yield int(shank), np.flatnonzero(self.shanks == shank)

    def neighbours(self, radius_um: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Contacts within `radius_um` (inclusive) on the same shank, as flat lists for kernels.

        Returns `starts` (C + 1,) and `contacts`: the neighbours of contact c, itself included and in ascending
        order, are `contacts[starts[c]:starts[c + 1]]`.
        """
        difference = self.positions_um[:, None] - self.positions_um[None]
        near = np.sqrt((difference**2).sum(axis=2)) <= radius_um
        near &= self.shanks[:, None] == self.shanks[None]
        np.fill_diagonal(near, True)
        starts = np.concatenate([[0], np.cumsum(near.sum(axis=1))]).astype(np.int64)
        return starts, np.nonzero(near)[1].astype(np.int64)


@dataclass(frozen=True)
class Mask:
    """Spans of time that the estimate leaves out. They may overlap where there are several reasons.

    starts, stops: (M,) int64, the samples start <= n < stop, in order of start, stop, reason.
    reasons: (M,) uint8, indices of `MASK_REASONS`.
    """

    starts: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    stops: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    reasons: NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, np.uint8))

    def __len__(self) -> int:
        return len(self.starts)

    def in_seconds(self, sampling_frequency_hz: float) -> NDArray[np.float64]:
        """(M, 2) beginning and end of each span."""
        return np.column_stack([self.starts, self.stops]) / sampling_frequency_hz


@dataclass(frozen=True)
class RecordingFacts:
    """What later verbs need to know of the recording that peaks and motion came from.

    columns: (C,) int64, the column of the file that holds each contact.
    gain_to_uv: (C,) float64, µV per count of each contact, or None where the file doesn't say.
    probe_json: the probe as probeinterface's JSON text, so that `apply` needs no probe file.
    breaks: (B,) int64, ascending: samples that don't follow the one before in time, as another file begins there.
    origin: which sample of the files the first one is, where the recording is only a span of them.
    files: (F, 2) int64, the first sample and those at breaks, and the number which the acquisition gave each; -1 where
        nobody says.
    labels: (C,) uint8, what is wrong with each contact, indices of `CONTACT_LABELS`; None where nobody looked.
    """

    sampling_frequency_hz: float
    num_samples: int
    num_columns: int
    dtype: str
    offset_bytes: int
    geometry: Geometry
    columns: NDArray[np.int64]
    gain_to_uv: NDArray[np.float64] | None
    probe_json: str
    breaks: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    origin: int = 0
    files: NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 2), np.int64))
    labels: NDArray[np.uint8] | None = None

    @property
    def duration_s(self) -> float:
        return self.num_samples / self.sampling_frequency_hz

    @property
    def amplitude_unit(self) -> str:
        """Unit of traces and amplitudes: "uV" where the gain is known, else "file units"."""
        return "uV" if self.gain_to_uv is not None else "file units"


@dataclass(frozen=True)
class Peaks:
    """Detected and localized peaks in order of sample, then channel.

    sample_index: (N,) int64. channel_index: (N,) int32, row of the geometry. amplitude: (N,) float32, signed, in the
    recording's `amplitude_unit`. location: name (`x_um`, `y_um`, some methods `z_um`, `alpha`) to (N,) float32.
    """

    sample_index: NDArray[np.int64]
    channel_index: NDArray[np.int32]
    amplitude: NDArray[np.float32]
    location: dict[str, NDArray[np.float32]]

    def __len__(self) -> int:
        return len(self.sample_index)

    def at(self, rows: NDArray[np.int64] | slice) -> Peaks:
        """Those in some rows."""
        location = {name: values[rows] for name, values in self.location.items()}
        return Peaks(self.sample_index[rows], self.channel_index[rows], self.amplitude[rows], location)


@dataclass(frozen=True)
class DepthPeaks:
    """What the estimate needs of the peaks of one shank, in order of time.

    time_s: (N,) float64, seconds from the start of the recording.
    depth_um: (N,) float64.
    amplitude: (N,) float64, signed, in µV or in file units.
    """

    time_s: NDArray[np.float64]
    depth_um: NDArray[np.float64]
    amplitude: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.time_s)


@dataclass(frozen=True)
class DepthTraces:
    """The local field potential along one shank: what an estimate needs that works on traces instead of peaks.

    values: (T, D) float32, a row for each temporal bin. depths_um: (D,) float64, ascending, evenly spaced.
    bin_s: length of the temporal bins.
    """

    values: NDArray[np.float32]
    depths_um: NDArray[np.float64]
    bin_s: float

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True)
class Motion:
    """The tissue's displacement relative to the probe along y, on one shank.

    Sign: a peak's corrected depth is its depth minus the displacement at its time and depth; the corrected trace of
    a contact is the trace interpolated at the contact's depth plus the displacement.

    At a step, where one file of a recording ends and the next one begins, the motion may jump: no lookup crosses it.
    The bins of the side that a time is on decide; a side without the centre of any bin takes the nearest of all bins.

    displacement_um: (T, W) float64.
    temporal_bins_s: (T,) float64, ascending centres of the temporal bins.
    spatial_bins_um: (W,) float64, ascending centres of the spatial windows.
    steps_s: (B,) float64, ascending; the time of a step itself, as a time or as the centre of a bin, is after it.
    deviation_um: (T, W) float64, standard deviation of the displacement as the estimate has it from the peaks of each
        bin and its neighbours; None where nobody says. It means little where units are not seen several times: lone
        peaks look sure of their own place.
    """

    displacement_um: NDArray[np.float64]
    temporal_bins_s: NDArray[np.float64]
    spatial_bins_um: NDArray[np.float64]
    steps_s: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    deviation_um: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        shape = self.temporal_bins_s.shape + self.spatial_bins_um.shape
        if self.displacement_um.shape != shape or len(shape) != 2 or 0 in shape:
            raise InputError(
                f"a motion of shape {self.displacement_um.shape} does not fit bins of shape {shape}",
                "give a row for each temporal bin and a column for each spatial one",
            )
        if self.deviation_um is not None and self.deviation_um.shape != shape:
            raise InputError(
                f"deviations of shape {self.deviation_um.shape} do not fit a motion of shape {shape}",
                "give one for each displacement",
            )
        deviation_um = np.empty(0) if self.deviation_um is None else self.deviation_um
        arrays = (self.displacement_um, self.temporal_bins_s, self.spatial_bins_um, self.steps_s, deviation_um)
        if not all(np.isfinite(array).all() for array in arrays):
            raise InputError("the motion holds NaN or infinity", "estimate the motion again")
        if np.abs(self.displacement_um).max() > _LARGEST_DISPLACEMENT_UM:
            raise InputError(f"the motion holds displacements beyond {_LARGEST_DISPLACEMENT_UM:g} µm", "check its unit")
        farthest_s = max(np.abs(times).max(initial=0) for times in (self.temporal_bins_s, self.steps_s))
        if farthest_s > LARGEST_TIME_S or np.abs(self.spatial_bins_um).max() > LARGEST_PLACE_UM:
            raise InputError("the motion holds times or depths that no recording has", "check their units")
        if (np.diff(self.temporal_bins_s) <= 0).any() or (np.diff(self.spatial_bins_um) <= 0).any():
            raise InputError(
                "the bins of the motion are not in ascending order", "sort them, and the displacements with them"
            )
        if self.steps_s.ndim != 1 or (np.diff(self.steps_s) <= 0).any():
            raise InputError(
                "the steps of the motion are not a list of times in ascending order", "sort them, or leave them out"
            )

    @property
    def parted(self) -> NDArray[np.bool_]:
        """(T - 1,) whether a step stands between the centres of a bin and the next one."""
        return np.diff(np.searchsorted(self.steps_s, self.temporal_bins_s, side="right")) > 0

    @property
    def temporal_edges_s(self) -> NDArray[np.float64]:
        """(T - 1,) times at which `nearest_bin` changes to the next bin: halfway between centres, or at the step.

        Of several steps between two bins the first and the last bound it: the sides between them hold no bin.
        """
        halfway_s = (self.temporal_bins_s[1:] + self.temporal_bins_s[:-1]) / 2
        if not len(self.steps_s):
            return halfway_s
        passed = np.searchsorted(self.steps_s, self.temporal_bins_s, side="right")
        parted = passed[1:] > passed[:-1]
        first_s, last_s = self.steps_s[passed[:-1][parted]], self.steps_s[passed[1:][parted] - 1]
        halfway_s[parted] = np.clip(halfway_s[parted], first_s, last_s)
        return halfway_s

    def at(self, time_s: ArrayLike, depth_um: ArrayLike, time: TimeLookup = "linear") -> NDArray[np.float64]:
        """Displacement in µm at each (time, depth); the two broadcast.

        Linear between windows and clipped at the ends. Over time either linear or that of the nearest bin (a time
        halfway between two centres belongs to the later one). Linear, the outer bins of each side hold up to the step.
        """
        time_s, depth_um = np.broadcast_arrays(np.asarray(time_s, float), np.asarray(depth_um, float))
        if time == "nearest_bin":
            row = np.searchsorted(self.temporal_edges_s, time_s, side="right")
            return self._between_windows(row, depth_um)
        row, weight = _bracket(self.temporal_bins_s, time_s)
        if len(self.steps_s) and len(self.temporal_bins_s) > 1:
            weight = np.where(self.parted[row], time_s >= self.temporal_edges_s[row], weight)
        following = np.minimum(row + 1, len(self.temporal_bins_s) - 1)
        return (1 - weight) * self._between_windows(row, depth_um) + weight * self._between_windows(following, depth_um)

    def _between_windows(self, row: NDArray[np.int64], depth_um: NDArray[np.float64]) -> NDArray[np.float64]:
        column, weight = _bracket(self.spatial_bins_um, depth_um)
        following = np.minimum(column + 1, len(self.spatial_bins_um) - 1)
        return (1 - weight) * self.displacement_um[row, column] + weight * self.displacement_um[row, following]


@dataclass(frozen=True)
class Footprints:
    """What the units of a recording look like around the contacts of one shank, and how that changes as they move.

    All units together: per displacement, second moments of what two contacts see of a unit, summed over its spike and
    over units, each of which counts as 1 over all contacts where they see most of it.

    bin_um, lowest_bin: displacements are (lowest_bin, lowest_bin + 1, ...) * bin_um; 0 is one of them.
    neighbours: (C, K) int32, the contacts that share units with each contact, itself included, then -1.
    displaced: (D, C, K) of what a contact and each neighbour see at a displacement.
    resting: (D, C, K) of what a contact sees at rest, and each neighbour at a displacement.
    """

    bin_um: float
    lowest_bin: int
    neighbours: NDArray[np.int32]
    displaced: NDArray[np.float32]
    resting: NDArray[np.float32]

    def __post_init__(self) -> None:
        count = len(self.displaced)
        shape = (count, *self.neighbours.shape)
        if self.displaced.shape != shape or self.resting.shape != shape or not -count < self.lowest_bin <= 0:
            raise InputError(
                f"footprints of shapes {self.displaced.shape} and {self.resting.shape} do not fit "
                f"neighbours of shape {self.neighbours.shape} and displacements from bin {self.lowest_bin}",
                "make them again from the recording, its peaks and its motion",
            )

    def dense(self, bin_index: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(C, C) float64 moments at one displacement: both contacts displaced; the first at rest."""
        count = len(self.neighbours)
        rows, slots = np.nonzero(self.neighbours >= 0)
        displaced, resting = np.zeros((count, count)), np.zeros((count, count))
        displaced[rows, self.neighbours[rows, slots]] = self.displaced[bin_index, rows, slots]
        resting[rows, self.neighbours[rows, slots]] = self.resting[bin_index, rows, slots]
        return displaced, resting


@dataclass(frozen=True)
class SearchLimit:
    """The largest displacement that an estimate can find between two times, and the key that raises it.

    horizon_s: times further apart are not compared; None: all are.
    """

    limit_um: float
    key: str
    horizon_s: float | None = None


@dataclass(frozen=True)
class Scores:
    """What a motion does to the peaks of one shank, in numbers; None where there was too little to tell from.

    peaks: how many there were.
    range_um: how far the tissue moves: of the window that moves most, the displacement from its 2.5th to its 97.5th
        percentile over time.
    alignment_before, alignment_after: how well peaks of different times line up in depth, from 0 (not at all) to 1 (as
        well as those of the same moment).
    gain, gain_se: alignment that the motion brings, and its standard error.
    gain_held_out, gain_held_out_se: the same of peaks that the motion was not estimated from: half of them are
        corrected by the motion of the other half.
    split_half_um: difference of the motions of two halves of the peaks, root mean square.
    residual_um: motion that is found in the corrected peaks, root mean square.
    error_um: expected error of the motion, root mean square.
    at_limit: share of bins at the limit of what the estimate searches.
    leaving: share of the peaks along the contacts that the correction moves away from them.
    jumps: single temporal bins that leave their neighbours. unsupported_jumps: those that not both halves of the peaks
        show.
    """

    peaks: int
    range_um: float
    alignment_before: float | None
    alignment_after: float | None
    gain: float | None
    gain_se: float | None
    gain_held_out: float | None
    gain_held_out_se: float | None
    split_half_um: float | None
    residual_um: float | None
    error_um: float | None
    at_limit: float
    leaving: float
    jumps: int
    unsupported_jumps: int | None


@dataclass(frozen=True)
class ShankAssessment:
    """The verdict on the motion of one shank and what it rests on.

    reasons: in words, the weightiest first. error_um, residual_um: (T, W) float64 on the bins of the motion: its
    expected error, and what is still found in the corrected peaks; NaN where nothing could be said.
    """

    verdict: str
    reasons: tuple[str, ...]
    scores: Scores
    error_um: NDArray[np.float64]
    residual_um: NDArray[np.float64]


@dataclass(frozen=True)
class Assessment:
    """The verdict on a motion, one of `VERDICTS`, why, and what was found on each shank."""

    verdict: str
    reasons: tuple[str, ...]
    shanks: dict[int, ShankAssessment]


def _bracket(centres: NDArray[np.float64], at: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Index of the centre at or before each value and the share of the next one, clipped to the ends."""
    at = np.clip(at, centres[0], centres[-1])
    index = np.clip(np.searchsorted(centres, at, side="right") - 1, 0, max(len(centres) - 2, 0))
    if len(centres) == 1:
        return index, np.zeros(at.shape)
    return index, (at - centres[index]) / (centres[index + 1] - centres[index])
