"""Files by path, local and remote."""

from __future__ import annotations

import errno
import mmap
import os
import sys
import threading

import numpy as np
import pytest

from regraft.errors import FormatError, LimitError, TruncatedError
from regraft.storage import filesystem


@pytest.fixture(params=["mapped", "unmapped", "remote"])
def file(request, tmp_path, monkeypatch):
    """A file of the bytes 0 to 99, opened in each way."""
    path = tmp_path / "file"
    if request.param == "remote":
        path = "memory://files/file"
    filesystem.make_directory(
        tmp_path if path != "memory://files/file" else "memory://files"
    )
    filesystem.write_bytes(path, bytes(range(100)))
    if request.param == "unmapped":

        def refuse(*arguments, **keywords):
            raise OSError(errno.ENODEV, "No map here")

        monkeypatch.setattr(mmap, "mmap", refuse)
    return filesystem.open_random_access(path)


def test_ranges_are_read(file):
    assert file.size == 100
    for offset, length in ((0, 100), (10, 5), (99, 1), (100, 0), (0, 0)):
        received = file.read(offset, length)
        assert received.dtype == np.uint8
        assert received.tolist() == list(range(offset, offset + length))


@pytest.mark.parametrize(
    ("offset", "length"), [(0, 101), (100, 1), (101, 0), (-1, 1), (1, -1), (2**63, 1)]
)
def test_range_outside_the_file_is_a_truncated_error(file, offset, length):
    with pytest.raises(TruncatedError, match="File ends too early"):
        file.read(offset, length)


def test_file_that_shrank_is_a_truncated_error(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(bytes(100))

    def refuse(*arguments, **keywords):
        raise OSError(errno.ENODEV, "No map here")

    monkeypatch.setattr(mmap, "mmap", refuse)
    file = filesystem.open_random_access(path)
    path.write_bytes(bytes(50))
    with pytest.raises(TruncatedError):
        file.read(0, 100)


def test_empty_file_is_opened(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    file = filesystem.open_random_access(tmp_path / "file")
    assert file.read(0, 0).size == file.size == 0


@pytest.mark.parametrize("root", ["local", "memory://missing"])
def test_missing_file_is_named(root, tmp_path):
    path = filesystem.join(tmp_path if root == "local" else root, "nothing")
    for read in (
        filesystem.read_bytes,
        filesystem.open_random_access,
        filesystem.open_seekable,
    ):
        with pytest.raises(FileNotFoundError, match="nothing"):
            read(path)
    assert not filesystem.is_file(path)
    assert not filesystem.is_directory(path)
    assert filesystem.list_names(path) == []
    filesystem.remove_file(path)


def test_only_regular_files_are_read(tmp_path):
    with pytest.raises(IsADirectoryError):
        filesystem.read_bytes(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(FormatError, match="Not a regular file"):
            filesystem.read_bytes(tmp_path / "pipe")
    if os.path.exists("/dev/zero"):
        with pytest.raises(FormatError, match="Not a regular file"):
            filesystem.open_random_access("/dev/zero")


def test_file_too_long_is_a_limit_error(tmp_path):
    (tmp_path / "file").write_bytes(bytes(11))
    with pytest.raises(LimitError, match=r"at most 10 bytes\. Received: 11 bytes"):
        filesystem.read_bytes(tmp_path / "file", max_bytes=10)


@pytest.mark.parametrize(
    ("path", "remote"),
    [
        ("model", False),
        ("/a/b", False),
        ("file:///a/b", False),
        ("C:\\models", False),
        ("a:b", False),
        ("gs://bucket/model", True),
        ("memory://model", True),
        ("simplecache::gs://bucket/model", True),
    ],
)
def test_remote_paths_have_a_scheme(path, remote):
    assert filesystem.is_remote(path) is remote


def test_path_of_the_scheme_file_is_local(tmp_path):
    filesystem.write_bytes(f"file://{tmp_path}/file", b"abc")
    assert (tmp_path / "file").read_bytes() == b"abc"
    assert filesystem.list_names(f"file://{tmp_path}") == ["file"]


def test_missing_fsspec_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(ImportError, match=r"pip install 'regraft\[remote\]'"):
        filesystem.read_bytes("memory://x/y")


def test_local_paths_do_without_fsspec(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec", None)
    filesystem.write_bytes(tmp_path / "file", b"abc")
    assert filesystem.read_bytes(tmp_path / "file") == b"abc"


def test_pointer_of_git_lfs_says_what_it_is(tmp_path):
    path = tmp_path / "file"
    path.write_text(
        "version https://git-lfs.github.com/spec/v1\n"
        f"oid sha256:{'0a' * 32}\nsize 98765\n"
    )
    for opened in (
        filesystem.read_bytes,
        filesystem.open_random_access,
        filesystem.open_seekable,
    ):
        with pytest.raises(FormatError, match="git lfs pull"):
            opened(path)
    # What only begins so is a file as any other.
    content = path.read_bytes() + bytes(2000)
    path.write_bytes(content)
    assert filesystem.read_bytes(path) == content


@pytest.mark.skipif(
    not hasattr(os, "posix_fadvise"), reason="this system takes no such hint"
)
def test_a_file_to_be_read_is_asked_for_as_a_whole(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(os, "posix_fadvise", lambda _, *range: asked.append(range))
    path = tmp_path / "file"
    path.write_bytes(bytes(5 << 19))
    filesystem.will_read(str(path), 5 << 19)
    filesystem.will_read(str(tmp_path / "gone"), 5 << 19)
    filesystem.will_read(str(path), 100)
    for thread in threading.enumerate():
        if thread.name == "regraft-read":
            thread.join()
    step = 1 << 20
    assert asked == [(i * step, step, os.POSIX_FADV_WILLNEED) for i in range(3)]
