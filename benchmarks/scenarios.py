"""Hold the motion that each preset finds against the truth of twelve scenarios, with SpikeInterface's presets beside.

usage: scenarios.py FOLDER [--presets A,B,...] [--peer PEER_PYTHON]; all options: scenarios.py --help
The scenarios are those of garcia.py. FOLDER keeps truths, peaks, motions and errors, and what is there is not made
again; traces are made when something needs them and deleted afterwards, one scenario at a time. Prints the tables and
leaves them in FOLDER as tables.md, with figures of the errors over time and depth.
"""

import argparse
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from data import write_facts
from garcia import NAMES, parameters_of
from measure import measured
from scenario_errors import Errors, errors_of, spread_um, units_of
from scenario_figures import figure_of_scenario, overview, save
from scenario_tables import tables

from driftcli import presets
from driftcli.model import Motion, Settings
from driftcli.reporter import Reporter
from driftcli.simulate.simulate import SimulateParameters, simulate
from driftcli.simulate.truth import Truth, load_truth
from driftcli.store.motion import read_motion
from driftcli.store.peaks import read_peaks
from driftcli.workflow.steps import DETECT_STAGES

HERE = Path(__file__).parent
PRESETS = ("dredge_fast", "kilosort_like", "nonrigid_fast_and_accurate", "likelihood")
WARM_UP_S = 10.0  # of a recording that has kernels compiled and libraries read once, uncounted


