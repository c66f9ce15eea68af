"""Writing past the system's page cache, where the system can.

What is to be on the disk before a save returns gains nothing from the cache: it would
be copied there first, and push out of it what other work needs.
"""

from __future__ import annotations

import errno
import mmap
import os
from typing import BinaryIO

import numpy as np

from regraft.storage import filesystem

# Blocks of devices are at most so large; addresses, places and sizes are multiples.
_ALIGNMENT = 4096
_BUFFER_BYTES = 1 << 22
# How file systems say that they can't, or not so.
_CANNOT = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS)


class DirectWriter:
    """Writes a new file from its beginning, in whole blocks, past the page cache.

    Where that can't be, all goes the usual way, and so does what fills no block.

    Args:
        path: The file; it must exist.
        stream: The same file, opened for writing without a buffer; empty.
    """

    def __init__(self, path: str, stream: BinaryIO) -> None:
        self._stream = stream
        self._descriptor = _open(path)
        # Memory of its own pages is aligned; an array would not be.
        self._buffer = mmap.mmap(-1, _BUFFER_BYTES)
        self._bytes = np.frombuffer(self._buffer, np.uint8)
        self._used = 0

    def write(self, buffers: list[memoryview]) -> None:
        """Writes bytes, sooner or later.

        Raises:
            OSError: They, or what was written before, could not be.
        """
        if self._descriptor is None:
            write_together(self._stream, buffers)
            return
        for buffer in filter(len, buffers):
            unwritten = np.frombuffer(buffer, np.uint8)
            while unwritten.size:
                end = min(self._used + unwritten.size, _BUFFER_BYTES)
                count = end - self._used
                self._bytes[self._used : end] = unwritten[:count]
                self._used = end
                unwritten = unwritten[count:]
                if self._used == _BUFFER_BYTES:
                    self._write_buffer()

    def finish(self) -> None:
        """Writes what has not been; nothing can be written after it.

        Raises:
            OSError: It could not be.
        """
        try:
            self._write_buffer()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Leaves unwritten what has not been; nothing can be written after it."""
        self._used = 0
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _write_buffer(self) -> None:
        content = memoryview(self._buffer)[: self._used]
        self._used = 0
        place = self._stream.tell()
        written = 0
        if self._descriptor is not None:
            blocks = content[: len(content) // _ALIGNMENT * _ALIGNMENT]
            try:
                written = os.pwrite(self._descriptor, blocks, place)
            except OSError as error:
                if error.errno not in _CANNOT:
                    raise
                os.close(self._descriptor)
                self._descriptor = None
        self._stream.seek(place + written)
        filesystem.write_all(self._stream, content[written:])


def write_together(stream: BinaryIO, buffers: list[memoryview]) -> None:
    """Writes bytes that lie in many places, in few calls of the system."""
    buffers = [buffer for buffer in buffers if len(buffer)]
    if not hasattr(os, "writev"):
        for buffer in buffers:
            filesystem.write_all(stream, buffer)
        return
    while buffers:
        count = os.writev(stream.fileno(), buffers)
        while buffers and count >= len(buffers[0]):
            count -= len(buffers.pop(0))
        if count:
            buffers[0] = buffers[0][count:]


def _open(path: str) -> int | None:
    """Opens a file for writing past the cache; None where that can't be."""
    flag = getattr(os, "O_DIRECT", None)
    if flag is None or not hasattr(os, "pwrite"):
        return None
    try:
        return os.open(path, os.O_WRONLY | flag)
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
        return None
