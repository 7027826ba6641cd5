"""`driftcli plot` and `driftcli compare` as a user meets them; matplotlib is loaded by no other verb."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from driftcli import presets
from driftcli.model import Geometry, Mask, Motion, Peaks, RecordingFacts
from driftcli.store.motion import write_motion
from driftcli.store.peaks import write_peaks


def driftcli(*arguments, cwd=None):
    command = [sys.executable, "-m", "driftcli", *map(str, arguments)]
    path = {**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), *sys.path])}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=cwd, env=path)


@pytest.fixture
def folders(tmp_path):
    """Two motions of one recording's peaks, as `estimate` alone leaves them."""
    geometry = Geometry(np.column_stack([np.zeros(5), np.arange(5) * 20.0]), np.zeros(5, np.int64))
    facts = RecordingFacts(1_000.0, 20_000, 5, "int16", 0, geometry, np.arange(5), None, "{}")
    rng, settings = np.random.default_rng(0), presets.load("rigid_fast")
    place = {name: rng.uniform(0, 80, 300).astype(np.float32) for name in ("x_um", "y_um")}
    sample, channel = np.arange(300) * 60, np.zeros(300, np.int32)
    peaks = Peaks(sample, channel, -rng.uniform(5, 50, 300).astype(np.float32), place)
    for name in ("fast", "slow"):
        (tmp_path / name).mkdir()
        write_peaks(tmp_path / name / "peaks.h5", [peaks], 300, place, facts, settings, np.ones(5), Mask())
        motion = Motion(np.arange(4.0)[:, None], np.arange(4) * 5.0 + 2.5, np.array([40.0]))
        write_motion(tmp_path / name / "motion.h5", {0: motion}, 20.0, facts, settings)
    return [tmp_path / "fast", tmp_path / "slow"]


def test_plot(folders):
    done = driftcli("plot", folders[0], "--time-s", 0, 9, "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["output"] == str(folders[0] / "report.html")
    assert facts["counts"]["drawn"] == 151
    assert (folders[0] / "figures/drift_map.svg").exists()
    again = driftcli("plot", folders[0])
    assert again.returncode == 4
    assert "exists already. Try: use --overwrite" in again.stderr
    shown = driftcli("plot", folders[0], "--overwrite", "-q")
    assert (shown.returncode, shown.stdout, shown.stderr) == (0, "", "")


def test_compare_writes_to_the_current_folder(folders, tmp_path):
    here = tmp_path / "here"
    here.mkdir()
    done = driftcli("compare", *folders, cwd=here)
    assert done.returncode == 0, done.stderr
    assert sorted(os.listdir(here)) == ["comparison.png", "comparison.svg"]
    assert "comparison.png, comparison.svg in" in " ".join(done.stdout.split())


def test_an_error_is_one_line_with_what_to_try(folders):
    (folders[0] / "motion.h5").unlink()
    done = driftcli("plot", folders[0])
    assert done.returncode == 3
    assert f"there is no motion.h5 in {folders[0]}. Try: driftcli estimate" in done.stderr
    assert sorted(os.listdir(folders[0])) == ["peaks.h5"]


def test_other_verbs_load_no_matplotlib(folders, tmp_path):
    code = (
        "import sys; from driftcli.cli import main\n"
        f"sys.argv = ['driftcli', 'estimate', '{folders[0]}/peaks.h5', '--out', '{tmp_path}/m.h5', '-q']\n"
        "try: main.main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "import driftcli.workflow.plot, driftcli.workflow.compare  # as run has them\n"
        "assert 'matplotlib' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
