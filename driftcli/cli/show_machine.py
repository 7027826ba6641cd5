"""What driftcli runs on, as `driftcli --version --verbose` tells it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from driftcli import kernels
from driftcli.units import readable_size


def machine_lines() -> list[str]:
    """Libraries, CPUs, memory, and where compiled kernels are; one line each."""
    from driftcli.workflow.machine import describe

    facts = describe()
    rows = {name: text for name, text in facts["versions"].items() if name != "driftcli"}
    rows |= {
        "CPU": f"{facts['cpu_model']}, kernels for {facts['cpu_type']}",
        "CPUs": _cpus(facts),
        "threads": _threads(facts),
        "memory": _memory(facts),
        "system": ", ".join(filter(None, (facts["system"], facts["distribution"]))),
        "kernels": f"{kernels.place()}, compiled" if kernels.news() is None else f"{kernels.place()}, not compiled yet",
    }
    return [f"{name}: {text}" for name, text in rows.items()]


def _cpus(facts: Mapping[str, Any]) -> str:
    limits = facts["cpu_limits"]
    least = min(limits, key=lambda name: limits[name])
    told = ", ".join(f"{name} {cpus}" for name, cpus in limits.items())
    return f"{facts['cpus_allotted']} of {facts['cpus']}, by {least} ({told})"


def _threads(facts: Mapping[str, Any]) -> str:
    variables = [f"{name}={value}" for name, value in facts["thread_variables"].items()]
    return ", ".join([f"{facts['cpus_allotted']} unless --jobs says otherwise", *variables])


def _memory(facts: Mapping[str, Any]) -> str:
    limit = facts["memory_limit_bytes"]
    total = readable_size(facts["memory_bytes"])
    return total if limit is None else f"{total}, of which the control group allows {readable_size(limit)}"
