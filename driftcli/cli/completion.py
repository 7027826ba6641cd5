"""What the shell offers at a Tab: names of presets, and for `--set` stages, their keys, and values.

Typer has the scripts of the shells (`driftcli --install-completion`); at a Tab they call driftcli with the line.
Names of presets, stages and methods come without numerics; keys need the module of the method, and so numba.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, MutableMapping
from glob import escape, glob
from typing import TYPE_CHECKING

import typer

from driftcli.catalogue import STAGES, preset_doc, preset_names

if TYPE_CHECKING:
    from driftcli.presets import Key

_ASKED = "_DRIFTCLI_COMPLETE"
_BEFORE = "_DRIFTCLI_COMPLETE_BEFORE"  # of the word at the cursor, what bash takes for a word of its own
_WIDTH = "1000"
Offers = list[tuple[str, str]]  # words, and what the shell may say of them


def prepare(environment: MutableMapping[str, str]) -> None:
    """Call it first. Where a shell asks, help isn't broken into lines, and the words of bash are put together."""
    if _ASKED not in environment:
        return
    environment["COLUMNS"] = _WIDTH  # a second line would be taken for another word that is offered
    if environment[_ASKED] == "complete_bash" and "COMP_WORDS" in environment:
        words, environment[_BEFORE] = joined_words(environment["COMP_WORDS"].split("\n"), environment["COMP_CWORD"])
        environment.update(COMP_WORDS="\n".join(words), COMP_CWORD=str(len(words) - 1))


def joined_words(cut: list[str], at: str) -> tuple[list[str], str]:
    """The words up to the one at the cursor, and what stands before that in bash, which cuts words at each `=`.

    `--set`, `detect.peak_sign`, `=`, `n` is `--set`, `n` and before it `detect.peak_sign=`; `--preset`, `=`, `d` is
    `--preset`, `d`.
    """
    words: list[str] = []
    for index, word in enumerate(cut[: int(at) + 1]):
        if words and "=" in (word, cut[index - 1]):
            words[-1] += word
        else:
            words.append(word)
    if "=" not in cut[max(int(at) - 1, 0) : int(at) + 1]:
        return words, ""
    before, equals, last = words.pop().rpartition("=")
    if before.startswith("--"):
        option, *rest = before.split("=", 1)
        words.append(option)
        before, equals = (rest[0], equals) if rest else ("", "")
    return [*words, last], before + equals


def offer_presets(incomplete: str) -> Offers:
    """Names of presets, and YAML files whose names begin so."""
    files = [path for end in ("yaml", "yml") for path in sorted(glob(f"{escape(incomplete)}*.{end}"))]
    return [(name, preset_doc(name)) for name in preset_names()] + [(path, "a preset file") for path in files]


def offer_changes(ctx: typer.Context, incomplete: str) -> Offers:
    """`stage.`, then `stage.key=`, then `stage.key=value`: of the methods that the line chooses so far."""
    before = os.environ.get(_BEFORE, "")
    given = ctx.params
    offers = _changes(before + incomplete, given.get("preset") or given.get("name"), given.get("changes") or ())
    return [(word.removeprefix(before), says) for word, says in offers]


def _changes(text: str, preset: str | None, changes: Iterable[str]) -> Offers:
    """What goes on from `text`. Where there is one way to go on, what comes behind it: a shell would end the word."""
    stage, dot, _ = text.partition(".")
    if not dot:
        stages = [name for name in STAGES if name.startswith(stage)]
        if len(stages) != 1:
            return [(f"{name}.", _methods_of(name)) for name in stages]
        (stage,) = stages
        text = f"{stage}."
    if stage not in STAGES:
        return []
    if text.startswith(f"{stage}.method="):
        return [(f"{stage}.method={method}", "") for method in STAGES[stage].names]
    return _keys_and_values(stage, text, preset, changes)


def _methods_of(stage: str) -> str:
    return " or ".join(STAGES[stage].names)


def _keys_and_values(stage: str, text: str, preset: str | None, changes: Iterable[str]) -> Offers:
    from driftcli.errors import DriftcliError
    from driftcli.presets import keys_of

    try:
        keys = keys_of(stage, preset, changes)
    except DriftcliError:  # of the preset, or of a change before this one; it is told when the line is run
        return []
    if "=" in text:
        return [
            offer for key in keys if f"{stage}.{key.name}" == text.partition("=")[0] for offer in _values(stage, key)
        ]
    keys = [key for key in keys if f"{stage}.{key.name}".startswith(text)]
    if len(keys) > 1:
        return [(f"{stage}.{key.name}=", _says(key)) for key in keys]
    return [offer for key in keys for offer in (*_to_type(stage, key), *_values(stage, key))]


def _says(key: Key) -> str:
    return f"{key.says} (now {key.now})" if key.now else key.says


def _to_type(stage: str, key: Key) -> Offers:
    """The key without a value, where it can have more of them than are offered."""
    return [(f"{stage}.{key.name}=", _says(key))] if key.values in ((), ("null",)) else []


def _values(stage: str, key: Key) -> Offers:
    """Those that are known, the one that the key has now among them."""
    now = [key.now] if key.now and key.now not in key.values else []
    says = {key.now: "as it is now"}
    return [(f"{stage}.{key.name}={value}", says.get(value, "")) for value in (*now, *key.values)]
