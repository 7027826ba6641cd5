"""The coarse motion against all pairs, lags and unknowns."""

import numpy as np
import pytest

from driftcli.estimate import blocks
from driftcli.estimate.blocks import Layout, coarse_motion
from driftcli.model import DepthPeaks
from driftcli.reporter import Reporter
from oracles import likelihood as oracle

SPAN_UM, DURATION_S, BLOCK_S = (20.0, 520.0), 24.0, 2.0


def moved_um(time_s):
    return 14 * np.sin(time_s / 4) + 20 * (time_s > 15)


def some_peaks(count=6000, seed=0, span_um=SPAN_UM):
    """Of 30 units that move by `moved_um`, some carried beyond the contacts."""
    rng = np.random.default_rng(seed)
    unit, time_s = rng.integers(0, 30, count), np.sort(rng.uniform(0, DURATION_S, count))
    depth_um = rng.uniform(*span_um, 30)[unit] + moved_um(time_s) + rng.normal(0, 3, count)
    return time_s, depth_um, -np.exp(rng.normal(4, 0.6, 30)[unit] + rng.normal(0, 0.1, count))


def layout_of(span_um=SPAN_UM, horizon_s=300.0, max_disp_um=60.0, block_s=BLOCK_S):
    return Layout.of(span_um, DURATION_S, block_s, horizon_s, max_disp_um)


def coarse(peaks, layout, jobs=1):
    return coarse_motion(DepthPeaks(*peaks), layout, Reporter(), jobs)


@pytest.mark.parametrize(
    ("span_um", "horizon_s", "max_disp_um"),
    [(SPAN_UM, 300.0, 60.0), (SPAN_UM, 7.0, 60.0), (SPAN_UM, 300.0, 23.0), ((0.0, 160.0), 300.0, 60.0)],
)
def test_the_motion_is_the_oracles(span_um, horizon_s, max_disp_um):
    peaks = some_peaks(span_um=span_um)
    found = coarse(peaks, layout_of(span_um, horizon_s, max_disp_um))
    expected = oracle.coarse_motion(peaks, span_um, DURATION_S, BLOCK_S, horizon_s, max_disp_um)
    np.testing.assert_allclose(found.spatial_bins_um, oracle.coarse_windows_um(span_um))
    np.testing.assert_allclose(found.temporal_bins_s, np.arange(1, 24, 2))
    np.testing.assert_allclose(found.displacement_um, expected, atol=1e-3)  # correlations are single precision
    assert np.ptp(expected) > 10


def test_the_image_is_the_oracles():
    peaks, layout = some_peaks(), layout_of()
    found = blocks._image(DepthPeaks(*peaks), layout).reshape(12, 8, layout.width)
    expected = oracle.image(peaks, SPAN_UM, 12, BLOCK_S)
    assert (found[..., layout.n_depths :] == 0).all()
    np.testing.assert_allclose(found[..., : layout.n_depths], expected, rtol=1e-6, atol=1e-7)
    layers = np.expm1(expected).sum(axis=(0, 2))
    assert layers.max() < 1.6 * layers.min()


@pytest.mark.parametrize("rows", [1, 700, 6000])
def test_peaks_are_taken_in_pieces(monkeypatch, rows):
    peaks = tuple(values[: 50 if rows == 1 else None] for values in some_peaks())
    whole = blocks._image(DepthPeaks(*peaks), layout_of())
    monkeypatch.setattr(blocks, "_PIECE", rows)
    np.testing.assert_allclose(blocks._image(DepthPeaks(*peaks), layout_of()), whole, rtol=1e-6)


def test_the_motion_is_near_the_truth():
    motion = coarse(some_peaks(), layout_of())
    assert motion.displacement_um.shape == (12, 2)
    error_um = motion.displacement_um - moved_um(motion.temporal_bins_s)[:, None]
    assert np.abs(error_um - error_um.mean()).mean() < 2


def test_a_unit_that_gives_way_to_another_is_not_taken_for_motion():
    """Small units fall silent halfway as large ones begin 20 µm deeper; some go on throughout."""
    rng = np.random.default_rng(2)
    time_s, unit = np.sort(rng.uniform(0, DURATION_S, 8000)), rng.integers(0, 45, 8000)
    kind = unit % 3  # small ones first, large ones later, others always
    places_um = np.repeat(rng.uniform(40, 500, 15), 3) + np.tile([0.0, 20.0, -35.0], 15)
    there = np.where(kind == 0, time_s < 12, np.where(kind == 1, time_s >= 12, True))
    size = np.array([50.0, 200.0, 90.0])[kind] * np.exp(rng.normal(0, 0.05, 8000))
    peaks = time_s[there], (places_um[unit] + rng.normal(0, 2, 8000))[there], -size[there]
    assert np.ptp(coarse(peaks, layout_of()).displacement_um, axis=0).max() < 2


def test_a_contradicting_pair_is_little_believed():
    match = blocks._Match(0, (1, 4), np.array([[10, 4], [16, 10]], np.int16), np.full((2, 2), 0.8, np.float32))
    motion_um = np.zeros((6, 1))
    motion_um[[1, 2], 0] = 10.0
    expected = 0.8 * np.array([[1, 1 / 4], [1 / 4, 1]])
    np.testing.assert_allclose(match.believed(motion_um), expected, rtol=1e-6)


@pytest.mark.parametrize("jobs", [2, 3])
def test_threads_change_no_bit(jobs):
    peaks, layout = some_peaks(span_um=(20.0, 1400.0)), layout_of((20.0, 1400.0))
    one, many = coarse(peaks, layout), coarse(peaks, layout, jobs)
    assert one.displacement_um.shape == (12, 4)
    assert one.displacement_um.tobytes() == many.displacement_um.tobytes()


@pytest.mark.parametrize("block_s", [24.0, 60.0])
def test_one_block_does_not_move(block_s):
    motion = coarse(some_peaks(), layout_of(block_s=block_s))
    assert (motion.displacement_um == 0).all()
    assert motion.displacement_um.shape == (1, 2)


def test_blocks_without_peaks_lie_between_their_neighbours():
    time_s, depth_um, amplitude = some_peaks()
    there = (time_s < 4) | (time_s >= 10)
    motion = coarse((time_s[there], depth_um[there], amplitude[there]), layout_of()).displacement_um
    for column in motion.T:
        np.testing.assert_allclose(column[1:6], np.linspace(column[1], column[5], 5), atol=0.1)


@pytest.mark.parametrize("span_um", [(100.0, 100.0), (100.0, 112.0)])
def test_a_span_shorter_than_a_few_bins(span_um):
    motion = coarse(some_peaks(span_um=span_um), layout_of(span_um))
    np.testing.assert_allclose(motion.spatial_bins_um, [sum(span_um) / 2])


def test_a_layout_is_as_large_as_its_numbers():
    layout = Layout.of((0.0, 1000.0), 61.0, 2.0, 9.0, 52.0)
    assert (layout.n_blocks, layout.n_depths, layout.n_windows) == (31, 202, 3)
    assert (layout.reach, layout.max_lag, layout.width) == (4, 10, 212)
    np.testing.assert_array_equal(layout.centres_um, [0, 500, 1000])
    assert Layout.of((0.0, 20.0), 1.0, 2.0, 1.0, 1e4).max_lag == 5
