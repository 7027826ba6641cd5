"""`assessment.h5`: what was found out about a motion, one group a shank."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from driftcli.bounded import parse_json
from driftcli.model import VERDICTS, Assessment, Motion, Scores, Settings, ShankAssessment
from driftcli.store import checked, schema

_COUNTS = ("peaks", "jumps", "unsupported_jumps")
_MOST_REASONS = 100


@dataclass(frozen=True)
class AssessmentFile:
    """All that `assessment.h5` holds. motion_sha256: of the file of the motion that it is about."""

    assessment: Assessment
    preset: dict[str, Any]
    motion_sha256: str


def write_assessment(
    path: Path, assessment: Assessment, motions: dict[int, Motion], settings: Settings, motion_sha256: str
) -> None:
    """Write `assessment.h5`. motions: those that were assessed, whose bins the expected errors are on."""
    with schema.create(path, "assessment", settings.to_dict()) as file:
        file.attrs["motion_sha256"] = motion_sha256
        _put_words(file, assessment.verdict, assessment.reasons)
        for shank, of_shank in sorted(assessment.shanks.items()):
            group, motion = file.create_group(f"shank{shank}"), motions[shank]
            _put_words(group, of_shank.verdict, of_shank.reasons)
            for name, value in asdict(of_shank.scores).items():
                if value is not None:
                    group.attrs[name] = value
            described = "expected error of the motion, as a standard deviation: temporal bins x spatial windows"
            schema.put(group, "error_um", of_shank.error_um, "um", described)
            described = "motion that is found in the corrected peaks: temporal bins x spatial windows"
            schema.put(group, "residual_um", of_shank.residual_um, "um", described)
            schema.put(group, "temporal_bins_s", motion.temporal_bins_s, "s", "centres of the temporal bins")
            schema.put(group, "spatial_bins_um", motion.spatial_bins_um, "um", "centres of the spatial windows")


def read_assessment(path: Path) -> AssessmentFile:
    """Read `assessment.h5`. Raises InputError when the file is not what it should be."""
    with schema.opened(path, "assessment") as file:
        numbers = [int(name.removeprefix("shank")) for name in file if schema.SHANK.fullmatch(str(name))]
        shanks = {number: _shank(checked.subgroup(file, f"shank{number}")) for number in sorted(numbers)}
        assessment = Assessment(*_words(file), shanks)
        return AssessmentFile(assessment, schema.get_preset(file), checked.word(file, "motion_sha256"))


def _put_words(group: h5py.Group, verdict: str, reasons: tuple[str, ...]) -> None:
    group.attrs["verdict"], group.attrs["reasons"] = verdict, json.dumps(reasons, ensure_ascii=False)


def _words(group: h5py.Group) -> tuple[str, tuple[str, ...]]:
    verdict, reasons = checked.word(group, "verdict"), parse_json(checked.word(group, "reasons"))
    if verdict not in VERDICTS:
        raise ValueError("its verdict is none")
    if not isinstance(reasons, list) or len(reasons) > _MOST_REASONS or not all(isinstance(r, str) for r in reasons):
        raise ValueError("its reasons are none")
    return verdict, tuple(reasons)


def _shank(group: h5py.Group) -> ShankAssessment:
    error_um, residual_um = (checked.array(group, name, "f", 2, float) for name in ("error_um", "residual_um"))
    bins = tuple(len(checked.array(group, name, "f", 1, float)) for name in ("temporal_bins_s", "spatial_bins_um"))
    if error_um.shape != bins or residual_um.shape != bins or np.isinf(error_um).any() or np.isinf(residual_um).any():
        raise ValueError("its errors are not those of its bins")
    return ShankAssessment(*_words(group), _scores(group), error_um, residual_um)


def _scores(group: h5py.Group) -> Scores:
    values: dict[str, Any] = {field.name: None for field in fields(Scores)}
    for name in values:
        if name in group.attrs:
            values[name] = checked.integer(group, name) if name in _COUNTS else checked.number(group, name)
    if any(values[name] is None for name in ("peaks", "range_um", "at_limit", "leaving", "jumps")):
        raise KeyError("a score is missing")
    return Scores(**values)
