"""The probe of a corrected recording as Kilosort4 reads it (`kilosort.io.load_probe`).

Kilosort4 takes no motion from elsewhere: it sorts the corrected recording, with its own correction off (nblocks = 0).
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from driftcli.files import atomic
from driftcli.model import Geometry


def write_kilosort_probe(path: Path, geometry: Geometry, columns: NDArray[np.int64]) -> None:
    """Write `chanMap`, `xc`, `yc`, `kcoords` and `n_chan`, contact by contact.

    geometry: of the corrected recording's contacts that are to be sorted; their shanks are Kilosort's channel groups.
    columns: (C,) column of each in the corrected recording.
    """
    probe = {
        "chanMap": columns.tolist(),
        "xc": geometry.positions_um[:, 0].tolist(),
        "yc": geometry.positions_um[:, 1].tolist(),
        "kcoords": geometry.shanks.tolist(),
        "n_chan": len(columns),
    }
    with atomic(path) as part:
        part.write_text(json.dumps(probe) + "\n", encoding="utf-8")
