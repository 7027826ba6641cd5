"""SpikeGLX recordings: `X.ap.bin`, described by `X.ap.meta`.

The meta file says how many channels were saved, which, how fast, with what gain, and where the contacts are.
Source: https://billkarsh.github.io/SpikeGLX, its metadata and imro table pages.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from probeinterface import Probe, ProbeGroup, read_spikeglx

from driftcli.errors import InputError, UsageError
from driftcli.recording.adc import sample_shifts
from driftcli.recording.meta import Meta, parse_meta
from driftcli.recording.options import Options
from driftcli.recording.probe import NamedProbe, lay_out, require_fit
from driftcli.recording.recording import Recording
from driftcli.reporter import Reporter

SAMPLE_DTYPE = np.dtype("<i2")
_SIGNS_OF_SPIKEGLX = ("typeThis", "nSavedChans", "snsApLfSy", "~imroTbl")


@dataclass(frozen=True)
class SavedChannels:
    """Columns of the file: first `num_ap` AP channels, then LF channels, then sync words.

    acquired: (num_ap,) int64, the number of each saved AP channel among those acquired.
    others: (num_columns - num_ap,) int64, the same of the other columns.
    """

    num_columns: int
    num_ap: int
    acquired: NDArray[np.int64]
    others: NDArray[np.int64]


def meta_beside(path: Path) -> Meta | None:
    """The meta of `X.bin`, read from `X.meta`; None where there is no such file or it isn't of SpikeGLX."""
    meta_path = path.with_suffix(".meta")
    if path.suffix != ".bin" or not meta_path.is_file():
        return None
    try:
        meta = Meta(meta_path, parse_meta(meta_path.read_bytes()))
    except OSError as error:
        raise InputError(f"cannot read {meta_path}: {error.strerror or error}", "check its permissions") from error
    return meta if any(key in meta.values for key in _SIGNS_OF_SPIKEGLX) else None


def open_spikeglx(path: Path, meta: Meta, probe: NamedProbe | None, options: Options, reporter: Reporter) -> Recording:
    """Open the existing file `path` as `meta` describes it; a `probe` replaces the geometry of the meta.

    Raises UsageError for options that contradict the meta, InputError for files that are broken or don't fit.
    """
    _require_ap(path, meta)
    saved = saved_channels(meta)
    sampling_frequency_hz = meta.number("imSampRate")
    _require_agreement(options, meta, saved.num_columns, sampling_frequency_hz)
    probe = probe or NamedProbe(_group(meta_probe(meta)), meta.path.name, None)
    layout = lay_out(probe.group, probe.name, reporter)
    require_fit(layout, saved.num_ap, probe.name, f"the AP band of {path.name}")
    return Recording(
        path=path,
        inputs={"recording": path, "meta": meta.path, **probe.inputs()},
        dtype=SAMPLE_DTYPE,
        num_samples=_number_of_samples(path, meta, saved.num_columns, reporter),
        num_columns=saved.num_columns,
        sampling_frequency_hz=sampling_frequency_hz,
        offset_bytes=0,
        geometry=layout.geometry,
        columns=layout.columns,
        gain_to_uv=_gains_to_uv(meta, saved, options)[layout.columns],
        probegroup=probe.group,
        meta=meta,
        sample_shifts=sample_shifts(meta, saved.acquired).of(layout.columns),
    )


def saved_channels(meta: Meta) -> SavedChannels:
    """Which channels the file's columns hold. Raises InputError where the meta contradicts itself."""
    num_columns = int(meta.number("nSavedChans"))
    counts = _integers(meta, "snsApLfSy")
    if len(counts) != 3 or sum(counts) != num_columns:
        raise InputError(
            f"{meta.path.name} contradicts itself: nSavedChans={num_columns}, snsApLfSy={meta.text('snsApLfSy')}"
        )
    subset = meta.values.get("snsSaveChanSubset", "all")
    acquired = np.arange(num_columns) if subset == "all" else np.array(_spelled_out(meta, subset))
    if len(acquired) != num_columns:
        raise InputError(f"{meta.path.name} contradicts itself: nSavedChans={num_columns}, snsSaveChanSubset={subset}")
    ap, others = np.split(acquired.astype(np.int64), counts[:1])
    return SavedChannels(num_columns, counts[0], ap, others)


