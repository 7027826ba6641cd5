"""verify: outputs and their inputs are what they were, and hold what they should."""

from __future__ import annotations

import secrets
import zlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from driftcli.errors import DriftcliError, InputError, OutputError, UsageError, VerificationError
from driftcli.workflow.findings import OLDER, Entry, Finding, digest_of_facts
from driftcli.workflow.runlog import outputs_in_run_log
from driftcli.workflow.verify_again import DONE_AGAIN, check_again
from driftcli.workflow.verify_content import CONTENT, check_content, check_inputs, input_check
from driftcli.workflow.verify_files import CHECKSUMS, check_files
from driftcli.workflow.work import RUN_LOG, Work

DEFAULT_PLACES = 8
_CHECK = "facts"
_BROKEN = (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError)


@dataclass(frozen=True)
class Verification:
    """All that was found. seed: chose the places at which blocks were done again."""

    target: Path
    seed: int
    findings: list[Finding]

    @property
    def wrong(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.state == "wrong"]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        findings = [asdict(finding) for finding in self.findings]
        return {"verified": str(self.target), "ok": not self.wrong, "seed": self.seed, "findings": findings}

    def require_ok(self) -> None:
        """Raise VerificationError if anything is wrong."""
        if not self.wrong:
            return
        first = self.wrong[0]
        more = f"; and {len(self.wrong) - 1} more" if len(self.wrong) > 1 else ""
        raise VerificationError(
            f"{self.target} does not hold what it should: {first.file}: {first.text}{more}",
            f"make it again, or restore a copy; --seed {self.seed} looks at the same places",
        )


def verify(target: Path, work: Work, *, places: int = DEFAULT_PLACES, seed: int | None = None) -> Verification:
    """Check all outputs that the `run.json` of a folder tells of, or those of the work that one file is of.

    places: how many blocks of each recording are corrected again, and searched for peaks again; 0 for none. seed: says
    which; None for others each time.

    What is wrong is told and nothing raised for it, but for InputError where there is no `run.json` that can be read.
    """
    if places < 0:
        raise UsageError(f"{places} places can't be looked at", "give --places 0 or more")
    if seed is not None and seed < 0:
        raise UsageError(f"{seed} can't be a seed", "give --seed 0 or more")
    seed = secrets.randbits(32) if seed is None else seed
    entries = _entries(target)
    found = [[*_check_files(entry, work)] for entry in entries]
    damaged = {finding.file for of_entry in found for finding in of_entry if _is_of_damage(finding)}
    for entry, of_entry in zip(entries, found, strict=True):
        of_entry += _check_meaning(entry, damaged | _changed_inputs(entry, of_entry), places, seed, work)
    told = [finding for of_entry in found for finding in of_entry]
    return Verification(target, seed, [*told, *_unfinished(target)])


def _unfinished(target: Path) -> Iterator[Finding]:
    """Work in the folder that was cut off, or goes on at this moment, and may be about to replace outputs."""
    for place in sorted(target.glob(".*.work")):
        yield Finding(place.name, "work", "note", "there is unfinished work: the same command with --resume goes on")


def _is_of_damage(finding: Finding) -> bool:
    return finding.state == "wrong" and finding.check == CHECKSUMS


def _changed_inputs(entry: Entry, findings: list[Finding]) -> set[str]:
    """Names of the inputs that are not what they were."""
    wrong = {finding.check for finding in findings if finding.state == "wrong"}
    return {entry.input_path(name).name for name in entry.facts["inputs"] if input_check(name) in wrong}


def _entries(target: Path) -> list[Entry]:
    folder = _folder_of(target)
    log = folder / RUN_LOG
    if not log.is_file():
        if not target.exists():
            raise InputError(f"{target} does not exist", "give a folder that driftcli wrote, or one of its outputs")
        raise InputError(f"there is no {log}, which says what was written", "give a folder that driftcli wrote")
    try:
        outputs = outputs_in_run_log(folder)
    except OutputError as error:
        raise InputError(error.message, "it is damaged, or another program's: make the outputs again") from error
    senseless = [name for name, facts in outputs.items() if not _makes_sense(facts)]
    if senseless or not outputs:
        what = f"of {senseless[0]} what makes no sense" if senseless else "of no outputs"
        raise InputError(f"{log} tells {what}", "it is damaged, or no output is there yet: make the outputs again")
    entries = [Entry(folder, name, facts) for name, facts in outputs.items()]
    if target.is_dir() or target.name == RUN_LOG:
        return entries
    of_file = [entry for entry in entries if target.relative_to(folder).as_posix() in entry.files]
    if not of_file:
        raise InputError(f"{log} does not tell of {target.name}", "give an output, or the folder of all")
    return of_file


def _folder_of(target: Path) -> Path:
    """The folder whose `run.json` tells of a target: that of a figure is one above its own."""
    folder = target if target.is_dir() else target.parent
    within = not target.is_dir() and not (folder / RUN_LOG).is_file() and (folder.parent / RUN_LOG).is_file()
    return folder.parent if within and folder.name else folder


def _makes_sense(facts: Any) -> bool:
    """Whether what `run.json` says of an output has the parts that tell which files it is about."""
    if not isinstance(facts, dict) or not isinstance(facts.get("verb"), str):
        return False
    files, checksums = facts.get("files", []), facts.get("checksums", {})
    return (
        isinstance(facts.get("inputs"), dict)
        and isinstance(files, list)
        and all(isinstance(name, str) for name in files)
        and isinstance(checksums, dict)
        and all(isinstance(sums, dict) for sums in checksums.values())
    )


def _check_files(entry: Entry, work: Work) -> Iterator[Finding]:
    """Whether what `run.json` says, the inputs and the files of a piece of work are what they were."""
    if _is_whole(entry):
        yield Finding(entry.name, _CHECK, "ok")
    elif entry.is_older:
        yield Finding(entry.name, _CHECK, "unchecked", OLDER)
    else:
        yield Finding(entry.name, _CHECK, "wrong", "what run.json says of it is not what was written there")
    yield from _told(check_inputs(entry), entry, "inputs")
    yield from _told(check_files(entry, work), entry, CHECKSUMS)


def _check_meaning(entry: Entry, damaged: Collection[str], places: int, seed: int, work: Work) -> Iterator[Finding]:
    """Whether files hold what they should."""
    rng = np.random.default_rng([seed, zlib.crc32(entry.name.encode())])
    yield from _told(check_content(entry, damaged), entry, CONTENT)
    yield from _told(check_again(entry, damaged, places, rng, work), entry, DONE_AGAIN)


def _is_whole(entry: Entry) -> bool:
    """Whether `run.json` says of the work what was written there."""
    return bool(entry.facts.get("sha256_of_facts") == digest_of_facts(entry.name, entry.facts))


def _told(findings: Iterable[Finding], entry: Entry, check: str) -> Iterator[Finding]:
    """What a check finds. Where `run.json` is not what was written, facts that make no sense are findings, too; those
    that an older driftcli did not store can't be checked."""
    try:
        yield from findings
    except DriftcliError as error:
        yield Finding(entry.name, _CHECK, "wrong", error.message)
    except OSError as error:
        yield Finding(entry.name, _CHECK, "wrong", f"{error.filename} can't be read: {error.strerror or error}")
    except _BROKEN as error:
        if _is_whole(entry):
            raise
        if entry.is_older and isinstance(error, KeyError):
            yield Finding(entry.name, check, "unchecked", f"run.json has no {error}: {OLDER}")
            return
        yield Finding(entry.name, _CHECK, "wrong", f"run.json makes no sense: {type(error).__name__}: {error}")
