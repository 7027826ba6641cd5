"""A small drifting recording, and a way to run verbs on it."""

import numpy as np
import pytest

import small_recording
from driftcli import presets
from driftcli.recording.open import open_recording
from driftcli.reporter import Reporter
from driftcli.workflow.run import run
from driftcli.workflow.work import Work

CHANGES = ("estimate.bin_s=0.5", "detect.detect_threshold=6")


class Listening(Reporter):
    """Keeps what it is told."""

    def __init__(self):
        self.messages = []

    def message(self, text):
        self.messages.append(text)


@pytest.fixture
def reporter():
    return Listening()


@pytest.fixture(scope="session")
def drifting():
    """(S, C) int16, 2.9 s of 24 contacts: several blocks, the last one short."""
    return small_recording.samples(87_001)


@pytest.fixture
def run_verbs(tmp_path):
    """Correct data in `tmp_path/name`; returns the folder of the outputs."""

    def correct(data, name, *, changes=(), dtype=None, preset="rigid_fast", reporter=None, work=None, **probe):
        reporter = reporter or Reporter()
        binary, probe_file = small_recording.write(tmp_path / name, data, **probe)
        file_dtype = np.asarray(data).dtype.name
        gain = small_recording.GAIN_TO_UV
        recording = open_recording(binary, probe=probe_file, dtype=file_dtype, gain_to_uv=gain, reporter=reporter)
        settings = presets.load(preset, [*CHANGES, *changes])
        run(recording, settings, tmp_path / name / "out", work or Work(jobs=2, reporter=reporter), dtype=dtype)
        return tmp_path / name / "out"

    return correct
