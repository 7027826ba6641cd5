"""What `verify` looks at, and what it finds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Literal

OLDER = "written by an older driftcli, which did not store it"
State = Literal["ok", "note", "unchecked", "wrong"]


@dataclass(frozen=True)
class Finding:
    """What a check says of a file.

    state: only `wrong` fails. `note`: something is not as it was, which by itself is no fault; `unchecked`: what it
    would be compared with isn't there.
    """

    file: str
    check: str
    state: State
    text: str = ""


@dataclass(frozen=True)
class Entry:
    """What `run.json` says of one piece of work, which may have left several files in `folder`."""

    folder: Path
    name: str
    facts: dict[str, Any]

    @property
    def checksums(self) -> dict[str, dict[str, Any]]:
        checksums: dict[str, dict[str, Any]] = self.facts.get("checksums", {})
        return checksums

    @property
    def is_older(self) -> bool:
        """Whether it is of a driftcli that had no checksums yet: the one of the facts came with the others."""
        return "sha256_of_facts" not in self.facts and not self.checksums

    @property
    def files(self) -> list[str]:
        """Names of all files of it, the one that it is named after first unless that is a folder."""
        folder = [name for name in self.checksums if name.startswith(f"{self.name}/")]
        return list(dict.fromkeys(folder or [self.name, *self.facts.get("files", []), *self.checksums]))

    def path(self, name: str) -> Path:
        """Where one of its files is. Raises ValueError for a name that leads out of the folder."""
        if PurePath(name).is_absolute() or ".." in PurePath(name).parts:
            raise ValueError(f"{name} lies outside of {self.folder}")
        return self.folder / name

    def input_path(self, name: str) -> Path:
        """Where an input was; what lay beside the output is still looked for there."""
        path = Path(self.facts["inputs"][name]["path"])
        return path if path.is_absolute() else self.folder / path


def digest_of_facts(name: str, facts: Mapping[str, Any]) -> str:
    """SHA-256 of what `run.json` says of an output but for the digest itself, however the JSON is laid out."""
    told = {key: value for key, value in facts.items() if key != "sha256_of_facts"}
    plain = json.loads(json.dumps([name, told]))  # as it will be read: keys are texts then, and tuples lists
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
