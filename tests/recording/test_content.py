"""Warnings on bytes that don't look like what they are read as, and silence on those that do."""

import numpy as np
import pytest

from driftcli.recording.open import open_recording
from make_raw import write_line_probe

NUM_COLUMNS = 9  # odd, so that 4-byte words run across columns
SHAPE = (4000, NUM_COLUMNS)


def told(folder, samples, reporter, num_columns=NUM_COLUMNS, **options):
    """What is said on opening the bytes of `samples`."""
    (folder / "rec.bin").write_bytes(np.ascontiguousarray(samples).tobytes())
    probe = write_line_probe(folder / "p.json", num_columns)
    open_recording(folder / "rec.bin", probe=probe, sampling_frequency_hz=30000, reporter=reporter, **options)
    return str(reporter)


def gaussian(sigma=1.0, offset=0.0, seed=0):
    """Noise with a slow wave in common, large spikes here and there, and a level of its own for each column."""
    random = np.random.default_rng(seed)
    values = random.normal(0, 1, SHAPE) + 3 * np.sin(np.arange(SHAPE[0]) / 300)[:, None]
    values[random.random(SHAPE) < 0.01] *= -15
    return sigma * values + offset


FLOATS = {
    "microvolts": gaussian(10),
    "volts": gaussian(1e-5),
    "millivolts": gaussian(1e-2),
    "standard units": gaussian(),
    "large": gaussian(1e4),
    "on an offset": gaussian(5, offset=2000),
    "scaled counts": np.round(gaussian(20)) * np.float32(0.195),
    "whole counts": np.round(gaussian(20)),
    "whole large counts": np.round(gaussian(2000)),
    "mostly zeros": np.where(np.arange(SHAPE[0])[:, None] % 20 == 0, gaussian(10), 0),
}
COUNTS = {
    "small": gaussian(5),
    "ordinary": gaussian(20),
    "14 bits": gaussian(500),
    "full range": gaussian(8000),
    "one bit": gaussian(0.3),
    "on a small offset": gaussian(20, offset=300),
    "on an offset": gaussian(20, offset=-5000),
    "on an offset as floats have": gaussian(20, offset=16256),
    "on a negative offset as floats have": gaussian(20, offset=-16500),
    "levels of all kinds": gaussian(20) + np.linspace(-30000, 30000, NUM_COLUMNS),
    "zeros": np.zeros(SHAPE),
    "uniform": np.random.default_rng(0).integers(-32768, 32768, SHAPE),
    "counter": np.arange(SHAPE[0] * SHAPE[1]).reshape(SHAPE) % 32768,
}


@pytest.mark.parametrize("name", FLOATS)
def test_floats_read_as_int16_are_seen(tmp_path, reporter, name):
    samples = FLOATS[name].astype("<f4")
    text = told(tmp_path, samples, reporter, num_columns=18)
    assert "read as int16, but its bytes look like float32" in text
    assert "give --dtype float32" in text


@pytest.mark.parametrize("name", FLOATS)
def test_floats_read_as_floats_are_not_taken_for_int16(tmp_path, reporter, name):
    text = told(tmp_path, FLOATS[name].astype("<f4"), reporter, dtype="float32")
    assert text == "" or (name in ("volts", "millivolts") and f"look like {name}" in text)


@pytest.mark.parametrize("name", COUNTS)
def test_int16_raises_no_alarm(tmp_path, reporter, name):
    samples = np.clip(np.round(COUNTS[name]), -32768, 32767).astype("<i2")
    assert told(tmp_path, samples, reporter) == ""


@pytest.mark.parametrize("name", ["small", "ordinary", "14 bits", "one bit", "on a small offset", "on an offset"])
def test_int16_read_as_floats_is_seen(tmp_path, reporter, name):
    samples = np.round(COUNTS[name]).astype("<i2")
    text = told(tmp_path, samples, reporter, dtype="float32")
    assert "read as float32, but its bytes look like int16" in text
    assert "give --dtype int16" in text
    assert len(reporter.texts) == 1


def test_missing_values_are_not_taken_for_int16(tmp_path, reporter):
    samples = gaussian(10).astype("<f4")
    samples[:3500] = np.nan
    assert told(tmp_path, samples, reporter, dtype="float32") == ""


def test_volts_are_seen_unless_a_gain_makes_them_microvolts(tmp_path, reporter):
    samples = gaussian(1e-5).astype("<f4")
    assert told(tmp_path, samples, reporter, dtype="float32", gain_to_uv=1e6) == ""
    assert "look like volts" in told(tmp_path, samples, reporter, dtype="float32")
    assert "give --gain-to-uv 1e6" in reporter.texts[-1]
    assert "give --gain-to-uv 1e3" in told(tmp_path, 1e3 * samples, reporter, dtype="float32")


def test_the_whole_length_is_looked_at(tmp_path, reporter):
    """Zeros at the start, as of a file that was allocated before recording began, hide nothing."""
    samples = np.vstack([np.zeros((20000, NUM_COLUMNS)), gaussian(10)]).astype("<f4")
    assert "look like float32" in told(tmp_path, samples, reporter, num_columns=18)


@pytest.mark.parametrize("num_samples", [1, 2, 3])
def test_short_files_raise_no_alarm(tmp_path, reporter, num_samples):
    samples = gaussian(20)[:num_samples].round().astype("<i2")
    assert told(tmp_path, samples, reporter) == ""
