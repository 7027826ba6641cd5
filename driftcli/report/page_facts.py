"""The page's numbers and settings: what `run.json` says of each output."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from driftcli.model import CONTACT_LABELS, GOOD, LABEL_MEANINGS, REASON_MEANINGS
from driftcli.report.markup import MINUS, Html, element, joined, listed, table
from driftcli.report.times import timed_part
from driftcli.report.view import View
from driftcli.units import readable_size, seconds

_NO_FACTS = "Nothing is known of how this was made: there is no run.json beside it."
_MOST_CONTACTS = 60
Facts = Mapping[str, Mapping[str, Any]]


def numbers(view: View) -> Html:
    """What each verb did, how long it took, and the files that it left."""
    if not view.facts:
        return element("p", _NO_FACTS, class_="note")
    times = table(
        "Work",
        ("Verb", "Output", "Time", "× real time", "Of which", "Counts"),
        (_work_row(name, facts, view.duration_s) for name, facts in view.facts.items()),
        kind="work",
    )
    files = list(_file_rows(view.facts))
    return joined(
        [
            element("h3", "Work"),
            times,
            element("h3", "Files"),
            table("Files", ("File", "Size", "SHA-256"), files, "files")
            if files
            else element("p", "No checksums were written.", class_="note"),
        ]
    )


def _work_row(name: str, facts: Mapping[str, Any], duration_s: float) -> tuple[object, ...]:
    times = {str(stage): value for stage, value in listed(facts.get("times_s")).items() if _is_number(value)}
    total_s = times.pop("total", None)
    in_part = timed_part(facts)
    speed = f"{duration_s / total_s:,.1f}" if total_s and not in_part else "–"
    took = "–" if total_s is None else seconds(total_s) + (f" ({in_part})" if in_part else "")
    steps = ", ".join(f"{stage} {seconds(value)}" for stage, value in times.items())
    counts = ", ".join(_count(str(key), value) for key, value in listed(facts.get("counts")).items())
    return facts.get("verb", "–"), name, took, speed, steps, counts


def _count(name: str, value: Any) -> str:
    """peaks 1,234; displacement 1.2 to 5.0 µm."""
    if name.endswith("_um") and isinstance(value, list):
        return f"{_words(name.removesuffix('_um'))} {' to '.join(map(_value, value))} µm"
    return f"{_words(name)} {_value(value)}"


def _file_rows(facts: Facts) -> Iterator[tuple[object, ...]]:
    for each in facts.values():
        for name, known in listed(each.get("checksums")).items():
            size: Any = listed(known).get("size_bytes")
            by_block = "CRC-32 of each block, in run.json" if "crc32_of_blocks" in listed(known) else "–"
            digest = listed(known).get("sha256")
            yield (
                name,
                readable_size(size) if _is_number(size) else "–",
                element("span", digest, class_="mono") if digest else by_block,
            )


def settings(view: View) -> Html:
    """Every stage with its method and parameters, the command, versions, and what was left out."""
    unused = [_left_out(view), _contacts(view)]
    if not view.facts:
        return joined([element("p", _NO_FACTS, class_="note"), *unused])
    return joined([_stages(view.facts), *unused, _commands(view.facts), _machine(view.facts)])


def _stages(facts: Facts) -> Html:
    """A row for each stage; several for one that verbs had different settings of."""
    found: dict[tuple[str, str], list[str]] = {}
    for name, each in facts.items():
        for stage, parameters in listed(each.get("preset")).items():
            found.setdefault((stage, json.dumps(parameters)), []).append(str(each.get("verb", name)))
    rows = (
        (stage, known.get("method", "–"), _verbs(verbs, facts), _parameters(known))
        for (stage, text), verbs in found.items()
        for known in [listed(json.loads(text))]
    )
    title = "Stages, methods and parameters"
    return _folded(title, table(title, ("Stage", "Method", "Verb", "Parameters"), rows, "stages"), is_open=True)


def _parameters(parameters: Mapping[str, Any]) -> Html:
    told = [
        element("code", f"{name} = {value if isinstance(value, str) else json.dumps(value)}")
        for name, value in parameters.items()
        if name != "method"
    ]
    return element("span", *told, class_="parameters") if told else Html("–")


def _left_out(view: View) -> Html:
    """Share of the time that each reason leaves out; where `run.json` doesn't say it, of the spans themselves."""
    told = next((share for each in view.facts.values() if (share := listed(listed(each.get("mask")).get("share")))), {})
    shares = told or _shares(view)
    rows = [
        (reason, f"{shares[reason]:.2%}", meaning.replace("`", ""))
        for reason, meaning in {**REASON_MEANINGS, "any": "all of these together"}.items()
        if _is_number(shares.get(reason))
    ]
    title = "Time left out of the estimate"
    return _folded(title, table(title, ("Reason", "Share of the time", "Meaning"), rows))


