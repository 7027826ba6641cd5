"""Kilosort4 itself opens a corrected SpikeGLX pair with the probe file and settings that `export` gives, and sorts it.

Kilosort and PyTorch are large and no dependencies of driftcli's, so nothing here runs unless asked for. In a virtual
environment of its own, the CPU build of PyTorch first (Kilosort would fetch that for CUDA):

    pip install torch --index-url https://download.pytorch.org/whl/cpu
    pip install kilosort -e '.[test]'
    pytest -m slow tests/workflow/test_kilosort.py

Takes half a minute on two free cores. Tried with kilosort 4.1.7, torch 2.13.0.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import make_spikeglx
from driftcli.recording.open import open_recording
from driftcli.reporter import Reporter
from driftcli.simulate.simulate import SimulateParameters, Simulation

pytestmark = pytest.mark.slow

BAD_CONTACTS = [13, 28, 29, 30, 31]
# fewer templates than by default, so that it is done in a minute without a GPU
FEWER_TEMPLATES = {"nearest_templates": 20, "template_sizes": 2, "dmin": 20.0}
NEAR_SAMPLES = 15  # half a ms
NP1_GAIN_TO_UV, NP2_GAIN_TO_UV = 1e6 * 0.6 / 512 / 500, 1e6 * 0.62 / 2048 / 100


@dataclass(frozen=True)
class Exported:
    """A corrected pair, its probe file for Kilosort, the settings that export told, and the truth of the recording."""

    binary: Path
    probe: Path
    settings: dict
    truth: object


@pytest.fixture(scope="module")
def kilosort():
    """Its modules that users import."""
    needs = "Kilosort4 is not installed: how to install it stands at the top of test_kilosort.py"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MPLBACKEND", "agg")
        main = pytest.importorskip("kilosort", reason=needs)
        io = pytest.importorskip("kilosort.io", reason=needs)
        torch = pytest.importorskip("torch", reason=needs)
        yield SimpleNamespace(run=main.run_kilosort, io=io, cpu=torch.device("cpu"))


def driftcli(*arguments):
    command = [sys.executable, "-m", "driftcli", *map(str, arguments), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def exported(folder, kind, gain_to_uv, **simulated):
    """Simulate a pair on a probe of this kind, correct it and export its probe, as a user does."""
    parameters = SimulateParameters(gain_to_uv=gain_to_uv, drift_um=30.0, period_s=20.0, t_start_s=2.0, **simulated)
    simulation = Simulation(parameters)
    traces = np.concatenate(list(simulation.blocks()))
    meta = make_spikeglx.made_meta(kind, saved=parameters.num_channels)
    samples = np.hstack([traces, np.zeros((len(traces), 1), traces.dtype)])
    pair = make_spikeglx.make_spikeglx(folder, meta, samples)
    bad = ",".join(map(str, BAD_CONTACTS))
    driftcli(
        "run",
        pair,
        "--preset",
        "rigid_fast",
        "--set",
        "estimate.bin_s=1",
        "--bad-channels",
        bad,
        "--out",
        folder / "out",
    )
    facts = driftcli("export", folder / "out/motion.h5", "--to", "kilosort")
    (binary,) = (folder / "out").glob("*.ap.bin")
    return Exported(binary, Path(facts["output"]), facts["kilosort"], simulation.truth)


@pytest.fixture(scope="module")
def one_shank(tmp_path_factory, kilosort):
    folder = tmp_path_factory.mktemp("one")
    return exported(folder, "NP1", NP1_GAIN_TO_UV, num_channels=32, num_units=14, duration_s=20.0, seed=1)


@pytest.fixture(scope="module")
def four_shanks(tmp_path_factory, kilosort):
    """The traces are those of one shank, which is as good for all but sorting."""
    folder = tmp_path_factory.mktemp("four")
    return exported(folder, "NP2 four shanks", NP2_GAIN_TO_UV, num_channels=48, num_units=20, duration_s=6.0, seed=2)


@pytest.fixture(params=["one_shank", "four_shanks"])
def pair(request):
    return request.getfixturevalue(request.param)


def test_the_probe_is_that_of_the_good_contacts(kilosort, pair):
    probe = kilosort.io.load_probe(pair.probe)
    recording = open_recording(pair.binary, reporter=Reporter())
    good = np.setdiff1d(np.arange(len(recording.geometry)), BAD_CONTACTS)
    np.testing.assert_array_equal(probe["chanMap"], recording.columns[good])
    np.testing.assert_array_equal(np.column_stack([probe["xc"], probe["yc"]]), recording.geometry.positions_um[good])
    np.testing.assert_array_equal(probe["kcoords"], recording.geometry.shanks[good])
    assert probe["n_chan"] == len(good)


def test_its_shanks_are_kilosorts(kilosort, four_shanks):
    probe = kilosort.io.load_probe(four_shanks.probe)
    by_shank = [kilosort.io.select_shank(probe, shank) for shank in range(4)]
    assert [each["n_chan"] for each in by_shank] == [12, 11, 8, 12]
    assert [np.ptp(each["xc"]) for each in by_shank] == [32.0] * 4
    assert np.diff([each["xc"].min() for each in by_shank]).tolist() == [250.0] * 3


def test_its_file_finder_finds_the_corrected_binary(kilosort, pair):
    assert kilosort.io.find_binary(pair.binary.parent) == pair.binary


def test_the_traces_are_those_of_the_corrected_file(kilosort, pair):
    recording = open_recording(pair.binary, reporter=Reporter())
    counts = np.fromfile(pair.binary, "<i2").reshape(-1, pair.settings["n_chan_bin"])
    gain = recording.gain_to_uv[0]
    layout = {"n_chan_bin": pair.settings["n_chan_bin"], "fs": pair.settings["fs"], "device": kilosort.cpu}
    file = kilosort.io.BinaryRWFile(pair.binary, **layout, scale=gain)
    assert file.shape == (recording.num_samples, recording.num_columns)
    np.testing.assert_array_equal(file[:, recording.columns], counts[:, recording.columns] * gain)
    assert file[:, recording.columns].min() < -50  # µV: spikes


def test_its_batches_hold_the_contacts_of_the_probe(kilosort, pair):
    counts = np.fromfile(pair.binary, "<i2").reshape(-1, pair.settings["n_chan_bin"]).astype(np.float32)
    layout = {"n_chan_bin": pair.settings["n_chan_bin"], "fs": pair.settings["fs"], "device": kilosort.cpu}
    columns = kilosort.io.load_probe(pair.probe)["chanMap"]
    file = kilosort.io.BinaryFiltered(pair.binary, **layout, chan_map=columns, do_CAR=False)
    batch = file.padded_batch_to_torch(1, skip_preproc=True).numpy()
    first = int(file.NT - file.nt)
    expected = counts[first : first + batch.shape[1], columns].T
    np.testing.assert_allclose(batch, expected - expected.mean(axis=1, keepdims=True), atol=0.01)


def test_kilosort_sorts_it_without_looking_for_drift(kilosort, one_shank, tmp_path):
    settings = {**one_shank.settings, **FEWER_TEMPLATES, "probe_path": str(one_shank.probe)}
    results = kilosort.run(settings, filename=one_shank.binary, results_dir=tmp_path, device=kilosort.cpu)
    ops, spikes, units = results[:3]
    assert ops["dshift"] is None
    log = (tmp_path / "kilosort4.log").read_text()
    assert "nblocks = 0, skipping drift correction" in log
    assert "WARNING" not in log
    assert ops["Nchan"] == 32 - len(BAD_CONTACTS)
    # every contact is whitened about as much as the others: none is all but a sum of its neighbours
    strength = np.linalg.norm(ops["Wrot"].numpy(), axis=1)
    assert strength.max() < 3 * np.median(strength)
    # what it finds are the spikes that are there
    true_samples = one_shank.truth.spike_sample
    found = np.searchsorted(true_samples, spikes[:, 0])
    before, after = (true_samples[np.clip(found + step, 0, len(true_samples) - 1)] for step in (-1, 0))
    distance = np.minimum(np.abs(spikes[:, 0] - before), np.abs(spikes[:, 0] - after))
    assert np.mean(distance <= NEAR_SAMPLES) > 0.9  # by chance: 0.1
    assert len(spikes) > 500
    assert len(np.unique(units)) >= 4
