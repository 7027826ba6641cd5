"""detect: a recording in, its localized peaks out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from driftcli.errors import InputError
from driftcli.mask.exclude import mask_of_text
from driftcli.mask.spans import contains, merged, shares, union
from driftcli.model import GOOD, Mask, Peaks, RecordingFacts, Settings
from driftcli.preprocess.noise import mad_noise_level, noise_slices
from driftcli.recording.facts import facts_of
from driftcli.recording.recording import Recording
from driftcli.store.peaks import PeakSpool, write_peaks
from driftcli.workflow.contacts import describe_labels, labels_of, tell_of_labels
from driftcli.workflow.runlog import RunLog, describe_recording, tell_of_mask
from driftcli.workflow.steps import DETECT_STAGES, phase_shift_of_steps, preprocess_steps
from driftcli.workflow.stream import Piece, Span, Stream, Watch
from driftcli.workflow.work import Work, claim_outputs

_HEARD = 1 / 3  # of the noise level that three quarters of the slices don't exceed; noise itself changes less
_FEWER = 4  # of the rows before the reference, every so many are enough for a threshold


def detect(
    recording: Recording, settings: Settings, out: Path, work: Work, *, exclude_times: str | None = None
) -> dict[str, Any]:
    """Detect, select and localize the peaks of a recording and write them to `out` (HDF5).

    exclude_times: spans to leave out of the estimate beside those that are found, or the file that lists them.

    Returns the facts that went to `run.json`. Raises InputError when no peak is found.
    """
    claim_outputs([out], recording.inputs.values(), work.overwrite)
    _tell_of_different_signs(settings, work)
    excluded = mask_of_text(exclude_times, recording.sampling_frequency_hz, recording.num_samples)
    log = RunLog("detect", out, recording.inputs, settings, DETECT_STAGES, work)
    log.facts["recording"] = describe_recording(recording)
    log.facts["phase_shift"] = phase_shift_of_steps(settings, recording)
    with log.timed("bad channels"):
        labels = labels_of(recording, settings, work)
    tell_of_labels(recording, labels, work)
    log.facts["bad_channels"] = describe_labels(recording, labels)
    with log.timed("noise levels"):
        noise = noise_of(recording.only(np.flatnonzero(labels == GOOD)), settings, work)
    finder = PeakFinder(recording, settings, labels, noise, work)
    facts = replace(facts_of(recording), labels=labels)
    with PeakSpool(out.parent, finder.localizer.columns) as spool:
        if settings["select"].method == "all":
            with log.timed("detect and localize"):
                finder.detect_and_localize(spool)
            mask = merged([finder.mask(), excluded])
        else:
            with log.timed("detect and select"):
                chosen, mask = finder.detect_and_select(out.parent, excluded)
            _require_unmasked(chosen, finder, mask, recording)
            with log.timed("localize"):
                finder.localize(chosen, spool)
        if not len(spool):
            raise _no_peaks(settings, noise.levels, facts)
        share = shares(mask, recording.num_samples)
        tell_of_mask(share, work.reporter)
        with log.timed("write"):
            write_peaks(out, spool, facts, settings, _of_all(noise.levels, labels), mask)
        log.facts["mask"] = {"share": {name: round(each, 6) for name, each in share.items()}}
        log.counts = {"peaks": len(spool), "contacts": len(recording.geometry), "samples": recording.num_samples}
    return log.write()


def _require_unmasked(chosen: Peaks, finder: PeakFinder, mask: Mask, recording: Recording) -> None:
    """Raise InputError if there were peaks, but all of them in times that are left out."""
    if finder.num_detected and not len(chosen):
        share = shares(mask, recording.num_samples)["any"]
        raise InputError(
            f"all of the {finder.num_detected:,} peaks lie in times that are left out, {share:.2%} of the recording",
            "see why with driftcli info, exclude less, or give --set mask.method=none",
        )


def _tell_of_different_signs(settings: Settings, work: Work) -> None:
    detected, localized = (settings[name].parameters.model_dump().get("peak_sign") for name in ("detect", "localize"))
    if localized not in (None, detected):
        work.reporter.message(f"peaks are detected with peak_sign={detected} but localized with peak_sign={localized}")


def _of_all(levels: NDArray[np.float64], labels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(C,) noise levels of all contacts, NaN for those that aren't good."""
    of_all = np.full(len(labels), np.nan)
    of_all[labels == GOOD] = levels
    return of_all


class Noise(NamedTuple):
    """Noise levels (C,), MAD: of the preprocessed traces, and of those before the common reference."""

    levels: NDArray[np.float64]
    before_reference: NDArray[np.float64]


