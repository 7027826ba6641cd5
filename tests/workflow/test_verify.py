"""verify: outputs that are what they should be pass, and one bit anywhere that is not as it was is found."""

import json
import os
import shutil
import zlib
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest

import make_spikeglx
import small_recording
from driftcli import presets
from driftcli.errors import InputError, UsageError, VerificationError
from driftcli.model import Settings
from driftcli.recording.open import open_recording
from driftcli.reporter import Reporter
from driftcli.workflow import verify_again
from driftcli.workflow.apply import apply
from driftcli.workflow.correct_peaks import correct_peaks
from driftcli.workflow.detect import detect
from driftcli.workflow.estimate import estimate
from driftcli.workflow.export import export
from driftcli.workflow.findings import digest_of_facts
from driftcli.workflow.identity import checksum_of, fingerprint
from driftcli.workflow.import_ import import_motion, read_source
from driftcli.workflow.merge import merge
from driftcli.workflow.run import run
from driftcli.workflow.shard import Shard
from driftcli.workflow.verify import verify
from driftcli.workflow.work import Work

CHANGES = ("estimate.bin_s=0.5", "detect.detect_threshold=6")
ALL = 10_000  # more places than there are
WORK = Work(jobs=2)


@dataclass(frozen=True)
class Made:
    """A run: the files of its recording, its settings, and the folder of its outputs."""

    inputs: list[Path]
    settings: Settings
    folder: Path

    @property
    def binary(self) -> Path:
        return next(file for file in sorted(self.folder.iterdir()) if file.suffix in (".bin", ".cbin"))

    def log(self) -> dict:
        return json.loads((self.folder / "run.json").read_text())["outputs"]


def raw(folder, changes=(), options=None, **how):
    binary, probe = small_recording.write(folder, small_recording.samples(60_001))
    given = {"gain_to_uv": small_recording.GAIN_TO_UV, **(options or {})}
    recording = open_recording(binary, probe=probe, reporter=Reporter(), **given)
    return corrected(folder, [binary, probe], recording, changes, **how)


def spikeglx(folder, changes=(), lengths=(60_001,), gaps=(), **how):
    """Pairs of one run; the AP channels drift, the last column holds sync words."""
    text = make_spikeglx.made_meta("NP1", 24)
    samples = make_spikeglx.noise(sum(lengths), make_spikeglx.meta_values(text))
    samples[:, :24] = small_recording.samples(sum(lengths))
    folder.mkdir()
    paths = make_spikeglx.make_set(folder, text, samples, lengths, gaps)
    metas = [path.with_suffix(".meta") for path in paths]
    return corrected(folder, [*paths, *metas], open_recording(paths, reporter=Reporter()), changes, **how)


def corrected(folder, inputs, recording, changes, **how):
    settings = presets.load("rigid_fast", [*CHANGES, *changes])
    run(recording, settings, folder / "out", WORK, **how)
    return Made(inputs, settings, folder / "out")


def joined(folder, **how):
    """Two raw files that say nothing of each other, as one recording."""
    samples = small_recording.samples(50_000)
    paths = [
        small_recording.write(folder, part, name)[0]
        for name, part in (("b", samples[:30_001]), ("a", samples[30_001:]))
    ]
    probe = folder / "a.json"
    given = {"gain_to_uv": small_recording.GAIN_TO_UV, "concatenate": True}
    return corrected(
        folder, [*paths, probe], open_recording(paths, probe=probe, reporter=Reporter(), **given), (), **how
    )


def sharded(folder):
    """What several jobs made together."""
    binary, probe = small_recording.write(folder, small_recording.samples(60_001))
    recording = open_recording(binary, probe=probe, gain_to_uv=small_recording.GAIN_TO_UV, reporter=Reporter())
    settings, out = presets.load("rigid_fast", CHANGES), folder / "out"
    for index in (3, 1, 2):
        detect(recording, settings, out / "peaks.h5", WORK, shard=Shard(index, 3))
    merge(out / "peaks.h5", WORK)
    estimate(out / "peaks.h5", settings, out / "motion.h5", WORK)
    for index in (3, 1, 2):
        apply(recording, out / "motion.h5", settings, out / "corrected.bin", WORK, shard=Shard(index, 3))
    return Made([binary, probe], settings, out)


