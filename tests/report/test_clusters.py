"""Clusters are found where they are, their spreads are right, and nothing prefers the corrected depths."""

from dataclasses import replace

import numpy as np
import pytest
from drawn import by_gid, collisions, texts

import made_up_view
from driftcli.model import Motion
from driftcli.report.clusters import EVEN_UM, FEWEST_PEAKS, clusters, spread_of_clusters
from driftcli.report.view import ShownPeaks

DEPTHS_UM = (200.0, 500.0, 800.0)


def drifting(before_um, after_um, *, seed=0, each=400, even=0, shift_um=0.0):
    """Three neurons whose depths spread so far, before and after; and peaks anywhere."""
    rng = np.random.default_rng(seed)
    still = np.repeat(DEPTHS_UM, each)
    before, after = (still + rng.normal(0, spread, len(still)) for spread in (before_um, after_um))
    anywhere = rng.uniform(0, 1_000, even)
    before, after = np.append(before + shift_um, anywhere), np.append(after, anywhere)
    size = np.append(
        np.repeat((60.0, 90.0, 150.0), each) * rng.lognormal(0, 0.05, 3 * each), rng.uniform(20, 200, even)
    )
    order = rng.permutation(len(before))
    columns = (np.zeros(len(before)), before, after, -size)
    return ShownPeaks(
        np.linspace(0, 1_000, len(before)),
        *(values[order].astype(np.float32) for values in columns),
        np.zeros(len(before), int),
    )


def view_with(peaks, shift_um=0.0):
    motion = Motion(np.full((10, 1), shift_um), np.arange(10.0) * 100, np.array([500.0]))
    return made_up_view.view(
        10, peaks=peaks, num_peaks=len(peaks), motions={0: motion}, assessment=None, breaks_s=np.empty(0)
    )


def test_spreads_are_those_of_the_clusters():
    found = spread_of_clusters(view_with(drifting(8.0, 3.0)), 0)
    assert len(found) >= 6
    assert found.found_corrected.sum() >= 3
    for depth_um in DEPTHS_UM:
        there = np.abs(found.depth_um - depth_um) < 12
        assert {True, False} <= set(found.found_corrected[there].tolist())
        assert np.median(found.before_um[there]) == pytest.approx(8.0, rel=0.2)
        assert np.median(found.after_um[there]) == pytest.approx(3.0, rel=0.2)


def test_a_constant_displacement_widens_nothing():
    """From where a motion counts is up to the estimate."""
    found = spread_of_clusters(view_with(drifting(3.0, 3.0, shift_um=70.0), 70.0), 0)
    assert len(found) >= 6
    np.testing.assert_allclose(found.before_um, 3.0, rtol=0.3)
    np.testing.assert_allclose(found.after_um, 3.0, rtol=0.3)


def test_with_the_depths_exchanged_the_picture_is_mirrored():
    peaks = drifting(8.0, 3.0, even=1_000, shift_um=6.0)
    one = spread_of_clusters(view_with(peaks, 6.0), 0)
    turned = replace(peaks, depth_um=peaks.corrected_depth_um, corrected_depth_um=peaks.depth_um)
    other = spread_of_clusters(view_with(turned, -6.0), 0)
    pairs = sorted(zip(one.before_um, one.after_um, ~one.found_corrected, strict=True))
    mirrored = sorted(zip(other.after_um, other.before_um, other.found_corrected, strict=True))
    np.testing.assert_allclose(np.array(pairs, float), np.array(mirrored, float))


def test_a_motion_of_nothing_but_noise_does_not_look_like_a_help():
    """Peaks anywhere, corrected by chance: the modes are chance, too, and on neither side."""
    found = [spread_of_clusters(view_with(anywhere(seed)), 0) for seed in range(6)]
    assert sum(map(len, found)) > 30
    before_um, after_um = (
        np.concatenate([getattr(each, name) for each in found]) for name in ("before_um", "after_um")
    )
    assert np.median(after_um / before_um) == pytest.approx(1.0, abs=0.05)
    assert np.median(before_um) == pytest.approx(EVEN_UM, rel=0.1)


def anywhere(seed):
    rng = np.random.default_rng(seed)
    before = rng.uniform(0, 2_000, 60_000)
    after = before - 15 * np.sin(np.linspace(0, 300, len(before)))
    size = rng.uniform(20, 200, len(before))
    columns = (values.astype(np.float32) for values in (np.zeros(len(before)), before, after, -size))
    return ShownPeaks(np.linspace(0, 1_000, len(before)), *columns, np.zeros(len(before), int))


def test_figure_holds_each_cluster_the_diagonal_and_the_medians():
    view = view_with(drifting(8.0, 3.0, even=300))
    figure, found = clusters(view), spread_of_clusters(view, 0)
    first = figure.axes[0]
    drawn = np.concatenate([by_gid(first, f"found {how}")[0].get_offsets() for how in ("as they are", "corrected")])
    expected = np.column_stack([found.before_um, found.after_um])
    np.testing.assert_allclose(np.sort(drawn, axis=0), np.sort(expected, axis=0))
    (medians,) = by_gid(first, "medians")
    np.testing.assert_allclose(medians.get_xydata()[0], np.median(expected, axis=0))
    (diagonal,) = by_gid(first, "diagonal")
    np.testing.assert_array_equal(diagonal.get_xdata(), diagonal.get_ydata())
    assert first.get_xlabel() == "spread before (µm)"
    (over_depth,) = by_gid(figure.axes[1], "after")
    np.testing.assert_allclose(over_depth.get_offsets()[:, 1], found.depth_um)


@pytest.mark.parametrize("each", [0, FEWEST_PEAKS // 3])
def test_too_few_peaks_are_said_to_be_too_few(each):
    figure = clusters(view_with(drifting(8.0, 3.0, each=each)))
    assert any("too few peaks to tell" in text.replace("\n", " ") for text, _ in texts(figure))
    assert not figure.axes[0].axison


@pytest.mark.parametrize("n_shanks", [1, 4, 6])
def test_no_text_covers_another_one(n_shanks):
    assert not collisions(clusters(made_up_view.view(8_000, n_shanks)))


def test_it_tells_of_the_peaks_that_are_drawn_and_not_of_all():
    """The clusters are those of the peaks that are drawn."""
    few = replace(view_with(drifting(8.0, 3.0, each=5)), num_peaks=123_456)
    told = " ".join(text.replace("\n", " ") for text, _ in texts(clusters(few)))
    assert "of 15 peaks drawn nowhere 80" in told
    assert "123,456" not in told
    some = view_with(drifting(8.0, 3.0, even=300))
    some = replace(some, num_peaks=4 * len(some.peaks))
    told = " ".join(text.replace("\n", " ") for text, _ in texts(clusters(some)))
    assert f"{len(some.peaks):,} of {some.num_peaks:,} peaks drawn: every 4th in order of time. Clusters" in told
