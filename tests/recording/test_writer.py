"""Binary files of known size: written in any order, by any number of threads and processes."""

import errno
import fcntl
import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from driftcli.errors import OutputError
from driftcli.recording import writer
from driftcli.recording.writer import BinaryFile
from make_raw import counts


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_blocks_written_by_many_threads_in_any_order_make_the_file(tmp_path, dtype):
    samples = counts(1003, 5).astype(dtype)
    starts = np.random.default_rng(0).permutation(np.arange(0, 1003, 17))
    with BinaryFile(tmp_path / "out.bin", dtype, 5, 1003) as out, ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda start: out.write(start, samples[start : start + 17]), starts.tolist()))
    np.testing.assert_array_equal(np.fromfile(tmp_path / "out.bin", dtype).reshape(-1, 5), samples)
    assert os.listdir(tmp_path) == ["out.bin"]


def test_blocks_need_not_be_contiguous(tmp_path):
    samples = counts(40, 6)
    with BinaryFile(tmp_path / "out.bin", "int16", 3, 40) as out:
        out.write(0, samples[:, ::2])
    np.testing.assert_array_equal(np.fromfile(tmp_path / "out.bin", "<i2").reshape(-1, 3), samples[:, ::2])


def test_short_writes_are_continued(tmp_path, monkeypatch):
    samples, pwrite = counts(40, 6), os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: pwrite(fd, data[:7], at))
    with BinaryFile(tmp_path / "out.bin", "int16", 6, 40) as out:
        out.write(0, samples)
    np.testing.assert_array_equal(np.fromfile(tmp_path / "out.bin", "<i2").reshape(-1, 6), samples)


def test_no_room_is_told_before_a_byte_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(100, 50, 50))
    with pytest.raises(OutputError, match="no room on the disk"), BinaryFile(tmp_path / "out.bin", "int16", 2, 1000):
        pass
    assert os.listdir(tmp_path) == []


def test_a_disk_that_fills_up_is_told(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OutputError, match="No space left"), BinaryFile(tmp_path / "out.bin", "int16", 2, 1000):
        pass
    assert os.listdir(tmp_path) == []
    monkeypatch.undo()
    monkeypatch.setattr(os, "pwrite", full)
    with (
        pytest.raises(OutputError, match="No space left"),
        BinaryFile(tmp_path / "out.bin", "int16", 2, 1000) as out,
    ):
        out.write(0, counts(10, 2))


def test_a_file_system_that_cannot_take_room_is_written_all_the_same(tmp_path, monkeypatch):
    def unable(*_):
        raise OSError(writer.errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", unable)
    with BinaryFile(tmp_path / "out.bin", "int16", 2, 15) as out:
        out.write(2, counts(10, 2))
    expected = np.vstack([np.zeros((2, 2)), counts(10, 2), np.zeros((3, 2))])
    np.testing.assert_array_equal(np.fromfile(tmp_path / "out.bin", "<i2").reshape(-1, 2), expected)


def test_the_room_is_taken_at_the_start(tmp_path):
    with BinaryFile(tmp_path / "out.bin", "int16", 2, 100_000):
        assert os.listdir(tmp_path) == ["out.bin"]
        assert (tmp_path / "out.bin").stat().st_size == 400_000


@pytest.mark.parametrize("links", [True, False])
def test_what_is_there_stays(tmp_path, monkeypatch, links):
    """Another process has put samples there, before or while this one made the file."""
    if not links:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError(errno.EPERM, "no links")))
    samples = counts(40, 6)
    with BinaryFile(tmp_path / "out.bin", "int16", 6, 40) as first, BinaryFile(first.path, "int16", 6, 40) as second:
        first.write(0, samples[:15])
        second.write(15, samples[15:])
        np.testing.assert_array_equal(first.read(10, 40), samples[10:])
    with BinaryFile(tmp_path / "out.bin", "int16", 6, 40) as again:
        np.testing.assert_array_equal(again.read(0, 40), samples)
    assert os.listdir(tmp_path) == ["out.bin"]


def test_who_makes_the_file_second_takes_the_one_that_is_there(tmp_path, monkeypatch):
    def faster(new, path):
        path.write_bytes(b"1234")
        really(new, path)

    really = os.link
    monkeypatch.setattr(os, "link", faster)
    with BinaryFile(tmp_path / "out.bin", "int16", 1, 2) as out:
        assert out.read(0, 2).tobytes() == b"1234"
    assert os.listdir(tmp_path) == ["out.bin"]


def test_a_file_of_another_size_is_of_other_work(tmp_path):
    (tmp_path / "out.bin").write_bytes(b"1")
    with pytest.raises(OutputError, match="of other work"), BinaryFile(tmp_path / "out.bin", "int16", 1, 2):
        pass


