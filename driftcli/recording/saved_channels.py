"""Which channels the columns of a SpikeGLX file hold, and which of them are in use.

The same facts are in several keys of a meta: those that are there must agree.
Source: https://billkarsh.github.io/SpikeGLX, its metadata pages (snsSaveChanSubset, ~snsChanMap, ~snsGeomMap).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from driftcli.errors import InputError
from driftcli.model import CONTACT_LABELS, GOOD, LARGEST_PLACE_UM, MOST_COLUMNS
from driftcli.recording.meta import META_AS_IT_WAS, Meta, shown

MAPS_OF_CONTACTS = ("~snsGeomMap", "~snsShankMap")
_REFERENCE = CONTACT_LABELS.index("reference")
_RANGE = re.compile(r"([0-9]{1,9})(?::([0-9]{1,9}))?")


@dataclass(frozen=True)
class SavedChannels:
    """Columns of the file: first `num_ap` AP channels, then LF channels, then sync words.

    acquired: (num_ap,) int64, the number of each saved AP channel among those acquired.
    others: (num_columns - num_ap,) int64, the same of the other columns.
    """

    num_columns: int
    num_ap: int
    acquired: NDArray[np.int64]
    others: NDArray[np.int64]


def saved_channels(meta: Meta) -> SavedChannels:
    """Which channels the file's columns hold. Raises InputError where the meta contradicts itself.

    `snsSaveChanSubset` and `~snsChanMap` list them; where neither does, the AP channels count from 0 and the sync
    words are the last that were acquired.
    """
    num_columns, counts = meta.integer("nSavedChans"), meta.integers("snsApLfSy")
    if len(counts) != 3 or sum(counts) != num_columns or not 0 < num_columns <= MOST_COLUMNS:
        raise _contradiction(meta, f"nSavedChans={num_columns}, snsApLfSy={meta.shown('snsApLfSy')}")
    acquired_counts = _acquired_counts(meta, counts)
    listed = [each for each in (_of_subset(meta, num_columns), _of_map(meta, num_columns)) if each is not None]
    if len(listed) == 2 and listed[0] != listed[1]:
        raise _contradiction(meta, "its snsSaveChanSubset and ~snsChanMap list other channels")
    numbers = np.array(listed[0] if listed else _assumed(counts, acquired_counts), dtype=np.int64)
    ap, others = np.split(numbers, counts[:1])
    if (np.diff(numbers) <= 0).any() or (len(ap) and ap[-1] >= acquired_counts[0]):
        raise _contradiction(
            meta, f"the saved channels don't ascend, or are not among those acquired (acqApLfSy={acquired_counts})"
        )
    return SavedChannels(num_columns, counts[0], ap, others)


def entries_of(meta: Meta, key: str, num_saved: int) -> tuple[str, list[str]]:
    """Header and entries of a table of saved channels. Raises InputError unless it has one for each of them."""
    header, entries = meta.entries(key)
    if len(entries) != num_saved:
        raise _contradiction(meta, f"its {key} has {len(entries)} entries for {num_saved} saved channels")
    return header, entries


def places_of(meta: Meta, key: str, saved: SavedChannels) -> NDArray[np.float64]:
    """A map of contacts, (num_ap, 4): shank, two coordinates, and 1 where the channel is in use, else 0."""
    _, entries = entries_of(meta, key, saved.num_ap)
    try:
        places = np.array([[float(each) for each in entry.split(":")] for entry in entries])
    except ValueError:
        places = np.empty(0)
    fits = places.shape == (saved.num_ap, 4) and bool((np.abs(places) < LARGEST_PLACE_UM).all())
    if not fits or (places[:, 0] % 1 != 0).any() or not np.isin(places[:, 3], (0, 1)).all():
        raise InputError(
            f"{meta.path.name} has a {key} whose entries are not four numbers: shank, place, place, and 0 or 1",
            META_AS_IT_WAS,
        )
    return places


def contact_labels(meta: Meta, saved: SavedChannels) -> NDArray[np.uint8]:
    """What is wrong with each saved AP channel, (num_ap,) uint8, indices of `CONTACT_LABELS`.

    `reference` for those that a map of contacts has as not used: reference sites, and those that a user switched off.
    """
    labels = np.full(saved.num_ap, GOOD, dtype=np.uint8)
    for key in MAPS_OF_CONTACTS:
        if key in meta.values:
            labels[places_of(meta, key, saved)[:, 3] == 0] = _REFERENCE
    return labels


def _acquired_counts(meta: Meta, counts: list[int]) -> list[int]:
    """AP, LF and sync channels that were acquired; without a word on that, those saved or listed."""
    if "acqApLfSy" not in meta.values:
        return [MOST_COLUMNS, *counts[1:]]
    acquired = meta.integers("acqApLfSy")
    if len(acquired) != 3 or any(a < saved for a, saved in zip(acquired, counts, strict=False)):
        raise _contradiction(meta, f"acqApLfSy={meta.shown('acqApLfSy')}, snsApLfSy={meta.shown('snsApLfSy')}")
    return acquired


def _of_subset(meta: Meta, num_columns: int) -> list[int] | None:
    """The channels of a list such as `0:150,768`, whose ranges include their ends; None where it doesn't tell."""
    subset = meta.values.get("snsSaveChanSubset", "all")
    if subset == "all":
        return None
    found = [_RANGE.fullmatch(each.strip()) for each in subset.split(",")]
    ranges = [range(int(each[1]), int(each[2] or each[1]) + 1) for each in found if each]
    if len(ranges) < len(found):
        raise InputError(
            f"{meta.path.name} has snsSaveChanSubset={shown(subset)}, which lists no channels", META_AS_IT_WAS
        )
    if sum(map(len, ranges)) != num_columns:  # before a wrong number makes a list of a billion
        raise _contradiction(meta, f"nSavedChans={num_columns}, snsSaveChanSubset={shown(subset)}")
    return [channel for each in ranges for channel in each]


def _of_map(meta: Meta, num_columns: int) -> list[int] | None:
    """The channels of a map with entries (name;channel:place in the order of display); None where there is none."""
    if "~snsChanMap" not in meta.values:
        return None
    _, entries = entries_of(meta, "~snsChanMap", num_columns)
    found = [re.fullmatch(r"[^;]*;\s*([0-9]{1,9})\s*:.*", entry, re.DOTALL) for entry in entries]
    if not all(found):
        raise InputError(f"{meta.path.name} has a ~snsChanMap whose entries name no channels", META_AS_IT_WAS)
    return [int(each[1]) for each in found if each]


def _assumed(counts: list[int], acquired: list[int]) -> list[int]:
    ap, lf, sync = counts
    if acquired[0] == MOST_COLUMNS:
        return list(range(ap + lf + sync))
    end = sum(acquired)
    return [*range(ap), *range(acquired[0], acquired[0] + lf), *range(end - sync, end)]


def _contradiction(meta: Meta, what: str) -> InputError:
    return InputError(f"{meta.path.name} contradicts itself: {what}", META_AS_IT_WAS)
