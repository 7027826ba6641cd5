"""Hold the verdict and the expected error of `driftcli assess` against the truth of simulated recordings.

usage: verdict.py FOLDER [--presets ...] [--seed N]
Presets are the six that follow SpikeInterface, unless others are named that work on peaks.
Recordings of 60 s and 64 channels come from `driftcli simulate` and stay in FOLDER; peaks whose rates go up and down,
which it does not make, are drawn here. Beside the motion that each preset finds stand that motion negated, with noise
of 3 µm, and none at all. The error is the root mean square at the depth of every unit, less the median difference. A
correction is truly better or worse where it changes that of no correction by more than a fifth and 0.5 µm.
"""

import argparse
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from driftcli import presets
from driftcli.model import VERDICTS, Motion, Settings
from driftcli.recording.open import open_recording
from driftcli.reporter import Reporter
from driftcli.simulate.drift import make_motion
from driftcli.simulate.simulate import SimulateParameters, simulate
from driftcli.simulate.truth import load_truth
from driftcli.store.assessment import read_assessment
from driftcli.store.motion import MotionFile, read_motion, write_motion
from driftcli.workflow.assess import assess
from driftcli.workflow.detect import detect
from driftcli.workflow.estimate import estimate
from driftcli.workflow.work import Work

PRESETS = ("dredge", "dredge_fast", "kilosort_like", "nonrigid_accurate", "nonrigid_fast_and_accurate", "rigid_fast")
RECORDINGS = {
    "still": {"drift": "none"},
    "still, few units": {"drift": "none", "num_units": 8, "firing_rate_hz": 2.0},
    "zigzag 3 µm": {"drift_um": 3.0},
    "zigzag 10 µm": {"drift_um": 10.0},
    "zigzag 40 µm": {},
    "zigzag 40 µm, few units": {"num_units": 8, "firing_rate_hz": 2.0},
    "zigzag 40 µm, loud noise": {"noise_uv": 20.0},
    "zigzag 40 µm, non-rigid": {"non_rigid_gradient": 1.0},
    "zigzag 120 µm": {"drift_um": 120.0},
    "zigzag 40 µm, fast": {"period_s": 8.0},
    "bumps 40 µm": {"drift": "bumps"},
    "bumps 40 µm, few units": {"drift": "bumps", "num_units": 8, "firing_rate_hz": 2.0},
    "walk 15 µm": {"drift": "random_walk", "drift_um": 15.0},
}
RATES = {
    "still, bursts": {"drift": "none"},
    "still, bursts, few units": {"drift": "none", "num_units": 20, "peaks_hz": 20.0},
    "zigzag 40 µm, bursts": {},
    "zigzag 40 µm, bursts, few units": {"num_units": 20, "peaks_hz": 20.0},
    "bumps 40 µm, bursts": {"drift": "bumps"},
}
SPAN_UM, DURATION_S = (0.0, 1260.0), 120.0  # of the peaks that are drawn here


@dataclass(frozen=True)
class Case:
    """Peaks in a file, and the truth: their motion, and the depths at which it counts."""

    name: str
    peaks: Path
    truth: Motion
    depths_um: np.ndarray
    span_um: tuple[float, float] | None

    def error_um(self, motion: Motion) -> float:
        times_s = self.truth.temporal_bins_s[:, None]
        difference = motion.at(times_s, self.depths_um) - self.truth.at(times_s, self.depths_um)
        return float(np.sqrt(((difference - np.median(difference)) ** 2).mean()))


@dataclass(frozen=True)
class Row:
    case: str
    preset: str
    what: str
    verdict: str
    expected_um: float | None
    error_um: float
    uncorrected_um: float

    @property
    def truly(self) -> str:
        if self.error_um > 1.25 * self.uncorrected_um and self.error_um > self.uncorrected_um + 0.5:
            return "worse"
        better = self.error_um < 0.8 * self.uncorrected_um and self.error_um < self.uncorrected_um - 0.5
        return "better" if better else "the same"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--presets", nargs="+", default=PRESETS)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    rows = [row for preset in options.presets for row in rows_of(preset, options.folder, options.seed)]
    print_cases(rows)
    print_summary(rows)


def rows_of(preset: str, folder: Path, seed: int) -> Iterator[Row]:
    settings = presets.load(preset)
    for index, (name, scenario) in enumerate(RECORDINGS.items()):
        yield from rows_of_case(recorded(name, scenario, seed + 2 * index, settings, preset, folder), preset, settings)
    for index, (name, scenario) in enumerate(RATES.items()):
        yield from rows_of_case(drawn(name, seed + 2 * index, folder, **scenario), preset, settings)


def recorded(name: str, scenario: dict, seed: int, settings: Settings, preset: str, folder: Path) -> Case:
    data = folder / f"{name.replace(' ', '_').replace(',', '')}-{seed}"
    if not (data / "truth.npz").exists():
        simulate(data, scenario_of(seed, scenario), Reporter(), overwrite=True)
    truth, peaks = load_truth(data / "truth.npz"), data / f"{preset}.peaks.h5"
    if not peaks.exists():
        how = {"probe": data / "probe.json", "gain_to_uv": scenario_of(seed, scenario).gain_to_uv}
        recording = open_recording(path=[data / "rec.bin"], sampling_frequency_hz=30000.0, **how, reporter=Reporter())
        detect(recording, settings, peaks, Work())
    return Case(name, peaks, truth.motion, truth.unit_positions_um[:, 1], None)


def scenario_of(seed: int, scenario: dict) -> SimulateParameters:
    return SimulateParameters(seed=seed, **scenario)


