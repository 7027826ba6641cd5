"""Runs that are cut off and go on, and what has to hold of their outputs in between and in the end."""

from __future__ import annotations

import errno
import json
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faulty import NO_FAULT, READING, WRITING, Done, Fault, Server

import make_spikeglx
import small_recording

JOBS = 2
SHARDS = 3
FAST = ("--set", "estimate.bin_s=0.5", "--set", "detect.detect_threshold=6", "--chunk-s", "0.5", "--jobs", str(JOBS))


@dataclass(frozen=True)
class Case:
    """A command whose outputs are known. out: the folder that it writes to.

    whole: what an undisturbed run leaves there, by name, but for run.json. timed: those of them that tell how long it
        took, whose ends are all that is looked at. calls: how many it makes on its disk, of
        `any` that change something, and of those that each of FAULTS strikes at.
    """

    name: str
    arguments: tuple[str, ...]
    out: Path
    whole: dict[str, bytes]
    calls: dict[str, int]
    timed: tuple[str, ...] = ()

    def run(self, server: Server, *more: str, fault: Fault = NO_FAULT) -> Done:
        return server.run([*self.arguments, *more], fault)

    def clear(self) -> None:
        """Nothing is there but the inputs."""
        shutil.rmtree(self.out, ignore_errors=True)

    def check_names(self) -> None:
        """Each final name is that of a whole file, or of none."""
        for name in _files(self.out) if self.out.is_dir() else ():
            if name == "run.json":
                assert json.loads((self.out / name).read_text())["format"] == "driftcli run"
            elif name in self.timed:
                assert (self.out / name).read_bytes().endswith(_ENDS[Path(name).suffix]), f"{name} is not whole"
            elif not name.startswith("."):
                assert (self.out / name).read_bytes() == self.whole[name], f"{name} is not whole"

    def check_end(self) -> None:
        """All that is there are the outputs, and they are those of an undisturbed run."""
        self.check_names()
        folders = {str(parent) for name in self.whole for parent in Path(name).parents} - {"."}
        there = sorted(path.relative_to(self.out).as_posix() for path in self.out.rglob("*"))
        assert there == sorted([*self.whole, *folders, "run.json"])

    def redone(self) -> int:
        """How many blocks were begun in vain, by `run.json`."""
        return sum(facts["counts"].get("blocks", {}).get("redone", 0) for facts in self.log().values())

    def log(self) -> dict[str, Any]:
        """What `run.json` says of the outputs."""
        outputs: dict[str, Any] = json.loads((self.out / "run.json").read_text())["outputs"]
        return outputs

    def num_bytes(self) -> int:
        return sum(map(len, self.whole.values()))


def make_case(name: str, folder: Path, server: Server) -> Case:
    """Make the inputs, and run once undisturbed."""
    folder.mkdir()
    # pictures have a case of their own; what the verdict takes is done all the same
    arguments = ["run", *_INPUTS[name](folder), *FAST, *(() if name == DEFAULT else ("--no-report", "--if-better"))]
    if name == PLOT:
        assert server.run([*arguments, "--out", folder / "drawn"]).code == 0
        arguments = ["plot", folder / "drawn"]
    out = folder / "out"
    case = Case(name, tuple(map(str, [*arguments, "--out", out])), out, {}, {}, TIMED if name == DEFAULT else ())
    case.clear()  # a first run may have had to compile kernels
    assert case.run(server).code == 0
    case.clear()
    done = case.run(server, fault=Fault(below=str(out)))
    assert done.code == 0, done.said
    case.calls["any"] = sum(done.calls[name][1] for name in WRITING)
    for what, fault in FAULTS.items():
        case.calls[what] = sum(done.calls[name][1] for name in fault.calls)
    case.whole.update({name: (out / name).read_bytes() for name in _files(out) if name != "run.json"})
    return case


def _files(folder: Path) -> list[str]:
    """Names of all files in a folder and those below it."""
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]


def _raw(folder: Path) -> list[Any]:
    binary, probe = small_recording.write(folder, small_recording.samples(150_001, 12))
    return [binary, "--probe", probe, "--preset", "rigid_fast"]


def _selected(folder: Path) -> list[Any]:
    return [*_raw(folder), "--set", "select.method=uniform", "--set", "select.n_peaks=60"]


def _float32(folder: Path) -> list[Any]:
    return [*_raw(folder), "--output-dtype", "float32", "--exclude-times", "0.5-0.8"]


def _spikeglx(folder: Path) -> list[Any]:
    meta = make_spikeglx.made_meta("NP2 prototype", saved=12)
    samples = make_spikeglx.noise(120_000, make_spikeglx.meta_values(meta))
    samples[:, :12] = small_recording.samples(120_000, 12)
    return [make_spikeglx.make_spikeglx(folder, meta, samples), "--preset", "rigid_fast", "--compress"]