def meta_probe(meta: Meta) -> Probe:
    """The probe of the saved AP channels, wired to the file's columns, by probeinterface. Raises InputError.

    probeinterface opens a file itself and takes the machine's encoding, so it gets one in plain ASCII.
    """
    meta.text("~imroTbl")
    lines = [f"{key}={value}\n" for key, value in meta.values.items() if (key + value).isascii()]
    try:
        with TemporaryDirectory() as folder:
            copy = Path(folder) / "copy.meta"
            copy.write_text("".join([*lines, *_missing_subset(meta)]), encoding="ascii")
            return read_spikeglx(copy)
    except Exception as error:  # an unknown part number or table shows itself as nearly any exception
        part = meta.values.get("imDatPrb_pn", "unknown")
        raise InputError(
            f"{meta.path.name}: no geometry for probe type {meta.values.get('imDatPrb_type', '3A')} (part {part}): "
            f"{type(error).__name__}: {error}",
            "give --probe with the positions of its contacts",
        ) from error


def _missing_subset(meta: Meta) -> list[str]:
    return [] if "snsSaveChanSubset" in meta.values else ["snsSaveChanSubset=all\n"]


def ap_gains_to_uv(meta: Meta, acquired: NDArray[np.int64]) -> NDArray[np.float64]:
    """µV per bit of the AP channels with numbers `acquired`: 1e6 x imAiRangeMax / imMaxInt / gain.

    Neuropixels 1.0 and Ultra (10 bits) have a gain per channel in the imro table; NP1110 has one in that table's
    header; 2.0 and later have one fixed gain. Raises InputError naming what is missing.
    """
    kind = _gain_kind(meta)
    volts_per_bit = meta.number("imAiRangeMax") / _max_int(meta, kind)
    if kind.gains_in_imro:
        gains = _imro_gains(meta, acquired)
    else:
        gain = meta.number("imChan0apGain") if "imChan0apGain" in meta.values else kind.fixed_gain
        gains = np.full(len(acquired), gain)
    if not (gains > 0).all():
        raise InputError(f"{meta.path.name} has channels without a gain in its imroTbl", "give --gain-to-uv")
    return 1e6 * volts_per_bit / gains


@dataclass(frozen=True)
class _GainKind:
    """How a family of probes states its gain, and what holds where a meta of an early release doesn't say."""

    gains_in_imro: bool
    max_int: int
    fixed_gain: float = 1.0


_NEUROPIXELS_1 = _GainKind(gains_in_imro=True, max_int=512)
_NEUROPIXELS_2_PROTOTYPE = _GainKind(gains_in_imro=False, max_int=8192, fixed_gain=80.0)
_NEUROPIXELS_2 = _GainKind(gains_in_imro=False, max_int=2048, fixed_gain=100.0)


def _gain_kind(meta: Meta) -> _GainKind:
    number = meta.probe_type
    if number == 0 or 1000 <= number < 2000 or number == 3000:
        return _NEUROPIXELS_1
    if number in (21, 24, 2000, 2010):
        return _NEUROPIXELS_2_PROTOTYPE
    if 2000 < number < 2400 or 3010 <= number < 3030:
        return _NEUROPIXELS_2
    if {"imChan0apGain", "imMaxInt"} <= meta.values.keys():
        return _NEUROPIXELS_2
    raise InputError(
        f"{meta.path.name}: probe type {meta.values['imDatPrb_type']} is not known",
        "give --gain-to-uv, and --probe with the positions of its contacts",
    )


