"""merge: the peaks that all shards of detect found in, one peaks file out. Needs no recording."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftcli import presets
from driftcli.errors import InputError, OutputError
from driftcli.files import refuse_existing
from driftcli.mask.spans import mask_from, merged
from driftcli.model import Mask, Peaks, Settings
from driftcli.store.peaks import joined_peaks
from driftcli.store.prepared import Prepared, read_prepared
from driftcli.workflow.detect import PEAKS, Found, deliver_peaks, found_by, selected
from driftcli.workflow.peak_finder import mask_of, of_all
from driftcli.workflow.place import disk_errors, require_size, sweep
from driftcli.workflow.portion import Portion, go_on_delivering, portions_of
from driftcli.workflow.runlog import RunLog, outputs_in_run_log
from driftcli.workflow.shard import in_words
from driftcli.workflow.stream import blocks_of
from driftcli.workflow.work import Work

_NOISE_WITHIN = 1e-3  # of machines of different types


def merge(out: Path, work: Work) -> dict[str, Any]:
    """Make `out`, peaks.h5, of what all shards of detect found; select from that, if the preset does.

    The file is to the byte what detect writes in one go. Returns the facts that went to `run.json`. Raises InputError
    where shards are missing or were cut in two ways, OutputError where one is of other work.
    """
    with disk_errors(out):
        return _whole(out, work) or _merge(out, work)


def _whole(out: Path, work: Work) -> dict[str, Any] | None:
    """What is known of peaks that are whole already: merged by an earlier process, or found by one alone."""
    if work.resume:
        go_on_delivering(out)
    known = outputs_in_run_log(out.parent).get(out.name)
    if known is None or not out.exists() or portions_of(out):
        return None
    sweep(out)
    require_size(out, out.parent, known)
    work.reporter.message(f"{out.name} is whole: kept as it is")
    return {"output": str(out), **known}


def _merge(out: Path, work: Work) -> dict[str, Any]:
    portions = _all_done(out)
    with portions[0].finishing() as alone:
        if not alone:
            raise OutputError(f"another process merges the shards of {out}", "wait until it ends")
        identity = _of_most(portions)
        portions[0].all_of_work(identity, work.mixed)
        refuse_existing(out, work.overwrite or portions[0].may_overwrite)
        excluded = mask_from({"excluded": np.array(identity["options"]["excluded"], np.int64).reshape(-1, 2)})
        return _merged(out, portions, excluded, work)


def _merged(
    out: Path,
    portions: Sequence[Portion],
    excluded: Mask,
    work: Work,
) -> dict[str, Any]:
    done = [portion.done or {} for portion in portions]
    prepared = _one_of(portions, work)
    settings = presets.resolve(prepared.preset)
    columns = tuple(done[0]["columns"])
    blocks = {key: sum(facts["blocks"][key] for facts in done) for key in done[0]["blocks"]}
    _require_all_blocks(portions, prepared)

    def find() -> Found:
        return found_by(portions, PEAKS, columns, blocks | {"shards": len(portions)})

    found = find() if settings["select"].method == "all" else _selected(find, prepared, settings, excluded)
    log = RunLog.of_shards(out, done)
    log.facts |= {"mixed": True} if work.mixed else {}
    return deliver_peaks(found, prepared, settings, excluded, portions[0], log, work)


def _of_most(portions: Sequence[Portion]) -> dict[str, Any]:
    """The identity that most shards have: others are named as not of this work."""
    texts = [json.dumps(portion.identity, sort_keys=True) for portion in portions]
    identity: dict[str, Any] = json.loads(Counter(texts).most_common(1)[0][0])
    return identity


def _all_done(out: Path) -> list[Portion]:
    """All shards, in order. Raises InputError unless all are there, once."""
    portions = portions_of(out)
    counts = sorted({portion.shard.count for portion in portions})
    if not counts:
        raise InputError(f"there are no shards of {out}", "driftcli detect --shard 1/4 does one, driftcli submit all")
    if len(counts) > 1:
        ways = " and ".join(
            in_words([each.shard for each in portions if each.shard.count == count]) for count in counts
        )
        raise InputError(
            f"{out} was cut into shards in more than one way: {ways}", f"remove one of them from {portions[0].place}"
        )
    missing = portions[0].missing()
    if missing:
        raise InputError(
            f"not all {counts[0]} shards of {out} are done: {in_words(missing)} missing",
            "do them with driftcli detect --shard, then merge again",
        )
    return portions


def _one_of(portions: Sequence[Portion], work: Work) -> Prepared:
    """What all shards knew before they looked for peaks, which has to be the same."""
    first, *others = [read_prepared(portion.folder / "prepared.h5") for portion in portions]
    within = _NOISE_WITHIN if work.mixed else 0.0
    for portion, other in zip(portions[1:], others, strict=True):
        same = np.array_equal(first.labels, other.labels) and all(
            np.allclose(ours, theirs, rtol=within, atol=0)
            for ours, theirs in (
                (first.noise_levels, other.noise_levels),
                (first.noise_before_reference, other.noise_before_reference),
            )
        )
        if not same:
            raise OutputError(
                f"shard {portion.shard} of {portion.output.name} found other bad channels or noise levels than shard 1",
                "do it again on a machine like the others",
            )
    return first


def _require_all_blocks(portions: Sequence[Portion], prepared: Prepared) -> None:
    blocks = blocks_of(prepared.facts.num_samples, prepared.facts.breaks)
    for portion in portions:
        wanted = [start for start, _ in portion.shard.blocks(blocks)]
        if sorted(portion.entries(PEAKS)) != wanted:
            raise InputError(
                f"shard {portion.shard} of {portion.output.name} does not hold all of its {len(wanted)} blocks",
                f"do that shard again with --shard {portion.shard} --overwrite",
            )


def _selected(find: Callable[[], Found], prepared: Prepared, settings: Settings, excluded: Mask) -> Found:
    """The choice that detect makes in one go before it localizes peaks, which here all are. Locations are read again
    for those chosen only: memory holds none of the others."""
    found = find()
    facts = prepared.facts
    seen = mask_of(found.seen, settings, facts.num_samples, facts.breaks, facts.sampling_frequency_hz)
    mask = merged([seen, excluded])
    levels = of_all(prepared.noise_levels, prepared.labels)
    everything = joined_peaks([replace(part, location={}) for part in found.parts])
    chosen = selected(everything, mask, levels, settings)
    parts = _at(find().parts, chosen)
    return Found(parts, len(chosen), found.columns, [], found.blocks, found.count, mask)


def _at(parts: Iterable[Peaks], rows: NDArray[np.int64]) -> Iterator[Peaks]:
    """Those of all peaks that are in some rows, ascending."""
    start = 0
    for part in parts:
        first, last = np.searchsorted(rows, [start, start + len(part)])
        yield part.at(rows[first:last] - start)
        start += len(part)
