"""Doing some blocks again, at random places, and comparing them with what was written.

Checksums tell that a file is as it was written; this tells that what was written is what its input, its preset and its
motion give.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftcli import presets
from driftcli.errors import DriftcliError, InputError
from driftcli.model import CONTACT_LABELS, GOOD, Peaks, RecordingFacts
from driftcli.recording.facts import facts_of
from driftcli.recording.mtscomp import CompressedSamples
from driftcli.recording.open import open_recording
from driftcli.recording.recording import Recording
from driftcli.recording.samples import BinarySamples, Samples
from driftcli.recording.writer import as_bytes
from driftcli.reporter import Reporter
from driftcli.store.motion import read_motion, without_motion
from driftcli.store.peaks import joined_peaks, peaks_in_pieces, read_peaks
from driftcli.workflow.corrector import Corrector
from driftcli.workflow.findings import Entry, Finding
from driftcli.workflow.fit import of_any_band, offset, require_fit
from driftcli.workflow.learn import learn
from driftcli.workflow.machine import cpu_type, versions
from driftcli.workflow.outputs import outputs_of
from driftcli.workflow.peak_finder import Noise, PeakFinder, rows_in
from driftcli.workflow.runlog import describe_recording
from driftcli.workflow.sinks import Put
from driftcli.workflow.stream import Span
from driftcli.workflow.verify_files import Binary, binaries_of
from driftcli.workflow.work import Work

DONE_AGAIN = "done again"
_LSB = 1
# What another machine's rounding may do to float32 samples, relative to the largest of a block, and to peaks.
_RELATIVE, _PEAK_RELATIVE, _OTHER_PEAKS = 1e-4, 1e-3, 0.01


def check_again(
    entry: Entry, damaged: Collection[str], places: int, rng: np.random.Generator, work: Work
) -> Iterator[Finding]:
    """Correct some blocks again, or find their peaks again; places: how many. damaged: files that aren't read for that.

    What was done on another type of CPU or with other versions is compared to within 1 LSB. An input that isn't there,
    as a recording that was archived, is no fault of the outputs.
    """
    redo = {"apply": _check_corrected, "detect": _check_peaks}.get(entry.facts["verb"])
    if redo is None or not places:
        return
    made_from = [name for name in ("motion", "peaks") if name in entry.facts["inputs"]]
    needed = [entry.name] if entry.facts["verb"] == "detect" else [entry.input_path(name).name for name in made_from]
    for name in needed:
        if name in damaged:
            yield Finding(entry.name, DONE_AGAIN, "unchecked", f"{name} is not what it was")
            return
    absent = [path for path in map(entry.input_path, entry.facts["inputs"]) if not os.access(path, os.R_OK)]
    if absent:
        told = f"{absent[0]} is not there: mount the recording to have blocks done again, or --places 0 leaves this out"
        yield Finding(entry.name, DONE_AGAIN, "unchecked", told)
        return
    quiet = replace(work, reporter=_Progress(work.reporter, f"{entry.facts['verb']} again"))
    try:
        yield from redo(entry, places, rng, quiet)
    except DriftcliError as error:
        told = f"it can't be done again: {error.message}; --places 0 leaves this out"
        yield Finding(entry.name, DONE_AGAIN, "wrong", told)


class _Progress(Reporter):
    """Passes on how far the work is, under another name, and nothing that an earlier verb has told."""

    def __init__(self, reporter: Reporter, stage: str) -> None:
        self._reporter, self._stage = reporter, stage

    def progress(self, stage: str, done: float, total: float, recording_s: float = 0.0) -> None:
        self._reporter.progress(self._stage, done, total, recording_s)


def _elsewhere(entry: Entry) -> str:
    """Why the bytes may differ in their last digits: for a finding's text; empty where they may not."""
    if entry.facts.get("mixed"):
        return "done on several machines"
    same = entry.facts.get("cpu") == cpu_type() and entry.facts["versions"] == versions()
    return "" if same else "done on another type of CPU or with other versions"


def _chosen(blocks: Sequence[Span], places: int, rng: np.random.Generator) -> list[Span]:
    picked = rng.choice(len(blocks), min(places, len(blocks)), replace=False)
    return [blocks[index] for index in sorted(picked.tolist())]


