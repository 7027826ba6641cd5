"""Several files as one recording, and a part of a recording as a recording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from driftcli.errors import InputError, UsageError
from driftcli.model import GOOD
from driftcli.recording.mtscomp import CompressedSamples
from driftcli.recording.recording import Part, Recording
from driftcli.recording.samples import JoinedSamples, PartOfSamples, Samples
from driftcli.recording.spikeglx_out import run_and_stream

_SAME_RATE = 1e-4  # relative: rates are measured anew for each run, a ten-thousandth is far more than clocks differ


def join(recordings: Sequence[Recording], *, concatenate: bool = False) -> Recording:
    """One recording of several files in the order given; sample 0 of each follows the last one of the file before.

    concatenate: take files of different runs, which are not otherwise joined: a shell's `*` must not join strangers.

    Raises UsageError for files of different runs, InputError for the same file twice, files with different channels,
    and files of one run that are out of order or overlap in time.
    """
    first, *others = recordings
    if not others:
        return first
    for index, other in enumerate(recordings):
        if any(other.path.samefile(earlier.path) for earlier in recordings[:index]):
            raise InputError(f"{other.path} is given twice", "give each file once")
    for other in others:
        _require_same_channels(first, other)
    _require_one_run(recordings, concatenate)
    _share_memory([each.samples for each in recordings])
    starts = np.cumsum([0, *(each.num_samples for each in recordings)]).tolist()
    return replace(
        first,
        inputs=_numbered_inputs(recordings),
        samples=JoinedSamples([each.samples for each in recordings]),
        parts=tuple(
            replace(part, start=part.start + start, stop=part.stop + start)
            for each, start in zip(recordings, starts, strict=False)
            for part in each.parts
        ),
        labels=_worst_labels(recordings),
    )


def between(recording: Recording, start_s: float | None, end_s: float | None) -> Recording:
    """The samples from `start_s` to before `end_s` as a recording, which begins at its own second 0.

    None: from the beginning, to the end. Raises UsageError if that leaves nothing, or reaches beyond the recording.
    """
    if start_s is None and end_s is None:
        return recording
    for option, time_s in (("--start-s", start_s), ("--end-s", end_s)):
        if time_s is not None and not 0 <= time_s <= recording.duration_s:
            raise UsageError(
                f"{option} {time_s:g} is not within the recording of {recording.duration_s:g} s", "leave it away"
            )
    rate_hz = recording.sampling_frequency_hz
    start = 0 if start_s is None else round(start_s * rate_hz)
    stop = recording.num_samples if end_s is None else min(round(end_s * rate_hz), recording.num_samples)
    if start >= stop:
        begin_s, until_s = start_s or 0, recording.duration_s if end_s is None else end_s
        raise UsageError(f"nothing lies between {begin_s:g} s and {until_s:g} s", "give --start-s below --end-s")
    parts = [_cut(part, start, stop) for part in recording.parts if part.start < stop and part.stop > start]
    samples = PartOfSamples(recording.samples, start, stop - start)
    return replace(recording, samples=samples, parts=tuple(parts), origin=recording.origin + start)


def file_of(recording: Recording, index: int) -> Recording:
    """One file of a recording as a recording, or what of it is in the recording's span."""
    part = recording.parts[index]
    samples = PartOfSamples(recording.samples, part.start, part.stop - part.start)
    origin = recording.origin + part.start
    return replace(recording, samples=samples, parts=(_cut(part, part.start, part.stop),), origin=origin)


def _cut(part: Part, start: int, stop: int) -> Part:
    """What is left of a part of a recording that becomes its samples start <= n < stop."""
    first, last = max(part.start, start), min(part.stop, stop)
    number = None if part.first_sample is None else part.first_sample + first - part.start
    return replace(part, start=first - start, stop=last - start, first_sample=number)


def _worst_labels(recordings: Sequence[Recording]) -> NDArray[np.uint8] | None:
    """What is wrong with each contact in the first file where something is: one that is bad in any is no good."""
    labels = recordings[0].labels
    for other in recordings[1:]:
        if labels is not None and other.labels is not None:
            labels = np.where(labels == GOOD, other.labels, labels).astype(np.uint8)
    return labels


