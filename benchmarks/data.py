"""What the table is measured on: recordings, and peaks for the estimate alone, made where they aren't there yet."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from reference import GAIN_TO_UV, SCENARIOS, Scenario
from scipy.signal import lfilter

from driftcli.model import Motion

HERE = Path(__file__).parent
SPAN_UM, UNIT_PITCH_UM = 3840.0, 15.0  # a Neuropixels 1.0 bank
PEAKS_PER_S = SPAN_UM / 12
JITTER_UM = 4.0  # of a peak's depth about its unit's
STRETCH_S = 1000  # peaks drawn at once
MEMORY_S = 2000.0  # in which the tissue's displacement mostly comes back


def make_recording(folder: Path, name: str, seconds: float, peer: str) -> Path:
    """A folder with rec.bin, probe.json and rec.json; from the peer's generator, or driftcli's if there is no peer."""
    data = folder / f"{name if peer else f'simulated-{name}'}-{seconds:g}s"
    if not (data / "rec.json").exists():
        print(f"making {data}", file=sys.stderr, flush=True)
        if peer:
            command = [peer, str(HERE / "reference.py"), str(data), "--scenario", name, "--seconds", str(seconds)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        else:
            simulate(data, SCENARIOS[name].lasting(seconds))
    return data


def simulate(data: Path, scenario: Scenario) -> None:
    """About the scenario: driftcli has its own units, and their rates lie closer together."""
    values = {
        "duration-s": scenario.seconds,
        "num-channels": scenario.channels,
        "num-units": scenario.units,
        "firing-rate-hz": sum(scenario.rates_hz) / 2,
        "drift-um": 2 * scenario.reach_um,
        "period-s": max(scenario.period_s, 1.0),
        "t-start-s": scenario.start_s,
        "non-rigid-gradient": 0.0 if scenario.gradient is None else 1 - scenario.gradient,
        "gain-to-uv": GAIN_TO_UV,
        "seed": scenario.seed,
    }
    options = [text for name, value in values.items() for text in (f"--{name}", str(value))]
    subprocess.run([sys.executable, "-m", "driftcli", "simulate", str(data), *options, "--quiet"], check=True)
    facts = json.loads((data / "rec.json").read_text())
    # a run that was cut short right here has left the benchmark's own facts
    write_facts(data, scenario.channels, facts.get("sampling_frequency_hz") or facts["sampling_frequency"])


def write_facts(data: Path, channels: int, rate_hz: float) -> None:
    facts = {"sampling_frequency": rate_hz, "num_channels": channels, "gain_to_uV": GAIN_TO_UV, "dtype": "int16"}
    (data / "rec.json").write_text(json.dumps(facts))


def first_part(data: Path, share: float, part: Path) -> Path:
    """The beginning of a recording as a recording of its own."""
    part.mkdir(exist_ok=True)
    for name in ("probe.json", "rec.json"):
        shutil.copyfile(data / name, part / name)
    traces = np.memmap(data / "rec.bin", "<i2", "r").reshape(-1, facts_of(data)["num_channels"])
    traces[: round(share * len(traces))].tofile(part / "rec.bin")
    return part


def facts_of(data: Path) -> dict:
    return json.loads((data / "rec.json").read_text())


def duration_s(data: Path) -> float:
    facts = facts_of(data)
    frame_bytes = facts["num_channels"] * np.dtype(facts["dtype"]).itemsize
    return (data / "rec.bin").stat().st_size / frame_bytes / facts["sampling_frequency"]


def make_peaks(folder: Path, seconds: int) -> Path:
    """An .npz with time_s, depth_um, amplitude_uv and the truth: displacement, temporal_bins_s, spatial_bins_um."""
    path = folder / f"peaks-{seconds}s.npz"
    if not path.exists():
        print(f"making {path}", file=sys.stderr, flush=True)
        part = path.with_suffix(".part.npz")
        np.savez(part, **drifting_peaks(seconds))
        part.replace(path)
    return path


def drifting_peaks(seconds: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Peaks of units all along a bank, whose rates change slowly and whose amplitudes differ, in order of time."""
    rng = np.random.default_rng(seed)
    truth = true_motion(seconds, rng)
    count = round(SPAN_UM / UNIT_PITCH_UM)
    depth_um, amplitude_uv = rng.uniform(0, SPAN_UM, count), rng.lognormal(np.log(90), 0.45, count)
    rate_hz = rng.lognormal(0, 0.7, count)
    rate_hz *= PEAKS_PER_S / rate_hz.sum()
    period_s, phase = rng.uniform(600, 3000, count), rng.uniform(0, 2 * np.pi, count)
    columns = []
    for start in range(0, seconds, STRETCH_S):
        second = np.arange(start, min(start + STRETCH_S, seconds))
        slowly = np.exp(0.4 * np.sin(2 * np.pi * second[:, None] / period_s + phase))
        fired = rng.poisson(rate_hz * slowly)
        at, unit = (np.repeat(index, fired.ravel()) for index in np.indices(fired.shape).reshape(2, -1))
        time_s = second[at] + rng.uniform(0, 1, len(at))
        order = np.argsort(time_s)
        time_s, unit = time_s[order], unit[order]
        moved_um = depth_um[unit] + truth.at(time_s, depth_um[unit]) + rng.normal(0, JITTER_UM, len(unit))
        sizes_uv = -np.abs(amplitude_uv[unit] * rng.normal(1, 0.12, len(unit)))
        columns.append((time_s, moved_um.astype(np.float32), sizes_uv.astype(np.float32)))
    joined = map(np.concatenate, zip(*columns, strict=True))
    return {
        **dict(zip(("time_s", "depth_um", "amplitude_uv"), joined, strict=True)),
        "displacement": truth.displacement_um,
        "temporal_bins_s": truth.temporal_bins_s,
        "spatial_bins_um": truth.spatial_bins_um,
    }


def true_motion(seconds: int, rng: np.random.Generator) -> Motion:
    """A slow walk and a sudden step about every 900 s; the top of the bank moves 40 % as much as the tip."""
    steps = rng.uniform(-6, 6, seconds) * (rng.uniform(0, 1, seconds) < 1 / 900)
    tip_um = lfilter([1.0], [1.0, -np.exp(-1 / MEMORY_S)], rng.normal(0, 0.25, seconds) + steps)
    depths_um = np.linspace(0, SPAN_UM, 9)
    return Motion(tip_um[:, None] * np.linspace(1.0, 0.4, 9), np.arange(0.5, seconds), depths_um)


def length_s(peaks: Path) -> int:
    """Length of the recording that peaks are from, in whole seconds."""
    with np.load(peaks) as arrays:
        return int(np.ceil(arrays["time_s"][-1]))


def span_um(peaks: Path) -> tuple[float, float]:
    """Depths that hold all peaks, in steps of a probe's contacts."""
    with np.load(peaks) as arrays:
        depth_um = arrays["depth_um"]
    return float(np.floor(depth_um.min() / 20) * 20), float(np.ceil(depth_um.max() / 20) * 20)


def error_um(motion: Motion, peaks: Path) -> float:
    """Mean distance from the truth, less the median difference, as drift has no absolute zero."""
    with np.load(peaks) as truth:
        true, times_s, depths_um = (truth[name] for name in ("displacement", "temporal_bins_s", "spatial_bins_um"))
    difference_um = motion.at(times_s[:, None], depths_um) - true
    return float(np.abs(difference_um - np.median(difference_um)).mean())
