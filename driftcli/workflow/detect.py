"""detect: a recording in, its localized peaks out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftcli.errors import InputError
from driftcli.mask.exclude import mask_of_text
from driftcli.mask.spans import contains, merged, shares, union
from driftcli.model import GOOD, Mask, Peaks, Settings
from driftcli.recording.facts import facts_of
from driftcli.recording.recording import Recording
from driftcli.spool import Stored
from driftcli.store.peaks import PeakRows, joined_peaks, write_peaks
from driftcli.store.prepared import Prepared, read_prepared, write_prepared
from driftcli.workflow.contacts import describe_labels, labels_of, tell_of_labels
from driftcli.workflow.identity import checksum_of
from driftcli.workflow.journal import count_blocks
from driftcli.workflow.memory import within_memory
from driftcli.workflow.outdated import tell_of_outdated
from driftcli.workflow.peak_finder import Noise, PeakFinder, mask_of, noise_of, of_all, rows_in
from driftcli.workflow.place import begin, kept_from_before
from driftcli.workflow.portion import Portion
from driftcli.workflow.runlog import RunLog, tell_of_mask
from driftcli.workflow.shard import WHOLE, Shard, in_words
from driftcli.workflow.steps import DETECT_STAGES, phase_shift_of_steps
from driftcli.workflow.stream import Span
from driftcli.workflow.work import Work, check_outputs

PEAKS = "detect_and_localize"  # what the journal and the spool of one pass are called


def detect(
    recording: Recording,
    settings: Settings,
    out: Path,
    work: Work,
    *,
    exclude_times: str | None = None,
    shard: Shard = WHOLE,
) -> dict[str, Any]:
    """Detect, select and localize the peaks of a recording and write them to `out` (HDF5).

    exclude_times: spans to leave out of the estimate beside those that are found, or the file that lists them.
    shard: find and localize all peaks of that part only, for `merge` to select from and to write.

    Returns the facts that went to `run.json`, or of a shard what it did. Raises InputError when no peak is found.
    """
    check_outputs([out], recording.inputs.values())
    work = within_memory(work, recording)
    _tell_of_different_signs(settings, work)
    excluded = mask_of_text(exclude_times, recording.sampling_frequency_hz, recording.num_samples)
    log = RunLog(
        "detect",
        out,
        recording.inputs,
        settings,
        DETECT_STAGES,
        work,
        recording=recording,
        options={"excluded": np.column_stack([excluded.starts, excluded.stops]).tolist()},
    )
    kept = kept_from_before([out], log, work)
    if kept is not None:
        return kept
    log.facts["phase_shift"] = phase_shift_of_steps(settings, recording)
    with begin([out], out, log.identity, work, shard) as portion:
        prepared = _prepared(recording, settings, portion, log, work)
        labels = prepared.labels
        log.facts["bad_channels"] = describe_labels(recording, labels)
        if portion.done is not None:
            return _told_of_shard(portion, work)
        noise = Noise(prepared.noise_levels, prepared.noise_before_reference)
        finder = PeakFinder(recording, settings, labels, noise, work)
        if shard == WHOLE and settings["select"].method != "all":
            found = _find_select_localize(finder, portion, excluded, log)
        else:
            with log.timed("detect and localize"):
                found = _find_and_localize(finder, portion, shard)
        if shard != WHOLE:
            portion.mark_done(log.closed() | {"blocks": found.blocks, "columns": found.columns})
            return _told_of_shard(portion, work)
        return deliver_peaks(found, prepared, settings, excluded, portion, log, work)


@dataclass(frozen=True)
class Found:
    """Peaks in order of time, with their locations, and how many there are.

    detected: how many there were before some were selected. seen: spans that were flagged on the way. mask: what is to
    be left out of the estimate, where that is known already. blocks: how many there are, for `run.json`.
    """

    parts: Iterable[Peaks]
    count: int
    columns: tuple[str, ...]
    seen: list[Mask]
    blocks: dict[str, int]
    detected: int
    mask: Mask | None = None


def deliver_peaks(
    found: Found,
    prepared: Prepared,
    settings: Settings,
    excluded: Mask,
    portion: Portion,
    log: RunLog,
    work: Work,
) -> dict[str, Any]:
    """Write `peaks.h5` and give it its name. Raises InputError where there are no peaks."""
    facts = prepared.facts
    mask = found.mask
    if mask is None:
        seen = mask_of(found.seen, settings, facts.num_samples, facts.breaks, facts.sampling_frequency_hz)
        mask = merged([seen, excluded])
    share = shares(mask, facts.num_samples)
    if not found.count:
        portion.forget()  # to go on would find none again
        raise _no_peaks(found, prepared, settings, share["any"])
    tell_of_mask(share, work.reporter)
    peaks = portion.folder / portion.output.name
    with log.timed("write"):
        levels = of_all(prepared.noise_levels, prepared.labels)
        write_peaks(peaks, found.parts, found.count, found.columns, facts, settings, levels, mask)
    log.facts["mask"] = {"share": {name: round(each, 6) for name, each in share.items()}}
    log.facts["checksums"] = {peaks.name: checksum_of(peaks)}
    log.counts = {
        "peaks": found.count,
        "contacts": len(facts.geometry),
        "samples": facts.num_samples,
        "blocks": found.blocks,
    }
    closed = log.closed()
    portion.deliver([peaks], {log.output.name: closed})
    tell_of_outdated(log.output.parent, work.reporter)
    return {"output": str(log.output), **closed}


def _prepared(recording: Recording, settings: Settings, portion: Portion, log: RunLog, work: Work) -> Prepared:
    """Bad channels and noise levels, which an earlier process may have looked for."""
    path = portion.folder / "prepared.h5"
    if path.exists():
        with suppress(InputError):  # it is damaged: made again
            return read_prepared(path)
    with log.timed("bad channels"):
        labels = labels_of(recording, settings, work)
    tell_of_labels(recording, labels, work)
    with log.timed("noise levels"):
        noise = noise_of(recording.only(np.flatnonzero(labels == GOOD)), settings, work)
    write_prepared(path, replace(facts_of(recording), labels=labels), settings, *noise)
    return read_prepared(path)


def _find_and_localize(finder: PeakFinder, portion: Portion, shard: Shard) -> Found:
    """One pass: every block is read once for both."""
    blocks = shard.blocks(finder.blocks())
    return _collected(portion, PEAKS, finder.localizer.columns, finder.located, blocks, finder)


def _find_select_localize(finder: PeakFinder, portion: Portion, excluded: Mask, log: RunLog) -> Found:
    """Two passes: all peaks of the recording, then the choice among those that aren't masked is localized, for which
    only the blocks that hold chosen peaks are read again."""
    with log.timed("detect and select"):
        found = _collected(portion, "detect", (), finder.detected, finder.blocks(), finder)
        mask = merged([finder.mask_of(found.seen), excluded])
        everything = joined_peaks([*found.parts])
        chosen = everything.at(selected(everything, mask, finder.noise_levels, finder.settings))
    with log.timed("localize"):
        spans = [span for span in finder.blocks() if rows_in(chosen, span)]
        columns = finder.localizer.columns
        placed = _collected(portion, "localize", columns, partial(finder.located_again, chosen), spans, finder)
    return replace(placed, blocks=found.blocks, detected=found.count, mask=mask)


def _collected(
    portion: Portion,
    name: str,
    columns: tuple[str, ...],
    find: Callable[[Span], tuple[Peaks, Mask | None]],
    spans: Sequence[Span],
    finder: PeakFinder,
) -> Found:
    """What `find` gives for some blocks, and has given to an earlier process; columns: of the peaks' locations."""
    rows, journal, spool = PeakRows(columns), portion.journal(name), portion.spool(name)
    whole = {start for start, entry in journal.entries.items() if spool.get(Stored(*entry["stored"])) is not None}
    journal.kept = len(whole)
    if len(whole) < len(journal.entries):
        told = f"{len(journal.entries) - len(whole)} blocks are not what was written: done again"
        finder.reporter.message(told)

    def work(span: Span) -> None:
        journal.begin(span[0])
        peaks, seen = find(span)
        journal.record(span[0], {"stored": spool.put(rows.to_bytes(peaks)), "seen": _to_list(seen)})

    left = [span for span in spans if span[0] not in whole]
    with closing(finder.stream.map(work, left, finder.reporter, name.replace("_", " "))) as blocks:
        for _ in blocks:
            pass
    return found_by([portion], name, columns, count_blocks(journal))


