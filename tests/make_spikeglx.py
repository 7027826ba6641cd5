"""Makes a SpikeGLX pair of files from a meta file and samples: test support, not part of driftcli."""

from __future__ import annotations

import re
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


def noise(num_samples: int, values: dict[str, str], seed: int = 0) -> np.ndarray:
    """(num_samples, nSavedChans) int16 noise of 8 bits, and sync words that are no plausible traces."""
    num_ap, num_lf, _ = (int(each) for each in values["snsApLfSy"].split(","))
    samples = np.random.default_rng(seed).normal(0, 8, (num_samples, int(values["nSavedChans"]))).round()
    samples[:, num_ap + num_lf :] = (np.arange(num_samples) % 64)[:, None] * 512
    return samples.astype("<i2")
