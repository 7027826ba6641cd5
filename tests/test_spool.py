"""Spools: pieces come back whole, or not at all."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from driftcli.errors import OutputError
from driftcli.spool import Spool, spool

PIECES = [bytes([value]) * size for value, size in enumerate((5, 0, 1, 10_000, 77))]


def test_pieces_of_many_threads_come_back_in_another_process(tmp_path):
    with spool(tmp_path / "s") as out, ThreadPoolExecutor(4) as threads:
        stored = list(threads.map(out.put, PIECES * 20))
    with spool(tmp_path / "s") as again:
        later = again.put(b"later")
        assert [again.get(each) for each in stored] == PIECES * 20
        assert again.get(later) == b"later"


def test_what_is_damaged_or_missing_does_not_come_back(tmp_path):
    with spool(tmp_path / "s") as out:
        first, _, third, *_ = [out.put(piece) for piece in PIECES]
        last = out.put(b"end")
        with (tmp_path / "s").open("r+b") as file:
            file.seek(third.offset)
            file.write(b"X")
            file.truncate(last.offset + 2)
        assert out.get(first) == PIECES[0]
        assert out.get(third) is None
        assert out.get(last) is None


def test_short_writes_are_continued(tmp_path, monkeypatch):
    really = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda descriptor, data, at: really(descriptor, data[:3], at))
    with spool(tmp_path / "s") as out:
        assert out.get(out.put(b"more than three")) == b"more than three"


def test_a_full_disk_and_a_bad_one_are_told(tmp_path, monkeypatch):
    def broken(*_):
        raise OSError(5, "Input/output error")

    def stale(*_):
        raise OSError(116, "Stale file handle")

    with spool(tmp_path / "s") as out:
        stored = out.put(b"data")
        monkeypatch.setattr(os, "pwrite", broken)
        monkeypatch.setattr(os, "pread", broken)
        with pytest.raises(OutputError, match="cannot write"):
            out.put(b"data")
        assert out.get(stored) is None  # a sector that is lost: what was there is made again
        monkeypatch.setattr(os, "pread", stale)
        with pytest.raises(OutputError, match="cannot read"):
            out.get(stored)
    with pytest.raises(OutputError, match="cannot write"):
        Spool(tmp_path / "absent" / "s")


def test_links_are_not_followed(tmp_path):
    (tmp_path / "precious").write_bytes(b"1234")
    (tmp_path / "s").symlink_to(tmp_path / "precious")
    with pytest.raises(OutputError, match="cannot write"):
        Spool(tmp_path / "s")
