"""Compiled kernels find a place, and the first compilation is told."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import small_recording
from driftcli import kernels


def test_a_folder_of_the_users_choice_stays(monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    kernels.find_a_place()
    assert os.environ["NUMBA_CACHE_DIR"] == str(tmp_path)
    assert "first run" in kernels.news()
    here = f"py{sys.version_info.major}{sys.version_info.minor}"
    for folder, python, ours in (
        ("others_0", here, False),
        ("preprocess_0", "py27", False),
        ("preprocess_0", here, True),
    ):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / f"median.kernel-1.{python}.nbi").touch()
        assert (kernels.news() is None) == ours


@pytest.mark.parametrize("writable", ["package", "user", "none"])
def test_a_temporary_folder_only_where_nothing_else_can_be_written(monkeypatch, tmp_path, writable):
    monkeypatch.setenv("NUMBA_CACHE_DIR", "")  # so that what the test sets is taken back
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path) if writable == "user" else "/proc")
    access = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: writable == "package" or ("driftcli" not in str(path) and access(path, mode))
    )
    kernels.find_a_place()
    folder = os.environ.get("NUMBA_CACHE_DIR")
    assert (folder is not None) == (writable == "none")
    if folder:
        assert Path(folder).is_dir()
        assert "NUMBA_CACHE_DIR" in kernels.news()
        shutil.rmtree(folder)


def test_the_first_compilation_is_told_and_kept(tmp_path):
    data = small_recording.samples(30_000, 8)
    binary, probe = small_recording.write(tmp_path, data)
    command = [sys.executable, "-m", "driftcli", "detect", str(binary), "--probe", str(probe), "--overwrite"]
    command += ["--preset", "rigid_fast", "--set", "detect.method=by_channel", "--set", "detect.detect_threshold=4"]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "kernels")}
    first, second = (subprocess.run(command, env=environment, capture_output=True, text=True) for _ in range(2))
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert "compiles" in first.stderr
    assert "compiles" not in second.stderr
    assert list((tmp_path / "kernels").rglob("*.nbi"))
