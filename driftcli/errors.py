"""What can go wrong, and what the user can do about it.

One base class; each kind of error carries the process's exit code. `hint` says what to try next. Everything a user
can cause raises one of these; any other exception is a fault of driftcli (exit code 1).
"""


class DriftcliError(Exception):
    """Base of all errors that are told to the user in one line."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(DriftcliError):
    """Options, presets or `--set` values that make no sense."""

    exit_code = 2


class InputError(DriftcliError):
    """A recording, probe, peaks or motion file that is missing, broken, doesn't fit, or holds no peaks."""

    exit_code = 3


class OutputError(DriftcliError):
    """An output that exists, can't be written, or would overwrite an input."""

    exit_code = 4


class VerificationError(DriftcliError):
    """An output that does not hold what it should."""

    exit_code = 5
