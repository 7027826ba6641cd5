import numpy as np
import pytest
from pydantic import ValidationError

from driftcli.errors import UsageError
from driftcli.estimate.windows import WindowParameters, spatial_windows
from driftcli.reporter import Reporter
from oracles import windows as oracle

SPAN_UM = (0.0, 1260.0)
CENTRES_UM = np.arange(-20, 1280, 5.0) + 2.5


class Listener(Reporter):
    def __init__(self):
        self.messages = []

    def message(self, text):
        self.messages.append(text)


def make(span_um=SPAN_UM, centres_um=CENTRES_UM, zero_threshold=None, **parameters):
    listener = Listener()
    found = spatial_windows(WindowParameters(**parameters), span_um, centres_um, listener, zero_threshold)
    return *found, listener.messages


@pytest.mark.parametrize("shape", ["gaussian", "rect", "triangle"])
@pytest.mark.parametrize(
    ("step", "scale", "margin"), [(200, 300, None), (400, 400, None), (130, 90, 20), (77, 500, -30)]
)
def test_windows_that_fit_are_the_oracles(shape, step, scale, margin):
    windows, centres, messages = make(win_shape=shape, win_step_um=step, win_scale_um=scale, win_margin_um=margin)
    expected = oracle.centres_um(*SPAN_UM, step, -scale / 2 if margin is None else margin)
    np.testing.assert_allclose(centres, expected)
    assert len(centres) > 2
    for window, centre in zip(windows, expected, strict=True):
        np.testing.assert_allclose(window, oracle.weights(shape, CENTRES_UM, centre, scale), atol=1e-12)
    assert not messages


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ("gaussian", [[0.826, 0.999, 0.991, 0.603, 0.032], [0.270, 0.580, 0.686, 1.0, 0.270]]),
        ("rect", [[0, 1, 1, 0, 0], [0, 0, 0, 1, 0]]),
        ("triangle", [[0, 0.923, 0.744, 0, 0], [0, 0, 0, 1, 0]]),
    ],
)
def test_windows_are_the_peers(shape, expected):
    # SpikeInterface 0.105.3, get_spatial_windows with win_step_um=400, win_scale_um=400
    windows, centres, _ = make(win_shape=shape, win_step_um=400, win_scale_um=400)
    np.testing.assert_allclose(centres, [230, 630, 1030])
    np.testing.assert_allclose(windows[:2, [0, 46, 60, 130, 259]], expected, atol=5e-4)


def test_the_defaults_are_the_peers():
    _, centres, _ = make()
    np.testing.assert_allclose(centres, [230, 430, 630, 830, 1030])


def test_rigid_is_one_even_window():
    windows, centres, messages = make(rigid=True)
    np.testing.assert_array_equal(windows, np.ones((1, 260)))
    np.testing.assert_array_equal(centres, [630])
    assert not messages


def test_a_threshold_cuts_and_norms():
    plain = make()[0]
    windows = make(zero_threshold=0.3)[0]
    np.testing.assert_array_equal(windows > 0, plain >= 0.3)
    np.testing.assert_allclose(windows.sum(axis=1), 1)
    np.testing.assert_allclose(make(zero_threshold=1e-5, rigid=True)[0], 1 / 260)


@pytest.mark.parametrize("margin", [None, -100.0])
def test_windows_that_do_not_fit_are_scaled_down_to_the_span(margin):
    centres_um = np.arange(0, 500, 5.0) + 102.5
    parameters = {"win_step_um": 400.0, "win_scale_um": 400.0, "win_margin_um": margin}
    windows, centres, messages = make((100.0, 600.0), centres_um, **parameters)
    factor = 500 / (400 - 2 * (-200 if margin is None else margin))
    step, inset = 400 * factor, (200 if margin is None else 100) * factor
    np.testing.assert_allclose(centres, [100 + inset, 100 + inset + step])
    np.testing.assert_allclose(centres[-1], 600 - inset)
    np.testing.assert_allclose(windows[1], oracle.weights("gaussian", centres_um, centres[1], 400 * factor))
    assert len(messages) == 1
    assert f"win_step_um={step:.4g}" in messages[0]
    assert f"win_scale_um={400 * factor:.4g}" in messages[0]


@pytest.mark.parametrize("span", [0.0, 60.0, 199.0])
def test_a_span_below_one_step_is_rigid_with_one_window(span):
    windows, centres, messages = make((0.0, span), np.arange(0, span + 5, 5.0) + 2.5)
    assert windows.shape == (1, len(np.arange(0, span + 5, 5.0)))
    assert (windows == 1).all()
    assert len(centres) == 1
    assert len(messages) == 1
    assert "rigid" in messages[0]


@pytest.mark.parametrize(("shape", "scale", "margin"), [("rect", 1.0, 0.0), ("triangle", 200.0, 500.0)])
def test_a_window_without_bins_is_an_error(shape, scale, margin):
    with pytest.raises(UsageError, match=f"win_scale_um={scale:g} hold no spatial bin"):
        make(win_shape=shape, win_scale_um=scale, win_margin_um=margin)


def test_a_triangle_over_one_bin_is_that_bin():
    windows, _, _ = make(
        (0.0, 500.0), np.arange(0, 501, 50.0), win_shape="triangle", win_scale_um=60.0, win_step_um=100.0
    )
    assert windows.max() == 1
    assert np.isfinite(windows).all()
    assert (windows.sum(axis=1) >= 1).all()


@pytest.mark.parametrize("name", ["win_step_um", "win_scale_um"])
@pytest.mark.parametrize("value", [0.0, -1.0, np.inf, np.nan])
def test_steps_and_scales_are_positive_numbers(name, value):
    with pytest.raises(ValidationError):
        WindowParameters(**{name: value})
