"""How far each method looks for a displacement, as its estimates show."""

import numpy as np
import pytest

from driftcli import presets
from driftcli.estimate import dredge_ap, iterative_template
from driftcli.model import DepthPeaks
from driftcli.presets import STAGES
from driftcli.reporter import Reporter

SPAN_UM, DURATION_S, FAR_UM = (0.0, 1000.0), 20.0, 60.0


def two_halves_apart():
    """Peaks that stand still for 10 s, and 60 µm higher for another 10."""
    rng = np.random.default_rng(0)
    time_s, unit = np.sort(rng.uniform(0, DURATION_S, 20_000)), rng.integers(0, 30, 20_000)
    depth_um = rng.uniform(100, 800, 30)[unit] + np.where(time_s < 10, 0.0, FAR_UM) + rng.normal(0, 2, 20_000)
    return DepthPeaks(time_s, depth_um, -rng.lognormal(4.3, 0.6, 30)[unit])


@pytest.mark.parametrize(
    ("method", "narrow", "wide"),
    [
        ("dredge_ap", ["max_disp_um=30"], ["max_disp_um=90"]),
        ("dredge_ap", ["win_scale_um=200", "win_step_um=200"], ["win_scale_um=400", "win_step_um=400"]),
        ("likelihood", ["max_disp_um=30"], ["max_disp_um=90"]),
        ("decentralized", ["max_displacement_um=30"], ["max_displacement_um=90"]),
        ("iterative_template", ["num_shifts_global=2", "num_iterations=2"], ["num_shifts_global=9"]),
    ],
)
def test_what_is_within_the_limit_is_found_and_what_is_beyond_is_not(method, narrow, wide):
    peaks = two_halves_apart()
    for changes, found in ((narrow, False), (wide, True)):
        stage = presets.resolve({"estimate": {"method": method}}, [f"estimate.{each}" for each in changes])["estimate"]
        limit = stage.module.search_limit(SPAN_UM, stage.parameters)
        assert (limit.limit_um >= FAR_UM) == found
        motion = stage.module.estimate(peaks, SPAN_UM, DURATION_S, stage.parameters, Reporter())
        times_s = motion.temporal_bins_s
        rise_um = np.median(motion.displacement_um[times_s > 12]) - np.median(motion.displacement_um[times_s < 8])
        assert (abs(rise_um - FAR_UM) < 6) == found


@pytest.mark.parametrize("method", STAGES["estimate"].names)
def test_the_key_that_raises_the_limit_does(method):
    stage = presets.resolve({"estimate": {"method": method}})["estimate"]
    limit = stage.module.search_limit(SPAN_UM, stage.parameters)
    key = limit.key.removeprefix("estimate.")
    low, high = {"num_shifts_global": (3, 6)}.get(key, (20.0, 50.0))
    of_values = [
        stage.module.search_limit(SPAN_UM, stage.parameters.model_copy(update={key: value})) for value in (low, high)
    ]
    assert of_values[0].limit_um < of_values[1].limit_um
    if key != "num_shifts_global":
        assert [each.limit_um for each in of_values] == [low, high]
    if method != "dredge_lfp":  # which compares no more than two chunks
        assert limit.horizon_s == getattr(stage.parameters, "time_horizon_s", None)


def test_methods_without_a_horizon_compare_all_times():
    assert iterative_template.search_limit(SPAN_UM, iterative_template.Parameters()).horizon_s is None
    assert dredge_ap.search_limit(SPAN_UM, dredge_ap.Parameters(time_horizon_s=500.0)).horizon_s == 500.0
