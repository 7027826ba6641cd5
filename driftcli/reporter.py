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


class Part(Reporter):
    """Passes on what a part of a stage has to tell; its progress is that of the stage from one share to another."""

    def __init__(self, reporter: Reporter, first: float, last: float) -> None:
        self._reporter, self._first, self._last = reporter, first, last

    def message(self, text: str) -> None:
        self._reporter.message(text)

    def progress(self, stage: str, done: float, total: float, recording_s: float = 0.0) -> None:
        share = self._first + (self._last - self._first) * done / total
        self._reporter.progress(stage, share, 1.0, share * recording_s)

    def note(self, event: str, **facts: Any) -> None:
        self._reporter.note(event, **facts)
