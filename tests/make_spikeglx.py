"""Makes a SpikeGLX pair of files from a meta file and samples: test support, not part of driftcli."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

SHARED_METAS = Path(__file__).parents[2] / "shared/data/spikeglx_meta"


def meta_values(text: str) -> dict[str, str]:
    """Keys (with their `~`) and values of a meta file's text."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def read_meta_text(path: Path) -> str:
    """The meta's text with its line ends as they are."""
    return path.read_bytes().decode("utf-8")


def with_values(text: str, **values: str | None) -> str:
    """`text` with the lines of the given keys (tables without their `~`) replaced, added, or removed where None."""
    end = "\r\n" if "\r\n" in text else "\n"
    text = text if text.endswith("\n") else text + end
    for key, value in values.items():
        line = "" if value is None else f"{key}={value}{end}"
        pattern = re.compile(rf"^(~?){key}=.*?\r?\n", re.MULTILINE)
        if pattern.search(text):
            text = pattern.sub(lambda found, line=line: found.group(1) + line if line else "", text)
        else:
            text += line
    return text


def lf_text(text: str) -> str:
    """Of the meta of an AP band with all of its channels that of the LF band beside it."""
    values = meta_values(text)
    ap, lf, sync = (int(each) for each in values["acqApLfSy"].split(","))
    name = values["fileName"].replace(".ap.", ".lf.")
    text = with_values(
        text,
        fileName=name,
        snsApLfSy=f"0,{lf},{sync}",
        snsSaveChanSubset=f"{ap}:{ap + lf + sync - 1}",
        imSampRate=str(float(values["imSampRate"]) / 12),
        firstSample=str(int(values["firstSample"]) // 12),
    )
    channels = "".join(f"(LF{n};{ap + n}:{n})" for n in range(lf)) + f"(SY0;{ap + lf}:{lf})"
    return with_values(text, snsChanMap=f"({ap},{lf},{sync}){channels}")


def make_spikeglx(folder: Path, meta_text: str, samples: np.ndarray | int = 300, seed: int = 0) -> Path:
    """Write `X.ap.bin` and `X.ap.meta` into `folder` under the name the meta says, and return the path of the first.

    samples: (S, nSavedChans) int16, or a number of samples of noise to make, with the sync words counting up.
    """
    values = meta_values(meta_text)
    if isinstance(samples, int):
        samples = noise(samples, values, seed)
    name = re.split(r"[\\/]", values["fileName"])[-1]
    path = folder / name
    path.write_bytes(np.ascontiguousarray(samples, dtype="<i2").tobytes())
    text = with_values(
        meta_text,
        fileSizeBytes=str(samples.size * 2),
        fileTimeSecs=repr(len(samples) / float(values["imSampRate"])),
    )
    path.with_suffix(".meta").write_bytes(text.encode("utf-8"))
    return path


def make_set(
    folder: Path, meta_text: str, samples: np.ndarray, lengths: Sequence[int], gaps: Sequence[int]
) -> list[Path]:
    """Write `samples` as pairs `made_g0_t0...`, `made_g0_t1...` of one run; `lengths` are their numbers of samples.

    gaps: how many samples were not saved before each file but the first one.
    """
    values = meta_values(meta_text)
    stream = re.split(r"[\\/]", values["fileName"])[-1].partition(".")[2]
    ends = np.cumsum(lengths).tolist()
    skipped = np.cumsum([0, *gaps]).tolist()
    paths = []
    for number, (length, end, gap) in enumerate(zip(lengths, ends, skipped, strict=True)):
        first = int(values["firstSample"]) + end - length + gap
        text = with_values(meta_text, fileName=f"D:/data/made_g0_t{number}.{stream}", firstSample=str(first))
        paths.append(make_spikeglx(folder, text, samples[end - length : end]))
    return paths


def noise(num_samples: int, values: dict[str, str], seed: int = 0) -> np.ndarray:
    """(num_samples, nSavedChans) int16 noise of 8 bits, and sync words that are no plausible traces."""
    num_ap, num_lf, _ = (int(each) for each in values["snsApLfSy"].split(","))
    samples = np.random.default_rng(seed).normal(0, 8, (num_samples, int(values["nSavedChans"]))).round()
    samples[:, num_ap + num_lf :] = (np.arange(num_samples) % 64)[:, None] * 512
    return samples.astype("<i2")


MADE = ("3A", "NP1", "NP-Ultra", "NP2 prototype", "NP2 four shanks", "quad base")


def made_meta(kind: str, saved: int | None = None) -> str:
    """The text of a meta as SpikeGLX would write it of the first `saved` channels (a few) of a probe of this kind.

    Made from the documentation of SpikeGLX, so that there is one of every family where the real files are not.
    """
    saved = saved or (96 if kind == "NP-Ultra" else 48)
    num_ap, num_sync = (1536, 4) if kind == "quad base" else (384, 1)
    num_lf = num_ap if kind in ("3A", "NP1", "NP-Ultra") else 0
    stream = "imec" if kind == "3A" else "imec0"
    channels = range(num_ap)
    sync = [f"{num_ap + num_lf + word}" for word in range(num_sync)]
    values = {
        "acqApLfSy": f"{num_ap},{num_lf},{num_sync}",
        "appVersion": "20230815",
        "fileCreateTime": "2023-09-04T16:01:07",
        "fileName": f"D:/data/made_g0/made_g0_t0.{stream}.ap.bin",
        "fileSHA1": "FEC21043559D636515BA0DCE5A9ED85F08049BFE",
        "fileSizeBytes": "0",
        "fileTimeSecs": "0",
        "firstSample": "500141",
        **_MADE_PROBES[kind],
        "imSampRate": "30000",
        "imStdby": "",
        "nSavedChans": f"{saved + num_sync}",
        "snsApLfSy": f"{saved},0,{num_sync}",
        "snsSaveChanSubset": ",".join([f"0:{saved - 1}", *sync]),
        "typeThis": "imec",
        "userNotes": "tissue=cortex, angle=30°",
        "~imroTbl": _IMRO_HEADERS[kind] + "".join(_IMRO_ENTRIES[kind](c) for c in channels),
        "~snsChanMap": f"({num_ap},{num_lf},{num_sync})"
        + "".join(f"(AP{c};{c}:{c})" for c in channels[:saved])
        + "".join(f"(SY{word};{number}:{number})" for word, number in enumerate(sync)),
        **dict([_made_map(kind, channels[:saved])]),
    }
    return "".join(f"{key}={value}\n" for key, value in values.items())


def _made_map(kind: str, saved: range) -> tuple[str, str]:
    if kind in ("NP2 four shanks", "quad base"):
        places = (_electrode(channel) for channel in saved)
        entries = (f"({shank}:{27 + 32 * (site % 2)}:{15 * (site // 2)}:1)" for shank, site in places)
        return "~snsGeomMap", "(NP2013,4,250,70)" + "".join(entries)
    columns, rows = {"NP-Ultra": (8, 48), "NP2 prototype": (2, 640)}.get(kind, (2, 480))
    entries = (f"(0:{channel % columns}:{channel // columns}:1)" for channel in saved)
    return "~snsShankMap", f"(1,{columns},{rows})" + "".join(entries)


def _electrode(channel: int) -> tuple[int, int]:
    """Shank and electrode of a channel: twelve in a row on one shank, the next twelve on the next."""
    return channel // 12 % 4, channel // 48 * 12 + channel % 12


def _four_shanks(channel: int) -> str:
    shank, electrode = _electrode(channel)
    return f"({channel} {shank} 0 0 {electrode})"


_NP1 = {"imAiRangeMax": "0.6", "imAiRangeMin": "-0.6"}
_MADE_PROBES = {
    "3A": {**_NP1, "imProbeOpt": "3", "imProbeSN": "262720641"},
    "NP1": {**_NP1, "imDatPrb_pn": "NP1000", "imDatPrb_type": "0", "imMaxInt": "512"},
    "NP-Ultra": {**_NP1, "imDatPrb_pn": "NP1100", "imDatPrb_type": "1100", "imMaxInt": "512"},
    "NP2 prototype": {
        "imAiRangeMax": "0.5",
        "imDatPrb_pn": "PRB2_1_2_0640_0",
        "imDatPrb_type": "21",
        "imMaxInt": "8192",
    },
    "NP2 four shanks": {
        "imAiRangeMax": "0.62",
        "imChan0apGain": "100",
        "imDatPrb_pn": "NP2013",
        "imDatPrb_type": "2013",
        "imMaxInt": "2048",
    },
    "quad base": {
        "imAiRangeMax": "0.62",
        "imChan0apGain": "100",
        "imDatPrb_pn": "NP2020",
        "imDatPrb_type": "2020",
        "imMaxInt": "2048",
    },
}
_IMRO_HEADERS = {
    "3A": "(262720641,3,384)",
    "NP1": "(0,384)",
    "NP-Ultra": "(1100,384)",
    "NP2 prototype": "(21,384)",
    "NP2 four shanks": "(2013,384)",
    "quad base": "(NP2020,1536)",
}
_IMRO_ENTRIES = {
    "3A": lambda channel: f"({channel} 0 0 500 250)",
    "NP1": lambda channel: f"({channel} 0 0 500 250 1)",
    "NP-Ultra": lambda channel: f"({channel} 0 0 500 250 1)",
    "NP2 prototype": lambda channel: f"({channel} 1 0 {channel})",
    "NP2 four shanks": _four_shanks,
    "quad base": _four_shanks,
}