def _max_int(meta: Meta, kind: _GainKind) -> float:
    return meta.number("imMaxInt") if "imMaxInt" in meta.values else kind.max_int


def _imro_gains(meta: Meta, acquired: NDArray[np.int64]) -> NDArray[np.float64]:
    """AP gain of each channel: field 3 of its entry, or of NP1110's header; entries start with their channel."""
    header, *entries = re.findall(r"\(([^)]*)\)", meta.text("~imroTbl")) or [""]
    try:
        if meta.probe_type == 1110:
            return np.full(len(acquired), float(header.split(",")[3]))
        fields = [entry.split() for entry in entries]
        gain_of = {int(entry[0]): float(entry[3]) for entry in fields}
        return np.array([gain_of[channel] for channel in acquired.tolist()], dtype=np.float64)
    except (ValueError, IndexError, KeyError) as error:
        raise InputError(
            f"{meta.path.name}: its imroTbl gives no gain for every saved channel ({type(error).__name__}: {error})",
            "take the meta file that SpikeGLX wrote, or give --gain-to-uv",
        ) from error


def _gains_to_uv(meta: Meta, saved: SavedChannels, options: Options) -> NDArray[np.float64]:
    """From the meta; as given where the meta doesn't tell. Raises UsageError where the two contradict each other."""
    given = options.gain_to_uv
    try:
        gains = ap_gains_to_uv(meta, saved.acquired)
    except InputError:
        if given is None:
            raise
        return np.full(saved.num_ap, given)
    if given is not None and not np.allclose(gains, given, rtol=1e-3):
        raise _contradiction("--gain-to-uv", given, meta, f"{gains.min():.6g} to {gains.max():.6g} µV per bit")
    return gains


def _require_ap(path: Path, meta: Meta) -> None:
    kind = meta.values.get("typeThis", "imec")
    if kind != "imec":
        raise InputError(f"{path.name} holds {kind} data, not that of a Neuropixels probe", "give an X.ap.bin")
    counts = _integers(meta, "snsApLfSy")
    if path.name.endswith(".lf.bin") or not counts[0]:
        raise InputError(f"{path.name} holds no AP band: spikes are found in the AP band only", "give the X.ap.bin")


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


def _number_of_samples(path: Path, meta: Meta, num_columns: int, reporter: Reporter) -> int:
    size_bytes = path.stat().st_size
    frame_bytes = num_columns * SAMPLE_DTYPE.itemsize
    num_samples, surplus = divmod(size_bytes, frame_bytes)
    stated = meta.values.get("fileSizeBytes", "")
    says = f"; {meta.path.name} says {stated} bytes" if stated else ""
    if surplus:
        raise InputError(
            f"{path} holds {surplus} bytes more than {num_samples} whole frames of {num_columns} channels{says}",
            "copy the file again: it was cut off or belongs to another meta",
        )
    if stated and stated != str(size_bytes):
        reporter.message(f"{path.name} has {size_bytes} bytes{says}: going on with the {num_samples} samples there are")
    return num_samples


def _integers(meta: Meta, key: str) -> list[int]:
    try:
        return [int(each) for each in meta.text(key).split(",")]
    except ValueError as error:
        raise InputError(f"{meta.path.name} has {key}={meta.values[key]}, which are not whole numbers") from error


def _spelled_out(meta: Meta, subset: str) -> list[int]:
    """Channel numbers of a list such as `0:150,768`, whose ranges include their ends."""
    channels: list[int] = []
    for each in subset.split(","):
        first, _, last = each.partition(":")
        try:
            channels.extend(range(int(first), int(last or first) + 1))
        except ValueError as error:
            raise InputError(f"{meta.path.name} has snsSaveChanSubset={subset}, which lists no channels") from error
    return channels


def _group(probe: Probe) -> ProbeGroup:
    probegroup = ProbeGroup()
    probegroup.add_probe(probe)
    return probegroup
