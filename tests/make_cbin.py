"""Makes compressed pairs of files, `X.cbin` and `X.ch`, spelled out by hand: test support, not part of driftcli."""

from __future__ import annotations

import json
import zlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np


def chunk(samples: np.ndarray, time_diff: bool = True) -> bytes:
    """One chunk, column after column."""
    rows = np.diff(samples, axis=0, prepend=np.zeros_like(samples[:1])) if time_diff else samples
    return zlib.compress(rows.tobytes(order="F"))


def make_cbin(path: Path, samples: np.ndarray, length: int = 100, without: str = "", **changes: Any) -> Path:
    """Write int16 samples as the pair `path` (X.cbin) and X.ch, with changes to the header or a key left out."""
    bounds = [*range(0, len(samples), length), len(samples)]
    chunks = [chunk(samples[first:last]) for first, last in pairwise(bounds)]
    path.write_bytes(b"".join(chunks))
    header = {
        "version": "1.0",
        "algorithm": "zlib",
        "comp_level": -1,
        "do_time_diff": True,
        "do_spatial_diff": False,
        "dtype": "int16",
        "n_channels": samples.shape[1],
        "sample_rate": 30000.0,
        "chunk_bounds": bounds,
        "chunk_offsets": [0, *np.cumsum([len(each) for each in chunks]).tolist()],
        "chunk_order": "F",
        "sha1_compressed": None,
        "sha1_uncompressed": None,
        "shape": list(samples.shape),
    }
    header |= changes
    header.pop(without, None)
    path.with_suffix(".ch").write_text(json.dumps(header))
    return path