def drawn(
    name: str, seed: int, folder: Path, drift: str = "zigzag", num_units: int = 80, peaks_hz: float = 105.0
) -> Case:
    """Peaks of units whose rates rise and fall by a factor of 37, each with a period of its own."""
    rng = np.random.default_rng(seed)
    motion = make_motion(drift, 40.0, 60.0, 0.3, 0.3, (10.0, DURATION_S), SPAN_UM, rng)
    depths_um = rng.uniform(SPAN_UM[0] - 50, SPAN_UM[1] + 50, num_units)
    rates_hz = rng.lognormal(0, 0.7, num_units)
    rates_hz *= peaks_hz / rates_hz.sum()
    seconds = np.arange(DURATION_S)
    columns = []
    for depth_um, rate_hz in zip(depths_um, rates_hz, strict=True):
        phase = 2 * np.pi * (seconds / rng.uniform(30, DURATION_S) + rng.uniform())
        counts = rng.poisson(rate_hz * np.exp(1.8 * np.sin(phase)))
        times_s = np.repeat(seconds, counts) + rng.uniform(size=counts.sum())
        size_uv = rng.lognormal(np.log(90), 0.45) * rng.normal(1, 0.12, len(times_s))
        places_um = depth_um + motion.at(times_s, depth_um) + rng.normal(0, 5, len(times_s))
        columns.append(np.array([times_s, places_um, -np.abs(size_uv)]))
    time_s, depth_um, amplitude_uv = np.concatenate(columns, axis=1)
    there = np.argsort(time_s, kind="stable")
    there = there[(depth_um[there] > SPAN_UM[0] - 20) & (depth_um[there] < SPAN_UM[1] + 20)]
    path = folder / f"{name.replace(' ', '_').replace(',', '')}-{seed}.npz"
    np.savez(path, time_s=time_s[there], depth_um=depth_um[there], amplitude_uv=amplitude_uv[there])
    return Case(name, path, motion, depths_um, SPAN_UM)


def rows_of_case(case: Case, preset: str, settings: Settings) -> Iterator[Row]:
    work = Work(overwrite=True)
    path = case.peaks.with_name(f"{case.peaks.stem}.{preset}.motion.h5")
    try:
        estimate(case.peaks, settings, path, work, span_um=case.span_um)
    except Exception as error:
        print(f"{case.name}, {preset}: {error}")
        return
    file = read_motion(path)
    found = file.motions[0]
    noise = np.random.default_rng(0).normal(0, 3, found.displacement_um.shape)
    versions = {
        "as found": found.displacement_um,
        "negated": -found.displacement_um,
        "with noise": found.displacement_um + noise,
        "none": 0 * found.displacement_um,
    }
    uncorrected_um = case.error_um(Motion(0 * found.displacement_um, found.temporal_bins_s, found.spatial_bins_um))
    for what, displacement_um in versions.items():
        motion = Motion(displacement_um, found.temporal_bins_s, found.spatial_bins_um)
        verdict, expected_um = assessed(case, path.with_name(f"{path.stem}.{what}.h5"), motion, file, settings, work)
        yield Row(case.name, preset, what, verdict, expected_um, case.error_um(motion), uncorrected_um)


def assessed(
    case: Case, path: Path, motion: Motion, file: MotionFile, settings: Settings, work: Work
) -> tuple[str, float | None]:
    write_motion(path, {0: motion}, file.duration_s, file.facts, settings)
    out = path.with_suffix(".scores.h5")
    assess(case.peaks, path, settings, out, work, span_um=case.span_um)
    found = read_assessment(out).assessment
    return found.verdict, found.shanks[0].scores.error_um


def print_cases(rows: list[Row]) -> None:
    print("\n| recording | preset | verdict | truly | error without, µm | error, µm | expected, µm |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for row in rows:
        if row.what == "as found":
            expected = "–" if row.expected_um is None else f"{row.expected_um:.2f}"
            errors = f"{row.uncorrected_um:.2f} | {row.error_um:.2f} | {expected}"
            print(f"| {row.case} | {row.preset} | {row.verdict} | {row.truly} | {errors} |")


def print_summary(rows: list[Row]) -> None:
    for whats in (("as found",), ("as found", "negated", "with noise", "none")):
        some = [row for row in rows if row.what in whats]
        counts = Counter((row.verdict, row.truly) for row in some)
        print(f"\n{len(some)} corrections ({', '.join(whats)}):\n")
        print("| verdict | truly better | the same | worse |\n| --- | --- | --- | --- |")
        for verdict in VERDICTS:
            print(
                f"| {verdict} | " + " | ".join(str(counts[verdict, t]) for t in ("better", "the same", "worse")) + " |"
            )
        known = [row for row in some if row.expected_um is not None]
        print(f"\nrank correlation of expected and true error {correlation(known):.2f}")
    own = [row for row in rows if row.what == "as found" and row.expected_um is not None]
    within = [correlation([row for row in own if row.case == case]) for case in dict.fromkeys(row.case for row in own)]
    print(f"within a recording, between presets: median {np.nanmedian(within):.2f}")
    times = [row.error_um / row.expected_um for row in own if row.uncorrected_um > 0 and row.expected_um > 0.01]
    print("true error in expected ones, of what moves: 10 %, median, 90 %", np.percentile(times, [10, 50, 90]).round(1))


def correlation(rows: list[Row]) -> float:
    """Spearman's; NaN for fewer than four."""
    if len(rows) < 4:
        return np.nan
    return float(spearmanr([row.expected_um for row in rows], [row.error_um for row in rows]).statistic)


if __name__ == "__main__":
    main()
