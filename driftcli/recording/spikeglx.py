"""SpikeGLX recordings: `X.ap.bin`, described by `X.ap.meta`.

The meta file says how many channels were saved, which, how fast, with what gain, and where the contacts are.
Source: https://billkarsh.github.io/SpikeGLX, its metadata pages.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from probeinterface import Probe, ProbeGroup

from driftcli.errors import InputError, UsageError
from driftcli.model import LARGEST_RATE_HZ
from driftcli.recording.adc import sample_shifts
from driftcli.recording.gains import ap_gains_to_uv, full_scale
from driftcli.recording.lf_band import as_ap, is_lf
from driftcli.recording.meta import META_AS_IT_WAS, Meta, read_meta, shown
from driftcli.recording.mtscomp import SUFFIX, header_of, open_compressed
from driftcli.recording.options import Options
from driftcli.recording.probe import NamedProbe, lay_out, require_fit
from driftcli.recording.recording import Part, Recording
from driftcli.recording.samples import BinarySamples, Samples
from driftcli.recording.saved_channels import SavedChannels, contact_labels, saved_channels
from driftcli.recording.spikeglx_probe import meta_probe
from driftcli.reporter import Reporter

SAMPLE_DTYPE = np.dtype("<i2")
_SIGNS_OF_SPIKEGLX = ("typeThis", "nSavedChans", "snsApLfSy", "~imroTbl")

# What a meta may lack, and what is taken instead.
_ASSUMED = {
    "fileSizeBytes": "taking the whole frames that the file has",
    "fileTimeSecs": "taking the whole frames that the file has",
    "fileSHA1": "its checksum is unknown",
    "fileCreateTime": "its date is unknown",
    "fileName": "the stream is that of the file's name",
    "firstSample": "when it starts within its run is unknown",
    "acqApLfSy": "taking the channels that were saved for those acquired",
    "snsSaveChanSubset": "taking the channels of ~snsChanMap, or else the first AP channels and the last sync words",
    "~snsChanMap": "channels have the numbers of snsSaveChanSubset",
    "imDatPrb_type": "taking the probe for one of type {type}",
    "imDatPrb_pn": "taking the probe for a {part}",
}
_NOT_IN_3A = ("imDatPrb_type", "imDatPrb_pn")


def meta_beside(path: Path) -> Meta | None:
    """The meta of `X.bin`, read from `X.meta`; None where there is no such file or it isn't of SpikeGLX.

    Raises InputError for one beside `X.ap.bin`, which can be of nothing else.
    """
    meta_path = path.with_suffix(".meta")
    if path.suffix not in (".bin", SUFFIX) or not meta_path.is_file():
        return None
    try:
        meta = read_meta(meta_path)
    except OSError as error:
        hint = "check its permissions, or move it away if it is no meta of SpikeGLX"
        raise InputError(f"cannot read {meta_path}: {error.strerror or error}", hint) from error
    if any(key in meta.values for key in _SIGNS_OF_SPIKEGLX):
        return meta
    if path.name.endswith((".ap.bin", ".lf.bin", ".ap.cbin", ".lf.cbin")):
        raise InputError(
            f"{meta_path.name} is no meta of SpikeGLX: it has none of {', '.join(_SIGNS_OF_SPIKEGLX)}",
            "take the meta file that SpikeGLX wrote, or move this one away and give --probe to read the samples as raw",
        )
    return None


def open_spikeglx(
    path: Path,
    meta: Meta,
    probe: NamedProbe | None,
    options: Options,
    reporter: Reporter,
    carried_gain_to_uv: float | None = None,
) -> Recording:
    """Open the existing file `path` as `meta` describes it; a `probe` from a file replaces the geometry of the meta.

    carried_gain_to_uv: that of an earlier verb, which stands in where neither meta nor options tell.
    Raises UsageError for options that contradict the meta, InputError for files that are broken or don't fit.
    """
    lf = options.lf_ok and is_lf(meta)
    if lf:
        meta = as_ap(meta)
    _require_ap(path, meta, options.lf_ok)
    _tell_missing(meta, reporter)
    if meta.values.get("imIsSvyRun") == "true":
        reporter.message(
            f"{path.name} is of a survey, whose contacts change on the way: what looks like motion are other contacts"
        )
    saved = saved_channels(meta)
    labels = contact_labels(meta, saved)
    sampling_frequency_hz = meta.number("imSampRate")
    if sampling_frequency_hz > LARGEST_RATE_HZ:
        raise InputError(
            f"{meta.path.name} has imSampRate={meta.shown('imSampRate')}, which is no rate of a recording",
            META_AS_IT_WAS,
        )
    _require_agreement(options, meta, saved.num_columns, sampling_frequency_hz)
    probe = _probe(meta, saved, probe, reporter)
    layout = lay_out(probe.group, probe.name, reporter)
    require_fit(layout, saved.num_ap, probe.name, f"the AP band of {path.name}")
    samples = _samples(path, meta, saved.num_columns, options, reporter)
    return Recording(
        inputs={"recording": path, "meta": meta.path, **header_of(samples), **probe.inputs()},
        samples=samples,
        parts=(Part(path, 0, samples.num_samples, meta, first_sample(meta)),),
        dtype=SAMPLE_DTYPE,
        num_columns=saved.num_columns,
        sampling_frequency_hz=sampling_frequency_hz,
        offset_bytes=0,
        geometry=layout.geometry,
        columns=layout.columns,
        gain_to_uv=_gains_to_uv(meta, saved, options.gain_to_uv, carried_gain_to_uv)[layout.columns],
        probegroup=probe.group,
        sample_shifts=sample_shifts(meta, saved.acquired, lf).of(layout.columns),
        numbers=np.concatenate([saved.acquired, saved.others]),
        labels=labels[layout.columns],
        full_scale=full_scale(meta),
    )


def first_sample(meta: Meta) -> int | None:
    """The number that the file's first sample has among all that were acquired in its run; None where nothing tells."""
    return meta.integer("firstSample") if "firstSample" in meta.values else None