def _reopened(entry: Entry, carried: RecordingFacts | None) -> Recording:
    """The recording as it was opened then. Raises InputError, or UsageError, where that isn't possible any more."""
    known, inputs = entry.facts["recording"], entry.facts["inputs"]
    names = sorted(
        (name for name in inputs if re.fullmatch(r"recording(_\d+)?", name)), key=lambda name: (len(name), name)
    )
    gain, rate_hz = known["gain_to_uv"], known["sampling_frequency_hz"]
    told = {} if "meta" in inputs else _options(known)  # SpikeGLX describes itself
    recording = open_recording(
        [entry.input_path(name) for name in names],
        **told,
        probe=entry.input_path("probe") if "probe" in inputs else None,
        gain_to_uv=gain if isinstance(gain, float) else None,
        concatenate=True,
        start_s=known["origin"] / rate_hz,
        end_s=(known["origin"] + known["num_samples"]) / rate_hz,
        truncated_ok=True,
        carried=carried,
        reporter=Reporter(),
    )
    now = describe_recording(recording)
    # which contacts are bad was said by an option, too: that comes from what the log says of their labels
    other = [key for key in known if key != "bad_channels" and now.get(key) != known[key]]
    if other:
        raise InputError(
            f"the recording is read otherwise than it was: {', '.join(other)}",
            "give the recording back its meta and probe",
        )
    return recording


def _options(known: dict[str, Any]) -> dict[str, Any]:
    return {
        "num_channels": known["num_columns"],
        "sampling_frequency_hz": known["sampling_frequency_hz"],
        "dtype": known["dtype"],
        "offset_bytes": known["offset_bytes"],
    }


def _labels(entry: Entry, recording: Recording) -> NDArray[np.uint8]:
    """(C,) what was wrong with each contact."""
    labels = np.full(len(recording.geometry), GOOD, np.uint8)
    for name, channels in entry.facts["bad_channels"].items():
        labels[np.isin(recording.channel_numbers, channels)] = CONTACT_LABELS.index(name)
    return labels


def _check_corrected(entry: Entry, places: int, rng: np.random.Generator, work: Work) -> Iterator[Finding]:
    facts, options = entry.facts, entry.facts["options"]
    motion_path = entry.input_path("motion")
    file = read_motion(motion_path, every_bin=False)
    file = file if facts.get("corrected", True) else without_motion(file)
    recording = _reopened(entry, file.facts)
    file = of_any_band(facts_of(recording), file)
    require_fit(facts_of(recording), file, "the recording")
    settings = presets.resolve(file.preset | facts["preset"])
    dtype, begins_at = np.dtype(options["dtype"]), offset(facts_of(recording), file)
    labels, footprints = _labels(entry, recording), None
    if "peaks" in facts["inputs"]:
        context = (recording, entry.input_path("peaks"), file.motions, settings, labels, work)
        footprints, _ = learn(*context, begins_at=begins_at)
    corrector = Corrector(recording, file.motions, settings, dtype, labels, work, footprints, begins_at=begins_at)
    out = entry.folder if options["split"] else entry.path(entry.name)
    outputs = outputs_of(recording, out, options["dtype"], split=options["split"], compress=options["compress"])
    stored = {binary.name: _Stored(entry, binary) for binary in binaries_of(entry)}
    sinks = [(output, stored[output.binary.name]) for output in outputs.binaries]
    for _ in corrector.fill([*sinks], _chosen(corrector.blocks(), places, rng)):
        pass
    elsewhere = _elsewhere(entry)
    for each in stored.values():
        if each.compared:
            yield each.finding(elsewhere)


@dataclass
class _Stored:
    """A sink that compares what is put into it with what the binary holds there; only then it is known which.

    compared: the spans. worst: of those that differ, by how much, in file units and relative to the largest value;
    infinite where they can't be compared.
    """

    entry: Entry
    binary: Binary
    hashed = False
    compared: list[Span] = field(default_factory=list)
    worst: dict[Span, tuple[float, float]] = field(default_factory=dict)
    unreadable: str = ""

    def __post_init__(self) -> None:
        self._samples: Samples | None = None
        path, binary = self.entry.path(self.binary.name), self.binary
        try:
            if binary.header is None:
                self._samples = BinarySamples(path, binary.dtype, binary.num_columns, binary.num_samples)
            else:
                self._samples = CompressedSamples.open(path)
        except InputError as error:
            self.unreadable = f" ({error.message})"

    def put(self, start: int, rows: NDArray[Any]) -> Put:
        span = (start, start + len(rows))
        self.compared.append(span)
        found = self._read(*span)
        if found is None or found.shape != rows.shape or found.dtype != rows.dtype:
            self.worst[span] = np.inf, np.inf
        elif not np.array_equal(as_bytes(found), as_bytes(rows)):
            distance = float(np.abs(found.astype(float) - rows).max())
            largest = float(np.abs(rows.astype(float)).max())
            self.worst[span] = distance, distance / largest if largest else np.inf
        return [start, len(rows), 0]

    def again(self, put: Put) -> NDArray[Any] | None:
        return None

    def hash(self, rows: NDArray[Any]) -> None:
        pass

    def finish(self, puts: Sequence[Put]) -> dict[str, Any]:
        return {}

    def _read(self, start: int, stop: int) -> NDArray[Any] | None:
        try:
            return None if self._samples is None else self._samples.read(start, stop)
        except (InputError, ValueError):  # ValueError: beyond the end
            return None

    def finding(self, elsewhere: str) -> Finding:
        name, count = self.binary.name, f"{len(self.compared)} block{'s' * (len(self.compared) > 1)}"
        if not self.worst:
            return Finding(name, DONE_AGAIN, "ok", f"{count} corrected again, the same to the byte")
        units, relative = (max(each) for each in zip(*self.worst.values(), strict=True))
        near = units <= _LSB if self.binary.dtype.kind == "i" else relative <= _RELATIVE
        told = "1 LSB" if self.binary.dtype.kind == "i" else f"{_RELATIVE:g} of the largest value"
        if elsewhere and near:
            return Finding(name, DONE_AGAIN, "ok", f"{count} corrected again, the same to within {told}: {elsewhere}")
        share = f"{len(self.worst)} of {count} corrected again are not what the file holds"
        most = f", by up to {units:g}" if np.isfinite(units) else self.unreadable
        return Finding(name, DONE_AGAIN, "wrong", f"{share}: {self.binary.in_words([*self.worst])}{most}")


