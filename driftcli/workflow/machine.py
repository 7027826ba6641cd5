"""What driftcli runs on: CPUs that it may use, the CPU that kernels are compiled for, versions of what it is made of.

Limits on CPUs: the affinity mask; the CPU quota of a control group (Linux kernel, admin-guide/cgroup-v2, `cpu.max`; and
scheduler/sched-bwc for version 1); what a cluster says that it allotted (man pages of sbatch, qsub and bsub).
"""

from __future__ import annotations

import hashlib
import math
import os
import platform
import re
import sys
import zlib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from driftcli import __version__

LIBRARIES = ("numpy", "scipy", "numba", "llvmlite", "h5py", "probeinterface")
CLUSTER_CPUS = {
    "SLURM_CPUS_PER_TASK": "",
    "NSLOTS": "SGE_TASK_ID",  # Grid Engine sets it in every job, to "undefined" in those that are no arrays
    "PBS_NCPUS": "PBS_JOBID",
    "NCPUS": "PBS_JOBID",
    "PBS_NUM_PPN": "PBS_JOBID",
    "LSB_DJOB_NUMPROC": "LSB_JOBID",
}
"""Variables that tell the CPUs of a task; each counts where the other one is set, too, as some names are anybody's."""
THREAD_VARIABLES = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_NUMBA_VARIABLES = ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", "NUMBA_ENABLE_AVX", "NUMBA_OPT")
_VARIABLES = re.compile(  # named one by one, as clusters put secrets into the environment, too
    r"SLURM_(CLUSTER_NAME|JOB_(ID|NAME|PARTITION|NODELIST)|ARRAY_\w+|RESTART_COUNT|CPUS_PER_TASK|MEM_PER_(CPU|NODE)"
    r"|NTASKS|PROCID|STEP_ID)|JOB_ID|NSLOTS|SGE_TASK_\w+|PBS_(JOBID|ARRAY_INDEX|ARRAY_ID|ARRAYID|NCPUS|NUM_PPN)|NCPUS"
    r"|LSB_(JOBID|JOBINDEX\w*|DJOB_NUMPROC)|\w+_NUM_THREADS|NUMBA_\w+|HDF5_USE_FILE_LOCKING|TMPDIR|LANG|LC_ALL"
)
_ROOT = Path("/")
_NO_LIMIT_BYTES = 2**60  # version 1 writes the largest multiple of a page for none


def allotted_cpus(root: Path = _ROOT, environment: Mapping[str, str] | None = None) -> int:
    """CPUs that this process may use: the smallest of all limits."""
    return min(cpu_limits(root, environment).values())


def cpu_limits(root: Path = _ROOT, environment: Mapping[str, str] | None = None) -> dict[str, int]:
    """How many CPUs each limit leaves, by what sets it. What can't be read, or is no number, sets none.

    root: of the file system; environment: that of the process unless given.
    """
    environment = os.environ if environment is None else environment
    limits = {"affinity": len(os.sched_getaffinity(0))}
    quotas = [*_quotas_v2(root), *_quotas_v1(root)]
    if quotas:
        limits["cgroup"] = max(1, math.ceil(min(quotas)))
    for name, present in CLUSTER_CPUS.items():
        cpus = _positive(environment.get(name, ""))
        if cpus is not None and (not present or environment.get(present)):
            limits[name] = cpus
    return limits


def memory_limit_bytes(root: Path = _ROOT) -> int | None:
    """The smallest memory limit of this process's control groups; None: there is none."""
    texts = [_read(folder / "memory.max") for folder in _groups_v2(root)]
    texts += [_read(folder / "memory.limit_in_bytes") for folder in _groups_v1(root, "memory")]
    limits = [limit for limit in map(_positive, texts) if limit is not None and limit < _NO_LIMIT_BYTES]
    return min(limits, default=None)


@cache
def cpu_type() -> str:
    """What numba compiles kernels for, such as `znver3+1a2b3c4d`: the kind of CPU, and a digest of its abilities.

    Kernels give the same bytes on CPUs of one type. It is LLVM's name: two models of a kind may have it in common.
    """
    import llvmlite.binding as llvm

    name = os.environ.get("NUMBA_CPU_NAME") or llvm.get_host_cpu_name()
    try:
        features = llvm.get_host_cpu_features().flatten()
    except RuntimeError:  # LLVM knows no way to find out on this kind of machine
        features = ""
    forced = [f"{variable}={os.environ[variable]}" for variable in _NUMBA_VARIABLES if variable in os.environ]
    digest = hashlib.sha256("\n".join([platform.machine(), features, *forced]).encode()).hexdigest()
    return f"{name}+{digest[:8]}"


