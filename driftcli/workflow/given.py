"""What a verb is given: its recording, opened, and its preset, with what the file of the step before hands on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from driftcli import presets
from driftcli.errors import UsageError
from driftcli.model import Settings
from driftcli.recording.open import open_recording
from driftcli.recording.recording import Recording
from driftcli.reporter import Reporter
from driftcli.store.schema import read_handover
from driftcli.workflow.runlog import describe_recording
from driftcli.workflow.steps import DETECT_STAGES


def open_given(how: Mapping[str, Any], reporter: Reporter, motion: Path | None = None) -> Recording:
    """Open a recording. how: what `open_recording` is told; where it doesn't say, the facts that a motion.h5 carries
    stand in."""
    carried = None if motion is None else read_handover(motion, "motion")[1]
    recording = open_recording(**how, carried=carried, reporter=reporter)
    reporter.note("recording", paths=how["path"], probe=how["probe"], facts=describe_recording(recording))
    return recording


_PEAKS = (".h5", ".hdf5", ".npz")
_RECORDINGS = (".bin", ".cbin", ".dat", ".raw")
_HDF5 = b"\x89HDF"


def is_peaks(source: Path) -> bool:
    """Whether it is a file of peaks, and not a recording: by how it begins, or by its name if it isn't there."""
    if source.suffix.lower() in _PEAKS:
        return True
    if not source.is_file():
        return source.suffix.lower() not in _RECORDINGS
    try:
        with source.open("rb") as file:
            return file.read(len(_HDF5)) == _HDF5
    except OSError:  # who reads it says so
        return True


def settings_of_source(source: Path, preset: str | None, changes: presets.Changes) -> Settings:
    """The preset to estimate with: that of `peaks.h5`, unless another one is named; of others the one that is named."""
    if is_peaks(source) and source.suffix.lower() != ".npz":
        return settings_after(source, "peaks", DETECT_STAGES, preset, changes)
    return presets.load(preset, changes)


def settings_after(
    source: Path, kind: str, done: Sequence[str], preset: str | None, changes: presets.Changes
) -> Settings:
    """The preset that `source` (a file of `kind`) was made with, or of another one what is not done yet.

    done: stages that made `source`; they stay as they were, and a change of one is a UsageError.
    """
    tree, _ = read_handover(source, kind)
    for change in changes:
        stage = change.partition(".")[0].strip()
        if stage in done:
            again = "detect" if kind == "peaks" else "detect or estimate"
            hint = f"{again} again with --set {change}"
            raise UsageError(f"the stage {stage!r} was done before {source.name} was made", hint)
    if preset is not None:
        named = presets.load(preset).to_dict()
        tree = {stage: tree[stage] if stage in done and stage in tree else named[stage] for stage in named}
    return presets.resolve(tree, changes)
