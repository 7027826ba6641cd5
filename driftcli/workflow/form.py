"""What the user wants of a whole correction beside its preset; whoever has parts of it done elsewhere hands that on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from driftcli.recording.recording import Recording
from driftcli.workflow.estimate import Shanks
from driftcli.workflow.outputs import Outputs, default_name, outputs_of


@dataclass(frozen=True)
class Form:
    """How the estimate is made, and in which form the result is written; as options of `run`.

    dtype: of the corrected binary, None: that of the recording. split: a binary for each file of it. compress: as
    mtscomp does. shanks: whether each moves by itself. exclude_times: to be left out of the estimate, in words.
    if_better: correct only if that helps. report: say whether it does, and draw it.
    """

    dtype: str | None = None
    split: bool = False
    compress: bool = False
    shanks: Shanks = "each"
    exclude_times: str | None = None
    if_better: bool = False
    report: bool = True

    @property
    def assessed(self) -> bool:
        """Whether it is looked at if the correction helps."""
        return self.report or self.if_better

    def corrected(self, recording: Recording, folder: Path) -> Path:
        """What `apply` is told to write, where the outputs of a run go to `folder`."""
        return folder if self.split else folder / default_name(recording, compress=self.compress)

    def outputs(self, recording: Recording, folder: Path) -> Outputs:
        """The files that it then writes."""
        corrected = self.corrected(recording, folder)
        return outputs_of(recording, corrected, self.dtype, split=self.split, compress=self.compress)
