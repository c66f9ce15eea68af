"""Writes tensor bundles, one tensor at a time.

Data go to one shard as they are added; a local one is written by a thread of its own.
TensorFlow packs tensors densely; here each
begins at a multiple of `alignment_bytes`, which every reader of the format accepts,
so that a reader can map them into memory.
"""

from __future__ import annotations

import io
import os
import sys
from types import TracebackType
from typing import Any, BinaryIO, Self, cast

import numpy as np

from regraft import dtypes
from regraft.errors import MismatchError, UnsupportedError
from regraft.storage import checksum, filesystem, sstable, string_tensor
from regraft.storage.background import BackgroundFile
from regraft.storage.tensor import ArrayTensor, StoredTensor
from regraft.storage.tensor_bundle import entries
from regraft.storage.tensor_bundle.entries import BundleEntry, BundleHeader

# Larger pieces gain nothing; smaller ones keep what a write locks short.
_PIECE_BYTES = 1 << 28


class TensorBundleWriter:
    """Writes a bundle of one shard.

    The bundle is complete when `finish` has returned; before, there is no index, so
    that no reader takes it for one. As a context manager it finishes at the end of
    the block, or removes what it wrote if the block raised.

    Args:
        prefix: Path of the bundle without `.index`; local, or one of fsspec.
        alignment_bytes: Each tensor begins at a multiple of this.
    """

    def __init__(
        self, prefix: str | os.PathLike[str], *, alignment_bytes: int = 64
    ) -> None:
        if alignment_bytes < 1:
            raise ValueError(
                f"`alignment_bytes` must be positive. Received: {alignment_bytes}"
            )
        self.prefix = os.fspath(prefix)
        self._alignment_bytes = alignment_bytes
        self._entries: dict[bytes, BundleEntry] = {}
        self._offset = 0
        path = entries.shard_path(self.prefix, 0, 1)
        self._background: BackgroundFile | None = None
        if filesystem.is_remote(path):
            self._stream = filesystem.open_for_writing(path)
        else:
            self._background = BackgroundFile(filesystem.to_local(path))
            # All that is written to, of a stream, is its `write`.
            self._stream = cast(BinaryIO, self._background)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.finish()
        else:
            self.abandon()

    def add(
        self, key: str, tensor: StoredTensor | np.ndarray[Any, Any] | np.generic
    ) -> None:
        """Writes a tensor; its memory must not change until `finish` has returned.

        Args:
            key: Its key: not empty, and new.
            tensor: Its values; strings as an object array of `bytes` or `str`.

        Raises:
            ValueError: `key` is empty, begins with a zero byte or is there already.
            UnsupportedError: The tensor's dtype can't be stored.
        """
        name = key.encode("utf-8")
        if not name or name.startswith(entries.SLICE_KEY_START):
            raise ValueError(f"Not a key of a tensor bundle: {key!r}")
        if name in self._entries:
            raise ValueError(f"The tensor bundle has a tensor {key!r} already.")
        stored = (
            ArrayTensor(tensor)
            if isinstance(tensor, np.ndarray | np.generic)
            else tensor
        )
        dtype = dtypes.from_name(stored.dtype)
        if dtype.numpy is None:
            raise UnsupportedError(
                f"The tensor {key!r} of dtype {dtype.name} can't be stored."
            )
        array = np.asarray(stored.read())
        if array.shape != tuple(stored.shape):
            raise MismatchError(
                f"The tensor {key!r} has another shape than it declares. "
                f"Expected: {tuple(stored.shape)}. Received: {array.shape}."
            )
        self._align()
        if dtype.numpy.hasobject:
            size, crc32c = string_tensor.write_strings(self._stream, array.flat)
        else:
            size, crc32c = self._write_numbers(key, array, dtype)
        self._entries[name] = BundleEntry(
            dtype, array.shape, offset=self._offset, size=size, crc32c=crc32c
        )
        self._offset += size

    def flush_soon(self) -> None:
        """Has the tensors so far brought to the disk while the caller goes on."""
        if self._background is not None:
            self._background.flush_soon()

    def index(self) -> bytes:
        """Returns what the index of the tensors so far holds; it waits for nothing."""
        content = io.BytesIO()
        table = sstable.TableWriter(content)
        header = BundleHeader(num_shards=1)
        table.add(entries.HEADER_KEY, entries.serialize_header(header))
        for key, entry in sorted(self._entries.items()):
            table.add(key, entries.serialize_entry(entry))
        table.finish()
        return content.getvalue()

    def finish(self, index: bytes | None = None) -> None:
        """Writes the index, after which the bundle is complete.

        Args:
            index: What `index` has returned, if that was after the last tensor.
        """
        self._stream.close()
        path = entries.index_path(self.prefix)
        with filesystem.open_for_writing(path) as stream:
            filesystem.write_all(stream, self.index() if index is None else index)

    def abandon(self) -> None:
        """Removes the data written so far."""
        if self._background is not None:
            self._background.abandon()
        else:
            self._stream.close()
        filesystem.remove_file(entries.shard_path(self.prefix, 0, 1))

    def _align(self) -> None:
        padding = -self._offset % self._alignment_bytes
        if padding:
            self._stream.write(bytes(padding))
            self._offset += padding

    def _write_numbers(
        self, key: str, array: np.ndarray[Any, Any], dtype: dtypes.DType
    ) -> tuple[int, int]:
        if array.dtype.newbyteorder("=") != dtype.numpy:
            raise MismatchError(
                f"The tensor {key!r} has another dtype than it declares. "
                f"Expected: {dtype.numpy}. Received: {array.dtype}."
            )
        content = _memory_of(array)
        written = 0
        crc32c = 0
        while written < len(content):
            piece = content[written : written + _PIECE_BYTES]
            crc32c = checksum.extend(crc32c, piece)
            filesystem.write_all(self._stream, piece)
            written += len(piece)
        return written, checksum.mask(crc32c)


def _memory_of(array: np.ndarray[Any, Any]) -> filesystem.ByteArray:
    """Returns the elements' bytes in C order, little-endian; a view if they are so."""
    if sys.byteorder == "big" or not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)
