"""The rows of the summary at the end of a verb, in units for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from driftcli.units import count_of, readable_size, seconds

Facts = Mapping[str, Any]


def summary_rows(facts: Mapping[str, Facts], duration_s: float | None = None) -> dict[str, str]:
    """What was found, how long each verb took, and which files there are; the title above says where.

    facts: those of run.json by verb. duration_s: of the recording, for the rate.
    """
    for verb, fact in facts.items():
        if "shard" in fact:
            left = f"{count_of(len(fact['missing']), 'other')} not done yet" if fact["missing"] else "as are all others"
            return {verb: f"shard {fact['shard']} is done, {left}"}
    rows: dict[str, str] = {}
    for verb, rows_of in _FOUND.items():
        if verb in facts:
            rows |= rows_of(facts[verb])
    return {**rows, "time": _times(facts, duration_s), "files": _files(facts)}


def motion_rows(counts: Facts) -> dict[str, str]:
    """Of a motion: its bins, how far the tissue moved, and how uncertain that is where the method tells it."""
    shanks = counts.get("shanks", 1)
    bins = [count_of(counts["spatial_windows"], "spatial window"), count_of(counts["temporal_bins"], "temporal bin")]
    rows = {"motion": (f"{count_of(shanks, 'shank')}, " if shanks > 1 else "") + " × ".join(bins)}
    if "displacement_um" in counts:
        low, high = counts["displacement_um"]
        rows["displacement"] = f"{low:+.1f} to {high:+.1f} µm"
    if "deviation_um" in counts:
        deviation_um = counts["deviation_um"]
        rows["deviation"] = f"{deviation_um['median']:.2f} µm in the median, {deviation_um['largest']:.2f} µm at most"
    return rows


def _detect(fact: Facts) -> dict[str, str]:
    counts = fact["counts"]
    rows = {"peaks": f"{counts['peaks']:,} on {count_of(counts['contacts'], 'contact')}"}
    if fact.get("bad_channels"):
        bad = {label.replace("_", " "): len(channels) for label, channels in fact["bad_channels"].items()}
        rows["bad channels"] = ", ".join(f"{number} {label}" for label, number in bad.items())
    share = fact.get("mask", {}).get("share", {})
    if share.get("any"):
        reasons = ", ".join(f"{name} {each:.2%}" for name, each in share.items() if each and name != "any")
        rows["left out"] = f"{share['any']:.2%} of the time: {reasons}"
    return rows


def _estimate(fact: Facts) -> dict[str, str]:
    return motion_rows(fact["counts"])


def _apply(fact: Facts) -> dict[str, str]:
    """What was written; with --if-better that may be the signal as it was, and is told so."""
    counts = fact["counts"]
    told = [f"{count_of(counts['columns'], 'column')} of {counts['dtype']}"]
    if counts["removed_contacts"]:
        told.append(f"{count_of(counts['removed_contacts'], 'contact')} at the border removed")
    if counts.get("clipped_values"):
        told.append(f"{count_of(counts['clipped_values'], 'value')} clipped")
    written = ", ".join(told)
    if fact.get("corrected", True):
        return {"corrected": written}
    return {"written": f"not corrected ({fact['verdict']}): {written}"}


def _assess(fact: Facts) -> dict[str, str]:
    return {"verdict": "\n".join([fact["verdict"], *fact["reasons"]])}


def _plot(fact: Facts) -> dict[str, str]:
    counts = fact["counts"]
    return {"drawn": f"{counts['drawn']:,} of {counts['peaks']:,} peaks, in {count_of(counts['figures'], 'figure')}"}


def _correct_peaks(fact: Facts) -> dict[str, str]:
    return {"peaks": f"{fact['counts']['peaks']:,} corrected"}


# What each verb found, in the order in which it is shown: what matters most comes first.
_FOUND = {
    "assess": _assess,
    "detect": _detect,
    "estimate": _estimate,
    "apply": _apply,
    "plot": _plot,
    "correct-peaks": _correct_peaks,
}


def _times(facts: Mapping[str, Facts], duration_s: float | None) -> str:
    times_s = {verb: fact["times_s"]["total"] for verb, fact in facts.items()}
    total_s = sum(times_s.values())
    whole = seconds(total_s)
    if duration_s:
        whole += f" for {seconds(duration_s)} of recording ({_rate(duration_s, total_s)})"
    if len(times_s) == 1:
        return whole
    rates = {verb: f" ({_rate(duration_s, each_s)})" if duration_s else "" for verb, each_s in times_s.items()}
    return "\n".join([whole, *(f"{verb} {seconds(each_s)}{rates[verb]}" for verb, each_s in times_s.items())])


def _rate(duration_s: float, took_s: float) -> str:
    rate = duration_s / max(took_s, 1e-3)
    return f"{rate:.1f} × real time" if rate < 100 else f"{rate:,.0f} × real time"


def _files(facts: Mapping[str, Facts]) -> str:
    """Those that were written, with their sizes; run.json, which tells of them, is beside them."""
    sums = {name: each for fact in facts.values() for name, each in fact.get("checksums", {}).items()}
    return "\n".join([*(f"{name}  {readable_size(each['size_bytes'])}" for name, each in sums.items()), "run.json"])
