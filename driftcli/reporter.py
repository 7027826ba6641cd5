"""Who is told how work goes."""

from typing import Any


class Reporter:
    """Silent; the command line has one that draws. Methods may be called from several threads, one at a time."""

    def message(self, text: str) -> None:
        """Tell the user something worth knowing, once (a warning, a fallback, an assumption)."""

    def progress(self, stage: str, done: float, total: float, recording_s: float = 0.0) -> None:
        """Tell that `done` of `total` of a stage is behind us; `recording_s` is the recording's length it covers."""

    def note(self, event: str, **facts: Any) -> None:
        """Keep a decision for the log (`--log`); the user isn't told. event: a word or two that name it."""
