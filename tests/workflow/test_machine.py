"""CPUs and memory that a process may use, told by files as the kernel writes them; and what driftcli runs on."""

import json
import os
import re
import subprocess
import sys
import zlib

import pytest

from driftcli.workflow import machine
from driftcli.workflow.machine import allotted_cpus, cpu_limits, cpu_model, cpu_type, describe, memory_limit_bytes


@pytest.fixture(autouse=True)
def affinity(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(12)))


@pytest.fixture
def root(tmp_path):
    """Writes files below a root of its own."""

    def write(**files):
        for name, text in files["files"].items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return tmp_path

    return write


V2 = "sys/fs/cgroup"
JOB = "system.slice/slurmstepd.scope/job_7/step_0"


def in_v2(path=JOB, mount=V2, **limits):
    """Files of a process in the group `path`; limits are those of the groups at a depth: d0 is the root's."""
    parts = path.split("/") if path else []
    files = {"proc/self/cgroup": f"0::/{path}\n"}
    for depth, text in limits.items():
        files["/".join([mount, *parts[: int(depth[1:])], "cpu.max"])] = text
    return files


@pytest.mark.parametrize(
    ("limits", "cpus"),
    [
        ({}, 12),
        ({"d4": "400000 100000\n"}, 4),
        ({"d4": "max 100000\n"}, 12),
        ({"d4": "max 100000\n", "d3": "300000 100000\n"}, 3),  # a group around it has the limit
        ({"d4": "800000 100000\n", "d2": "200000 100000\n", "d0": "500000 100000\n"}, 2),
        ({"d4": "250000 100000\n"}, 3),
        ({"d4": "10000 100000\n"}, 1),
        ({"d4": "100000 50000\n"}, 2),
        ({"d4": "9900000 100000\n"}, 12),
        ({"d4": "0 100000\n", "d3": "100000 0\n", "d2": "nonsense", "d1": "", "d0": "-1 x"}, 12),
    ],
)
def test_the_smallest_quota_from_the_group_to_the_root_counts(root, limits, cpus):
    assert allotted_cpus(root(files=in_v2(**limits)), {}) == cpus


def test_version_2_beside_version_1(root):
    assert allotted_cpus(root(files=in_v2(mount=f"{V2}/unified", d4="200000 100000")), {}) == 2


@pytest.mark.parametrize("path", ["docker/0123abc", "../../user.slice"])
def test_in_a_container_the_mount_is_its_group(root, path):
    """The path is that of the host, where the mount shows the container's own group only."""
    files = {"proc/self/cgroup": f"0::/{path}\n", f"{V2}/cpu.max": "150000 100000\n", "cpu.max": "100000 100000"}
    assert cpu_limits(root(files=files), {}) == {"affinity": 12, "cgroup": 2}


@pytest.mark.parametrize("mount", ["cpu,cpuacct", "cpu"])
def test_quotas_of_version_1(root, mount):
    folder = f"{V2}/{mount}/docker/ab"
    files = {
        "proc/self/cgroup": "5:memory:/docker/ab\n4:cpu,cpuacct:/docker/ab\n3:cpuset:/\n1:name=systemd:/x:y\nodd\n",
        f"{folder}/cpu.cfs_quota_us": "-1\n",
        f"{folder}/cpu.cfs_period_us": "100000\n",
    }
    assert allotted_cpus(root(files=files), {}) == 12
    files |= {f"{V2}/{mount}/docker/cpu.cfs_quota_us": "350000", f"{V2}/{mount}/docker/cpu.cfs_period_us": "100000"}
    assert allotted_cpus(root(files=files), {}) == 4
    files[f"{folder}/cpu.cfs_quota_us"] = "50000"
    assert allotted_cpus(root(files=files), {}) == 1


def test_a_cpuset_group_is_none_of_quotas(root):
    files = {"proc/self/cgroup": "3:cpuset:/a\n", f"{V2}/cpuset/a/cpu.cfs_quota_us": "100000"}
    files |= {f"{V2}/cpuset/a/cpu.cfs_period_us": "100000"}
    assert allotted_cpus(root(files=files), {}) == 12


