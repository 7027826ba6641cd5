"""The scripts that submit writes: what is in them, what bash makes of them, and what is refused. Needs no Slurm."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import small_recording
from driftcli.cli.submit import QueueOptions
from driftcli.errors import InputError, UsageError
from driftcli.workflow.slurm import (
    Filled,
    Job,
    Needs,
    Queue,
    require_memory,
    require_time,
    script_of,
    submit,
    time_limit,
    write_scripts,
)
from driftcli.workflow.submit import Cost, Wanted, folders_of, read_list

FAST = ("--preset", "rigid_fast", "--set", "estimate.bin_s=0.5")
SAID = ("--time", "4:00:00", "--mem", "2G")
NEEDS = Needs(4, "0-01:00:00", "4000M")


def driftcli(*arguments, **options):
    command = [sys.executable, "-m", "driftcli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **options)


@pytest.fixture
def recording(tmp_path):
    return small_recording.write(tmp_path / "da ta'$x", small_recording.samples(40_000))


def scripts(folder):
    return {path.name: path.read_text() for path in sorted(folder.iterdir())}


def asked(text):
    """The lines for sbatch, which end where the commands begin."""
    head = text.split("\n\n")[0].splitlines()
    assert head[0] == "#!/bin/bash"
    assert text.count("#SBATCH") == sum(line.startswith("#SBATCH ") for line in head)
    return [line.removeprefix("#SBATCH ") for line in head if line.startswith("#SBATCH ")]


def commands(text):
    """What a script runs, as bash reads it."""
    body = text.split("run() {")[1].partition("\n}\n")[2]
    shell = 'run() { printf "%s\\0" "$@"; printf "\\n\\0"; }\n' + body
    environment = {**os.environ, "SLURM_ARRAY_TASK_ID": "2"}
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True, env=environment)
    return [line.strip("\0").split("\0") for line in done.stdout.split("\n\0") if line]


def test_scripts_of_a_recording(recording):
    binary, probe = recording
    done = driftcli("submit", binary.name, "--probe", probe.name, *FAST, *SAID, "--shards", 3, "--partition", "long",
                    "--account", "lab", "--sbatch", "--constraint=zen3", "--exclude-times", "0-0.1", "--shanks",
                    "together", "--output-dtype", "float32", "--bad-channels-out", "zero", "--max-memory", "3GB",
                    "--mixed", "--cpus-per-task", 6, "--at-once", 2, "--jobs", 5, cwd=binary.parent)  # fmt: skip
    assert done.returncode == 0, done.stderr
    out = binary.with_name("rec.driftcli")
    texts = scripts(out / "slurm")
    assert [*texts] == [
        "1-detect.sbatch",
        "2-estimate.sbatch",
        "3-apply.sbatch",
        "4-plot.sbatch",
        "submit.sh",
    ]
    assert [path.name for path in out.iterdir()] == ["slurm"]
    detect, estimate, apply, plot, begin = texts.values()
    for text in texts.values():
        subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    assert asked(detect) == [
        "--job-name=driftcli-detect",
        "--array=1-3%2",
        "--cpus-per-task=6",
        "--mem=2G",
        "--time=4:00:00",
        "--partition=long",
        "--account=lab",
        f'--output="{out}/slurm"/%x-%A_%a.out',
        "--open-mode=append",
        "--requeue",
        "--signal=B:USR1@120",
        "--kill-on-invalid-dep=yes",
        "--constraint=zen3",
    ]
    assert "--array" not in " ".join(asked(estimate))
    assert asked(apply)[1] == "--array=1-3%2"
    program = QueueOptions().words()
    ends = ["--jobs", "5", "--resume", "--mixed", "--max-memory", "3GB"]
    known = ["--probe", str(probe)]
    preset = [word for change in ("estimate.bin_s=0.5", "interpolate.bad_channels=zero") for word in ("--set", change)]
    second = ["--shard", "2/3"]
    spans = ["--out", f"{out}/peaks.h5", "--exclude-times", "0-0.1"]
    assert commands(detect) == [[*program, "detect", str(binary), *known, *FAST[:2], *preset, *ends, *spans, *second]]
    assert commands(estimate) == [
        [*program, "merge", f"{out}/peaks.h5", "--resume", "--mixed"],
        [*program, "estimate", f"{out}/peaks.h5", *ends, "--shanks", "together"],
        [*program, "assess", f"{out}/peaks.h5", *ends],
    ]
    assert all('--shard "$SLURM_ARRAY_TASK_ID/3"' in text for text in (detect, apply))
    form = ["--out", f"{out}/corrected.bin", "--output-dtype", "float32"]
    assert commands(apply) == [[*program, "apply", str(binary), f"{out}/motion.h5", *known, *ends, *form, *second]]
    assert commands(plot) == [[*program, "plot", str(out), "--resume"]]
    assert begin.count("afterok") == 4  # once in words
    assert all(os.access(path, os.X_OK) for path in (out / "slurm").iterdir())


def test_all_recordings_of_a_list_that_can_not_be_opened_are_named(recording, tmp_path):
    binary, probe = recording
    for number in range(12):
        (tmp_path / f"bad{number}.bin").write_bytes(b"odd")
    names = [str(binary), *(f"bad{number}.bin" for number in range(12))]
    (tmp_path / "l.txt").write_text("\n".join(names))
    done = driftcli("submit", "--list", tmp_path / "l.txt", "--probe", probe, *SAID)
    assert done.returncode == 3
    assert "12 of the 13 recordings can't be opened" in done.stderr
    assert all(f"{name}: " in done.stderr for name in names[1:])
    assert str(binary) not in done.stderr
    assert not [*tmp_path.rglob("*.sbatch")]


def test_files_of_the_user_are_not_taken_for_modules(tmp_path, monkeypatch):
    program = tmp_path / "bin/driftcli"
    monkeypatch.setattr(sys, "executable", str(program.with_name("python")))
    assert QueueOptions().words() == [sys.executable, "-m", "driftcli"]
    program.parent.mkdir()
    program.touch(0o755)
    assert QueueOptions().words() == [str(program)]
    monkeypatch.undo()
    (tmp_path / "queue.py").write_text("raise SystemExit('not this one')")
    done = subprocess.run([*QueueOptions().words(), "info", "x.bin"], capture_output=True, text=True, cwd=tmp_path)
    assert "there is no file x.bin" in done.stderr
    assert QueueOptions(program="apptainer run 'a b'").words() == ["apptainer", "run", "a b"]


def test_scripts_of_a_list(recording, tmp_path):
    binary, probe = recording
    other = binary.with_name("other.bin")
    other.write_bytes(binary.read_bytes())
    (tmp_path / "l.txt").write_text(f"{binary.relative_to(tmp_path)}\n{other}\n")
    told = driftcli("submit", "--list", tmp_path / "l.txt", "--probe", probe, *SAID, "--overwrite", "--json", "-q")
    assert told.returncode == 0, told.stderr
    facts = json.loads(told.stdout)
    assert [(job["name"], job["tasks"], job["number"]) for job in facts["jobs"]] == [("run", 2, None)]
    texts = scripts(tmp_path / "l.driftcli/slurm")
    assert [*texts] == ["1-run.sbatch", "submit.sh"]
    text = texts["1-run.sbatch"]
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    expected = [*QueueOptions().words(), "run", "--probe", str(probe), "--overwrite", "--resume", str(other)]
    assert commands(text) == [[*expected, "--out", str(other.with_suffix(".driftcli"))]]  # of task 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), True),
        (("--sbatch", "--comment=-C", "--sbatch", "--cluster-constraint=x"), True),
        (("--mixed",), False),
        (("--sbatch", "--constraint=zen3"), False),
        (("--sbatch", "--comment=x -C zen3"), False),
    ],
)
def test_nodes_of_several_types_are_warned_of(recording, arguments, told):
    binary, probe = recording
    done = driftcli("submit", binary, "--probe", probe, *FAST, *SAID, "--shards", 2, *arguments)
    assert done.returncode == 0, done.stderr
    assert ("\nnote: all nodes must have one type of CPU: " in f"\n{done.stderr}") == told


def test_what_a_task_needs_comes_from_a_trial(recording):
    binary, probe = recording
    done = driftcli("submit", binary, "--probe", probe, *FAST, "--shards", 2, "--json", "-q")
    assert done.returncode == 0, done.stderr
    for job in json.loads(done.stdout)["jobs"]:
        assert job["cpus"] == 4
        assert 200 < int(job["memory"].removesuffix("M")) < 4000
        require_time(job["time"])


def test_more_shards_need_less_time_and_as_much_memory():
    cost = Cost(60, 3660, 1000, 36_000, 1e9, 4e9, 600, 600)
    few, many = (cost.needs(Wanted(), shards) for shards in (2, 20))
    assert few["detect"] == Needs(4, "0-01:51:00", "1500M")  # 3 × (60 to begin, 60 to look, 4200 / 2)
    assert many["detect"].time == "0-00:17:00"  # 3 × (60 + 60 + 4200 / 20), up to the next minute
    assert few["estimate"] == many["estimate"] == Needs(4, "0-00:53:00", "6000M")
    assert few["apply"].time == "0-16:03:00"  # 3 × (60 + 37200 / 2 + 600), as the last one reads all back
    assert cost.needs(Wanted(8, "60", "9G"), 2)["apply"] == Needs(8, "60", "9G")
    assert cost.needs_of_run(Wanted()) == Needs(4, time_limit(3 * (60 + 3660 + 1000 + 36_000 + 2400)), "6000M")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "a recording, or a list"),
        (("RECORDING", "--list", "LIST"), "a recording, or a list"),
        (("--list", "LIST", "--shards", 4), "each recording is one task"),
        (("RECORDING", "--time", "soon"), "no time limit"),
        (("RECORDING", "--time", "3"), "too short"),
        (("RECORDING", "--mem", "2\n#SBATCH --x"), "no amount of memory"),
        (("RECORDING", "--mem", "1.5G"), "no amount of memory"),
        (("RECORDING", *SAID, "--sbatch", "--array=1-16%4"), "--shards"),
        (("RECORDING", *SAID, "--sbatch", "--comment=x --arr 1-3"), "--shards"),
        (("RECORDING", *SAID, "--sbatch", "-a1-3"), "--shards"),
        (("RECORDING", *SAID, "--sbatch", "-d afterok:1"), "what waits for what"),
        (("RECORDING", *SAID, "--sbatch", "--dependency=singleton"), "what waits for what"),
        (("RECORDING", *SAID, "--sbatch", "--comment='x"), "no option of sbatch"),
        (("RECORDING", *SAID, "--sbatch", "gres=gpu"), "no option of sbatch"),
        (("RECORDING", *SAID, "--sbatch", "--a\nrm"), "can't stand in a line"),
        (("RECORDING", *SAID, "--out", "a\nb"), "can't write its logs"),
        (("RECORDING", *SAID, "--max-memory", "1MB"), "memory"),
    ],
)
def test_what_makes_no_sense_is_refused(recording, tmp_path, arguments, told):
    (tmp_path / "list").write_text(str(recording[0]))
    names = {"RECORDING": recording[0], "LIST": tmp_path / "list"}
    words = [names.get(word, word) for word in arguments]
    done = driftcli("submit", *words, "--probe", recording[1], cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert told in done.stderr
    assert not [*tmp_path.rglob("*.sbatch")]


def test_what_is_there_is_gone_on_from_or_replaced_only_if_the_user_says_so(recording):
    binary, probe = recording
    command = ("submit", binary, "--probe", probe, *FAST, *SAID, "--shards", 2)
    assert driftcli(*command).returncode == 0
    assert driftcli(*command).returncode == 0  # scripts are written anew
    peaks = binary.with_name("rec.driftcli") / "peaks.h5"
    assert driftcli("detect", binary, "--probe", probe, *FAST, "--shard", "1/2", "-q").returncode == 0
    done = driftcli(*command)
    assert (done.returncode, "is unfinished work" in done.stderr) == (4, True), done.stderr
    assert driftcli(*command, "--resume").returncode == 0
    done = driftcli(*command, "--shards", 3, "--overwrite")
    assert (done.returncode, "cut otherwise: 1/2" in done.stderr) == (4, True), done.stderr
    assert driftcli("detect", binary, "--probe", probe, *FAST, "--shard", "2/2", "-q").returncode == 0
    assert driftcli("merge", peaks, "-q").returncode == 0
    done = driftcli(*command)
    assert (done.returncode, "peaks.h5 exists already" in done.stderr) == (4, True), done.stderr
    assert driftcli(*command, "--overwrite").returncode == 0
    text = (peaks.parent / "slurm/1-detect.sbatch").read_text()
    assert "--overwrite" in text
    assert "--resume" in text


def test_tasks_with_overwrite_replace_what_is_of_other_work_once(recording):
    """What a first try replaced is kept by the second one, which Slurm may start with the same command."""
    binary, probe = recording
    out = binary.with_name("rec.driftcli")
    assert driftcli("run", binary, "--probe", probe, *FAST, "-q", "--no-report", "--if-better").returncode == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    task = ("--resume", "--overwrite", "-q")
    detect = ("detect", binary, "--probe", probe, *FAST, "--set", "detect.detect_threshold=6", *task)
    assert driftcli(*detect, "--shard", "1/2").returncode == 0
    assert driftcli(*detect, "--shard", "1/2").returncode == 0
    assert (out / "peaks.h5").read_bytes() == before["peaks.h5"]
    assert driftcli(*detect, "--shard", "2/2").returncode == 0
    merge = ("merge", out / "peaks.h5", *task)
    estimate, assess = ("estimate", out / "peaks.h5", *task), ("assess", out, *task)
    apply = ("apply", binary, out / "motion.h5", "--if-better", *task)
    for command in (merge, estimate, assess, (*apply, "--shard", "1/2"), (*apply, "--shard", "2/2")):
        done = driftcli(*command)
        assert done.returncode == 0, done.stderr
    after = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in out.iterdir() if path.is_file()}
    assert after["peaks.h5"][0] != before["peaks.h5"]
    again = [(*detect, "--shard", "2/2"), merge, estimate, assess, (*apply, "--shard", "2/2")]
    for command in again:
        done = driftcli(*command)
        assert done.returncode == 0, done.stderr
    assert after == {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in out.iterdir()}


def test_a_list_names_what_is_missing_and_what_is_twice(tmp_path):
    (tmp_path / "a.bin").touch()
    path = tmp_path / "list.txt"
    path.write_text("a.bin\nb.bin\n# c.bin\n/nowhere/d.bin\n")
    with pytest.raises(InputError, match=r"2 of the 3 recordings .*/b\.bin, /nowhere/d\.bin"):
        read_list(path)
    path.write_text("a.bin\n./a.bin\n")
    with pytest.raises(UsageError, match="twice"):
        read_list(path)
    path.write_text("# nothing\n\n")
    with pytest.raises(InputError, match="names no recording"):
        read_list(path)
    with pytest.raises(InputError, match="can't be read"):
        read_list(tmp_path)
    both = [tmp_path / "x/a.bin", tmp_path / "y/a.bin"]
    assert folders_of(both, None) == [tmp_path / "x/a.driftcli", tmp_path / "y/a.driftcli"]
    with pytest.raises(UsageError, match="of two recordings"):
        folders_of(both, tmp_path)


@pytest.mark.parametrize("text", ["0", "4000", "512K", "600M", "8G", "8GB", "1t"])
def test_memory_that_slurm_knows(text):
    require_memory(text)


@pytest.mark.parametrize("text", ["", "1.5G", "8 G", "8GiB", "-1G", "lots", "\u0665"])
def test_memory_that_makes_no_sense(text):
    with pytest.raises(UsageError):
        require_memory(text)


@pytest.mark.parametrize("text", ["5", "5:00", "1:00:00", "1-0", "1-02:30", "1-02:30:00", "0"])
def test_time_limits_that_slurm_knows(text):
    require_time(text)


@pytest.mark.parametrize("text", ["", "4", "4:59", "0:04:59", "1h", "-5", "1:2:3:4", "5 ", "\u0665"])
def test_time_limits_that_make_no_sense(text):
    with pytest.raises(UsageError):
        require_time(text)


def test_time_limits_are_whole_minutes():
    assert [time_limit(seconds) for seconds in (1, 3600, 3601, 95_400)] == [
        "0-00:01:00",
        "0-01:00:00",
        "0-01:01:00",
        "1-02:30:00",
    ]


class Task:
    """A script as Slurm runs it, with an scontrol that writes down how it was called."""

    def __init__(self, folder, *words, environment=(), goes_on=True, last=False):
        (folder / "bin").mkdir()
        tool = folder / "bin/scontrol"
        tool.write_text(f'#!/bin/bash\necho "$@" >> {folder}/requeued\n')
        tool.chmod(0o755)
        self.requeued = folder / "requeued"
        commands = [list(words)] if last else [list(words), ["touch", f"{folder}/second"]]
        job = Job("detect", "Tries.", commands, NEEDS, 3, goes_on=goes_on)
        text = script_of(job, Queue(), folder, folder)
        path = {"PATH": f"{folder}/bin:{os.environ['PATH']}"}
        slurm = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "2", "SLURM_JOB_ID": "9", **dict(environment)}
        self.process = subprocess.Popen(
            ["bash", "-c", text], env={**os.environ, **path, **slurm}, stdout=subprocess.PIPE, text=True
        )

    def calls(self):
        return self.requeued.read_text().splitlines() if self.requeued.exists() else []


WAITS = "trap 'sleep 0.3; exit 143' TERM; touch began; while :; do sleep 0.05; done"


def after_its_begin(folder):
    while not (folder / "began").exists():
        time.sleep(0.05)
    time.sleep(0.5)  # its script has begun it, and is about to note its number


@pytest.mark.parametrize(("number", "calls"), [(signal.SIGUSR1, ["requeue 7_2"]), (signal.SIGTERM, [])])
def test_a_script_waits_for_the_program_that_a_signal_ends(tmp_path, number, calls):
    task = Task(tmp_path, "bash", "-c", WAITS)
    after_its_begin(tmp_path)
    task.process.send_signal(number)
    assert task.process.wait(60) == 143
    assert task.calls() == calls
    assert not (tmp_path / "second").exists()


@pytest.mark.parametrize(
    ("goes_on", "restarts", "calls"), [(True, "19", ["requeue 7_2"]), (True, "20", []), (False, "0", [])]
)
def test_what_would_never_fit_in_its_time_is_not_tried_for_ever(tmp_path, goes_on, restarts, calls):
    task = Task(tmp_path, "bash", "-c", WAITS, environment={"SLURM_RESTART_COUNT": restarts}, goes_on=goes_on)
    after_its_begin(tmp_path)
    task.process.send_signal(signal.SIGUSR1)
    told, _ = task.process.communicate(timeout=60)
    assert task.process.returncode == 143
    assert task.calls() == calls
    assert ("did not fit in the time limit: submit again with" in told) == (not calls)


@pytest.mark.parametrize("goes_on", [True, False])
def test_a_program_that_was_just_done_is_kept_and_the_next_one_waits_for_more_time(tmp_path, goes_on):
    task = Task(tmp_path, "bash", "-c", WAITS.replace("143", "0"), goes_on=goes_on)
    after_its_begin(tmp_path)
    task.process.send_signal(signal.SIGUSR1)
    assert task.process.wait(60) == 143
    assert task.calls() == ["requeue 7_2"]
    assert not (tmp_path / "second").exists()


def test_a_task_that_is_just_done_does_not_come_back(tmp_path):
    task = Task(tmp_path, "bash", "-c", WAITS.replace("143", "0"), last=True)
    after_its_begin(tmp_path)
    task.process.send_signal(signal.SIGUSR1)
    assert task.process.wait(60) == 0
    assert task.calls() == []


@pytest.mark.parametrize(
    ("ends", "restarts", "calls"),
    [
        ("exit 4", "0", []),
        ("kill -9 $$", "0", ["requeue 7_2"]),
        ("kill -9 $$", "2", ["requeue 7_2"]),
        ("kill -9 $$", "3", []),
    ],
)
def test_a_program_that_fails_ends_the_script(tmp_path, ends, restarts, calls):
    task = Task(tmp_path, "bash", "-c", ends, environment={"SLURM_RESTART_COUNT": restarts})
    assert task.process.wait(60) == (4 if "4" in ends else 137)
    assert task.calls() == calls
    assert not (tmp_path / "second").exists()


def test_words_reach_the_program_as_they_are(tmp_path):
    awkward = "a b'c\"d$HOME\n`e`\\ *;#"
    job = Job("run", "Tries.", [["echo", awkward, "$folder", Filled("$folder")]], NEEDS, 2, {"folder": ["x", awkward]})
    text = script_of(job, Queue(), tmp_path, Path("/"))
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    assert commands(text) == [["echo", awkward, "$folder", awkward]]


def test_scripts_on_a_disk_that_holds_no_programs_are_submitted(tmp_path):
    begin = tmp_path / "submit.sh"
    begin.write_text("echo detect 41\necho apply 42\n")
    begin.chmod(0o644)
    assert submit(begin) == {"detect": "41", "apply": "42"}


def test_jobs_that_slurm_does_not_take_are_told(tmp_path):
    tool = tmp_path / "bin/sbatch"
    tool.parent.mkdir()
    tool.write_text(
        '#!/bin/bash\n[[ "$*" == *afterok* ]] && { echo "Invalid partition" >&2; exit 1; }\necho "41;main"\n'
    )
    tool.chmod(0o755)
    binary, probe = small_recording.write(tmp_path, small_recording.samples(40_000))
    done = driftcli("submit", binary, "--probe", probe, *SAID, "--shards", 2, "--go", env={
        **os.environ, "PATH": f"{tool.parent}:{os.environ['PATH']}"})  # fmt: skip
    assert done.returncode == 4
    assert "did not take all jobs: Invalid partition" in done.stderr
    assert "scancel 41 " in done.stderr


def test_nothing_is_submitted_where_a_job_could_never_run(tmp_path):
    called = tmp_path / "called"
    tool = tmp_path / "bin/sbatch"
    tool.parent.mkdir()
    tool.write_text(
        f'#!/bin/bash\necho "$@" >> {called}\n'
        '[[ "$*" != *2-apply* ]] || { echo "Requested node configuration is not available" >&2; exit 1; }\necho 41\n'
    )
    tool.chmod(0o755)
    jobs = [Job(name, "Tries.", [["true"]], NEEDS) for name in ("detect", "apply")]
    begin = write_scripts(jobs, Queue(), tmp_path / "a b'$c", tmp_path)
    done = subprocess.run(
        ["bash", begin],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": f"{tool.parent}:{os.environ['PATH']}"},
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "2-apply.sbatch: Requested node configuration is not available\n"
    scripts_of_jobs = [begin.with_name("1-detect.sbatch"), begin.with_name("2-apply.sbatch")]
    assert called.read_text().splitlines() == [f"--test-only {path}" for path in scripts_of_jobs]


def test_a_folder_that_slurm_can_not_name_is_refused(tmp_path):
    with pytest.raises(UsageError, match="can't write its logs"):
        write_scripts([], Queue(), tmp_path / "a\\b", tmp_path)
    assert not [*tmp_path.iterdir()]
