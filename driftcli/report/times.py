"""How long each verb took, and its stages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from driftcli.report import style
from driftcli.report.markup import listed
from driftcli.report.view import View

if TYPE_CHECKING:
    from matplotlib.figure import Figure

VERBS = ("detect", "estimate", "assess", "apply")
_VERB_COLOUR, _STAGE_COLOUR = "#2f4b7c", "#a3b4d1"


class _Bar(NamedTuple):
    """in_part: what the time is of if not of one process that did all of the work, as `timed_part` says it."""

    name: str
    seconds: float
    is_verb: bool
    in_part: str


@style.in_house_style
def times(view: View) -> Figure:
    """A bar for each verb that `run.json` knows the time of, dark, and below it one for each of its stages, light; with
    how many times faster than real time that is, or of which part of the work the time is."""
    bars = _bars(view.facts)
    figure = style.new_figure(9.0, 1.5 + 0.27 * max(len(bars), 3))
    axes = figure.add_subplot()
    style.title(figure, view, "run time", with_verdict=False)
    if not bars:
        axes.axis("off")
        style.words_instead(axes, "run.json knows of no times")
        return figure
    places = range(len(bars))
    colours = [_VERB_COLOUR if bar.is_verb else _STAGE_COLOUR for bar in bars]
    axes.barh(places, [bar.seconds for bar in bars], color=colours, height=0.75)
    for place, bar in zip(places, bars, strict=True):
        axes.annotate(
            in_words(bar.seconds, view.duration_s, bar.in_part),
            (bar.seconds, place),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    axes.set_yticks(places, [bar.name for bar in bars])
    for label, bar in zip(axes.get_yticklabels(), bars, strict=True):
        label.set_fontweight("bold" if bar.is_verb else "normal")
    axes.invert_yaxis()
    axes.set_xlim(0, 1.35 * max(bar.seconds for bar in bars) or 1.0)  # room for the words behind the longest
    axes.set_xlabel("run time (s)")
    axes.tick_params(axis="y", length=0)
    total_s = sum(bar.seconds for bar in bars if bar.is_verb)
    known = "as far as it is known," if any(bar.in_part for bar in bars) else ""
    style.caption(
        figure,
        f"in all {in_words(total_s, view.duration_s, known)} for {view.duration_s:,.0f} s of recording; stages of a "
        "verb need not add up to all of it",
    )
    return figure


def in_words(seconds: float, duration_s: float, in_part: str = "") -> str:
    """`34.2 s, 2.9 × real time`; of work in parts `34.2 s, last attempt only`, as nobody knows how fast it was."""
    told = f"{seconds:,.2f} s" if seconds < 10 else f"{seconds:,.1f} s"
    if in_part:
        return f"{told}, {in_part}"
    if seconds <= 0:
        return told
    rate = duration_s / seconds
    return f"{told}, {rate:,.0f} × real time" if rate >= 100 else f"{told}, {rate:.3g} × real time"


def _bars(facts: Mapping[str, Mapping[str, Any]]) -> list[_Bar]:
    """The verbs in the order of the data's road, each before its stages."""
    of_verb = {each.get("verb"): each for each in facts.values()}
    bars = []
    for verb in VERBS:
        times_s = of_verb.get(verb, {}).get("times_s", {})
        if "total" in times_s:
            in_part = timed_part(of_verb[verb])
            bars.append(_Bar(verb, times_s["total"], True, in_part))
            stages = {name: seconds for name, seconds in times_s.items() if name != "total"}
            bars += [_Bar(name, seconds, False, in_part) for name, seconds in stages.items() if list(stages) != [verb]]
    return bars


def timed_part(facts: Mapping[str, Any]) -> str:
    """What the times of a verb are of, unless one process did all of its work without a break: then nothing.

    Times of merged peaks are those of all shards; of a correction in shards `run.json` has only those of the process
    that put it together. What an attempt before `--resume` took, nobody knows.
    """
    blocks = listed(listed(facts.get("counts")).get("blocks"))
    shards, kept = (each if isinstance(each, int) else 0 for each in (blocks.get("shards"), blocks.get("kept")))
    if shards > 1 and facts.get("verb") == "apply":
        return f"last of {shards} shards only"
    if shards > 1:
        return f"sum of {shards} shards" + (", last attempts only" if kept else "")
    return "last attempt only" if kept else ""


def verb_times(facts: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[float, str]]:
    """How many seconds each verb took, in order, and what that is of, as `timed_part` says it."""
    return {bar.name: (bar.seconds, bar.in_part) for bar in _bars(facts) if bar.is_verb}
