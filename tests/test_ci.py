"""What .ci/run does about Slurm and the browser, with programs that only write down that they were called."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

RUN = Path(__file__).parents[1] / ".ci/run"
CALLS = ("tested", "up_called", "down_called", "apt_get_called")
SINFO = '[ -f "$HOME/nodes" ] && cat "$HOME/nodes"'


class Checkout:
    """A folder to run .ci/run in, as root by what `id` says; `nodes` holds the states of Slurm's, where it is up.

    browser: the programs of it that are there already; apt_get: what apt-get does.
    """

    def __init__(self, home, *, up=None, nodes=None, user=0, browser=("chromium", "chromedriver"), apt_get=""):
        self.home, self.nodes, bin_, venv = home, home / "nodes", home / "bin", home / "main/.venv/bin"
        for name, text in (("python3", ""), ("id", f"echo {user}"), ("sinfo", SINFO)):
            self._program(bin_ / name, text)
        self._program(bin_ / "apt-get", f'echo "$*" >> "$HOME/apt_get_called"; {apt_get}')
        for name in browser:
            self._program(bin_ / name, "")
        # no others of the machine's, as a browser may be among them
        for name in ("bash", "cat", "dirname", "mktemp", "rm", "sed", "timeout", "touch"):
            (bin_ / name).symlink_to(shutil.which(name))
        for name in ("pip", "ruff", "mypy"):
            self._program(venv / name, "")
        self._program(venv / "mkdocs", '[ ! -f "$HOME/warnings" ] && touch "$HOME/built"')
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
        environment = {**os.environ, "HOME": str(self.home), "PATH": f"{self.home}/bin"}
        done = subprocess.run(
            [shutil.which("bash"), self.home / "main/.ci/run"], env=environment, capture_output=True, timeout=60
        )
        return done.returncode, {name for name in CALLS if (self.home / name).exists()}


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


@pytest.mark.parametrize(
    ("options", "code", "done"),
    [
        ({}, 0, {"tested"}),
        ({"browser": ()}, 0, {"tested", "apt_get_called"}),
        ({"browser": ("chromium",)}, 0, {"tested", "apt_get_called"}),
        ({"browser": ("chromedriver",)}, 0, {"tested", "apt_get_called"}),
        ({"browser": (), "apt_get": "exit 100"}, 100, {"apt_get_called"}),
        ({"browser": (), "user": 1000}, 0, {"tested"}),
    ],
)
def test_root_installs_the_browser_where_it_is_missing(tmp_path, options, code, done):
    assert Checkout(tmp_path, **options).run() == (code, done)
    if "apt_get_called" in done and not code:
        calls = (tmp_path / "apt_get_called").read_text().splitlines()
        assert [call.split()[0] for call in calls] == ["update", "install"]
        assert calls[1].split()[-2:] == ["chromium", "chromium-driver"]


def test_documentation_with_a_warning_is_an_error_and_nothing_is_left_of_the_pages(tmp_path, monkeypatch):
    checkout, temporary = Checkout(tmp_path), tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    assert checkout.run() == (0, {"tested"})
    assert (tmp_path / "built").exists()
    assert not list(temporary.iterdir())
    (tmp_path / "warnings").touch()
    assert checkout.run()[0] != 0
