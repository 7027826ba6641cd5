"""Windows of a file: what they hold, and what becomes of a file that can't be read any more."""

import errno
import mmap
import os

import numpy as np
import pytest

from driftcli.errors import InputError
from driftcli.recording import samples
from driftcli.recording.samples import BinarySamples

COLUMNS = 7


@pytest.fixture
def data():
    return np.random.default_rng(0).integers(-32768, 32767, (50_000, COLUMNS)).astype("<i2")


def written(tmp_path, data, header=b""):
    path = tmp_path / "rec.bin"
    path.write_bytes(header + data.tobytes())
    return BinarySamples(path, np.dtype("<i2"), COLUMNS, len(data), len(header))


@pytest.mark.parametrize("header", [0, 1, 100, 4096, 5001])
def test_windows_hold_the_samples_wherever_they_begin(tmp_path, data, header):
    source = written(tmp_path, data, bytes(header))
    for start, stop in [(0, 50_000), (0, 1), (49_999, 50_000), (12_345, 32_109), (7, 7), (50_000, 50_000)]:
        window = source.read(start, stop)
        np.testing.assert_array_equal(window, data[start:stop])
        assert start == stop or not window.flags.writeable


def test_a_window_outlives_its_file(tmp_path, data):
    source = written(tmp_path, data)
    window = source.read(100, 20_000)
    source.path.unlink()
    np.testing.assert_array_equal(window, data[100:20_000])


@pytest.mark.parametrize("lost", [1, 2_000, 600_000])
def test_a_file_that_was_cut_off_since_is_refused(tmp_path, data, lost):
    source = written(tmp_path, data)
    os.truncate(source.path, data.nbytes - lost)
    with pytest.raises(InputError, match=r"read samples 10000 to 50000 of .*rec.bin: the file is shorter") as told:
        source.read(10_000, 50_000)
    assert "--resume" in told.value.hint
    np.testing.assert_array_equal(source.read(0, 5_000), data[:5_000])


def test_a_file_that_is_gone_is_refused(tmp_path, data):
    source = written(tmp_path, data)
    source.path.unlink()
    with pytest.raises(InputError, match="No such file"):
        source.read(0, 10)


def test_pages_that_cannot_be_read_are_an_error_and_no_signal(tmp_path, data):
    """A page beyond the end of a file: to touch it would be SIGBUS."""
    source = written(tmp_path, data)
    with source.path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        array = np.frombuffer(mapped, np.uint8)
        samples._populate(array.ctypes.data, len(array))
        os.truncate(source.path, 4096)
        with pytest.raises(OSError, match="Input/output") as failed:
            samples._populate(array.ctypes.data, len(array))
        assert failed.value.errno == errno.EIO
        del array


@pytest.mark.parametrize(
    ("number", "refused"), [(errno.EFAULT, True), (errno.EIO, True), (133, True), (errno.EINVAL, False)]
)
def test_what_the_kernel_says_of_pages(tmp_path, data, monkeypatch, number, refused):
    def madvise(address, size, advice):
        samples.ctypes.set_errno(number)
        return -1

    source = written(tmp_path, data)
    monkeypatch.setattr(samples, "_madvise", madvise)
    if not refused:  # an older kernel, which reads pages as they are touched
        np.testing.assert_array_equal(source.read(3, 30_000), data[3:30_000])
        return
    with pytest.raises(InputError, match=r"cannot read samples 3 to 30000 of .*rec.bin: Input/output error") as told:
        source.read(3, 30_000)
    assert "--resume" in told.value.hint
