"""Correcting blocks of a recording: what apply does to each of them."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from driftcli.interpolate.interpolator import Interpolator, always_inside
from driftcli.interpolate.weights import InterpolateParameters
from driftcli.model import GOOD, ApplyParameters, Footprints, Motion, Settings
from driftcli.preprocess.noise import median_level, noise_slices
from driftcli.recording.convert import from_traces
from driftcli.recording.recording import Recording
from driftcli.workflow.journal import Entry, Journal
from driftcli.workflow.outputs import Corrected, Output
from driftcli.workflow.sinks import Sink
from driftcli.workflow.steps import preprocess_steps
from driftcli.workflow.stream import Piece, Scratch, Span, Stream
from driftcli.workflow.work import Work

_IN_ORDER_CHUNK_S = 0.5  # blocks wait in memory until it is their turn to be hashed: one at a time of each thread


def corrected_columns(
    columns: NDArray[np.int64], num_columns: int, kept: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The input's columns that are written, ascending, and the output column of each kept contact.

    columns: (C,) that of each contact; num_columns: those of the input; kept: (K,) the contacts that are.
    """
    written = np.setdiff1d(np.arange(num_columns), np.setdiff1d(columns, columns[kept]))
    return written, np.searchsorted(written, columns[kept]).astype(np.int64)