@dataclass(frozen=True)
class Scenario:
    """One recording: its folder holds truth.npz and what was found, and rec.bin as long as that is needed."""

    name: str
    folder: Path
    parameters: SimulateParameters

    @property
    def seconds(self) -> int:
        return int(self.parameters.duration_s)

    @cached_property
    def truth(self) -> Truth:
        if not (self.folder / "truth.npz").exists():
            self.recording()
        return load_truth(self.folder / "truth.npz")

    @property
    def span_um(self) -> tuple[float, float]:
        """Depths of the lowest and the highest contact."""
        return 0.0, 20.0 * ((self.parameters.num_channels - 1) // 2)

    def recording(self) -> Path:
        """The traces, which are the same whenever they are made."""
        path, facts = self.folder / "rec.bin", self.folder / "rec.json"
        # the benchmark's own facts are written last
        if not (path.exists() and facts.exists() and "sampling_frequency" in json.loads(facts.read_text())):
            print(f"making {path}", file=sys.stderr, flush=True)
            simulate(self.folder, self.parameters, Reporter(), overwrite=True)
            write_facts(self.folder, self.parameters.num_channels, self.parameters.sampling_frequency_hz)
        return path

    def forget_traces(self) -> None:
        (self.folder / "rec.bin").unlink(missing_ok=True)


@dataclass(frozen=True)
class Found:
    """What a preset found: samples and depths of peaks, the motion, and the seconds that all took, imports included."""

    sample: np.ndarray
    depth_um: np.ndarray
    motion: Motion
    seconds: float


class Ours:
    """A preset of driftcli; those with the same stages up to the peaks share them."""

    def __init__(self, preset: str, jobs: int, again: bool) -> None:
        self.preset, self.jobs, self.again = preset, jobs, again
        self.label = Path(preset).stem
        self.settings = presets.load(preset)

    @property
    def key(self) -> str:
        return f"{self.label}-{digest(self.settings)}"

    def found(self, scenario: Scenario) -> Found:
        peaks, detect_s = self._peaks(scenario)
        motion = scenario.folder / f"{self.key}.motion.h5"
        estimate_s = self._timed(motion, "estimate", str(peaks), again=self.again)
        file = read_peaks(peaks)
        return Found(file.peaks.sample_index, file.depth_um, read_motion(motion).motions[0], detect_s + estimate_s)

    def _peaks(self, scenario: Scenario) -> tuple[Path, float]:
        path = scenario.folder / f"{digest(self.settings, DETECT_STAGES)}.peaks.h5"
        if path.with_suffix(".json").exists():
            return path, seconds_of(path)
        parameters = scenario.parameters
        how = ["--probe", str(scenario.folder / "probe.json"), "--gain-to-uv", str(parameters.gain_to_uv)]
        how += ["--sampling-frequency", str(parameters.sampling_frequency_hz)]
        return path, self._timed(path, "detect", str(scenario.recording()), *how)

    def _timed(self, out: Path, verb: str, *arguments: str, again: bool = False) -> float:
        if again or not out.with_suffix(".json").exists():
            command = [sys.executable, "-m", "driftcli", verb, *arguments, "--preset", self.preset, "--out", str(out)]
            take(out, [*command, "--jobs", str(self.jobs), "--overwrite", "--quiet"])
        return seconds_of(out)


class Peers:
    """A preset of SpikeInterface, which detects and estimates in one go."""

    def __init__(self, preset: str, jobs: int, python: str) -> None:
        self.preset, self.jobs, self.python = preset, jobs, python
        self.label, self.key = f"{preset}, peer", f"peer-{preset}"

    def found(self, scenario: Scenario) -> Found:
        out = scenario.folder / self.key
        if not out.with_suffix(".json").exists():
            source = scenario.recording().parent
            command = [self.python, str(HERE / "peer.py"), "motion", str(source), str(out), "--preset", self.preset]
            take(out, [*command, "--jobs", str(self.jobs)])
        sample, depth_um = np.load(out / "peaks.npy")["sample_index"], np.load(out / "locations.npy")["y"]
        names = ("displacement_um", "temporal_bins_s", "spatial_bins_um")
        with np.load(out / "motion.npz") as arrays:
            motion = Motion(*(arrays[name].astype(float) for name in names))
        return Found(sample, depth_um, motion, seconds_of(out))


def main() -> None:
    options = parsed()
    options.folder.mkdir(parents=True, exist_ok=True)
    sides = [Ours(preset, options.jobs, options.again) for preset in options.presets]
    if options.peer:
        sides += [Peers(preset, options.jobs, options.peer) for preset in presets_of_peer(options)]
    warm_up(sides, options)
    results, errors = {}, {}
    for scenario in scenarios(options):
        errors[scenario.name] = {}
        for side in sides:
            numbers, errors[scenario.name][side.label] = scored(scenario, side)
            results[scenario.name, side.label] = numbers
            print(scenario.name, side.label, {name: round(value, 2) for name, value in numbers.items()}, flush=True)
        if not options.keep:
            scenario.forget_traces()
        figure = figure_of_scenario(scenario.name, scenario.truth.motion, errors[scenario.name])
        save(figure, options.folder, scenario.name)
    save(overview(errors, [side.label for side in sides]), options.folder, "overview")
    text = tables(results, [side.label for side in sides])
    (options.folder / "tables.md").write_text(text)
    print(text)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--presets", type=lambda text: text.split(","), default=list(PRESETS), help="names or files")
    parser.add_argument("--scenarios", type=lambda text: text.split(","), default=NAMES, help=", ".join(NAMES))
    parser.add_argument("--peer", default="", help="python that has SpikeInterface")
    parser.add_argument("--peer-presets", type=lambda text: text.split(","), help="default: those of --presets it has")
    parser.add_argument("--seed", type=int, default=1, help="odd ones are for reporting")
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--channels", type=int, default=128)
    parser.add_argument("--cells", choices=("monopole", "dipole"), default="monopole")
    parser.add_argument("--again", action="store_true", help="estimate again, with the peaks that are there")
    parser.add_argument("--keep", action="store_true", help="keep traces: 2 bytes a sample and channel")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    if unknown := sorted(set(options.scenarios) - set(NAMES)):
        parser.error(f"no scenario {unknown[0]!r}; there are {', '.join(NAMES)}")
    return options


def presets_of_peer(options: argparse.Namespace) -> list[str]:
    if options.peer_presets is not None:
        return options.peer_presets
    script = "from spikeinterface.preprocessing.motion import motion_options_preset as p; print(*p)"
    known = subprocess.run([options.peer, "-c", script], check=True, capture_output=True, text=True).stdout.split()
    return [preset for preset in options.presets if preset in known]


def scenarios(options: argparse.Namespace) -> Iterator[Scenario]:
    for name in options.scenarios:
        yield scenario_of(name, options, options.seconds)


def scenario_of(name: str, options: argparse.Namespace, seconds: float) -> Scenario:
    parameters = parameters_of(name, options.seed, seconds, options.channels, options.cells)
    folder = f"{name}-{options.cells}-{options.channels}-channels-{seconds:g}s-seed-{options.seed}"
    return Scenario(name, options.folder / folder, parameters)


def warm_up(sides: list[Ours | Peers], options: argparse.Namespace) -> None:
    """Once uncounted, with whatever has not been warmed up yet."""
    scenario = scenario_of(NAMES[0], options, WARM_UP_S)
    for side in sides:
        side.found(scenario)
    scenario.forget_traces()


def scored(scenario: Scenario, side: Ours | Peers) -> tuple[dict[str, float], Errors]:
    """Numbers of a preset, and its errors at all times and depths; both are left beside its motion, too."""
    found, truth, rate_hz = side.found(scenario), scenario.truth, scenario.parameters.sampling_frequency_hz
    errors = errors_of(found.motion, truth.motion, scenario.span_um, scenario.seconds)
    unit = units_of(found.sample, found.depth_um, truth, rate_hz)
    time_s = found.sample / rate_hz
    numbers = {
        **errors.numbers,
        "spread_um": spread_um(unit, found.depth_um - found.motion.at(time_s, found.depth_um)),
        "spread_true_um": spread_um(unit, found.depth_um - truth.motion.at(time_s, found.depth_um)),
        "spread_uncorrected_um": spread_um(unit, found.depth_um),
        "seconds": found.seconds,
        "peaks": len(found.sample),
        "peaks_of_units": int((unit >= 0).sum()),
    }
    np.savez_compressed(scenario.folder / f"{side.key}.errors.npz", **errors._replace(numbers=numbers)._asdict())
    return numbers, errors


def take(out: Path, command: list[str]) -> None:
    """Run a command that makes `out`, and leave its seconds beside it once it is done."""
    usage = measured(command)
    if usage.failed:
        sys.exit(1)
    out.with_suffix(".json").write_text(json.dumps({"seconds": usage.seconds, "mb": usage.all_mb}))


def seconds_of(out: Path) -> float:
    return float(json.loads(out.with_suffix(".json").read_text())["seconds"])


def digest(settings: Settings, stages: tuple[str, ...] = ()) -> str:
    """Of the settings of some stages, or of all: other values, other files."""
    values = settings.to_dict()
    chosen = {stage: values[stage] for stage in stages or values}
    return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:8]


if __name__ == "__main__":
    main()