def found_by(portions: Sequence[Portion], name: str, columns: tuple[str, ...], blocks: dict[str, int]) -> Found:
    """What all portions of a piece of work have found, which are in order of time."""
    rows = PeakRows(columns)
    journals = [sorted(portion.entries(name).items()) for portion in portions]
    entries = [entry for journal in journals for _, entry in journal]
    count = rows.count(sum(entry["stored"][1] for entry in entries))

    def parts() -> Iterator[Peaks]:
        for portion, journal in zip(portions, journals, strict=True):
            with portion.spool_to_read(name) as spool:
                for start, entry in journal:
                    data = spool.get(Stored(*entry["stored"]))
                    if data is None:
                        raise InputError(
                            f"{spool.path} is damaged: the peaks from sample {start} on are not those that were found",
                            "detect that part again with --overwrite",
                        )
                    yield rows.from_bytes(data)

    seen = [_from_list(entry["seen"]) for entry in entries if entry["seen"]]
    return Found(parts(), count, columns, seen, blocks, count)


def _to_list(mask: Mask | None) -> list[list[int]]:
    if mask is None:
        return []
    return [[int(value) for value in run] for run in zip(mask.starts, mask.stops, mask.reasons, strict=True)]


def _from_list(runs: list[list[int]]) -> Mask:
    starts, stops, reasons = np.array(runs, np.int64).T
    return Mask(starts, stops, reasons.astype(np.uint8))


