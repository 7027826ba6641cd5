"""How much each spatial bin counts in each spatial window along the shank.

Windows and their centres follow `get_spatial_windows` of SpikeInterface 0.105.3 wherever they fit the shank. Where
they don't, SpikeInterface announces rigid motion and returns two windows all the same; here windows and steps are
scaled down, or the estimate really is rigid.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from driftcli.errors import UsageError
from driftcli.model import Parameters
from driftcli.reporter import Reporter

WindowShape = Literal["gaussian", "rect", "triangle"]


class WindowParameters(Parameters):
    """Spatial windows of an estimate; a method's parameters inherit these.

    rigid: one displacement for the whole shank, the other parameters here then don't matter.
    win_shape: "gaussian" (win_scale_um is its sigma), "rect" or "triangle" (win_scale_um is the whole width).
    win_step_um: distance between the centres of windows.
    win_scale_um: size of the windows, as win_shape says.
    win_margin_um: how far the outermost windows may reach beyond the outermost contacts, negative: how far they stay
        away; None: -win_scale_um / 2.
    """

    rigid: bool = False
    win_shape: WindowShape = "gaussian"
    win_step_um: float = Field(default=200.0, gt=0)
    win_scale_um: float = Field(default=300.0, gt=0)
    win_margin_um: float | None = None


def spatial_windows(
    parameters: WindowParameters,
    span_um: tuple[float, float],
    spatial_centres_um: NDArray[np.float64],
    reporter: Reporter,
    zero_threshold: float | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weight of every spatial bin in every window, (W, D), and the windows' centres in µm, (W,).

    spatial_centres_um: (D,) centres of the spatial bins. With `zero_threshold` smaller weights become 0 and each
    window's weights sum to 1. `reporter` is told where windows were scaled down or given up; UsageError if a window
    holds no bin.
    """
    layout = None if parameters.rigid else _fit(parameters, span_um, reporter)
    if layout is None:
        windows = np.ones((1, len(spatial_centres_um)))
        centres = np.array([(spatial_centres_um[0] + spatial_centres_um[-1]) / 2])
    else:
        centres, scale_um = layout
        distance = np.abs(spatial_centres_um[None] - centres[:, None])
        windows = _SHAPES[parameters.win_shape](distance, scale_um)
    counting = windows > 0 if zero_threshold is None else windows >= zero_threshold
    if not counting.any(axis=1).all():
        raise UsageError(
            f"some spatial windows of win_scale_um={parameters.win_scale_um:g} hold no spatial bin",
            "make win_scale_um larger, bin_um smaller, or win_margin_um smaller",
        )
    if zero_threshold is not None:
        windows = np.where(counting, windows, 0.0)
        windows = windows / windows.sum(axis=1)[:, None]
    return windows, centres


def _fit(
    parameters: WindowParameters, span_um: tuple[float, float], reporter: Reporter
) -> tuple[NDArray[np.float64], float] | None:
    """Centres and scale of the windows, scaled down if too large for the span; None if the span is below one step."""
    step, scale, margin = parameters.win_step_um, parameters.win_scale_um, parameters.win_margin_um
    if margin is None:
        margin = -scale / 2
    span = span_um[1] - span_um[0]
    n_steps = int((span + 2 * margin) // step)
    if n_steps < 1:
        if span < step:
            reporter.message(
                f"the contacts span {span:g} µm, less than one win_step_um of {step:g}: the estimate is rigid"
            )
            return None
        factor = span / (step - 2 * margin)
        step, scale, margin, n_steps = step * factor, scale * factor, margin * factor, 1
        reporter.message(
            f"the spatial windows don't fit contacts that span {span:g} µm: scaled down to "
            f"win_step_um={step:.4g}, win_scale_um={scale:.4g}, win_margin_um={margin:.4g}"
        )
    first = span_um[0] - margin
    border = max(0.0, span + 2 * margin - n_steps * step) / 2
    return np.arange(n_steps + 1, dtype=np.float64) * step + first + border, scale


def _gaussian(distance: NDArray[np.float64], scale_um: float) -> NDArray[np.float64]:
    return np.exp(-(distance**2) / (2 * scale_um**2))


def _rect(distance: NDArray[np.float64], scale_um: float) -> NDArray[np.float64]:
    return (distance < scale_um / 2).astype(np.float64)


def _triangle(distance: NDArray[np.float64], scale_um: float) -> NDArray[np.float64]:
    """1 at the bin nearest to the centre, falling to 0 at the farthest bin inside; all 1 if those are equally far."""
    inside = distance <= scale_um / 2
    farthest = np.where(inside, distance, -np.inf).max(axis=1, keepdims=True)
    nearest = distance.min(axis=1, keepdims=True)
    height = farthest - nearest
    slope = (farthest - distance) / np.where(height > 0, height, 1)
    return np.where(inside, np.where(height > 0, slope, 1.0), 0.0)


_SHAPES = {"gaussian": _gaussian, "rect": _rect, "triangle": _triangle}
