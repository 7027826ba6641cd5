"""Killed anywhere, a run goes on and ends with the bytes of an undisturbed one; no final name names half a file.

`benchmarks/soak.py` does the same for an hour.
"""

import os
import random
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace

import killing
import pytest
from faulty import NO_FAULT, Server
from killing import FAULTS, JOBS, NAMES


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module")
def cases(server, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cases")
    made = {}

    def case(name):
        if name not in made:
            made[name] = killing.make_case(name, folder / name, server)
        return made[name]

    return case


@pytest.mark.parametrize("name", NAMES)
def test_killed_at_any_call(name, cases, server):
    case, randomly = cases(name), random.Random(NAMES.index(name))
    for count in (1, 2):
        tally = killing.cut_off(case, server, [killing.kill(case, randomly) for _ in range(count)])
        assert tally.cut >= 1


@pytest.mark.parametrize("share", [0.83, 0.87, 0.91, 0.95, 0.99])
def test_killed_while_outputs_get_their_names(share, cases, server):
    case = cases("split")
    assert killing.cut_off(case, server, [killing.at(case, "kill", share)]).cut == 1


@pytest.mark.parametrize("share", [0.3, 0.8, 0.9, 0.98])
def test_plot_that_is_killed_leaves_all_pictures_or_goes_on_to_them(share, cases, server):
    case = cases(killing.PLOT)
    kind = "torn" if share < 0.7 else "kill"
    assert killing.cut_off(case, server, [killing.at(case, kind, share)]).cut == 1


@pytest.mark.parametrize("share", [0.6, 0.97])
def test_a_default_run_that_is_killed_ends_with_all_it_leaves(share, cases, server):
    """With verdict and pictures; of those that tell when it was and how long it took, only the ends are compared."""
    case = cases(killing.DEFAULT)
    assert len(case.whole) > 10
    assert killing.cut_off(case, server, [killing.at(case, "kill", share)]).cut == 1


def test_killed_by_the_clock(cases, server):
    killing.killed_by_the_clock(cases("spikeglx"), server, random.Random(3))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_killed_while_it_replaces_outputs(seed, cases, server):
    killing.overwriting_cut_off(cases("raw"), server, random.Random(seed))


@pytest.mark.parametrize("name", ["selected", "spikeglx", "split"])
def test_shards_that_are_killed(name, cases, server):
    assert killing.shards_cut_off(cases(name), server, random.Random(NAMES.index(name))).cut >= 2


@pytest.mark.parametrize("what", FAULTS)
def test_faults_of_the_disk(what, cases, server):
    case, randomly = cases("spikeglx"), random.Random(4)
    killing.cut_off(case, server, [killing.fault(case, randomly, what) for _ in range(2)])


@pytest.mark.parametrize(("kind", "code", "share"), [("term", 143, 0.3), ("term", 143, 0.6), ("int", 130, 0.5)])
def test_a_signal_ends_it_with_all_that_is_done(kind, code, share, cases, server):
    case = cases("raw")
    case.clear()
    done = case.run(server, fault=killing.at(case, kind, share))
    assert done.code == code, done.said
    assert "what is done is kept in" in done.said
    assert "--resume goes on from there" in done.said
    assert case.run(server, "--resume").code == 0
    case.check_end()
    assert case.redone() == 0


def test_a_signal_ends_it_soon(cases):
    case = cases("raw")
    case.clear()
    with subprocess.Popen(
        [sys.executable, "-m", "driftcli", *case.arguments], stderr=subprocess.PIPE, text=True
    ) as process:
        while not list(case.out.rglob("*.journal")):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        asked = time.perf_counter()
        code = process.wait(60)
        assert time.perf_counter() - asked < 10  # a chunk takes far less than a second; machines are busy
        said = process.stderr.read()
    assert code == 143
    assert "stopped by SIGTERM" in said
    case.check_names()


def test_a_resumed_run_says_what_it_kept(cases, server):
    case = cases("raw")
    case.clear()
    done = case.run(server, fault=killing.at(case, "kill", 0.7))
    assert done.code == -9
    assert case.run(server, "--resume").code == 0
    blocks = case.log()["corrected.bin"]["counts"]["blocks"]
    assert blocks["total"] == 10
    assert 0 < blocks["kept"] <= 10
    assert blocks["redone"] <= JOBS


# HDF5 meets a full disk in C, where nothing but a real one lets it fail. All of run takes 1.5 MB, detect 56 kB.
@pytest.mark.parametrize("room_kb", [52, 64, 68, 72, 200, 800, 1_300])
def test_a_disk_that_is_really_full(room_kb, cases, server):
    _run_on_a_full_disk(cases("spikeglx"), room_kb, server)


@pytest.mark.parametrize("room_kb", [8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52])
def test_a_disk_that_is_full_when_peaks_are_written(room_kb, cases, server):
    case = cases("raw")
    given = [word for word in case.arguments[1:-1] if word not in ("--no-report", "--if-better")]
    arguments = ["detect", *given, case.out / "peaks.h5"]
    detect = replace(case, arguments=tuple(map(str, arguments)), whole={"peaks.h5": case.whole["peaks.h5"]})
    _run_on_a_full_disk(detect, room_kb, server)


def _run_on_a_full_disk(case, room_kb, server):
    case.clear()
    with _disk(case.out, f"{room_kb}k") as resize:
        done = case.run(server)
        assert done.code == 4, done.said
        killing.check_how_it_ended(done, NO_FAULT)
        assert re.search("no room on the disk|No space left", done.said), done.said
        assert "errno" not in done.said
        case.check_names()
        resize("100m")
        done = case.run(server, "--resume")
        assert done.code == 0, done.said
        case.check_end()


@contextmanager
def _disk(folder, size):
    """A disk of that size in the place of a folder; yields what makes it larger."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder], capture_output=True, text=True
    )
    if mounted.returncode:
        folder.rmdir()
        pytest.skip(f"only root can make a small disk: {mounted.stderr.strip()}")
    try:
        yield lambda size: subprocess.run(["mount", "-o", f"remount,size={size}", folder], check=True)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
        folder.rmdir()


def test_an_input_that_is_cut_off_and_comes_back(cases, server):
    """It is shorter when the correction reads it; what is known of it was read before."""
    case = cases("raw")
    case.clear()
    assert case.run(server, fault=killing.at(case, "kill", 0.7)).code == -9
    binary = case.out.parent / "rec.bin"
    whole, times = binary.read_bytes(), (binary.stat().st_atime_ns, binary.stat().st_mtime_ns)
    try:
        binary.write_bytes(whole[:-1000])
        done = case.run(server, "--resume")
        assert done.code in (3, 4)
        assert "internal fault" not in done.said
    finally:
        binary.write_bytes(whole)
        os.utime(binary, ns=times)
    assert case.run(server, "--resume").code == 0
    case.check_end()
