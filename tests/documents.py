"""The README, CONTRIBUTING and the pages of docs/, taken apart: fenced blocks, links, anchors, commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from readme_tables import commands, parameters_of

_FENCE = re.compile(
    r"(?:^<!-- (?P<mark>[^\n]*?) -->\n)?^```(?P<language>\S*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)
_LINK = re.compile(r"(?<!`)!?\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
_INLINE = re.compile(r"`(driftcli [^`]+)`")
_CALL = re.compile(r"(?<![.\w])driftcli (?=[a-z-])")  # not the folder rec.driftcli
_ENDS = ("|", "||", "&&", ";", ">", ">>", "<", "#", "then", "done")


class Fence(NamedTuple):
    """A block of a document. mark: what the comment on the line above it says, or ''."""

    mark: str
    language: str
    text: str


def fences(text: str) -> list[Fence]:
    return [Fence(found["mark"] or "", found["language"], found["text"]) for found in _FENCE.finditer(text)]


def prose(text: str) -> str:
    """The text without its blocks."""
    return _FENCE.sub("", text)


def links(text: str) -> list[str]:
    """Targets of all links and images."""
    return [found["target"] for found in _LINK.finditer(prose(text))]


def anchors(text: str) -> set[str]:
    """What a link may name behind #, as mkdocs and GitHub make it of headings."""
    return {slug(heading) for heading in _HEADING.findall(prose(text))}


def slug(heading: str) -> str:
    plain = re.sub(r"[^\w\s-]", "", heading).strip().lower()
    return re.sub(r"\s+", "-", plain)


def shell_script(document: Path, *, slow: bool = False) -> str:
    """All blocks that are marked as tested, one after the other; with `slow` also those tested slowly."""
    wanted = ("tested", "tested slowly") if slow else ("tested",)
    parts = ["set -euo pipefail"]
    for number, fence in enumerate(each for each in fences(document.read_text("utf-8")) if each.mark in wanted):
        parts.append(f"echo '# block {number + 1}' >&2")
        parts.append(fence.text if fence.language == "sh" else f"python - <<'END_OF_PYTHON'\n{fence.text}END_OF_PYTHON")
    return "\n".join(parts)


def calls(text: str) -> Iterator[list[str]]:
    """The words behind `driftcli` of each call in the shell blocks and in the inline code of a document."""
    blocks = [fence.text.replace("\\\n", " ") for fence in fences(text) if fence.language == "sh"]
    for line in [line for block in blocks for line in block.splitlines()] + _INLINE.findall(prose(text)):
        for found in _CALL.finditer(line):
            yield _words(line[found.end() :])


def _words(line: str) -> list[str]:
    """Up to where the command ends. A command within quotes ends with them."""
    for quote in ('"', "'"):
        if line.count(quote) % 2:
            line = line.rpartition(quote)[0]
    words = []
    for word in shlex.split(line.replace("`", "'"), comments=True):
        if word in _ENDS:
            break
        words.append(word.rstrip(";)"))
    return words


def wrong_with(words: list[str]) -> str | None:
    """What a call names that driftcli doesn't have, if anything."""
    known = {command.name: command for command in commands()}
    verb = " ".join(words[:2]) if " ".join(words[:2]) in known else words[0]
    if verb not in known:
        return None if verb.startswith("-") else f"no command {verb}"
    names = {name for option in parameters_of(known[verb].function) for name in option.names} | {"--help"}
    return next((f"{verb} has no {word}" for word in words if word.startswith("--") and word not in names), None)
