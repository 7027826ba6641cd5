"""What the README and the page on Python show is run, and the page lists every function."""

import re
import subprocess
import sys
from inspect import isfunction
from pathlib import Path

import pytest

import driftcli

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "python.md"


def snippets(path):
    """What a page shows of driftcli; the README shows other libraries, too."""
    found = re.findall(r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), re.M | re.S)
    return found if path == PAGE else [snippet for snippet in found if "import driftcli" in snippet]


@pytest.mark.parametrize("path", [ROOT / "README.md", PAGE], ids=lambda path: path.name)
def test_python_that_is_shown_runs(path, tmp_path):
    code = "\n".join(snippets(path))
    assert "import driftcli" in code
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert not done.stderr


def test_the_page_lists_every_function_with_what_it_returns():
    rows = [row.split("|") for row in PAGE.read_text(encoding="utf-8").splitlines() if row.startswith("| `")]
    listed = [name for row in rows for name in re.findall(r"`(\w+)`", row[1])]
    assert sorted(listed) == [name for name in driftcli.__all__ if isfunction(getattr(driftcli, name))]
    for row in rows:
        names, returned = re.findall(r"`(\w+)`", row[1]), re.findall(r"\b([A-Z]\w+)\b", row[3])
        told = [str(getattr(driftcli, name).__annotations__["return"]) for name in names]
        assert all(any(kind in each for each in told) for kind in returned), row
        assert returned or set(told) & {"dict[str, Any]", "dict[str, float]", "Path"}, row
