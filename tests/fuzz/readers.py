"""The readers of what others made, each with valid inputs to spoil and the call that must cope with whatever comes.

`READERS[name](folder)` makes a reader that works in a folder; its `one(rng)` spoils an input and reads it. An input is
told by the name of its reader, a seed and a number: see `generator_of`.
"""

from __future__ import annotations

import io
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from driftcli import presets
from driftcli.mask.exclude import mask_of_text
from driftcli.model import Assessment, Geometry, Mask, Motion, Peaks, RecordingFacts, Scores, ShankAssessment
from driftcli.recording.given_bad import with_bad_channels
from driftcli.recording.mtscomp import CompressedSamples
from driftcli.recording.open import open_recording
from driftcli.recording.options import Options
from driftcli.recording.probe import lay_out, read_probe
from driftcli.recording.spikeglx import meta_beside, open_spikeglx
from driftcli.reporter import Reporter
from driftcli.store.assessment import read_assessment, write_assessment
from driftcli.store.motion import MotionFile, read_motion, write_motion
from driftcli.store.motion_csv import read_csv_motion, write_csv_motion
from driftcli.store.motion_npz import read_npz_motion, write_npz_motion
from driftcli.store.motion_spikeinterface import read_spikeinterface_motion, write_spikeinterface_motion
from driftcli.store.npz import read_npz_peaks
from driftcli.store.peaks import PeaksByShank, read_peaks, write_peaks
from driftcli.store.schema import read_handover
from fuzz import mutate
from make_cbin import make_cbin
from make_probes import meta_of_kind
from make_raw import column_of_contacts, counts, probe_dict, write_json_probe, write_line_probe
from make_spikeglx import make_spikeglx

PRBS = (
    'total_nb_channels = 8\nradius = 100\nchannel_groups = {\n    0: {"channels": list(range(4)),\n'
    '        "graph": [],\n        "geometry": {0: (0, 0), 1: (16, 20), 2: [0.5, 40], 3: (-16, 6e1)}},\n}\n',
    "n = 4\npitch = 20.0\nchannel_groups = {}\nfor s in range(2):\n    channels = [s * n + i for i in range(n)]\n"
    "    geometry = dict([(c, (250 * s, pitch * (c % n))) for c in channels])\n"
    '    channel_groups[s] = {"channels": channels, "geometry": geometry}\n',
    "import os\ndef get_graph(c, n=1):\n    return [os.sep]\nsites = {2: (0, 0), 5: (0, 2 ** 4)}\n"
    "if 1 < len(sites) <= 2:\n    sites[7] = (0, 0.5 + 40)\nprint(sites)\n"
    "c = [c for c in reversed(sorted(sites.keys())) if c != 5 if c in sites]\n"
    "c += [k for k, xy in sites.items() if k == 5]\n"
    'channel_groups = {0: {"channels": c, "graph": get_graph(c, n=2), "geo" + "metry": sites}}\n',
)
SETS = (
    "estimate.bin_s=0.5",
    "localize.weight_method.sigma_list_um=[3, 9]",
    "filter={freq_min_hz: 300}",
    "mask.method=none",
)
SPANS = ("12.5-14,300-310", "300-", "1e-3 - 2.5")
SPAN_FILES = ("start_s, stop_s\n1, 2.5 # a comment\n3;4\n\n", "1\t2\n3,5\t4\n", "12.5-14\n300-\n")
CHANNELS = ("17,2,0:3", "0-5", " 1 , 2 ")


def generator_of(seed: int, number: int) -> np.random.Generator:
    """The generator from which an input is made."""
    return np.random.default_rng([seed, number])


class Reader:
    """Spoils one of some valid contents of a file and reads it."""

    def __init__(self, folder: Path, name: str, contents: list[bytes], read: Callable[[Path], object]) -> None:
        self._path, self._contents, self._read = folder / name, contents, read

    def spoiled(self, rng: np.random.Generator, content: bytes) -> bytes:
        return mutate.spoiled(rng, content, textual=True)

    def one(self, rng: np.random.Generator) -> None:
        content = self._contents[int(rng.integers(len(self._contents)))]
        self._path.write_bytes(self.spoiled(rng, content))
        self._read(self._path)


class NpzReader(Reader):
    def spoiled(self, rng: np.random.Generator, content: bytes) -> bytes:
        return mutate.spoiled_npz(rng, content)


class Hdf5Reader(Reader):
    def one(self, rng: np.random.Generator) -> None:
        self._path.write_bytes(self._contents[int(rng.integers(len(self._contents)))])
        mutate.spoiled_hdf5(rng, self._path)
        self._read(self._path)


