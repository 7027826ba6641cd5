"""The rows of the summary at the end of a verb, in units for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def summary_rows(facts: Mapping[str, Mapping[str, Any]], duration_s: float | None = None) -> dict[str, str]:
    """What each verb did and where its output is. duration_s: of the recording, for the rate."""
    rows: dict[str, str] = {}
    for verb, fact in facts.items():
        if "shard" in fact:
            left = f"{count_of(len(fact['missing']), 'other')} not done yet" if fact["missing"] else "as are all others"
            return {verb: f"shard {fact['shard']} is done, {left}"}
        rows |= _ROWS[verb](fact["counts"])
        rows[verb] = f"{fact['output']} in {seconds(fact['times_s']['total'])}"
    total_s = sum(fact["times_s"]["total"] for fact in facts.values())
    if duration_s:
        rows["time"] = (
            f"{seconds(total_s)} for {seconds(duration_s)} of recording ({duration_s / total_s:.1f} × real time)"
        )
    return rows


def seconds(value: float) -> str:
    """1.2 s, 3 min 20 s, 2 h 5 min."""
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def count_of(number: int, noun: str) -> str:
    """1 contact, 1,536 contacts."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _detect(counts: Mapping[str, Any]) -> dict[str, str]:
    return {"peaks": f"{counts['peaks']:,} on {count_of(counts['contacts'], 'contact')}"}


def _estimate(counts: Mapping[str, Any]) -> dict[str, str]:
    low, high = counts["displacement_um"]
    windows = count_of(counts["spatial_windows"], "spatial window")
    bins = count_of(counts["temporal_bins"], "temporal bin")
    return {"motion": f"{windows} × {bins}, displacement {low:+.1f} to {high:+.1f} µm"}


def _apply(counts: Mapping[str, Any]) -> dict[str, str]:
    removed = count_of(counts["removed_contacts"], "contact")
    tail = f", {removed} at the border removed" if counts["removed_contacts"] else ""
    return {"corrected": f"{count_of(counts['columns'], 'column')} of {counts['dtype']}{tail}"}


def _correct_peaks(counts: Mapping[str, Any]) -> dict[str, str]:
    return {"peaks": f"{counts['peaks']:,} corrected"}


_ROWS = {"detect": _detect, "estimate": _estimate, "apply": _apply, "correct-peaks": _correct_peaks}
