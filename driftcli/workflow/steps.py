"""From a preset's stages to the callables that the stream runs."""

from __future__ import annotations

from driftcli.model import Settings
from driftcli.recording.recording import Recording
from driftcli.workflow.stream import Step

PREPROCESS_STAGES = ("filter", "reference")
DETECT_STAGES = (*PREPROCESS_STAGES, "detect", "select", "localize")
ESTIMATE_STAGES = ("estimate",)
BEFORE_APPLY = ("detect", "select", "localize", "estimate")
APPLY_STAGES = (*PREPROCESS_STAGES, "interpolate", "apply")


def preprocess_steps(settings: Settings, recording: Recording) -> list[Step]:
    """The steps that are switched on, in their order."""
    stages = (settings[name] for name in PREPROCESS_STAGES)
    return [
        stage.module.Step(stage.parameters, recording.geometry, recording.sampling_frequency_hz)
        for stage in stages
        if stage.method != "none"
    ]
