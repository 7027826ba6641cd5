"""When the channels of a Neuropixels probe are sampled, within each sample of the file.

A probe has fewer converters (ADCs) than channels: each takes its channels in turn, and the file holds what it took as
one sample. The `~muxTbl` of a meta lists which channels are taken at the same time, turn by turn; where there is none,
the type of the probe tells. A converter of a probe with a separate LF band takes one LF channel after its AP channels,
which is one more turn. Recordings that went through driftcli or CatGT may have been lined up already.

Source: the metadata page of SpikeGLX; the probe table of probeinterface 0.4.2 (`adc_sampling_table`); SpikeInterface
0.105.3, whose property `inter_sample_shift` has the same values.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from driftcli.recording.catgt import lined_up_by_catgt
from driftcli.recording.families import NEUROPIXELS_1, family_of
from driftcli.recording.meta import Meta

# What the meta of a corrected recording says where driftcli lined the channels up; the keys of later ones are numbered.
SHIFTED_KEY, SHIFTED = "driftcliPhaseShift", "applied"


class SampleShifts(NamedTuple):
    """How late each contact was sampled.

    fractions: (C,) float64, fractions of a sample, 0 <= shift < 1; None where nothing is to be shifted.
    reason: where they come from, or why there are none.
    lined_up: whether something else lined the channels up before.
    """

    fractions: NDArray[np.float64] | None
    reason: str
    lined_up: bool = False

    def of(self, channels: NDArray[np.int64]) -> SampleShifts:
        """Those of some channels, by index."""
        return self if self.fractions is None else self._replace(fractions=self.fractions[channels])


NOT_TOLD = SampleShifts(None, "the file does not tell when its channels were sampled")

# Channels 0 and 1 are taken first, by a converter each, then 2 and 3 by the same two; the next pair has the next ones.
_TURNS_OF_1, _TURNS_OF_2 = 12, 16
_MOST_CHANNELS = 1536
_PASSIVE = (1200, 1210, 1221, 3000)  # 128 contacts, with converters elsewhere
_PASSIVE_TURNS = (
    (84, 11, 85, 5, 74, 10, 56, 112, 46, 121, 39, 127),
    (100, 26, 110, 33, 69, 24, 63, 109, 45, 93, 25, 99),
    (87, 0, 82, 6, 71, 15, 53, 117, 43, 122, 42, 116),
    (102, 28, 81, 34, 70, 18, 60, 103, 17, 94, 27, 101),
    (73, 1, 86, 7, 68, 16, 50, 106, 40, 123),
    (105, 29, 75, 35, 67, 12, 54, 89, 20, 95),
    (76, 2, 83, 8, 65, 13, 47, 118, 49, 124),
    (108, 30, 78, 36, 64, 14, 51, 90, 23, 96),
    (79, 3, 80, 9, 62, 114, 44, 119, 52, 125),
    (104, 31, 72, 37, 61, 113, 57, 91, 19, 97),
    (88, 4, 77, 21, 59, 111, 41, 120, 55, 126),
    (107, 32, 66, 38, 58, 115, 48, 92, 22, 98),
)


def sample_shifts(meta: Meta, acquired: NDArray[np.int64], lf: bool = False) -> SampleShifts:
    """How late the AP channels with numbers `acquired` were sampled.

    lf: the LF channels, of which a converter takes the next one with each of its turns of AP channels.
    """
    before = _lined_up_by_driftcli(meta) or lined_up_by_catgt(meta)
    if before:
        return SampleShifts(None, before, lined_up=True)
    if "~muxTbl" in meta.values:
        turn_of, source = _turns_listed(meta), f"~muxTbl of {meta.path.name}"
    else:
        turn_of, source = _turns_of_type(meta), f"probe type {meta.type_named}"
    if not set(acquired.tolist()) <= turn_of.keys():
        return SampleShifts(None, f"{source} does not tell when every channel was sampled")
    turns = np.array([turn_of[channel] for channel in acquired.tolist()], dtype=np.float64)
    turns_per_sample = max(turn_of.values()) + 1 + (_takes_lf(meta) and not lf)
    return SampleShifts(turns / turns_per_sample, source)


def _lined_up_by_driftcli(meta: Meta) -> str:
    keys = [key for key, value in meta.values.items() if key.startswith(SHIFTED_KEY) and value == SHIFTED]
    return f"driftcli lined the channels up already ({keys[0]})" if keys else ""


def _turns_listed(meta: Meta) -> dict[int, int]:
    """The turn of each channel in a `~muxTbl`: (converters,turns)(channels of the first turn)(of the second)..."""
    header, turns = meta.entries("~muxTbl")
    try:
        turn_of = {int(channel): turn for turn, channels in enumerate(turns) for channel in channels.split()}
        whole = len(turns) == int(header.split(",")[-1])
    except ValueError:
        return {}
    listed = sum(len(channels.split()) for channels in turns)
    return turn_of if whole and listed == len(turn_of) else {}


def _turns_of_type(meta: Meta) -> dict[int, int]:
    family = family_of(meta)
    if meta.probe_type in _PASSIVE:
        return {channel: turn for turn, channels in enumerate(_PASSIVE_TURNS) for channel in channels}
    if family is None:
        return {}
    num_turns = _TURNS_OF_1 if family is NEUROPIXELS_1 else _TURNS_OF_2
    return {channel: channel // 2 % num_turns for channel in range(_MOST_CHANNELS)}


def _takes_lf(meta: Meta) -> bool:
    """Whether the converters take LF channels too; for an unknown type, whether such were acquired."""
    family = family_of(meta)
    if family is not None:
        return family.takes_lf
    _, *lf_and_sync = meta.values.get("acqApLfSy", "").split(",")
    return len(lf_and_sync) == 2 and lf_and_sync[0].strip() != "0"
