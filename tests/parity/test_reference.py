"""What SpikeInterface 0.105.3 gives on the reference recording, part by part.

The recording is that of `benchmarks/reference.py` with seed 42: 100 s of 128 contacts at 30 kHz. The numbers were made
on it by `correct_motion`, run as `benchmarks/peer.py` does. `reference_traces.npz` holds

- raw: 3,820 samples of the file from `start_sample` on, int16, as xz of the transposed array; positions_um.
- for four presets, the noise levels, and the peaks (samples counted from `start_sample`) with their locations, of all
  samples that have `margin` samples on either side of them in the stretch.
- moved: `interpolate_motion` of 200 of the raw samples, from `moved_first_row` on, by a motion of `moved_um` at all
  times, with kriging, sigma_um 20, p 2 and force_extrapolate; rounded.

`reference_motion.npz` holds every 20th peak of `nonrigid_accurate`, and `estimate_motion` of these with the
parameters of three presets.
"""

import lzma
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from driftcli import presets
from driftcli.interpolate.interpolator import Interpolator
from driftcli.model import DepthPeaks, Geometry, Motion
from driftcli.reporter import Reporter

HERE = Path(__file__).parent
RATE_HZ = 30_000.0
DURATION_S = 100.0


@cache
def load(name):
    with np.load(HERE / name) as file:
        return {key: file[key] for key in file.files}


@cache
def raw():
    """(samples, contacts) int16, and where the contacts are."""
    golden = load("reference_traces.npz")
    positions_um = golden["positions_um"].astype(np.float64)
    traces = np.frombuffer(lzma.decompress(golden["raw_xz"].tobytes()), "<i2").reshape(len(positions_um), -1).T
    return traces, Geometry(positions_um, np.zeros(len(positions_um), np.int64))


@cache
def preprocessed():
    traces, geometry = raw()
    settings = presets.load("rigid_fast")
    traces = np.ascontiguousarray(traces, np.float32)
    for stage in (settings["filter"], settings["reference"]):
        step = stage.module.Step(stage.parameters, geometry, RATE_HZ)
        traces = step(traces)
    return traces


def peers(preset):
    golden = load("reference_traces.npz")
    return {key.partition("/")[2]: value for key, value in golden.items() if key.startswith(f"{preset}/")}


# The largest median difference of x and y, in µm. The optimizer of the peer's monopolar_triangulation stops short of
# the minimum.
LOCALIZED = {"rigid_fast": 0.01, "kilosort_like": 0.01, "dredge_fast": 0.01, "nonrigid_accurate": 0.05}

# The largest mean difference of the motion, in µm. iterative_template has bins that two shifts fit equally well, one
# of them by a rounding error.
MOVED = {"rigid_fast": 0.01, "kilosort_like": 0.2, "nonrigid_accurate": 0.01}


@pytest.mark.parametrize("preset", LOCALIZED)
def test_peaks_are_the_peers(preset):
    golden, margin = peers(preset), int(load("reference_traces.npz")["margin"])
    stage = presets.load(preset)["detect"]
    detector = stage.module.Detector(stage.parameters, raw()[1], RATE_HZ, golden["noise_levels"])
    traces = preprocessed()
    rows, channels, amplitudes = detector(traces, margin, len(traces) - margin)
    found = dict(zip(zip(rows.tolist(), channels.tolist(), strict=True), amplitudes.tolist(), strict=True))
    names = zip(golden["sample_index"].tolist(), golden["channel_index"].tolist(), strict=True)
    expected = dict(zip(names, golden["amplitude"].tolist(), strict=True))
    assert len(expected) > 60
    same = found.keys() & expected.keys()
    assert len(same) >= 0.995 * len(found.keys() | expected.keys())
    np.testing.assert_allclose([found[name] for name in same], [expected[name] for name in same], atol=0.005)


@pytest.mark.parametrize("preset", LOCALIZED)
def test_locations_are_the_peers(preset):
    golden = peers(preset)
    # the peer discards what enforce_decrease gives
    changes = ["localize.enforce_decrease=false"] if preset == "nonrigid_accurate" else []
    stage = presets.load(preset, changes)["localize"]
    localizer = stage.module.Localizer(stage.parameters, raw()[1], RATE_HZ)
    channels = golden["channel_index"].astype(np.int32)
    located = localizer(preprocessed(), golden["sample_index"].astype(np.int64), channels)
    for name, column in zip(("x", "y"), located.T, strict=False):
        assert np.median(np.abs(column - golden[name])) <= LOCALIZED[preset], name


@pytest.mark.parametrize("preset", MOVED)
def test_motion_is_the_peers(preset):
    golden = load("reference_motion.npz")
    time_s = golden["sample_index"] / RATE_HZ
    peaks = DepthPeaks(time_s, golden["depth_um"].astype(np.float64), golden["amplitude"].astype(np.float64))
    depths_um = raw()[1].depths_um
    stage = presets.load(preset)["estimate"]
    span_um = float(depths_um.min()), float(depths_um.max())
    motion = stage.module.estimate(peaks, span_um, DURATION_S, stage.parameters, Reporter())
    expected = golden[f"{preset}/displacement_um"]
    assert np.ptp(expected) > 10
    np.testing.assert_allclose(motion.temporal_bins_s, golden[f"{preset}/temporal_bins_s"])
    np.testing.assert_allclose(motion.spatial_bins_um, golden[f"{preset}/spatial_bins_um"])
    assert np.abs(motion.displacement_um - expected).mean() <= MOVED[preset]


def test_corrected_traces_are_the_peers():
    golden = load("reference_traces.npz")
    traces, geometry = raw()
    first = int(golden["moved_first_row"])
    traces = np.ascontiguousarray(traces[first : first + len(golden["moved"])], np.float32)
    stage = presets.load("kilosort_like")["interpolate"]
    motion = Motion(np.full((1, 1), float(golden["moved_um"])), np.zeros(1), np.zeros(1))
    interpolator = Interpolator(
        stage.module.Kernel, stage.parameters, geometry, {0: motion}, RATE_HZ, int(DURATION_S * RATE_HZ)
    )
    corrected = np.rint(interpolator(traces, 0))
    assert (np.abs(corrected - golden["moved"]) <= 1).mean() >= 0.9999
    assert (corrected == golden["moved"]).mean() > 0.999
    assert (np.abs(traces - golden["moved"]) > 1).mean() > 0.3
