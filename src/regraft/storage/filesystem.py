"""Files by path: local ones, and those of fsspec such as `memory://` and `gs://`.

A path with a scheme (`gs://bucket/model`) belongs to fsspec, which is imported only
then; every other path is local. Local files are opened once, checked through their
descriptor, and mapped into memory; nothing but a regular file is ever read, so that
a named pipe or a device can't hang or flood a reader.
"""

from __future__ import annotations

import contextlib
import errno
import io
import mmap
import os
import re
import stat
import threading
import weakref
from typing import Any, BinaryIO, Protocol, cast

import numpy as np

from regraft.errors import FormatError, LimitError, TruncatedError

Path = str | os.PathLike[str]
ByteArray = np.ndarray[Any, np.dtype[np.uint8]]

_SCHEME = re.compile(r"^(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]+)(?:://|::)")
_ZIP_MAGIC = b"PK\x03\x04"
# What Git leaves in the place of a large file, a hundred and some bytes, where it was
# fetched without its extension for such files.
_POINTER_START = b"version https://git-lfs.github.com/spec/"
_POINTER_MAX_BYTES = 1024
# Without these a FIFO would block and a child process would inherit the file.
_OPEN_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)


# How much of a file is asked for at once, and at most: what comes too early may have
# to go before it is needed.
_PREFETCH_STEP_BYTES = 1 << 20
_MAX_PREFETCH_BYTES = 1 << 32


class RandomAccessFile(Protocol):
    """A file of which ranges are read.

    Attributes:
        path: Where it is, for error texts.
        size: Its length in bytes when it was opened.
    """

    @property
    def path(self) -> str: ...

    @property
    def size(self) -> int: ...

    def read(self, offset: int, length: int) -> ByteArray:
        """Returns `length` bytes from `offset`, as a view where that is possible.

        Raises:
            TruncatedError: The file has no such range.
        """


def is_remote(path: Path) -> bool:
    """Whether `path` belongs to fsspec."""
    match = _SCHEME.match(os.fspath(path))
    return match is not None and match["scheme"] != "file"


def to_local(path: Path) -> str:
    """Returns a local path, without the scheme `file://`."""
    return os.fspath(path).removeprefix("file://")


def join(path: Path, *names: str) -> str:
    """Returns the path of something inside the directory `path`."""
    if is_remote(path):
        return "/".join([os.fspath(path).rstrip("/"), *names])
    return os.path.join(to_local(path), *names)


def is_directory(path: Path) -> bool:
    """Whether there is a directory at `path`."""
    if is_remote(path):
        fs, inner = remote(path)
        return bool(fs.isdir(inner))
    return os.path.isdir(to_local(path))


def is_file(path: Path) -> bool:
    """Whether there is a regular file at `path`."""
    if is_remote(path):
        fs, inner = remote(path)
        return bool(fs.isfile(inner))
    return os.path.isfile(to_local(path))


def list_names(path: Path) -> list[str]:
    """Returns the names in a directory, sorted; none where there is no directory."""
    if not is_directory(path):
        return []
    if is_remote(path):
        fs, inner = remote(path)
        found = fs.ls(inner, detail=False)
        return sorted(name.rstrip("/").rpartition("/")[2] for name in found)
    return sorted(os.listdir(to_local(path)))


def read_bytes(path: Path, *, max_bytes: int | None = None) -> bytes:
    """Returns what a file holds.

    Raises:
        FileNotFoundError: There is no such file.
        FormatError: It is no regular file; `LimitError` where it is longer than
            `max_bytes`.
    """
    if is_remote(path):
        file: RandomAccessFile = _RemoteFile(path)
        _check_size(file.path, file.size, max_bytes)
        return file.read(0, file.size).tobytes()
    local = to_local(path)
    descriptor = _open_regular(local)
    with os.fdopen(descriptor, "rb") as stream:
        _check_size(local, os.fstat(descriptor).st_size, max_bytes)
        return stream.read()


