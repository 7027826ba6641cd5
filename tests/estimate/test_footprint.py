"""The memory that estimates are predicted to take, beside what they do take, and what is refused."""

import json
import subprocess
import sys

import pytest

from driftcli.errors import UsageError
from driftcli.estimate import decentralized, dredge_ap, iterative_template, likelihood
from driftcli.model import DepthPeaks
from driftcli.reporter import Reporter
from oracles import drift

SPAN_UM = (0.0, 1000.0)
# In a process of its own: the most that one estimate adds to what there was and its peaks, in bytes.
MEASURE = """
import json, sys
from importlib import import_module
import numpy as np
from driftcli.model import DepthPeaks
from driftcli.reporter import Reporter

method, n_peaks, duration_s, jobs, parameters = json.loads(sys.argv[1])
module = import_module("driftcli.estimate." + method)
parameters = module.Parameters(**parameters)

def run(n_peaks, duration_s):
    rng = np.random.default_rng(0)
    time_s = rng.uniform(0, duration_s, n_peaks)
    time_s.sort()
    peaks = DepthPeaks(time_s, rng.uniform(0, 1000, n_peaks), rng.uniform(50, 100, n_peaks))
    before = memory("VmRSS")
    module.estimate(peaks, (0.0, 1000.0), duration_s, parameters, Reporter(), jobs)
    return before

def memory(name):
    with open("/proc/self/status") as status:
        return next(1024 * int(line.split()[1]) for line in status if line.startswith(name))

run(500, 50.0)  # the kernels are there now
before = run(n_peaks, duration_s)
print(memory("VmHWM") - before)
"""
LONG = {
    # pairs, each way of keeping their weights
    "dredge_ap pairs": ("dredge_ap", 100_000, 15_000.0, 1, {"bin_um": 20.0, "time_horizon_s": 100.0}),
    "dredge_ap exact": (
        "dredge_ap",
        50_000,
        8_000.0,
        1,
        {"bin_um": 20.0, "time_horizon_s": 200.0, "normalized": False},
    ),
    # the raster and its spectra
    "dredge_ap depth": ("dredge_ap", 100_000, 3_000.0, 2, {"time_horizon_s": 20.0}),
    "dredge_ap percentile": (
        "dredge_ap",
        100_000,
        16_000.0,
        1,
        {"bin_um": 20.0, "time_horizon_s": 30.0, "mincorr_percentile": 20.0, "mincorr_percentile_nneighbs": 25},
    ),
    "decentralized pairs": (
        "decentralized",
        100_000,
        7_000.0,
        2,
        {"bin_um": 20.0, "max_displacement_um": 60.0, "time_horizon_s": 4_000.0},
    ),
    "decentralized robust": (
        "decentralized",
        100_000,
        3_000.0,
        1,
        {"bin_um": 20.0, "max_displacement_um": 40.0, "convergence_method": "lsqr_robust", "rigid": True},
    ),
    "decentralized histogram": (
        "decentralized",
        100_000,
        20_000.0,
        1,
        {"rigid": True, "bin_um": 2.0, "max_displacement_um": 4.0, "time_horizon_s": 20.0},
    ),
    "likelihood peaks": ("likelihood", 3_000_000, 1_000.0, 1, {"rounds": 1, "time_horizon_s": 20.0}),
    "likelihood equations": (
        "likelihood",
        50_000,
        6_000.0,
        1,
        {"rounds": 2, "time_horizon_s": 20.0, "win_step_um": 50.0, "block_s": 10.0},
    ),
    # images and matches
    "likelihood blocks": (
        "likelihood",
        50_000,
        2_000.0,
        2,
        {"rounds": 1, "bin_s": 1.0, "block_s": 1.0, "time_horizon_s": 200.0, "depth_sigma_um": 3.0},
    ),
    "iterative_template peaks": ("iterative_template", 3_000_000, 4_000.0, 1, {}),
    "iterative_template windows": ("iterative_template", 100_000, 30_000.0, 2, {"win_step_um": 50.0}),
}
MODULES = {
    "dredge_ap": dredge_ap,
    "decentralized": decentralized,
    "iterative_template": iterative_template,
    "likelihood": likelihood,
}


def footprint(method, n_peaks, duration_s, jobs=1, parameters=None, span_um=SPAN_UM):
    module = MODULES[method]
    return module.footprint(n_peaks, span_um, duration_s, module.Parameters(**parameters or {}), jobs)


@pytest.mark.parametrize("case", LONG)
def test_what_is_predicted_is_taken(case):
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, json.dumps(LONG[case])], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    measured = int(done.stdout)
    assert measured > 20e6, "too little to tell it from the rest of the program"
    assert 0.7 * measured < footprint(*LONG[case]).n_bytes < 1.6 * measured


@pytest.mark.parametrize("method", MODULES)
def test_bins_and_windows_are_those_of_the_estimate(method):
    module, span_um = MODULES[method], (0.0, 800.0)
    peaks = DepthPeaks(*drift.peaks(count=3000))
    motion = module.estimate(peaks, span_um, 39.0, module.Parameters(), Reporter())
    found = footprint(method, 3000, 39.0, span_um=span_um)
    assert motion.displacement_um.shape == (found.temporal_bins, found.windows)


@pytest.mark.parametrize("method", MODULES)
def test_more_of_anything_needs_no_less(method):
    horizon = {} if method == "iterative_template" else {"time_horizon_s": 100.0}
    small = footprint(method, 10**6, 10_000.0, 1, horizon)
    assert footprint(method, 10**8, 10_000.0, 1, horizon).n_bytes > small.n_bytes
    assert footprint(method, 10**6, 10_000.0, 4, horizon).n_bytes >= small.n_bytes
    assert footprint(method, 10**6, 10_000.0, 1, horizon, span_um=(0.0, 4000.0)).n_bytes > small.n_bytes


@pytest.mark.parametrize("method", ["dredge_ap", "decentralized"])
def test_with_a_horizon_memory_is_linear_in_the_duration(method):
    horizon = {"time_horizon_s": 1000.0}
    third, day, ten_days = (footprint(method, 0, days * 86_400.0, 1, horizon) for days in (1 / 3, 1, 10))
    assert 3 * third.temporal_bins == day.temporal_bins
    assert day.n_bytes < 3.1 * third.n_bytes
    assert ten_days.n_bytes < 10.1 * day.n_bytes


def test_the_memory_of_the_likelihood_is_linear_in_the_duration():
    third, day = (footprint("likelihood", 0, days * 86_400.0) for days in (1 / 3, 1))
    assert 2.9 * third.n_bytes < day.n_bytes < 3.1 * third.n_bytes
    with pytest.raises(
        UsageError, match=r"4320000 temporal bins and 11 windows takes 11 GB, more than 4 GB"
    ) as refused:
        footprint("likelihood", 0, 864_000.0)
    assert "estimate.bin_s" in refused.value.hint


def test_a_day_without_horizon_is_refused_and_one_is_asked_for():
    with pytest.raises(UsageError, match=r"43200 temporal bins of 2 s .* takes 11.2 GB, more than 4 GB") as refused:
        footprint("decentralized", 0, 86_400.0)
    assert "estimate.time_horizon_s, to 15432 or less" in refused.value.hint
    assert footprint("decentralized", 0, 86_400.0, 1, {"time_horizon_s": 15_432.0}).n_bytes > 4e9
    with pytest.raises(UsageError, match=r"with up to 86399 others in 4 windows takes 29.9 GB") as refused:
        footprint("dredge_ap", 0, 86_400.0, 1, {"time_horizon_s": None})
    assert "estimate.time_horizon_s" in refused.value.hint