def _share_memory(sources: Sequence[Samples]) -> None:
    compressed = [source for source in sources if isinstance(source, CompressedSamples)]
    for later in compressed[1:]:
        later.keep_with(compressed[0])


def _numbered_inputs(recordings: Sequence[Recording]) -> dict[str, Path]:
    inputs = dict(recordings[0].inputs)
    for number, other in enumerate(recordings[1:], start=2):
        inputs |= {f"{name}_{number}": path for name, path in other.inputs.items() if path not in inputs.values()}
    return inputs


def _require_same_channels(first: Recording, other: Recording) -> None:
    rate_hz = first.sampling_frequency_hz
    facts: dict[str, tuple[object, object]] = {
        "number of columns": (first.num_columns, other.num_columns),
        "dtype": (first.dtype.name, other.dtype.name),
        "acquired numbers of channels": (_tuple(first.numbers), _tuple(other.numbers)),
        "columns of contacts": (_tuple(first.columns), _tuple(other.columns)),
        "contact positions": (_tuple(first.geometry.positions_um), _tuple(other.geometry.positions_um)),
        "shanks": (_tuple(first.geometry.shanks), _tuple(other.geometry.shanks)),
        "gains": (_tuple(first.gain_to_uv), _tuple(other.gain_to_uv)),
        "sampling shifts": (_tuple(first.sample_shifts.fractions), _tuple(other.sample_shifts.fractions)),
        "states of being lined up in time": (first.sample_shifts.lined_up, other.sample_shifts.lined_up),
    }
    different = [name for name, (ours, theirs) in facts.items() if ours != theirs]
    if abs(other.sampling_frequency_hz - rate_hz) > _SAME_RATE * rate_hz:
        different.append("sampling frequencies")
    if different:
        raise InputError(
            f"{other.path.name} has other channels than {first.path.name}: their {different[0]} differ",
            "correct them one by one, each with an output of its own",
        )


def _tuple(values: NDArray[np.generic] | None) -> object:
    return None if values is None else tuple(values.reshape(-1).tolist())


def of_one_run(one: Part, other: Part) -> bool:
    """Whether two files say that they are of one probe in one run, whose samples count on one clock.

    Files of one name in two folders are of two runs that are called alike.
    """
    if one.meta is None or other.meta is None:
        return False
    if run_and_stream(one.path, one.meta) != run_and_stream(other.path, other.meta):
        return False
    alike = one.path.stem == other.path.stem and one.path.parent.resolve() != other.path.parent.resolve()
    return one.meta.serial_number == other.meta.serial_number and not alike


def _require_one_run(recordings: Sequence[Recording], concatenate: bool) -> None:
    for first, second in pairwise(recordings):
        earlier, later = first.parts[-1], second.parts[0]
        if of_one_run(earlier, later):
            _require_order(earlier, later)
        elif not concatenate:
            what = "are of different runs" if earlier.meta and later.meta else "don't say that they are of one run"
            alike = earlier.path.name == later.path.name
            names = f"{earlier.path} and {later.path}" if alike else f"{earlier.path.name} and {later.path.name}"
            raise UsageError(
                f"{names} {what}",
                "give --concatenate if they are one recording in this order, or correct them one by one",
            )


def _require_order(earlier: Part, later: Part) -> None:
    """Files of one run count samples on one clock."""
    if earlier.first_sample is None or later.first_sample is None:
        return
    end = earlier.first_sample + earlier.stop - earlier.start
    if later.first_sample < earlier.first_sample:
        raise InputError(
            f"{later.path.name} was recorded before {earlier.path.name}", "give the files in order of time"
        )
    if later.first_sample < end:
        raise InputError(
            f"{later.path.name} begins at sample {later.first_sample}, before {earlier.path.name} ends at {end}",
            "files that overlap can't be joined: correct them one by one",
        )
