"""Whether what files hold fits together: shapes and times, what `run.json` counted, and the files it was made of."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import numpy as np

from driftcli.errors import InputError
from driftcli.mask.spans import shares
from driftcli.model import RecordingFacts
from driftcli.recording.meta import parse_meta
from driftcli.recording.mtscomp import CompressedSamples
from driftcli.recording.probe import lay_out, read_probe
from driftcli.reporter import Reporter
from driftcli.store.assessment import read_assessment
from driftcli.store.motion import MotionFile, read_motion
from driftcli.store.peaks import PeaksFile, peaks_in_pieces, read_peaks
from driftcli.workflow.findings import OLDER, Entry, Finding
from driftcli.workflow.identity import fingerprint
from driftcli.workflow.runlog import describe_motions
from driftcli.workflow.stream import blocks_of
from driftcli.workflow.verify_files import Binary, binaries_of

CONTENT = "content"
_OF_SOURCE = ("peaks", "depths", "samples")  # counts of what a motion was estimated from


def input_check(name: str) -> str:
    """What the check of an input is called."""
    return f"input {name}"


def check_inputs(entry: Entry) -> Iterator[Finding]:
    """Compare the inputs with what they were: their size, and their first and last megabyte.

    A time stamp alone tells of no other content: copies have new ones. An input that is gone, or on a disk that isn't
    there now, can't be compared, which is no fault of the outputs.
    """
    for name, known in entry.facts["inputs"].items():
        path = entry.input_path(name)
        check = input_check(name)
        try:
            now = fingerprint(path)
        except InputError as error:
            yield Finding(entry.name, check, "unchecked", error.message)
            continue
        if now["size_bytes"] != known["size_bytes"]:
            told = f"{path} has {now['size_bytes']:,} bytes, not {known['size_bytes']:,}"
            yield Finding(entry.name, check, "wrong", told)
        elif "sha256_of_ends" not in known and entry.is_older:
            yield Finding(entry.name, check, "unchecked", OLDER)
        elif now["sha256_of_ends"] != known["sha256_of_ends"]:
            told = f"the first or last megabyte of {path} is not what it was"
            yield Finding(entry.name, check, "wrong", told)
        elif now["modified"] != known["modified"]:
            told = f"{path} is from {now['modified']}, not {known['modified']}, but has the same size and ends"
            yield Finding(entry.name, check, "note", told)
        else:
            yield Finding(entry.name, check, "ok")


def check_content(entry: Entry, damaged: Collection[str]) -> Iterator[Finding]:
    """Look into the files of an entry, but for those that aren't there and the damaged ones: reading such a file can do
    anything, and what there is to say of it has been said."""
    sound = {name for name in entry.files if name not in damaged and entry.path(name).is_file()}
    verb = entry.facts["verb"]
    if verb == "apply":
        yield from _check_apply(entry, sound)
    elif verb in _FAULTS and entry.name in sound:
        yield _finding(entry.name, _FAULTS[verb], entry)


def _finding(name: str, faults_of: Callable[..., Iterator[str]], entry: Entry, *arguments: Any) -> Finding:
    """All that is wrong with a file, as one finding; an error that reading it raises is among it."""
    faults: list[str] = []
    try:
        for fault in faults_of(entry, *arguments):
            faults.append(fault)  # one by one: those before an error are told, too
    except InputError as error:
        faults.append(error.message)
    except KeyError as error:
        if not entry.is_older:
            raise
        if not faults:
            return Finding(name, CONTENT, "unchecked", f"run.json has no {error}: {OLDER}")
    return Finding(name, CONTENT, "wrong", "; ".join(faults)) if faults else Finding(name, CONTENT, "ok")


def _different(what: str, found: Any, known: Any) -> Iterator[str]:
    if found != known:
        yield f"{what}: {found}, but run.json says {known}"


def _peaks_faults(entry: Entry) -> Iterator[str]:
    path, facts = entry.path(entry.name), entry.facts
    head = read_peaks(path, slice(0, 0))
    yield from _order_faults(entry)
    if facts["verb"] != "detect":
        return
    yield from _facts_faults(head.facts, facts)
    yield from _preset_faults(head.preset, facts["preset"])
    yield from _different("number of contacts", len(head.facts.geometry), facts["counts"]["contacts"])
    yield from _different("number of samples", head.facts.num_samples, facts["counts"]["samples"])
    yield from _mask_faults(head, facts["mask"]["share"])
    if len(head.noise_levels) != len(head.facts.geometry):
        yield f"{len(head.noise_levels)} noise levels of {len(head.facts.geometry)} contacts"
    yield from _blocks_faults(facts)


def _order_faults(entry: Entry) -> Iterator[str]:
    """That peaks lie within the recording and on its contacts is seen to where they are read."""
    count, last = 0, -1
    ascending = True
    for peaks in peaks_in_pieces(entry.path(entry.name)):
        samples = np.concatenate([[last], peaks.sample_index])
        ascending = ascending and bool((np.diff(samples) >= 0).all())
        count, last = count + len(peaks), int(samples[-1])
    if not ascending:
        yield "its peaks are not in order of time"
    yield from _different("number of peaks", count, entry.facts["counts"]["peaks"])


def _mask_faults(head: PeaksFile, known: Mapping[str, float]) -> Iterator[str]:
    share = {name: round(each, 6) for name, each in shares(head.mask, head.facts.num_samples).items()}
    yield from _different("share that is masked", share, known)


def _facts_faults(found: RecordingFacts, facts: Mapping[str, Any]) -> Iterator[str]:
    known = facts["recording"]
    for key in ("sampling_frequency_hz", "num_samples", "num_columns", "dtype", "offset_bytes", "origin"):
        yield from _different(f"{key} of the recording", getattr(found, key), known[key])
    yield from _different("breaks of the recording", found.breaks.tolist(), known["breaks"])


def _preset_faults(found: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[str]:
    other = [stage for stage in known if found.get(stage) != known[stage]]
    if other:
        yield f"its preset has other stages than run.json: {', '.join(other)}"


def _blocks_faults(facts: Mapping[str, Any]) -> Iterator[str]:
    recording = facts["recording"]
    grid = blocks_of(recording["num_samples"], np.array(recording["breaks"], np.int64))
    yield from _different("number of blocks of the recording", len(grid), facts["counts"]["blocks"]["total"])


def _motion_faults(entry: Entry) -> Iterator[str]:
    path, facts = entry.path(entry.name), entry.facts
    file = read_motion(path)
    yield from _time_faults(file)
    yield from _preset_faults(file.preset, facts["preset"])
    if facts["verb"] == "estimate":
        counts = {key: value for key, value in facts["counts"].items() if key not in _OF_SOURCE}
        yield from _different("motion", describe_motions(file.motions), counts)


def _assessment_faults(entry: Entry) -> Iterator[str]:
    file = read_assessment(entry.path(entry.name))
    yield from _preset_faults(file.preset, entry.facts["preset"])
    yield from _different("verdict", file.assessment.verdict, entry.facts["verdict"])
    yield from _different("motion that it is of", file.motion_sha256, entry.facts["inputs"]["motion"]["sha256"])
    known = {name: shank["verdict"] for name, shank in entry.facts["counts"]["shanks"].items()}
    found = {str(shank): each.verdict for shank, each in file.assessment.shanks.items()}
    yield from _different("verdicts on shanks", found, known)


def _time_faults(file: MotionFile) -> Iterator[str]:
    """Whether the motion is that of the time that it says; that its bins ascend and all is finite is seen to where it
    is read."""
    if file.facts is not None:
        missing = [shank for shank, _ in file.facts.geometry.each_shank() if shank not in file.motions]
        if missing:
            yield f"it has no motion of shank {missing[0]}"
        if file.duration_s < file.facts.duration_s:
            yield f"it covers {file.duration_s:.3f} s of a recording of {file.facts.duration_s:.3f} s"
    for shank, motion in sorted(file.motions.items()):
        first_s, last_s = motion.temporal_bins_s[[0, -1]].tolist()
        bin_s = float(np.diff(motion.temporal_bins_s).max()) if len(motion.temporal_bins_s) > 1 else file.duration_s
        if first_s < 0 or last_s > file.duration_s + bin_s:
            yield f"its bins of shank {shank} lie between {first_s:.3f} and {last_s:.3f} s of {file.duration_s:.3f} s"


_FAULTS = {
    "detect": _peaks_faults,
    "correct-peaks": _peaks_faults,
    "estimate": _motion_faults,
    "import": _motion_faults,
    "assess": _assessment_faults,
}


def _check_apply(entry: Entry, sound: Collection[str]) -> Iterator[Finding]:
    facts = entry.facts
    faults = [
        *_blocks_faults(facts),
        *_different("number of samples", facts["recording"]["num_samples"], facts["counts"]["samples"]),
    ]
    if faults:
        yield Finding(entry.name, CONTENT, "wrong", "; ".join(faults))
    for binary in binaries_of(entry):
        if entry.path(binary.name).is_file() and (binary.header is None or binary.header in sound):
            yield _finding(binary.name, _binary_faults, entry, binary)
        if binary.meta is not None and binary.meta in sound:
            yield _finding(binary.meta, _meta_faults, entry, binary)
    probe = facts["files"][-1]
    if probe in sound:
        yield _finding(probe, _probe_faults, entry, probe)


def _binary_faults(entry: Entry, binary: Binary) -> Iterator[str]:
    path, size_bytes = entry.path(binary.name), binary.num_samples * binary.frame_bytes
    shape = f"{binary.num_samples} samples of {binary.num_columns} columns of {binary.dtype.name}"
    if binary.header is None:
        if path.stat().st_size != size_bytes:
            yield f"{path.stat().st_size:,} bytes are not {shape}"
        return
    samples = CompressedSamples.open(path)
    found = f"{samples.num_samples} samples of {samples.num_columns} columns of {samples.dtype.name}"
    if found != shape:
        yield f"it holds {found}, not {shape}"


def _meta_faults(entry: Entry, binary: Binary) -> Iterator[str]:
    try:
        values = parse_meta(entry.path(str(binary.meta)).read_bytes())
    except OSError as error:
        raise InputError(
            f"it can't be read: {error.strerror or error}", "check its permissions and the disk"
        ) from error
    size_bytes = binary.num_samples * binary.frame_bytes
    for key, known in (("fileSizeBytes", size_bytes), ("nSavedChans", binary.num_columns)):
        if values.get(key) != str(known):
            yield f"its {key} is {values.get(key)}, that of the binary {known}"


def _probe_faults(entry: Entry, name: str) -> Iterator[str]:
    counts, recording = entry.facts["counts"], entry.facts["recording"]
    if not name.endswith(".json"):
        raise InputError(f"{name} is no name of a probe that driftcli writes", "give it back the name it had")
    columns = lay_out(read_probe(entry.path(name)), name, Reporter()).columns
    if columns.max() >= counts["columns"]:
        yield f"it wires column {columns.max()} of {counts['columns']}"
    written = recording["num_columns"] - counts["removed_contacts"]
    yield from _different("number of columns less those removed", written, counts["columns"])
