"""Kilosort4's probe file, read as its `load_probe` does."""

import json

import numpy as np

from driftcli.model import Geometry
from driftcli.store.motion_kilosort import write_kilosort_probe


def test_the_probe_has_kilosorts_keys(tmp_path):
    positions_um = np.array([[0.0, 20.5], [32.0, 0.0], [250.0, 10.0]])
    write_kilosort_probe(tmp_path / "probe.json", Geometry(positions_um, np.array([0, 0, 2])), np.array([4, 0, 2]))
    probe = json.loads((tmp_path / "probe.json").read_text())
    assert probe == {
        "chanMap": [4, 0, 2],
        "xc": [0.0, 32.0, 250.0],
        "yc": [20.5, 0.0, 10.0],
        "kcoords": [0, 0, 2],
        "n_chan": 3,
    }
