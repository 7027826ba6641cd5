"""driftcli simulate"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from driftcli.cli.options import WorkOptions, grouped
from driftcli.units import count_of, seconds


def _option(text: str) -> typer.models.OptionInfo:
    return typer.Option(help=text, rich_help_panel="Simulation")


@dataclass(frozen=True)
class SimulationOptions:
    """What to simulate; what is not given stays as driftcli.simulate says."""

    duration_s: Annotated[float | None, _option("Length in s. (default: 60)")] = None
    num_channels: Annotated[int | None, _option("Contacts, as on a Neuropixels 1.0. (default: 64)")] = None
    num_units: Annotated[int | None, _option("Units along the probe. (default: 40)")] = None
    depths: Annotated[str | None, _option("Of the units: uniform or bimodal. (default: uniform)")] = None
    cells: Annotated[str | None, _option("Units as monopole or dipole. (default: monopole)")] = None
    firing_rate_hz: Annotated[float | None, _option("Mean rate of the units. (default: 8)")] = None
    rates: Annotated[str | None, _option("Over time: homogeneous or modulated. (default: homogeneous)")] = None
    noise_uv: Annotated[float | None, _option("Standard deviation of the noise. (default: 8)")] = None
    slow_uv: Annotated[float | None, _option("Size of the slow potentials. (default: 100)")] = None
    sampling_frequency_hz: Annotated[float | None, _option("Samples per second. (default: 30000)")] = None
    gain_to_uv: Annotated[float | None, _option("µV per count. (default: 2.34375)")] = None
    drift: Annotated[str | None, _option("zigzag, bumps, random_walk or none. (default: zigzag)")] = None
    drift_um: Annotated[float | None, _option("Range of the displacement at the tip. (default: 40)")] = None
    period_s: Annotated[float | None, _option("Of the zigzag, and pace of bumps and walk. (default: 40)")] = None
    bump_jitter: Annotated[
        float | None, _option("By which share times between bumps differ from their mean. (default: 0.3)")
    ] = None
    non_rigid_gradient: Annotated[
        float | None, _option("By which share the top moves less than the tip; 0 is rigid. (default: 0.2)")
    ] = None
    t_start_s: Annotated[float | None, _option("When the drift begins. (default: 10)")] = None
    seed: Annotated[int | None, _option("Another seed, another recording. (default: 0)")] = None


@grouped
def simulate(
    out: Annotated[Path, typer.Argument(help="Folder to make.", show_default=False)],
    simulation: SimulationOptions,
    options: WorkOptions,
) -> None:
    """Make a drifting recording with known truth: rec.bin, rec.json, probe.json and truth.npz.

    Examples:
        driftcli simulate demo
        driftcli simulate demo --drift bumps --duration-s 120 --seed 3
        driftcli simulate demo --depths bimodal --rates modulated --cells dipole
    """
    from driftcli import presets
    from driftcli.simulate.simulate import SimulateParameters
    from driftcli.simulate.simulate import simulate as make

    given = {name: value for name, value in asdict(simulation).items() if value is not None}
    parameters = presets.validate("simulate", SimulateParameters, given, "driftcli simulate --help")
    with options.console() as console:
        make(out, parameters, console, options.overwrite)
    gain = f"--gain-to-uv {parameters.gain_to_uv:g} --sampling-frequency {parameters.sampling_frequency_hz:g}"
    rows = {
        "recording": f"{seconds(parameters.duration_s)} of {count_of(parameters.num_channels, 'channel')}",
        "drift": f"{parameters.drift}, {parameters.drift_um:g} µm",
        "next": f"driftcli run {out}/rec.bin --probe {out}/probe.json {gain}",
    }
    console.summary(f"{out}/", rows, {"output": str(out), **parameters.model_dump(mode="json")})


command = simulate
