"""Finding the peaks of a block of a recording: what detect does to each of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from driftcli.model import GOOD, Mask, Peaks, Settings
from driftcli.preprocess.noise import mad_noise_level, noise_slices
from driftcli.recording.recording import Recording
from driftcli.workflow.steps import preprocess_steps
from driftcli.workflow.stream import Piece, Span, Stream, Watch
from driftcli.workflow.work import Work

_HEARD = 1 / 3  # of the noise level that three quarters of the slices don't exceed; noise itself changes less
_FEWER = 4  # of the rows before the reference, every so many are enough for a threshold


def of_all(levels: NDArray[np.float64], labels: NDArray[np.uint8]) -> NDArray[np.float64]:
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
    """Runs the detector and the localizer of a preset over blocks of a recording, on the contacts that are good.

    Indices of contacts are those among all of the recording. noise_levels: (C,) NaN for those that aren't good.
    """

    def __init__(
        self, recording: Recording, settings: Settings, labels: NDArray[np.uint8], noise: Noise, work: Work
    ) -> None:
        self.settings, self.reporter = settings, work.reporter
        self.noise_levels = of_all(noise.levels, labels)
        self._contacts = np.flatnonzero(labels == GOOD)
        self._recording, self._work, self._noise = recording.only(self._contacts), work, noise
        context = (self._recording.geometry, recording.sampling_frequency_hz)
        self.detector = settings["detect"].module.Detector(settings["detect"].parameters, *context, noise.levels)
        self.localizer = settings["localize"].module.Localizer(settings["localize"].parameters, *context)
        margin = max(self.detector.margin_samples, self.localizer.margin_samples)
        self._steps = preprocess_steps(settings, self._recording)
        self.stream = self._stream_with(margin, self._watch())
        self._again = self._stream_with(margin, None)

    def _stream_with(self, margin: int, watch: Watch | None) -> Stream:
        work = self._work
        return Stream(self._recording, self._steps, margin, jobs=work.jobs, chunk_s=work.chunk_s, watch=watch)

    def _watch(self) -> Watch | None:
        """What looks for spans to be left out while peaks are detected."""
        stage = self.settings["mask"]
        if stage.method == "none":
            return None
        recording = self._recording
        watcher = stage.module.Watcher(
            stage.parameters,
            recording.columns,
            self._noise.before_reference,
            num_columns=recording.num_columns,
            dtype=recording.dtype,
            gain_to_uv=recording.gain_to_uv,
            full_scale=recording.full_scale,
        )
        watch: Watch = watcher.watch
        return watch

    def mask_of(self, seen: Iterable[Mask]) -> Mask:
        """What is to be left out, from what was seen in blocks."""
        recording = self._recording
        return mask_of(seen, self.settings, recording.num_samples, recording.breaks, recording.sampling_frequency_hz)

    def blocks(self) -> list[Span]:
        """All blocks of the recording."""
        return self.stream.blocks()

    def unbroken(self, span: Span) -> Span:
        """The longest part of a span that holds no break."""
        return self.stream.unbroken(span)

    def look(self, spans: Sequence[Span]) -> Mask:
        """What is to be left out of the estimate in some spans without a break; peaks are not looked for."""
        seen = self.stream.map(lambda span: self.stream.piece(*span).seen, spans, self.reporter, "look")
        return self.mask_of([each for each in seen if each is not None])

    def located(self, span: Span) -> tuple[Peaks, Mask | None]:
        """Localized peaks of a block, and what was seen there."""
        piece, rows, channels, amplitudes = self._detected(span)
        return self._located(piece, rows, channels, amplitudes), piece.seen

    def detected(self, span: Span) -> tuple[Peaks, Mask | None]:
        """Peaks of a block without a location, and what was seen there."""
        piece, rows, channels, amplitudes = self._detected(span)
        return self._of_all_contacts(rows - piece.first + piece.start, channels, amplitudes, {}), piece.seen

    def located_again(self, chosen: Peaks, span: Span) -> tuple[Peaks, None]:
        """Those of the chosen peaks that lie in a block, with their locations."""
        here = chosen.at(slice(*np.searchsorted(chosen.sample_index, span)))
        piece = self._again.piece(*span)
        channels = np.searchsorted(self._contacts, here.channel_index).astype(np.int32)
        return self._located(piece, here.sample_index - piece.start + piece.first, channels, here.amplitude), None

    def _of_all_contacts(
        self,
        samples: NDArray[np.int64],
        channels: NDArray[np.int32],
        amplitudes: NDArray[np.float32],
        location: dict[str, NDArray[np.float32]],
    ) -> Peaks:
        return Peaks(samples, self._contacts[channels].astype(np.int32), amplitudes, location)

    def _detected(self, span: Span) -> tuple[Piece, NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
        piece = self.stream.piece(*span)
        return piece, *self.detector(piece.traces, piece.first, piece.last)

    def _located(
        self, piece: Piece, rows: NDArray[np.int64], channels: NDArray[np.int32], amplitudes: NDArray[np.float32]
    ) -> Peaks:
        places = self.localizer(piece.traces, rows, channels)
        location = {name: places[:, column] for column, name in enumerate(self.localizer.columns)}
        return self._of_all_contacts(rows - piece.first + piece.start, channels, amplitudes, location)


def mask_of(
    seen: Iterable[Mask], settings: Settings, num_samples: int, breaks: NDArray[np.int64], sampling_frequency_hz: float
) -> Mask:
    """What is to be left out of a recording's estimate, from what was seen in blocks."""
    stage = settings["mask"]
    if stage.method == "none":
        return Mask()
    found: Mask = stage.module.mask_of(seen, num_samples, breaks, stage.parameters, sampling_frequency_hz)
    return found


def rows_in(peaks: Peaks, span: Span) -> int:
    """How many peaks lie in a span."""
    first, last = np.searchsorted(peaks.sample_index, span)
    return int(last - first)
