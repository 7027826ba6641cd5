"""`report.html`: the verdict, the drift map, the figures, the numbers and the settings, in one file without a network.

`page.html` is the frame, `page.css` its looks, the `.js` files its drift map. The page's own policy (W3C, Content
Security Policy) forbids all that it doesn't hold itself: styles and scripts go by their digests, pictures are data.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from driftcli import __version__
from driftcli.model import REASON_MEANINGS, VERDICT_MEANINGS, Scores, ShankAssessment
from driftcli.report.markup import MINUS, Html, element, filled, joined, json_for_script, sentence, table
from driftcli.report.packed import BYTES_PER_PEAK, packed, stride, within_reach
from driftcli.report.page_facts import numbers, settings
from driftcli.report.view import MOST_POINTS, Correction, View
from driftcli.units import count_of, seconds

MOST_BYTES = 5_000_000  # of the whole page; where figures are large, fewer peaks are drawn
_SCRIPTS = ("packed.js", "drawing.js", "drift_map.js", "page.js")  # in this order one script
_FEWEST_PEAKS = 20_000
_SPARE_BYTES = 20_000  # for the frame itself
_BLANK = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"

# By their names: what the figures show.
_FIGURES = {
    "drift_map": (
        "Drift map and motion",
        "Peaks over time and depth, coloured by amplitude, before and after the correction; the motion of all windows "
        "with their mean; and the motion as a map of time and depth. Where the correction is good, bands of peaks that "
        "wander before run straight after.",
    ),
    "peaks_on_probe": (
        "Peaks on the probe",
        "Where peaks lie between the contacts, before and after the correction. Clouds that drift smears along the "
        "probe contract where the correction is good.",
    ),
    "clusters": (
        "Spread of clusters",
        "How far peaks of one cluster spread in depth, before and after the correction. Less spread is better.",
    ),
    "times": ("Run time", "How long each step took; of work that was done in parts, what the words beside it say."),
}
_WIDTHS = {"drift_map": "wide", "peaks_on_probe": "tall"}

# What became of the recording.
_DONE: dict[Correction, str] = {
    "this motion": "The recording was corrected by this motion.",
    "left as it was": "The recording was left as it was: what was written is not corrected by this motion.",
    "another motion": "Another motion than this one was used for {files}: driftcli apply … --overwrite.",
    "unknown motion": "The recording was corrected; whether by this motion, run.json does not tell.",
}

# Signs differ in shape, not only in colour.
_SIGNS = {
    "helps": "M14 25l7 7 14-16",
    "no drift found": "M13 20h22M13 28h22",
    "unsure": "M17.5 19a6.5 6.5 0 1 1 9.6 5.7c-2 1.1-3.1 2.2-3.1 4.3M24 34.2v.3",
    "makes it worse": "M16 16l16 16M32 16L16 32",
    "": "M14 24h20",
}


class _Row(NamedTuple):
    """A score as it is told: its name, what it means, its value."""

    name: str
    meaning: str
    value: str | None


def page(view: View, figures: Mapping[str, bytes]) -> str:
    """The page of a correction. figures: name to PNG, in the order that they are shown in.

    It is smaller than `MOST_BYTES` unless the figures alone are nearly as large.
    """
    style, script = _beside("page.css"), "\n".join(map(_beside, _SCRIPTS))
    parts = {
        "policy": _policy(style, script),
        "title": joined([f"{view.name} · drift correction"]),
        "name": joined([view.name]),
        "about": _about(view),
        "verdict": _verdict(view),
        "glance": _glance(view),
        "map_label": _map_label(view),
        "map_key": _map_key(view),
        "scores": _scores(view),
        "figures": _figures(figures),
        "numbers": numbers(view),
        "settings": settings(view),
        "words": _words(),
        "footer": joined([f"Written by driftcli {__version__}. This file needs nothing else, and sends nothing."]),
        "blank": _BLANK,
        "style": style,
        "script": script,
    }
    taken = sum(len(part.encode()) for part in (*parts.values(), json_for_script(packed(view, 0))))
    most_peaks = max(_FEWEST_PEAKS, int((MOST_BYTES - _SPARE_BYTES - taken) / BYTES_PER_PEAK))
    return filled(_beside("page.html"), {**parts, **_drift_map(view, min(MOST_POINTS, most_peaks))})


@cache
def _beside(name: str) -> str:
    """One of the files that the page is made of."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    style_digest, script_digest = (
        b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii") for text in (style, script)
    )
    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{style_digest}'; script-src 'sha256-{script_digest}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _about(view: View) -> Html:
    """When the work began, as `run.json` says; the page doesn't ask a clock."""
    began = min((str(facts["started"]) for facts in view.facts.values() if "started" in facts), default="")
    try:
        when = datetime.fromisoformat(began)
    except ValueError:
        return Html("")
    zone = f" {when.tzname()}" if when.tzname() else ""
    return element("p", f"{when.day} {when:%B %Y, %H:%M}{zone}", class_="about")


