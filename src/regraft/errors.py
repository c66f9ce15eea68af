"""Every error that leaves Regraft, by who must act.

* `FormatError`: the bytes of a file are wrong. Get an intact file.
* `UnsupportedError`: the file is right, Regraft lacks something. Report it, or use
  the way out that the message names.
* `UnknownNameError`: the file names a class or function that nobody has. Pass it in
  `custom_objects`.
* `MismatchError`: a model and a file disagree. Fix the model or choose another file.

Where Keras' documentation promises a builtin class (`ValueError`, `OSError`,
`ImportError`, `TypeError`, `NotImplementedError`), Regraft raises that class.
"""

from __future__ import annotations

import os
import re
from typing import Any


def plain(text: str) -> str:
    """Returns a text without codes for terminals: Keras prints parts of its bold."""
    return re.sub(r"\x1b\[[\d;]*m", "", text)


class RegraftError(Exception):
    """Base of all errors that Regraft defines."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*(plain(a) if isinstance(a, str) else a for a in args))


class FormatError(RegraftError, ValueError):
    """The bytes of a file are not what its format demands.

    Args:
        message: What is wrong, in one sentence.
        path: File in which the fault is.
        offset_bytes: Position of the fault in that file, in bytes.
        object_path: Place inside the file's own structure, such as
            `root.layer-2.kernel` or `/model_weights/dense`.
        expected: What the format demands there.
        received: What the file holds there.
    """

    def __init__(
        self,
        message: str,
        *,
        path: str | os.PathLike[str] | None = None,
        offset_bytes: int | None = None,
        object_path: str | None = None,
        expected: Any = None,
        received: Any = None,
    ) -> None:
        self.path = None if path is None else os.fspath(path)
        self.offset_bytes = offset_bytes
        self.object_path = object_path
        self.expected = expected
        self.received = received
        parts = [message.rstrip(".") + "."]
        if expected is not None:
            parts.append(f"Expected: {expected}.")
        if received is not None:
            parts.append(f"Received: {received}.")
        place = []
        if object_path is not None:
            place.append(f"object '{object_path}'")
        if offset_bytes is not None:
            place.append(f"byte {offset_bytes}")
        if self.path is not None:
            place.append(f"file '{self.path}'")
        if place:
            parts.append(f"At: {', '.join(place)}.")
        super().__init__(" ".join(parts))


class TruncatedError(FormatError):
    """A file ends before its structure does."""


class ChecksumError(FormatError):
    """A checksum stored in a file does not match the bytes it covers."""


class LimitError(FormatError):
    """A file asks for more than its size or the caller's budget allows."""


class UnsafeFileError(FormatError):
    """A file asks for code, a path or a link that loading must not follow."""


class UnsupportedError(RegraftError, NotImplementedError):
    """The file is right, but holds something that Regraft cannot do."""


class UnsupportedOpError(UnsupportedError):
    """A function needs TensorFlow ops for which Regraft has no kernel.

    Args:
        message: The whole text.
        ops: Names of all missing ops, sorted.
    """

    def __init__(self, message: str, ops: tuple[str, ...] = ()) -> None:
        self.ops = ops
        super().__init__(message)


class UnknownNameError(RegraftError, ValueError):
    """A file names a class or function that nobody knows: pass it to the loader.

    Args:
        message: The whole text.
        what: What it is, as `regularizer 'mine'`; `""` for a class of layers.
    """

    def __init__(self, message: str, what: str = "") -> None:
        self.what = what
        super().__init__(message)


class MismatchError(RegraftError, ValueError):
    """A model and a file disagree about a variable, layer or structure."""
