"""apply: a recording and its motion in, the corrected binary out."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftcli.errors import InputError
from driftcli.model import HELPS, Footprints, Settings
from driftcli.recording.facts import facts_of
from driftcli.recording.probe import write_probe
from driftcli.recording.recording import Recording
from driftcli.spool import Spool
from driftcli.store.assessment import read_assessment
from driftcli.store.motion import MotionFile, read_motion, without_motion
from driftcli.workflow.assess import default_assessment
from driftcli.workflow.contacts import describe_labels, labels_of, tell_of_labels
from driftcli.workflow.corrector import Corrector
from driftcli.workflow.fit import of_any_band, offset, require_fit, tell_of_joined_bins
from driftcli.workflow.identity import checksum_of
from driftcli.workflow.journal import Journal, count_blocks
from driftcli.workflow.learn import learn, most_bytes, peaks_for
from driftcli.workflow.memory import NO_FOOTPRINTS, within_memory
from driftcli.workflow.outdated import tell_of_outdated
from driftcli.workflow.outputs import Outputs, meta_of, outputs_of
from driftcli.workflow.place import begin, kept_from_before
from driftcli.workflow.portion import Portion, final
from driftcli.workflow.runlog import RunLog
from driftcli.workflow.shard import WHOLE, Shard, in_words
from driftcli.workflow.sinks import Put, Sink, sinks_of
from driftcli.workflow.steps import APPLY_STAGES, phase_shift_facts, warning_of_shifts
from driftcli.workflow.work import Work, check_outputs

_JOURNAL, _SPOOL = "apply", "compressed"


def apply(
    recording: Recording,
    motion_path: Path,
    settings: Settings,
    out: Path,
    work: Work,
    *,
    dtype: str | None = None,
    split: bool = False,
    compress: bool = False,
    if_better: bool = False,
    peaks_path: Path | None = None,
    shard: Shard = WHOLE,
) -> dict[str, Any]:
    """Interpolate a recording's traces back along its motion, and write them to `out` with their probe beside it.

    The binary has the recording's columns in their order (without those of removed contacts), its number of samples and
    its µV per bit. That of a SpikeGLX recording gets a meta beside it. dtype: int16 or float32, by default the
    recording's. split: write a binary for each file of the recording; `out` is then their folder. compress: write
    mtscomp's format. if_better: leave the signal where it is unless the motion's assessment says that it helps.
    peaks_path: the peaks that weights are fitted to, by default those beside the motion. shard: correct only that part;
    who ends last of all shards gives the outputs their names.

    Returns the facts that went to `run.json`, or of a shard that did not end last what it did. Raises InputError when
    the motion or the peaks don't fit the recording.
    """
    outputs = outputs_of(recording, out, dtype, split=split, compress=compress)
    inputs = recording.inputs | {"motion": motion_path}
    if if_better:
        inputs["assessment"] = _assessment_of(motion_path)
    peaks_path = peaks_for(settings, peaks_path, motion_path, work)
    if peaks_path is not None:
        inputs["peaks"] = peaks_path
    check_outputs(outputs.files, inputs.values())
    fitting = NO_FOOTPRINTS if peaks_path is None else most_bytes(recording, settings)
    work = within_memory(work, recording, dtype, fitting)
    file = read_motion(motion_path, every_bin=False)
    file = of_any_band(facts_of(recording), file)
    require_fit(facts_of(recording), file, "the recording")
    tell_of_joined_bins(file, work.reporter)
    first = outputs.binaries[0].binary
    out_dtype = np.dtype(dtype or recording.dtype)
    log = RunLog(
        "apply",
        first,
        inputs,
        settings,
        APPLY_STAGES,
        work,
        recording=recording,
        options={"dtype": out_dtype.name, "split": split, "compress": compress, "if_better": if_better},
    )
    if if_better:
        file = _if_it_helps(file, inputs["assessment"], log, work)
    kept = kept_from_before(outputs.files, log, work)
    if kept is not None:
        return kept
    log.facts["phase_shift"] = phase_shift_facts(settings, recording)
    log.facts["files"] = [path.name for path in outputs.files]
    with begin(outputs.files, first, log.identity, work, shard) as portion:
        with log.timed("prepare"):
            moved_by = motion_path.name if log.facts.get("corrected", True) else f"none: {log.facts['verdict']}"
            known, look = _known_labels(file, settings)
            labels = labels_of(recording, settings, work, known, look)
            begins_at = offset(facts_of(recording), file)
        footprints: dict[int, Footprints] = {}
        if peaks_path is not None:
            with log.timed("footprints"):
                context = (recording, peaks_path, file.motions, settings, labels, work)
                footprints, log.facts["footprints"] = learn(*context, begins_at=begins_at)
        with log.timed("prepare"):
            corrector = Corrector(
                recording, file.motions, settings, out_dtype, labels, work, footprints, begins_at=begins_at
            )
            metas = [meta_of(output, corrector.corrected(), settings, moved_by) for output in outputs.binaries]
        if look:  # else an earlier verb has told
            tell_of_labels(recording, labels, work)
        log.facts["bad_channels"] = describe_labels(recording, labels)
        correction = _Correction(corrector, outputs, metas, portion, log, work)
        done = correction.whole() if shard == WHOLE else correction.shard(shard)
    if "output" in done:
        _tell_of_pairs(recording, settings, outputs, work)
    return done


class _Correction:
    """A correction on its way to the disk, and what it leaves there."""

    def __init__(
        self,
        corrector: Corrector,
        outputs: Outputs,
        metas: list[dict[str, str] | None],
        portion: Portion,
        log: RunLog,
        work: Work,
    ) -> None:
        self._corrector, self._outputs, self._metas = corrector, outputs, metas
        self._portion, self._log, self._work = portion, log, work

    def whole(self) -> dict[str, Any]:
        """Do all of it, but for what is done already, and deliver it."""
        journal, spool = self._portion.journal(_JOURNAL), self._portion.spool(_SPOOL)
        with self._log.timed("apply"):
            checksums, clipped = self._fill_and_finish(journal, spool, {self._portion.folder.name: spool})
        return self._deliver(checksums, clipped, count_blocks(journal))

    def shard(self, shard: Shard) -> dict[str, Any]:
        """Do a shard of it, and deliver if all others are done."""
        if self._portion.done is None:
            journal, spool = self._portion.journal(_JOURNAL), self._portion.spool(_SPOOL)
            spans = shard.blocks(self._corrector.blocks())
            with self._log.timed("apply"), self._sinks(spool, {self._portion.folder.name: spool}) as sinks:
                outputs = list(zip(self._outputs.binaries, sinks, strict=True))
                with closing(self._corrector.fill(outputs, spans, journal)) as entries:
                    for _ in entries:
                        pass
            binaries = [self._portion.place / output.binary.name for output in self._outputs.binaries]
            self._portion.mark_done({"blocks": count_blocks(journal)}, [path for path in binaries if path.exists()])
        missing = self._portion.missing()
        if missing:
            self._work.reporter.message(f"shard {shard} is done; not yet: {in_words(missing)}")
            return {"shard": str(shard), "missing": [str(each) for each in missing]}
        with self._portion.finishing() as alone:
            if alone:
                return self._finish_all()
            self._work.reporter.message(f"shard {shard} is done, as all are; another process puts them together")
            return {"shard": str(shard), "missing": []}

    def _finish_all(self) -> dict[str, Any]:
        """Read back what all shards did, in order, and deliver it. What is not whole any more is done again."""
        portions = self._portion.all_of_work(self._log.identity, self._work.mixed)
        journal = self._portion.journal("finish")
        journal.entries |= {start: entry for each in portions for start, entry in each.entries(_JOURNAL).items()}
        with ExitStack() as stack:
            spools = {each.folder.name: stack.enter_context(each.spool_to_read(_SPOOL)) for each in portions}
            with self._log.timed("finish"):
                checksums, clipped = self._fill_and_finish(journal, spools[self._portion.folder.name], spools)
            redone = journal.begun + sum((each.done or {})["blocks"]["redone"] for each in portions)
            blocks = {"total": len(journal.entries), "shards": len(portions), "redone": redone}
            return self._deliver(checksums, clipped, blocks)

    def _fill_and_finish(self, journal: Journal, own: Spool, spools: Mapping[str, Spool]) -> tuple[dict[str, Any], int]:
        """All blocks, new ones and those that the journal knows; checksums of the files and the clipped values."""
        binaries, clipped = self._outputs.binaries, 0
        puts: list[list[Put]] = [[] for _ in binaries]
        with self._sinks(own, spools) as sinks:
            with closing(self._corrector.fill(list(zip(binaries, sinks, strict=True)), None, journal)) as entries:
                for entry in entries:
                    clipped += entry["clipped"]
                    for index, put in entry["puts"]:
                        puts[index].append(put)
            finished = [sink.finish(of_sink) for sink, of_sink in zip(sinks, puts, strict=True)]
        return {name: sums for each in finished for name, sums in each.items()}, clipped

    def _sinks(self, own: Spool, spools: Mapping[str, Spool]) -> AbstractContextManager[list[Sink]]:
        corrector = self._corrector
        context = (self._portion.place, corrector.dtype, len(corrector.columns), self._metas)
        return sinks_of(self._outputs.binaries, *context, own, spools)

    def _deliver(self, checksums: dict[str, Any], clipped: int, blocks: dict[str, int]) -> dict[str, Any]:
        corrector, place, log = self._corrector, self._portion.place, self._log
        probe = place / self._outputs.probe.name
        write_probe(probe, corrector.recording, corrector.interpolator.kept_contacts, corrector.kept_columns_out)
        if clipped:
            self._work.reporter.message(f"{clipped} values went beyond the range of int16 and were clipped")
        log.counts = {
            "samples": corrector.recording.num_samples,
            "columns": len(corrector.columns),
            "removed_contacts": len(corrector.recording.geometry) - len(corrector.interpolator.kept_contacts),
            "clipped_values": clipped,
            "dtype": str(corrector.dtype),
            "blocks": blocks,
        }
        log.facts["checksums"] = {**checksums, probe.name: checksum_of(probe)}
        # the binary last: who finds it finds all that goes with it
        files = [probe, *(place / path.name for output in self._outputs.binaries for path in reversed(output.files))]
        facts = log.closed()
        self._portion.deliver(files, {log.output.name: facts})
        tell_of_outdated(log.output.parent, self._work.reporter)
        return {"output": str(log.output), **facts}


def _assessment_of(motion_path: Path) -> Path:
    """Where it is. Raises InputError where there is none."""
    path = default_assessment(motion_path)
    if not path.exists():
        called = final(motion_path)
        raise InputError(f"{called} has not been assessed: there is no {path.name}", f"driftcli assess PEAKS {called}")
    return path


def _if_it_helps(file: MotionFile, assessment_path: Path, log: RunLog, work: Work) -> MotionFile:
    """The motion if its assessment says that it helps, else one that stands still."""
    found = read_assessment(assessment_path)
    if found.motion_sha256 != log.facts["inputs"]["motion"]["sha256"]:
        raise InputError(f"{assessment_path} is of another motion", "driftcli assess PEAKS MOTION --overwrite")
    verdict = found.assessment.verdict
    log.facts |= {"verdict": verdict, "corrected": verdict == HELPS}
    if verdict == HELPS:
        return file
    work.reporter.message(f"the verdict is: {verdict}; so the signal is written without interpolation")
    return without_motion(file)


def _known_labels(file: MotionFile, settings: Settings) -> tuple[NDArray[np.uint8] | None, bool]:
    """The labels that the motion carries, and whether the data must be looked at: for a motion that carries none, or
    whose labels were found in another way than these settings ask for."""
    known = None if file.facts is None else file.facts.labels
    found_so = file.preset.get("bad_channels") == settings.to_dict()["bad_channels"]
    return known, known is None or not found_so


def _tell_of_pairs(recording: Recording, settings: Settings, outputs: Outputs, work: Work) -> None:
    meta = outputs.binaries[0].meta
    if meta is not None and "probe" in recording.inputs:
        given = recording.inputs["probe"].name
        told = f"{meta.name} keeps the geometry that SpikeGLX wrote"
        work.reporter.message(f"{told}; that of {given} is in {outputs.probe.name}")
    warning = warning_of_shifts(settings, recording)
    if warning is not None:
        work.reporter.message(warning)
