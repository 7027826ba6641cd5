"""Which files a correction writes, what they are called, and what the meta of a SpikeGLX pair says."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from driftcli import __version__
from driftcli.errors import UsageError
from driftcli.model import CONTACT_LABELS, GOOD, Settings
from driftcli.recording.adc import SHIFTED, SHIFTED_KEY
from driftcli.recording.join import file_of
from driftcli.recording.meta import Meta
from driftcli.recording.mtscomp import HEADER_SUFFIX, SUFFIX
from driftcli.recording.recording import Recording
from driftcli.recording.spikeglx_out import channel_numbers, corrected_meta, corrected_name, joined_name, require_name
from driftcli.workflow.portion import final
from driftcli.workflow.steps import phase_shift_facts


@dataclass(frozen=True)
class Output:
    """One corrected binary and what goes with it.

    recording: what it is the correction of, all of the input or one file of it, from sample `start` of the input on.
    header: of a compressed binary; meta: of a SpikeGLX pair; None where there is none.
    """

    recording: Recording
    start: int
    binary: Path
    header: Path | None
    meta: Path | None

    @property
    def stop(self) -> int:
        return self.start + self.recording.num_samples

    @property
    def files(self) -> list[Path]:
        return [path for path in (self.binary, self.header, self.meta) if path is not None]


@dataclass(frozen=True)
class Outputs:
    """All binaries of a correction, in order of time, and the probe that they share."""

    binaries: list[Output]
    probe: Path

    @property
    def files(self) -> list[Path]:
        return [path for output in self.binaries for path in output.files] + [self.probe]


def default_name(recording: Recording, *, compress: bool = False) -> str:
    """What the corrected binary is called where nobody says: `corrected.bin`, or for SpikeGLX as SpikeGLX would."""
    if recording.meta is None:
        name = "corrected.bin"
    elif len(recording.parts) == 1:
        name = corrected_name(recording.path, recording.meta)
    else:
        name = joined_name(recording.path, recording.meta)
    return str(Path(name).with_suffix(SUFFIX)) if compress else name


def outputs_of(
    recording: Recording, out: Path, dtype: str | None = None, *, split: bool = False, compress: bool = False
) -> Outputs:
    """Every file that `apply` writes.

    out: the corrected binary; with `split`, one for each file of the recording, their folder. The probe is `probe.json`
    beside binaries of the default name, else it is named after the binary.
    Raises UsageError where `out` or `dtype` make no SpikeGLX file, or binaries would have one name.
    """
    if split:
        files = [(file_of(recording, index), part.start) for index, part in enumerate(recording.parts)]
        names = [_split_name(file, compress) for file, _ in files]
        if len(set(names)) < len(names):
            double = next(name for name in names if names.count(name) > 1)
            raise UsageError(f"with --split two outputs would be {double}", "correct the files one by one")
        binaries = [
            _output(file, start, out / name, dtype, compress) for (file, start), name in zip(files, names, strict=True)
        ]
        return Outputs(binaries, out / "probe.json")
    named = out.name == default_name(recording, compress=compress)
    probe = out.with_name("probe.json" if named else f"{out.stem}.probe.json")
    return Outputs([_output(recording, 0, out, dtype, compress)], probe)


def _split_name(recording: Recording, compress: bool) -> str:
    if recording.meta is not None:
        return default_name(recording, compress=compress)
    return f"corrected_{recording.path.stem}{SUFFIX if compress else '.bin'}"


def _output(recording: Recording, start: int, binary: Path, dtype: str | None, compress: bool) -> Output:
    if compress and binary.suffix != SUFFIX:
        raise UsageError(f"{binary.name} is no name of a compressed binary", f"end it with {SUFFIX}")
    if not compress and binary.suffix == SUFFIX:
        raise UsageError(f"{binary.name} is the name of a compressed binary", "give --compress, or another name")
    header = binary.with_suffix(HEADER_SUFFIX) if compress else None
    if recording.meta is None:
        return Output(recording, start, binary, header, None)
    require_name(binary, recording.path, recording.meta)
    if np.dtype(dtype or recording.dtype) != recording.dtype:
        raise UsageError(
            f"--output-dtype {dtype} makes no SpikeGLX file: their samples are {recording.dtype.name}",
            f"leave --output-dtype away, or move {recording.meta.path.name} to read the samples as raw",
        )
    return Output(recording, start, binary, header, binary.with_suffix(".meta"))


@dataclass(frozen=True)
class Corrected:
    """What a correction makes of the channels, for the meta.

    columns: the file's columns that are written, ascending. removed, border: (C,) bool, contacts that are left out, and
    those whose traces are at times not between others. labels: (C,) what is wrong with contacts.
    """

    columns: NDArray[np.int64]
    removed: NDArray[np.bool_]
    border: NDArray[np.bool_]
    labels: NDArray[np.uint8]


def meta_of(output: Output, corrected: Corrected, settings: Settings, moved_by: str) -> dict[str, str] | None:
    """The meta of a corrected SpikeGLX binary but for its SHA1; None for a raw one. moved_by: name of the motion."""
    recording, meta = output.recording, output.recording.meta
    if meta is None:
        return None
    notes = {
        "driftcliVersion": __version__,
        "driftcliInput": ", ".join(part.path.name for part in recording.parts),
        "driftcliInputSHA1": ", ".join(part.meta.values.get("fileSHA1", "0") for part in recording.parts if part.meta),
        "driftcliInputOffsets": ", ".join(_offset(recording, index) for index in range(len(recording.parts))),
        "driftcliMotion": moved_by,
        "driftcliPreset": json.dumps(settings.to_dict(), separators=(",", ":")),
        SHIFTED_KEY: _note_on_shifts(settings, recording),
        **_notes_on_contacts(corrected, recording, meta),
    }
    name = final(output.binary).with_suffix(".bin")  # the meta of a compressed binary is that of what it holds
    return corrected_meta(_from_first_sample(recording, meta), name, corrected.columns, recording.num_samples, notes)


def _offset(recording: Recording, index: int) -> str:
    """Where a file begins in the corrected binary, and by which number of the acquisition."""
    part = recording.parts[index]
    acquired = "" if part.first_sample is None else f" (acquired {part.first_sample})"
    return f"{part.start}{acquired}"


def _from_first_sample(recording: Recording, meta: Meta) -> Meta:
    """The meta with the number of the first sample that is written, where a span begins later than its file."""
    first = recording.parts[0].first_sample
    return meta if first is None else replace(meta, values={**meta.values, "firstSample": str(first)})


def _note_on_shifts(settings: Settings, recording: Recording) -> str:
    facts = phase_shift_facts(settings, recording)
    return SHIFTED if facts["applied"] else f"not applied: {facts['reason']}"


def _notes_on_contacts(corrected: Corrected, recording: Recording, meta: Meta) -> dict[str, str]:
    """The channels that were left out, those at the border, and those that aren't good with what is wrong."""

    def numbers(which: NDArray[np.bool_]) -> str:
        return channel_numbers(meta, np.sort(recording.columns[which]))

    bad = [f"{CONTACT_LABELS[each]} {numbers(corrected.labels == each)}" for each in np.unique(corrected.labels)]
    good = CONTACT_LABELS[GOOD]
    return {
        "driftcliRemovedChannels": numbers(corrected.removed),
        "driftcliBorderChannels": numbers(corrected.border),
        "driftcliBadChannels": "; ".join(each for each in bad if not each.startswith(f"{good} ")),
    }
