r"""RE2's regular expressions in Python's `re`.

TensorFlow matches with RE2. The syntax is Perl's in both, with differences that are
translated here: Unicode classes, POSIX classes, quoting, the end of the text, and
what `\\s`, `\\d` and `\\w` mean.

Source: RE2's `doc/syntax.txt`.
"""

from __future__ import annotations

import functools
import re
import sys
import unicodedata

from regraft.errors import UnsupportedError

_POSIX = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": "\\x00-\\x7F",
    "blank": "\\t ",
    "cntrl": "\\x00-\\x1F\\x7F",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": "!-/:-@\\[-`{-~",
    "space": "\\t\\n\\v\\f\\r ",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}
_PERL = {"s": "\\t\\n\\f\\r ", "d": "0-9", "w": "0-9A-Za-z_"}


@functools.cache
def _unicode_class(name: str) -> str:
    """Returns the characters of a general category as ranges of a class."""
    ranges: list[list[int]] = []
    for code in range(sys.maxunicode + 1):
        if 0xD800 <= code < 0xE000:
            continue
        if unicodedata.category(chr(code)).startswith(name):
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    if not ranges:
        raise UnsupportedError(f"Unicode class '{name}' of a regular expression.")
    return "".join(
        f"\\U{first:08x}-\\U{last:08x}" if first != last else f"\\U{first:08x}"
        for first, last in ranges
    )


class _Translator:
    def __init__(self, pattern: str) -> None:
        self.text = pattern
        self.at = 0

    def take(self, count: int = 1) -> str:
        part = self.text[self.at : self.at + count]
        self.at += count
        return part

    def starts(self, prefix: str) -> bool:
        return self.text.startswith(prefix, self.at)

    def run(self) -> str:
        out = []
        while self.at < len(self.text):
            out.append(self.piece())
        return "".join(out)

    def piece(self) -> str:
        if self.starts("\\"):
            return self.escape(inside=False)
        if self.starts("["):
            return self.char_class()
        if self.starts("(?<") and self.text[self.at + 3 : self.at + 4] not in "=!":
            self.take(3)
            return "(?P<"
        if self.starts("$"):
            self.take()
            return "\\Z"
        return self.take()

    def escape(self, *, inside: bool) -> str:
        self.take()
        letter = self.take()
        if letter == "Q":
            end = self.text.find("\\E", self.at)
            end = len(self.text) if end < 0 else end
            literal = self.text[self.at : end]
            self.at = end + 2
            return re.escape(literal)
        if letter == "z":
            return "\\Z"
        if letter in "pP":
            return self.unicode_escape(letter == "P", inside)
        if letter.lower() in _PERL:
            return self.perl_escape(letter, inside)
        if letter == "x" and self.starts("{"):
            end = self.text.index("}", self.at)
            code = int(self.text[self.at + 1 : end], 16)
            self.at = end + 1
            return f"\\U{code:08x}"
        if letter == "C":
            raise UnsupportedError("A regular expression matches single bytes (\\C).")
        return "\\" + letter

    def unicode_escape(self, negative: bool, inside: bool) -> str:
        if self.starts("{"):
            end = self.text.index("}", self.at)
            name = self.text[self.at + 1 : end]
            self.at = end + 1
        else:
            name = self.take()
        if name.startswith("^"):
            negative, name = not negative, name[1:]
        if inside and negative:
            raise UnsupportedError("A negated Unicode class inside a class.")
        ranges = _unicode_class(name)
        return ranges if inside else f"[{'^' if negative else ''}{ranges}]"

    def perl_escape(self, letter: str, inside: bool) -> str:
        ranges = _PERL[letter.lower()]
        if not inside:
            return f"[{'^' if letter.isupper() else ''}{ranges}]"
        if letter.isupper():
            return "\\" + letter
        return ranges

    def char_class(self) -> str:
        out = [self.take()]
        if self.starts("^"):
            out.append(self.take())
        if self.starts("]"):
            self.take()
            out.append("\\]")
        while self.at < len(self.text) and not self.starts("]"):
            out.append(self.class_item())
        out.append(self.take())
        return "".join(out)

    def class_item(self) -> str:
        if self.starts("\\"):
            return self.escape(inside=True)
        found = re.match(r"\[:(\^?)(\w+):\]", self.text[self.at :])
        if found:
            self.take(found.end())
            if found[1]:
                raise UnsupportedError("A negated POSIX class inside a class.")
            return _POSIX[found[2]]
        if self.starts("["):
            self.take()
            return "\\["
        # Python warns of signs that may become set operators.
        item = self.take()
        return "\\" + item if item in "&~|" else item


@functools.lru_cache(maxsize=256)
def compiled(pattern: str) -> re.Pattern[str]:
    """Returns RE2's `pattern` for Python.

    Raises:
        UnsupportedError: It uses what Python cannot do.
    """
    translated = ""
    try:
        translated = _Translator(pattern).run()
        return re.compile(translated, re.ASCII)
    except (re.error, ValueError, KeyError) as error:
        raise UnsupportedError(
            f"Regular expression {pattern!r} has no equal in Python: {error}."
        ) from None


def rewritten(match: re.Match[str], rewrite: str) -> str:
    r"""Returns RE2's replacement text for a match: `\\0` to `\\9`, and `\\\\`."""
    out = []
    parts = iter(rewrite)
    for sign in parts:
        if sign != "\\":
            out.append(sign)
            continue
        following = next(parts, "\\")
        if following.isdigit():
            number = int(following)
            out.append((match[number] or "") if number <= match.re.groups else "")
        else:
            out.append(following)
    return "".join(out)
