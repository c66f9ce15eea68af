"""A file that a thread of its own writes, while its owner goes on."""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import numpy as np

from regraft.storage import filesystem
from regraft.storage.direct import DirectWriter, write_together

# What is less is written by the caller itself.
_WORTH_BYTES = 1 << 20
# What may wait to be written of memory that nobody else holds, unless one alone has
# more.
_MAX_OWN_BYTES = 1 << 22
# Each call of the system gives Python's lock back once, for all of its buffers.
_MAX_BUFFERS = 256
# How long the caller may keep Python's lock that a writing thread waits for.
_MAX_WAIT_SECONDS = 1e-4


class BackgroundFile:
    """A new local file. What is written must stay as it is until `close` returns.

    Args:
        path: Where it is.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._stream = filesystem.open_for_writing(path)
        self._direct: DirectWriter | None = None
        self._pending: deque[tuple[Any, int]] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._bytes = self._own_bytes = 0
        self._ends = self._is_abandoned = False

    def write(self, data: Any) -> int:
        """Writes bytes, or a flat array of bytes, sooner or later; returns how many.

        Raises:
            OSError: What was written before could not be.
        """
        size = len(data)
        own = size if _is_own(data) else 0
        with self._changed:
            if own and self._own_bytes + own > _MAX_OWN_BYTES:
                self._start()
                self._changed.wait_for(lambda: self._error or not self._own_bytes)
            self._raise()
            self._pending.append((data, own))
            self._bytes += size
            self._own_bytes += own
            if self._bytes > _WORTH_BYTES:
                self._start()
            self._changed.notify_all()
        return size

    def flush_soon(self) -> None:
        """Has what was written so far brought to the disk, if a thread is at work."""
        with self._changed:
            if self._thread is not None:
                self._pending.append((None, 0))
                self._changed.notify_all()

    def close(self) -> None:
        """Waits until all is written.

        Raises:
            OSError: It could not be.
        """
        try:
            self._end()
            self._raise()
        finally:
            self._stream.close()

    def abandon(self) -> None:
        """Closes the file without writing what waits."""
        self._is_abandoned = True
        self._end()
        self._stream.close()

    def _start(self) -> None:
        if self._thread is None:
            self._direct = DirectWriter(self._path, self._stream)
            self._thread = threading.Thread(
                target=self._work, name="regraft-write", daemon=True
            )
            self._thread.start()

    def _end(self) -> None:
        with self._changed:
            self._ends = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
        else:
            self._work()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        """Writes until the end; the first error is kept, and is the last."""
        with _short_waits():
            self._write_all()

    def _write_all(self) -> None:
        try:
            while batch := self._next():
                own = sum(size for _, size in batch)
                self._write(batch)
                batch.clear()
                with self._changed:
                    self._own_bytes -= own
                    self._changed.notify_all()
            if self._direct is not None and not self._is_abandoned:
                self._direct.finish()
        # Also what only the caller may handle, such as a lack of memory.
        except BaseException as error:
            with self._changed:
                self._error = error
                self._changed.notify_all()
        finally:
            if self._direct is not None:
                self._direct.abandon()

    def _next(self) -> list[tuple[Any, int]]:
        """Returns what waits; nothing at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._pending or self._ends)
            if self._is_abandoned:
                return []
            count = min(len(self._pending), _MAX_BUFFERS)
            return [self._pending.popleft() for _ in range(count)]

    def _write(self, batch: list[tuple[Any, int]]) -> None:
        buffers: list[memoryview] = []
        for data, _ in batch:
            if data is not None:
                buffers.append(memoryview(cast(Any, data)))
                continue
            self._write_buffers(buffers)
            buffers = []
            os.fsync(self._stream.fileno())
        self._write_buffers(buffers)

    def _write_buffers(self, buffers: list[memoryview]) -> None:
        if self._direct is not None:
            self._direct.write(buffers)
        else:
            write_together(self._stream, buffers)


_waiting = 0
_usual_wait_seconds = 0.0
_waiting_changes = threading.Lock()


@contextmanager
def _short_waits() -> Iterator[None]:
    """Lets a thread have Python's lock soon, whatever others compute meanwhile.

    A thread gives the lock back around each copy and each call of the system, and gets
    it again when another one has had it for 5 ms. For a disk that takes a hundredth of
    that for what it is given, so much waiting would be most of a save's time.
    """
    global _waiting, _usual_wait_seconds
    with _waiting_changes:
        _waiting += 1
        if _waiting == 1:
            _usual_wait_seconds = sys.getswitchinterval()
            sys.setswitchinterval(min(_usual_wait_seconds, _MAX_WAIT_SECONDS))
    try:
        yield
    finally:
        with _waiting_changes:
            _waiting -= 1
            if not _waiting:
                sys.setswitchinterval(_usual_wait_seconds)


def _is_own(data: Any) -> bool:
    """Whether memory lives on for the sake of these bytes alone, as far as is known."""
    base = data.obj if isinstance(data, memoryview) else data
    if not isinstance(base, np.ndarray):
        return True
    while isinstance(base.base, np.ndarray):
        base = base.base
    return base.base is None