def noise_of(recording: Recording, settings: Settings, work: Work) -> Noise:
    """Means over slices spread over the whole recording; those with hardly any of a contact's signal don't count."""
    stream = Stream(
        recording,
        preprocess_steps(settings, recording),
        0,
        jobs=work.jobs,
        chunk_s=work.chunk_s,
        watch=lambda samples, first, traces, start: mad_noise_level(traces[::_FEWER]),
    )

    def level(span: Span) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        piece = stream.piece(*span)
        return mad_noise_level(piece.traces[piece.first : piece.last]), piece.seen

    slices = [stream.unbroken(span) for span in noise_slices(recording.num_samples, recording.sampling_frequency_hz)]
    found = np.array(list(stream.map(level, slices, work.reporter, "noise levels")))
    noise = Noise(_mean_where_heard(found[:, 0]), _mean_where_heard(found[:, 1]))
    silent = np.flatnonzero(noise.levels == 0)
    if silent.size:
        numbers = ", ".join(map(str, recording.channel_numbers[silent[:10]])) + (", ..." if silent.size > 10 else "")
        work.reporter.message(f"contacts without a signal hold no peaks: {silent.size} silent (channels {numbers})")
    return noise


def _mean_where_heard(levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """(C,) means of levels (N, C) over slices, less those that are far below the level of most others: a gap, or a
    contact that is stuck, would bring the threshold of detection down for the whole recording."""
    counting = levels >= _HEARD * np.quantile(levels, 0.75, axis=0)
    return np.asarray((levels * counting).sum(axis=0) / counting.sum(axis=0))


class PeakFinder:
    """Runs the detector, the selection and the localizer of a preset over the stream, on the contacts that are good."""

    def __init__(
        self, recording: Recording, settings: Settings, labels: NDArray[np.uint8], noise: Noise, work: Work
    ) -> None:
        self._contacts = np.flatnonzero(labels == GOOD)
        self._recording, self._work, self._noise = recording.only(self._contacts), work, noise
        self._select, self._mask = settings["select"], settings["mask"]
        context = (self._recording.geometry, recording.sampling_frequency_hz)
        self.detector = settings["detect"].module.Detector(settings["detect"].parameters, *context, noise.levels)
        self.localizer = settings["localize"].module.Localizer(settings["localize"].parameters, *context)
        margin = max(self.detector.margin_samples, self.localizer.margin_samples)
        self._steps = preprocess_steps(settings, self._recording)
        self._seen: list[Mask] = []
        self.num_detected = 0
        self._stream = self._stream_with(margin, self._watch())
        self._again = self._stream_with(margin, None)

    def _stream_with(self, margin: int, watch: Watch | None) -> Stream:
        work = self._work
        return Stream(self._recording, self._steps, margin, jobs=work.jobs, chunk_s=work.chunk_s, watch=watch)

    def _watch(self) -> Watch | None:
        """What looks for spans to be left out while peaks are detected."""
        if self._mask.method == "none":
            return None
        recording = self._recording
        watcher = self._mask.module.Watcher(
            self._mask.parameters,
            recording.columns,
            self._noise.before_reference,
            num_columns=recording.num_columns,
            dtype=recording.dtype,
            gain_to_uv=recording.gain_to_uv,
            full_scale=recording.full_scale,
        )
        watch: Watch = watcher.watch
        return watch

    def mask(self) -> Mask:
        """What was seen while peaks were detected."""
        if self._mask.method == "none":
            return Mask()
        recording = self._recording
        context = (recording.num_samples, recording.breaks, self._mask.parameters, recording.sampling_frequency_hz)
        found: Mask = self._mask.module.mask_of(self._seen, *context)
        return found

    def blocks(self) -> list[Span]:
        """All blocks of the recording."""
        return self._stream.blocks()

    def unbroken(self, span: Span) -> Span:
        """The longest part of a span that holds no break."""
        return self._stream.unbroken(span)

    def look(self, spans: Sequence[Span]) -> Mask:
        """What is to be left out of the estimate in some spans without a break; peaks are not looked for."""
        for seen in self._stream.map(lambda span: self._stream.piece(*span).seen, spans, self._work.reporter, "look"):
            self._remember(seen)
        return self.mask()

    def detect_and_localize(self, spool: PeakSpool) -> None:
        """One pass: every block is read once for both."""

        for peaks in self.located(self.blocks()):
            spool.append(self._of_all_contacts(peaks))

    def located(self, spans: Sequence[Span]) -> Iterator[Peaks]:
        """Localized peaks of each of some blocks; `mask` knows of what was seen there."""

        def find(span: Span) -> tuple[Peaks, Mask | None]:
            piece, rows, channels, amplitudes = self._detected(span)
            return self._located(piece, rows, channels, amplitudes), piece.seen

        for peaks, seen in self._stream.map(find, spans, self._work.reporter, "detect and localize"):
            self._remember(seen)
            yield peaks

    def detect_and_select(self, folder: Path, excluded: Mask) -> tuple[Peaks, Mask]:
        """First pass of two: all peaks of the recording, then the choice among those that aren't masked."""

        with PeakSpool(folder, ()) as spool:
            for peaks in self.detected(self.blocks()):
                spool.append(peaks)
            found = spool.read()
        self.num_detected = len(found)
        mask = merged([self.mask(), excluded])
        left = np.flatnonzero(~contains(union(mask), found.sample_index))
        found = Peaks(found.sample_index[left], found.channel_index[left], found.amplitude[left], {})
        kept = self._select.module.select(
            found.sample_index, found.channel_index, found.amplitude, self._noise.levels, self._select.parameters
        )
        return Peaks(found.sample_index[kept], found.channel_index[kept], found.amplitude[kept], {}), mask

    def detected(self, spans: Sequence[Span]) -> Iterator[Peaks]:
        """Peaks without a location of each of some blocks; `mask` knows of what was seen there."""

        def find(span: Span) -> tuple[Peaks, Mask | None]:
            piece, rows, channels, amplitudes = self._detected(span)
            return Peaks(rows - piece.first + piece.start, channels, amplitudes, {}), piece.seen

        for peaks, seen in self._stream.map(find, spans, self._work.reporter, "detect"):
            self._remember(seen)
            yield peaks

    def localize(self, chosen: Peaks, spool: PeakSpool) -> None:
        """Second pass of two: only the blocks that hold chosen peaks are read again."""
        for peaks in self.located_again(chosen):
            spool.append(self._of_all_contacts(peaks))

    def located_again(self, chosen: Peaks) -> Iterator[Peaks]:
        """The chosen peaks with their locations, block by block."""

        def peaks_of(span: Span) -> slice:
            return slice(*np.searchsorted(chosen.sample_index, span))

        def locate(span: Span) -> Peaks:
            piece, here = self._again.piece(*span), peaks_of(span)
            rows = chosen.sample_index[here] - piece.start + piece.first
            return self._located(piece, rows, chosen.channel_index[here], chosen.amplitude[here])

        spans = [span for span in self._again.blocks() if peaks_of(span).start < peaks_of(span).stop]
        return self._again.map(locate, spans, self._work.reporter, "localize")

    def _remember(self, seen: Mask | None) -> None:
        if seen is not None and len(seen):
            self._seen.append(seen)

    def _of_all_contacts(self, peaks: Peaks) -> Peaks:
        """The same with the contacts' indices among all of the recording."""
        return replace(peaks, channel_index=self._contacts[peaks.channel_index].astype(np.int32))

    def _detected(self, span: Span) -> tuple[Piece, NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
        piece = self._stream.piece(*span)
        return piece, *self.detector(piece.traces, piece.first, piece.last)

    def _located(
        self, piece: Piece, rows: NDArray[np.int64], channels: NDArray[np.int32], amplitudes: NDArray[np.float32]
    ) -> Peaks:
        places = self.localizer(piece.traces, rows, channels)
        location = {name: places[:, column] for column, name in enumerate(self.localizer.columns)}
        return Peaks(rows - piece.first + piece.start, channels, amplitudes, location)


def _no_peaks(settings: Settings, noise_levels: NDArray[np.float64], facts: RecordingFacts) -> InputError:
    threshold = settings["detect"].parameters.model_dump()["detect_threshold"]
    level = float(np.median(noise_levels))
    if level == 0:
        alone = len(noise_levels) == 1 and settings["reference"].method != "none"
        hint = "--set reference.method=none for a single contact" if alone else "another file, or check --dtype"
        return InputError(
            "no peaks found: the noise level of the preprocessed signal is 0, so there is no threshold", hint
        )
    return InputError(
        f"no peaks found: none crosses the threshold of {threshold:g} times the noise level "
        f"(median {level:.3g} {facts.amplitude_unit}, so about {threshold * level:.3g} {facts.amplitude_unit})",
        "check --num-channels, --dtype and the probe, or lower the threshold with "
        f"--set detect.detect_threshold={max(threshold / 2, 3):g}",
    )
