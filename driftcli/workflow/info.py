"""info: what a recording is, what is wrong with it, and what a run would cost. Writes nothing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftcli.mask.spans import merged, shares
from driftcli.model import GOOD, MASK_REASONS, Mask, Settings
from driftcli.preprocess.noise import noise_slices
from driftcli.recording.join import between
from driftcli.recording.recording import Recording
from driftcli.reporter import Reporter
from driftcli.workflow.contacts import any_labels_of
from driftcli.workflow.cost import Looked, cost_of
from driftcli.workflow.describe import describe, describe_bad, describe_probe
from driftcli.workflow.estimate import Shanks, foresee_memory
from driftcli.workflow.outputs import default_name, outputs_of
from driftcli.workflow.peak_finder import Noise, PeakFinder, noise_of
from driftcli.workflow.steps import refuse_traces
from driftcli.workflow.stream import Span
from driftcli.workflow.work import Work


def info(
    recording: Recording,
    settings: Settings,
    folder: Path,
    work: Work,
    *,
    full: bool = False,
    dtype: str | None = None,
    shanks: Shanks = "each",
) -> dict[str, Any]:
    """Look at a recording and say what it is, in plain data.

    full: look at all of it for spans to be left out of the estimate, and list them; else at slices spread over it.
    folder, dtype, shanks: those of the run whose cost is foreseen. Where no contact is good, there would be none:
    `noise`, `mask` and `cost` are None.

    Raises UsageError where a run would before it begins.
    """
    refuse_traces(
        settings, "info foresees a run with", "take another preset: what is said of the recording is the same"
    )
    outputs_of(recording, folder / default_name(recording), dtype)
    foresee_memory(recording, settings, replace(work, reporter=Reporter()), shanks)
    labels, looked = look(recording, settings, work)
    facts: dict[str, Any] = {
        "recording": describe(recording, settings),
        "probe": describe_probe(recording, labels),
        "bad_channels": describe_bad(recording, labels),
        "preset": settings.to_dict(),
    }
    if looked is None:
        return {**facts, "noise": None, "mask": None, "cost": None}
    return {
        **facts,
        "noise": _describe_noise(recording, looked.noise),
        "mask": _mask(recording, settings, looked, work, full),
        "cost": cost_of(recording, settings, looked, folder, work, dtype=dtype, shanks=shanks),
    }


def look(recording: Recording, settings: Settings, work: Work) -> tuple[NDArray[np.uint8], Looked | None]:
    """What a run begins with: the labels (C,) of the contacts, and all of it if any of them is good."""
    _warm_up(recording, settings, work)
    began = time.perf_counter()
    labels = any_labels_of(recording, settings, work)
    if (labels != GOOD).all():
        return labels, None
    noise = _noise(recording, settings, labels, work)
    return labels, Looked(labels, noise, time.perf_counter() - began)


def _warm_up(recording: Recording, settings: Settings, work: Work) -> None:
    """Compile and load the kernels of the first two stages, whose time is to be that of their work."""
    slices = noise_slices(recording.num_samples, recording.sampling_frequency_hz)
    start_s, stop_s = (sample / recording.sampling_frequency_hz for sample in slices[len(slices) // 2])
    view, quiet = between(recording, start_s, min(stop_s, recording.duration_s)), replace(work, reporter=Reporter())
    any_labels_of(view, settings, quiet)
    noise_of(view, settings, quiet)


def _noise(recording: Recording, settings: Settings, labels: NDArray[np.uint8], work: Work) -> Noise:
    return noise_of(recording.only(np.flatnonzero(labels == GOOD)), settings, work)


def _describe_noise(recording: Recording, noise: Noise) -> dict[str, Any]:
    """Of the preprocessed traces of the good contacts."""
    return {
        "unit": "file units" if recording.gain_to_uv is None else "uV",
        "median": float(np.median(noise.levels)),
        "lowest": float(noise.levels.min()),
        "highest": float(noise.levels.max()),
    }


def _mask(recording: Recording, settings: Settings, looked: Looked, work: Work, full: bool) -> dict[str, Any] | None:
    """Shares of the time looked at that the estimate would leave out; None where the preset doesn't look."""
    if settings["mask"].method == "none":
        return None
    finder = PeakFinder(recording, settings, looked.labels, looked.noise, work)
    slices = noise_slices(recording.num_samples, recording.sampling_frequency_hz)
    spans = finder.blocks() if full else [finder.unbroken(span) for span in slices]
    mask = finder.look(spans)
    mask, samples = mask if full else _within(mask, spans), sum(stop - start for start, stop in spans)
    times_s = mask.in_seconds(recording.sampling_frequency_hz).tolist()
    return {
        "full": full,
        "looked_at_s": samples / recording.sampling_frequency_hz,
        "looked_at_share": samples / recording.num_samples,
        "slices": None if full else len(spans),
        "share": shares(mask, samples),
        "spans": [
            {"reason": MASK_REASONS[reason], "start_s": start_s, "stop_s": stop_s}
            for reason, (start_s, stop_s) in zip(mask.reasons.tolist(), times_s, strict=True)
        ]
        if full
        else None,
    }


def _within(mask: Mask, spans: Sequence[Span]) -> Mask:
    """What of a mask lies in disjoint spans."""
    parts = [replace(mask, starts=np.clip(mask.starts, *span), stops=np.clip(mask.stops, *span)) for span in spans]
    return merged(parts)