class Corrector:
    """Writes the corrected recording block by block.

    columns: the file's columns that are written, in their order. kept_columns_out: (K,) the output column of each kept
    contact.
    """

    def __init__(
        self,
        recording: Recording,
        motions: Mapping[int, Motion],
        settings: Settings,
        dtype: np.dtype[Any],
        labels: NDArray[np.uint8],
        work: Work,
        footprints: Mapping[int, Footprints] | None = None,
        *,
        begins_at: int = 0,
    ) -> None:
        """footprints: of the shanks that have some, for a method that is fitted to them.
        begins_at: the sample, in the motion's time, that is the first of the recording."""
        self._begins_at = begins_at
        stage = settings["interpolate"]
        num_samples = begins_at + recording.num_samples
        context = (recording.geometry, motions, recording.sampling_frequency_hz, num_samples)
        parameters = cast(InterpolateParameters, stage.parameters)
        self.interpolator = Interpolator(stage.module.Kernel, parameters, *context, labels, footprints)
        self.dtype = dtype
        self._motions, self._labels = motions, labels
        self.recording, self._work, self._scratch = recording, work, Scratch()
        self._kept = self.interpolator.kept_contacts
        layout = corrected_columns(recording.columns, recording.num_columns, self._kept)
        self.columns, self.kept_columns_out = layout
        self._copied = np.setdiff1d(self.columns, recording.columns)
        self._copied_out = np.searchsorted(self.columns, self._copied)
        self._raw = cast(ApplyParameters, settings["apply"].parameters).signal == "raw"
        self._steps = [] if self._raw else preprocess_steps(settings, recording, labels)
        self._levels = self._raw_levels() if self._raw else None

    def corrected(self) -> Corrected:
        """What becomes of the channels."""
        kept = np.zeros(len(self.recording.geometry), bool)
        kept[self._kept] = True
        inside = always_inside(self.recording.geometry, self._motions, self._labels)
        border = kept & ~inside & (self._labels == GOOD)
        return Corrected(self.columns, ~kept, border, self._labels)

    def blocks(self) -> list[Span]:
        """All blocks of the recording."""
        return self._stream(self._work.chunk_s).blocks()

    def fill(
        self, sinks: list[tuple[Output, Sink]], spans: Sequence[Span] | None = None, journal: Journal | None = None
    ) -> Generator[Entry, None, None]:
        """Correct all blocks, or some, into the sinks; yield in order what became of each.

        journal: learns of each block as soon as it is in its place. Those that it knows, and that are in their place,
        are not corrected again. With all blocks the sinks' samples are hashed, too.
        """
        hashed = spans is None and any(sink.hashed for _, sink in sinks)
        chunk_s = min(self._work.chunk_s, _IN_ORDER_CHUNK_S) if hashed else self._work.chunk_s
        stream = self._stream(chunk_s)

        def correct(span: Span) -> tuple[Entry, list[tuple[Sink, NDArray[Any]]]]:
            kept = self._found_again(span, sinks, journal)
            if kept is None:
                kept = self._put(stream, span, sinks, journal)
            entry, rows = kept
            return entry, [(sink, each.copy()) for sink, each in rows if hashed and sink.hashed]

        blocks = stream.blocks() if spans is None else spans
        with closing(stream.map(correct, blocks, self._work.reporter, "apply")) as corrected:
            for entry, rows in corrected:
                for sink, each in rows:
                    sink.hash(each)
                yield entry

    def _stream(self, chunk_s: float) -> Stream:
        return Stream(self.recording, self._steps, 0, jobs=self._work.jobs, chunk_s=chunk_s)

    def _found_again(
        self, span: Span, sinks: list[tuple[Output, Sink]], journal: Journal | None
    ) -> tuple[Entry, list[tuple[Sink, NDArray[Any]]]] | None:
        """What the journal knows of a block and its samples; None unless all of it is still there."""
        if journal is None or span[0] not in journal.entries:
            return None
        entry = journal.entries[span[0]]
        found = [(sinks[index][1], sinks[index][1].again(put)) for index, put in entry["puts"]]
        whole = [(sink, rows) for sink, rows in found if rows is not None]
        if len(whole) < len(found):
            self._work.reporter.message(f"the block from sample {span[0]} on is not what was written: done again")
            return None
        journal.keep()
        return entry, whole

    def _put(
        self, stream: Stream, span: Span, sinks: list[tuple[Output, Sink]], journal: Journal | None
    ) -> tuple[Entry, list[tuple[Sink, NDArray[Any]]]]:
        """Correct a block and put it into the sinks."""
        if journal is not None:
            journal.begin(span[0])
        block, clipped = self._corrected(stream, span)
        puts, rows = [], []
        for index, (output, sink) in enumerate(sinks):
            first, last = max(span[0], output.start), min(span[1], output.stop)
            if first < last:
                part = block[first - span[0] : last - span[0]]
                puts.append((index, sink.put(first - output.start, part)))
                rows.append((sink, part))
        entry = {"clipped": clipped, "puts": puts}
        if journal is not None:
            journal.record(span[0], entry)
        return entry, rows

    def _corrected(self, stream: Stream, span: Span) -> tuple[NDArray[Any], int]:
        raw = self.recording.read(*span)
        block = self._scratch.array("block", (len(raw), len(self.columns)), self.dtype)
        still = self.interpolator.is_still(self._begins_at + span[0], self._begins_at + span[1])
        if self._raw and still and self.dtype == self.recording.dtype:
            np.take(raw, self.columns, axis=1, out=block)
            return block, 0
        gain = None if self.recording.gain_to_uv is None else self.recording.gain_to_uv[self._kept]
        clipped = 0
        for tile in stream.tiles(*span):
            rows = block[tile.start - span[0] : tile.stop - span[0]]
            clipped += from_traces(self._interpolated(tile), self.kept_columns_out, gain, rows)
        copied = np.ascontiguousarray(raw[:, self._copied], dtype=np.float32)
        return block, clipped + from_traces(copied, self._copied_out, None, block)

    def _interpolated(self, piece: Piece) -> NDArray[np.float32]:
        out = self._scratch.array("corrected", (len(piece.traces), len(self._kept)), np.float32)
        start = self._begins_at + piece.start
        if self._levels is None:
            return self.interpolator(piece.traces, start, out)
        levels, levels_of_kept = self._levels
        return self.interpolator(piece.traces - levels, start, out) + levels_of_kept

    def _raw_levels(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(C,) median of each contact's raw signal: left in, it would leak into steps when weights change. And what is
        put back to each corrected trace (K,): the same, but that of a bad contact tells nothing."""
        stream = Stream(self.recording, [], 0, jobs=self._work.jobs, chunk_s=self._work.chunk_s)

        def level(span: Span) -> NDArray[np.float64]:
            piece = stream.piece(*span)
            return median_level(piece.traces[piece.first : piece.last])

        slices = noise_slices(self.recording.num_samples, self.recording.sampling_frequency_hz)
        spans = [stream.unbroken(span) for span in slices]
        of_spans = list(stream.map(level, spans, self._work.reporter, "levels"))
        levels = np.median(of_spans, axis=0).astype(np.float32)
        of_kept = levels[self._kept]
        of_kept[self.interpolator.borrowed] = np.median(levels[self._labels == GOOD])
        of_kept[self.interpolator.silent] = 0
        return levels, of_kept
