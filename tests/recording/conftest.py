"""A reporter that remembers."""

import pytest

from driftcli.reporter import Reporter


class Messages(Reporter):
    """Remembers what it is told, in order."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def message(self, text: str) -> None:
        self.texts.append(text)

    def __str__(self) -> str:
        return "\n".join(self.texts)


@pytest.fixture
def reporter() -> Messages:
    return Messages()
