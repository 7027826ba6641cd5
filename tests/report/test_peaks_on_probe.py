"""Peaks lie where the view has them, on the contacts of their shank; contacts that aren't good are told apart."""

from dataclasses import replace

import numpy as np
import pytest
from drawn import axes_titled, by_gid, collisions, points, texts

import made_up_view
from driftcli.report.peaks_on_probe import peaks_on_probe


@pytest.mark.parametrize("n_shanks", [1, 4, 6])
def test_peaks_and_contacts_of_each_shank(n_shanks):
    view = made_up_view.view(2_000, n_shanks)
    figure = peaks_on_probe(view)
    panels = [axes for axes in figure.axes if axes.get_title(loc="left")]
    assert len(panels) == 2 * n_shanks
    for index, axes in enumerate(panels):
        shank, corrected = divmod(index, 2)
        here = view.peaks.shank == shank
        depth_um = (view.peaks.corrected_depth_um if corrected else view.peaks.depth_um)[here]
        drawn = points(axes)
        np.testing.assert_array_equal(np.sort(drawn[:, 0]), np.sort(view.peaks.x_um[here].astype(float)))
        assert np.median(drawn[:, 1]) == pytest.approx(np.median(depth_um))
        good = np.concatenate([marks.get_offsets() for marks in by_gid(axes, "good")])
        expected = view.geometry.positions_um[(view.geometry.shanks == shank) & (view.labels == 0)]
        np.testing.assert_array_equal(good, expected)
        assert axes.get_ylim() == view.depth_limits_um
    assert axes_titled(figure, "peaks" if n_shanks == 1 else "shank 0\npeaks")


def test_bad_contacts_are_marked_by_what_is_wrong():
    view = made_up_view.view(500)
    figure = peaks_on_probe(view)
    for axes in figure.axes[:2]:
        for label, rows in (("dead", [7]), ("noisy", [11, 12])):
            (marks,) = by_gid(axes, label)
            np.testing.assert_array_equal(marks.get_offsets(), view.geometry.positions_um[rows])
    told = [text for text, _ in texts(figure)]
    assert {"contact: dead", "contact: noisy"} <= set(told)
    assert "contact: reference" not in told
    nobody_looked = peaks_on_probe(replace(view, labels=None))
    assert not by_gid(nobody_looked, "dead")


@pytest.mark.parametrize("n_shanks", [1, 4, 6])
def test_no_text_covers_another_one(n_shanks):
    labels = np.arange(200 * n_shanks, dtype=np.uint8) % 6
    view = made_up_view.view(300, n_shanks, labels=labels, name="a_very_long_name_of_a_recording_g0_t0.imec0.ap.bin")
    assert not collisions(peaks_on_probe(view))