def open_random_access(path: Path) -> RandomAccessFile:
    """Opens a file to read ranges of it; a local one is mapped into memory.

    Raises:
        FileNotFoundError: There is no such file.
        FormatError: It is no regular file.
    """
    if is_remote(path):
        return _RemoteFile(path)
    local = to_local(path)
    descriptor = _open_regular(local)
    size = os.fstat(descriptor).st_size
    try:
        return _MappedFile(local, descriptor, size)
    except OSError:
        # Some file systems can't map.
        return _UnmappedFile(local, descriptor, size)


def open_seekable(path: Path) -> BinaryIO:
    """Opens a file as a stream of bytes that seeks.

    Raises:
        FileNotFoundError: There is no such file.
        FormatError: It is no regular file.
    """
    if is_remote(path):
        fs, inner = remote(path)
        stream: BinaryIO = fs.open(inner, "rb")
        return stream
    return os.fdopen(_open_regular(to_local(path)), "rb")


def is_zip_archive(path: Path) -> bool:
    """Whether a file begins as zip archives do, of which `.keras` files are some."""
    with open_seekable(path) as stream:
        return stream.read(len(_ZIP_MAGIC)) == _ZIP_MAGIC


def remote(path: Path) -> tuple[Any, str]:
    """Returns the fsspec file system of a path, and the path in it.

    Raises:
        ImportError: fsspec is not installed, or lacks what the scheme needs.
    """
    text = os.fspath(path)
    try:
        import fsspec
    except ImportError as error:
        raise ImportError(
            f"The path {text!r} needs fsspec, which is not installed. "
            "Install it with `pip install 'regraft[remote]'`, or use a local path."
        ) from error
    fs, inner = fsspec.core.url_to_fs(text)
    return fs, inner


def _open_regular(path: str) -> int:
    descriptor = os.open(path, _OPEN_FLAGS)
    status = os.fstat(descriptor)
    mode = status.st_mode
    if stat.S_ISREG(mode) and not _is_pointer(descriptor, status.st_size):
        return descriptor
    os.close(descriptor)
    if stat.S_ISREG(mode):
        raise FormatError(
            "This is a pointer of Git LFS, not the file that it stands for. Fetch "
            "that with `git lfs pull`",
            path=path,
        )
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    raise FormatError("Not a regular file", path=path, received=stat.filemode(mode))


def _is_pointer(descriptor: int, size: int) -> bool:
    """Whether an open file, at its start, is a pointer of Git LFS."""
    if not len(_POINTER_START) <= size <= _POINTER_MAX_BYTES:
        return False
    start = os.read(descriptor, len(_POINTER_START))
    os.lseek(descriptor, 0, os.SEEK_SET)
    return start == _POINTER_START


def _check_size(path: str, size: int, max_bytes: int | None) -> None:
    if max_bytes is not None and size > max_bytes:
        raise LimitError(
            "File is too long",
            path=path,
            expected=f"at most {max_bytes} bytes",
            received=f"{size} bytes",
        )


def _check_range(path: str, size: int, offset: int, length: int) -> None:
    if offset < 0 or length < 0 or offset + length > size:
        raise TruncatedError(
            "File ends too early",
            path=path,
            offset_bytes=offset,
            expected=f"{length} bytes from there",
            received=f"a file of {size} bytes",
        )


class _MappedFile:
    """A local file in a memory map; its views keep the map alive."""

    def __init__(self, path: str, descriptor: int, size: int) -> None:
        self.path = path
        self.size = size
        # A file of no bytes can't be mapped.
        content: Any = (
            mmap.mmap(descriptor, size, access=mmap.ACCESS_READ) if size else b""
        )
        self._bytes: ByteArray = np.frombuffer(content, np.uint8)
        # The map has its own reference to the file.
        os.close(descriptor)

    def read(self, offset: int, length: int) -> ByteArray:
        _check_range(self.path, self.size, offset, length)
        return self._bytes[offset : offset + length]