def _check_peaks(entry: Entry, places: int, rng: np.random.Generator, work: Work) -> Iterator[Finding]:
    path = entry.path(entry.name)
    head = read_peaks(path, slice(0, 0))
    recording = _reopened(entry, head.facts)
    # what was left out of the estimate is no matter of the peaks, and needs levels that aren't stored
    settings = presets.resolve(head.preset | entry.facts["preset"] | {"mask": {"method": "none"}})
    labels = _labels(entry, recording)
    levels = head.noise_levels[labels == GOOD]
    finder = PeakFinder(recording, settings, labels, Noise(levels, levels), work)
    spans = _chosen(finder.blocks(), places, rng)
    stored = _peaks_in(spans, entry)
    elsewhere, every = _elsewhere(entry), settings["select"].method == "all"
    different, count, off = [], 0, 0
    results = finder.stream.map(finder.located, spans, work.reporter, "detect")
    for span, (found, _) in zip(spans, results, strict=True):
        wrong = _count_wrong(found, stored[span], len(labels), every, _PEAK_RELATIVE if elsewhere else 0.0)
        count, off = count + len(stored[span]), off + wrong
        different += [span] if wrong else []
    blocks = f"{len(spans)} block{'s' * (len(spans) > 1)}"
    if off and not (elsewhere and off <= _OTHER_PEAKS * count):
        rate_hz = recording.sampling_frequency_hz
        where = ", ".join(f"samples {a} to {b} ({a / rate_hz:.3f} to {b / rate_hz:.3f} s)" for a, b in different)
        told = f"{off} peaks of {blocks} detected again are not those that it holds: {where}"
        yield Finding(entry.name, DONE_AGAIN, "wrong", told)
    else:
        others = f" but for {off} and" if off else ""
        to_within = f"{others} to within {_PEAK_RELATIVE:g}: {elsewhere}" if elsewhere else ""
        yield Finding(entry.name, DONE_AGAIN, "ok", f"{blocks} detected again, {count} peaks the same{to_within}")


def _peaks_in(spans: Sequence[Span], entry: Entry) -> dict[Span, Peaks]:
    """The stored peaks of some spans."""
    empty = read_peaks(entry.path(entry.name), slice(0, 0)).peaks
    found = dict.fromkeys(spans, empty)
    for piece in peaks_in_pieces(entry.path(entry.name)):
        for span in spans:
            if rows_in(piece, span):
                here = piece.at(slice(*np.searchsorted(piece.sample_index, span)))
                found[span] = here if not len(found[span]) else joined_peaks([found[span], here])
    return found


def _count_wrong(found: Peaks, stored: Peaks, num_contacts: int, every: bool, within: float) -> int:
    """How many stored peaks were not found, or elsewhere or with other values, and with `every` also how many were
    found but aren't stored. within: relative; 0 for values that must be the same."""
    ours, theirs = (peaks.sample_index * num_contacts + peaks.channel_index for peaks in (found, stored))
    _, rows, of_stored = np.intersect1d(ours, theirs, return_indices=True)
    pairs = [(found.amplitude[rows], stored.amplitude[of_stored])]
    pairs += [(found.location[name][rows], stored.location[name][of_stored]) for name in stored.location]
    near = np.ones(len(rows), bool)
    for one, other in pairs:
        near &= np.isclose(one, other, rtol=within, atol=within)
    missing = len(stored) - len(rows)
    return int(missing + np.count_nonzero(~near) + (len(found) - len(rows)) * every)
