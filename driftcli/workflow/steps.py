"""From a preset's stages to the callables that the stream runs."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from driftcli.catalogue import WORK_ON_TRACES
from driftcli.errors import UsageError
from driftcli.model import GOOD, ApplyParameters, Settings
from driftcli.recording.recording import Recording
from driftcli.workflow.stream import Step

PREPROCESS_STAGES = ("shift", "filter", "bad_channels", "reference")
DETECT_STAGES = (*PREPROCESS_STAGES, "mask", "detect", "select", "localize")
ESTIMATE_STAGES = ("estimate",)
TRACES_STAGES = ("shift", "bad_channels", "estimate")  # of an estimate that works on traces
BEFORE_APPLY = ("mask", "detect", "select", "localize", "estimate")
APPLY_STAGES = (*PREPROCESS_STAGES, "interpolate", "apply")


def works_on_traces(settings: Settings) -> bool:
    """Whether the estimate takes the recording itself instead of its peaks."""
    return settings["estimate"].method in WORK_ON_TRACES


def refuse_traces(settings: Settings, but: str, hint: str) -> None:
    """Raise UsageError where the estimate doesn't work on peaks. but: what asks for peaks, as `assess works on`."""
    if works_on_traces(settings):
        raise UsageError(f"the method {settings['estimate'].method} works on a recording, and {but} peaks", hint)


def preprocess_steps(settings: Settings, recording: Recording, labels: NDArray[np.uint8] | None = None) -> list[Step]:
    """The steps that are switched on, in their order; the phase shift only where there is something to shift.

    labels: (C,) what is wrong with contacts, which the reference then leaves out; None: they are all good.
    """
    context = (recording.geometry, recording.sampling_frequency_hz)
    steps = _shift_step(settings, recording)
    if settings["filter"].method != "none":
        steps.append(settings["filter"].module.Step(settings["filter"].parameters, *context))
    if settings["reference"].method != "none":
        used = None if labels is None else labels == GOOD
        steps.append(settings["reference"].module.Step(settings["reference"].parameters, *context, used))
    return steps


def _shift_step(settings: Settings, recording: Recording) -> list[Step]:
    stage, shifts = settings["shift"], recording.sample_shifts.fractions
    return [] if stage.method == "none" or shifts is None else [stage.module.Step(stage.parameters, shifts)]


def phase_shift_of_steps(settings: Settings, recording: Recording) -> dict[str, Any]:
    """For `run.json`: whether the steps line the channels up in time, and from what they know how or why they don't."""
    applied = bool(_shift_step(settings, recording))
    off = settings["shift"].method == "none" and recording.sample_shifts.fractions is not None
    return {"applied": applied, "reason": "switched off" if off else recording.sample_shifts.reason}


def phase_shift_facts(settings: Settings, recording: Recording) -> dict[str, Any]:
    """The same of the corrected recording, whose signal may be the one without the steps."""
    facts = phase_shift_of_steps(settings, recording)
    if facts["applied"] and cast(ApplyParameters, settings["apply"].parameters).signal == "raw":
        return {"applied": False, "reason": "the raw signal is corrected"}
    return facts


def lined_up(settings: Settings, recording: Recording) -> bool:
    """Whether the channels of the corrected recording are lined up in time, by this correction or before."""
    return recording.sample_shifts.lined_up or bool(phase_shift_facts(settings, recording)["applied"])


def warning_of_shifts(settings: Settings, recording: Recording) -> str | None:
    """What the next tool must not do to the corrected recording; None where it may."""
    if recording.meta is None or not lined_up(settings, recording):
        return None
    return (
        "the channels of the corrected recording are lined up in time: don't do it again (SpikeInterface offers "
        "inter_sample_shift for every SpikeGLX file, so leave its phase_shift away; give CatGT -no_tshift)"
    )
