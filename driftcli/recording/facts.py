"""What an opened recording passes on to later verbs, and the way back."""

from __future__ import annotations

import json
from copy import deepcopy

from probeinterface import ProbeGroup

from driftcli.model import RecordingFacts
from driftcli.recording.recording import Recording


def facts_of(recording: Recording) -> RecordingFacts:
    """The facts that `peaks.h5` and `motion.h5` carry."""
    return RecordingFacts(
        sampling_frequency_hz=recording.sampling_frequency_hz,
        num_samples=recording.num_samples,
        num_columns=recording.num_columns,
        dtype=recording.dtype.name,
        offset_bytes=recording.offset_bytes,
        geometry=recording.geometry,
        columns=recording.columns,
        gain_to_uv=recording.gain_to_uv,
        probe_json=_to_json(recording.probegroup),
        breaks=recording.breaks,
        origin=recording.origin,
    )


def probe_of(facts: RecordingFacts) -> ProbeGroup:
    """The probe that `facts_of` put into text."""
    return ProbeGroup.from_dict(json.loads(facts.probe_json))


def _to_json(probegroup: ProbeGroup) -> str:
    # of a copy: probeinterface 0.4.2 turns the contact annotations of the probe itself into lists
    return json.dumps(deepcopy(probegroup).to_dict(array_as_list=True))
