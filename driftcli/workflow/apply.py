"""apply: a recording and its motion in, the corrected binary out."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from driftcli import __version__
from driftcli.errors import UsageError
from driftcli.files import atomic
from driftcli.interpolate.interpolator import Interpolator, always_inside
from driftcli.interpolate.weights import InterpolateParameters
from driftcli.model import ApplyParameters, Settings
from driftcli.preprocess.noise import median_level, noise_slices
from driftcli.recording.adc import SHIFTED, SHIFTED_KEY
from driftcli.recording.convert import from_traces
from driftcli.recording.facts import facts_of
from driftcli.recording.meta import Meta, format_meta
from driftcli.recording.probe import write_probe
from driftcli.recording.recording import Recording
from driftcli.recording.spikeglx_out import (
    channel_numbers,
    corrected_meta,
    corrected_name,
    require_name,
    with_sha1,
)
from driftcli.recording.writer import BinaryWriter
from driftcli.store.motion import MotionFile, read_motion
from driftcli.workflow.fit import require_fit
from driftcli.workflow.runlog import RunLog, describe_recording
from driftcli.workflow.steps import APPLY_STAGES, phase_shift_facts, preprocess_steps, warning_of_shifts
from driftcli.workflow.stream import Piece, Scratch, Span, Stream
from driftcli.workflow.work import Work, claim_outputs

_HASHED_CHUNK_S = 0.5  # blocks wait in memory until it is their turn to be hashed: one at a time of each thread


def default_name(recording: Recording) -> str:
    """What the corrected binary is called where nobody says: `corrected.bin`, or for SpikeGLX as SpikeGLX would."""
    return "corrected.bin" if recording.meta is None else corrected_name(recording.path, recording.meta)


def outputs_of(recording: Recording, out: Path, dtype: str | None = None) -> dict[str, Path]:
    """Every file that `apply` writes: `binary`, `probe`, and `meta` for SpikeGLX.

    The probe is `probe.json` beside a binary of the default name, else it is named after the binary.
    Raises UsageError where `out` or `dtype` make no SpikeGLX file.
    """
    named = out.name == default_name(recording)
    files = {"binary": out, "probe": out.with_name("probe.json" if named else f"{out.stem}.probe.json")}
    if recording.meta is None:
        return files
    require_name(out, recording.path, recording.meta)
    if np.dtype(dtype or recording.dtype) != recording.dtype:
        raise UsageError(
            f"--output-dtype {dtype} makes no SpikeGLX file: their samples are {recording.dtype.name}",
            f"leave --output-dtype away, or move {recording.meta.path.name} to read the samples as raw",
        )
    return {**files, "meta": out.with_suffix(".meta")}


def apply(
    recording: Recording, motion_path: Path, settings: Settings, out: Path, work: Work, *, dtype: str | None = None
) -> dict[str, Any]:
    """Interpolate a recording's traces back along its motion, and write them to `out` with their probe beside it.

    The binary has the recording's columns in their order (without those of removed contacts), its number of samples and
    its µV per bit. That of a SpikeGLX recording gets a meta beside it. dtype: int16 or float32, by default the
    recording's.

    Returns the facts that went to `run.json`. Raises InputError when the motion doesn't fit the recording.
    """
    files = outputs_of(recording, out, dtype)
    claim_outputs(files.values(), [*recording.inputs.values(), motion_path], work.overwrite)
    file = read_motion(motion_path)
    require_fit(facts_of(recording), file, "the recording")
    log = RunLog("apply", out, {**recording.inputs, "motion": motion_path}, settings, APPLY_STAGES, work)
    log.facts["recording"] = describe_recording(recording)
    log.facts["phase_shift"] = phase_shift_facts(settings, recording)
    with log.timed("prepare"):
        corrector = _Corrector(recording, file, settings, np.dtype(dtype or recording.dtype), work)
        meta = _meta_of(corrector, recording, settings, out, motion_path)
    with log.timed("apply"):
        clipped = corrector.write(out) if meta is None else corrector.write_pair(out, files["meta"], meta)
    write_probe(files["probe"], recording, corrector.interpolator.kept_contacts, corrector.kept_columns_out)
    if clipped:
        work.reporter.message(f"{clipped} values went beyond the range of int16 and were clipped")
    if meta is not None:
        _tell_of_pair(recording, settings, files, work)
    log.counts = {
        "samples": recording.num_samples,
        "columns": len(corrector.columns),
        "removed_contacts": len(recording.geometry) - len(corrector.interpolator.kept_contacts),
        "clipped_values": clipped,
        "dtype": str(corrector.dtype),
    }
    return log.write()


def _tell_of_pair(recording: Recording, settings: Settings, files: dict[str, Path], work: Work) -> None:
    if "probe" in recording.inputs:
        given = recording.inputs["probe"].name
        told = f"{files['meta'].name} keeps the geometry that SpikeGLX wrote"
        work.reporter.message(f"{told}; that of {given} is in {files['probe'].name}")
    warning = warning_of_shifts(settings, recording)
    if warning is not None:
        work.reporter.message(warning)


def _meta_of(
    corrector: _Corrector, recording: Recording, settings: Settings, out: Path, motion_path: Path
) -> dict[str, str] | None:
    """The meta of a corrected SpikeGLX binary but for its SHA1; None for a raw one."""
    meta = recording.meta
    if meta is None:
        return None
    notes = {
        "driftcliVersion": __version__,
        "driftcliInput": recording.path.name,
        "driftcliInputSHA1": meta.values.get("fileSHA1", "0"),
        "driftcliMotion": motion_path.name,
        "driftcliPreset": json.dumps(settings.to_dict(), separators=(",", ":")),
        SHIFTED_KEY: _note_on_shifts(settings, recording),
        **_notes_on_contacts(corrector, recording, meta),
    }
    return corrected_meta(meta, out, corrector.columns, recording.num_samples, notes)


def _note_on_shifts(settings: Settings, recording: Recording) -> str:
    facts = phase_shift_facts(settings, recording)
    return SHIFTED if facts["applied"] else f"not applied: {facts['reason']}"


def _notes_on_contacts(corrector: _Corrector, recording: Recording, meta: Meta) -> dict[str, str]:
    """The channels that were left out, and those whose traces are at times not between others."""
    kept = np.zeros(len(recording.geometry), bool)
    kept[corrector.interpolator.kept_contacts] = True
    border = kept & ~always_inside(recording.geometry, corrector.motions)
    return {
        "driftcliRemovedChannels": channel_numbers(meta, np.sort(recording.columns[~kept])),
        "driftcliBorderChannels": channel_numbers(meta, np.sort(recording.columns[border])),
    }


def corrected_columns(
    columns: NDArray[np.int64], num_columns: int, kept: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The input's columns that are written, ascending, and the output column of each kept contact.

    columns: (C,) that of each contact; num_columns: those of the input; kept: (K,) the contacts that are.
    """
    written = np.setdiff1d(np.arange(num_columns), np.setdiff1d(columns, columns[kept]))
    return written, np.searchsorted(written, columns[kept]).astype(np.int64)


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
        self.motions, self.dtype = file.motions, dtype
        self._recording, self._work, self._scratch = recording, work, Scratch()
        self._kept = self.interpolator.kept_contacts
        layout = corrected_columns(recording.columns, recording.num_columns, self._kept)
        self.columns, self.kept_columns_out = layout
        self._copied = np.setdiff1d(self.columns, recording.columns)
        self._copied_out = np.searchsorted(self.columns, self._copied)
        self._raw = cast(ApplyParameters, settings["apply"].parameters).signal == "raw"
        steps = [] if self._raw else preprocess_steps(settings, recording)
        chunk_s = work.chunk_s if recording.meta is None else min(work.chunk_s, _HASHED_CHUNK_S)
        self._stream = Stream(recording, steps, 0, jobs=work.jobs, chunk_s=chunk_s)
        self._offsets = self._raw_offsets() if self._raw else None

    def write(self, out: Path) -> int:
        """Stream all blocks to `out`; returns how many values were clipped to the range of the output."""
        with self._writer(out) as writer:
            return sum(clipped for clipped, _ in self._blocks(writer, keep=False))

    def write_pair(self, out: Path, meta_path: Path, meta: dict[str, str]) -> int:
        """The same, and then `meta` with the SHA1 of what was written as `meta_path`.

        Both are whole on the disk before the binary gets its name and, right after it, the meta gets its own.
        """
        digest, total = hashlib.sha1(usedforsecurity=False), 0
        with atomic(meta_path) as part, self._writer(out) as writer:
            for clipped, written in self._blocks(writer, keep=True):
                total += clipped
                digest.update(written.data)
            with part.open("wb") as file:
                file.write(format_meta(with_sha1(meta, digest.hexdigest())))
                file.flush()
                os.fsync(file.fileno())
        return total

    def _writer(self, out: Path) -> BinaryWriter:
        return BinaryWriter(out, self.dtype, len(self.columns), self._recording.num_samples)

    def _blocks(self, writer: BinaryWriter, *, keep: bool) -> Iterator[tuple[int, NDArray[Any]]]:
        """Write block after block; yield, in order, how many of its values were clipped, and if wanted all of them."""

        def correct(span: Span) -> tuple[int, NDArray[Any]]:
            block, clipped = self._corrected(span)
            writer.write(span[0], block)
            values = block.reshape(-1)
            return clipped, (values if keep else values[:0]).copy()  # the block itself is filled again

        return self._stream.map(correct, self._stream.blocks(), self._work.reporter, "apply")

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
