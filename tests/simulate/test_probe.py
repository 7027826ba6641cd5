import numpy as np
import probeinterface
import pytest

from driftcli.simulate.probe import contact_positions, write_probe


def test_staggered_columns():
    np.testing.assert_array_equal(
        contact_positions(5), [[16.0, 0.0], [48.0, 0.0], [0.0, 20.0], [32.0, 20.0], [16.0, 40.0]]
    )


@pytest.mark.parametrize("contacts", [1, 7, 64])
def test_probeinterface_reads_it_back(tmp_path, contacts):
    positions = contact_positions(contacts)
    write_probe(tmp_path / "probe.json", positions)
    (probe,) = probeinterface.read_probeinterface(tmp_path / "probe.json").probes
    np.testing.assert_array_equal(probe.contact_positions, positions)
    np.testing.assert_array_equal(probe.device_channel_indices, np.arange(contacts))
    assert probe.si_units == "um"
    assert [path.name for path in tmp_path.iterdir()] == ["probe.json"]
