"""Channels that the user calls bad."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from driftcli.errors import UsageError
from driftcli.model import CONTACT_LABELS, GOOD
from driftcli.recording.recording import Recording

_RANGE = re.compile(r"(\d{1,9})(?:[:-](\d{1,9}))?")
_EXCLUDED = CONTACT_LABELS.index("excluded")
_HINT = "such as --bad-channels 17,191,200:205, by the number that a channel was acquired with, or its column"


def with_bad_channels(recording: Recording, text: str | None) -> Recording:
    """The recording with the channels listed in `text` (`17,191,200:205`, ends included) labelled `excluded`.

    Raises UsageError for what is no list of channels, and for channels that have no contact.
    """
    if text is None:
        return recording
    numbers = recording.channel_numbers
    labels = np.full(len(numbers), GOOD, np.uint8) if recording.labels is None else recording.labels.copy()
    shown = text if len(text) <= 100 else f"{text[:100]}..."
    for each in text.split(","):
        found = _RANGE.fullmatch(each.strip())
        if found is None:
            raise UsageError(f"--bad-channels {shown}: {each.strip()[:100]!r} is no channel", _HINT)
        first, last = int(found[1]), int(found[2] or found[1])
        here = (numbers >= first) & (numbers <= last)
        if not here.any():
            there = f"{numbers.min()} to {numbers.max()}"
            raise UsageError(f"--bad-channels {shown}: no contact is on {each.strip()}; there are {there}", _HINT)
        labels[here] = _EXCLUDED
    return replace(recording, labels=labels)