# ---- The verdict

_TRY = joined([element("code", "driftcli assess"), ", then ", element("code", "driftcli plot"), "."])


def _verdict(view: View) -> Html:
    found = view.assessment
    if found is None:
        return _banner(
            "",
            "no-verdict",
            element("p", "No verdict", class_="word"),
            element("p", "Nobody assessed this motion, so nothing is said of whether it helps. Try: ", _TRY),
            element("p", _what_was_done(view)),
        )
    return _banner(
        found.verdict,
        found.verdict.replace(" ", "-"),
        element("p", sentence(found.verdict), class_="word"),
        element("p", f"{sentence(VERDICT_MEANINGS.get(found.verdict, ''))}.", class_="meaning"),
        element("ul", *(element("li", sentence(reason)) for reason in found.reasons)) if found.reasons else Html(""),
        element("p", _what_was_done(view)),
    )


def _banner(verdict: str, kind: str, *told: Html) -> Html:
    path = Html(f'<circle cx="24" cy="24" r="20"></circle><path d="{_SIGNS.get(verdict, _SIGNS[""])}"></path>')
    look = {"fill": "none", "stroke": "currentColor", "stroke_width": 3.5, "stroke_linecap": "round"}
    sign = element("svg", path, viewBox="0 0 48 48", aria_hidden="true", stroke_linejoin="round", **look)
    return element("div", sign, element("div", *told), class_=f"verdict {kind}")


def _what_was_done(view: View) -> str:
    files: dict[str, list[str]] = {}
    for name, correction in view.corrections.items():
        files.setdefault(_DONE[correction], []).append(name)
    told = [text.format(files=" and ".join(names)) for text, names in files.items()]
    told = told or ["The motion was estimated; no recording was corrected by it."]
    if view.other_peaks:
        told.append("The motion was estimated from other peaks than those shown: driftcli estimate … --overwrite.")
    return " ".join(told)


def _glance(view: View) -> Html:
    """The handful of numbers that one asks for first."""
    shanks = len(np.unique(view.geometry.shanks))
    contacts = f"{len(view.geometry):,}" + (f" on {shanks} shanks" if shanks > 1 else "")
    told = {"Recording": seconds(view.duration_s), "Contacts": contacts, "Peaks": f"{view.num_peaks:,}"}
    if view.motions:
        windows = sum(len(motion.spatial_bins_um) for motion in view.motions.values())
        bins = max(len(motion.temporal_bins_s) for motion in view.motions.values())
        low = min(float(motion.displacement_um.min()) for motion in view.motions.values())
        high = max(float(motion.displacement_um.max()) for motion in view.motions.values())
        told["Displacement"] = f"{_signed(low)} to {_signed(high)} µm"
        told["Windows × temporal bins"] = f"{windows:,} × {bins:,}"
    pairs = (element("div", element("dt", name), element("dd", value)) for name, value in told.items())
    return element("dl", *pairs, class_="glance")


def _signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", MINUS)


# ---- The drift map


def _drift_map(view: View, most_peaks: int) -> dict[str, str]:
    """The parts of the page that depend on how many peaks are drawn."""
    data = packed(view, most_peaks)
    low, high = data["amplitude"]
    return {
        "map_text": _map_text(view, sum(shank["peaks"]["count"] for shank in data["shanks"])),
        "shank_choice": _shank_choice([shank["shank"] for shank in data["shanks"]]),
        "amplitude_low": joined([f"{low:,.3g}"]),
        "amplitude_high": joined([f"{high:,.3g} {view.unit}"]),
        "data": json_for_script(data),
    }