def _split(folder: Path) -> list[Any]:
    meta = make_spikeglx.made_meta("NP2 prototype", saved=12)
    samples = make_spikeglx.noise(90_000, make_spikeglx.meta_values(meta))
    samples[:, :12] = small_recording.samples(90_000, 12)
    files = make_spikeglx.make_set(folder, meta, samples, [50_000, 40_000], [300])
    return [*files, "--preset", "rigid_fast", "--split"]


_INPUTS = {"raw": _raw, "selected": _selected, "float32": _float32, "spikeglx": _spikeglx, "split": _split}
NAMES = tuple(_INPUTS)
PLOT = "plot"  # of what a run of `raw` left
DEFAULT = "default"  # all that `run` does when nothing is said, with its pictures
_INPUTS |= {PLOT: _raw, DEFAULT: _raw}
TIMED = ("report.html", "figures/times.png", "figures/times.svg")
_ENDS = {".html": b"</html>\n", ".svg": b"</svg>\n", ".png": b"IEND\xaeB`\x82"}


@dataclass
class Tally:
    """What was lived through so far. cut: processes that were killed or gave up; bytes: compared in the end."""

    trials: int = 0
    cut: int = 0
    bytes: int = 0
    redone: int = 0


def cut_off(case: Case, server: Server, faults: Sequence[Fault]) -> Tally:
    """Begin afresh, meet each fault, and go on undisturbed in the end; an AssertionError says what did not hold."""
    case.clear()
    inputs = _state(case.out.parent)
    cuts = 0
    for fault in faults:
        done = case.run(server, "--resume", fault=fault)
        _bring_back(case.out)
        case.check_names()
        check_how_it_ended(done, fault)
        cuts += done.code != 0
    damaged = any(set(READING) & set(fault.calls) for fault in faults)  # what can't be read is done again
    tally = _gone_on_with(case, server, cuts, bounded=not damaged)
    assert _state(case.out.parent) == inputs
    return tally


