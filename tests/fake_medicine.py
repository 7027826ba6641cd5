"""A stand-in for the package medicine-neuro and for torch, which are too large to be installed for every test.

`run_medicine` has the signature of medicine-neuro 1.7, looks at all it is given as that does, and gives a motion that
depends on each argument. It is called as the real one is, so that a wrapper that swallows something shows.
"""

import contextlib
import importlib.machinery
import logging
import sys
import types

import numpy as np

STEP_UM = 9.0  # the tissue that it sees stands higher by this in the second half


class Torch(types.ModuleType):
    """As much of torch as is asked for: a seed that can be told, and a number of threads."""

    def __init__(self):
        super().__init__("torch")
        self.__spec__ = importlib.machinery.ModuleSpec("torch", None)
        self.threads, self.seed, self.random = 4, None, types.SimpleNamespace(fork_rng=self._fork)

    @contextlib.contextmanager
    def _fork(self):
        seed = self.seed
        yield
        self.seed = seed

    def get_num_threads(self):
        return self.threads

    def set_num_threads(self, threads):
        self.threads = threads

    def manual_seed(self, seed):
        self.seed = seed


def install(monkeypatch):
    """Put both in the place of the real ones. Returns the calls that `run_medicine` gets, as dictionaries."""
    torch, calls = Torch(), []
    medicine, model = types.ModuleType("medicine"), types.ModuleType("medicine.model")
    medicine.__spec__ = importlib.machinery.ModuleSpec("medicine", None)
    model.tqdm = types.SimpleNamespace(tqdm=iter)

    def run_medicine(
        peak_times,
        peak_depths,
        peak_amplitudes,
        output_dir,
        motion_bound=800,
        time_bin_size=1,
        time_kernel_width=30,
        activity_network_hidden_features=(256, 256),
        num_depth_bins=2,
        amplitude_threshold_quantile=0.0,
        batch_size=4096,
        training_steps=10000,
        initial_motion_noise=0.1,
        motion_noise_steps=2000,
        optimizer="adam",
        learning_rate=0.0005,
        epsilon=1e-3,
        plot_figures=True,
    ):
        given = dict(locals())
        for name in ("torch", "calls", "model"):
            given.pop(name)
        calls.append(given | {"threads": torch.threads, "seed": torch.seed, "random": np.random.random()})
        for _ in model.tqdm.tqdm(range(training_steps)):
            logging.getLogger("medicine.logger").info("a step")
        assert output_dir is None
        assert not plot_figures
        first, last = peak_times.min() - epsilon, peak_times.max() + epsilon
        starts = first + time_bin_size * np.arange(int(np.ceil((last - first) / time_bin_size)))
        depths = np.linspace(peak_depths.min(), peak_depths.max(), num_depth_bins)
        numbers = [motion_bound, time_kernel_width, *activity_network_hidden_features, batch_size, training_steps]
        numbers += [amplitude_threshold_quantile, initial_motion_noise, motion_noise_steps, learning_rate]
        slope = sum(np.sqrt(index + 2) * number for index, number in enumerate(numbers)) * 1e-6 + calls[-1]["random"]
        later = STEP_UM * (starts > (first + last) / 2)
        motion = later[:, None] + 1e-3 * slope * (starts - first)[:, None] * np.ones(num_depth_bins)
        return object(), starts, depths, motion

    medicine.run_medicine, medicine.model = run_medicine, model
    for name, module in (("medicine", medicine), ("medicine.model", model), ("torch", torch)):
        monkeypatch.setitem(sys.modules, name, module)
    return torch, calls
