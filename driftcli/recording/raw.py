"""Raw binary recordings: little-endian int16 or float32, samples x columns, described by options and a probe file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from driftcli.errors import InputError, UsageError
from driftcli.recording.content import oddities
from driftcli.recording.mtscomp import SUFFIX, CompressedSamples, header_of, open_compressed
from driftcli.recording.options import Options
from driftcli.recording.probe import Layout, NamedProbe, lay_out, require_fit
from driftcli.recording.recording import Part, Recording
from driftcli.recording.samples import BinarySamples
from driftcli.reporter import Reporter

DEFAULT_SAMPLING_FREQUENCY_HZ = 30000.0
DEFAULT_DTYPE = "int16"
_COMMON_CHANNEL_COUNTS = (385, 384, 1540, 1536, 256, 128, 64, 32, 16)


def open_raw(path: Path, probe: NamedProbe | None, options: Options, reporter: Reporter) -> Recording:
    """Open the existing file `path` as raw samples. Raises UsageError without a probe, InputError if it doesn't fit."""
    if probe is None:
        raise UsageError(f"{path.name} does not say where its contacts are", _hint_without_probe(path))
    layout = lay_out(probe.group, probe.name, reporter)
    samples: CompressedSamples | BinarySamples
    if path.suffix == SUFFIX:
        samples = open_compressed(path, options, reporter)
        options = _as_header_says(samples, options)
    else:
        samples = _samples(path, layout, options, reporter)
    require_fit(layout, samples.num_columns, probe.name, path.name)
    gain = None if options.gain_to_uv is None else np.full(len(layout.columns), options.gain_to_uv)
    recording = Recording(
        inputs={"recording": path, **header_of(samples), **probe.inputs()},
        samples=samples,
        parts=(Part(path, 0, samples.num_samples),),
        dtype=samples.dtype,
        num_columns=samples.num_columns,
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


def _samples(path: Path, layout: Layout, options: Options, reporter: Reporter) -> BinarySamples:
    dtype = np.dtype(options.dtype or DEFAULT_DTYPE).newbyteorder("<")
    num_columns = _number_of_columns(path, layout, dtype.itemsize, options, reporter)
    num_samples = _number_of_samples(path, layout, dtype, num_columns, options, reporter)
    return BinarySamples(path, dtype, num_columns, num_samples, options.first_byte)


def _as_header_says(samples: CompressedSamples, options: Options) -> Options:
    """The options with what the header of a compressed file says. UsageError where the two contradict each other."""
    for option, given, found in (
        ("--num-channels", options.num_channels, samples.num_columns),
        ("--sampling-frequency", options.sampling_frequency_hz, samples.sampling_frequency_hz),
        ("--dtype", options.dtype, samples.dtype.name),
        ("--offset-bytes", options.offset_bytes, 0),
    ):
        if given is not None and given != found:
            header = samples.header_path.name
            raise UsageError(f"{option} {given} contradicts {header}, which says {found}", f"leave {option} away")
    return replace(options, sampling_frequency_hz=samples.sampling_frequency_hz, offset_bytes=None)


def _hint_without_probe(path: Path) -> str:
    hint = "give --probe with a probeinterface JSON or a .prb file"
    if path.name.endswith((".ap.bin", ".lf.bin", ".ap.cbin", ".lf.cbin")):
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


def _number_of_samples(
    path: Path, layout: Layout, dtype: np.dtype[Any], num_columns: int, options: Options, reporter: Reporter
) -> int:
    size_bytes = path.stat().st_size - options.first_byte
    if size_bytes <= 0:
        raise InputError(f"{path} ends before its {options.first_byte} offset bytes do", "check --offset-bytes")
    num_samples, surplus = divmod(size_bytes, num_columns * dtype.itemsize)
    if not surplus:
        return num_samples
    wrong = f"{surplus:,} bytes more than {num_samples:,} whole frames of {num_columns} {dtype.name} channels"
    if not options.truncated_ok or not num_samples:
        hint = _hint_on_size(size_bytes, dtype.itemsize, num_columns, layout)
        raise InputError(f"{path} holds {wrong}", f"{hint}; --truncated ok goes on with the whole frames there are")
    reporter.message(f"{path.name} holds {wrong}: going on with the whole frames")
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
