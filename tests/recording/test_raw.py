"""Raw files: samples, facts, defaults said aloud, and what is told when they don't fit."""

import os
from pathlib import Path

import numpy as np
import pytest

from driftcli.errors import InputError, UsageError
from driftcli.recording.convert import to_traces
from driftcli.recording.facts import facts_of
from driftcli.recording.open import open_recording
from make_raw import column_of_contacts, counts, probe_dict, write_json_probe, write_line_probe


def raw_file(folder: Path, samples: np.ndarray, name: str = "rec.bin", header: bytes = b"", tail: bytes = b"") -> Path:
    (folder / name).write_bytes(header + samples.tobytes() + tail)
    return folder / name


@pytest.mark.parametrize("dtype", ["int16", "float32"])
@pytest.mark.parametrize("offset_bytes", [0, 3, 4096])
def test_samples_and_facts(tmp_path, reporter, dtype, offset_bytes):
    samples = counts(101, 6).astype(dtype)
    path = raw_file(tmp_path, samples, header=b"h" * offset_bytes)
    recording = open_recording(
        path,
        probe=write_line_probe(tmp_path / "p.json", 6),
        dtype=dtype,
        sampling_frequency_hz=25000,
        offset_bytes=offset_bytes,
        reporter=reporter,
    )
    assert (recording.num_samples, recording.num_columns) == (101, 6)
    assert recording.dtype == np.dtype(dtype)
    assert recording.duration_s == 101 / 25000
    assert facts_of(recording).amplitude_unit == "file units"
    for start, stop in ((0, 101), (0, 1), (50, 73), (100, 101), (40, 40), (101, 101)):
        np.testing.assert_array_equal(recording.read(start, stop), samples[start:stop])
    assert not recording.read(0, 10).flags.writeable
    assert reporter.texts == []


def test_windows_outside_the_recording_are_refused(tmp_path, reporter):
    recording = open_recording(
        raw_file(tmp_path, counts(10, 2)), probe=write_line_probe(tmp_path / "p.json", 2), reporter=reporter
    )
    for start, stop in ((-1, 2), (5, 11), (6, 5)):
        with pytest.raises(ValueError, match="of a recording of 10"):
            recording.read(start, stop)


def test_defaults_are_said_aloud(tmp_path, reporter):
    path, probe = raw_file(tmp_path, counts(10, 2)), write_line_probe(tmp_path / "p.json", 2)
    recording = open_recording(path, probe=probe, reporter=reporter)
    assert (recording.sampling_frequency_hz, recording.dtype) == (30000.0, np.dtype("<i2"))
    assert reporter.texts == ["no sampling frequency given: taking 30000 Hz (--sampling-frequency changes it)"]


def test_a_gain_makes_traces_microvolts(tmp_path, reporter):
    path, probe = raw_file(tmp_path, counts(10, 2)), write_line_probe(tmp_path / "p.json", 2)
    recording = open_recording(path, probe=probe, gain_to_uv=2.34375, reporter=reporter)
    assert facts_of(recording).amplitude_unit == "uV"
    np.testing.assert_array_equal(recording.gain_to_uv, [2.34375, 2.34375])


def test_shuffled_columns_and_unconnected_ones_give_the_same_traces(tmp_path, reporter):
    samples, order = counts(200, 5), np.array([3, 0, 4, 1, 2])
    shuffled = np.empty((200, 7), "<i2")
    shuffled[:] = 12345
    shuffled[:, order] = samples
    positions = column_of_contacts(5)
    with_unconnected = probe_dict([*positions[:2], (99, 99), *positions[2:]], [*order[:2], -1, *order[2:]])
    plain = open_recording(
        raw_file(tmp_path, samples, "plain.bin"), probe=write_line_probe(tmp_path / "p.json", 5), reporter=reporter
    )
    other = open_recording(
        raw_file(tmp_path, shuffled, "other.bin"),
        probe=write_json_probe(tmp_path / "q.json", with_unconnected),
        num_channels=7,
        reporter=reporter,
    )
    np.testing.assert_array_equal(plain.geometry.positions_um, other.geometry.positions_um)
    np.testing.assert_array_equal(
        to_traces(plain.read(0, 200), plain.columns, None), to_traces(other.read(0, 200), other.columns, None)
    )


@pytest.mark.parametrize(("columns_in_file", "expected"), [(4, 4), (5, 5)])
def test_an_unconnected_contact_may_or_may_not_have_a_column(tmp_path, reporter, columns_in_file, expected):
    probe = write_json_probe(tmp_path / "p.json", probe_dict(column_of_contacts(5), [0, 1, 2, 3, -1]))
    recording = open_recording(raw_file(tmp_path, counts(7, columns_in_file)), probe=probe, reporter=reporter)
    assert (recording.num_columns, recording.num_samples) == (expected, 7)
    assert f"taking {expected} channels" in str(reporter)


def test_a_raw_file_needs_a_probe(tmp_path, reporter):
    with pytest.raises(UsageError, match="does not say where its contacts are") as caught:
        open_recording(raw_file(tmp_path, counts(10, 2)), reporter=reporter)
    assert "--probe" in caught.value.hint


