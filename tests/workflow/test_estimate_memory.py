"""Memory of the estimate: it is told before, what would take too much is refused early, shanks are read one by one."""

import re

import numpy as np
import pytest

from driftcli import presets
from driftcli.errors import UsageError
from driftcli.store import peaks as peaks_store
from driftcli.store.motion import read_motion
from driftcli.workflow.estimate import estimate
from driftcli.workflow.work import Work, memory_bytes

TOO_LITTLE, ENOUGH = 100e6, 4e9


@pytest.fixture
def npz(tmp_path):
    rng = np.random.default_rng(0)
    time_s = np.sort(rng.uniform(0, 20, 2000))
    np.savez(tmp_path / "p.npz", time_s=time_s, depth_um=rng.uniform(0, 1000, 2000), amplitude_uv=np.full(2000, -80.0))
    return tmp_path / "p.npz"


@pytest.mark.parametrize(
    ("preset", "said"),
    [
        ("rigid_fast", "4 temporal bins × 1 spatial window, 2,000 peaks"),
        ("nonrigid_accurate", "10 temporal bins × 4 spatial windows, 2,000 peaks"),
        ("kilosort_like", "10 temporal bins × 4 spatial windows, 2,000 peaks"),
    ],
)
def test_the_prediction_is_told_before_the_estimate(npz, tmp_path, reporter, preset, said):
    estimate(npz, presets.load(preset), tmp_path / "m.h5", Work(reporter=reporter), span_um=(0.0, 1000.0))
    assert reporter.messages[0].startswith("the estimate takes about 2")
    assert reporter.messages[0].endswith(f" MB of memory: {said}")
    (motion,) = read_motion(tmp_path / "m.h5").motions.values()
    bins, windows = motion.displacement_um.shape
    assert said.startswith(f"{bins} temporal bins × {windows} spatial window")


@pytest.mark.parametrize("preset", ["rigid_fast", "nonrigid_accurate", "kilosort_like"])
def test_an_estimate_that_needs_more_than_it_may_is_refused(npz, tmp_path, monkeypatch, preset):
    settings, out = presets.load(preset), tmp_path / "m.h5"
    monkeypatch.setattr(settings["estimate"].module, "estimate", lambda *_: pytest.fail("it began"))
    with pytest.raises(UsageError, match=r"needs about 2\d\d MB of memory, more than the 100 MB") as refused:
        estimate(npz, settings, out, Work(max_memory_bytes=TOO_LITTLE))
    assert "estimate.bin_s" in refused.value.hint
    assert "--max-memory" in refused.value.hint
    assert not out.exists()
    assert not (tmp_path / "run.json").exists()


def test_a_limit_that_is_not_reached_changes_no_byte(npz, tmp_path):
    outs = [tmp_path / "free.h5", tmp_path / "limited.h5"]
    for out, limit in zip(outs, (None, ENOUGH), strict=True):
        estimate(npz, presets.load("rigid_fast"), out, Work(max_memory_bytes=limit))
    assert outs[0].read_bytes() == outs[1].read_bytes()


def test_run_tells_and_refuses_before_it_detects(tmp_path, drifting, run_verbs, reporter, monkeypatch):
    out = run_verbs(drifting, "rec", reporter=reporter)
    assert (out / "motion.h5").exists()
    told = [text for text in reporter.messages if "MB of memory" in text]
    assert len(told) == 2
    assert re.search(r"6 temporal bins × 1 spatial window, and up to 2\d MB for each million peaks$", told[0])
    assert told[1].endswith(" peaks")
    monkeypatch.setattr("driftcli.workflow.run.detect", lambda *_: pytest.fail("it began"))
    with pytest.raises(UsageError, match="of --max-memory"):
        run_verbs(drifting, "refused", work=Work(max_memory_bytes=TOO_LITTLE))
    assert not (tmp_path / "refused/out").exists()


def test_run_refuses_what_no_estimate_takes_before_it_detects(tmp_path, drifting, run_verbs, monkeypatch):
    monkeypatch.setattr("driftcli.workflow.run.detect", lambda *_: pytest.fail("it began"))
    changes = ["estimate.time_horizon_s=null", "estimate.bin_s=0.00004"]
    with pytest.raises(UsageError, match=r"comparing 72501 temporal bins .* more than 4 GB"):
        run_verbs(drifting, "refused", changes=changes)
    assert not (tmp_path / "refused/out").exists()


def test_pieces_change_no_byte(drifting, run_verbs, monkeypatch):
    out = run_verbs(drifting, "rec", shank_ids=["0"] * 12 + ["1"] * 12)
    whole = (out / "motion.h5").read_bytes()
    assert set(read_motion(out / "motion.h5").motions) == {0, 1}
    monkeypatch.setattr(peaks_store, "_PIECE_ROWS", 7)
    settings = presets.load("rigid_fast", ["estimate.bin_s=0.5", "detect.detect_threshold=6"])
    estimate(out / "peaks.h5", settings, out / "again.h5", Work())
    assert (out / "again.h5").read_bytes() == whole


def test_shanks_are_read_when_their_turn_comes(drifting, run_verbs, monkeypatch):
    out = run_verbs(drifting, "rec", shank_ids=["0"] * 12 + ["1"] * 12)
    read, events = peaks_store.PeaksByShank.read, []

    def watched(file, shank):
        events.append(f"read {shank}")
        return read(file, shank)

    monkeypatch.setattr(peaks_store.PeaksByShank, "read", watched)
    settings = presets.load("rigid_fast", ["estimate.bin_s=0.5"])
    module = settings["estimate"].module
    original = module.estimate
    monkeypatch.setattr(module, "estimate", lambda *a: events.append("estimate") or original(*a))
    estimate(out / "peaks.h5", settings, out / "again.h5", Work())
    assert events == ["read (0,)", "estimate", "read (1,)", "estimate"]


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [
        ("2GB", 2e9),
        ("500MB", 5e8),
        ("500 mb", 5e8),
        ("1.5GiB", 1.5 * 2**30),
        ("64M", 64e6),
        ("8g", 8e9),
        ("100MiB", 100 * 2**20),
        ("2", 2e9),
        (".5", 5e8),
    ],
)
def test_amounts_of_memory_are_read(text, n_bytes):
    assert memory_bytes(text) == n_bytes


@pytest.mark.parametrize("text", ["", "GB", "2 TBx", "-1GB", "0", "0MB", "two", "1e3", "2kB"])
def test_what_is_no_amount_of_memory_is_refused(text):
    with pytest.raises(UsageError, match="is no amount of memory") as refused:
        memory_bytes(text)
    assert "--max-memory 2GB" in refused.value.hint
