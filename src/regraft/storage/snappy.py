"""Snappy decompression, for the rare table that is compressed.

TensorFlow writes its tables plain but reads compressed ones.

Source: github.com/google/snappy `format_description.txt`.
"""

from __future__ import annotations

import os

from regraft.errors import FormatError, LimitError, TruncatedError
from regraft.storage.proto.wire import read_varint

# The densest element is a copy of 64 bytes, which takes 3.
_MAX_EXPANSION = 22

_LITERAL, _COPY_1, _COPY_2, _COPY_4 = range(4)
# A literal up to this long has its length in its tag.
_SHORT_LITERAL = 60


def decompress(
    data: bytes,
    *,
    path: str | os.PathLike[str] | None = None,
    offset_bytes: int | None = None,
) -> bytes:
    """Returns what a snappy stream holds.

    Args:
        data: The stream.
        path: File that it comes from, for error texts.
        offset_bytes: Where it stands in that file, for error texts.

    Raises:
        FormatError: `data` is no such stream; `LimitError` where it declares more
            than its length can hold.
    """
    try:
        return _decompress(data)
    except FormatError as fault:
        raise type(fault)(
            f"Snappy stream is invalid: {fault.args[0]}",
            path=path,
            offset_bytes=offset_bytes,
        ) from None


def _decompress(data: bytes) -> bytes:
    length, position = read_varint(data, 0, len(data))
    if length > _MAX_EXPANSION * len(data):
        raise LimitError(f"{len(data)} bytes can't hold {length}")
    output = bytearray()
    while position < len(data):
        tag = data[position]
        if tag & 3 == _LITERAL:
            position = _literal(data, position, output)
        else:
            position = _copy(data, position, output)
        if len(output) > length:
            raise FormatError(f"more than the declared {length} bytes")
    if len(output) != length:
        raise TruncatedError(f"{len(output)} of the declared {length} bytes")
    return bytes(output)


def _literal(data: bytes, position: int, output: bytearray) -> int:
    length = data[position] >> 2
    position += 1
    if length >= _SHORT_LITERAL:
        width = length - _SHORT_LITERAL + 1
        length = _number(data, position, width)
        position += width
    end = position + length + 1
    if end > len(data):
        raise TruncatedError("literal ends after the stream")
    output += data[position:end]
    return end


def _copy(data: bytes, position: int, output: bytearray) -> int:
    tag = data[position]
    position += 1
    if tag & 3 == _COPY_1:
        width, length = 1, (tag >> 2 & 7) + 4
        offset = (tag >> 5) << 8 | _number(data, position, 1)
    else:
        width, length = (2 if tag & 3 == _COPY_2 else 4), (tag >> 2) + 1
        offset = _number(data, position, width)
    if not 0 < offset <= len(output):
        raise FormatError(f"copy reaches {offset} back of {len(output)} bytes")
    start = len(output) - offset
    pattern = bytes(output[start : start + length])
    # A copy may reach into what it writes itself.
    output += (pattern * (length // len(pattern) + 1))[:length]
    return position + width


def _number(data: bytes, position: int, width: int) -> int:
    if position + width > len(data):
        raise TruncatedError("element ends after the stream")
    return int.from_bytes(data[position : position + width], "little")