def cpu_model(root: Path = _ROOT) -> str:
    """What the CPU is called by its maker, or the kind of machine where the kernel doesn't say."""
    for line in _read(root / "proc/cpuinfo").splitlines():
        name, _, value = line.partition(":")
        if name.strip().lower() == "model name" and value.strip():
            return value.strip()
    return platform.machine()


@cache  # importlib looks for a library's metadata and parses all of it
def versions() -> dict[str, str]:
    """Versions of driftcli and of what its outputs depend on. zlib: the library that is loaded, which compresses."""
    return {
        "driftcli": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
        "zlib": zlib.ZLIB_RUNTIME_VERSION,
    }


def describe() -> dict[str, Any]:
    """The machine and what runs on it, as a bug report needs it: texts, numbers, and mappings of them."""
    limits = cpu_limits()
    return {
        "versions": versions(),
        "cpu_type": cpu_type(),
        "cpu_model": cpu_model(),
        "cpus": os.cpu_count() or 0,
        "cpus_allotted": min(limits.values()),
        "cpu_limits": limits,
        "thread_variables": {name: os.environ[name] for name in THREAD_VARIABLES if name in os.environ},
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "memory_limit_bytes": memory_limit_bytes(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "distribution": _distribution(),
    }


def describe_process() -> dict[str, Any]:
    """The machine, and how this process was called: what the log begins with."""
    variables = {name: text for name, text in sorted(os.environ.items()) if _VARIABLES.fullmatch(name)}
    return {**describe(), "argv": sys.argv, "cwd": _folder(), "environment": variables}


def _folder() -> str:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return ""


def _quotas_v2(root: Path) -> Iterator[float]:
    for folder in _groups_v2(root):
        yield from _quota(*_read(folder / "cpu.max").split()[:2])


def _quotas_v1(root: Path) -> Iterator[float]:
    for folder in _groups_v1(root, "cpu"):
        yield from _quota(_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us"))


def _quota(quota: str = "", period: str = "") -> Iterator[float]:
    """The share of CPUs, if there is a limit: without one the quota is `max`, or -1 in version 1."""
    numbers = _positive(quota), _positive(period)
    if numbers[0] is not None and numbers[1] is not None:
        yield numbers[0] / numbers[1]


def _groups_v2(root: Path) -> list[Path]:
    """Folders of this process's control group and of those around it; `unified` is where version 1 stands beside."""
    paths = [path for controllers, path in _memberships(root) if not controllers]
    mounts = (root / "sys/fs/cgroup", root / "sys/fs/cgroup/unified")
    return [folder for path in paths for mount in mounts for folder in _upwards(mount, path)]


def _groups_v1(root: Path, controller: str) -> list[Path]:
    """The same for one controller of version 1, whose folder may be named after all that are mounted together."""
    found = [(",".join(names), path) for names, path in _memberships(root) if controller in names]
    return [
        folder
        for joined, path in found
        for mount in dict.fromkeys((joined, controller))
        for folder in _upwards(root / "sys/fs/cgroup" / mount, path)
    ]


def _memberships(root: Path) -> list[tuple[list[str], str]]:
    """Controllers (none: version 2) and path of each control group that this process is in."""
    lines = (line.split(":", 2) for line in _read(root / "proc/self/cgroup").splitlines())
    return [([name for name in line[1].split(",") if name], line[2]) for line in lines if len(line) == 3]


def _upwards(mount: Path, path: str) -> Iterator[Path]:
    """Folders from `path` below `mount` up to the mount: each may set a limit.

    In a container the path may be one of the host, which isn't there; the mount then is the container's own group.
    """
    parts = [part for part in path.split("/") if part]
    if ".." in parts:
        parts = []
    for length in range(len(parts), -1, -1):
        yield mount.joinpath(*parts[:length])


def _positive(text: str) -> int | None:
    """The whole number above 0 that a text is; None for anything else."""
    text = text.strip()
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0
    return number or None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        return ""
