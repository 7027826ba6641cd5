"""MEDiCINe: fit a motion and the activity along the probe together, by telling real peaks from made-up ones.

Watters et al., "MEDiCINe: motion correction for neural electrophysiology recordings", eNeuro 2025. This is the authors'
own program, the package medicine-neuro, which comes with `pip install 'driftcli[medicine]'`; parameters, meanings and
defaults are those of its `run_medicine`, with units in their names (`bin_s` is its `time_bin_size`, `epsilon_s` its
`epsilon`). It draws random numbers, here always the same ones for a `seed`, and works in one thread, as sums over
several depend on how many there are. Where torch finds a GPU, medicine-neuro takes it. The optimizer is always Adam;
nothing is plotted or saved.
Differences: bins are named by their centres, where medicine-neuro and SpikeInterface 0.105.3 give their beginnings,
and laid out from the beginning of the recording on instead of from the first peak. That is linear interpolation of a
motion that is smooth over `time_kernel_width_s`, which reaches across from one file of a recording to the next, too.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from driftcli import model
from driftcli.errors import InputError, UsageError
from driftcli.estimate.footprint import Footprint
from driftcli.estimate.histogram import centres, check_peaks, temporal_bins, within
from driftcli.model import DepthPeaks, Motion, SearchLimit
from driftcli.reporter import Reporter

# Memory: of torch itself, of the data set while it is made, and of the values of a network's layers in single
# precision, of real and made-up peaks, with what the way back holds.
_TORCH_BYTES = 400e6
_BYTES_PER_PEAK = 55
_COPIES_OF_LAYERS = 4
_BYTES_PER_STEP = 48  # the loss of each step, a Python float in a list
_STEPS_TOLD = 500  # how often progress is told


class Parameters(model.Parameters):
    """Parameters of MEDiCINe.

    motion_bound_um: largest difference between two displacements of a depth.
    bin_s: length of the temporal bins.
    time_kernel_width_s: whole width of the triangle that smooths the motion over time.
    activity_network_hidden_features: sizes of the hidden layers of the network that learns the activity.
    num_depth_bins: depths at which the motion is told, from the lowest to the highest peak; 1: the estimate is rigid.
    amplitude_threshold_quantile: share of the peaks, those with the smallest absolute amplitudes, that is left out.
    batch_size: peaks that are looked at in each step.
    training_steps: number of steps.
    initial_motion_noise: standard deviation of the noise that is added to the motion at first, in shares of the depth.
    motion_noise_steps: steps after which there is no noise any more.
    learning_rate: size of a step.
    epsilon_s: how much earlier than the first peak the bins begin, and later than the last one they end.
    seed: of the random numbers.
    """

    motion_bound_um: float = Field(default=800.0, gt=0)
    bin_s: float = Field(default=1.0, gt=0)
    time_kernel_width_s: float = Field(default=30.0, gt=0)
    activity_network_hidden_features: tuple[int, ...] = (256, 256)
    num_depth_bins: int = Field(default=2, ge=1)
    amplitude_threshold_quantile: float = Field(default=0.0, ge=0, lt=1)
    batch_size: int = Field(default=4096, ge=1)
    training_steps: int = Field(default=10_000, ge=1)
    initial_motion_noise: float = Field(default=0.1, ge=0)
    motion_noise_steps: int = Field(default=2000, ge=1)
    learning_rate: float = Field(default=0.0005, gt=0)
    epsilon_s: float = Field(default=1e-3, gt=0)
    seed: int = Field(default=0, ge=0, lt=2**32)


def estimate(
    peaks: DepthPeaks,
    span_um: tuple[float, float],
    duration_s: float,
    parameters: Parameters,
    reporter: Reporter,
    jobs: int = 1,
) -> Motion:
    """Motion of one shank whose contacts lie at depths from span_um[0] to span_um[1]. `jobs` changes nothing.

    UsageError if medicine-neuro is not installed or finds no motion. InputError if there are no peaks within the span,
    if a peak's time, depth or amplitude is not finite, or if all depths or amplitudes are the same.
    """
    edges_s = temporal_bins(duration_s, parameters.bin_s)
    peaks = _within_span(peaks, edges_s, span_um, parameters)
    medicine, torch = _import()
    with _alone(torch, parameters.seed), _told(medicine, reporter):
        _, starts_s, depths_um, displacement_um = medicine.run_medicine(
            peak_times=peaks.time_s,
            peak_depths=peaks.depth_um,
            peak_amplitudes=peaks.amplitude,
            output_dir=None,
            plot_figures=False,
            motion_bound=parameters.motion_bound_um,
            time_bin_size=parameters.bin_s,
            time_kernel_width=parameters.time_kernel_width_s,
            activity_network_hidden_features=parameters.activity_network_hidden_features,
            num_depth_bins=parameters.num_depth_bins,
            amplitude_threshold_quantile=parameters.amplitude_threshold_quantile,
            batch_size=parameters.batch_size,
            training_steps=parameters.training_steps,
            initial_motion_noise=parameters.initial_motion_noise,
            motion_noise_steps=parameters.motion_noise_steps,
            learning_rate=parameters.learning_rate,
            epsilon=parameters.epsilon_s,
        )
    found_um = np.asarray(displacement_um, np.float64)
    if not np.isfinite(found_um).all():
        raise UsageError("MEDiCINe's fit went astray: its motion is not finite", "make estimate.learning_rate smaller")
    centres_s, found_s = centres(edges_s), np.asarray(starts_s, np.float64) + parameters.bin_s / 2
    on_bins = np.column_stack([np.interp(centres_s, found_s, column) for column in found_um.T])
    return Motion(on_bins, centres_s, np.asarray(depths_um, np.float64))


def footprint(
    n_peaks: int, span_um: tuple[float, float], duration_s: float, parameters: Parameters, jobs: int = 1
) -> Footprint:
    """Memory that `estimate` will take, torch included; UsageError if medicine-neuro is not installed."""
    if find_spec("medicine") is None:  # told before the peaks are looked for
        raise _missing("it is not installed")
    n_bins = len(temporal_bins(duration_s, parameters.bin_s)) - 1
    layers = 4 * 2 * parameters.batch_size * sum(parameters.activity_network_hidden_features)
    steps = _BYTES_PER_STEP * parameters.training_steps
    n_bytes = _TORCH_BYTES + _BYTES_PER_PEAK * n_peaks + _COPIES_OF_LAYERS * layers + steps
    return Footprint(n_bins, parameters.num_depth_bins, n_bytes, "make estimate.batch_size smaller")


def search_limit(span_um: tuple[float, float], parameters: Parameters) -> SearchLimit:
    """The bound on the motion: it is at most half of that either way, before its mean over time is taken off."""
    return SearchLimit(parameters.motion_bound_um, "estimate.motion_bound_um")


def _within_span(
    peaks: DepthPeaks, edges_s: NDArray[np.float64], span_um: tuple[float, float], parameters: Parameters
) -> DepthPeaks:
    """The peaks along the contacts. Raises InputError where MEDiCINe would divide by a range of 0."""
    edges_um = np.array(span_um)
    check_peaks(peaks, edges_s, edges_um)
    inside = within(peaks.time_s, edges_s) & within(peaks.depth_um, edges_um)
    found = DepthPeaks(peaks.time_s[inside], peaks.depth_um[inside], peaks.amplitude[inside])
    size = np.abs(found.amplitude)
    quantile = parameters.amplitude_threshold_quantile
    counting = size > np.quantile(size, quantile) if quantile > 0 else np.ones(len(size), bool)
    for name, values in (("depth", found.depth_um[counting]), ("amplitude", found.amplitude[counting])):
        if len(np.unique(values)) < 2:
            raise InputError(
                f"MEDiCINe needs peaks of more than one {name}",
                "lower detect.detect_threshold or estimate.amplitude_threshold_quantile",
            )
    return found


def _missing(why: str) -> UsageError:
    return UsageError(
        f"the method medicine needs the package medicine-neuro: {why}", "pip install 'driftcli[medicine]'"
    )


def _import() -> tuple[ModuleType, ModuleType]:
    """medicine-neuro and torch. The former sets up the root logger as it is imported; that is undone."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        import medicine
        import medicine.model
        import torch
    except ImportError as error:
        raise _missing(f"it can't be imported: {error}") from None
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    return medicine, torch


@contextmanager
def _alone(torch: Any, seed: int) -> Iterator[None]:
    """Random numbers from a seed and one thread, while the block runs; the program's own are as before after it."""
    threads, state = torch.get_num_threads(), np.random.get_state()
    with torch.random.fork_rng():
        try:
            torch.set_num_threads(1)
            torch.manual_seed(seed)
            np.random.seed(seed)
            yield
        finally:
            np.random.set_state(state)
            torch.set_num_threads(threads)


@contextmanager
def _told(medicine: Any, reporter: Reporter) -> Iterator[None]:
    """Progress goes to the reporter instead of to tqdm's bar, while the block runs; medicine's log is silent."""

    def steps(of: range) -> Iterator[int]:
        every = max(1, len(of) // _STEPS_TOLD)
        for step in of:
            yield step
            if (step + 1) % every == 0 or step + 1 == len(of):
                reporter.progress("estimate", step + 1, len(of))

    logger, tqdm = logging.getLogger("medicine.logger"), medicine.model.tqdm
    level = logger.level
    medicine.model.tqdm = SimpleNamespace(tqdm=steps)
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        medicine.model.tqdm = tqdm
        logger.setLevel(level)
