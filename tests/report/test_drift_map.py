"""The four panels hold what the view does, where it belongs, and nothing covers anything."""

from dataclasses import replace

import numpy as np
import pytest
from drawn import axes_titled, by_gid, collisions, points, texts

import made_up_view
from driftcli.model import Geometry, Mask, Motion, ShankAssessment
from driftcli.report.drift_map import drift_map
from driftcli.report.view import ShownPeaks


def peaks_at(time_s, depth_um, amplitude, shank=0):
    columns = [np.asarray(values, np.float32) for values in (np.zeros(len(time_s)), depth_um, depth_um, amplitude)]
    return ShownPeaks(np.asarray(time_s, float), *columns, np.full(len(time_s), shank))


@pytest.mark.parametrize("n_shanks", [1, 4])
def test_every_peak_is_in_its_panel_before_and_after(n_shanks):
    view = made_up_view.view(3_000, n_shanks)
    figure = drift_map(view)
    before, after = axes_titled(figure, "peaks")
    here = view.peaks.shank == 0
    for axes, depth_um in ((before, view.peaks.depth_um), (after, view.peaks.corrected_depth_um)):
        drawn = points(axes)
        assert len(drawn) == here.sum()
        expected = np.column_stack([view.peaks.time_s[here] / 60, depth_um[here]])
        np.testing.assert_allclose(np.sort(drawn, axis=0), np.sort(expected, axis=0), rtol=1e-6)
        assert axes.get_ylim() == view.depth_limits_um
        np.testing.assert_allclose(axes.get_xlim(), (0, 20))
    assert len(points(figure)) == 2 * len(view.peaks)


def test_the_largest_amplitudes_are_drawn_last_and_darkest():
    view = made_up_view.view(2_000, peaks=peaks_at(np.arange(100.0), np.arange(100.0), -np.arange(1.0, 101.0)[::-1]))
    lines = by_gid(axes_titled(drift_map(view), "peaks")[0], "peaks")
    assert points(axes_titled(drift_map(view), "peaks")[0])[-1, 1] < 10  # the amplitudes there are -100 to -90
    light = [sum(line.get_color()[:3]) for line in lines]
    assert light == sorted(light, reverse=True)
    assert light[0] < 2.4  # white is 3: the smallest stand out from it


def test_motion_of_each_depth_and_their_mean():
    view = made_up_view.view(500)
    motion = view.motions[0]
    (axes,) = axes_titled(drift_map(view), "motion")[:1]
    lines = by_gid(axes, "window")
    assert len(lines) == len(motion.spatial_bins_um)
    for window, line in enumerate(lines):
        shown = line.get_ydata()
        np.testing.assert_array_equal(shown[np.isfinite(shown)], motion.displacement_um[:, window])
        assert np.isnan(shown).sum() == 1  # no line crosses the break
    (mean,) = by_gid(axes, "mean")
    np.testing.assert_allclose(np.nanmedian(mean.get_ydata()), np.median(motion.displacement_um.mean(axis=1)))
    assert len(by_gid(axes, "error")) == len(lines)


def test_the_map_is_the_motion_with_colours_from_minus_to_plus_the_same():
    view = made_up_view.view(500)
    figure = drift_map(view)
    (axes,) = axes_titled(figure, "motion map")
    (image,) = axes.get_images()
    rows, columns = image.get_array().shape
    assert image.get_extent() == [0, 20, 0, 2000]
    depth_um, time_s = (np.arange(rows) + 0.5) * 2000 / rows, (np.arange(columns) + 0.5) * 1200 / columns
    np.testing.assert_allclose(image.get_array(), view.motions[0].at(time_s[None], depth_um[:, None], "nearest_bin"))
    assert image.norm.vmin == -image.norm.vmax == -np.abs(view.motions[0].displacement_um).max()


def test_errors_that_nobody_knows_are_no_numbers():
    view = made_up_view.view(500)
    errors = [axes for axes in drift_map(view).axes if axes.get_images() and axes.get_images()[0].cmap.name == "Greys"]
    seen = errors[0].get_images()[0].get_array()
    unknown = np.isnan(view.assessment.shanks[0].error_um).mean()
    assert seen.mask.mean() == pytest.approx(unknown, abs=0.002)
    assert np.median(seen.compressed()) == pytest.approx(np.nanmedian(view.assessment.shanks[0].error_um), abs=0.05)


def test_without_an_assessment_there_is_neither_error_nor_verdict():
    with_it, without = made_up_view.view(500), made_up_view.view(500, assessment=None)
    assert "helps: peaks that the motion was not" in drift_map(with_it).get_suptitle()
    figure = drift_map(without)
    assert figure.get_suptitle() == "mouse7_g0_t0.imec0: drift map"
    assert not by_gid(figure, "error")
    assert len(drift_map(with_it).axes) == len(figure.axes) + 2  # the strip and its colours


def test_spans_that_were_left_out_and_breaks_are_where_they_are():
    figure = drift_map(made_up_view.view(500))
    for axes in axes_titled(figure, "peaks"):
        spans = [path.vertices[:, 0] for rug in by_gid(axes, "mask artifact") for path in rug.get_paths()]
        assert len(spans) == 2
        for vertices in spans:
            np.testing.assert_allclose([vertices.min(), vertices.max()], [100 / 60, 110 / 60])
        assert len(by_gid(axes, "mask saturation")) == 2  # at the top, and over all of the panel
        assert not by_gid(axes, "mask gap")
        (line,) = by_gid(axes, "break")
        assert line.get_xdata()[0] == pytest.approx(made_up_view.BREAK_S / 60)
    (map_axes,) = axes_titled(figure, "motion map")
    assert len(by_gid(map_axes, "mask saturation")) == 1  # not over colours that mean something
    told = [text for text, _ in texts(figure)]
    assert {"left out: saturation", "left out: artifact", "a file begins"} <= set(told)
    assert "left out: gap" not in told


