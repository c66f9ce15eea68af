"""A sorted table of byte strings: LevelDB's file format, as TensorFlow uses it.

```
data block … | metaindex block | index block | footer (48 bytes)

block:   entry … | restart offset: uint32 … | restart count: uint32
entry:   shared: varint | unshared: varint | value length: varint | key end | value
trailer: compression: byte (0 none, 1 snappy) | masked CRC32C: uint32
footer:  metaindex handle | index handle | zeros up to 40 | magic: uint64
handle:  offset: varint | size without trailer: varint
```

Each block has a trailer. A key shares its first `shared` bytes with the key before,
except at a restart. The index block maps a key that is not before the last one of a
data block to that block's handle. All numbers are little-endian.

Source: github.com/google/leveldb `doc/table_format.md`.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from regraft.errors import ChecksumError, FormatError, LimitError, TruncatedError
from regraft.storage import checksum, filesystem, snappy
from regraft.storage.proto.wire import read_varint, write_varint

MAGIC = 0xDB4775248B80FB57
FOOTER_BYTES = 48
BLOCK_BYTES = 262144
RESTART_INTERVAL = 16
MAX_KEY_BYTES = 1 << 20
# A restart stores its whole key, and every sixteenth entry is one; so the keys of
# a table of LevelDB's are at most that many times as long as the table.
_MAX_KEY_EXPANSION = 2 * RESTART_INTERVAL
_FREE_KEY_BYTES = 1 << 20

_NO_COMPRESSION, _SNAPPY = 0, 1
_TRAILER = struct.Struct("<BI")
_UINT32 = struct.Struct("<I")
_UINT64 = struct.Struct("<Q")


class BlockHandle(NamedTuple):
    """Where a block lies in its file, without the trailer."""

    offset: int
    size: int


class _KeyBudget:
    """Counts the bytes of all keys, which prefix sharing could multiply."""

    def __init__(self, file_bytes: int, path: str | None) -> None:
        self.limit = file_bytes * _MAX_KEY_EXPANSION + _FREE_KEY_BYTES
        self.used = 0
        self.path = path

    def take(self, length: int, position: int) -> None:
        self.used += length
        if length > MAX_KEY_BYTES or self.used > self.limit:
            raise LimitError(
                "Keys of the table are too long",
                path=self.path,
                offset_bytes=position,
                expected=f"at most {MAX_KEY_BYTES} bytes, {self.limit} in all",
                received=f"{length} bytes, {self.used} in all",
            )


def read_table(
    data: bytes, *, path: str | os.PathLike[str] | None = None
) -> Iterator[tuple[bytes, bytes]]:
    """Yields the keys and values of a table, in the order of the keys.

    Args:
        data: The whole file.
        path: The file, for error texts.

    Raises:
        FormatError: `data` is no such table; its children where it is cut off, a
            checksum is wrong, or it demands more memory than its length justifies.
    """
    name = None if path is None else os.fspath(path)
    budget = _KeyBudget(len(data), name)
    previous: bytes | None = None
    end_of_blocks = len(data) - FOOTER_BYTES
    first_free = 0
    for last_key, handle_bytes in _read_block(data, _read_footer(data, name), budget):
        handle, _ = _read_handle(handle_bytes, 0, name)
        if handle.offset < first_free:
            raise FormatError(
                "Blocks of the table overlap", path=name, offset_bytes=handle.offset
            )
        first_free = min(handle.offset + handle.size, end_of_blocks)
        for key, value in _read_block(data, handle, budget):
            if previous is not None and key <= previous:
                raise FormatError(
                    "Keys of the table are not in order",
                    path=name,
                    offset_bytes=handle.offset,
                    expected=f"a key after {_shown(previous)}",
                    received=_shown(key),
                )
            yield key, value
            previous = key
        if previous is not None and previous > last_key:
            raise FormatError(
                "Index of the table does not match its block",
                path=name,
                offset_bytes=handle.offset,
                expected=f"keys up to {_shown(last_key)}",
                received=_shown(previous),
            )


def _shown(key: bytes) -> str:
    return repr(key if len(key) <= 200 else key[:200] + b"...")


def _read_footer(data: bytes, path: str | None) -> BlockHandle:
    start = len(data) - FOOTER_BYTES
    if start < 0:
        raise TruncatedError(
            "Table has no footer",
            path=path,
            expected=f"at least {FOOTER_BYTES} bytes",
            received=f"{len(data)} bytes",
        )
    (magic,) = _UINT64.unpack_from(data, len(data) - _UINT64.size)
    if magic != MAGIC:
        raise FormatError(
            "Not a table, or one that is cut off: its last 8 bytes are wrong",
            path=path,
            offset_bytes=len(data) - _UINT64.size,
            expected=f"{MAGIC:#018x}",
            received=f"{magic:#018x}",
        )
    footer = data[start : start + FOOTER_BYTES - _UINT64.size]
    _, position = _read_handle(footer, 0, path)
    return _read_handle(footer, position, path)[0]


def _read_handle(
    data: bytes, position: int, path: str | None
) -> tuple[BlockHandle, int]:
    try:
        offset, position = read_varint(data, position, len(data))
        size, position = read_varint(data, position, len(data))
    except FormatError as fault:
        raise FormatError(
            f"Block handle of the table is invalid: {fault}", path=path
        ) from None
    return BlockHandle(offset, size), position


def _read_block(
    data: bytes, handle: BlockHandle, budget: _KeyBudget
) -> Iterator[tuple[bytes, bytes]]:
    """Yields the entries of one block, its keys made whole."""
    block = _load_block(data, handle, budget.path)
    end = len(block) - _UINT32.size
    if end >= 0:
        end -= _UINT32.size * _UINT32.unpack_from(block, end)[0]
    if end < 0:
        raise TruncatedError(
            "Block of the table is shorter than its restarts",
            path=budget.path,
            offset_bytes=handle.offset,
        )
    key = b""
    position = 0
    try:
        while position < end:
            start = position
            shared, position = read_varint(block, position, end)
            unshared, position = read_varint(block, position, end)
            length, position = read_varint(block, position, end)
            if shared > len(key) or unshared + length > end - position:
                raise FormatError("lengths reach beyond the block")
            budget.take(shared + unshared, handle.offset + start)
            key = key[:shared] + block[position : position + unshared]
            position += unshared + length
            yield key, block[position - length : position]
    except LimitError:
        raise
    except FormatError as fault:
        raise FormatError(
            f"Entry of the table is invalid: {fault.args[0]}",
            path=budget.path,
            offset_bytes=handle.offset + position,
        ) from None


def _load_block(data: bytes, handle: BlockHandle, path: str | None) -> bytes:
    end = handle.offset + handle.size
    if end + _TRAILER.size > len(data) - FOOTER_BYTES:
        raise TruncatedError(
            "Block of the table lies outside the file",
            path=path,
            offset_bytes=handle.offset,
            expected=f"{handle.size} bytes and a trailer before the footer",
            received=f"a file of {len(data)} bytes",
        )
    compression, expected = _TRAILER.unpack_from(data, end)
    received = checksum.masked(data[handle.offset : end + 1])
    if received != expected:
        raise ChecksumError(
            "Block of the table does not match its CRC32C",
            path=path,
            offset_bytes=handle.offset,
            expected=f"{expected:#010x}",
            received=f"{received:#010x}",
        )
    block = data[handle.offset : end]
    if compression == _NO_COMPRESSION:
        return block
    if compression == _SNAPPY:
        return snappy.decompress(block, path=path, offset_bytes=handle.offset)
    raise FormatError(
        "Block of the table has an unknown compression",
        path=path,
        offset_bytes=end,
        expected="0 (none) or 1 (snappy)",
        received=compression,
    )


class TableWriter:
    """Writes a table to a stream, in the order of the keys.

    Args:
        stream: Where the bytes go.
        block_bytes: A data block ends where it is as long as this.
    """

    def __init__(self, stream: BinaryIO, *, block_bytes: int = BLOCK_BYTES) -> None:
        self._stream = stream
        self._block_bytes = block_bytes
        self._offset = 0
        self._data = _BlockBuilder(RESTART_INTERVAL)
        self._index = _BlockBuilder(1)
        self._last_key: bytes | None = None

    def add(self, key: bytes, value: bytes) -> None:
        """Adds an entry.

        Raises:
            ValueError: `key` is not after all keys before it.
        """
        if self._last_key is not None and key <= self._last_key:
            raise ValueError(f"Key {key!r} is not after {self._last_key!r}.")
        self._data.add(key, value)
        self._last_key = key
        if self._data.size >= self._block_bytes:
            self._end_data_block()

    def finish(self) -> None:
        """Writes what is left, the index and the footer."""
        self._end_data_block()
        metaindex = self._write_block(_BlockBuilder(1).finish())
        index = self._write_block(self._index.finish())
        handles = _handle_bytes(metaindex) + _handle_bytes(index)
        padding = bytes(FOOTER_BYTES - _UINT64.size - len(handles))
        self._write(handles + padding + _UINT64.pack(MAGIC))

    def _end_data_block(self) -> None:
        if self._data.size and self._last_key is not None:
            handle = self._write_block(self._data.finish())
            self._index.add(self._last_key, _handle_bytes(handle))
            self._data = _BlockBuilder(RESTART_INTERVAL)

    def _write_block(self, block: bytes) -> BlockHandle:
        handle = BlockHandle(self._offset, len(block))
        crc32c = checksum.masked(block + bytes([_NO_COMPRESSION]))
        self._write(block + _TRAILER.pack(_NO_COMPRESSION, crc32c))
        return handle

    def _write(self, data: bytes) -> None:
        filesystem.write_all(self._stream, data)
        self._offset += len(data)


class _BlockBuilder:
    """Collects the entries of one block."""

    def __init__(self, restart_interval: int) -> None:
        self._restart_interval = restart_interval
        self._entries = bytearray()
        self._restarts = [0]
        self._count = 0
        self._last_key = b""

    @property
    def size(self) -> int:
        return len(self._entries)

    def add(self, key: bytes, value: bytes) -> None:
        shared = 0
        if self._count % self._restart_interval:
            shared = _shared_prefix(self._last_key, key)
        elif self._count:
            self._restarts.append(len(self._entries))
        self._entries += write_varint(shared)
        self._entries += write_varint(len(key) - shared)
        self._entries += write_varint(len(value))
        self._entries += key[shared:]
        self._entries += value
        self._last_key = key
        self._count += 1

    def finish(self) -> bytes:
        numbers = [*self._restarts, len(self._restarts)]
        return bytes(self._entries) + struct.pack(f"<{len(numbers)}I", *numbers)


def _shared_prefix(before: bytes, after: bytes) -> int:
    for index, (left, right) in enumerate(zip(before, after, strict=False)):
        if left != right:
            return index
    return min(len(before), len(after))


def _handle_bytes(handle: BlockHandle) -> bytes:
    return write_varint(handle.offset) + write_varint(handle.size)
