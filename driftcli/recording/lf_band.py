"""The LF band of a SpikeGLX run: its meta, as that of an AP band would have it.

A file `X.lf.bin` holds the LF channels of the contacts that `X.ap.bin` holds the AP channels of, numbered after those,
at a lower rate and with gains of their own; maps of contacts and the imro table are the same in both metas.
Source: https://billkarsh.github.io/SpikeGLX, its metadata and imro table pages.
"""

from __future__ import annotations

from dataclasses import replace

from driftcli.errors import InputError
from driftcli.recording.meta import META_AS_IT_WAS, Meta
from driftcli.recording.saved_channels import saved_channels

_AP_GAIN, _LF_GAIN = 3, 4  # fields of an entry of the imro table


def is_lf(meta: Meta) -> bool:
    """Whether the file holds LF channels and no AP channels."""
    counts = meta.integers("snsApLfSy")
    return len(counts) == 3 and counts[0] == 0 and counts[1] > 0


def as_ap(meta: Meta) -> Meta:
    """The meta with LF channels as AP channels of the same contacts, and their gains. Raises InputError where it does
    not tell which ones were saved."""
    saved, (_, lf, sync) = saved_channels(meta), meta.integers("snsApLfSy")
    acquired = meta.integers("acqApLfSy") if "acqApLfSy" in meta.values else []
    if len(acquired) != 3:
        raise InputError(f"{meta.path.name} has no acqApLfSy, so its LF channels can't be told", META_AS_IT_WAS)
    numbers = saved.others - acquired[0]
    if len(numbers) and numbers[0] < 0:
        raise InputError(f"{meta.path.name} contradicts itself: it saves channels of no LF band", META_AS_IT_WAS)
    values = {key: value for key, value in meta.values.items() if key != "~snsChanMap"}
    values |= {
        "snsApLfSy": f"{lf},0,{sync}",
        "acqApLfSy": f"{acquired[1]},0,{acquired[2]}",
        "snsSaveChanSubset": ",".join(map(str, numbers.tolist())),
    }
    if "~imroTbl" in values:
        values["~imroTbl"] = _with_lf_gains(meta)
    return replace(meta, values=values)


def _with_lf_gains(meta: Meta) -> str:
    """The imro table with the LF gain of each channel in the place of its AP gain, where entries have one."""
    header, entries = meta.entries("~imroTbl")
    fields = [entry.split() for entry in entries]
    for entry in fields:
        if len(entry) > _LF_GAIN:
            entry[_AP_GAIN] = entry[_LF_GAIN]
    return f"({header})" + "".join(f"({' '.join(entry)})" for entry in fields)
