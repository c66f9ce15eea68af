"""Where a serialized message breaks protobuf's rules.

Protobuf's own parsers only say that a message is bad. This walk, which never calls
itself and runs only after they failed, says which field is and at which byte.

Source: protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from regraft.errors import FormatError, LimitError, TruncatedError

MAX_NESTING = 100

_VARINT, _I64, _LEN, _START_GROUP, _END_GROUP, _I32 = range(6)
_MAX_VARINT_BYTES = 10
# Types of a `FieldDescriptor`.
_TYPE_STRING, _TYPE_GROUP, _TYPE_MESSAGE, _TYPE_BYTES = 9, 10, 11, 12
# double, float, fixed64, fixed32, sfixed32, sfixed64.
_FIXED_WIDTHS = {1: 8, 2: 4, 6: 8, 7: 4, 15: 4, 16: 8}


class _Frame(NamedTuple):
    """A message that is being walked: its descriptor, end and place."""

    descriptor: Any
    end: int
    place: str


def describe_fault(
    descriptor: Any,
    data: bytes,
    *,
    path: str | os.PathLike[str] | None = None,
    fallback: str = "",
) -> FormatError:
    """Returns the error that says where `data` is no message of `descriptor`.

    Args:
        descriptor: Descriptor of the message's class.
        data: A serialized message that a parser refused.
        path: File that `data` comes from.
        fallback: What the parser said, used where this walk finds no fault.
    """
    position = 0
    frames = [_Frame(descriptor, len(data), descriptor.name)]
    name = descriptor.name
    try:
        while frames:
            frame = frames[-1]
            if position >= frame.end:
                frames.pop()
                continue
            position = _walk_field(data, position, frames)
    except FormatError as fault:
        return type(fault)(
            f"{name} can't be parsed: {fault.args[0].partition('.')[0]}",
            path=path,
            offset_bytes=fault.offset_bytes,
            object_path=fault.object_path,
        )
    return FormatError(
        f"{name} can't be parsed" + (f": {fallback}" if fallback else ""), path=path
    )


def read_varint(data: bytes | memoryview, position: int, end: int) -> tuple[int, int]:
    """Returns the varint at `position` and the position after it.

    Raises:
        TruncatedError: `end` comes before the varint's.
        FormatError: The varint has more than 64 bits.
    """
    value = 0
    for index in range(_MAX_VARINT_BYTES):
        if position + index >= end:
            raise TruncatedError("Varint ends too early", offset_bytes=position)
        byte = data[position + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            if value >= 1 << 64:
                break
            return value, position + index + 1
    raise FormatError("Varint has more than 64 bits", offset_bytes=position)


def read_integers(data: bytes) -> dict[int, list[int]]:
    """Returns the whole numbers of a message without a schema, by field number.

    Raises:
        FormatError: It has fields of other kinds, or ends inside of one.
    """
    found: dict[int, list[int]] = {}
    position = 0
    while position < len(data):
        tag, position = read_varint(data, position, len(data))
        end = position + 1
        if tag & 7 == _LEN:
            length, position = read_varint(data, position, len(data))
            end = position + length
        elif tag & 7 != _VARINT:
            raise FormatError("A field is no whole number", offset_bytes=position)
        while position < end:
            item, position = read_varint(data, position, len(data))
            found.setdefault(tag >> 3, []).append(item)
            if tag & 7 == _VARINT:
                break
    return found


def write_varint(value: int) -> bytes:
    """Returns the varint of a number that is not negative."""
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _walk_field(data: bytes, start: int, frames: list[_Frame]) -> int:
    """Checks the field at `start`; returns where to go on."""
    descriptor, end, place = frames[-1]
    try:
        tag, position = read_varint(data, start, end)
    except FormatError as fault:
        raise _at(fault, place) from None
    number, wire_type = tag >> 3, tag & 7
    field = descriptor.fields_by_number.get(number) if descriptor else None
    here = f"{place}.{field.name if field is not None else number}"
    if not 0 < number < 1 << 29:
        raise FormatError(
            f"Field number {number} is invalid", offset_bytes=start, object_path=place
        )
    try:
        return _walk_value(data, position, wire_type, field, frames, here)
    except FormatError as fault:
        raise _at(fault, here) from None


def _walk_value(
    data: bytes,
    position: int,
    wire_type: int,
    field: Any,
    frames: list[_Frame],
    place: str,
) -> int:
    end = frames[-1].end
    if wire_type == _VARINT:
        return read_varint(data, position, end)[1]
    if wire_type in (_I64, _I32):
        length = 8 if wire_type == _I64 else 4
    elif wire_type == _LEN:
        length, position = read_varint(data, position, end)
    else:
        raise FormatError(f"Wire type {wire_type} is invalid", offset_bytes=position)
    if length > end - position:
        raise TruncatedError(
            f"Value of {length} bytes ends after its message, "
            f"which has {end - position} left",
            offset_bytes=position,
        )
    if wire_type == _LEN and field is not None:
        if field.type == _TYPE_MESSAGE:
            if len(frames) > MAX_NESTING:
                raise LimitError(
                    f"More than {MAX_NESTING} levels of messages",
                    offset_bytes=position,
                )
            frames.append(_Frame(field.message_type, position + length, place))
            return position
        if field.type == _TYPE_STRING:
            _check_utf8(data, position, length)
        elif field.type not in (_TYPE_BYTES, _TYPE_GROUP):
            _check_packed(data, position, position + length, field.type)
    return position + length


def _check_packed(data: bytes, position: int, end: int, field_type: int) -> None:
    width = _FIXED_WIDTHS.get(field_type)
    if width is None:
        while position < end:
            position = read_varint(data, position, end)[1]
    elif (end - position) % width:
        raise TruncatedError(
            f"Packed numbers of {width} bytes fill {end - position} bytes",
            offset_bytes=position,
        )


def _check_utf8(data: bytes, position: int, length: int) -> None:
    try:
        data[position : position + length].decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError(
            "String is not UTF-8", offset_bytes=position + error.start
        ) from None


def _at(fault: FormatError, place: str) -> FormatError:
    """Returns `fault` with its place, unless a deeper one is known already."""
    if len(place) > 500:
        # A hostile nesting would otherwise make a text of its own size.
        place = f"{place[:200]}…{place[-200:]}"
    if fault.object_path is None:
        fault.object_path = place
    return fault