def _shares(view: View) -> dict[str, float]:
    """Share of the time that each reason leaves out, and all of them together."""
    spans_s = view.mask.in_seconds(view.mask_rate_hz) if len(view.mask) else np.empty((0, 2))
    rows = {reason: view.mask.reasons == index for index, reason in enumerate(REASON_MEANINGS)}
    rows["any"] = np.ones(len(view.mask), bool)
    return {reason: _covered_s(spans_s[which]) / view.duration_s for reason, which in rows.items()}


def _covered_s(spans_s: np.ndarray[Any, np.dtype[np.float64]]) -> float:
    """Length of the union of spans in order of their beginnings."""
    if not len(spans_s):
        return 0.0
    reached = np.maximum.accumulate(np.r_[-np.inf, spans_s[:-1, 1]])
    return float(np.maximum(0.0, spans_s[:, 1] - np.maximum(spans_s[:, 0], reached)).sum())


def _contacts(view: View) -> Html:
    if view.labels is None:
        inner = element("p", "Nobody looked for bad contacts.", class_="note")
    elif (view.labels == GOOD).all():
        inner = element("p", f"All {len(view.labels):,} contacts are good.")
    else:
        bad = [
            (CONTACT_LABELS[label], _rows_of(view.labels == label)) for label in np.unique(view.labels) if label != GOOD
        ]
        rows = [(_words(label), told, LABEL_MEANINGS[label].replace("`", "")) for label, told in bad]
        inner = table("Bad contacts", ("What is wrong", "Contacts, counted from 0", "Meaning"), rows)
    return _folded("Bad contacts", inner)


def _rows_of(which: np.ndarray[Any, np.dtype[np.bool_]]) -> str:
    rows = np.flatnonzero(which)
    more = f" and {len(rows) - _MOST_CONTACTS:,} more" if len(rows) > _MOST_CONTACTS else ""
    return f"{len(rows):,}: {', '.join(map(str, rows[:_MOST_CONTACTS]))}{more}"


def _commands(facts: Facts) -> Html:
    commands = dict.fromkeys(
        shlex.join(map(str, each["command"])) for each in facts.values() if isinstance(each.get("command"), list)
    )
    told = [element("pre", element("code", command)) for command in commands]
    return _folded("Command line", *(told or [element("p", "–")]))


def _machine(facts: Facts) -> Html:
    """Versions and what else is known of how the work was done, by verb only where verbs differ."""
    found: dict[tuple[str, str], list[str]] = {}
    for name, each in facts.items():
        known = {**listed(each.get("versions")), **listed(each.get("options"))}
        known |= {key: each[key] for key in ("cpu", "jobs", "chunk_s") if key in each}
        for key, value in known.items():
            found.setdefault((key, _value(value)), []).append(str(each.get("verb", name)))
    rows = [(_words(key), value, _verbs(verbs, facts)) for (key, value), verbs in found.items()]
    title = "Versions, options and machine"
    return _folded(title, table(title, ("What", "Value", "Verb"), rows))


def _verbs(verbs: list[str], facts: Facts) -> str:
    return "all" if len(verbs) == len(facts) else ", ".join(dict.fromkeys(verbs))


def _folded(title: str, *inner: Html, is_open: bool = False) -> Html:
    return element("details", element("summary", title), *inner, open=is_open)


def _words(name: object) -> str:
    """`chunk_s` as `chunk (s)`."""
    words, _, unit = str(name).rpartition("_")
    units = {"s": "s", "um": "µm"}
    return (f"{words} ({units[unit]})" if unit in units else str(name)).replace("_", " ")


def _value(value: Any) -> str:
    """A value of `run.json` for people."""
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, Mapping):
        return "(" + ", ".join(f"{_words(key)} {_value(each)}" for key, each in value.items()) + ")"
    if _is_number(value):
        return f"{value:,}".replace("-", MINUS)
    return value if isinstance(value, str) else json.dumps(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