SPAN = {"start_s": 0.3, "end_s": 1.9, "bad_channels": "3,7"}
KINDS = {
    "raw": lambda folder: raw(folder),
    "span": lambda folder: raw(folder, options=SPAN),
    "float32": lambda folder: raw(folder, dtype="float32"),
    "compressed": lambda folder: raw(folder, compress=True),
    "selected": lambda folder: raw(folder, ["select.method=uniform", "select.n_peaks=60", "apply.signal=raw"]),
    "joined": lambda folder: joined(folder, split=True, compress=True),
    "shards": sharded,
    "removed": lambda folder: raw(folder, ["interpolate.border_mode=remove_channels"]),
    "fitted": lambda folder: raw(folder, ["interpolate.method=fitted_gaussian_process"]),
    "spikeglx": lambda folder: spikeglx(folder),
    "split": lambda folder: spikeglx(folder, lengths=(20_000, 17_001, 23_000), gaps=(0, 4_000), split=True),
    "compressed pair": lambda folder: spikeglx(folder, compress=True),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Runs by kind, each made once; tests leave them as they were."""
    known = {}

    def make(kind):
        if kind not in known:
            known[kind] = KINDS[kind](tmp_path_factory.mktemp("made") / "run")
        return known[kind]

    return make


@contextmanager
def kept(*paths):
    """Files have their content and time again after the block."""
    before = [(path, path.read_bytes(), path.stat()) for path in paths]
    try:
        yield
    finally:
        for path, content, status in before:
            path.write_bytes(content)
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@contextmanager
def flipped(path, position, bit=0):
    """One bit of a file is another one."""
    with kept(path):
        content = bytearray(path.read_bytes())
        content[position] ^= 1 << bit
        path.write_bytes(content)
        yield


def rewrite(folder, change):
    """Forge `run.json`: its own checksums are right again after the change."""
    path = folder / "run.json"
    log = json.loads(path.read_text())
    change(log["outputs"])
    for name, facts in log["outputs"].items():
        facts["sha256_of_facts"] = digest_of_facts(name, facts)
    path.write_text(json.dumps(log))


def wrong_of(made, places=0, seed=0):
    """What is wrong, as (file, check): text."""
    found = verify(made.folder, WORK, places=places, seed=seed)
    assert found.findings
    if found.wrong:
        with pytest.raises(VerificationError) as caught:
            found.require_ok()
        assert caught.value.exit_code == 5
    else:
        found.require_ok()
    wrong = {}
    for finding in found.wrong:
        wrong.setdefault((finding.file, finding.check), []).append(finding.text)
    return {key: "; ".join(texts) for key, texts in wrong.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_just_made_is_whole(made, kind):
    found = verify(made(kind).folder, WORK, places=ALL)
    assert not found.wrong
    files = {path.name for path in made(kind).folder.iterdir()} - {"run.json"}
    assert {finding.file for finding in found.findings if finding.check == "checksums"} == files
    assert {finding.state for finding in found.findings} == {"ok"}
    again = {finding.file: finding.text for finding in found.findings if finding.check == "done again"}
    assert set(again) == {"peaks.h5", *(file for file in files if file.endswith("bin"))}
    assert all("the same" in text for text in again.values())


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"joined", "removed"}))
@pytest.mark.parametrize("where", ["first", "middle", "last"])
def test_one_bit_of_any_output_is_found(made, kind, where):
    for path in sorted(made(kind).folder.iterdir()):
        if path.name == "run.json":
            continue
        size = path.stat().st_size
        with flipped(path, {"first": 0, "middle": size // 2, "last": size - 1}[where], bit=3):
            wrong = wrong_of(made(kind))
        assert (path.name, "checksums") in wrong, path.name
        others = {name for name, check in wrong if check == "checksums"} - {path.name}
        assert others <= {path.with_suffix(".cbin").name}, path.name  # of which a damaged .ch doesn't tell the blocks
    assert not wrong_of(made(kind))


def test_the_block_with_the_bit_is_told(made):
    frame = 2 * 24
    with flipped(made("raw").binary, 40_000 * frame):
        text = wrong_of(made("raw"))["corrected.bin", "checksums"]
    assert "1 of 4 blocks" in text
    assert "samples 32768 to 49152 (1.092 to 1.638 s)" in text
    third = sorted(path for path in made("split").folder.iterdir() if path.suffix == ".bin")[2]
    with flipped(third, -1):
        text = wrong_of(made("split"))[third.name, "checksums"]
    assert "samples 16384 to 23000" in text


def test_any_bit_of_the_log_is_found(made):
    path = made("raw").folder / "run.json"
    rng = np.random.default_rng(0)
    size = path.stat().st_size
    for position, bit in zip(rng.integers(0, size, 150).tolist(), rng.integers(0, 7, 150).tolist(), strict=True):
        with flipped(path, position, bit), suppress(InputError):  # no JSON any more, or of another format
            assert wrong_of(made("raw")), (position, bit)


@pytest.mark.parametrize(
    ("output", "change", "check"),
    [
        ("peaks.h5", lambda facts: facts["counts"].update(peaks=7), ("peaks.h5", "content")),
        ("peaks.h5", lambda facts: facts["counts"].update(contacts=23), ("peaks.h5", "content")),
        ("peaks.h5", lambda facts: facts["counts"]["blocks"].update(total=9), ("peaks.h5", "content")),
        ("peaks.h5", lambda facts: facts["mask"]["share"].update(gap=0.5), ("peaks.h5", "content")),
        ("peaks.h5", lambda facts: facts["preset"]["detect"].update(radius_um=1.0), ("peaks.h5", "content")),
        ("peaks.h5", lambda facts: facts["recording"].update(origin=5), ("peaks.h5", "content")),
        ("motion.h5", lambda facts: facts["counts"].update(temporal_bins=1), ("motion.h5", "content")),
        ("motion.h5", lambda facts: facts["counts"].update(displacement_um=[0, 0]), ("motion.h5", "content")),
        ("motion.h5", lambda facts: facts["preset"]["estimate"].update(bin_s=9.0), ("motion.h5", "content")),
        ("corrected.bin", lambda facts: facts["counts"].update(samples=3), ("corrected.bin", "content")),
        ("corrected.bin", lambda facts: facts["counts"].update(columns=12), ("corrected.bin", "content")),
        ("corrected.bin", lambda facts: facts["counts"].update(dtype="float32"), ("corrected.bin", "content")),
        ("corrected.bin", lambda facts: facts["files"].insert(0, "no.bin"), ("corrected.bin", "facts")),
        ("corrected.bin", lambda facts: facts["checksums"].pop("probe.json"), ("probe.json", "checksums")),
    ],
)
def test_facts_that_files_contradict_are_found(made, output, change, check):
    """Also where the log has been forged so that its own checksums are right."""
    folder = made("raw").folder
    with kept(folder / "run.json"):
        log = json.loads((folder / "run.json").read_text())
        change(log["outputs"][output])
        (folder / "run.json").write_text(json.dumps(log))
        assert {(output, "facts"), check} <= set(wrong_of(made("raw")))
        if check[1] != "facts":
            rewrite(folder, lambda outputs: None)
            assert check in wrong_of(made("raw"))


def test_the_order_of_peaks_and_what_lies_beyond_the_recording_are_found(made):
    path = made("raw").folder / "peaks.h5"
    with kept(path, path.with_name("run.json")):
        for row, value, told in ((5, 59_000, "order of time"), (-1, 60_001, "beyond")):
            with h5py.File(path, "r+") as file:
                file["peaks/sample_index"][row] = value
            rewrite(
                path.parent, lambda outputs: outputs["peaks.h5"]["checksums"].update({path.name: checksum_of(path)})
            )
            assert told in wrong_of(made("raw"))["peaks.h5", "content"]


def test_outputs_that_are_gone_or_cut_off(made):
    for kind in ("raw", "compressed pair"):
        for path in sorted(made(kind).folder.iterdir()):
            if path.name == "run.json":
                continue
            with kept(path):
                path.unlink()
                assert wrong_of(made(kind))[path.name, "checksums"] == "it is not there"
            with kept(path):
                content = path.read_bytes()
                path.write_bytes(content[:-100])
                text = wrong_of(made(kind), places=ALL)[path.name, "checksums"]
                assert f"{len(content) - 100} bytes, not {len(content)}" in text
    assert not wrong_of(made("raw"))


def test_all_that_is_wrong_is_told(made):
    folder = made("raw").folder
    with flipped(folder / "peaks.h5", 100), flipped(folder / "corrected.bin", 5), flipped(folder / "probe.json", 50):
        wrong = wrong_of(made("raw"))
    assert {"peaks.h5", "corrected.bin", "probe.json"} <= {name for name, check in wrong if check == "checksums"}
    assert ("motion.h5", "input peaks") in wrong


def test_outputs_of_another_run(made):
    ours, theirs = made("raw").folder, made("span").folder
    for name in ("peaks.h5", "motion.h5", "corrected.bin", "probe.json"):
        with kept(ours / name):
            (ours / name).write_bytes((theirs / name).read_bytes())
            same = name == "probe.json"  # which they share
            assert ((name, "checksums") in wrong_of(made("raw"))) is not same


def test_a_motion_that_was_replaced_after_the_correction(made):
    folder = made("raw").folder
    with kept(folder / "motion.h5", folder / "run.json"):
        other = presets.load("rigid_fast", [*CHANGES, "estimate.bin_s=0.25"])
        estimate(folder / "peaks.h5", other, folder / "motion.h5", Work(jobs=2, overwrite=True))
        of_motion = {("corrected.bin", "input motion"), ("assessment.h5", "input motion")}
        assert set(wrong_of(made("raw"), places=2)) == of_motion


@pytest.mark.parametrize("kind", ["raw", "split"])
def test_changed_inputs(made, kind):
    for number, path in enumerate(made(kind).inputs):
        with flipped(path, -1, bit=1):
            wrong = wrong_of(made(kind))
            assert {check.partition(" ")[0] for _, check in wrong} == {"input"}, number
            assert all(str(path) in text for text in wrong.values())
        with kept(path):
            path.write_bytes(path.read_bytes() + b"\0\0")
            assert any(str(path) in text and "bytes, not" in text for text in wrong_of(made(kind)).values())


def test_a_bit_in_the_middle_of_an_input_is_found_where_it_is_done_again(tmp_path):
    """Beyond the first and last megabyte only that can find it."""
    made = raw(tmp_path / "run")
    path = made.inputs[0]
    assert path.stat().st_size > 2.2e6
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2 + 1] ^= 0x40
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert not wrong_of(made)
    assert ("corrected.bin", "done again") in wrong_of(made, places=ALL)


def test_a_time_stamp_alone_is_a_note(made):
    with kept(made("raw").inputs[0]):
        os.utime(made("raw").inputs[0], (1e9, 1e9))
        found = verify(made("raw").folder, WORK, places=1)
    notes = [finding for finding in found.findings if finding.state == "note"]
    assert [finding.file for finding in notes] == ["peaks.h5", "corrected.bin"]
    assert "2001-09-09" in notes[0].text
    assert not found.wrong


def unchecked_of(found):
    return {(each.file, each.check): each.text for each in found.findings if each.state == "unchecked"}


@pytest.mark.parametrize("number", [0, 1])
def test_an_absent_input_is_no_fault_of_the_outputs(made, number):
    path = made("raw").inputs[number]
    check = ("input recording", "input probe")[number]
    with kept(path):
        path.unlink()
        inputs = {("peaks.h5", check), ("corrected.bin", check)}
        assert set(unchecked_of(verify(made("raw").folder, WORK, places=0))) == inputs
        found = verify(made("raw").folder, WORK, places=1)
    assert not found.wrong
    unchecked = unchecked_of(found)
    assert set(unchecked) == inputs | {("peaks.h5", "done again"), ("corrected.bin", "done again")}
    assert "mount the recording" in unchecked["peaks.h5", "done again"]
    assert "--places 0" in unchecked["peaks.h5", "done again"]


def test_a_correction_is_not_blamed_for_the_peaks_that_its_weights_were_fitted_to(made):
    out = made("fitted").folder
    assert json.loads((out / "run.json").read_text())["outputs"]["corrected.bin"]["footprints"]["0"]["groups"]
    with flipped(out / "peaks.h5", 4_000):
        found = verify(out, WORK, places=2)
    assert ("corrected.bin", "done again") in unchecked_of(found)
    assert not [
        each
        for each in found.findings
        if each.file == "corrected.bin" and each.check == "checksums" and each.state == "wrong"
    ]


OLD_RUN = Path(__file__).with_name("old_run.json")


def as_by_an_older_driftcli(made, folder):
    """Outputs with the `run.json` of driftcli before it stored checksums, of the same run elsewhere."""
    shutil.copytree(made.folder, folder)
    old, new = json.loads(OLD_RUN.read_text()), made.log()
    for name, facts in old["outputs"].items():
        facts["counts"] = {key: new[name]["counts"][key] for key in facts["counts"]}  # which CPUs round each their way
        for kind, known in facts["inputs"].items():
            path = folder / known["path"] if "/" not in known["path"] else made.inputs[kind == "probe"]
            now = fingerprint(path)
            facts["inputs"][kind] = {key: now[key] for key in known}
    return old


def test_what_an_older_driftcli_wrote_is_not_damaged(made, tmp_path):
    folder = tmp_path / "out"
    old = as_by_an_older_driftcli(made("raw"), folder)
    (folder / "run.json").write_text(json.dumps(old))
    found = verify(folder, WORK, places=2)
    assert not found.wrong
    unchecked = unchecked_of(found)
    assert all("older driftcli" in text for text in unchecked.values())
    assert all("Error" not in text for text in unchecked.values())
    assert {("peaks.h5", "facts"), ("corrected.bin", "checksums"), ("probe.json", "checksums")} <= set(unchecked)
    assert {("motion.h5", "input peaks"), ("corrected.bin", "done again")} <= set(unchecked)
    ok = {(each.file, each.check) for each in found.findings if each.state == "ok"}
    assert ok == {("motion.h5", "content"), ("peaks.h5", "done again")}

    (folder / "probe.json").unlink()
    with h5py.File(folder / "peaks.h5", "r+") as file:
        file["peaks/sample_index"][5] = 59_000
    found = verify(folder, WORK, places=0)
    assert {("probe.json", "checksums"), ("peaks.h5", "content")} == {(each.file, each.check) for each in found.wrong}


def test_what_this_driftcli_wrote_lacks_nothing(made):
    """Facts that are gone from a log that has checksums are none of an older driftcli."""
    folder = made("raw").folder
    for output, key in (("peaks.h5", "recording"), ("corrected.bin", "options"), ("motion.h5", "preset")):
        with kept(folder / "run.json"):
            log = json.loads((folder / "run.json").read_text())
            del log["outputs"][output][key], log["outputs"][output]["sha256_of_facts"]
            (folder / "run.json").write_text(json.dumps(log))
            assert (output, "facts") in wrong_of(made("raw"))


def forge(made, value):
    """Add to one value of the binary, and have the log agree with it."""
    rows = np.fromfile(made.binary, "<i2").reshape(-1, 24)
    rows[20_000, 3] += value
    rows.tofile(made.binary)
    crc = zlib.crc32(rows[16_384:32_768].tobytes())

    def change(outputs):
        sums = outputs["corrected.bin"]["checksums"]["corrected.bin"]
        crcs = sums["crc32_of_blocks"].split()
        sums["crc32_of_blocks"] = " ".join([crcs[0], f"{crc:08x}", *crcs[2:]])

    rewrite(made.folder, change)


def test_a_forgery_that_agrees_with_itself(made):
    with kept(made("raw").binary, made("raw").folder / "run.json"):
        forge(made("raw"), 1)
        assert not wrong_of(made("raw"))
        wrong = wrong_of(made("raw"), places=ALL)
    assert set(wrong) == {("corrected.bin", "done again")}
    told = "samples 16384 to 32768 (0.546 to 1.092 s), by up to 1"
    assert told in wrong["corrected.bin", "done again"]


def test_forged_peaks(made):
    for kind in ("raw", "selected"):
        path = made(kind).folder / "peaks.h5"
        for name, value in (("y_um", 50.0), ("amplitude_uv", -1.0), ("channel_index", 1)):
            with kept(path, path.with_name("run.json")):
                with h5py.File(path, "r+") as file:
                    assert file[f"peaks/{name}"][7] != value
                    file[f"peaks/{name}"][7] = value
                rewrite(
                    path.parent,
                    lambda outputs, path=path: outputs["peaks.h5"]["checksums"].update({path.name: checksum_of(path)}),
                )
                assert ("peaks.h5", "done again") in wrong_of(made(kind), places=ALL), (kind, name)


def test_a_peak_that_is_not_stored_is_missed_unless_peaks_were_selected(made):
    path = made("raw").folder / "peaks.h5"
    with kept(path, path.with_name("run.json")):
        with h5py.File(path, "r+") as file:
            for name in list(file["peaks"]):
                values = file[f"peaks/{name}"][()]
                attributes = dict(file[f"peaks/{name}"].attrs)
                del file[f"peaks/{name}"]
                file[f"peaks/{name}"] = np.delete(values, 7)
                file[f"peaks/{name}"].attrs.update(attributes)
            count = len(values) - 1

        def change(outputs):
            outputs["peaks.h5"]["checksums"]["peaks.h5"] = checksum_of(path)
            outputs["peaks.h5"]["counts"]["peaks"] = count

        rewrite(path.parent, change)
        wrong = wrong_of(made("raw"), places=ALL)
    assert ("peaks.h5", "content") not in wrong
    assert wrong["peaks.h5", "done again"].startswith("1 peaks")


def test_another_machine_may_differ_by_one_lsb(made, monkeypatch):
    monkeypatch.setattr(verify_again, "cpu_type", lambda: "another")
    with kept(made("raw").binary, made("raw").folder / "run.json"):
        forge(made("raw"), 1)
        found = verify(made("raw").folder, WORK, places=ALL)
        assert not found.wrong
        texts = [finding.text for finding in found.findings if finding.check == "done again"]
        assert all("another type of CPU" in text for text in texts)
        assert "to within 1 LSB" in texts[1]
        assert "peaks the same to within 0.001: done" in texts[0]
        forge(made("raw"), 1)
        assert ("corrected.bin", "done again") in wrong_of(made("raw"), places=ALL)


def test_places_and_seed(made):
    def texts(**how):
        found = verify(made("raw").folder, WORK, **how)
        return [finding.text for finding in found.findings if finding.check == "done again"]

    assert texts(places=0) == []
    assert texts(places=1)[1].startswith("1 block corrected again")
    with kept(made("raw").binary, made("raw").folder / "run.json"):
        forge(made("raw"), 1)
        ok = {seed: not verify(made("raw").folder, WORK, places=1, seed=seed).wrong for seed in range(8)}
        assert set(ok.values()) == {True, False}
        assert ok == {seed: not verify(made("raw").folder, WORK, places=1, seed=seed).wrong for seed in range(8)}
    assert verify(made("raw").folder, WORK, places=0).seed != verify(made("raw").folder, WORK, places=0).seed
    with pytest.raises(UsageError):
        verify(made("raw").folder, WORK, places=-1)


def test_a_motion_that_came_without_a_recording(made, tmp_path):
    """The correction is then of a recording that only its own facts describe."""
    source, (binary, probe) = made("raw"), made("raw").inputs
    export(source.folder / "motion.h5", "csv", source.settings, tmp_path / "motion.csv", WORK)
    import_motion(read_source(tmp_path / "motion.csv"), source.settings, tmp_path / "motion.h5", WORK)
    recording = open_recording(binary, probe=probe, gain_to_uv=3.0, end_s=1.5, reporter=Reporter())
    apply(recording, tmp_path / "motion.h5", source.settings, tmp_path / "mine.bin", WORK)
    found = verify(tmp_path / "mine.bin", WORK, places=ALL)
    assert not found.wrong
    assert found.findings[-1].text == "3 blocks corrected again, the same to the byte"


def test_outputs_of_the_other_verbs(made):
    source, folder = made("raw"), made("raw").folder.parent / "others"
    folder.mkdir()
    motion, work = source.folder / "motion.h5", Work(jobs=2)
    correct_peaks(source.folder / "peaks.h5", motion, source.settings, folder / "corrected_peaks.h5", work)
    for to, name in (("csv", "motion.csv"), ("npz", "motion.npz"), ("spikeinterface", "si"), ("kilosort", "ks.json")):
        export(motion, to, source.settings, folder / name, work)
    import_motion(read_source(folder / "motion.npz"), source.settings, folder / "imported.h5", work)
    assert not verify(folder, WORK).wrong
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "run.json"]
    assert len(files) > 6
    for path in files:
        with flipped(path, path.stat().st_size // 2):
            wrong = {(finding.file, finding.check) for finding in verify(folder, WORK).wrong}
        assert (path.relative_to(folder).as_posix(), "checksums") in wrong


def test_a_recording_behind_links(made, tmp_path):
    """As data sets in git-annex have them: the files that links lead to have other names, and nothing beside them."""
    for number, path in enumerate(made("spikeglx").inputs):
        (tmp_path / f"object{number}").write_bytes(path.read_bytes())
        (tmp_path / path.name).symlink_to(tmp_path / f"object{number}")
    recording = open_recording(tmp_path / made("spikeglx").inputs[0].name, reporter=Reporter())
    run(recording, made("spikeglx").settings, tmp_path / "out", WORK)
    found = verify(tmp_path / "out", WORK, places=2)
    assert {finding.state for finding in found.findings} == {"ok"}


def test_unfinished_work_is_a_note(made):
    place = made("raw").folder / ".corrected.bin.work"
    place.mkdir()
    try:
        found = verify(made("raw").folder, WORK, places=0)
    finally:
        place.rmdir()
    assert found.findings[-1].file == place.name
    assert (found.findings[-1].state, found.wrong) == ("note", [])


def test_one_file_instead_of_the_folder(made):
    folder = made("raw").folder
    found = verify(folder / "probe.json", WORK, places=0)
    assert {finding.file for finding in found.findings} == {"corrected.bin", "probe.json"}
    with pytest.raises(InputError, match=r"does not tell of other\.bin"):
        verify(folder / "other.bin", WORK)


@pytest.mark.parametrize("text", [None, "", "[]", '{"format": "driftcli run"}', '{"format": "x", "outputs": {}}'])
def test_without_a_log_there_is_nothing_to_verify(tmp_path, text):
    if text is not None:
        (tmp_path / "run.json").write_text(text)
    with pytest.raises(InputError):
        verify(tmp_path, WORK)


@pytest.mark.parametrize(
    "facts",
    [None, {}, {"verb": "detect", "inputs": []}, {"verb": "apply", "inputs": {}, "files": [3]}],
)
def test_a_log_of_no_sense(tmp_path, facts):
    (tmp_path / "run.json").write_text(json.dumps({"format": "driftcli run", "outputs": {"a.bin": facts}}))
    with pytest.raises(InputError):
        verify(tmp_path, WORK)


def test_a_log_leads_nowhere_else(tmp_path):
    """Names in the log are those of files in the folder."""
    facts = {"verb": "detect", "inputs": {}, "checksums": {"../secret": {"size_bytes": 1, "sha256": ""}}}
    (tmp_path / "run.json").write_text(json.dumps({"format": "driftcli run", "outputs": {"peaks.h5": facts}}))
    found = verify(tmp_path, WORK)
    assert any("lies outside" in finding.text for finding in found.wrong)


def test_progress_is_told(made):
    class Counting(Reporter):
        def __init__(self):
            self.stages = {}

        def progress(self, stage, done, total, recording_s=0.0):
            self.stages[stage] = done / total

    reporter = Counting()
    verify(made("raw").folder, Work(jobs=2, reporter=reporter))
    assert reporter.stages == {"read corrected.bin": 1.0, "detect again": 1.0, "apply again": 1.0}


def test_what_does_not_exist_is_told(tmp_path):
    with pytest.raises(InputError, match="nonexist does not exist"):
        verify(tmp_path / "nonexist", WORK)
