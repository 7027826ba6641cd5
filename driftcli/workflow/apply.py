"""apply: a recording and its motion in, the corrected binary out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from driftcli.interpolate.interpolator import Interpolator
from driftcli.interpolate.weights import InterpolateParameters
from driftcli.model import ApplyParameters, Settings
from driftcli.preprocess.noise import median_level, noise_slices
from driftcli.recording.convert import from_traces
from driftcli.recording.facts import facts_of
from driftcli.recording.probe import write_probe
from driftcli.recording.recording import Recording
from driftcli.recording.writer import BinaryWriter
from driftcli.store.motion import MotionFile, read_motion
from driftcli.workflow.fit import require_fit
from driftcli.workflow.runlog import RunLog, describe_recording
from driftcli.workflow.steps import APPLY_STAGES, preprocess_steps
from driftcli.workflow.stream import Piece, Scratch, Span, Stream
from driftcli.workflow.work import Work, claim_outputs


def probe_path(out: Path) -> Path:
    """Where the probe of a corrected binary goes: `probe.json` beside `corrected.bin`, else named after the binary."""
    return out.with_name("probe.json" if out.name == "corrected.bin" else f"{out.stem}.probe.json")


def apply(
    recording: Recording, motion_path: Path, settings: Settings, out: Path, work: Work, *, dtype: str | None = None
) -> dict[str, Any]:
    """Interpolate a recording's traces back along its motion, and write them to `out` with their probe beside it.

    The binary has the recording's columns in their order (without those of removed contacts), its number of samples and
    its µV per bit. dtype: int16 or float32, by default the recording's.

    Returns the facts that went to `run.json`. Raises InputError when the motion doesn't fit the recording.
    """
    claim_outputs([out, probe_path(out)], [*recording.inputs.values(), motion_path], work.overwrite)
    file = read_motion(motion_path)
    require_fit(facts_of(recording), file, "the recording")
    log = RunLog("apply", out, {**recording.inputs, "motion": motion_path}, settings, APPLY_STAGES, work)
    log.facts["recording"] = describe_recording(recording)
    with log.timed("prepare"):
        corrector = _Corrector(recording, file, settings, np.dtype(dtype or recording.dtype), work)
    with log.timed("apply"):
        clipped = corrector.write(out)
    write_probe(probe_path(out), recording, corrector.interpolator.kept_contacts, corrector.kept_columns_out)
    if clipped:
        work.reporter.message(f"{clipped} values went beyond the range of int16 and were clipped")
    log.counts = {
        "samples": recording.num_samples,
        "columns": len(corrector.columns),
        "removed_contacts": len(recording.geometry) - len(corrector.interpolator.kept_contacts),
        "clipped_values": clipped,
        "dtype": str(corrector.dtype),
    }
    return log.write()


class _Corrector:
    """Writes the corrected recording block by block.

    columns: the file's columns that are written, in their order. kept_columns_out: (K,) the output column of each kept
    contact.
    """

    def __init__(
        self, recording: Recording, file: MotionFile, settings: Settings, dtype: np.dtype[Any], work: Work
    ) -> None:
        stage = settings["interpolate"]
        context = (recording.geometry, file.motions, recording.sampling_frequency_hz, recording.num_samples)
        parameters = cast(InterpolateParameters, stage.parameters)
        self.interpolator = Interpolator(stage.module.Kernel, parameters, *context)
        self.dtype = dtype
        self._recording, self._work, self._scratch = recording, work, Scratch()
        self._kept = self.interpolator.kept_contacts
        removed = np.setdiff1d(recording.columns, recording.columns[self._kept])
        self.columns = np.setdiff1d(np.arange(recording.num_columns), removed)
        self.kept_columns_out = np.searchsorted(self.columns, recording.columns[self._kept])
        self._copied = np.setdiff1d(self.columns, recording.columns)
        self._copied_out = np.searchsorted(self.columns, self._copied)
        self._raw = cast(ApplyParameters, settings["apply"].parameters).signal == "raw"
        steps = [] if self._raw else preprocess_steps(settings, recording)
        self._stream = Stream(recording, steps, 0, jobs=work.jobs, chunk_s=work.chunk_s)
        self._offsets = self._raw_offsets() if self._raw else None

    def write(self, out: Path) -> int:
        """Stream all blocks to `out`; returns how many values were clipped to the range of the output."""
        recording, blocks = self._recording, self._stream.blocks()
        with BinaryWriter(out, self.dtype, len(self.columns), recording.num_samples) as writer:

            def correct(span: Span) -> int:
                block, clipped = self._corrected(span)
                writer.write(span[0], block)
                return clipped

            return sum(self._stream.map(correct, blocks, self._work.reporter, "apply"))

    def _corrected(self, span: Span) -> tuple[NDArray[Any], int]:
        raw = self._recording.read(*span)
        block = self._scratch.array("block", (len(raw), len(self.columns)), self.dtype)
        if self._raw and self.interpolator.is_still(*span) and self.dtype == self._recording.dtype:
            np.take(raw, self.columns, axis=1, out=block)
            return block, 0
        gain = None if self._recording.gain_to_uv is None else self._recording.gain_to_uv[self._kept]
        clipped = 0
        for tile in self._stream.tiles(*span):
            rows = block[tile.start - span[0] : tile.stop - span[0]]
            clipped += from_traces(self._interpolated(tile), self.kept_columns_out, gain, rows)
        copied = np.ascontiguousarray(raw[:, self._copied], dtype=np.float32)
        return block, clipped + from_traces(copied, self._copied_out, None, block)

    def _interpolated(self, piece: Piece) -> NDArray[np.float32]:
        out = self._scratch.array("corrected", (len(piece.traces), len(self._kept)), np.float32)
        if self._offsets is None:
            return self.interpolator(piece.traces, piece.start, out)
        return self.interpolator(piece.traces - self._offsets, piece.start, out) + self._offsets[self._kept]

    def _raw_offsets(self) -> NDArray[np.float32]:
        """(C,) median of each contact's raw signal: left in, it would leak into steps when weights change."""

        def level(span: Span) -> NDArray[np.float64]:
            piece = self._stream.piece(*span)
            return median_level(piece.traces[piece.first : piece.last])

        slices = noise_slices(self._recording.num_samples, self._recording.sampling_frequency_hz)
        levels = list(self._stream.map(level, slices, self._work.reporter, "offsets"))
        return np.median(levels, axis=0).astype(np.float32)