def _probe(meta: Meta, saved: SavedChannels, given: NamedProbe | None, reporter: Reporter) -> NamedProbe:
    """That of a file the user gave, else that of the meta. One without a file, which an earlier verb had, stands in
    where the meta tells none: elsewhere it would hide that its contacts are not those of this recording."""
    if given is not None and given.path is not None:
        return given
    try:
        return NamedProbe(_group(meta_probe(meta, saved, reporter)), meta.path.name, None)
    except InputError:
        if given is None:
            raise
        return given


def _gains_to_uv(meta: Meta, saved: SavedChannels, given: float | None, carried: float | None) -> NDArray[np.float64]:
    """From the meta; as given, else carried, where the meta doesn't tell. Raises UsageError where what is given and
    the meta contradict each other."""
    try:
        gains = ap_gains_to_uv(meta, saved.acquired)
    except InputError:
        instead = carried if given is None else given
        if instead is None:
            raise
        return np.full(saved.num_ap, instead)
    if given is not None and not np.allclose(gains, given, rtol=1e-3):
        raise _contradiction("--gain-to-uv", given, meta, f"{gains.min():.6g} to {gains.max():.6g} µV per bit")
    return gains


def _require_ap(path: Path, meta: Meta, lf_ok: bool) -> None:
    kind = meta.values.get("typeThis", "imec")
    if kind != "imec":
        raise InputError(f"{path.name} holds {shown(kind)} data, not that of a Neuropixels probe", "give an X.ap.bin")
    counts = meta.integers("snsApLfSy")
    if (path.name.endswith(".lf.bin") and not lf_ok) or not counts[0]:
        raise InputError(
            f"{path.name} holds no AP band: spikes are found in the AP band only",
            "give the X.ap.bin; of an LF band driftcli estimate --preset dredge_lfp finds the motion",
        )


