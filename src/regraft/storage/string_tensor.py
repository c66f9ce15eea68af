"""String tensors as a tensor bundle stores them.

```
length: varint …, one per element | masked CRC32C of the lengths: uint32 | bytes …
```

The checksums are not those of the stored bytes: each length counts as a uint32 (as a
uint64 from 2**32 on). The entry's CRC32C goes over the lengths in that form, then the
four bytes of the lengths' checksum, then the bytes of the strings.

Source: github.com/tensorflow/tensorflow `core/util/tensor_bundle/tensor_bundle.cc`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from regraft.errors import ChecksumError, FormatError, TruncatedError
from regraft.storage import checksum, filesystem
from regraft.storage.proto.wire import read_varint, write_varint

_UINT32 = struct.Struct("<I")
_UINT64 = struct.Struct("<Q")
# What a `bytes` object takes besides its bytes, with the pointer to it.
ELEMENT_OVERHEAD_BYTES = 41


class EncodedSize(NamedTuple):
    """What was written of a string tensor.

    Attributes:
        size: Bytes written.
        crc32c: Masked CRC32C for the tensor's entry.
    """

    size: int
    crc32c: int


def to_bytes(element: object) -> bytes:
    """Returns one element of a string tensor: text becomes UTF-8.

    Raises:
        TypeError: `element` is neither text nor bytes.
    """
    if isinstance(element, bytes):
        return element
    if isinstance(element, str):
        return element.encode("utf-8")
    raise TypeError(
        f"A string tensor holds `bytes` or `str`. Received: {element!r} of type "
        f"{type(element).__name__}"
    )


def write_strings(stream: BinaryIO, elements: Iterable[object]) -> EncodedSize:
    """Writes the elements of a string tensor, in C order."""
    strings = [to_bytes(element) for element in elements]
    lengths = b"".join(_hashed_length(len(string)) for string in strings)
    lengths_crc32c = checksum.extend(0, lengths)
    lengths_checksum = _UINT32.pack(checksum.mask(lengths_crc32c))
    head = b"".join(write_varint(len(string)) for string in strings)
    body = b"".join(strings)
    filesystem.write_all(stream, head + lengths_checksum)
    filesystem.write_all(stream, body)
    crc32c = checksum.extend(checksum.extend(lengths_crc32c, lengths_checksum), body)
    return EncodedSize(len(head) + 4 + len(body), checksum.mask(crc32c))


def read_strings(
    data: bytes,
    shape: tuple[int, ...],
    count: int,
    *,
    crc32c: int | None,
) -> np.ndarray[Any, Any]:
    """Returns the object array of `bytes` that `data` holds.

    Args:
        data: The tensor's bytes in the bundle.
        shape: The tensor's shape.
        count: Number of its elements.
        crc32c: Masked CRC32C of the tensor's entry; `None` to check nothing.

    Raises:
        FormatError: `data` holds no such tensor; its fields lack the file and the
            key, and its offset counts from the beginning of `data`.
    """
    # Each element takes a byte or more, so this bounds what follows.
    if count + _UINT32.size > len(data):
        raise TruncatedError(
            "String tensor is too short for its elements",
            expected=f"at least {count + _UINT32.size} bytes",
            received=f"{len(data)} bytes",
        )
    lengths, position = _read_lengths(data, count)
    start = position + _UINT32.size
    if start + sum(lengths) != len(data):
        raise FormatError(
            "Lengths of a string tensor do not add up to its size",
            offset_bytes=position,
            expected=f"{len(data) - start} bytes of strings",
            received=f"{sum(lengths)} bytes",
        )
    if crc32c is not None:
        _check(data, lengths, position, crc32c)
    array = np.empty(count, object)
    for index, length in enumerate(lengths):
        array[index] = data[start : start + length]
        start += length
    return array.reshape(shape)


def _read_lengths(data: bytes, count: int) -> tuple[list[int], int]:
    end = len(data) - _UINT32.size
    lengths = []
    position = 0
    for _ in range(count):
        length, position = read_varint(data, position, end)
        lengths.append(length)
    return lengths, position


def _check(data: bytes, lengths: list[int], position: int, expected: int) -> None:
    """Compares both checksums; `position` is where the lengths' one stands."""
    crc32c = checksum.extend(0, b"".join(map(_hashed_length, lengths)))
    stored = data[position : position + _UINT32.size]
    if _UINT32.unpack(stored)[0] != checksum.mask(crc32c):
        raise ChecksumError(
            "Lengths of a string tensor do not match their CRC32C",
            offset_bytes=position,
            expected=f"{_UINT32.unpack(stored)[0]:#010x}",
            received=f"{checksum.mask(crc32c):#010x}",
        )
    crc32c = checksum.extend(crc32c, data[position:])
    if checksum.mask(crc32c) != expected:
        raise ChecksumError(
            "Tensor does not match its CRC32C",
            offset_bytes=0,
            expected=f"{expected:#010x}",
            received=f"{checksum.mask(crc32c):#010x}",
        )


def _hashed_length(length: int) -> bytes:
    return (_UINT32 if length < 1 << 32 else _UINT64).pack(length)
