"""`driftcli --version`, alone and with what a bug report needs."""

import os
import subprocess
import sys

from driftcli import __version__
from driftcli.cli import show_machine
from driftcli.workflow import machine


def driftcli(*arguments, **variables):
    command = [sys.executable, "-m", "driftcli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ, **variables})


def test_version_alone_loads_no_numerics():
    code = (
        "import sys; sys.argv = ['driftcli', '--version']\n"
        "from driftcli.cli import main\n"
        "try: main.main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "heavy = {'numpy', 'numba', 'llvmlite', 'scipy', 'h5py', 'driftcli.workflow'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, f"driftcli {__version__}\n"), done.stderr


def test_verbose_tells_what_a_report_needs(tmp_path, monkeypatch):
    for name in machine.THREAD_VARIABLES:  # libraries of other tests may have set some
        monkeypatch.delenv(name, raising=False)
    facts = {"SLURM_CPUS_PER_TASK": "1", "OMP_NUM_THREADS": "3", "NUMBA_CACHE_DIR": str(tmp_path)}
    for order in (("--version", "--verbose"), ("--verbose", "--version")):
        done = driftcli(*order, **facts)
        assert done.returncode == 0, done.stderr
        first, *lines = done.stdout.splitlines()
        assert first == f"driftcli {__version__}"
        rows = dict(line.split(": ", 1) for line in lines)
        for name, version in machine.versions().items():
            assert name == "driftcli" or rows[name] == version
        assert rows["CPU"].endswith(f"kernels for {machine.cpu_type()}")
        assert "SLURM_CPUS_PER_TASK 1" in rows["CPUs"]
        assert rows["CPUs"].startswith(f"1 of {os.cpu_count()}, by ")
        assert rows["threads"] == "1 unless --jobs says otherwise, OMP_NUM_THREADS=3"
        assert " GB" in rows["memory"]
        assert rows["kernels"] == f"{tmp_path}, not compiled yet"


def test_a_memory_limit_is_told(monkeypatch):
    monkeypatch.setattr(machine, "memory_limit_bytes", lambda: 2_500_000_000)
    assert any(line.endswith("allows 2.5 GB") for line in show_machine.machine_lines())


def test_verbose_is_of_version_alone():
    done = driftcli("--verbose", "presets", "list")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Try: driftcli --version --verbose." in done.stderr
