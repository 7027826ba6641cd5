"""The LF band of a SpikeGLX run: opened where it may be, with the contacts of the AP band and gains of its own."""

import re

import numpy as np
import pytest

from driftcli.errors import InputError
from driftcli.recording.open import open_recording
from driftcli.reporter import Reporter
from make_spikeglx import SHARED_METAS, lf_text, make_spikeglx, read_meta_text, with_values

pytestmark = pytest.mark.skipif(not SHARED_METAS.is_dir(), reason=f"the real meta files are not there: {SHARED_METAS}")
RUN = "Noise_g0_t0.imec0.ap"


@pytest.fixture
def bands(tmp_path):
    """The AP and the LF file of one run."""
    text = read_meta_text(SHARED_METAS / f"{RUN}.meta")
    # each channel with an LF gain of its own
    numbered = re.sub(r"\((\d+) 0 0 500 125 1\)", lambda found: f"({found[1]} 0 0 500 {100 + int(found[1])} 1)", text)
    return make_spikeglx(tmp_path, numbered, 600), make_spikeglx(tmp_path, lf_text(numbered), 50, seed=1)


def test_it_has_the_contacts_of_the_ap_band(bands):
    ap, lf = (open_recording(path, lf_ok=True, reporter=Reporter()) for path in bands)
    assert bands[1].name.endswith(".lf.bin")
    assert np.array_equal(lf.geometry.positions_um, ap.geometry.positions_um)
    assert np.array_equal(lf.columns, ap.columns)
    assert np.array_equal(lf.labels, ap.labels)
    assert lf.channel_numbers.tolist() == ap.channel_numbers.tolist()
    assert lf.sampling_frequency_hz == ap.sampling_frequency_hz / 12 == 2500
    assert (lf.num_samples, lf.num_columns) == (50, 385)
    assert np.array_equal(lf.read(0, 50), np.fromfile(bands[1], "<i2").reshape(50, 385))


def test_gains_are_those_of_lf_channels(bands):
    ap, lf = (open_recording(path, lf_ok=True, reporter=Reporter()) for path in bands)
    np.testing.assert_allclose(lf.gain_to_uv, ap.gain_to_uv * 500 / (100 + np.arange(384)))


def test_a_converter_takes_twelve_of_its_channels_in_a_sample_of_lf(bands):
    ap, lf = (open_recording(path, lf_ok=True, reporter=Reporter()) for path in bands)
    turns = ap.sample_shifts.fractions * 13
    np.testing.assert_allclose(lf.sample_shifts.fractions, turns / 12)


def test_it_is_refused_where_spikes_are_looked_for(bands):
    with pytest.raises(InputError, match="holds no AP band"):
        open_recording(bands[1], reporter=Reporter())


def test_metas_that_do_not_tell_which_channels_are_lf_are_refused(bands):
    meta = bands[1].with_suffix(".meta")
    text = meta.read_bytes().decode()
    for change, message in (
        ({"acqApLfSy": None}, "has no acqApLfSy"),
        ({"snsSaveChanSubset": "0:384", "snsChanMap": None}, "saves channels of no LF band"),
    ):
        meta.write_bytes(with_values(text, **change).encode())
        with pytest.raises(InputError, match=message):
            open_recording(bands[1], lf_ok=True, reporter=Reporter())