def selected(peaks: Peaks, mask: Mask, noise_levels: NDArray[np.float64], settings: Settings) -> NDArray[np.int64]:
    """Rows of the choice among the peaks that aren't masked. noise_levels: (C,) of all contacts."""
    rows = np.flatnonzero(~contains(union(mask), peaks.sample_index))
    left = peaks.at(rows)
    stage = settings["select"]
    kept = stage.module.select(left.sample_index, left.channel_index, left.amplitude, noise_levels, stage.parameters)
    return np.asarray(rows[kept])


def _told_of_shard(portion: Portion, work: Work) -> dict[str, Any]:
    """What a shard that is done has to say."""
    missing = portion.missing()
    rest = f"not yet: {in_words(missing)}" if missing else "all are: driftcli merge makes one file of them"
    work.reporter.message(f"shard {portion.shard} is done; {rest}")
    return {"shard": str(portion.shard), "missing": [str(each) for each in missing]}


def _tell_of_different_signs(settings: Settings, work: Work) -> None:
    detected, localized = (settings[name].parameters.model_dump().get("peak_sign") for name in ("detect", "localize"))
    if localized not in (None, detected):
        work.reporter.message(f"peaks are detected with peak_sign={detected} but localized with peak_sign={localized}")


def _no_peaks(found: Found, prepared: Prepared, settings: Settings, masked: float) -> InputError:
    if found.detected:
        return InputError(
            f"all of the {found.detected:,} peaks lie in times that are left out, {masked:.2%} of the recording",
            "see why with driftcli info, exclude less, or give --set mask.method=none",
        )
    threshold = settings["detect"].parameters.model_dump()["detect_threshold"]
    level, unit = float(np.median(prepared.noise_levels)), prepared.facts.amplitude_unit
    if level == 0:
        alone = len(prepared.noise_levels) == 1 and settings["reference"].method != "none"
        hint = "--set reference.method=none for a single contact" if alone else "another file, or check --dtype"
        return InputError(
            "no peaks found: the noise level of the preprocessed signal is 0, so there is no threshold", hint
        )
    return InputError(
        f"no peaks found: none crosses the threshold of {threshold:g} times the noise level "
        f"(median {level:.3g} {unit}, so about {threshold * level:.3g} {unit})",
        "check --num-channels, --dtype and the probe, or lower the threshold with "
        f"--set detect.detect_threshold={max(threshold / 2, 3):g}",
    )
