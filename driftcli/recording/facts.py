"""What an opened recording passes on to later verbs, and the way back."""

from __future__ import annotations

import json
from copy import deepcopy

import numpy as np
from numpy.typing import NDArray
from probeinterface import ProbeGroup

from driftcli.model import RecordingFacts
from driftcli.recording.probe import probe_of_json
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
        files=_files(recording),
    )


def _files(recording: Recording) -> NDArray[np.int64]:
    """(F, 2) where files begin, here and as acquired; those that go on where the one before ends tell nothing new."""
    known = [(part.start, -1 if part.first_sample is None else part.first_sample) for part in recording.parts]
    return np.array([each for each in known if each[0] in (0, *recording.breaks.tolist())], dtype=np.int64)


def probe_of(facts: RecordingFacts) -> ProbeGroup:
    """The probe that `facts_of` put into text. Raises InputError where the text is another one."""
    return probe_of_json(facts.probe_json, "the probe in the file of peaks or motion")


def _to_json(probegroup: ProbeGroup) -> str:
    # of a copy: probeinterface 0.4.2 turns the contact annotations of the probe itself into lists
    return json.dumps(deepcopy(probegroup).to_dict(array_as_list=True))
