"""Presets and what the page is made of travel: in the wheel, in the sdist, and from there into an installation."""

import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from driftcli import presets

ROOT = Path(__file__).parents[1]


def run(*command):
    return subprocess.run(
        [str(part) for part in command], check=True, capture_output=True, text=True, timeout=600
    ).stdout


@pytest.mark.slow
def test_presets_are_found_from_wheel_sdist_and_editable_install(tmp_path):
    builder = tmp_path / "builder"
    venv.create(builder, with_pip=True)
    run(builder / "bin/pip", "install", "-q", "build")
    run(builder / "bin/python", "-m", "build", "-o", tmp_path / "dist", ROOT)
    (wheel,), (sdist,) = (tmp_path / "dist").glob("*.whl"), (tmp_path / "dist").glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive, tarfile.open(sdist) as source:
        files = archive.namelist() + source.getnames()
    assert not [name for name in files if name.endswith((".nbi", ".nbc", ".pyc"))]
    for part in ("page.html", "page.css", "packed.js", "drawing.js", "drift_map.js", "page.js"):
        assert len([name for name in files if name.endswith(f"driftcli/report/{part}")]) == 2, part
    assert sum(name.endswith("driftcli/py.typed") for name in files) == 2
    for name, what in (("wheel", [wheel]), ("sdist", [sdist]), ("editable", ["-e", ROOT])):
        home = tmp_path / name
        venv.create(home, with_pip=True)
        run(home / "bin/pip", "install", "-q", *what)
        shown = run(home / "bin/driftcli", "presets", "list")
        assert all(preset in shown for preset in presets.names()), name
        assert run(home / "bin/python", "-m", "driftcli", "--version") == run(
            sys.executable, "-m", "driftcli", "--version"
        )
