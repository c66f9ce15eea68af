"""Global heaps of an HDF5 file, walked before the HDF5 library does.

A text attribute of variable length is a pointer into a global heap:

```
"GCOL" | version: 1 byte = 1 | 3 zero bytes | size of all: length | object …
object: index: uint16 | references: uint16 | 4 bytes | size: length | bytes, padded
```

The library walks a heap without an end if an object has no size, and gives each
pointer a copy of its object. So the heaps are found by their signature and walked
here first.

Source: HDF5 file format specification, section III.E.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from regraft.errors import FormatError

# No list of names holds a longer one: HDF5 has 64 KiB for all of it.
LONG_TEXT_BYTES = 1 << 16

_SIGNATURE = b"GCOL\x01\0\0\0"
_SUPERBLOCK = b"\x89HDF\r\n\x1a\n"
# The words that a signature covers, by where it begins in a word.
_WORDS = [int.from_bytes(_SIGNATURE[start : start + 4], "little") for start in range(4)]
# Words that fit a processor's cache.
_BLOCK_WORDS = 1 << 16
_ALIGNMENT = 8
_OBJECT_START = 8

Content = bytes | mmap.mmap


class _Widths(NamedTuple):
    """How a file spells numbers, and where it begins after a user block."""

    base: int
    address: int
    length: int


class HeapObject(NamedTuple):
    """An object of a global heap.

    Attributes:
        pointer: The bytes that point to it.
        size: Its length in bytes.
    """

    pointer: bytes
    size: int


def long_texts(content: Content, path: str) -> list[HeapObject]:
    """Returns the objects of more than 64 KiB in all global heaps.

    Args:
        content: The whole file.
        path: The file, for error texts.

    Raises:
        FormatError: An object has no size, or reaches beyond its heap.
    """
    widths = _widths(content)
    return [
        found
        for start in _find_heaps(content)
        for found in _walk_heap(content, start, widths, path)
        if found.size > LONG_TEXT_BYTES
    ]


def count_pointers(content: Content, pointer: bytes) -> int:
    """Returns how often the bytes of a pointer stand in a file."""
    count = 0
    start = content.find(pointer)
    while start >= 0:
        count += 1
        start = content.find(pointer, start + len(pointer))
    return count


def _widths(content: Content) -> _Widths:
    # A user block may come before, of any power of two from 512 on.
    start = 0
    while start + 16 <= len(content):
        if content[start : start + 8] == _SUPERBLOCK:
            position = start + (13 if content[start + 8] < 2 else 9)
            address, length = content[position], content[position + 1]
            if {address, length} <= {2, 4, 8}:
                return _Widths(start, address, length)
            break
        start = max(512, start * 2)
    return _Widths(0, 8, 8)


def _find_heaps(content: Content) -> Iterator[int]:
    """Yields the positions of all heap signatures, faster than `find` alone.

    Wherever a signature begins, it covers one whole word of four bytes, which is one
    of four; only blocks that have such a word are searched.
    """
    words = np.frombuffer(content, "<u4", len(content) // 4)
    searched = 0
    for start in range(0, len(words), _BLOCK_WORDS):
        block = words[start : start + _BLOCK_WORDS]
        hits = block == _WORDS[0]
        for word in _WORDS[1:]:
            hits |= block == word
        if not hits.any():
            continue
        end = (start + len(block)) * 4 + len(_SIGNATURE)
        position = max(start * 4 - len(_SIGNATURE), searched)
        while (position := content.find(_SIGNATURE, position, end)) >= 0:
            yield position
            position += len(_SIGNATURE)
            searched = position


def _walk_heap(
    content: Content, start: int, widths: _Widths, path: str
) -> Iterator[HeapObject]:
    def number(position: int, width: int) -> int:
        return int.from_bytes(content[position : position + width], "little")

    header = _padded(len(_SIGNATURE) + widths.length)
    object_header = _padded(_OBJECT_START + widths.length)
    position = start + header
    end = start + number(start + len(_SIGNATURE), widths.length)
    if end > len(content):
        raise _fault("Heap of the HDF5 file is longer than its file", path, start)
    address = (start - widths.base) & (1 << 8 * widths.address) - 1
    while position + object_header <= end:
        index = number(position, 2)
        size = number(position + _OBJECT_START, widths.length)
        taken = size if index == 0 else object_header + _padded(size)
        if taken == 0 or taken > end - position:
            raise _fault(
                "Object in a heap of the HDF5 file has a wrong size", path, position
            )
        if index:
            pointer = address.to_bytes(widths.address, "little")
            yield HeapObject(pointer + index.to_bytes(4, "little"), size)
        position += taken


def _padded(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _fault(message: str, path: str, position: int) -> FormatError:
    return FormatError(message, path=path, offset_bytes=position)
