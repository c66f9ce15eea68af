"""A file that a thread writes holds the same bytes, and its errors are not lost."""

from __future__ import annotations

import functools
import os
import sys
import threading

import numpy as np
import pytest

from regraft.storage import filesystem
from regraft.storage.background import BackgroundFile
from regraft.storage.direct import DirectWriter


def _pieces(count, size=100_001):
    return [np.full(size, i % 251, np.uint8) for i in range(count)]


@pytest.mark.parametrize("count", [0, 1, 40, 600])
def test_bytes_come_in_order(tmp_path, count):
    file = BackgroundFile(str(tmp_path / "file"))
    pieces = _pieces(count)
    for index, piece in enumerate(pieces):
        assert file.write(piece) == len(piece)
        if index == 20:
            file.flush_soon()
        file.write(b"")
        file.write(b"text")
    file.close()
    expected = b"".join(piece.tobytes() + b"text" for piece in pieces)
    assert (tmp_path / "file").read_bytes() == expected


def test_views_of_what_others_hold_do_not_wait(tmp_path, monkeypatch):
    may_write, write = threading.Event(), DirectWriter.write

    def wait(*args):
        assert may_write.wait(60)
        write(*args)

    monkeypatch.setattr(DirectWriter, "write", wait)
    whole = np.frombuffer(bytearray(64 << 20), np.uint8)
    file = BackgroundFile(str(tmp_path / "file"))
    for start in range(0, whole.size, 1 << 20):
        filesystem.write_all(file, whole[start : start + (1 << 20)])
    assert not may_write.is_set()
    may_write.set()
    file.close()
    assert os.path.getsize(tmp_path / "file") == whole.size


def _write_often(file, piece):
    for _ in range(1_000_000):
        file.write(piece)


def test_an_error_of_the_thread_is_raised(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    for name in ("writev", "pwrite"):
        monkeypatch.setattr(os, name, fail)
    file = BackgroundFile(str(tmp_path / "file"))
    with pytest.raises(OSError, match="No space"):
        _write_often(file, np.zeros(1 << 20, np.uint8))
    with pytest.raises(OSError, match="No space"):
        file.close()
    small = BackgroundFile(str(tmp_path / "small"))
    small.write(b"x")
    with pytest.raises(OSError, match="No space"):
        small.close()


def test_what_is_abandoned_is_not_waited_for(tmp_path):
    for count in (1, 100):
        file = BackgroundFile(str(tmp_path / "file"))
        for piece in _pieces(count):
            file.write(piece)
        file.abandon()
        file.abandon()


def test_a_writing_thread_gets_its_turn_soon_and_all_is_as_before(tmp_path):
    usual = sys.getswitchinterval()
    first = BackgroundFile(str(tmp_path / "first"))
    second = BackgroundFile(str(tmp_path / "second"))
    seen = []
    original = BackgroundFile._write

    def note(file, batch):
        seen.append(sys.getswitchinterval())
        original(file, batch)

    for file in (first, second):
        file._write = functools.partial(note, file)
        for piece in _pieces(40):
            file.write(piece)
    first.close()
    second.abandon()
    assert seen
    assert max(seen) < usual
    assert sys.getswitchinterval() == usual