class _UnmappedFile:
    """A local file on a file system that can't map."""

    def __init__(self, path: str, descriptor: int, size: int) -> None:
        self.path = path
        self.size = size
        self._stream = os.fdopen(descriptor, "rb", buffering=0)
        weakref.finalize(self, self._stream.close)

    def read(self, offset: int, length: int) -> ByteArray:
        _check_range(self.path, self.size, offset, length)
        content = np.empty(length, np.uint8)
        unread = memoryview(cast(Any, content))
        while unread:
            self._stream.seek(offset + length - len(unread))
            count = self._stream.readinto(unread)
            if not count:
                _check_range(self.path, offset + length - len(unread), offset, length)
            unread = unread[count:]
        content.flags.writeable = False
        return content


class _RemoteFile:
    """A file of fsspec."""

    def __init__(self, path: Path) -> None:
        self.path = os.fspath(path)
        self._fs, self._inner = remote(path)
        if not self._fs.isfile(self._inner):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.path)
        self.size = int(self._fs.size(self._inner))

    def read(self, offset: int, length: int) -> ByteArray:
        _check_range(self.path, self.size, offset, length)
        if not length:
            return np.empty(0, np.uint8)
        content = self._fs.cat_file(self._inner, start=offset, end=offset + length)
        if len(content) != length:
            _check_range(self.path, offset + len(content), offset, length)
        return np.frombuffer(content, np.uint8)


def will_read(path: str, size: int) -> None:
    """Has a local file of `size` bytes brought into memory, by a thread of its own.

    A hint that costs no correctness: what can't be brought is read when it is needed.
    """
    if size > _PREFETCH_STEP_BYTES and hasattr(os, "posix_fadvise"):
        threading.Thread(
            target=_prefetch, args=(path, size), name="regraft-read", daemon=True
        ).start()


def _prefetch(path: str, size: int) -> None:
    with contextlib.suppress(OSError):
        descriptor = os.open(path, _OPEN_FLAGS)
        try:
            # Systems cut longer ranges short.
            for start in range(0, min(size, _MAX_PREFETCH_BYTES), _PREFETCH_STEP_BYTES):
                os.posix_fadvise(
                    descriptor, start, _PREFETCH_STEP_BYTES, os.POSIX_FADV_WILLNEED
                )
        finally:
            os.close(descriptor)


def open_for_writing(path: Path) -> BinaryIO:
    """Opens a new file as a stream of bytes.

    Local streams have no buffer: what is written should come in large pieces.
    """
    if is_remote(path):
        fs, inner = remote(path)
        stream: BinaryIO = fs.open(inner, "wb")
        return stream
    return cast(BinaryIO, io.FileIO(to_local(path), "wb"))


def make_directory(path: Path) -> None:
    """Makes a directory and those above it; it may be there already."""
    if is_remote(path):
        fs, inner = remote(path)
        fs.makedirs(inner, exist_ok=True)
    else:
        os.makedirs(to_local(path), exist_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a file, in place of one that may be there."""
    with open_for_writing(path) as stream:
        write_all(stream, data)


def write_all(stream: BinaryIO, data: bytes | memoryview | ByteArray) -> None:
    """Writes all of `data`, also to a stream without a buffer."""
    unwritten = memoryview(cast(Any, data))
    while unwritten:
        count = stream.write(unwritten)
        unwritten = unwritten[len(unwritten) if count is None else count :]


def remove_file(path: Path) -> None:
    """Removes a file; it may be missing."""
    with contextlib.suppress(FileNotFoundError):
        if is_remote(path):
            fs, inner = remote(path)
            fs.rm_file(inner)
        else:
            os.unlink(to_local(path))


def remove_tree(path: Path) -> None:
    """Removes a remote file or directory with all in it; it may be missing."""
    fs, inner = remote(path)
    with contextlib.suppress(FileNotFoundError):
        fs.rm(inner, recursive=True)


def send(local: str, path: Path) -> None:
    """Copies a local file, or a directory with all in it, to a remote path."""
    fs, inner = remote(path)
    if not os.path.isdir(local):
        fs.put_file(local, inner)
        return
    fs.makedirs(inner, exist_ok=True)
    for name in sorted(os.listdir(local)):
        send(os.path.join(local, name), join(path, name))
