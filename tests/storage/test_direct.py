"""Files written past the page cache hold the same bytes, wherever that can be done."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest

from regraft.storage import filesystem
from regraft.storage.direct import DirectWriter

needs_direct = pytest.mark.skipif(
    not hasattr(os, "O_DIRECT"), reason="this system knows no O_DIRECT"
)


def _written(path, sizes):
    """Writes pieces, two at a time; returns what they hold."""
    content = np.random.default_rng(0).bytes(sum(sizes))
    pieces, place = [], 0
    for size in sizes:
        pieces.append(memoryview(content)[place : place + size])
        place += size
    with filesystem.open_for_writing(path) as stream:
        writer = DirectWriter(str(path), stream)
        for start in range(0, len(pieces), 2):
            writer.write(pieces[start : start + 2])
        writer.finish()
    return content


SIZES = ([], [0, 1], [4096], [1 << 22, 5], [3, (1 << 22) - 3, 4097], [9_999_999, 0, 64])


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_bytes_are_the_same(tmp_path, sizes):
    assert _written(tmp_path / "file", sizes) == (tmp_path / "file").read_bytes()


@needs_direct
def test_whole_blocks_go_past_the_cache(tmp_path, monkeypatch):
    placed, pwrite = [], os.pwrite

    def watch(descriptor, data, place):
        placed.append((len(data), place))
        return pwrite(descriptor, data, place)

    monkeypatch.setattr(os, "pwrite", watch)
    _written(tmp_path / "file", [(1 << 23) + 4096 + 7])
    assert placed == [(1 << 22, 0), (1 << 22, 1 << 22), (4096, 1 << 23)]


@needs_direct
@pytest.mark.parametrize("name", ["open", "pwrite"])
def test_file_systems_that_cannot(tmp_path, monkeypatch, name):
    original = getattr(os, name)

    def cannot(*args, **kwargs):
        if name == "pwrite" or args[1] & os.O_DIRECT:
            raise OSError(errno.EINVAL, "Invalid argument")
        return original(*args, **kwargs)

    monkeypatch.setattr(os, name, cannot)
    content = _written(tmp_path / "file", [9_000_000, 11])
    assert (tmp_path / "file").read_bytes() == content


@needs_direct
def test_a_write_may_end_early(tmp_path, monkeypatch):
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda d, data, at: pwrite(d, data[:8192], at))
    content = _written(tmp_path / "file", [5_000_000, 5_000_000])
    assert (tmp_path / "file").read_bytes() == content


@needs_direct
def test_a_full_disk_is_an_error(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space"):
        _written(tmp_path / "file", [9_000_000])
