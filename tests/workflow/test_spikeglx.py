"""run on SpikeGLX pairs: one made from each real meta file, and one of a made meta that is always there."""

import h5py
import numpy as np
import pytest

import make_spikeglx
from driftcli import presets
from driftcli.recording.open import open_recording
from driftcli.reporter import Reporter
from driftcli.workflow.run import run
from driftcli.workflow.work import Work

METAS = sorted(make_spikeglx.SHARED_METAS.glob("*.meta"))


def with_spikes(text):
    """(S, nSavedChans) int16: noise with spikes on every 7th AP channel, and the sync words as they were."""
    values = make_spikeglx.meta_values(text)
    samples = make_spikeglx.noise(24_000, values)
    num_ap = int(values["snsApLfSy"].split(",")[0])
    rng = np.random.default_rng(0)
    for channel in range(0, num_ap, 7):
        for start in rng.integers(200, 23_700, 30):
            samples[start : start + 20, channel] -= (300 * np.hanning(20)).astype("<i2")
    return samples


@pytest.mark.skipif(not METAS, reason="the real SpikeGLX meta files are not here")
@pytest.mark.parametrize("meta", METAS, ids=lambda path: path.stem)
def test_a_pair_of_each_probe_type_is_corrected(tmp_path, meta):
    text = make_spikeglx.read_meta_text(meta)
    samples = with_spikes(text)
    binary = make_spikeglx.make_spikeglx(tmp_path, text, samples)
    recording = open_recording(binary, reporter=Reporter())
    settings = presets.load("rigid_fast", ["estimate.bin_s=0.2"])
    run(recording, settings, tmp_path / "out", Work(jobs=2))
    written = np.fromfile(tmp_path / "out/corrected.bin", "<i2").reshape(samples.shape)
    sync = np.setdiff1d(np.arange(samples.shape[1]), recording.columns)
    assert sync.size >= 1
    np.testing.assert_array_equal(written[:, sync], samples[:, sync])
    assert (written[:, recording.columns] != 0).any(axis=0).all()
    with h5py.File(tmp_path / "out/peaks.h5") as peaks, h5py.File(tmp_path / "out/motion.h5") as motion:
        channels = peaks["peaks/channel_index"][:]
        assert np.isin(channels, np.arange(0, len(recording.columns), 7)).mean() > 0.9
        assert {f"shank{shank}" for shank in np.unique(recording.geometry.shanks)} <= set(motion)
