"""Several runs stand beside each other with the same axes, and their scores in a table."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
from drawn import axes_titled, by_gid, collisions, points, texts

import made_up_view
from driftcli.report.comparison import MOST_RUNS, comparison


def runs(count, n_shanks=1):
    view = made_up_view.view(300, n_shanks)
    halved = {k: replace(m, displacement_um=m.displacement_um / 2) for k, m in view.motions.items()}
    others = [replace(view, motions=halved, assessment=None) for _ in range(count - 1)]
    return {f"run_{index}": each for index, each in enumerate([view, *others])}


def test_columns_have_the_same_axes():
    views = runs(3)
    figure = comparison(views)
    rasters = [axes_titled(figure, name)[0] for name in views]
    motions = [axes for axes in figure.axes if by_gid(axes, "window")]
    assert len(motions) == 3
    for group in (rasters, motions):
        assert len({axes.get_ylim() for axes in group}) == len({axes.get_xlim() for axes in group}) == 1
    for axes, view in zip(rasters, views.values(), strict=True):
        assert np.median(points(axes)[:, 1]) == pytest.approx(np.median(view.peaks.corrected_depth_um))


def test_means_lie_over_each_other_from_their_medians_on():
    views = runs(2)
    (axes,) = axes_titled(comparison(views), "mean motion")
    lines = by_gid(axes, "mean of run")
    for line, view in zip(lines, views.values(), strict=True):
        mean_um = view.motions[0].displacement_um.mean(axis=1)
        np.testing.assert_allclose(line.get_ydata(), mean_um - np.median(mean_um))
    assert lines[0].get_linestyle() != lines[1].get_linestyle()


def test_the_table_tells_scores_or_that_there_are_none():
    told = [text for text, _ in texts(comparison(runs(2)))]
    assert {"run_0", "helps", "0.41 → 0.87", "0.6", "1.1", "43.2", "248.8 s", "not assessed"} <= set(told)


@pytest.mark.parametrize(("count", "n_shanks"), [(2, 1), (MOST_RUNS, 1), (2, 2)])
def test_no_text_covers_another_one(count, n_shanks):
    views = {f"a_long_name_of_a_folder/{name}_and_accurate": view for name, view in runs(count, n_shanks).items()}
    assert not collisions(comparison(views))


def test_run_times_of_a_part_of_the_work_are_marked():
    views = runs(2)
    facts = deepcopy(views["run_1"].facts)
    facts["corrected.bin"]["counts"]["blocks"]["kept"] = 3
    views["run_1"] = replace(views["run_1"], facts=facts)
    told = [text.replace("\n", " ") for text, _ in texts(comparison(views))]
    assert {"248.8 s", "248.8 s *"} <= set(told)
    assert any("Run time (of work in parts: *) of run_0: detect" in text for text in told)
    assert any("run_1: detect 91.3 s + estimate 13.1 s + apply 144.4 s (last attempt only)." in text for text in told)


def test_of_many_shanks_those_with_the_most_peaks_are_drawn_and_all_are_in_the_table():
    views = runs(2, 6)
    count = np.bincount(views["run_0"].peaks.shank, minlength=6)
    most = sorted(np.argsort(-count, kind="stable")[:4].tolist())
    figure = comparison(views)
    titles = [axes.get_title(loc="left") for axes in axes_titled(figure, "run_0")]
    assert titles == [f"run_0, shank {shank}" for shank in most]
    told = [text.replace("\n", " ") for text, _ in texts(figure)]
    assert {f"run_1, shank {shank}" for shank in range(6)} <= set(told)
    named = ", ".join(map(str, most))
    assert any(f"Of 6 shanks the 4 with the most peaks are drawn: {named}." in text for text in told)