class TextReader:
    """Spoils a text of the command line."""

    def __init__(self, texts: tuple[str, ...], read: Callable[[str], object]) -> None:
        self._texts, self._read = texts, read

    def one(self, rng: np.random.Generator) -> None:
        content = mutate.spoiled(rng, str(rng.choice(self._texts)).encode(), textual=True)
        self._read(content.decode("utf-8", "surrogateescape"))


class FolderReader:
    """Spoils one file of a motion of SpikeInterface."""

    def __init__(self, folder: Path) -> None:
        self._whole, self._spoiled = folder / "whole", folder / "spoiled"
        write_spikeinterface_motion(self._whole, _motion_file())

    def one(self, rng: np.random.Generator) -> None:
        shutil.rmtree(self._spoiled, ignore_errors=True)
        shutil.copytree(self._whole, self._spoiled)
        path = sorted(each for each in self._spoiled.rglob("*") if each.is_file())[int(rng.integers(9))]
        spoil = {".npz": mutate.spoiled_npz, ".npy": mutate.spoiled_npy}.get(path.suffix, _spoiled_text)
        path.write_bytes(spoil(rng, path.read_bytes()))
        read_spikeinterface_motion(self._spoiled)


def _spoiled_text(rng: np.random.Generator, content: bytes) -> bytes:
    return mutate.spoiled(rng, content, textual=True)


def _facts() -> RecordingFacts:
    positions = np.array([[0.0, 0.0], [16.0, 20.0], [250.0, 0.0]])
    probe = {"specification": "probeinterface", "version": "0.2.24", "probes": [probe_dict(positions, [0, 3, 1])]}
    geometry = Geometry(positions, np.array([0, 0, 2]))
    return RecordingFacts(
        *(30_000.0, 90_000, 4, "int16", 0, geometry, np.array([0, 3, 1]), np.array([2.0, 2, 3]), json.dumps(probe)),
        breaks=np.array([40_000]),
        files=np.array([[0, -1], [40_000, 7]]),
        labels=np.array([0, 1, 0], np.uint8),
    )


def _motion_file() -> MotionFile:
    rng = np.random.default_rng(0)
    motions = {
        shank: Motion(rng.normal(0, 9, (6, 2)), np.arange(6.0), np.array([0.0, 100.0]), np.array([1.5, 3.0]))
        for shank in (0, 2)
    }
    return MotionFile(_facts(), presets.load("rigid_fast").to_dict(), 6.0, motions)


def _old_and_new(path: Path) -> list[bytes]:
    """The file as driftcli writes it, and in HDF5's oldest format, whose header has no checksums."""
    old = path.with_name("old.h5")
    with h5py.File(path) as source, h5py.File(old, "w", libver="earliest") as target:
        target.attrs.update(source.attrs)
        for name in source:
            source.copy(name, target)
    return [path.read_bytes(), old.read_bytes()]


def _meta(folder: Path) -> Reader:
    texts = [meta_of_kind(name, range(6)) for name in ("NP1000", "3A option 4", "NP1110", "NP2013", "PRB2_1_2_0640_0")]
    path = make_spikeglx(folder, texts[0], 3)

    def read(meta_path: Path) -> None:
        meta = meta_beside(path)
        if meta is not None:
            open_spikeglx(path, meta, None, Options(truncated_ok=True), Reporter())

    return Reader(folder, path.with_suffix(".meta").name, [text.encode() for text in texts], read)


def _preset(folder: Path) -> Reader:
    texts = [presets.to_yaml(presets.load(name), "a preset").encode() for name in presets.names()]
    texts.append(b"doc: mine\nestimate: {method: iterative_template, bin_s: 4}\nmask: {method: none}\n")
    return Reader(folder, "p.yaml", texts, lambda path: presets.load(str(path)))


def _read_layout(path: Path) -> None:
    lay_out(read_probe(path), path.name, Reporter())


def _probe_json(folder: Path) -> Reader:
    path = folder / "p.json"
    write_json_probe(path, probe_dict(column_of_contacts(3), [2, -1, 0], ["0", "0", "1"]), probe_dict([(9, 0)], [3]))
    return Reader(folder, "p.json", [path.read_bytes()], _read_layout)


def _prb(folder: Path) -> Reader:
    return Reader(folder, "p.prb", [text.encode() for text in PRBS], _read_layout)


def _csv(folder: Path) -> Reader:
    write_csv_motion(folder / "m.csv", _motion_file().motions)
    plain = (folder / "m.csv").read_bytes()
    return Reader(folder, "m.csv", [plain, plain.replace(b",", b";").replace(b".", b",")], read_csv_motion)


def _npz_motion(folder: Path) -> Reader:
    write_npz_motion(folder / "m.npz", _motion_file())
    return NpzReader(folder, "m.npz", [(folder / "m.npz").read_bytes()], read_npz_motion)


