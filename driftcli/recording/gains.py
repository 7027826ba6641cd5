"""µV per file unit of the channels of a SpikeGLX recording, and how far its converter reaches.

Source: https://billkarsh.github.io/SpikeGLX, its metadata and imro table pages.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from driftcli.errors import InputError
from driftcli.recording.families import NEUROPIXELS_2, Family, family_of
from driftcli.recording.meta import META_AS_IT_WAS, Meta, shown

_MOST_INT = 32768  # samples are int16


def ap_gains_to_uv(meta: Meta, acquired: NDArray[np.int64]) -> NDArray[np.float64]:
    """µV per bit of the AP channels with numbers `acquired`: 1e6 x imAiRangeMax / imMaxInt / gain.

    Neuropixels 1.0 and Ultra (10 bits) have a gain per channel in the imro table; NP1110 has one in that table's
    header; 2.0 and later have one fixed gain. Raises InputError naming what is missing.
    """
    family = _family(meta)
    volts_per_bit = meta.number("imAiRangeMax") / _max_int(meta, family)
    if family.gains_in_imro:
        gains = _imro_gains(meta, acquired)
    else:
        gain = meta.number("imChan0apGain") if "imChan0apGain" in meta.values else family.fixed_gain
        gains = np.full(len(acquired), gain)
    if not ((gains > 0) & np.isfinite(gains)).all():
        raise InputError(f"{meta.path.name} has channels without a gain in its imroTbl", "give --gain-to-uv")
    return 1e6 * volts_per_bit / gains


def full_scale(meta: Meta) -> tuple[int, int] | None:
    """Lowest and highest value that the converter gives, in file units; None where nothing tells."""
    family = family_of(meta)
    if family is None and "imMaxInt" not in meta.values:
        return None
    highest = _max_int(meta, family or NEUROPIXELS_2)
    return -highest, highest - 1


def _family(meta: Meta) -> Family:
    family = family_of(meta)
    if family is not None:
        return family
    if {"imChan0apGain", "imMaxInt"} <= meta.values.keys():  # all that there is to know
        return NEUROPIXELS_2
    raise InputError(
        f"{meta.path.name}: probe type {meta.type_named} is not known",
        "give --gain-to-uv, and --probe with the positions of its contacts",
    )


def _max_int(meta: Meta, family: Family) -> int:
    if "imMaxInt" not in meta.values:
        return family.max_int
    max_int = meta.integer("imMaxInt")
    if not 0 < max_int <= _MOST_INT:
        raise InputError(f"{meta.path.name} has imMaxInt={max_int}, which is not from 1 to {_MOST_INT}", META_AS_IT_WAS)
    return max_int


def _imro_gains(meta: Meta, acquired: NDArray[np.int64]) -> NDArray[np.float64]:
    """AP gain of each channel: field 3 of its entry, or of NP1110's header; entries start with their channel."""
    header, entries = meta.entries("~imroTbl")
    try:
        if meta.probe_type == 1110:
            return np.full(len(acquired), float(header.split(",")[3]))
        fields = [entry.split() for entry in entries]
        gain_of = {int(entry[0]): float(entry[3]) for entry in fields}
        return np.array([gain_of[channel] for channel in acquired.tolist()], dtype=np.float64)
    except (ValueError, IndexError, KeyError) as error:
        raise InputError(
            f"{meta.path.name}: its imroTbl gives no gain for every saved channel "
            f"({type(error).__name__}: {shown(str(error))})",
            "take the meta file that SpikeGLX wrote, or give --gain-to-uv",
        ) from error
