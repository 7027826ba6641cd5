"""The rows of `driftcli info`, in words for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from driftcli.units import count_of, readable_size, seconds

_MOST_FILES, _MOST_SPANS, _MOST_CHANNELS = 8, 10, 20
Facts = Mapping[str, Any]


def info_rows(facts: Facts) -> dict[str, str]:
    """One row for each thing to know; facts: those of driftcli.workflow.info."""
    recording, probe = facts["recording"], facts["probe"]
    rows = {
        "format": _format(recording),
        **_files(recording),
        "length": f"{seconds(recording['duration_s'])}: {recording['num_samples']:,} samples "
        f"at {recording['sampling_frequency_hz']:.10g} Hz",
        "columns": _columns(recording),
        "gain": _gain(recording),
        "probe": _probe(probe),
        **{f"shank {shank['shank']}": _shank(shank) for shank in probe["shanks"]},
        "in time": _in_time(recording["lined_up"]),
        "bad channels": _bad(facts["bad_channels"]),
    }
    if facts["noise"] is None:
        return {**rows, "a run": "impossible: no contact is good"}
    return {**rows, "noise": _noise(facts["noise"]), **_mask(facts["mask"]), **_cost(facts["cost"], recording)}


def _format(recording: Facts) -> str:
    compressed = ", compressed by mtscomp" if recording["compressed"] else ""
    files = count_of(len(recording["files"]), "file")
    return f"{recording['format']}, {recording['dtype']}{compressed}, {files}, {readable_size(recording['size_bytes'])}"


def _files(recording: Facts) -> dict[str, str]:
    """Where each of several files begins, and what is missing before it."""
    files = recording["files"]
    if len(files) == 1:
        return {}
    told = [_file(each, first=index == 0) for index, each in enumerate(files[:_MOST_FILES])]
    return {"files": "\n".join(told + ["..."] * (len(files) > _MOST_FILES))}


def _file(file: Facts, *, first: bool) -> str:
    name = file["path"].replace("\\", "/").rpartition("/")[2]
    begins = f"{name} from {file['begins_s']:.3f} s"
    if first:
        return begins
    missing_s = file["missing_before_s"]
    if missing_s is None:
        return f"{begins}, some unknown time after the file before"
    return (
        f"{begins}, {missing_s:.3f} s after the end of the file before" if missing_s else f"{begins}, without a break"
    )


def _columns(recording: Facts) -> str:
    kinds = {name: number for name, number in recording["columns"].items() if number}
    names = {"ap": "AP", "lf": "LF", "sync": "sync", "with_contact": "with a contact", "without_contact": "without one"}
    return f"{recording['num_columns']}: " + ", ".join(f"{number} {names[name]}" for name, number in kinds.items())


def _gain(recording: Facts) -> str:
    gain = recording["gain_to_uv"]
    if gain is None:
        text = "unknown: amplitudes are in file units"
    elif isinstance(gain, list):
        text = f"{min(gain):.6g} to {max(gain):.6g} µV per count"
    else:
        text = f"{gain:.6g} µV per count"
    if recording["full_scale"] is None:
        return text
    low, high = recording["full_scale"]
    in_mv = recording["full_scale_uv"]
    return f"{text}; the converter gives {low} to {high}" + (f", up to {in_mv[1] / 1e3:.3g} mV" if in_mv else "")


def _probe(probe: Facts) -> str:
    part = f" ({probe['part']}" + (f", type {probe['type']}" if probe["type"] else "") + ")" if probe["part"] else ""
    name = f"{probe['name']}{part}" if probe["name"] != probe["part"] else probe["name"]
    several = [count_of(probe["probes"], "probe")] if probe["probes"] > 1 else []
    sites = f" on {probe['sites']:,} sites" if probe["sites"] else ""
    told = [*([name] if name else []), *several, count_of(len(probe["shanks"]), "shank")]
    told.append(f"{count_of(probe['contacts'], 'contact')}{sites}")
    if probe["unconnected"]:
        told.append(f"{probe['unconnected']} more not connected")
    return ", ".join(told)


def _shank(shank: Facts) -> str:
    low, high = shank["depth_um"]
    bad = f" ({shank['bad']} bad)" if shank["bad"] else ""
    columns = count_of(shank["columns"], "column") + _apart(shank["column_pitch_um"])
    rows = count_of(shank["rows"], "row") + _apart(shank["row_pitch_um"])
    return f"{count_of(shank['contacts'], 'contact')}{bad} from {low:g} to {high:g} µm in {columns}, {rows}"


def _apart(pitch_um: list[float] | None) -> str:
    if pitch_um is None:
        return ""
    low, high = pitch_um
    return f" {low:g} µm apart" if low == high else f" {low:g} to {high:g} µm apart"


def _in_time(lined_up: Facts) -> str:
    if lined_up["already"]:
        return f"channels are lined up: {lined_up['reason']}"
    by_run = f"a run lines them up ({lined_up['reason']})"
    return f"channels are not lined up: {by_run if lined_up['by_run'] else lined_up['reason']}"


def _bad(bad: Facts) -> str:
    says = {"meta": "by the meta", "user": "by --bad-channels", "data": "in the data"}
    told = [
        f"{len(channels)} {name.replace('_', ' ')} {says[who]} ({_numbers(channels)})"
        for who, by_name in bad.items()
        for name, channels in by_name.items()
    ]
    return "\n".join(told) or "none"


def _numbers(channels: list[int]) -> str:
    return ", ".join(map(str, channels[:_MOST_CHANNELS])) + (", ..." if len(channels) > _MOST_CHANNELS else "")


def _noise(noise: Facts) -> str:
    unit = "µV" if noise["unit"] == "uV" else noise["unit"]
    levels = f"median {noise['median']:.3g} {unit}, from {noise['lowest']:.3g} to {noise['highest']:.3g} {unit}"
    return f"{levels}, of the preprocessed traces"


def _mask(mask: Facts | None) -> dict[str, str]:
    if mask is None:
        return {"left out": "not looked for, as the preset says mask.method=none"}
    part = (
        "all of it" if mask["full"] else f"{mask['looked_at_share']:.1%} of it, in {count_of(mask['slices'], 'slice')}"
    )
    rows = {"looked at": f"{seconds(mask['looked_at_s'])}, {part}" + ("" if mask["full"] else " (--full: all of it)")}
    reasons = [f"{name} {share:.2%}" for name, share in mask["share"].items() if share and name != "any"]
    rows["left out"] = f"{mask['share']['any']:.2%} of that: {', '.join(reasons)}" if reasons else "nothing"
    if mask["spans"]:
        told = [f"{each['reason']} {each['start_s']:.3f}-{each['stop_s']:.3f} s" for each in mask["spans"]]
        more = len(told) - _MOST_SPANS
        rows["spans"] = "\n".join(told[:_MOST_SPANS] + [f"and {more:,} more (--json lists all)"] * (more > 0))
    return rows


def _cost(cost: Facts, recording: Facts) -> dict[str, str]:
    """What a run would take."""
    times, memory, disk = cost["time_s"], cost["memory_bytes"], cost["disk_bytes"]
    steps = [f"{name} {seconds(value)}" for name, value in times.items() if value is not None and name != "total"]
    without = "" if times["estimate"] is not None else "the estimate, the verdict and "
    speed = recording["duration_s"] / times["total"]
    room = (
        f"{readable_size(disk['free'])} free" if disk["enough"] else f"too little: {readable_size(disk['free'])} free"
    )
    sizes = {name: readable_size(n_bytes) for name, n_bytes in memory.items()}
    return {
        "a run takes": f"about {seconds(times['total'])} ({speed:.2g} × real time, {count_of(cost['jobs'], 'job')}), "
        f"without {without}what the disk takes to write",
        "of which": ", ".join(steps),
        "memory": f"about {sizes['most']}: {sizes['streaming']} for detect and apply, "
        f"{sizes['estimate']} for the estimate of about {cost['peaks']:,} peaks",
        "disk": f"up to {readable_size(disk['corrected'])} for the corrected binary and "
        f"{readable_size(disk['peaks'])} for the peaks; "
        f"{room} at {disk['folder']}",
    }
