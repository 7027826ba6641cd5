"""Small raw recordings for tests: spikes of units on a two-column probe that drift, in noise."""

from pathlib import Path

import numpy as np
from probeinterface import Probe, ProbeGroup, write_probeinterface

RATE_HZ = 30_000.0
GAIN_TO_UV = 2.34375


def positions_um(num_contacts: int) -> np.ndarray:
    """Two staggered columns 32 µm apart, a contact every 10 µm of depth."""
    contact = np.arange(num_contacts)
    return np.column_stack([np.where(contact % 2, 32.0, 0.0), contact * 10.0])


def samples(num_samples: int, num_contacts: int = 24, seed: int = 0, drift_um: float = 15.0) -> np.ndarray:
    """(S, C) int16 counts: noise, slow waves, an offset per contact, and units that move by a slow sine."""
    rng = np.random.default_rng(seed)
    places = positions_um(num_contacts)
    time_s = np.arange(num_samples) / RATE_HZ
    traces = rng.normal(0, 4, (num_samples, num_contacts)) + rng.integers(-40, 40, num_contacts)
    traces += 30 * np.sin(2 * np.pi * 5 * time_s)[:, None]
    shape = np.exp(-0.5 * ((np.arange(40) - 12) / 3.0) ** 2) - 0.4 * np.exp(-0.5 * ((np.arange(40) - 22) / 6.0) ** 2)
    count = max(1, int(num_samples / RATE_HZ * 12))
    for unit_y in np.linspace(20, places[:, 1].max() - 20, max(3, num_contacts // 4)):
        unit_x, peak = rng.uniform(5, 27), rng.uniform(80, 250)
        for start in rng.integers(0, max(1, num_samples - 40), count):
            depth = unit_y + drift_um * np.sin(2 * np.pi * start / num_samples)
            distance = np.hypot(np.hypot(places[:, 0] - unit_x, places[:, 1] - depth), 10.0)
            length = min(40, num_samples - start)
            traces[start : start + length] -= np.outer(shape[:length], peak * (12.0 / distance) ** 1.2)
    return np.clip(np.rint(traces), -32768, 32767).astype("<i2")


def write_probe_file(path: Path, places: np.ndarray, columns: np.ndarray, shank_ids: list[str] | None = None) -> Path:
    probe = Probe(ndim=2, si_units="um")
    probe.set_contacts(positions=places, shapes="circle", shape_params={"radius": 5}, shank_ids=shank_ids)
    probe.set_device_channel_indices(columns)
    group = ProbeGroup()
    group.add_probe(probe)
    write_probeinterface(path, group)
    return path


def write(folder: Path, data: np.ndarray, name: str = "rec", **probe) -> tuple[Path, Path]:
    """Write `name.bin` and its probe `name.json`; contact i on column i unless `columns` says otherwise."""
    folder.mkdir(parents=True, exist_ok=True)
    binary = folder / f"{name}.bin"
    binary.write_bytes(np.ascontiguousarray(data).tobytes())
    columns = probe.pop("columns", np.arange(data.shape[1]))
    places = probe.pop("places", positions_um(len(columns)))
    return binary, write_probe_file(folder / f"{name}.json", places, columns, **probe)
