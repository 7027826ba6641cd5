"""Metas of every kind of Neuropixels probe, made from public tables: test support, not part of driftcli.

There are real metas of a few kinds only (see make_spikeglx). Numbers of sites and their places are those of the probe
table, github.com/billkarsh/ProbeTable; the columns of the imro tables, types and keys those of SpikeGLX's help pages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Kind:
    """What the tables say of one probe.

    x_um: of the leftmost site of even and of odd rows. entry: the columns of the imro table. gain: of all channels, or
    None where each has its own. unused: channels that the maps have as not used.
    """

    part: str
    type: str
    columns: int
    pitch_um: tuple[float, float]
    x_um: tuple[float, float]
    entry: str
    rows: int = 480
    shanks: int = 1
    shank_pitch_um: float = 0
    channels: int = 384
    sync: int = 1
    has_lf: bool = True
    range_v: float = 0.6
    max_int: int = 512
    gain: float | None = None
    unused: tuple[int, ...] = ()

    @property
    def per_bank(self) -> int:
        return 276 if self.channels == 276 else 384

    def gain_of(self, channel: int) -> float:
        return self.gain or (50, 125, 250, 500, 1000, 1500, 2000, 3000)[channel % 8]

    def site(self, channel: int) -> tuple[int, int, int]:
        """Shank, bank and electrode: on four shanks twelve in a row on each; in later channels from bank 1."""
        if self.shanks > 1:
            return channel // 12 % self.shanks, 0, channel // (12 * self.shanks) * 12 + channel % 12
        electrodes = self.rows * self.columns
        bank = int(channel >= self.channels // 2 and channel + self.per_bank < electrodes and self.channels < 1000)
        return 0, bank, bank * self.per_bank + channel

    def place(self, channel: int) -> tuple[int, int, int, float, float]:
        """Shank, column, row, and x and y on the shank in µm."""
        shank, _, electrode = self.site(channel)
        row, column = divmod(electrode, self.columns)
        return shank, column, row, self.x_um[row % 2] + column * self.pitch_um[0], row * self.pitch_um[1]

    def imro(self) -> str:
        if self.type == "1110":  # all channels of group g are connected to bank 0 of it
            return "(1110,2,0,1500,250,1)" + "".join(f"({group} 0 0)" for group in range(24))
        header = f"(262720641,{self.part},{self.channels})" if self.type == "3A" else f"({self.type},{self.channels})"
        return header + "".join(f"({self._entry(channel)})" for channel in range(self.channels))

    def _entry(self, channel: int) -> str:
        shank, bank, electrode = self.site(channel)
        gain = self.gain_of(channel)
        return self.entry.format(c=channel, s=shank, b=bank, m=1 << bank, e=electrode, g=f"{gain:g}")


_1, _3A = "{c} {b} 0 {g} 250 1", "{c} {b} 0 {g} 250"
_21, _24 = "{c} {m} 0 {e}", "{c} {s} {b} 0 {e}"
_STAGGERED, _IN_LINE, _WIDE = (27, 11), (27, 27), (11, 11)
_PROTOTYPE = {"rows": 640, "has_lf": False, "range_v": 0.5, "max_int": 8192, "gain": 80, "unused": (127,)}
_2 = {"rows": 640, "has_lf": False, "range_v": 0.62, "max_int": 2048, "gain": 100}
_FOUR_SHANKS = {"shanks": 4, "shank_pitch_um": 250}
_NXT = {**_2, "channels": 1536, "range_v": 0.67}
_REFERENCES_OF_3A = (36, 75, 112, 151, 188, 227, 264, 303, 340, 379)


def _np1(part: str, number: str = "0", pitch_um: float = 32, x_um: tuple[float, float] = _STAGGERED, **more) -> Kind:
    return Kind(part, number, 2, (pitch_um, 20), x_um, _1, **{"unused": (191,), **more})


def _np2(part: str, number: str, x_um: tuple[float, float] = _IN_LINE, pitch_um: float = 32, **more) -> Kind:
    four = more.get("shanks", 1) > 1 or number.startswith("30")
    entry = "{c} {b} 0 {e}" if number == "3010" else _24 if four else _21
    return Kind(part, number, 2, (pitch_um, 15), x_um, entry, **{**_2, **more})


def _ultra(part: str, columns: int, rows: int, pitch_um: float, x_um: float) -> Kind:
    across_um = 0 if columns == 1 else pitch_um
    return Kind(part, part[2:], columns, (across_um, pitch_um), (x_um, x_um), _1, rows=rows)


def _3a(option: int, **more) -> Kind:
    return Kind(str(option), "3A", 2, (32, 20), _STAGGERED, _3A, **more)


_LIST = [
    _3a(1, rows=192, unused=_REFERENCES_OF_3A),
    _3a(2, rows=192, unused=_REFERENCES_OF_3A),
    _3a(3, unused=_REFERENCES_OF_3A),
    _3a(4, rows=483, channels=276, unused=_REFERENCES_OF_3A[:7]),
    *(_np1(part) for part in ("NP1000", "NP1001", "PRB_1_4_0480_1", "PRB_1_2_0480_2", "NP1010", "NP1012", "NP1014")),
    *(_np1(f"NP{number}", x_um=_IN_LINE) for number in (1015, 1016, 1017)),
    *(_np1(f"NP{number}", "1020", 87, rows=1248) for number in (1020, 1021)),
    _np1("NP1022", "1020", 103, _WIDE, rows=1248),
    *(_np1(f"NP{number}", "1030", 87, rows=2208) for number in (1030, 1031)),
    *(_np1(f"NP{number}", "1030", 103, _WIDE, rows=2208) for number in (1032, 1033)),
    _ultra("NP1100", 8, 48, 6, 14),
    Kind("NP1110", "1110", 8, (6, 6), (15.5, 15.5), "", rows=768, gain=1500),
    _ultra("NP1120", 2, 192, 4.5, 6.75),
    _ultra("NP1121", 1, 384, 3, 6.25),
    _ultra("NP1122", 16, 24, 3, 12.5),
    _ultra("NP1123", 12, 32, 4.5, 10.25),
    Kind("NP1200", "1200", 2, (32, 31), (56.5, 36.5), _1, rows=64, channels=128),
    _np1("NP1300", "1300", 48, _WIDE),
    Kind("PRB2_1_2_0640_0", "21", 2, (32, 15), _IN_LINE, _21, **_PROTOTYPE),
    Kind("NP2000", "21", 2, (32, 15), _IN_LINE, _21, **_PROTOTYPE),
    Kind("PRB2_4_2_0640_0", "24", 2, (32, 15), _IN_LINE, _24, **_PROTOTYPE, **_FOUR_SHANKS),
    Kind("NP2010", "24", 2, (32, 15), _IN_LINE, _24, **_PROTOTYPE, **_FOUR_SHANKS),
    *(_np2(f"NP{number}", "2003") for number in (2003, 2004, 2005)),
    _np2("NP2006", "2003", _STAGGERED),
    *(_np2(f"NP{number}", "2013", **_FOUR_SHANKS) for number in (2013, 2014)),
    *(_np2(f"NP{number}", "2020", **_FOUR_SHANKS, channels=1536, sync=4) for number in (2020, 2021)),
    _np2("NP2022", "2020", _STAGGERED, 20, shanks=4, shank_pitch_um=2141.45, channels=1536, sync=4),
    Kind("NP3000", "1200", 1, (0, 15), (59, 59), _1, rows=128, channels=128),
    _np2("NP3010", "3010", **{**_NXT, "channels": 1200}),
    _np2("NP3020", "3020", **{**_NXT, **_FOUR_SHANKS}),
]
KINDS = {f"3A option {kind.part}" if kind.type == "3A" else kind.part: kind for kind in _LIST}


def meta_of_kind(name: str, saved: Sequence[int] | None = None, places: str = "") -> str:
    """The text of a meta as SpikeGLX would write it of some or all AP channels of a probe of this kind, and the sync.

    places: "snsGeomMap" or "snsShankMap", the map of contacts that it has; by default as the age of the probe has it.
    """
    kind = KINDS[name]
    saved = range(kind.channels) if saved is None else saved
    num_lf = kind.channels if kind.has_lf else 0
    sync = [kind.channels + num_lf + word for word in range(kind.sync)]
    is_3a = kind.type == "3A"
    probe = {"imProbeOpt": kind.part} if is_3a else {"imDatPrb_pn": kind.part, "imDatPrb_type": kind.type}
    values = {
        "acqApLfSy": f"{kind.channels},{num_lf},{kind.sync}",
        "fileCreateTime": "2023-09-04T16:01:07",
        "fileName": f"D:/data/made_g0/made_g0_t0.imec{'' if is_3a else 0}.ap.bin",
        "fileSHA1": "FEC21043559D636515BA0DCE5A9ED85F08049BFE",
        "fileSizeBytes": "0",
        "fileTimeSecs": "0",
        "firstSample": "500141",
        "imAiRangeMax": f"{kind.range_v}",
        **probe,
        **({} if is_3a else {"imMaxInt": f"{kind.max_int}"}),
        **({"imChan0apGain": "100"} if kind.gain == 100 else {}),
        "imSampRate": "30000",
        "nSavedChans": f"{len(saved) + kind.sync}",
        "snsApLfSy": f"{len(saved)},0,{kind.sync}",
        "snsSaveChanSubset": ",".join(map(str, [*saved, *sync])),
        "typeThis": "imec",
        "~imroTbl": kind.imro(),
        "~snsChanMap": f"({kind.channels},{num_lf},{kind.sync})"
        + "".join(f"(AP{c};{c}:{c})" for c in saved)
        + "".join(f"(SY{word};{number}:{number})" for word, number in enumerate(sync)),
        **_map_of_contacts(kind, saved, places or ("snsGeomMap" if kind.max_int == 2048 else "snsShankMap")),
    }
    return "".join(f"{key}={value}\n" for key, value in values.items())


def _map_of_contacts(kind: Kind, saved: Sequence[int], key: str) -> dict[str, str]:
    if kind.type == "1110":  # its sites are scattered
        return {}
    entries = ""
    for channel in saved:
        shank, column, row, x, y = kind.place(channel)
        place = f"{x:g}:{y:g}" if key == "snsGeomMap" else f"{column}:{row}"
        entries += f"({shank}:{place}:{int(channel not in kind.unused)})"
    if key == "snsGeomMap":
        return {"~snsGeomMap": f"({kind.part},{kind.shanks},{kind.shank_pitch_um:g},70){entries}"}
    return {"~snsShankMap": f"({kind.shanks},{kind.columns},{kind.rows}){entries}"}


def places_on_probe(name: str, saved: Sequence[int]) -> np.ndarray:
    """(C, 2) x and y of channels in µm, x counted from the left edge of the first shank."""
    kind = KINDS[name]
    places = [kind.place(channel) for channel in saved]
    return np.array([(x + shank * kind.shank_pitch_um, y) for shank, _, _, x, y in places])