def _require_agreement(options: Options, meta: Meta, num_columns: int, sampling_frequency_hz: float) -> None:
    for option, given, found in (
        ("--num-channels", options.num_channels, num_columns),
        ("--sampling-frequency", options.sampling_frequency_hz, sampling_frequency_hz),
        ("--dtype", options.dtype, SAMPLE_DTYPE.name),
        ("--offset-bytes", options.offset_bytes, 0),
    ):
        if given is not None and given != found:
            raise _contradiction(option, given, meta, found)


def _contradiction(option: str, given: Any, meta: Meta, found: Any) -> UsageError:
    return UsageError(
        f"{option} {given} contradicts {meta.path.name}, which says {found}",
        f"leave {option} away, or move the meta file to read the samples as raw",
    )


def _samples(path: Path, meta: Meta, num_columns: int, options: Options, reporter: Reporter) -> Samples:
    """Those of the file, compressed or not. Raises InputError where they are not what the meta says."""
    if path.suffix != SUFFIX:
        num_samples = _number_of_samples(path, meta, num_columns, options, reporter)
        return BinarySamples(path, SAMPLE_DTYPE, num_columns, num_samples)
    samples = open_compressed(path, options, reporter)
    if samples.num_columns != num_columns or samples.dtype != SAMPLE_DTYPE:
        raise InputError(
            f"{samples.header_path.name} tells of {samples.num_columns} columns of {samples.dtype.name}, "
            f"{meta.path.name} of {num_columns} of {SAMPLE_DTYPE.name}",
            "take the .ch and the .meta that belong to the .cbin",
        )
    size_bytes = samples.num_samples * num_columns * SAMPLE_DTYPE.itemsize
    stated = meta.integer("fileSizeBytes") if "fileSizeBytes" in meta.values else 0
    if stated and stated != size_bytes:
        reporter.message(f"{path.name} holds {size_bytes:,} bytes of samples, {meta.path.name} says {stated:,}")
    return samples


def _number_of_samples(path: Path, meta: Meta, num_columns: int, options: Options, reporter: Reporter) -> int:
    """Whole frames of the file. Raises InputError where it was cut off, unless the user knows that."""
    size_bytes = path.stat().st_size
    num_samples, surplus = divmod(size_bytes, num_columns * SAMPLE_DTYPE.itemsize)
    stated = meta.integer("fileSizeBytes") if "fileSizeBytes" in meta.values else 0
    says = f"; {meta.path.name} says {stated:,} bytes" if stated else ""
    if surplus or size_bytes < stated:
        whole = f"{surplus:,} bytes more than {num_samples:,} whole frames of {num_columns} channels"
        wrong = f"has {size_bytes:,} bytes" + (f", {whole}" if surplus else "") + says
        if size_bytes < stated:
            wrong += f", {stated - size_bytes:,} more"
        if not options.truncated_ok or not num_samples:
            raise InputError(
                f"{path} {wrong}",
                "copy the file again: it was cut off or belongs to another meta; "
                "--truncated ok goes on with the whole frames there are",
            )
        reporter.message(f"{path.name} {wrong}: going on with the {num_samples} whole frames there are")
    elif stated and stated != size_bytes:
        reporter.message(
            f"{path.name} has {size_bytes:,} bytes{says}: going on with the {num_samples:,} samples there are"
        )
    return num_samples


def _tell_missing(meta: Meta, reporter: Reporter) -> None:
    """One line on what is not in the meta, as after an acquisition that was cut off, and what is taken instead."""
    missing = [key for key in _ASSUMED if key not in meta.values and not (meta.is_3a and key in _NOT_IN_3A)]
    if meta.values.get("fileSizeBytes") == "0":
        missing.append("fileSizeBytes")
    if missing:
        probe = {"type": meta.type_named, "part": shown(meta.part)}
        assumed = dict.fromkeys(_ASSUMED[key].format(**probe) for key in missing)
        reporter.message(f"{meta.path.name} has no {', '.join(missing)}: {'; '.join(assumed)}")


def _group(probe: Probe) -> ProbeGroup:
    probegroup = ProbeGroup()
    probegroup.add_probe(probe)
    return probegroup
