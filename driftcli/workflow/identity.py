"""What makes a piece of work the same as one that was begun before: its inputs, its preset, its program."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from driftcli.errors import InputError, OutputError

_END_BYTES = 1_000_000
# Of the facts of a run, those on which the bytes of its outputs depend. Where an input lies, when it ran, in how many
# threads: none of that does.
_KEYS = ("verb", "inputs", "recording", "preset", "options", "versions", "cpu")
_MACHINE = ("versions.", "cpu")  # what differs between machines; driftcli itself has one version all the same
_MOST_TOLD = 6


def fingerprint(path: Path) -> dict[str, Any]:
    """Where a file is, how long, from when, and the SHA-256 of its first and its last megabyte; of a folder the same of
    its files. Raises InputError."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        return {"path": str(path.resolve()), **{str(file.relative_to(path)): fingerprint(file) for file in files}}
    try:
        status = path.stat()
        with path.open("rb") as file:
            digest = hashlib.sha256(file.read(_END_BYTES))
            file.seek(max(0, status.st_size - _END_BYTES))
            digest.update(file.read(_END_BYTES))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}", "check that it is still there") from error
    modified = datetime.fromtimestamp(status.st_mtime, timezone.utc).isoformat()
    return {
        "path": os.path.abspath(path),  # of a link its own: what lies beside it, as a meta, need not be where it leads
        "size_bytes": status.st_size,
        "modified": modified,
        "sha256_of_ends": digest.hexdigest(),
    }


def checksum_of(path: Path) -> dict[str, Any]:
    """Size and SHA-256 of a file, for `run.json`."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return {"size_bytes": path.stat().st_size, "sha256": digest.hexdigest()}


def identity_of(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What of the facts of a run makes it this one and no other."""
    identity = {key: facts[key] for key in _KEYS if key in facts}
    identity["inputs"] = {
        name: {key: value for key, value in file.items() if key not in _beside_the_content(file)}
        for name, file in identity.get("inputs", {}).items()
    }
    return identity


def _beside_the_content(file: Mapping[str, Any]) -> tuple[str, ...]:
    """What of a fingerprint doesn't count: where the file is, and from when where all of its content is known."""
    return ("path", "modified") if "sha256" in file else ("path",)


def differences(before: Mapping[str, Any], now: Mapping[str, Any], *, mixed: bool = False) -> list[str]:
    """What differs between two identities: `preset.detect.detect_threshold was 5.0, now 6.0`, and of an input only that
    it is another file.

    mixed: whether they may be of machines of other types and with other versions of libraries.
    """
    theirs, ours = before.get("inputs", {}), now.get("inputs", {})
    inputs = [_of_input(name, theirs, ours) for name in {**theirs, **ours} if theirs.get(name) != ours.get(name)]
    return inputs + _changes({**before, "inputs": None}, {**now, "inputs": None}, mixed=mixed)


def _of_input(name: str, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    if name not in theirs or name not in ours:
        return f"there {'was no' if name in ours else 'is no longer an'} input {name}"
    same_content = {**theirs[name], "modified": None} == {**ours[name], "modified": None}
    return f"the input {name} " + ("has another time stamp" if same_content else "is another file")


def _changes(before: Mapping[str, Any], now: Mapping[str, Any], *, mixed: bool) -> list[str]:
    """Every value that is another one."""
    theirs, ours = dict(_leaves(before)), dict(_leaves(now))
    told = []
    for key in dict.fromkeys([*theirs, *ours]):
        if key in ours and key in theirs and ours[key] == theirs[key]:
            continue
        if mixed and key.startswith(_MACHINE) and key != "versions.driftcli":
            continue
        told.append(f"{key} was {_shown(theirs, key)}, now {_shown(ours, key)}")
    return told


def require_same(
    before: Mapping[str, Any],
    now: Mapping[str, Any],
    what: str,
    hint: str = "give what was given then, or start afresh with --overwrite",
    *,
    mixed: bool,
) -> None:
    """Raise OutputError that says what differs. what: of whom `before` is the identity. hint: what to do if it isn't
    only the machine."""
    told = differences(before, now, mixed=mixed)
    if not told:
        return
    shown = "; ".join(told[:_MOST_TOLD]) + (f"; and {len(told) - _MOST_TOLD} more" if len(told) > _MOST_TOLD else "")
    if not differences(before, now, mixed=True):
        hint = "on a machine like that one, or with --mixed: the bytes then agree to within 1 LSB only"
    # every digest is in its cause, which a log and --debug show and the line for people doesn't
    every = ValueError("; ".join(_changes(before, now, mixed=mixed)))
    raise OutputError(f"{what} is not of this work: {shown}", hint) from every


def _leaves(tree: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(tree, Mapping) and tree:
        for key, value in tree.items():
            yield from _leaves(value, f"{name}.{key}" if name else str(key))
    else:
        yield name, list(tree) if isinstance(tree, tuple) else tree


def _shown(leaves: Mapping[str, Any], key: str) -> str:
    return str(leaves[key]) if key in leaves else "absent"