def test_links_are_not_followed(tmp_path):
    (tmp_path / "precious").write_bytes(b"1234")
    (tmp_path / "out.bin").symlink_to(tmp_path / "precious")
    with pytest.raises(OutputError, match="cannot write"), BinaryFile(tmp_path / "out.bin", "int16", 1, 2):
        pass
    assert (tmp_path / "precious").read_bytes() == b"1234"


def test_of_a_file_that_was_cut_off_nothing_is_read(tmp_path):
    with BinaryFile(tmp_path / "out.bin", "int16", 2, 10) as out:
        os.truncate(out.path, 13)
        assert out.read(0, 10).shape == (0, 2)
        assert out.read(0, 3).shape == (3, 2)


def test_a_folder_that_is_not_there_or_may_not_be_written(tmp_path):
    with pytest.raises(OutputError, match="there is no folder"):
        BinaryFile(tmp_path / "absent" / "out.bin", "int16", 2, 10).__enter__()
    with pytest.raises(OutputError, match="is a folder"):
        BinaryFile(tmp_path, "int16", 2, 10).__enter__()


@pytest.mark.parametrize(
    ("start", "shape", "dtype"),
    [(8, (3, 2), "<i2"), (-1, (3, 2), "<i2"), (0, (3, 3), "<i2"), (0, (3, 2), "<f4"), (0, (6,), "<i2")],
)
def test_blocks_that_do_not_fit_are_refused(tmp_path, start, shape, dtype):
    with BinaryFile(tmp_path / "out.bin", "int16", 2, 10) as out, pytest.raises(ValueError, match="is not of"):
        out.write(start, np.zeros(shape, dtype))


def test_an_empty_file_can_be_written(tmp_path):
    with BinaryFile(tmp_path / "out.bin", "int16", 2, 0) as out:
        out.write(0, np.zeros((0, 2), "<i2"))
    assert (tmp_path / "out.bin").stat().st_size == 0


def aligned(samples, columns, dtype):
    """Counts in memory that can be written directly."""
    values = counts(samples, columns).astype(dtype)
    room = np.empty(values.nbytes + writer.DIRECT_BYTES, np.uint8)
    place = room[-room.ctypes.data % writer.DIRECT_BYTES :][: values.nbytes].view(values.dtype).reshape(values.shape)
    place[:] = values
    return place


def can_write_directly(folder):
    try:
        os.close(os.open(folder / "probe", os.O_WRONLY | os.O_CREAT | os.O_DIRECT))
    except OSError:
        return False
    (folder / "probe").unlink()
    return True


@pytest.mark.parametrize("direct", ["yes", "not opened", "refused"])
@pytest.mark.parametrize("dtype", ["int16", "float32"])
@pytest.mark.parametrize("columns", [384, 385, 7])
def test_the_same_file_by_direct_writes_and_others(tmp_path, monkeypatch, columns, dtype, direct):
    """Blocks of whole pages in any order, one in memory that isn't aligned, and a last one that ends within a page."""
    directly, write, flag = [], os.pwrite, os.O_DIRECT
    if direct == "yes" and not can_write_directly(tmp_path):
        pytest.skip("this file system has no direct writes")

    def pwrite(descriptor, data, position):
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & flag:
            if direct == "refused":
                raise OSError(errno.EINVAL, "Invalid argument")
            directly.append((position, len(data)))
        return write(descriptor, data, position)

    monkeypatch.setattr(os, "pwrite", pwrite)
    if direct == "not opened":
        monkeypatch.delattr(os, "O_DIRECT")
    values = aligned(3 * 4096 + 321, columns, dtype)
    block_bytes, rest_bytes = values[:4096].nbytes, values[3 * 4096 :].nbytes
    with BinaryFile(tmp_path / "out.bin", dtype, columns, len(values)) as out:
        out.write(8192, values[8192 : 3 * 4096])
        out.write(3 * 4096, values[3 * 4096 :])
        out.write(0, values[:4096])
        out.write(4096, values[4095:8192][1:].copy())
    np.testing.assert_array_equal(np.fromfile(tmp_path / "out.bin", values.dtype).reshape(values.shape), values)
    pages = rest_bytes - rest_bytes % writer.DIRECT_BYTES
    expected = [(2 * block_bytes, block_bytes), (3 * block_bytes, pages), (0, block_bytes)]
    # the copy may lie on a page by chance
    late = [(block_bytes, block_bytes)]
    assert [each for each in directly if each not in late] == (
        [each for each in expected if each[1]] if direct == "yes" else []
    )


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_a_direct_write_that_fails_is_told(tmp_path, monkeypatch, number):
    def failing(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "pwrite", failing)
    with (
        pytest.raises(OutputError, match="cannot write"),
        BinaryFile(tmp_path / "out.bin", "int16", 384, 4096) as out,
    ):
        out.write(0, aligned(4096, 384, "int16"))


def test_writes_after_the_end_are_refused(tmp_path):
    with BinaryFile(tmp_path / "out.bin", "int16", 2, 10) as out:
        pass
    with pytest.raises(OutputError, match="cannot write"):
        out.write(0, counts(10, 2))
