"""driftcli takes probe drift out of extracellular recordings.

The verbs of the command line are functions here, for notebooks and scripts: `driftcli.run(...)` on files, or
`driftcli.estimate(time_s, depth_um, amplitude_uv)` on arrays. They are loaded when one is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from driftcli.api import *

__version__ = "0.1.0"
__all__ = [
    "Assessment",
    "AssessmentResult",
    "CorrectedResult",
    "DriftcliError",
    "FileResult",
    "InputError",
    "Motion",
    "MotionResult",
    "OutputError",
    "Peaks",
    "PeaksFile",
    "PeaksResult",
    "Recording",
    "Reporter",
    "RunResult",
    "SimulationResult",
    "Truth",
    "UsageError",
    "Verification",
    "VerificationError",
    "accuracy",
    "apply",
    "assess",
    "compare",
    "correct_peaks",
    "detect",
    "estimate",
    "estimate_file",
    "export_motion",
    "import_motion",
    "info",
    "open_recording",
    "plot",
    "read_motion",
    "read_peaks",
    "read_truth",
    "run",
    "simulate",
    "verify",
    "write_motion",
]

# Folders that bear the name of a verb: Python makes a folder an attribute when it first loads it, and only then. Done
# here and taken away again, the name is the verb's, whatever is loaded later.
for _folder in ("assess", "detect", "estimate", "simulate"):
    import_module(f"{__name__}.{_folder}")
    del globals()[_folder]
del _folder


if not TYPE_CHECKING:  # a type checker has read the names above, and would take any other for one of them

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import_module(f"{__name__}.kernels").find_a_place()  # before numba is loaded
        api = import_module(f"{__name__}.api")
        globals().update({each: getattr(api, each) for each in __all__})
        return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
