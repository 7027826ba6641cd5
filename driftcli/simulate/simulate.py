"""Makes a drifting recording with its probe and its truth.

Units fire on their own, their spikes fall off with the distance to a contact, and the tissue moves along the probe:
each spike is computed at the very place its unit has at that moment. Noise and slow potentials come on top. The
recording is made in blocks, whose random numbers follow from the seed and the block alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from driftcli import model
from driftcli.files import atomic, refuse_existing, require_room, write_error
from driftcli.reporter import Reporter
from driftcli.simulate.dipoles import with_dendrites
from driftcli.simulate.drift import make_motion
from driftcli.simulate.noise import Noise
from driftcli.simulate.probe import contact_positions, write_probe
from driftcli.simulate.rates import draw_clocks
from driftcli.simulate.truth import Truth, save_truth
from driftcli.simulate.units import Spikes, Units, draw_spikes, draw_units

FILES = ("rec.bin", "probe.json", "rec.json", "truth.npz")
_BLOCK_SAMPLES = 30000


class SimulateParameters(model.Parameters):
    """What to simulate. The same parameters give the same files.

    num_channels: contacts of the probe, in the staggered columns of a Neuropixels 1.0, 20 um between rows.
    num_units: units, spread over the depth of the probe and of the tissue that moves in.
    depths: of the units, `uniform`, or `bimodal`: nearly all in two layers, with hardly any between and beyond.
    cells: `monopole` (one waveform everywhere, that falls off with the distance to the unit), or `dipole` (a soma and a
        dendrite with currents of opposite signs, up which the spike travels).
    firing_rate_hz: average over the units, which have half of it to half as much again.
    rates: `homogeneous` (even over time), or `modulated` (each depth bursts and falls silent at times of its own).
    noise_uv: standard deviation of the noise, partly shared by neighbouring contacts.
    slow_uv: size of the slow potentials (below 20 Hz), which a band-pass takes away.
    gain_to_uv: of one count of the int16 file.
    drift: `zigzag` (to and fro at a constant speed), `bumps` (sudden jumps), `random_walk`, or `none`.
    drift_um: from the lowest to the highest displacement, at the tip of the probe.
    period_s: of the zigzag; twice the average time between bumps; how long the random walk remembers where it was.
    bump_jitter: by which share of its average the time between two bumps differs from it at most.
    non_rigid_gradient: by which share the top of the probe moves less than its tip, 0 (rigid) to 1.
    t_start_s: when the drift begins.
    """

    duration_s: float = Field(60.0, gt=0)
    num_channels: int = Field(64, ge=1)
    num_units: int = Field(40, ge=0)
    depths: Literal["uniform", "bimodal"] = "uniform"
    cells: Literal["monopole", "dipole"] = "monopole"
    firing_rate_hz: float = Field(8.0, gt=0, le=200)
    rates: Literal["homogeneous", "modulated"] = "homogeneous"
    noise_uv: float = Field(8.0, ge=0)
    slow_uv: float = Field(100.0, ge=0)
    sampling_frequency_hz: float = Field(30000.0, gt=0)
    gain_to_uv: float = Field(2.34375, gt=0)
    drift: Literal["none", "zigzag", "bumps", "random_walk"] = "zigzag"
    drift_um: float = Field(40.0, ge=0)
    period_s: float = Field(40.0, ge=1)
    bump_jitter: float = Field(0.3, ge=0, le=0.9)
    non_rigid_gradient: float = Field(0.2, ge=0, le=1)
    t_start_s: float = Field(10.0, ge=0)
    seed: int = Field(0, ge=0)

    @property
    def num_samples(self) -> int:
        """Length of the recording in samples."""
        return max(round(self.duration_s * self.sampling_frequency_hz), 1)


class Simulation:
    """All that is drawn before the first sample: the probe, the units, their spikes and the motion."""

    def __init__(self, parameters: SimulateParameters) -> None:
        self.parameters = parameters
        self.positions_um = contact_positions(parameters.num_channels)
        low_um, high_um = float(self.positions_um[:, 1].min()), float(self.positions_um[:, 1].max())
        self.motion = make_motion(
            parameters.drift,
            drift_um=parameters.drift_um,
            period_s=parameters.period_s,
            bump_jitter=parameters.bump_jitter,
            gradient=parameters.non_rigid_gradient,
            span_s=(parameters.t_start_s, parameters.duration_s),
            span_um=(low_um, high_um),
            rng=self._rng(0),
        )
        self.units = self._units()
        self.spikes = self._spikes()
        self._noise = Noise(self.positions_um, parameters.noise_uv, parameters.slow_uv, self._rng(3))

    def _units(self) -> Units:
        parameters, rate_hz = self.parameters, self.parameters.sampling_frequency_hz
        beyond_um = parameters.drift_um / 2
        units = draw_units(parameters.num_units, parameters.depths, self.positions_um, beyond_um, rate_hz, self._rng(1))
        return units if parameters.cells == "monopole" else with_dendrites(units, rate_hz, self._rng(6))

    def _spikes(self) -> Spikes:
        parameters, clocks = self.parameters, None
        if parameters.rates == "modulated":
            clocks = draw_clocks(self.units.positions_um[:, 1], parameters.duration_s, self._rng(5))
        return draw_spikes(
            parameters.num_units,
            parameters.firing_rate_hz,
            parameters.num_samples,
            parameters.sampling_frequency_hz,
            self._rng(2),
            clocks,
        )

    @property
    def truth(self) -> Truth:
        """What an estimate should find."""
        return Truth(
            self.motion, self.units.positions_um, self.units.amplitude_uv, self.spikes.sample_index, self.spikes.unit
        )

    def blocks(self) -> Iterator[NDArray[np.int16]]:
        """The recording in order of time: counts (samples, channels)."""
        for index in range(-(-self.parameters.num_samples // _BLOCK_SAMPLES)):
            counts = np.rint(self.block_uv(index) / np.float32(self.parameters.gain_to_uv))
            yield np.clip(counts, -32768, 32767).astype("<i2")

    def block_uv(self, index: int) -> NDArray[np.float32]:
        """One block of traces in uV, the same whichever blocks were made before."""
        first = index * _BLOCK_SAMPLES
        last = min(first + _BLOCK_SAMPLES, self.parameters.num_samples)
        time_s = np.arange(first, first + _BLOCK_SAMPLES) / self.parameters.sampling_frequency_hz
        traces = self._noise(time_s, self._rng(4, index))[: last - first]
        self._add_spikes(traces, first, last)
        return traces

    def _add_spikes(self, traces: NDArray[np.float32], first: int, last: int) -> None:
        spikes = self.spikes.that_reach(first, last, self.units.before, self.units.after)
        time_s = spikes.sample_index / self.parameters.sampling_frequency_hz
        displacement_um = self.motion.at(time_s, self.units.positions_um[spikes.unit, 1])
        self.units.add(traces, first, spikes, displacement_um, self.positions_um)

    def _rng(self, *stream: int) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence(self.parameters.seed, spawn_key=stream)))


def simulate(
    out_dir: Path | str, parameters: SimulateParameters, reporter: Reporter, overwrite: bool = False
) -> Simulation:
    """Write rec.bin (int16, samples x channels), probe.json, rec.json and truth.npz into the folder `out_dir`.

    rec.json says how to read rec.bin: sampling_frequency_hz, num_channels, num_samples, gain_to_uv, dtype.

    Raises OutputError if any of them exists and `overwrite` is not set, and if there is no room or no permission.
    """
    out_dir = Path(out_dir)
    for name in FILES:
        refuse_existing(out_dir / name, overwrite)
    require_room(out_dir, 2 * parameters.num_samples * parameters.num_channels)
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(out_dir, error) from error
    simulation = Simulation(parameters)
    _write_recording(out_dir / "rec.bin", simulation, reporter)
    write_probe(out_dir / "probe.json", simulation.positions_um)
    _write_facts(out_dir / "rec.json", parameters)
    save_truth(out_dir / "truth.npz", simulation.truth)
    return simulation


def _write_recording(path: Path, simulation: Simulation, reporter: Reporter) -> None:
    total_s = simulation.parameters.num_samples / simulation.parameters.sampling_frequency_hz
    done_s = 0.0
    with atomic(path) as part, part.open("wb") as file:
        for block in simulation.blocks():
            file.write(block.tobytes())
            done_s += len(block) / simulation.parameters.sampling_frequency_hz
            reporter.progress("simulate", done_s, total_s, done_s)


def _write_facts(path: Path, parameters: SimulateParameters) -> None:
    facts = {
        "sampling_frequency_hz": parameters.sampling_frequency_hz,
        "num_channels": parameters.num_channels,
        "num_samples": parameters.num_samples,
        "gain_to_uv": parameters.gain_to_uv,
        "dtype": "int16",
    }
    with atomic(path) as part:
        part.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
