"""Opening a recording: which format it has, and who reads that."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from driftcli.errors import InputError
from driftcli.model import RecordingFacts
from driftcli.recording import raw, spikeglx
from driftcli.recording.facts import probe_of
from driftcli.recording.formats import described_by, in_words
from driftcli.recording.given_bad import with_bad_channels
from driftcli.recording.join import between, join
from driftcli.recording.options import Options
from driftcli.recording.probe import NamedProbe, read_probe
from driftcli.recording.recording import Recording
from driftcli.reporter import Reporter


def open_recording(
    path: Path | str | Sequence[Path],
    *,
    probe: Path | str | None = None,
    num_channels: int | None = None,
    sampling_frequency_hz: float | None = None,
    dtype: str | None = None,
    gain_to_uv: float | None = None,
    offset_bytes: int | None = None,
    bad_channels: str | None = None,
    concatenate: bool = False,
    start_s: float | None = None,
    end_s: float | None = None,
    truncated_ok: bool = False,
    lf_ok: bool = False,
    carried: RecordingFacts | None = None,
    reporter: Reporter,
) -> Recording:
    """Open a file, or several as one recording in the order given (see `join`), or a span of that, read-only.

    lf_ok: also the LF band of a SpikeGLX run, which holds no spikes.

    `X.cbin` with `X.ch` is what mtscomp made of `X.bin`.

    `X.bin` beside an `X.meta` of SpikeGLX is a SpikeGLX recording, which describes itself: options that contradict
    its meta are a UsageError, and `probe` replaces its geometry. Any other file is raw and needs a `probe`. `carried`,
    the facts that an earlier verb stored, stand in for what neither the file nor an option tells. What is assumed, and
    what looks odd, goes to `reporter`. Raises InputError for files that are missing, broken or don't fit.
    """
    paths = [Path(path)] if isinstance(path, Path | str) else path
    options = Options(num_channels, sampling_frequency_hz, dtype, gain_to_uv, offset_bytes, truncated_ok, lf_ok)
    named, once = _named_probe(probe, carried), _Once(reporter)
    recordings = [_open_file(each, named, options, carried, once) for each in paths]
    recording = between(join(recordings, concatenate=concatenate), start_s, end_s)
    return with_bad_channels(recording, bad_channels)


class _Once(Reporter):
    """Passes on each message once, however many files it holds for."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._told: set[str] = set()

    def message(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._reporter.message(text)

    def note(self, event: str, **facts: Any) -> None:
        self._reporter.note(event, **facts)


def _open_file(
    path: Path, named: NamedProbe | None, options: Options, carried: RecordingFacts | None, reporter: Reporter
) -> Recording:
    _require_samples_file(path)
    meta = spikeglx.meta_beside(path)
    if meta is not None:
        gain_to_uv = None if carried is None else _gain_of(carried)
        return spikeglx.open_spikeglx(path, meta, named, options, reporter, gain_to_uv)
    return raw.open_raw(path, named, _completed(options, carried), reporter)


def _named_probe(probe: Path | str | None, carried: RecordingFacts | None) -> NamedProbe | None:
    if probe is not None:
        return NamedProbe(read_probe(Path(probe)), Path(probe).name, Path(probe))
    return None if carried is None else NamedProbe(probe_of(carried), "the probe of the motion file", None)


def _completed(options: Options, carried: RecordingFacts | None) -> Options:
    """Options with the carried facts where nothing was said."""
    if carried is None:
        return options
    return Options(
        num_channels=options.num_channels or carried.num_columns,
        sampling_frequency_hz=options.sampling_frequency_hz or carried.sampling_frequency_hz,
        dtype=options.dtype or carried.dtype,
        gain_to_uv=options.gain_to_uv or _gain_of(carried),
        offset_bytes=carried.offset_bytes if options.offset_bytes is None else options.offset_bytes,
        truncated_ok=options.truncated_ok,
        lf_ok=options.lf_ok,
    )


def _gain_of(carried: RecordingFacts) -> float | None:
    """The gain that all contacts have; None where they have none, or not one."""
    gains = np.unique([] if carried.gain_to_uv is None else carried.gain_to_uv)
    return float(gains[0]) if len(gains) == 1 else None


def _require_samples_file(path: Path) -> None:
    if path.is_dir():
        raise InputError(f"{path} is a folder", f"give the file with the samples: {in_words()}")
    described = described_by(path)
    if described is not None:
        raise InputError(f"{path} describes a recording and holds no samples", f"give {described.name}")
    if not path.is_file():
        has_meta = path.suffix == ".bin" and path.with_suffix(".meta").is_file()
        hint = f"{path.with_suffix('.meta').name} is there, its .bin is not" if has_meta else "check the path"
        raise InputError(f"there is no file {path}", hint)
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}", "check its permissions") from error
    if empty:
        raise InputError(f"{path} is empty", "check that it was copied whole")
