"""Slurm: the scripts of jobs that wait for each other, and handing them to sbatch.

What a script asks Slurm for stands in its `#SBATCH` lines (sbatch(1)). A task that Slurm ends early goes on by itself:

- before its time is up it gets USR1, as `--signal` asks for. The script has driftcli end with what is done, which takes
  a chunk, and puts the task back into the queue, up to a number of times. A command that keeps nothing of what isn't
  whole would not get further then: its task ends. USR1 and not TERM, as scancel sends that: who cancels a job doesn't
  want it back.
- a node that fails, or is needed for another job: `--requeue` lets Slurm start the task again.
- a program that was killed, such as for its memory: the script puts the task back a few times.

Every command has --resume, so that a second try begins with the first command that isn't done, and where that can,
from what is done of it.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from driftcli import __version__
from driftcli.errors import OutputError, UsageError
from driftcli.files import atomic

NOTICE_S = 120
"""How long before its time is up a task is told; Slurm does so up to 60 s earlier."""
_LEAST_S = 300  # of a job that shall get anywhere between two notices
_MOST_KILLED = 3
_MOST_LATE = 20
"""So often a task is put back into the queue, counting all of its restarts."""
_BEGIN = "submit.sh"
_TIME = re.compile(
    r"(?P<d>\d+)-(?P<dh>\d+)(?::(?P<dm>\d+)(?::(?P<ds>\d+))?)?"
    r"|(?P<h>\d+):(?P<hm>\d+):(?P<hs>\d+)"
    r"|(?P<m>\d+)(?::(?P<s>\d+))?",
    re.ASCII,
)
_OWN = {
    "-a --array": "give --shards and --at-once: only some of the jobs are arrays",
    "-d --dependency": "submit says what waits for what; to wait for other jobs, hand its scripts to sbatch yourself",
}
_UNITS_S = {"d": 86400, "dh": 3600, "dm": 60, "ds": 1, "h": 3600, "hm": 60, "hs": 1, "m": 60, "s": 1}


@dataclass(frozen=True)
class Needs:
    """What a task needs. time, memory: as Slurm writes them, such as 0-01:30:00 and 4000M."""

    cpus: int
    time: str
    memory: str


@dataclass(frozen=True)
class Queue:
    """Where jobs wait, and what else Slurm is to be told.

    at_once: tasks of an array that may run at a time, None: any number. lines: such as `--constraint=zen3`.
    """

    partition: str | None = None
    account: str | None = None
    at_once: int | None = None
    lines: Sequence[str] = ()

    def __post_init__(self) -> None:
        for text in (self.partition, self.account, *self.lines):
            require_line(text or "")
        for line in self.lines:
            words = _words(line)
            if not line.startswith("-") or not words:
                raise UsageError(f"{line!r} is no option of sbatch", "for example --sbatch --constraint=zen3")
            for option, hint in _OWN.items():
                if any(_is_option(word, option) for word in words):
                    raise UsageError(f"--sbatch {option.split()[1]} is for submit itself to give", hint)

    @property
    def one_type(self) -> bool:
        """Whether the nodes are picked by what they have, which may be their type of CPU."""
        return any(_is_option(word, "-C --constraint") for line in self.lines for word in _words(line))


def _words(line: str) -> list[str]:
    """Of a line of options; none where a quote is left open."""
    try:
        return shlex.split(line)
    except ValueError:
        return []


def _is_option(word: str, names: str) -> bool:
    """Whether sbatch takes a word for an option of these names: `-a`, or `--array` or what that begins with."""
    letter, name = names.split()
    if word.startswith("--"):
        return len(word) > 2 and name.startswith(word.partition("=")[0])
    return word.startswith(letter)


class Filled(str):
    """A word of a command in which bash fills in variables, such as `$folder`; in all others a $ is a $."""


@dataclass(frozen=True)
class Job:
    """A script to be.

    name: for Slurm and the file. purpose: what a reader is told. commands: words of each command line. tasks: of an
    array, None for a job that is none. lists: variables, each with its value in every task. goes_on: whether a
    command that was ended goes on where it was; else it begins anew.
    """

    name: str
    purpose: str
    commands: Sequence[Sequence[str]]
    needs: Needs
    tasks: int | None = None
    lists: Mapping[str, Sequence[str]] = field(default_factory=dict)
    goes_on: bool = True


def require_line(text: str) -> None:
    """Raise UsageError for what can't stand in a line of a script."""
    if not text.isprintable():
        raise UsageError(f"{text!r} can't stand in a line of a Slurm script", "leave out line breaks and the like")


