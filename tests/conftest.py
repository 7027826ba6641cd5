"""What tests of several folders share."""

import pytest

import driftcli
import small_recording


@pytest.fixture(scope="session")
def small_run(tmp_path_factory):
    """What `driftcli.run` leaves of 5 s on 24 channels: a folder of all there is, to be read only."""
    binary, probe = small_recording.write(tmp_path_factory.mktemp("small_run"), small_recording.samples(150_000, 24))
    how = {"probe": probe, "gain_to_uv": small_recording.GAIN_TO_UV, "jobs": 2}
    return driftcli.run(binary, **how, changes={"estimate.bin_s": 0.5, "detect.detect_threshold": 6})
