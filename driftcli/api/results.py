"""What the verbs return: where the outputs are, the facts of `run.json`, and what the outputs hold, read when asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from driftcli.model import Assessment, Motion
from driftcli.simulate.truth import Truth, load_truth
from driftcli.store.assessment import read_assessment
from driftcli.store.motion import read_motion
from driftcli.store.peaks import PeaksFile, read_peaks


@dataclass(frozen=True)
class _Result:
    """facts: what went to `run.json`, plain data. messages: what the work had to tell, in order."""

    facts: dict[str, Any] = field(repr=False)
    messages: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True)
class FileResult(_Result):
    """A file, or a folder, that was written. path: of it."""

    path: Path


@dataclass(frozen=True)
class PeaksResult(FileResult):
    """Peaks that were written. path: of the `peaks.h5`."""

    @cached_property
    def peaks(self) -> PeaksFile:
        """The peaks with their times in s, depths in µm and amplitudes; read once, when first asked for."""
        return read_peaks(self.path)


@dataclass(frozen=True)
class MotionResult(FileResult):
    """A motion that was written. path: of the `motion.h5`."""

    @cached_property
    def motion(self) -> dict[int, Motion]:
        """The motion of each shank, by its number; read once, when first asked for."""
        return read_motion(self.path).motions


@dataclass(frozen=True)
class AssessmentResult(FileResult):
    """Whether a motion helps. path: of the `assessment.h5`."""

    @property
    def verdict(self) -> str:
        """One of "helps", "no drift found", "unsure", "makes it worse"."""
        return str(self.facts["verdict"])

    @cached_property
    def assessment(self) -> Assessment:
        """Verdict, reasons, scores and expected errors of each shank; read once, when first asked for."""
        return read_assessment(self.path).assessment


@dataclass(frozen=True)
class CorrectedResult(_Result):
    """A corrected recording that was written.

    corrected_paths: its binary, or with `split` one for each file of the recording, in order of time.
    probe_path: the probe of these.
    """

    corrected_paths: tuple[Path, ...]
    probe_path: Path

    @property
    def corrected_path(self) -> Path:
        """The corrected binary, or the first of several."""
        return self.corrected_paths[0]


@dataclass(frozen=True)
class RunResult(CorrectedResult):
    """All that a run left.

    folder: of all outputs. peaks_path, motion_path: of `peaks.h5` and `motion.h5`. assessment_path, report_path: of
        `assessment.h5` and `report.html`, None where they were not wanted.
    facts: of each step by its name, `detect`, `estimate`, `assess`, `apply`, `plot`.
    """

    folder: Path
    peaks_path: Path
    motion_path: Path
    assessment_path: Path | None
    report_path: Path | None

    @cached_property
    def peaks(self) -> PeaksFile:
        """The peaks with their times in s, depths in µm and amplitudes; read once, when first asked for."""
        return read_peaks(self.peaks_path)

    @cached_property
    def motion(self) -> dict[int, Motion]:
        """The motion of each shank, by its number; read once, when first asked for."""
        return read_motion(self.motion_path).motions

    @property
    def verdict(self) -> str | None:
        """One of "helps", "no drift found", "unsure", "makes it worse"; None where nobody looked."""
        return self.facts["assess"]["verdict"] if "assess" in self.facts else None

    @cached_property
    def assessment(self) -> Assessment | None:
        """Verdict, reasons, scores and expected errors of each shank; None where nobody looked."""
        return None if self.assessment_path is None else read_assessment(self.assessment_path).assessment


@dataclass(frozen=True)
class SimulationResult:
    """A simulated recording that was written.

    folder: of all of it. recording_path, probe_path, truth_path: of `rec.bin`, `probe.json` and `truth.npz`.
    sampling_frequency: in Hz. gain_to_uv: µV per count. Both are to be told when `rec.bin` is opened.
    """

    folder: Path
    recording_path: Path
    probe_path: Path
    truth_path: Path
    sampling_frequency: float
    gain_to_uv: float

    @cached_property
    def truth(self) -> Truth:
        """The motion, the units and their spikes; read once, when first asked for."""
        return load_truth(self.truth_path)