def require_memory(text: str) -> None:
    """Raise UsageError unless Slurm reads it as an amount of memory."""
    if re.fullmatch(r"[0-9]+([KMGT]B?)?", text, re.IGNORECASE | re.ASCII) is None:
        raise UsageError(f"{text!r} is no amount of memory to Slurm", "whole numbers of M, G or T, such as --mem 8G")


def require_time(text: str) -> None:
    """Raise UsageError unless Slurm reads it as a time limit, which is long enough to get anywhere."""
    found = _TIME.fullmatch(text)
    if found is None:
        raise UsageError(f"{text!r} is no time limit", "minutes, H:MM:SS or D-HH:MM:SS, such as --time 4:00:00")
    seconds = sum(int(number) * _UNITS_S[unit] for unit, number in found.groupdict().items() if number)
    if 0 < seconds < _LEAST_S:  # to Slurm 0 means no limit
        told = f"tasks are told {NOTICE_S} to {NOTICE_S + 60} s before their time is up"
        raise UsageError(f"a time limit of {text} is too short: {told}", "give --time 5 or more")


def time_limit(seconds: float) -> str:
    """Whole minutes, as Slurm writes them: 1-02:30:00."""
    minutes = max(1, -int(-seconds // 60))
    return f"{minutes // 1440}-{minutes // 60 % 24:02}:{minutes % 60:02}:00"


def write_scripts(jobs: Sequence[Job], queue: Queue, folder: Path, here: Path) -> Path:
    """Write a script for each job, and one that submits them all, into `folder`, where their logs go, too.

    here: what relative names in options are relative to. Returns the path of the one to run.
    """
    folder = folder.absolute()
    if "\\" in str(folder) or not str(folder).isprintable():
        raise UsageError(f"Slurm can't write its logs into {str(folder)!r}", "choose another --out, without \\")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"the folder {folder} can't be made: {error.strerror}", "choose another --out") from error
    paths = [folder / f"{number}-{job.name}.sbatch" for number, job in enumerate(jobs, 1)]
    begin = folder / _BEGIN
    texts = [script_of(job, queue, folder, here) for job in jobs]
    for path, text in zip([*paths, begin], [*texts, _begin_of(jobs, paths)], strict=True):
        with atomic(path) as temporary:
            temporary.write_text(text, encoding="utf-8", errors="surrogateescape")
            temporary.chmod(0o755)
    return begin


def submit(begin: Path) -> dict[str, str]:
    """Run the script that submits all jobs; the number that Slurm gave each of them."""
    try:  # with bash: some disks hold no programs (noexec)
        done = subprocess.run(["bash", str(begin)], capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        raise OutputError(f"bash can't be run: {error.strerror}", f"look at {begin}") from error
    numbers = dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)
    if done.returncode:
        reason = " ".join(done.stderr.split()) or f"{begin.name} ended with {done.returncode}"
        hint = f"scancel {' '.join(numbers.values())} to take back those that are submitted" if numbers else ""
        raise OutputError(f"Slurm did not take all jobs: {reason}", hint or f"look at the scripts in {begin.parent}")
    return numbers


def script_of(job: Job, queue: Queue, logs: Path, here: Path) -> str:
    """The text of a job's script."""
    task = "$SLURM_JOB_ID" if job.tasks is None else "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"
    late = f"most_late={_MOST_LATE}" if job.goes_on else "most_late=0  # what isn't whole is not kept"
    parts = [_head(job, queue, logs), f"task={task}\n{late}", _SIGNALS, f"cd {shlex.quote(str(here))} || exit"]
    parts += [_list(name, items) for name, items in job.lists.items()]
    return "\n\n".join([*parts, *map(_command, job.commands)]) + "\n"


def _head(job: Job, queue: Queue, logs: Path) -> str:
    number = "%j" if job.tasks is None else "%A_%a"
    after = "goes on where it was" if job.goes_on else "begins anew with the command that it was at"
    at_once = "" if queue.at_once is None else f"%{queue.at_once}"
    asked = [
        f"--job-name=driftcli-{job.name}",
        *([] if job.tasks is None else [f"--array=1-{job.tasks}{at_once}"]),
        f"--cpus-per-task={job.needs.cpus}",
        f"--mem={job.needs.memory}",
        f"--time={job.needs.time}",
        *([] if queue.partition is None else [f"--partition={queue.partition}"]),
        *([] if queue.account is None else [f"--account={queue.account}"]),
        f"--output={_quoted(logs)}/%x-{number}.out",
    ]
    lines = [
        "#!/bin/bash",
        f"# {job.purpose}",
        f"# Written by driftcli submit, version {__version__}.",
        "#",
        *(f"#SBATCH {each}" for each in asked),
        "# A second try adds to the log of the first one.",
        "#SBATCH --open-mode=append",
        f"# Slurm may start a task again whose node failed; it {after}.",
        "#SBATCH --requeue",
        f"# USR1 comes {NOTICE_S} s before the time is up: see below.",
        f"#SBATCH --signal=B:USR1@{NOTICE_S}",
        "# What waits for a job that has failed is taken back, instead of waiting forever.",
        "#SBATCH --kill-on-invalid-dep=yes",
        *(f"#SBATCH {line}" for line in queue.lines),
    ]
    return "\n".join(lines)


def _quoted(path: Path) -> str:
    """A folder as sbatch reads it: % begins what it fills in, blanks and quotes end a word."""
    return '"' + str(path).replace("%", "%%").replace('"', '\\"') + '"'


_SIGNALS = f"""\
# Asked to end, driftcli exits with 143 within seconds. USR1 asks for that as the time is nearly up; TERM, as somebody
# wants the task to end (scancel), so that it doesn't come back.
late= pid=
pass_on() {{ passed=yes; [ -z "$pid" ] || kill -TERM "$pid" 2>/dev/null; }}
trap 'late=yes; pass_on' USR1
trap pass_on TERM

# Puts the task back into the queue, for a reason, where it was begun again less often than so many times.
again() {{
  [ "${{SLURM_RESTART_COUNT:-0}}" -lt "$2" ] || return
  echo "back into the queue: $1"
  scontrol requeue "$task" || echo "Slurm did not let it; submit again with --resume to go on"
}}

# The same as its time is nearly up.
again_later() {{
  again "its time is nearly up" "$1" ||
    echo "did not fit in the time limit: submit again with --resume and a longer --time"
}}

# Runs a command and waits for it. Where it fails the script ends.
run() {{
  [ -z "$late" ] || {{ again_later {_MOST_LATE}; exit 143; }}  # what the command before has done is kept
  "$@" &
  pid=$!
  while :; do
    passed=
    wait "$pid"
    code=$?
    [ -n "$passed" ] || break  # else it is a signal that ended the wait, and not the command that ended
  done
  pid=
  [ "$code" -ne 0 ] || return 0
  if [ -n "$late" ]; then
    again_later "$most_late"
  elif [ "$code" -eq 137 ]; then
    again "it was killed (too little memory?)" {_MOST_KILLED}
  fi
  exit "$code"
}}"""


def _list(name: str, items: Sequence[str]) -> str:
    """A bash list, and the item of it that is this task's."""
    lines = "\n".join(f"  {shlex.quote(item)}" for item in items)
    return f"all_{name}=(\n{lines}\n)\n{name}=${{all_{name}[SLURM_ARRAY_TASK_ID - 1]}}"


def _command(words: Sequence[str]) -> str:
    """A command line with an option per line."""
    lines = ["run"]
    for word in words:
        quoted = f'"{word}"' if isinstance(word, Filled) else shlex.quote(word)
        if word.startswith("--"):
            lines.append(f"  {quoted}")
        else:
            lines[-1] += f" {quoted}"
    return " \\\n".join(lines)


def _begin_of(jobs: Sequence[Job], paths: Sequence[Path]) -> str:
    lines = [
        "#!/bin/bash",
        "# Hands all jobs to Slurm. Each begins when all tasks of the one before have ended well (afterok).",
        "# Written by driftcli submit, which runs it itself with --go.",
        "set -eo pipefail",
        "",
        "# What could never run is not begun: Slurm says why.",
        'try() { told=$(sbatch --test-only "$1" 2>&1) || { echo "$(basename "$1"): $told" >&2; exit 1; }; }',
        "submit() { sbatch --parsable \"$@\" | cut -d ';' -f 1; }  # the job's number, without the cluster's name",
        "",
        *(f"try {shlex.quote(str(path))}" for path in paths),
        "",
    ]
    before = ""
    for job, path in zip(jobs, paths, strict=True):
        wait = f' --dependency=afterok:"${before}"' if before else ""
        lines += [f"{job.name}=$(submit{wait} {shlex.quote(str(path))})", f'echo {job.name} "${job.name}"']
        before = job.name
    return "\n".join(lines) + "\n"