def _map_text(view: View, drawn: int) -> Html:
    of = (
        f"{drawn:,} of {view.num_peaks:,} peaks are drawn"
        if drawn < view.num_peaks
        else f"All {drawn:,} peaks are drawn"
    )
    told = [
        "Each dot is a peak. Tissue that moves carries its peaks along, so bands of dots wander before the correction; "
        f"after a good one they run straight. {of}."
    ]
    far = len(view.peaks) - len(within_reach(view))
    if far:
        told.append(f"{count_of(far, 'peak')} far beyond these depths {'is' if far == 1 else 'are'} left out.")
    every = stride(view.motions)
    if every > 1:
        told.append(f"Of the motion, one temporal bin in {every:,} is drawn.")
    return joined([" ".join(told)])


def _map_label(view: View) -> Html:
    (begin_s, end_s), (low_um, high_um) = view.time_limits_s, view.depth_limits_um
    return joined(
        [
            f"Drift map of {view.name}: peaks over time ({begin_s:,.0f} to {end_s:,.0f} s) and depth ({low_um:,.0f} to "
            f"{high_um:,.0f} µm), coloured by amplitude, before and after the correction"
        ]
    )


def _shank_choice(shanks: list[int]) -> Html:
    if len(shanks) < 2:
        return Html("")
    options = (element("option", f"Shank {shank}", value=shank) for shank in shanks)
    return joined([element("label", "Shank", class_="unseen", for_="shank"), element("select", *options, id="shank")])


def _map_key(view: View) -> Html:
    """What else than peaks is drawn; only what there is."""
    assessed = view.assessment is not None
    signs = {
        "motion": "motion at each window" + (" (after: what is left of it)" if assessed else "")
        if view.motions
        else "",
        "error": "± its expected error" if view.motions and assessed else "",
        "out": "left out of the estimate" if len(view.mask) else "",
        "break": "break between files" if len(view.breaks_s) else "",
    }
    return joined(
        element("li", element("span", class_=f"sign {sign}"), f" {text}") for sign, text in signs.items() if text
    )


# ---- Scores


def _scores(view: View) -> Html:
    found = view.assessment
    if found is None:
        return element("p", "There are none: nobody assessed this motion.", class_="note")
    shanks = list(found.shanks.values())
    columns = [_score_rows(shank.scores) for shank in shanks]
    rows: list[tuple[object, ...]] = [
        (_score_head(each[0]), *("–" if row.value is None else row.value for row in each))
        for each in zip(*columns, strict=True)
    ]
    if len(shanks) > 1:
        rows.insert(0, ("Verdict", *(element("span", shank.verdict, class_="verdict-word") for shank in shanks)))
    head = ["Score", *(f"Shank {number}" for number in found.shanks)] if len(shanks) > 1 else ["Score", "Value"]
    parts = [table("Scores", head, rows, "scores")]
    if any(row.value is None for column in columns for row in column):
        parts.append(element("p", "–: there was too little to tell from (too few peaks, or too short).", class_="why"))
    if len(shanks) > 1:
        told = (_reasons(number, shank) for number, shank in found.shanks.items())
        parts.append(element("details", element("summary", "Reasons, shank by shank"), *told))
    return joined(parts)


def _score_head(row: _Row) -> Html:
    return element("span", row.name, element("span", row.meaning, class_="why"), class_="score")


def _reasons(number: int, shank: ShankAssessment) -> Html:
    told = element("ul", *(element("li", sentence(reason)) for reason in shank.reasons))
    return joined([element("h3", f"Shank {number}: {shank.verdict}"), told]) if shank.reasons else Html("")