def _state(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of each file beside the outputs."""
    files = [path for path in folder.iterdir() if path.is_file()]
    return {path.name: (path.stat().st_size, path.stat().st_mtime_ns) for path in files}


def _bring_back(out: Path) -> None:
    """A disk that had vanished is there again; whatever was written to its place is not."""
    gone = out.with_name(f"{out.name}.gone")
    if gone.exists():
        shutil.rmtree(out, ignore_errors=True)
        gone.rename(out)


def check_how_it_ended(done: Done, fault: Fault) -> None:
    """No traceback and no fault of driftcli's, and the exit code that belongs to what happened."""
    assert "Traceback" not in done.said, done.said
    assert "internal fault" not in done.said, done.said
    codes = {"kill": [-9], "killed": [-9], "torn": [-9], "term": [143], "int": [130]}.get(fault.kind, [3, 4])
    assert done.code in [0, *codes], (done.code, done.said)
    if done.code in (3, 4):
        assert "error: " in done.said, done.said


def at(case: Case, kind: str, share: float) -> Fault:
    """What strikes after that share of the calls that an undisturbed run makes on the disk of its outputs."""
    return Fault(kind, 1 + int(share * case.calls["any"]), below=str(case.out))


def kill(case: Case, randomly: random.Random) -> Fault:
    """A kill before, in or after a random call; that of a resumed run may come too late to strike."""
    return at(case, randomly.choice(["kill", "torn", "killed"]), randomly.random())


def stop(case: Case, randomly: random.Random) -> Fault:
    """A signal that asks to end."""
    return at(case, randomly.choice(["term", "int"]), randomly.random())


FAULTS = {
    "full disk": Fault("error", 1, ("open", "write", "pwrite", "mkdir", "link", "posix_fallocate"), errno.ENOSPC, True),
    "short write": Fault("short", 1, ("write", "pwrite"), lasting=True),
    "EIO on write": Fault("error", 1, ("write", "pwrite")),
    "EIO on write from then on": Fault("error", 1, ("write", "pwrite"), lasting=True),
    "EIO on fsync": Fault("error", 1, ("fsync",)),
    "EIO on read": Fault("error", 1, READING),
    "EIO on read from then on": Fault("error", 1, READING, lasting=True),
    "EIO on all": Fault("error", 1, (*WRITING, *READING), lasting=True),
    "stale handles": Fault("error", 1, (*WRITING, *READING), errno.ESTALE, True),
    "vanished disk": Fault("gone", 1, WRITING, lasting=True),
}


def fault(case: Case, randomly: random.Random, name: str | None = None) -> Fault:
    """A fault of the disk of the outputs, from a random one of the calls on that it can strike at."""
    name = name or randomly.choice(list(FAULTS))
    return FAULTS[name]._replace(at=1 + int(randomly.random() * case.calls[name]), below=str(case.out))


def killed_by_the_clock(case: Case, server: Server, randomly: random.Random) -> Tally:
    """As `cut_off`, with a process of its own that is killed after a random time."""
    case.clear()
    command = [sys.executable, "-m", "driftcli", *case.arguments]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            code = process.wait(randomly.uniform(0.5, 3.0))  # it takes about one second to start, and one to work
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
    assert code in (0, -9)
    case.check_names()
    return _gone_on_with(case, server, int(code != 0))


def shards_cut_off(case: Case, server: Server, randomly: random.Random) -> Tally:
    """The same outputs by shards, in an order of their own, each process of them killed at times."""
    case.clear()
    cuts = 0
    for command in _by_shards(case, randomly, SHARDS):
        for attempt in range(3):
            most = case.calls["any"] // SHARDS
            killed = kill(case, randomly)._replace(at=randomly.randint(1, most)) if attempt < 2 else NO_FAULT
            done = server.run([*command, "--resume"], killed)
            case.check_names()
            assert done.code in (0, -9), done.said
            if done.code == 0:
                break
            cuts += 1
        assert done.code == 0, done.said
    case.check_end()
    redone = case.redone()
    assert redone <= JOBS * cuts, f"{redone} blocks redone after {cuts} cuts"
    return Tally(1, cuts, case.num_bytes(), redone)


def _by_shards(case: Case, randomly: random.Random, count: int) -> Iterator[list[str]]:
    """Commands that leave what the case's `run` does."""
    given, of_detect, of_apply = list(case.arguments[1 : -len(["--out", "out"])]), [], []
    given.remove("--no-report")
    given.remove("--if-better")
    for name, values in {"--output-dtype": 1, "--compress": 0, "--split": 0, "--exclude-times": 1}.items():
        if name in given:
            at_ = given.index(name)
            (of_detect if name == "--exclude-times" else of_apply).extend(given[at_ : at_ + 1 + values])
            del given[at_ : at_ + 1 + values]
    first_option = next(index for index, word in enumerate(given) if word.startswith("--"))
    recording = given[: first_option + 2 * ("--probe" in given)]
    work = given[given.index("--chunk-s") :]
    peaks, motion = case.out / "peaks.h5", case.out / "motion.h5"
    binary = next(name for name in sorted(case.whole) if name.endswith((".bin", ".cbin")))
    out = case.out if "--split" in of_apply else case.out / binary
    for index in randomly.sample(range(1, count + 1), count):
        yield ["detect", *given, *of_detect, "--out", str(peaks), "--shard", f"{index}/{count}"]
    yield ["merge", str(peaks)]
    yield ["estimate", str(peaks), "--out", str(motion)]
    yield ["assess", str(peaks), str(motion)]
    for index in randomly.sample(range(1, count + 1), count):
        shard = ["--out", str(out), "--shard", f"{index}/{count}"]
        yield ["apply", *recording, str(motion), "--if-better", *of_apply, *work, *shard]


def overwriting_cut_off(case: Case, server: Server, randomly: random.Random) -> Tally:
    """Kill a run that replaces the outputs of other settings: until they are moved all old ones are there, and
    --resume, without --overwrite, ends with the new ones."""
    case.clear()
    done = case.run(server, "--set", "detect.detect_threshold=7")
    assert done.code == 0, done.said
    old = _content(case.out)
    done = case.run(server, "--overwrite", fault=kill(case, randomly))
    assert done.code in (0, -9), done.said
    place = case.out / ".run.work"
    if not (place / "delivery.json").exists():
        assert _content(case.out) in (old, case.whole), "neither the old outputs nor the new ones"
        if done.code and not (place / "1-of-1" / "identity.json").exists() and _content(case.out) == old:
            again = case.run(server, "--resume")  # it was killed before it began
            assert again.code == 4, again.said
            assert _content(case.out) == old
            assert case.run(server, "--overwrite").code == 0
    return _gone_on_with(case, server, int(done.code != 0))


def _content(out: Path) -> dict[str, bytes]:
    files = [path for path in out.iterdir() if path.is_file() and path.name != "run.json"]
    return {path.name: path.read_bytes() for path in files}


def _gone_on_with(case: Case, server: Server, cuts: int, *, bounded: bool = True) -> Tally:
    """Go on undisturbed, and see that all is as it should be."""
    done = case.run(server, "--resume")
    assert done.code == 0, done.said
    case.check_end()
    redone = case.redone()
    assert not bounded or redone <= JOBS * cuts, f"{redone} blocks redone after {cuts} cuts"
    return Tally(1, cuts, case.num_bytes(), redone)
