"""Regular expressions: RE2's, as in TensorFlow, on bytes.

RE2 never backtracks: no pattern of a file can make it hang.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any

from regraft.errors import UnsupportedError

# What is escaped, but no edge; edges: they depend on what stands before them.
_ESCAPED, _EDGES = re.compile(rb"\\[^AbB]"), re.compile(rb"\\[AbB]|(?<!\[)\^")
# Lengths of UTF-8 sequences by the range of their first byte.
_FIRST_BYTES = ((0xC2, 0xE0, 2), (0xE0, 0xF0, 3), (0xF0, 0xF5, 4))


@functools.lru_cache(maxsize=256)
def compiled(pattern: bytes) -> Any:
    """Returns RE2's object for a pattern.

    Raises:
        UnsupportedError: RE2 refuses it, as TensorFlow would.
    """
    import re2

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options=options)
    except re2.error as error:
        raise UnsupportedError(
            f"Regular expression {pattern!r} is invalid: {_shown(error)}."
        ) from None


def _shown(error: Exception) -> str:
    found = error.args[0] if error.args else ""
    return found.decode(errors="replace") if isinstance(found, bytes) else str(found)


def matches(pattern: bytes, text: bytes) -> bool:
    """Whether the whole text matches."""
    return compiled(pattern).fullmatch(text) is not None


def consumed(pattern: bytes, text: bytes) -> Iterator[tuple[int, int, int]]:
    """Yields where the first group of each match begins and ends, and the match.

    As RE2's `FindAndConsume`: a pattern without groups finds nothing, and each search
    sees what is behind the last match alone. Empty groups end it.
    """
    expression = compiled(pattern)
    # Only where the pattern looks at what is before must the rest be a text of its own:
    # a copy of it for each match takes the square of a text's length.
    cuts = _EDGES.search(_ESCAPED.sub(b"", pattern)) is not None
    at = 0
    while expression.groups:
        rest, before = (text[at:], at) if cuts else (text, 0)
        match = expression.search(rest, at - before)
        if match is None or match.end(1) <= match.start(1):
            return
        yield (*(before + place for place in match.span(1)), before + match.end())
        at = before + match.end()


def replaced(pattern: bytes, text: bytes, rewrite: bytes, *, once: bool) -> bytes:
    r"""Returns the text with matches replaced by `rewrite`: `\\0` to `\\9`, `\\\\`.

    An empty match right behind another match doesn't count.
    """
    expression = compiled(pattern)
    out = []
    at, last = 0, -1
    while at <= len(text):
        match = expression.search(text, at)
        if match is None:
            break
        start, end = match.span()
        out.append(text[at:start])
        if start == end == last:
            after = start + _character(text, start)
            out.append(text[start:after])
            at = after
            if start == len(text):
                break
            continue
        out.append(_rewritten(match, rewrite))
        at = last = end
        if once:
            break
    out.append(text[at:])
    return b"".join(out)


def _character(text: bytes, at: int) -> int:
    """Length of the character at a place: one byte where it is no UTF-8."""
    first = text[at] if at < len(text) else 0
    for low, high, length in _FIRST_BYTES:
        if low <= first < high:
            try:
                text[at : at + length].decode()
            except UnicodeDecodeError:
                return 1
            return length
    return 1


def _rewritten(match: Any, rewrite: bytes) -> bytes:
    out = bytearray()
    parts = iter(rewrite)
    for sign in parts:
        if sign != 0x5C:  # a backslash
            out.append(sign)
            continue
        following = next(parts, 0x5C)
        if 0x30 <= following <= 0x39:
            number = following - 0x30
            groups = match.re.groups
            out += (match.group(number) or b"") if number <= groups else b""
        else:
            out.append(following)
    return bytes(out)