@pytest.mark.parametrize(("duration_s", "label", "end"), [(10, "s", 10), (900, "min", 15), (36_000, "h", 10)])
def test_time_has_a_unit_that_fits(duration_s, label, end):
    motion = Motion(np.zeros((5, 1)), np.linspace(0, duration_s, 5), np.array([500.0]))
    view = made_up_view.view(300, duration_s=duration_s, motions={0: motion}, assessment=None, breaks_s=np.empty(0))
    (axes,) = axes_titled(drift_map(view), "motion")[:1]
    assert axes.get_xlabel() == f"time ({label})"
    assert axes.get_xlim() == pytest.approx((0, end))


def test_limits_of_time_and_depth_are_those_of_all_panels():
    view = made_up_view.view(500, time_limits_s=(100.0, 220.0), depth_limits_um=(300.0, 700.0))
    for axes in axes_titled(drift_map(view), "peaks") + axes_titled(drift_map(view), "motion map"):
        assert axes.get_xlim() == (100.0, 220.0)
        assert axes.get_ylim() == (300.0, 700.0)


NOBODY = ShownPeaks(np.empty(0), *(np.empty(0, np.float32) for _ in range(4)), np.empty(0, np.int64))


@pytest.mark.parametrize(
    ("n_shanks", "duration_s", "length_um"), [(1, 10.0, 10_000.0), (1, 36_000.0, 100.0), (4, 36_000.0, 10_000.0)]
)
def test_no_text_covers_another_one(n_shanks, duration_s, length_um):
    view = made_up_view.view(400, n_shanks, name="a_very_long_name_of_a_recording_g0_t0.imec0.ap.bin and 11 more")
    times = np.linspace(0, duration_s, 7)
    motions = {k: Motion(np.zeros((7, 3)) + k, times, length_um * np.array([0.1, 0.5, 0.9])) for k in range(n_shanks)}
    view = replace(
        view,
        time_limits_s=(0.0, duration_s),
        depth_limits_um=(0.0, length_um),
        motions=motions,
        assessment=made_up_view.assessment(motions),
    )
    assert not collisions(drift_map(view))


def test_what_is_hardly_there_is_drawn_with_words():
    """No peaks, one bin, one contact, and an error that isn't known."""
    motion, unknown = Motion(np.zeros((1, 1)), np.array([5.0]), np.array([0.0])), np.full((1, 1), np.nan)
    view = made_up_view.view(10, peaks=NOBODY, num_peaks=0, motions={0: motion}, breaks_s=np.empty(0), mask=Mask())
    found = view.assessment.shanks[0]
    nothing = ShankAssessment("unsure", ("there is too little to tell from",), found.scores, unknown, unknown)
    view = replace(
        view,
        assessment=replace(view.assessment, verdict="unsure", reasons=nothing.reasons, shanks={0: nothing}),
        geometry=Geometry(np.zeros((1, 2)), np.zeros(1, np.int64)),
        labels=None,
        depth_limits_um=(-5.0, 5.0),
    )
    figure = drift_map(view)
    told = [text for text, _ in texts(figure)]
    assert told.count("no peaks within these limits") == 2
    assert not collisions(figure)


def test_the_caption_says_how_many_peaks_are_drawn():
    view = made_up_view.view(500)
    told = " ".join(
        text.replace("\n", " ") for text, _ in texts(drift_map(replace(view, num_peaks=2 * len(view.peaks))))
    )
    assert f"{len(view.peaks):,} of {2 * len(view.peaks):,} peaks drawn: every second in order of time" in told
    told = " ".join(text for text, _ in texts(drift_map(replace(view, num_peaks=len(view.peaks)))))
    assert f"all {len(view.peaks):,} peaks drawn" in told


def test_spans_closer_than_a_pixel_are_drawn_as_one():
    """15,000 of them would make an SVG of 20 MB."""
    starts = np.arange(15_000) * 2_400
    mask = Mask(starts, starts + 600, np.full(15_000, 2, np.uint8))
    view = made_up_view.view(300, mask=mask)
    (axes, _) = axes_titled(drift_map(view), "peaks")
    spans = [path.vertices[:, 0] for path in by_gid(axes, "mask gap")[0].get_paths()]
    assert len(spans) == 1
    np.testing.assert_allclose([spans[0].min(), spans[0].max()], [0, (starts[-1] + 600) / 30_000 / 60])
    closer = replace(view, time_limits_s=(100.0, 102.0))
    (axes, _) = axes_titled(drift_map(closer), "peaks")
    spans = [path.vertices[:, 0] for path in by_gid(axes, "mask gap")[0].get_paths()]
    assert len(spans) == 25
    np.testing.assert_allclose([spans[0].min(), spans[0].max()], [100.0, 100.02])


@pytest.mark.parametrize(("n_shanks", "strips"), [(8, 8), (9, 0)])
def test_of_many_shanks_the_rows_have_no_strip_of_the_error(n_shanks, strips):
    figure = drift_map(made_up_view.view(200, n_shanks))
    images = [image for axes in figure.axes for image in axes.get_images()]
    assert sum(image.get_cmap().name == "Greys" for image in images) == strips
    caption = figure.legends[0].get_title().get_text().replace("\n", " ")
    assert ("the strip below the map" in caption) == (strips > 0)
