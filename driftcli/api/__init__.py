"""The verbs as functions, for notebooks and scripts; `import driftcli` offers all of these names as its own."""

from driftcli.api.files import (
    accuracy,
    export_motion,
    import_motion,
    open_recording,
    read_motion,
    read_peaks,
    read_truth,
    write_motion,
)
from driftcli.api.results import (
    AssessmentResult,
    CorrectedResult,
    FileResult,
    MotionResult,
    PeaksResult,
    RunResult,
    SimulationResult,
)
from driftcli.api.verbs import (
    apply,
    assess,
    compare,
    correct_peaks,
    detect,
    estimate,
    estimate_file,
    info,
    plot,
    run,
    simulate,
    verify,
)
from driftcli.errors import DriftcliError, InputError, OutputError, UsageError, VerificationError
from driftcli.model import Assessment, Motion, Peaks
from driftcli.recording.recording import Recording
from driftcli.reporter import Reporter
from driftcli.simulate.truth import Truth
from driftcli.store.peaks import PeaksFile
from driftcli.workflow.verify import Verification

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