def _score_rows(scores: Scores) -> list[_Row]:
    """Each score in words; a test holds that none is missing."""
    return [
        _Row("Peaks", "How many the scores rest on.", f"{scores.peaks:,}"),
        _Row(
            "Range of motion",
            "How far the tissue moves where it moves most, from the 2.5th to the 97.5th percentile over time.",
            _um(scores.range_um),
        ),
        _Row(
            "Alignment before → after",
            "How well peaks of different times line up in depth: 0 not at all, 1 as well as those of the same moment.",
            _change(scores.alignment_before, scores.alignment_after),
        ),
        _Row(
            "Gain", "Alignment that the motion brings ± its standard error.", _with_error(scores.gain, scores.gain_se)
        ),
        _Row(
            "Gain, held out",
            "The same of peaks that the motion was not estimated from: half of them are corrected by the motion of the "
            "other half.",
            _with_error(scores.gain_held_out, scores.gain_held_out_se),
        ),
        _Row(
            "Split-half difference",
            "Difference of the motions of two halves of the peaks, root mean square. Small: it can be repeated.",
            _um(scores.split_half_um),
        ),
        _Row(
            "Residual motion",
            "Motion that is still found in the corrected peaks, root mean square. Small: little is left to correct.",
            _um(scores.residual_um),
        ),
        _Row("Expected error", "Of the motion, root mean square over time and depth.", _um(scores.error_um)),
        _Row(
            "At the search limit",
            "Share of bins at the largest displacement that the estimate looks for. More than a few: widen the search.",
            f"{scores.at_limit:.1%}",
        ),
        _Row(
            "Leaving",
            "Share of the peaks that the correction moves off the probe: these are lost, not lined up.",
            f"{scores.leaving:.1%}",
        ),
        _Row("Jumps", "Single temporal bins that leave their neighbours.", f"{scores.jumps:,}"),
        _Row(
            "Unsupported jumps",
            "Those that not both halves of the peaks show.",
            None if scores.unsupported_jumps is None else f"{scores.unsupported_jumps:,}",
        ),
    ]


def _um(value: float | None) -> str | None:
    return None if value is None else f"{value:.2f} µm"


def _change(before: float | None, after: float | None) -> str | None:
    if before is None and after is None:
        return None
    return " → ".join("–" if value is None else f"{value:.3f}" for value in (before, after))


def _with_error(value: float | None, error: float | None) -> str | None:
    if value is None:
        return None
    told = f"{value:+.3f}".replace("-", MINUS)
    return told if error is None else f"{told} ± {error:.3f}"


# ---- Figures and words


def _figures(figures: Mapping[str, bytes]) -> Html:
    if not figures:
        return element("p", "No figures were drawn.", class_="note")
    return element("div", *(_figure(name, picture) for name, picture in figures.items()), class_="figures")


def _figure(name: str, picture: bytes) -> Html:
    title, caption = _FIGURES.get(name, (name.replace("_", " ").capitalize(), ""))
    source = f"data:image/png;base64,{b64encode(picture).decode('ascii')}"
    image = element("img", src=source, alt=f"{title}. {caption}".strip(), id=f"figure-{name}")
    button = element("button", image, type="button", class_="enlarge", aria_label=f"Enlarge: {title}")
    told = element("figcaption", element("b", f"{title}."), f" {caption}")
    return element("figure", button, told, class_=_WIDTHS.get(name))


def _words() -> Html:
    meanings = {
        **{sentence(verdict): f"{sentence(meaning)}." for verdict, meaning in VERDICT_MEANINGS.items()},
        "Peak": "A spike as it was found: one moment on one contact, with a place beside the probe.",
        "Depth": "Place along the probe, counted from where the probe's file does.",
        "Motion": "The tissue's displacement relative to the probe, over time and depth. A peak's corrected depth is "
        "its depth minus the displacement at its time and depth.",
        "Window": "A stretch of depth that the motion is estimated for; between windows it is interpolated.",
        "Expected error": "How far the motion may be from the truth at a time and depth.",
        "Left out": f"Spans that the estimate doesn't use: {', '.join(REASON_MEANINGS)}.",
    }
    terms = (part for word, text in meanings.items() for part in (element("dt", word), element("dd", text)))
    more = (
        "More: the README explains methods, presets and formats; driftcli assess --help the scores; driftcli plot "
        "--help the figures and this page. run.json, beside this page, holds all settings and checksums."
    )
    return joined([element("dl", *terms, class_="words"), element("p", more, class_="hint")])
