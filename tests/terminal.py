"""A terminal of a given size in which a program runs, and what it shows there."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-7]m")
OF_THE_TERMINAL = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TERMINAL_WIDTH", "PY_COLORS", "GITHUB_ACTIONS")


def environment(**variables):
    """This one, without what is said of the terminal, and with variables."""
    return {name: value for name, value in os.environ.items() if name not in OF_THE_TERMINAL} | variables


def shown(command, columns, **variables):
    """Exit code and all that a program writes to a terminal with so many columns, control characters included."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    variables = {"TERM": "xterm", **variables}
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment(**variables), start_new_session=True
    ) as process:
        os.close(theirs)
        written = bytearray()
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # as Linux tells that the other side is closed
                break
            if not part:
                break
            written += part
        os.close(ours)
    return process.returncode, written.decode().replace("\r\n", "\n")


def plain(text):
    """What remains without control characters."""
    return CONTROL.sub("", text)