def _npz_peaks(folder: Path) -> Reader:
    out = io.BytesIO()
    np.savez(out, time_s=np.arange(9.0), depth_um=np.arange(9.0), amplitude_uv=-np.ones(9))
    return NpzReader(folder, "p.npz", [out.getvalue()], read_npz_peaks)


def _hdf5_motion(folder: Path) -> Reader:
    file = _motion_file()
    mask = Mask(np.array([5]), np.array([77]), np.array([1], np.uint8))
    write_motion(folder / "m.h5", file.motions, 6.0, file.facts, presets.load("rigid_fast"), mask, 30_000.0)

    def read(path: Path) -> None:
        read_motion(path, every_bin=False)
        presets.resolve(read_handover(path, "motion")[0])

    return Hdf5Reader(folder, "m.h5", _old_and_new(folder / "m.h5"), read)


def _hdf5_peaks(folder: Path) -> Reader:
    rng = np.random.default_rng(0)
    location = {name: rng.normal(size=50).astype(np.float32) for name in ("x_um", "y_um")}
    channels = rng.integers(0, 3, 50).astype(np.int32)
    found = Peaks(np.sort(rng.integers(0, 90_000, 50)), channels, -np.ones(50, np.float32), location)
    mask = Mask(np.array([5]), np.array([77]), np.array([1], np.uint8))
    settings, levels = presets.load("rigid_fast"), np.ones(3)
    write_peaks(folder / "p.h5", [found], len(found), ("x_um", "y_um"), _facts(), settings, levels, mask)

    def read(path: Path) -> None:
        file = PeaksByShank.open(path)
        file.read(list(file.counts))
        read_peaks(path)

    return Hdf5Reader(folder, "p.h5", _old_and_new(folder / "p.h5"), read)


def _hdf5_assessment(folder: Path) -> Reader:
    motions = _motion_file().motions
    scores = Scores(9, 3.0, 0.4, 0.9, 0.5, 0.1, 0.5, 0.1, 1.0, 0.2, 0.5, 0.0, 0.0, 1, 0)
    shanks = {
        number: ShankAssessment("helps", ("why",), scores, motion.displacement_um, motion.displacement_um)
        for number, motion in motions.items()
    }
    found = Assessment("helps", ("shank 0: helps",), shanks)
    write_assessment(folder / "a.h5", found, motions, presets.load("rigid_fast"), "0" * 64)
    return Hdf5Reader(folder, "a.h5", [(folder / "a.h5").read_bytes()], read_assessment)


def _mtscomp(folder: Path) -> Reader:
    path = make_cbin(folder / "x.cbin", counts(250, 4))

    def read(_: Path) -> None:
        samples = CompressedSamples.open(path, truncated_ok=True)
        samples.read(0, samples.num_samples)

    return Reader(folder, "x.ch", [path.with_suffix(".ch").read_bytes()], read)


def _carried_probe(folder: Path) -> Reader:
    """The probe that a motion carries, as text."""
    from dataclasses import replace

    from driftcli.recording.facts import probe_of

    def read(path: Path) -> None:
        lay_out(probe_of(replace(_facts(), probe_json=path.read_text("utf-8", "replace"))), "it", Reporter())

    return Reader(folder, "probe.txt", [_facts().probe_json.encode()], read)


def _exclude_file(folder: Path) -> Reader:
    texts = [text.encode() for text in SPAN_FILES]
    return Reader(folder, "spans.txt", texts, lambda path: mask_of_text(str(path), 30_000.0, 10**9))


def _exclude(_: Path) -> TextReader:
    return TextReader(SPANS, lambda text: mask_of_text(text, 30_000.0, 10**9))


def _set(_: Path) -> TextReader:
    return TextReader(SETS, lambda text: presets.load(None, [text]))


def _bad_channels(folder: Path) -> TextReader:
    (folder / "r.bin").write_bytes(counts(100, 8).tobytes())
    probe = write_line_probe(folder / "p.json", 8)
    recording = open_recording(folder / "r.bin", probe=probe, reporter=Reporter())
    return TextReader(CHANNELS, lambda text: with_bad_channels(recording, text))


READERS: dict[str, Callable[[Path], Reader | TextReader | FolderReader]] = {
    "meta": _meta,
    "preset": _preset,
    "set": _set,
    "probe_json": _probe_json,
    "prb": _prb,
    "csv_motion": _csv,
    "npz_motion": _npz_motion,
    "npz_peaks": _npz_peaks,
    "spikeinterface_motion": FolderReader,
    "hdf5_motion": _hdf5_motion,
    "hdf5_peaks": _hdf5_peaks,
    "hdf5_assessment": _hdf5_assessment,
    "mtscomp_header": _mtscomp,
    "carried_probe": _carried_probe,
    "exclude_times": _exclude,
    "exclude_times_file": _exclude_file,
    "bad_channels": _bad_channels,
}
