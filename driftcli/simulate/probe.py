"""The probe of a simulated recording: the four staggered columns of a Neuropixels 1.0."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from probeinterface import Probe, write_probeinterface

from driftcli.files import atomic

_COLUMNS_UM = ((16.0, 48.0), (0.0, 32.0))  # of even and of odd rows
_ROW_UM = 20.0
_CONTACT_UM = 12.0


def contact_positions(num_channels: int) -> NDArray[np.float64]:
    """Contacts (C, 2) in um, two a row, from the tip upwards."""
    index = np.arange(num_channels)
    row = index // 2
    return np.column_stack([np.array(_COLUMNS_UM)[row % 2, index % 2], _ROW_UM * row])


def write_probe(path: Path, positions_um: NDArray[np.float64]) -> None:
    """Write contacts as a probeinterface JSON file; contact i is column i of the recording."""
    probe = Probe(ndim=2, si_units="um")
    probe.set_contacts(positions=positions_um, shapes="square", shape_params={"width": _CONTACT_UM})
    probe.set_device_channel_indices(np.arange(len(positions_um)))
    with atomic(path) as part:
        write_probeinterface(part, probe)
