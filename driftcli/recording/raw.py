"""Raw binary recordings: little-endian int16 or float32, samples x columns, described by options and a probe file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from driftcli.errors import InputError, UsageError
from driftcli.recording.content import oddities
from driftcli.recording.options import Options
from driftcli.recording.probe import Layout, NamedProbe, lay_out, require_fit
from driftcli.recording.recording import Recording
from driftcli.reporter import Reporter

DEFAULT_SAMPLING_FREQUENCY_HZ = 30000.0
DEFAULT_DTYPE = "int16"
_COMMON_CHANNEL_COUNTS = (385, 384, 1540, 1536, 256, 128, 64, 32, 16)


def open_raw(path: Path, probe: NamedProbe | None, options: Options, reporter: Reporter) -> Recording:
    """Open the existing file `path` as raw samples. Raises UsageError without a probe, InputError if it doesn't fit."""
    if probe is None:
        raise UsageError(f"{path.name} does not say where its contacts are", _hint_without_probe(path))
    layout = lay_out(probe.group, probe.name, reporter)
    dtype = np.dtype(options.dtype or DEFAULT_DTYPE).newbyteorder("<")
    num_columns = _number_of_columns(path, layout, dtype.itemsize, options, reporter)
    require_fit(layout, num_columns, probe.name, path.name)
    num_samples = _number_of_samples(path, layout, dtype, num_columns, options.first_byte)
    gain = None if options.gain_to_uv is None else np.full(len(layout.columns), options.gain_to_uv)
    recording = Recording(
        path=path,
        inputs={"recording": path, **probe.inputs()},
        dtype=dtype,
        num_samples=num_samples,
        num_columns=num_columns,
        sampling_frequency_hz=_sampling_frequency_hz(options, reporter),
        offset_bytes=options.first_byte,
        geometry=layout.geometry,
        columns=layout.columns,
        gain_to_uv=gain,
        probegroup=probe.group,
    )
    for oddity in oddities(recording):
        reporter.message(oddity)
    return recording


def _hint_without_probe(path: Path) -> str:
    hint = "give --probe with a probeinterface JSON or a .prb file"
    if path.name.endswith((".ap.bin", ".lf.bin")):
        return f"put {path.with_suffix('.meta').name} beside it, or {hint}"
    return hint


def _sampling_frequency_hz(options: Options, reporter: Reporter) -> float:
    if options.sampling_frequency_hz is not None:
        return float(options.sampling_frequency_hz)
    reporter.message(
        f"no sampling frequency given: taking {DEFAULT_SAMPLING_FREQUENCY_HZ:.0f} Hz (--sampling-frequency changes it)"
    )
    return DEFAULT_SAMPLING_FREQUENCY_HZ


def _number_of_columns(path: Path, layout: Layout, itemsize: int, options: Options, reporter: Reporter) -> int:
    """As given, else as the probe says: its highest wired column, or its number of contacts if only that one fits.

    The two differ when contacts are unconnected, which may or may not have a column in the file.
    """
    if options.num_channels is not None:
        return options.num_channels
    wired, contacts = layout.num_wired_columns, layout.num_contacts
    if contacts <= wired:
        return wired
    size_bytes = path.stat().st_size - options.first_byte
    only_contacts_fit = size_bytes % (wired * itemsize) != 0 and size_bytes % (contacts * itemsize) == 0
    chosen = contacts if only_contacts_fit else wired
    reporter.message(
        f"the probe has {contacts} contacts and wires columns up to {wired - 1}: taking {chosen} channels in the file "
        "(--num-channels changes it)"
    )
    return chosen


def _number_of_samples(path: Path, layout: Layout, dtype: np.dtype[Any], num_columns: int, offset_bytes: int) -> int:
    size_bytes = path.stat().st_size - offset_bytes
    if size_bytes <= 0:
        raise InputError(f"{path} ends before its {offset_bytes} offset bytes do", "check --offset-bytes")
    num_samples, surplus = divmod(size_bytes, num_columns * dtype.itemsize)
    if surplus:
        raise InputError(
            f"{path} holds {surplus} bytes more than {num_samples} whole frames of {num_columns} {dtype.name} channels",
            _hint_on_size(size_bytes, dtype.itemsize, num_columns, layout),
        )
    return num_samples


def _hint_on_size(size_bytes: int, itemsize: int, num_columns: int, layout: Layout) -> str:
    """Channel counts that divide the file, likeliest first: the probe's, as given plus a sync word, common ones."""
    probes = [layout.num_wired_columns, layout.num_contacts, num_columns + 1, layout.num_contacts + 1]
    near = [num_columns + step for distance in range(1, 9) for step in (distance, -distance)]
    fitting = [
        count
        for count in dict.fromkeys([*probes, *_COMMON_CHANNEL_COUNTS, *near])
        if count >= layout.num_wired_columns and count != num_columns and size_bytes % (count * itemsize) == 0
    ]
    if not fitting:
        return "no likely channel count fits: check --dtype and --offset-bytes, and that the file was copied whole"
    others = f" ({', '.join(map(str, fitting[1:3]))} would fit, too)" if len(fitting) > 1 else ""
    return f"{fitting[0]} channels would fit: --num-channels {fitting[0]}{others}"
