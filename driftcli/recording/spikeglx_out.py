"""The corrected pair of a SpikeGLX recording: what the binary is called, and the meta that describes it.

Readers of SpikeGLX files take the stream (imec0.ap) from the name, the counts and maps of channels from the keys
`nSavedChans` and `sns...`, and look up everything else (`~imroTbl`, `~muxTbl`, `acqApLfSy`) by the number that a
channel had when it was acquired: the latter stay as they are when channels are left out.
Source: https://billkarsh.github.io/SpikeGLX, its metadata pages.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from driftcli.errors import UsageError
from driftcli.recording.meta import Meta, one_value
from driftcli.recording.mtscomp import SUFFIX
from driftcli.recording.saved_channels import entries_of, saved_channels
from driftcli.recording.spikeglx import SAMPLE_DTYPE

_MARK = "_driftcorr"
_NAME = re.compile(
    r"(?P<run>.+?)(?P<gate_and_trigger>(_g\d+)?(_t(\d+|cat))?)(?P<stream>\.imec\d*\.ap)?", re.ASCII | re.DOTALL
)


def corrected_name(path: Path, meta: Meta) -> str:
    """`run_driftcorr_g0_t0.imec0.ap.bin` for `run_g0_t0.imec0.ap.bin`; `meta` names the stream where `path` doesn't."""
    found = _NAME.fullmatch(path.stem)
    run, gate_and_trigger = (path.stem, "") if found is None else found.group("run", "gate_and_trigger")
    return f"{run}{_MARK}{gate_and_trigger}{stream_suffix(path, meta)}"


def joined_name(path: Path, meta: Meta) -> str:
    """`run_driftcorr_g0_tcat.imec0.ap.bin` for several files, `path` the first of them: the name that CatGT gives."""
    suffix = stream_suffix(path, meta)
    stem = corrected_name(path, meta).removesuffix(suffix)
    return f"{re.sub(r'_t([0-9]+|cat)$', '', stem)}_tcat{suffix}"


def run_and_stream(path: Path, meta: Meta) -> tuple[str, str]:
    """What files of one run and one stream have in common: `("run", ".imec0.ap.bin")`."""
    found = _NAME.fullmatch(path.stem)
    return (path.stem if found is None else found["run"]), stream_suffix(path, meta)


def stream_suffix(path: Path, meta: Meta) -> str:
    """How the name of a corrected binary must end: `.imec0.ap.bin`, or `.bin` where no name tells the stream."""
    original = re.split(r"[\\/]", meta.values.get("fileName", ""))[-1].removesuffix(".bin")
    for stem in (path.stem, original):
        found = _NAME.fullmatch(stem)
        if found is not None and found["stream"]:
            return f"{found['stream']}.bin"
    return ".bin"


def require_name(out: Path, path: Path, meta: Meta) -> None:
    """Raise UsageError for a binary that readers would not find, or take for one of another stream.

    out: a plain binary, or a compressed one.
    """
    suffix = stream_suffix(path, meta)
    if out.suffix == SUFFIX:
        suffix = suffix.removesuffix(".bin") + SUFFIX
    if not out.name.endswith(suffix):
        raise UsageError(
            f"--out {out.name} is no name of a SpikeGLX binary of this stream: it must end in {suffix}",
            f"give --out {out.with_name(out.name.partition('.')[0] + suffix)}",
        )


def corrected_meta(
    meta: Meta, out: Path, columns: NDArray[np.int64], num_samples: int, notes: Mapping[str, str]
) -> dict[str, str]:
    """Keys and values of the meta of the corrected binary `out`, which will hold `columns` of the file of `meta`.

    notes: what driftcli did, under keys of its own; where there are such keys already, those of this correction are
    numbered. All other keys stay, in their order. What only the written samples tell is added by `with_sha1`.
    Raises InputError for maps of channels that don't fit the file.
    """
    size_bytes = num_samples * len(columns) * SAMPLE_DTYPE.itemsize
    values = _with_values(meta.values, _of_file(meta, out, size_bytes, num_samples))
    if len(columns) < int(meta.number("nSavedChans")):
        values = _with_values(values, _of_channels(meta, columns))
    elif "snsSaveChanSubset" not in values:
        values = _with_values(values, {"snsSaveChanSubset": channel_numbers(meta, columns)})
    return _with_values(values, _numbered(notes, values))


def with_sha1(values: Mapping[str, str], digits: str) -> dict[str, str]:
    """The same values with the SHA1 of the binary, given in hexadecimal digits."""
    return {**values, "fileSHA1": digits.upper()}


def channel_numbers(meta: Meta, columns: NDArray[np.int64]) -> str:
    """The channels on `columns`, which ascend, by the number they were acquired with: `0:383,768`."""
    saved = saved_channels(meta)
    numbers = np.concatenate([saved.acquired, saved.others])[columns]
    runs = np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1)
    return ",".join(f"{run[0]}:{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs if len(run))


def _of_file(meta: Meta, out: Path, size_bytes: int, num_samples: int) -> dict[str, str]:
    return {  # fileCreateTime stays that of the recording: the same work gives the same bytes, whenever it is done
        "fileName": one_value(out.absolute().as_posix()),
        "fileSHA1": "0",
        "fileSizeBytes": str(size_bytes),
        "fileTimeSecs": repr(num_samples / meta.number("imSampRate")),
    }


def _of_channels(meta: Meta, columns: NDArray[np.int64]) -> dict[str, str]:
    saved = saved_channels(meta)
    ap = columns[columns < saved.num_ap]
    num_lf = int(meta.text("snsApLfSy").split(",")[1])
    lf = (columns >= saved.num_ap) & (columns < saved.num_ap + num_lf)
    changes = {
        "nSavedChans": str(len(columns)),
        "snsApLfSy": f"{len(ap)},{lf.sum()},{len(columns) - len(ap) - lf.sum()}",
        "snsSaveChanSubset": channel_numbers(meta, columns),
    }
    # the maps have an entry for each saved channel, those of contacts for each saved AP channel
    for key, kept, num_saved in (
        ("~snsChanMap", columns, saved.num_columns),
        ("~snsGeomMap", ap, saved.num_ap),
        ("~snsShankMap", ap, saved.num_ap),
    ):
        if key in meta.values:
            changes[key] = _of_table(meta, key, kept.tolist(), num_saved)
    return changes


def _of_table(meta: Meta, key: str, kept: Sequence[int], num_saved: int) -> str:
    """The header of a table, which tells of the probe and not of the file, and its entries with the indices `kept`."""
    header, entries = entries_of(meta, key, num_saved)
    return f"({header})" + "".join(f"({entries[index]})" for index in kept)


def _numbered(notes: Mapping[str, str], values: Iterable[str]) -> dict[str, str]:
    taken, number = set(values), 1
    while any(f"{key}{_number(number)}" in taken for key in notes):
        number += 1
    return {f"{key}{_number(number)}": one_value(note) for key, note in notes.items()}


def _number(number: int) -> str:
    return "" if number == 1 else f"_{number}"


def _with_values(values: Mapping[str, str], changes: Mapping[str, str]) -> dict[str, str]:
    """`values` with the changes in their places, and new keys before the first table."""
    changed = {key: changes.get(key, value) for key, value in values.items()}
    keys = list(changed)
    first_table = next((index for index, key in enumerate(keys) if key.startswith("~")), len(keys))
    new = {key: value for key, value in changes.items() if key not in values}
    return {
        **{key: changed[key] for key in keys[:first_table]},
        **new,
        **{key: changed[key] for key in keys[first_table:]},
    }
