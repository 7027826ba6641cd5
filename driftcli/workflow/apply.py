"""apply: a recording and its motion in, the corrected binary out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from driftcli.interpolate.interpolator import Interpolator, always_inside
from driftcli.interpolate.weights import InterpolateParameters
from driftcli.model import GOOD, ApplyParameters, Motion, Settings
from driftcli.preprocess.noise import median_level, noise_slices
from driftcli.recording.convert import from_traces
from driftcli.recording.facts import facts_of
from driftcli.recording.probe import write_probe
from driftcli.recording.recording import Recording
from driftcli.store.motion import MotionFile, read_motion
from driftcli.workflow.contacts import describe_labels, labels_of, tell_of_labels
from driftcli.workflow.fit import offset, require_fit, tell_of_joined_bins
from driftcli.workflow.outputs import Corrected, Output, Outputs, meta_of, outputs_of
from driftcli.workflow.runlog import RunLog, describe_recording
from driftcli.workflow.sinks import Sink, allow_open_files, sink_of
from driftcli.workflow.steps import APPLY_STAGES, phase_shift_facts, preprocess_steps, warning_of_shifts
from driftcli.workflow.stream import Piece, Scratch, Span, Stream
from driftcli.workflow.work import Work, claim_outputs

_IN_ORDER_CHUNK_S = 0.5  # blocks wait in memory until it is their turn to be hashed: one at a time of each thread


def apply(
    recording: Recording,
    motion_path: Path,
    settings: Settings,
    out: Path,
    work: Work,
    *,
    dtype: str | None = None,
    split: bool = False,
    compress: bool = False,
) -> dict[str, Any]:
    """Interpolate a recording's traces back along its motion, and write them to `out` with their probe beside it.

    The binary has the recording's columns in their order (without those of removed contacts), its number of samples and
    its µV per bit. That of a SpikeGLX recording gets a meta beside it. dtype: int16 or float32, by default the
    recording's. split: write a binary for each file of the recording; `out` is then their folder. compress: write
    mtscomp's format.

    Returns the facts that went to `run.json`. Raises InputError when the motion doesn't fit the recording.
    """
    outputs = outputs_of(recording, out, dtype, split=split, compress=compress)
    claim_outputs(outputs.files, [*recording.inputs.values(), motion_path], work.overwrite)
    file = read_motion(motion_path, every_bin=False)
    require_fit(facts_of(recording), file, "the recording")
    tell_of_joined_bins(file, work.reporter)
    first = outputs.binaries[0].binary
    log = RunLog("apply", first, {**recording.inputs, "motion": motion_path}, settings, APPLY_STAGES, work)
    log.facts["recording"] = describe_recording(recording)
    log.facts["phase_shift"] = phase_shift_facts(settings, recording)
    log.facts["files"] = [path.name for path in outputs.files]
    with log.timed("prepare"):
        known, look = _known_labels(file, settings)
        labels = labels_of(recording, settings, work, known, look)
        begins_at = offset(facts_of(recording), file)
        corrector = Corrector(
            recording,
            file.motions,
            settings,
            np.dtype(dtype or recording.dtype),
            labels,
            work,
            begins_at=begins_at,
        )
        metas = [meta_of(output, corrector.corrected(), settings, motion_path) for output in outputs.binaries]
    if look:  # else an earlier verb has told
        tell_of_labels(recording, labels, work)
    log.facts["bad_channels"] = describe_labels(recording, labels)
    with log.timed("apply"):
        clipped = corrector.write(outputs.binaries, metas)
    write_probe(outputs.probe, recording, corrector.interpolator.kept_contacts, corrector.kept_columns_out)
    if clipped:
        work.reporter.message(f"{clipped} values went beyond the range of int16 and were clipped")
    _tell_of_pairs(recording, settings, outputs, work)
    log.counts = {
        "samples": recording.num_samples,
        "columns": len(corrector.columns),
        "removed_contacts": len(recording.geometry) - len(corrector.interpolator.kept_contacts),
        "clipped_values": clipped,
        "dtype": str(corrector.dtype),
    }
    return log.write()


def _known_labels(file: MotionFile, settings: Settings) -> tuple[NDArray[np.uint8] | None, bool]:
    """The labels that the motion carries, and whether the data must be looked at: for a motion that carries none, or
    whose labels were found in another way than these settings ask for."""
    known = None if file.facts is None else file.facts.labels
    found_so = file.preset.get("bad_channels") == settings.to_dict()["bad_channels"]
    return known, known is None or not found_so


def _tell_of_pairs(recording: Recording, settings: Settings, outputs: Outputs, work: Work) -> None:
    meta = outputs.binaries[0].meta
    if meta is not None and "probe" in recording.inputs:
        given = recording.inputs["probe"].name
        told = f"{meta.name} keeps the geometry that SpikeGLX wrote"
        work.reporter.message(f"{told}; that of {given} is in {outputs.probe.name}")
    warning = warning_of_shifts(settings, recording)
    if warning is not None:
        work.reporter.message(warning)


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
        *,
        begins_at: int = 0,
    ) -> None:
        """begins_at: the sample, in the motion's time, that is the first of the recording."""
        self._begins_at = begins_at
        stage = settings["interpolate"]
        num_samples = begins_at + recording.num_samples
        context = (recording.geometry, motions, recording.sampling_frequency_hz, num_samples)
        parameters = cast(InterpolateParameters, stage.parameters)
        self.interpolator = Interpolator(stage.module.Kernel, parameters, *context, labels)
        self.dtype = dtype
        self._motions, self._labels = motions, labels
        self._recording, self._work, self._scratch = recording, work, Scratch()
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
        kept = np.zeros(len(self._recording.geometry), bool)
        kept[self._kept] = True
        inside = always_inside(self._recording.geometry, self._motions, self._labels)
        border = kept & ~inside & (self._labels == GOOD)
        return Corrected(self.columns, ~kept, border, self._labels)

    def write(self, outputs: list[Output], metas: list[dict[str, str] | None]) -> int:
        """Stream all blocks to the outputs; returns how many values were clipped to the range of the dtype."""
        total = 0
        allow_open_files(len(outputs))
        with ExitStack() as stack:
            sinks = [
                stack.enter_context(sink_of(output, self.dtype, len(self.columns), meta))
                for output, meta in zip(outputs, metas, strict=True)
            ]
            for clipped in self.fill(list(zip(outputs, sinks, strict=True))):
                total += clipped
            for sink in sinks:
                sink.finish()
        return total

    def fill(self, sinks: list[tuple[Output, Sink]], spans: Sequence[Span] | None = None) -> Iterator[int]:
        """Correct all blocks, or some, into the sinks; yield how many values of each were clipped."""
        for clipped, prepared in self._blocks(sinks, spans):
            for sink, each in prepared:
                sink.take(each)
            yield clipped

    def _blocks(
        self, sinks: list[tuple[Output, Sink]], spans: Sequence[Span] | None
    ) -> Iterator[tuple[int, list[tuple[Sink, Any]]]]:
        """The same, yielding in order how many values were clipped, and what each sink prepared."""
        in_order = any(sink.in_order for _, sink in sinks)
        chunk_s = min(self._work.chunk_s, _IN_ORDER_CHUNK_S) if in_order else self._work.chunk_s
        stream = Stream(self._recording, self._steps, 0, jobs=self._work.jobs, chunk_s=chunk_s)

        def correct(span: Span) -> tuple[int, list[tuple[Sink, Any]]]:
            block, clipped = self._corrected(stream, span)
            prepared = []
            for output, sink in sinks:
                first, last = max(span[0], output.start), min(span[1], output.stop)
                if first < last:
                    rows = block[first - span[0] : last - span[0]]
                    prepared.append((sink, sink.prepare(first - output.start, rows)))
            return clipped, prepared

        return stream.map(correct, stream.blocks() if spans is None else spans, self._work.reporter, "apply")

    def _corrected(self, stream: Stream, span: Span) -> tuple[NDArray[Any], int]:
        raw = self._recording.read(*span)
        block = self._scratch.array("block", (len(raw), len(self.columns)), self.dtype)
        still = self.interpolator.is_still(self._begins_at + span[0], self._begins_at + span[1])
        if self._raw and still and self.dtype == self._recording.dtype:
            np.take(raw, self.columns, axis=1, out=block)
            return block, 0
        gain = None if self._recording.gain_to_uv is None else self._recording.gain_to_uv[self._kept]
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
        stream = Stream(self._recording, [], 0, jobs=self._work.jobs, chunk_s=self._work.chunk_s)

        def level(span: Span) -> NDArray[np.float64]:
            piece = stream.piece(*span)
            return median_level(piece.traces[piece.first : piece.last])

        slices = noise_slices(self._recording.num_samples, self._recording.sampling_frequency_hz)
        spans = [stream.unbroken(span) for span in slices]
        of_spans = list(stream.map(level, spans, self._work.reporter, "levels"))
        levels = np.median(of_spans, axis=0).astype(np.float32)
        of_kept = levels[self._kept]
        of_kept[self.interpolator.borrowed] = np.median(levels[self._labels == GOOD])
        of_kept[self.interpolator.silent] = 0
        return levels, of_kept
