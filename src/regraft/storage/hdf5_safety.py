"""What every look into an HDF5 file that nobody vouches for goes through.

Memory is counted against the length of the file, global heaps are walked before the
HDF5 library walks them, and h5py's own exceptions end here.
"""

from __future__ import annotations

import contextlib
import functools
import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from regraft.errors import FormatError, LimitError, RegraftError, TruncatedError
from regraft.storage import hdf5_heaps

try:
    import h5py
except ImportError:  # `require_h5py` says so where it is needed.
    h5py = None

# What the datasets of a file may take in memory in all, without a caller's budget:
# compressed ones take less in the file.
_MAX_EXPANSION = 16
_FREE_BYTES = 1 << 30


def require_h5py() -> None:
    """Does nothing where h5py is there.

    Raises:
        ImportError: h5py is not installed.
    """
    if h5py is None:
        raise ImportError(
            "HDF5 files need h5py, which is not installed. Install it with "
            "`pip install h5py`."
        )


@contextlib.contextmanager
def typed_errors(path: str, object_path: str | None = None) -> Iterator[None]:
    """Turns what h5py raises about a broken file into a `FormatError`."""
    try:
        yield
    except RegraftError:
        raise
    except (FileNotFoundError, PermissionError, IsADirectoryError, BlockingIOError):
        raise
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        MemoryError,
        NotImplementedError,
        OSError,
        RecursionError,
        RuntimeError,
        SystemError,
        TypeError,
        ValueError,
    ) as error:
        kind = TruncatedError if "truncated" in str(error) else FormatError
        raise kind(
            f"HDF5 file can't be read: {type(error).__name__}: {error}",
            path=path,
            object_path=object_path,
        ) from None


@dataclass
class SafeFile:
    """A file that is being read, with the memory that its tensors may still take.

    Attributes:
        path: Where it is, for error texts.
        size: Its length in bytes.
        budget_bytes: What its tensors may take in all.
        used_bytes: What those seen so far take.
        root: Its root group.
        long_texts: Texts of variable length that no list of names may point to.
        groups: Groups on the way to others, by their paths.
    """

    path: str
    size: int
    budget_bytes: int
    root: h5py.Group
    long_texts: list[hdf5_heaps.HeapObject]
    used_bytes: int = field(default=0)
    groups: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, root: h5py.Group, path: str, budget_bytes: int | None) -> SafeFile:
        """Returns the file of a group.

        Raises:
            FormatError: A heap of the file is broken.
        """
        with typed_errors(path):
            size = int(root.file.id.get_filesize())
        if budget_bytes is None:
            budget_bytes = default_budget_bytes(size)
        with _content(root.file, path) as content:
            long_texts = hdf5_heaps.long_texts(content, path)
        return cls(path, size, budget_bytes, root, long_texts)

    def copies_bytes(self, pointers: int) -> int:
        """Returns the most that reading so many pointers to texts may take.

        The file is searched for pointers to long texts, once, only if all of these
        pointing to the longest one would be too much.
        """
        short = pointers * hdf5_heaps.LONG_TEXT_BYTES
        longest = max((text.size for text in self.long_texts), default=0)
        at_most = short + pointers * longest
        if pointers == 1:
            return short
        if at_most <= default_budget_bytes(self.size):
            return at_most
        return short + self._long_copies_bytes

    @functools.cached_property
    def _long_copies_bytes(self) -> int:
        """What copies of long texts take if every pointer in the file is read."""
        with _content(self.root.file, self.path) as content:
            return sum(
                text.size * hdf5_heaps.count_pointers(content, text.pointer)
                for text in self.long_texts
            )

    def take(self, length: int, object_path: str) -> None:
        """Counts what a tensor takes in memory.

        Raises:
            LimitError: All tensors together take too much.
        """
        self.used_bytes += length
        if self.used_bytes > self.budget_bytes:
            raise LimitError(
                "Tensors of the file take too much memory",
                path=self.path,
                object_path=object_path,
                expected=f"at most {self.budget_bytes} bytes (memory_budget_bytes)",
                received=f"{self.used_bytes} bytes",
            )


def default_budget_bytes(file_size: int) -> int:
    """Returns what tensors may take where the caller sets no bound."""
    return file_size * _MAX_EXPANSION + _FREE_BYTES


@contextlib.contextmanager
def _content(file: h5py.File, path: str) -> Iterator[hdf5_heaps.Content]:
    """Yields all bytes of a file: a memory map where it is on a disk."""
    name = file.filename
    on_disk = file.driver in ("sec2", "stdio") and isinstance(name, str)
    if on_disk and file.id.get_filesize():
        with open(name, "rb") as stream:
            # Closed when nothing refers to it: arrays may outlive this block.
            yield mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        return
    with typed_errors(path):
        image = file.id.get_file_image()
    yield image
