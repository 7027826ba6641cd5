"""What .ci/run does about Slurm, with programs that only write down that they were called."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

RUN = Path(__file__).parents[1] / ".ci/run"
SINFO = '[ -f "$HOME/nodes" ] && cat "$HOME/nodes"'


class Checkout:
    """A folder to run .ci/run in, as root by what `id` says; `nodes` holds the states of Slurm's, where it is up."""

    def __init__(self, home, *, up=None, nodes=None):
        self.home, self.nodes, bin_, venv = home, home / "nodes", home / "bin", home / "main/.venv/bin"
        for name, text in (("python3", ""), ("id", "echo 0"), ("sinfo", SINFO)):
            self._program(bin_ / name, text)
        for name in ("pip", "ruff", "mypy"):
            self._program(venv / name, "")
        (home / "main/.ci").mkdir()
        shutil.copy(RUN, home / "main/.ci/run")
        (home / "main/README.md").write_text("<!-- test command -->\n```bash\ntouch $HOME/tested # pytest\n```\n")
        if up is not None:
            self._program(home / "shared/slurm/up", f'touch "$HOME/up_called"; {up}')
            self._program(home / "shared/slurm/down", 'touch "$HOME/down_called"')
        if nodes is not None:
            self.nodes.write_text(nodes)

    @staticmethod
    def _program(path, text):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(0o755)

    def run(self):
        """The exit code, and what was done."""
        environment = {**os.environ, "HOME": str(self.home), "PATH": f"{self.home}/bin:{os.environ['PATH']}"}
        done = subprocess.run(["bash", self.home / "main/.ci/run"], env=environment, capture_output=True, timeout=60)
        return done.returncode, {name for name in ("tested", "up_called", "down_called") if (self.home / name).exists()}


@pytest.mark.parametrize(
    ("options", "code", "done"),
    [
        ({}, 0, {"tested"}),
        ({"up": 'echo idle > "$HOME/nodes"'}, 0, {"tested", "up_called", "down_called"}),
        ({"up": "exit 1"}, 1, {"up_called", "down_called"}),
        ({"up": "true", "nodes": "mix"}, 0, {"tested"}),  # somebody else's
        ({"up": "true", "nodes": "down*"}, 1, set()),
    ],
)
def test_a_slurm_that_was_up_is_left_up_and_one_that_does_not_start_is_an_error(tmp_path, options, code, done):
    assert Checkout(tmp_path, **options).run() == (code, done)
