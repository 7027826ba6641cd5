"""The wrapper of MEDiCINe: what it passes on and what it makes of the answer, and MEDiCINe itself where it is there."""

import logging
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

import fake_medicine
from driftcli.errors import InputError, UsageError
from driftcli.estimate import medicine
from driftcli.model import DepthPeaks
from driftcli.reporter import Reporter
from oracles import drift

SPAN_UM = (0.0, 800.0)
needs_medicine = pytest.mark.skipif(
    find_spec("medicine") is None, reason="medicine-neuro is not installed: pip install -e '.[medicine]'"
)


class Told(Reporter):
    def __init__(self):
        self.shares = []

    def progress(self, stage, done, total, recording_s=0.0):
        assert stage == "estimate"
        self.shares.append(done / total)


@pytest.fixture
def fake(monkeypatch):
    return fake_medicine.install(monkeypatch)


@pytest.fixture
def method():
    return medicine


def estimate(peaks, reporter=None, duration_s=40.0, **parameters):
    parameters = medicine.Parameters(**parameters)
    return medicine.estimate(DepthPeaks(*peaks), SPAN_UM, duration_s, parameters, reporter or Reporter())


OTHER = {
    "motion_bound_um": 120.0,
    "bin_s": 2.0,
    "time_kernel_width_s": 7.0,
    "activity_network_hidden_features": (3, 4, 5),
    "num_depth_bins": 4,
    "amplitude_threshold_quantile": 0.25,
    "batch_size": 77,
    "training_steps": 11,
    "initial_motion_noise": 0.3,
    "motion_noise_steps": 5,
    "learning_rate": 0.02,
    "epsilon_s": 0.01,
}
THEIRS = {"bin_s": "time_bin_size", "epsilon_s": "epsilon"}


def test_parameters_are_passed_on_under_their_own_names(fake):
    _, calls = fake
    estimate(drift.peaks(), **OTHER, seed=3)
    (given,) = calls
    for name, value in OTHER.items():
        theirs = THEIRS.get(name, name.removesuffix("_um").removesuffix("_s"))
        assert given[theirs] == value, name
    assert given["optimizer"] == "adam"  # its own default
    assert OTHER.keys() | {"seed"} == medicine.Parameters.model_fields.keys()


def test_peaks_within_the_contacts_and_the_recording_are_passed_on(fake):
    _, calls = fake
    time_s, depth_um, amplitude = drift.peaks()
    estimate((time_s, depth_um, amplitude))
    inside = (depth_um >= SPAN_UM[0]) & (depth_um <= SPAN_UM[1])
    assert 0 < inside.sum() < len(inside)
    assert np.array_equal(calls[0]["peak_times"], time_s[inside])
    assert np.array_equal(calls[0]["peak_depths"], depth_um[inside])
    assert np.array_equal(calls[0]["peak_amplitudes"], amplitude[inside])


def test_bins_are_those_of_the_recording_by_their_centres_and_the_sign_is_kept(fake):
    time_s, depth_um, amplitude = drift.peaks(gap_s=(0.0, 4.3))
    motion = estimate((time_s, depth_um, amplitude), training_steps=1, num_depth_bins=3)
    assert np.array_equal(motion.temporal_bins_s, np.arange(40) + 0.5)
    inside = depth_um[(depth_um >= SPAN_UM[0]) & (depth_um <= SPAN_UM[1])]
    assert np.array_equal(motion.spatial_bins_um, np.linspace(inside.min(), inside.max(), 3))
    step_s = (time_s[0] + time_s[-1]) / 2
    late = motion.displacement_um[motion.temporal_bins_s > step_s + 1]
    early = motion.displacement_um[motion.temporal_bins_s < step_s - 1]
    assert np.abs(late.mean() - early.mean() - fake_medicine.STEP_UM) < 0.5
    # before the first peak the motion is that of the first bin
    assert (motion.displacement_um[:4] == motion.displacement_um[0]).all()
    assert motion.displacement_um.shape == (40, 3)


def test_random_numbers_come_from_the_seed_and_the_programs_own_are_left_alone(fake):
    torch, calls = fake
    np.random.seed(12)
    before = np.random.get_state()[1].copy()
    for seed in (0, 0, 5):
        estimate(drift.peaks(), training_steps=1, seed=seed)
    assert [call["seed"] for call in calls] == [0, 0, 5]
    assert calls[0]["random"] == calls[1]["random"] != calls[2]["random"]
    assert [call["threads"] for call in calls] == [1, 1, 1]
    assert np.array_equal(np.random.get_state()[1], before)
    assert (torch.threads, torch.seed) == (4, None)


def test_progress_is_told_and_nothing_else(fake, capfd, caplog):
    caplog.set_level(logging.DEBUG)
    for steps, most in ((7, 7), (2000, 500)):
        told = Told()
        estimate(drift.peaks(), told, training_steps=steps)
        assert told.shares[-1] == 1
        assert told.shares == sorted(told.shares)
        assert len(told.shares) == most
    assert capfd.readouterr() == ("", "")
    assert not caplog.records
    assert sys.modules["medicine"].model.tqdm.tqdm is iter  # as before


