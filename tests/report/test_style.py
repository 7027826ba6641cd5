"""Figures look the same whatever the user's matplotlib is set to, and leave its settings alone."""

import subprocess
import sys
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
from drawn import by_gid, points

import made_up_view
from driftcli.report import style
from driftcli.report.clusters import clusters
from driftcli.report.drift_map import drift_map
from driftcli.report.peaks_on_probe import peaks_on_probe
from driftcli.report.times import times
from driftcli.report.view import MOST_POINTS


def test_nothing_of_the_users_settings_counts():
    view = made_up_view.view(10)
    plain = style.rendered(times(view), "png")
    strange = {"font.size": 30, "axes.facecolor": "red", "savefig.dpi": 20, "axes.titlelocation": "right"}
    with matplotlib.rc_context(strange):
        assert style.rendered(times(view), "png") == plain
        assert matplotlib.rcParams["font.size"] == 30


def test_names_may_hold_any_signs():
    figure = times(made_up_view.view(10, name="a$b_1$ \N{CJK UNIFIED IDEOGRAPH-6587}\n<&"))
    assert figure.get_suptitle() == "a$b_1$ \N{CJK UNIFIED IDEOGRAPH-6587}?<&: run time"
    for kind in ("png", "svg"):
        style.rendered(figure, kind)


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_the_same_figure_gives_the_same_bytes(kind):
    one, other = (style.rendered(times(made_up_view.view(10)), kind) for _ in range(2))
    assert one == other
    assert one.startswith(b"\x89PNG" if kind == "png" else b"<?xml")


def test_no_window_and_no_pyplot_is_opened():
    code = (
        "import sys; from driftcli.report import figures, comparison; assert 'matplotlib' not in sys.modules\n"
        "import made_up_view; figures.DRAW['times'](made_up_view.view(10))\n"
        "assert 'matplotlib.figure' in sys.modules and 'matplotlib.pyplot' not in sys.modules"
    )
    path = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=path, timeout=60)
    assert done.returncode == 0, done.stderr


def test_of_as_many_peaks_as_there_may_be_an_svg_stays_small():
    """Points are a picture within it: each by itself would take some 100 bytes."""
    assert MOST_POINTS == 200_000
    view = made_up_view.view(MOST_POINTS)
    for draw in (drift_map, peaks_on_probe):
        figure = draw(view)
        drawn = by_gid(figure, "peaks")
        assert sum(len(line.get_xdata()) for line in drawn) > 1.9 * MOST_POINTS  # before and after
        assert all(line.get_rasterized() for line in drawn)
        assert len(style.rendered(figure, "svg")) < 4_000_000


@pytest.mark.parametrize("amplitude", [[], [0.0], [-5.0], [-1e-9, -1e9], [-20.0, -30.0, -500.0]])
def test_colours_of_any_amplitudes(amplitude):
    colours = style.AmplitudeColours.of(np.array(amplitude, np.float32))
    assert 0 < colours.norm.vmin < colours.norm.vmax
    figure = style.new_figure(2, 2)
    axes = figure.add_subplot()
    style.scatter(axes, np.zeros(len(amplitude)), np.zeros(len(amplitude)), np.array(amplitude, np.float32), colours, 1)
    assert len(points(axes)) == len(amplitude)
    style.amplitude_bar(figure, colours, "µV", [axes])


def test_no_colour_of_an_amplitude_is_lost_on_white():
    shades = style.AmplitudeColours.of(np.float32([-20, -200])).colours(np.linspace(0, 1, 256))[:, :3]
    linear = np.where(shades <= 0.04045, shades / 12.92, ((shades + 0.055) / 1.055) ** 2.4)
    contrast = 1.05 / ((linear * [0.2126, 0.7152, 0.0722]).sum(axis=1) + 0.05)
    assert contrast.min() > 1.9
    assert (np.diff(contrast) > -1e-9).all()  # the larger, the darker, also in grey


@pytest.mark.parametrize(("number", "word"), [(2, "second"), (4, "4th"), (32, "32nd"), (512, "512th")])
def test_every_so_manieth(number, word):
    view = made_up_view.view(100)
    view = made_up_view.view(100, num_peaks=number * len(view.peaks))
    assert style.drawn(view).endswith(f"every {word} in order of time")


def test_titles_of_several_shanks_tell_the_verdict_only():
    """The reasons of each would fill the page."""
    assert style.verdict_lines(made_up_view.view(10, 3), 100) == ["helps"]
    assert style.verdict_lines(made_up_view.view(10, 1), 100)[0].startswith("helps: peaks that")


def test_of_very_many_shanks_those_with_the_most_peaks_are_drawn():
    view = made_up_view.view(10, 3)
    peaks = replace(view.peaks, shank=np.array([2, 0, 2, 1, 2, 1, 2][: len(view.peaks)]))
    view = replace(view, peaks=peaks)
    assert style.shown_shanks(view) == [0, 1, 2]
    assert style.shown_shanks(view, 2) == [1, 2]
    assert not style.told_shanks(view, [0, 1, 2])
    assert style.told_shanks(view, [1, 2]) == " Of 3 shanks the 2 with the most peaks are drawn: 1, 2."


@pytest.mark.parametrize("draw", [drift_map, peaks_on_probe, clusters])
@pytest.mark.parametrize("n_shanks", [8, 20])
def test_figures_of_many_shanks_are_neither_strips_nor_without_end(draw, n_shanks):
    figure = draw(made_up_view.view(400, n_shanks))
    width, height = figure.get_size_inches() * figure.dpi
    assert 1_500 < width < 1_900
    assert 0.5 * width < height < 2 * width
    assert figure.dpi > 95  # text of 8 points is 11 pixels high
