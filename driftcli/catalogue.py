"""What there is to choose from: the stages, their methods, the presets. Only names, so that a shell is told quickly."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

DEFAULT_PRESET = "likelihood"


class Methods(NamedTuple):
    """The folder of a stage's methods and their names, the default first."""

    folder: str
    names: tuple[str, ...]


# The stages in the order of the data's road. `none` switches a stage off and has no file.
STAGES = {
    "shift": Methods("preprocess", ("phase_shift", "none")),
    "filter": Methods("preprocess", ("bandpass", "none")),
    "bad_channels": Methods("preprocess", ("coherence_psd", "none")),
    "reference": Methods("preprocess", ("global_median", "none")),
    "mask": Methods("mask", ("automatic", "none")),
    "detect": Methods("detect", ("locally_exclusive", "by_channel")),
    "select": Methods("select", ("all", "uniform", "smart_sampling_amplitudes")),
    "localize": Methods("localize", ("grid_convolution", "center_of_mass", "monopolar_triangulation")),
    "estimate": Methods(
        "estimate", ("likelihood", "dredge_ap", "decentralized", "iterative_template", "medicine", "dredge_lfp")
    ),
    "interpolate": Methods("interpolate", ("kriging", "gaussian_process", "fitted_gaussian_process", "idw", "nearest")),
    "apply": Methods("", ()),
}
# Estimates that work on the traces of a recording; all others do on its peaks.
WORK_ON_TRACES = ("dredge_lfp",)
# Interpolations whose weights are fitted to footprints of the recording's peaks: their module has `covary`, their
# parameters `bin_um` and `noise_length_um`, and their `Kernel` takes `footprints` and `sources`.
FITTED_TO_PEAKS = ("fitted_gaussian_process",)


def preset_names() -> list[str]:
    """Names of the presets that come with driftcli, in alphabetical order."""
    return sorted(path.stem for path in _folder().glob("*.yaml"))


def preset_path(name: str) -> Path:
    """The file of one of them."""
    return _folder() / f"{name}.yaml"


def preset_doc(name: str) -> str:
    """The one line that says what one of them is for: each begins with it, on a line of its own."""
    return preset_path(name).read_text(encoding="utf-8").partition("\n")[0].removeprefix("doc: ")


def _folder() -> Path:
    """`presets/` lies beside the package in a source tree; a wheel holds it inside the package."""
    package = Path(__file__).parent
    installed = package / "preset_files"
    return installed if installed.is_dir() else package.parent / "presets"
