"""TensorFlow's protocol buffers, read and written without TensorFlow.

The schemas stand in `schemas/*.proto`, in a package of our own, so that they never
meet TensorFlow's own in one process; the wire format doesn't hold package names.
`tools/compile_schemas.py` compiles them.

```python
from regraft.storage import proto
from regraft.storage.proto import messages

saved_model = proto.parse(messages.SavedModel, data, path="saved_model.pb")
data = proto.serialize(saved_model)
```
"""

from __future__ import annotations

import os
import re
from typing import TypeVar

from google.protobuf import text_format
from google.protobuf.message import DecodeError, EncodeError

from regraft.errors import FormatError, LimitError
from regraft.storage.proto import messages, wire

__all__ = [
    "MAX_MESSAGE_BYTES",
    "MAX_NESTING",
    "parse",
    "parse_text",
    "serialize",
    "serialize_text",
]

# What every protobuf implementation can hold, TensorFlow's included.
MAX_MESSAGE_BYTES = 2**31 - 1
# What every protobuf implementation accepts by default, TensorFlow's included.
MAX_NESTING = wire.MAX_NESTING

_M = TypeVar("_M", bound=messages.Message)
Data = bytes | bytearray | memoryview
# A string of text format, a comment, or a bracket. The end of a string is optional,
# so that a broken one is passed in one go too.
_TEXT_TOKEN = re.compile(
    rb"""(?P<skip>"(?:[^"\\\n]|\\.)*"?|'(?:[^'\\\n]|\\.)*'?|\#[^\n]*)"""
    rb"""|(?P<open>[{<])|(?P<close>[}>])"""
)


def parse(
    message_class: type[_M],
    data: Data,
    *,
    path: str | os.PathLike[str] | None = None,
    max_bytes: int = MAX_MESSAGE_BYTES,
) -> _M:
    """Returns the message that `data` holds.

    Args:
        message_class: A class of `regraft.storage.proto.messages`.
        data: The serialized message.
        path: File that `data` comes from, for error texts.
        max_bytes: Length that is refused.

    Raises:
        FormatError: `data` is no such message; `LimitError` where it is too long or
            nested too deep, `TruncatedError` where it ends too early.
    """
    content = bytes(data)
    _check_length(len(content), max_bytes, message_class, path)
    message = message_class()
    try:
        message.ParseFromString(content)
    except (DecodeError, RecursionError, MemoryError, ValueError, TypeError) as error:
        raise wire.describe_fault(
            message_class.DESCRIPTOR, content, path=path, fallback=str(error)
        ) from None
    return message


def serialize(message: messages.Message) -> bytes:
    """Returns the bytes of a message: the same for equal messages.

    Raises:
        LimitError: The message is longer than protobuf's 2 GiB.
    """
    try:
        return message.SerializeToString(deterministic=True)
    except (EncodeError, ValueError, RecursionError, MemoryError) as error:
        raise LimitError(
            f"{message.DESCRIPTOR.name} can't be serialized: {error}",
            expected=f"at most {MAX_MESSAGE_BYTES} bytes, {MAX_NESTING} levels",
        ) from None


def parse_text(
    message_class: type[_M],
    data: Data,
    *,
    path: str | os.PathLike[str] | None = None,
    max_bytes: int = MAX_MESSAGE_BYTES,
) -> _M:
    """Returns the message that `data` holds in protobuf's text format.

    Raises:
        FormatError: `data` is no such message; `LimitError` where it is too long or
            nested too deep.
    """
    content = bytes(data)
    name = message_class.DESCRIPTOR.name
    _check_length(len(content), max_bytes, message_class, path)
    _check_text_nesting(content, name, path)
    message = message_class()
    try:
        text_format.Parse(
            content.decode("utf-8"), message, descriptor_pool=messages.pool
        )
    except UnicodeDecodeError as error:
        raise FormatError(
            f"{name} in text format is not UTF-8", path=path, offset_bytes=error.start
        ) from None
    except (text_format.ParseError, RecursionError, ValueError, TypeError) as error:
        raise FormatError(
            f"{name} in text format can't be parsed: {error}", path=path
        ) from None
    return message


def serialize_text(message: messages.Message) -> str:
    """Returns a message in protobuf's text format."""
    return text_format.MessageToString(message, descriptor_pool=messages.pool)


def _check_length(
    length: int,
    max_bytes: int,
    message_class: type[messages.Message],
    path: str | os.PathLike[str] | None,
) -> None:
    if length > max_bytes:
        raise LimitError(
            f"{message_class.DESCRIPTOR.name} is too long",
            path=path,
            expected=f"at most {max_bytes} bytes",
            received=f"{length} bytes",
        )


def _check_text_nesting(
    content: bytes, name: str, path: str | os.PathLike[str] | None
) -> None:
    # The parser of text format calls itself per level, so count them first.
    depth = 0
    for token in _TEXT_TOKEN.finditer(content):
        if token["open"]:
            depth += 1
        elif token["close"]:
            depth -= 1
        if depth > MAX_NESTING:
            raise LimitError(
                f"{name} in text format is nested too deep",
                path=path,
                offset_bytes=token.start(),
                expected=f"at most {MAX_NESTING} levels",
            )