def test_a_spikeglx_name_without_its_meta_is_told_so(tmp_path, reporter):
    with pytest.raises(UsageError) as caught:
        open_recording(raw_file(tmp_path, counts(10, 2), "r_g0_t0.imec0.ap.bin"), reporter=reporter)
    assert "put r_g0_t0.imec0.ap.meta beside it, or give --probe" in caught.value.hint


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_channels": 0}, "--num-channels 0"),
        ({"sampling_frequency_hz": 0.0}, "--sampling-frequency 0.0"),
        ({"sampling_frequency_hz": float("nan")}, "--sampling-frequency nan"),
        ({"gain_to_uv": -1.0}, "--gain-to-uv -1.0"),
        ({"dtype": "float64"}, "--dtype float64 is not known"),
        ({"offset_bytes": -1}, "--offset-bytes -1"),
    ],
)
def test_options_that_make_no_sense(tmp_path, reporter, options, message):
    path, probe = raw_file(tmp_path, counts(10, 2)), write_line_probe(tmp_path / "p.json", 2)
    with pytest.raises(UsageError, match=message):
        open_recording(path, probe=probe, reporter=reporter, **options)


def test_files_that_are_missing_folders_or_empty(tmp_path, reporter):
    probe = write_line_probe(tmp_path / "p.json", 2)
    (tmp_path / "empty.bin").touch()
    (tmp_path / "alone.ap.meta").write_text("typeThis=imec\n")
    for name, message, hint in (
        ("absent.bin", "there is no file", "check the path"),
        ("alone.ap.bin", "there is no file", "alone.ap.meta is there, its .bin is not"),
        ("alone.ap.meta", "holds no samples", "give alone.ap.bin"),
        ("empty.bin", "is empty", "copied whole"),
        (".", "is a folder", "X.bin"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            open_recording(tmp_path / name, probe=probe, reporter=reporter)
        assert hint in caught.value.hint


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path, reporter):
    path = raw_file(tmp_path, counts(10, 2))
    path.chmod(0)
    with pytest.raises(InputError, match=r"cannot read .*Permission denied"):
        open_recording(path, probe=write_line_probe(tmp_path / "p.json", 2), reporter=reporter)


@pytest.mark.parametrize(
    ("columns_in_file", "said", "surplus_frames", "hint"),
    [
        (385, None, (77, 77 * 385 % 384), "385 channels would fit: --num-channels 385"),
        (384, 385, (76, 77 * 384 % 385), "384 channels would fit: --num-channels 384"),
    ],
)
def test_a_wrong_channel_count_says_by_how_much_and_offers_the_right_one(
    tmp_path, reporter, columns_in_file, said, surplus_frames, hint
):
    path, probe = raw_file(tmp_path, counts(77, columns_in_file)), write_line_probe(tmp_path / "p.json", 384)
    frames, surplus = surplus_frames
    with pytest.raises(InputError, match=rf"{2 * surplus} bytes more than {frames} whole frames of") as caught:
        open_recording(path, probe=probe, num_channels=said, reporter=reporter)
    assert caught.value.hint.startswith(hint)


def test_a_file_cut_inside_a_sample_fits_no_channel_count(tmp_path, reporter):
    path, probe = raw_file(tmp_path, counts(10, 4), tail=b"x"), write_line_probe(tmp_path / "p.json", 4)
    with pytest.raises(InputError, match="holds 1 bytes more than 10 whole frames of 4 int16") as caught:
        open_recording(path, probe=probe, reporter=reporter)
    assert "no likely channel count fits" in caught.value.hint


def test_an_offset_beyond_the_file(tmp_path, reporter):
    path, probe = raw_file(tmp_path, counts(10, 4)), write_line_probe(tmp_path / "p.json", 4)
    with pytest.raises(InputError, match="ends before its 80 offset bytes do"):
        open_recording(path, probe=probe, offset_bytes=80, reporter=reporter)


def test_a_probe_with_more_channels_than_said(tmp_path, reporter):
    path, probe = raw_file(tmp_path, counts(12, 4)), write_line_probe(tmp_path / "p.json", 4)
    with pytest.raises(InputError, match=r"more channels than rec.bin: it wires column 3 of 3"):
        open_recording(path, probe=probe, num_channels=3, reporter=reporter)


def test_a_file_that_shrinks_or_goes_while_it_is_read(tmp_path, reporter):
    path = raw_file(tmp_path, counts(100, 4))
    recording = open_recording(path, probe=write_line_probe(tmp_path / "p.json", 4), reporter=reporter)
    os.truncate(path, 80)
    with pytest.raises(InputError, match="cannot read samples 50 to 100"):
        recording.read(50, 100)
    path.unlink()
    with pytest.raises(InputError, match="cannot read samples 0 to 10"):
        recording.read(0, 10)


def test_the_input_is_opened_read_only(tmp_path, reporter):
    path = raw_file(tmp_path, counts(100, 4))
    path.chmod(0o444)
    before = path.stat()
    recording = open_recording(path, probe=write_line_probe(tmp_path / "p.json", 4), reporter=reporter)
    with pytest.raises(ValueError, match="read-only"):
        recording.read(0, 10)[0, 0] = 1
    assert (path.stat().st_mtime_ns, path.stat().st_size) == (before.st_mtime_ns, before.st_size)


def test_resident_memory_does_not_grow_with_the_file(tmp_path, reporter):
    def resident_mb() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    path = tmp_path / "long.bin"
    with path.open("wb") as file:
        file.truncate(200_000_000)
    recording = open_recording(path, probe=write_line_probe(tmp_path / "p.json", 100), reporter=reporter)
    assert recording.num_samples == 1_000_000
    recording.read(0, 10_000).sum()
    before = resident_mb()
    highest = 0.0
    for start in range(0, 1_000_000, 10_000):
        window = recording.read(start, start + 10_000)
        assert window.sum() == 0
        highest = max(highest, resident_mb())
    assert highest - before < 20