@pytest.mark.parametrize(
    ("name", "job"),
    [
        ("SLURM_CPUS_PER_TASK", {}),
        ("NSLOTS", {"SGE_TASK_ID": "undefined"}),
        ("PBS_NCPUS", {"PBS_JOBID": "1.server"}),
        ("NCPUS", {"PBS_JOBID": "1.server"}),
        ("PBS_NUM_PPN", {"PBS_JOBID": "1.server"}),
        ("LSB_DJOB_NUMPROC", {"LSB_JOBID": "1"}),
    ],
)
def test_what_a_cluster_allots_counts(root, name, job):
    empty = root(files={})
    for text, cpus in (("4", 4), ("16", 12), ("", 12), ("nonsense", 12), ("0", 12), ("-2", 12), ("²", 12), ("3.5", 12)):
        assert allotted_cpus(empty, {name: text, **job}) == cpus, text
    assert cpu_limits(empty, {name: "4", **job}) == {"affinity": 12, name: 4}
    if job:  # without a job the variable may be anything
        assert allotted_cpus(empty, {name: "4"}) == 12


def test_the_smallest_of_all_limits_counts_and_the_environment_is_the_process_own(root, monkeypatch):
    here = root(files=in_v2(d4="300000 100000"))
    assert allotted_cpus(here, {"SLURM_CPUS_PER_TASK": "2"}) == 2
    assert allotted_cpus(here, {"SLURM_CPUS_PER_TASK": "5"}) == 3
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    assert allotted_cpus() == 1


def test_memory_limits(root):
    files = {"proc/self/cgroup": "0::/a/b\n", f"{V2}/a/b/memory.max": "max\n"}
    assert memory_limit_bytes(root(files=files)) is None
    files[f"{V2}/a/memory.max"] = "2000000000\n"
    assert memory_limit_bytes(root(files=files)) == 2_000_000_000
    files["proc/self/cgroup"] = "0::/\n4:memory:/c\n"
    files[f"{V2}/memory/c/memory.limit_in_bytes"] = "9223372036854771712\n"
    assert memory_limit_bytes(root(files=files)) is None
    files[f"{V2}/memory/memory.limit_in_bytes"] = "3000"
    assert memory_limit_bytes(root(files=files)) == 3000


def test_the_cpu_model_is_read_where_it_is_told(root):
    assert cpu_model(root(files={"proc/cpuinfo": "processor\t: 0\nmodel\t\t: 7\nmodel name\t: A CPU: fast\n"})) == (
        "A CPU: fast"
    )
    assert cpu_model(root(files={"proc/cpuinfo": "processor\t: 0\nBogoMIPS\t: 50.00\n"})) == os.uname().machine


def test_the_cpu_type_is_the_same_in_every_process_and_changes_with_what_numba_compiles_for():
    def in_process(**variables):
        code = "from driftcli.workflow.machine import cpu_type; import sys; print(cpu_type(), 'numpy' in sys.modules)"
        environment = {**os.environ, **variables}
        return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True).stdout

    seen = in_process()
    assert seen == f"{cpu_type()} False\n"
    assert re.fullmatch(r"[\w.-]+\+[0-9a-f]{8}", cpu_type())
    assert len({seen, in_process(NUMBA_CPU_NAME="generic"), in_process(NUMBA_CPU_FEATURES="")}) == 3


def test_the_description_holds_what_a_report_needs():
    facts = describe()
    assert json.loads(json.dumps(facts)) == facts
    assert set(facts["versions"]) == {"driftcli", "python", *machine.LIBRARIES, "zlib"}
    assert facts["versions"]["zlib"] == zlib.ZLIB_RUNTIME_VERSION
    assert facts["cpus_allotted"] == allotted_cpus() == min(facts["cpu_limits"].values())
    assert facts["cpus"] == os.cpu_count()
    assert 2**27 < facts["memory_bytes"] < 2**50
    assert facts["system"].startswith("Linux")
