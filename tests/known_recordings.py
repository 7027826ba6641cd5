"""Simulated recordings with known motion, and what can go wrong with recordings: test support."""

from functools import cache

import numpy as np

import small_recording
from driftcli.model import Motion
from driftcli.recording.open import open_recording
from driftcli.reporter import Reporter
from driftcli.simulate.simulate import SimulateParameters, Simulation
from driftcli.simulate.truth import error_against_truth
from driftcli.store.motion import read_motion
from driftcli.workflow.detect import detect
from driftcli.workflow.estimate import estimate
from driftcli.workflow.work import Work

RATE_HZ = 30_000
_DRIFTING = {"period_s": 20.0, "t_start_s": 0.0, "drift_um": 40.0, "non_rigid_gradient": 0.0}


@cache
def simulated(seed, num_channels=64, duration_s=40.0, **parameters):
    """(simulation, its (S, C) int16 samples, not to be written to) of one unit a contact, drifting by 40 µm."""
    given = {"num_units": num_channels, **_DRIFTING, **parameters}
    simulation = Simulation(SimulateParameters(seed=seed, num_channels=num_channels, duration_s=duration_s, **given))
    samples = np.concatenate(list(simulation.blocks()))
    samples.flags.writeable = False
    return simulation, samples


def opened(folder, samples, places, reporter=None, **probe):
    """The recording of samples, written to `folder`; of a list of them, one recording of a file each."""
    gain = SimulateParameters().gain_to_uv
    parts = samples if isinstance(samples, list) else [samples]
    files = [small_recording.write(folder, part, f"rec{i}", places=places, **probe) for i, part in enumerate(parts)]
    facts = {"sampling_frequency_hz": RATE_HZ, "gain_to_uv": gain, "reporter": reporter or Reporter()}
    return open_recording([binary for binary, _ in files], probe=files[0][1], concatenate=len(files) > 1, **facts)


def estimated(recording, settings, reporter=None, *, exclude_times=None, **options):
    """The motions of a recording; peaks.h5 and motion.h5 are beside it."""
    folder, work = recording.path.parent, Work(jobs=2, overwrite=True, reporter=reporter or Reporter())
    detect(recording, settings, folder / "peaks.h5", work, exclude_times=exclude_times)
    estimate(folder / "peaks.h5", settings, folder / "motion.h5", work, **options)
    return read_motion(folder / "motion.h5").motions


def error_um(motion: Motion, simulation: Simulation) -> float:
    """Mean error of a motion."""
    return error_against_truth(motion, simulation.truth)["mean_um"]


def spans_of(starts_s, length_s):
    return [(round(start * RATE_HZ), round((start + length_s) * RATE_HZ)) for start in starts_s]


def with_artifacts(samples, spans, seed=0):
    """Bursts that all contacts see, each with another gain: no common reference takes them off."""
    rng = np.random.default_rng(seed)
    gain = rng.uniform(0.3, 1.7, samples.shape[1])
    changed = samples.astype(np.int32)
    for start, stop in spans:
        time_s = np.arange(stop - start) / RATE_HZ
        burst = np.sin(2 * np.pi * 800 * time_s) * np.hanning(stop - start) + rng.normal(0, 0.3, stop - start)
        changed[start:stop] += (300 * np.outer(burst, gain)).astype(np.int32)
    return np.clip(changed, -32768, 32767).astype("<i2")


def with_zeros(samples, spans):
    """Zeros where samples were lost."""
    changed = samples.copy()
    for start, stop in spans:
        changed[start:stop] = 0
    return changed


def with_lines(samples, spans):
    """A line from the last value to the next one where samples were lost."""
    changed = samples.copy()
    for start, stop in spans:
        line = np.linspace(samples[start - 1], samples[stop], stop - start + 2)
        changed[start:stop] = np.rint(line[1:-1])
    return changed


def with_saturation(samples, spans, seed=0):
    """Most contacts at the end of the range."""
    changed = samples.copy()
    stuck = np.random.default_rng(seed).uniform(size=samples.shape[1]) < 0.6
    for start, stop in spans:
        changed[start:stop, stuck] = 32767
    return changed
