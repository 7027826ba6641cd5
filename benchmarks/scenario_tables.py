"""The tables of scenarios.py, in Markdown."""

import numpy as np

Results = dict[tuple[str, str], dict[str, float]]


def tables(results: Results, labels: list[str]) -> str:
    scenarios = list(dict.fromkeys(scenario for scenario, _ in results))
    return f"{errors(results, scenarios, labels)}\n{totals(results, scenarios, labels)}"


def errors(results: Results, scenarios: list[str], labels: list[str]) -> str:
    """A row a scenario, a column a preset."""
    rows = [["mean / p95 in µm; bursts", *labels]]
    for scenario in scenarios:
        numbers = [results[scenario, label] for label in labels]
        rows.append([scenario, *(f"{n['mean_um']:.2f} / {n['p95_um']:.1f}; {n['bursts']}" for n in numbers)])
    return table(rows)


def totals(results: Results, scenarios: list[str], labels: list[str]) -> str:
    """A row a preset: means over the scenarios, and sums of bursts."""
    head = ["preset", "mean, µm", "p95, µm", "largest, µm", "bursts", "s in bursts"]
    head += ["spread, µm", "with the true motion", "uncorrected", "run time, s"]
    rows = [head]
    for label in labels:
        columns = {name: [results[each, label][name] for each in scenarios] for name in results[scenarios[0], label]}
        means = {name: float(np.mean(values)) for name, values in columns.items()}
        spreads = [f"{means[name]:.2f}" for name in ("spread_um", "spread_true_um", "spread_uncorrected_um")]
        errors_um = [f"{means['mean_um']:.2f}", f"{means['p95_um']:.1f}", f"{max(columns['max_um']):.1f}"]
        bursts = [str(sum(columns[name])) for name in ("bursts", "burst_s")]
        rows.append([label, *errors_um, *bursts, *spreads, f"{means['seconds']:.1f}"])
    return table(rows)


def table(rows: list[list[str]]) -> str:
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