def test_peaks_that_cannot_be_used_are_refused(fake, run, check_refused_peaks):
    check_refused_peaks(run)
    time_s, depth_um, amplitude = drift.peaks(count=500)
    with pytest.raises(InputError, match="more than one amplitude"):
        estimate((time_s, depth_um, np.full(500, -50.0)))
    with pytest.raises(InputError, match="more than one depth"):
        estimate((time_s, np.full(500, 80.0), amplitude))


def test_a_fit_that_goes_astray_is_refused(fake, monkeypatch):
    def astray(**given):
        return None, np.arange(40.0), np.array([0.0, 800.0]), np.full((40, 2), np.nan)

    monkeypatch.setattr(sys.modules["medicine"], "run_medicine", astray)
    with pytest.raises(UsageError, match="went astray") as refused:
        estimate(drift.peaks())
    assert "learning_rate" in refused.value.hint


def test_without_the_package_the_user_is_told_how_to_get_it(monkeypatch):
    for name in ("medicine", "medicine.model"):
        monkeypatch.setitem(sys.modules, name, None)
    for ask in (
        lambda: estimate(drift.peaks(count=500)),
        lambda: medicine.footprint(0, SPAN_UM, 40.0, medicine.Parameters()),
    ):
        with pytest.raises(UsageError, match="needs the package medicine-neuro") as refused:
            ask()
        assert refused.value.hint == "pip install 'driftcli[medicine]'"


def test_the_footprint_has_the_estimates_bins(fake):
    parameters = medicine.Parameters(bin_s=0.7, num_depth_bins=3, training_steps=1)
    found = medicine.footprint(10_000, SPAN_UM, 39.2, parameters)
    motion = medicine.estimate(DepthPeaks(*drift.peaks()), SPAN_UM, 39.2, parameters, Reporter())
    assert motion.displacement_um.shape == (found.temporal_bins, found.windows)
    more = medicine.footprint(10**7, SPAN_UM, 39.2, parameters)
    assert more.n_bytes > found.n_bytes + 10**8


def test_the_method_is_known_without_torch():
    code = "import sys, driftcli.estimate.medicine; print('torch' in sys.modules, 'medicine' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


# Few steps of a small network: enough to see a motion of many µm.
SHORT = {
    "training_steps": 200,
    "motion_noise_steps": 50,
    "batch_size": 512,
    "activity_network_hidden_features": (64,),
    "learning_rate": 0.01,
    "motion_bound_um": 100.0,
    "time_kernel_width_s": 4.0,
}


@needs_medicine
def test_medicine_finds_the_motion_the_same_every_time(error_um, capfd):
    told = Told()
    root = list(logging.getLogger().handlers)
    motion = estimate(drift.peaks(), told, **SHORT)
    still = motion.displacement_um * 0
    assert error_um(motion) < 0.5 * drift.mean_error_um(still, motion.temporal_bins_s, motion.spatial_bins_um, 800.0)
    again, other = estimate(drift.peaks(), **SHORT), estimate(drift.peaks(), **SHORT, seed=1)
    assert np.array_equal(again.displacement_um, motion.displacement_um)
    assert not np.array_equal(other.displacement_um, motion.displacement_um)
    assert told.shares[-1] == 1
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger().handlers == root


@needs_medicine
@pytest.mark.parametrize("name", OTHER)
def test_each_parameter_changes_what_medicine_finds(name):
    few = SHORT | {"training_steps": 4, "motion_noise_steps": 4}
    value = OTHER[name] if name not in ("training_steps", "motion_noise_steps") else 3
    one, other = (estimate(drift.peaks(), **given).displacement_um for given in (few, few | {name: value}))
    assert one.shape != other.shape or not np.array_equal(one, other)


MEASURE = """
import sys
import numpy as np
from driftcli.estimate import medicine
from driftcli.model import DepthPeaks
from driftcli.reporter import Reporter

def memory(name):
    with open("/proc/self/status") as status:
        return next(1024 * int(line.split()[1]) for line in status if line.startswith(name))

n = int(sys.argv[1])
rng = np.random.default_rng(0)
peaks = DepthPeaks(np.sort(rng.uniform(0, 500, n)), rng.uniform(0, 1000, n), rng.uniform(50, 100, n))
before = memory("VmRSS")
medicine.estimate(peaks, (0.0, 1000.0), 500.0, medicine.Parameters(training_steps=3), Reporter())
print(memory("VmHWM") - before)
"""


@needs_medicine
@pytest.mark.parametrize("n_peaks", [10_000, 3_000_000])
def test_what_is_predicted_is_taken(n_peaks):
    done = subprocess.run([sys.executable, "-c", MEASURE, str(n_peaks)], capture_output=True, text=True, check=True)
    predicted = medicine.footprint(n_peaks, (0.0, 1000.0), 500.0, medicine.Parameters()).n_bytes
    assert 0.7 * int(done.stdout) < predicted < 1.6 * int(done.stdout)
