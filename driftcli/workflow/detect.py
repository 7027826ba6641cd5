"""detect: a recording in, its localized peaks out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftcli.errors import InputError
from driftcli.model import Peaks, RecordingFacts, Settings
from driftcli.preprocess.noise import mad_noise_level, noise_slices
from driftcli.recording.facts import facts_of
from driftcli.recording.recording import Recording
from driftcli.store.peaks import PeakSpool, write_peaks
from driftcli.workflow.runlog import RunLog, describe_recording
from driftcli.workflow.steps import DETECT_STAGES, phase_shift_of_steps, preprocess_steps
from driftcli.workflow.stream import Piece, Span, Stream
from driftcli.workflow.work import Work, claim_outputs


def detect(recording: Recording, settings: Settings, out: Path, work: Work) -> dict[str, Any]:
    """Detect, select and localize the peaks of a recording and write them to `out` (HDF5).

    Returns the facts that went to `run.json`. Raises InputError when no peak is found.
    """
    claim_outputs([out], recording.inputs.values(), work.overwrite)
    _tell_of_different_signs(settings, work)
    log = RunLog("detect", out, recording.inputs, settings, DETECT_STAGES, work)
    log.facts["recording"] = describe_recording(recording)
    log.facts["phase_shift"] = phase_shift_of_steps(settings, recording)
    with log.timed("noise levels"):
        noise_levels = _noise_levels(recording, settings, work)
    finder, facts = PeakFinder(recording, settings, noise_levels, work), facts_of(recording)
    with PeakSpool(out.parent, finder.localizer.columns) as spool:
        if settings["select"].method == "all":
            with log.timed("detect and localize"):
                finder.detect_and_localize(spool)
        else:
            with log.timed("detect and select"):
                chosen = finder.detect_and_select(out.parent)
            with log.timed("localize"):
                finder.localize(chosen, spool)
        if not len(spool):
            raise _no_peaks(settings, noise_levels, facts)
        with log.timed("write"):
            write_peaks(out, spool, facts, settings, noise_levels)
        log.counts = {"peaks": len(spool), "contacts": len(recording.geometry), "samples": recording.num_samples}
    return log.write()


def _tell_of_different_signs(settings: Settings, work: Work) -> None:
    detected, localized = (settings[name].parameters.model_dump().get("peak_sign") for name in ("detect", "localize"))
    if localized not in (None, detected):
        work.reporter.message(f"peaks are detected with peak_sign={detected} but localized with peak_sign={localized}")


def _noise_levels(recording: Recording, settings: Settings, work: Work) -> NDArray[np.float64]:
    """(C,) MAD of each contact's preprocessed signal, the mean over slices spread over the whole recording."""
    stream = Stream(recording, preprocess_steps(settings, recording), 0, jobs=work.jobs, chunk_s=work.chunk_s)

    def level(span: Span) -> NDArray[np.float64]:
        piece = stream.piece(*span)
        return mad_noise_level(piece.traces[piece.first : piece.last])

    slices = noise_slices(recording.num_samples, recording.sampling_frequency_hz)
    levels = np.mean(list(stream.map(level, slices, work.reporter, "noise levels")), axis=0)
    silent = np.flatnonzero(levels == 0)
    if silent.size:
        work.reporter.message(f"{silent.size} silent contacts hold no peaks: {', '.join(map(str, silent[:10]))}")
    return levels


class PeakFinder:
    """Runs the detector, the selection and the localizer of a preset over the stream."""

    def __init__(self, recording: Recording, settings: Settings, noise_levels: NDArray[np.float64], work: Work) -> None:
        self._recording, self._work, self._noise_levels = recording, work, noise_levels
        self._select = settings["select"]
        context = (recording.geometry, recording.sampling_frequency_hz)
        self.detector = settings["detect"].module.Detector(settings["detect"].parameters, *context, noise_levels)
        self.localizer = settings["localize"].module.Localizer(settings["localize"].parameters, *context)
        margin = max(self.detector.margin_samples, self.localizer.margin_samples)
        steps = preprocess_steps(settings, recording)
        self._stream = Stream(recording, steps, margin, jobs=work.jobs, chunk_s=work.chunk_s)

    def detect_and_localize(self, spool: PeakSpool) -> None:
        """One pass: every block is read once for both."""

        def find(span: Span) -> Peaks:
            return self._located(*self._detected(span))

        for peaks in self._stream.map(find, self._stream.blocks(), self._work.reporter, "detect and localize"):
            spool.append(peaks)

    def detect_and_select(self, folder: Path) -> Peaks:
        """First pass of two: all peaks of the recording, then the choice among them."""

        def find(span: Span) -> Peaks:
            piece, rows, channels, amplitudes = self._detected(span)
            return Peaks(rows - piece.first + piece.start, channels, amplitudes, {})

        with PeakSpool(folder, ()) as spool:
            for peaks in self._stream.map(find, self._stream.blocks(), self._work.reporter, "detect"):
                spool.append(peaks)
            found = spool.read()
        kept = self._select.module.select(
            found.sample_index, found.channel_index, found.amplitude, self._noise_levels, self._select.parameters
        )
        return Peaks(found.sample_index[kept], found.channel_index[kept], found.amplitude[kept], {})

    def localize(self, chosen: Peaks, spool: PeakSpool) -> None:
        """Second pass of two: only the blocks that hold chosen peaks are read again."""

        def peaks_of(span: Span) -> slice:
            return slice(*np.searchsorted(chosen.sample_index, span))

        def locate(span: Span) -> Peaks:
            piece, here = self._stream.piece(*span), peaks_of(span)
            rows = chosen.sample_index[here] - piece.start + piece.first
            return self._located(piece, rows, chosen.channel_index[here], chosen.amplitude[here])

        spans = [span for span in self._stream.blocks() if peaks_of(span).start < peaks_of(span).stop]
        for peaks in self._stream.map(locate, spans, self._work.reporter, "localize"):
            spool.append(peaks)

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
