"""HTML in which whatever comes from a file is text: it is escaped where it becomes part of an element."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

MINUS = "\N{MINUS SIGN}"
_EMPTY = {"img", "meta", "br"}  # elements that have no end


class Html(str):
    """Text that is markup already."""


def element(tag: str, *children: object, **attributes: object) -> Html:
    """An element. What is no Html among its children is escaped, as are attributes.

    An underscore in an attribute's name is a hyphen, one at its end keeps Python from reading a word of its own. An
    attribute that is None or False is left out, one that is True has no value.
    """
    given = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
    told = "".join(
        f" {name}" if value is True else f' {name}="{escape(str(value))}"'
        for name, value in given.items()
        if value is not None and value is not False
    )
    return Html(f"<{tag}{told}>" if tag in _EMPTY else f"<{tag}{told}>{joined(children)}</{tag}>")


def joined(parts: Iterable[object]) -> Html:
    """Parts one after the other, those that are no Html escaped."""
    return Html("".join(part if isinstance(part, Html) else escape(str(part)) for part in parts))


def table(label: str, head: Sequence[object], rows: Iterable[Sequence[object]], kind: str | None = None) -> Html:
    """A table that scrolls within itself where it is too wide; the first cell of a row is its heading.

    label: what it holds, for those who don't see it. kind: its class, for the style sheet.
    """
    columns = element("tr", *(element("th", cell, scope="col") for cell in head))
    body = joined(
        element("tr", element("th", first, scope="row"), *(element("td", cell) for cell in rest))
        for first, *rest in rows
    )
    inner = element("table", element("thead", columns), element("tbody", body), class_=kind)
    return element("div", inner, class_="scrolls", tabindex=0, role="group", aria_label=label)


def json_for_script(data: object) -> Html:
    """JSON that no text in it can leave the script element by."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return Html(text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e"))


def filled(template: str, parts: Mapping[str, str]) -> str:
    """A template with `{{name}}` replaced by the parts, in one pass: braces in a part stay as they are."""
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], template)


def sentence(text: str) -> str:
    """Words that begin in small letters, as a sentence of its own."""
    return text[:1].upper() + text[1:]


def listed(value: Any) -> Mapping[str, Any]:
    """A value of `run.json` that should hold names and values; nothing where it is something else."""
    return value if isinstance(value, Mapping) else {}
