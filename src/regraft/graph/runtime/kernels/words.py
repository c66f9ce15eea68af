"""The ops of TensorFlow Text that models of text are saved with: words and pieces.

They are no part of TensorFlow: who serves such a file there must import
`tensorflow_text` first, whose C++ library has them. Source of what they do:
its documentation, and version 2.19 of it, which computed the tests' rows.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Iterator
from typing import Any

import numpy as np

from regraft.errors import MismatchError
from regraft.graph.runtime.context import Table
from regraft.graph.runtime.kernels.regex import consumed, matches
from regraft.graph.runtime.kernels.string import as_bytes, each, raw, text
from regraft.graph.runtime.registry import kernel

_host = functools.partial(kernel, host=True)
_UNICODE = "characters that came after Unicode 12.1 are as Python's Unicode has them"

# Code points that Unicode lets be ignored, as its database has them.
_IGNORED = (
    *(0xAD, 0x34F, 0x61C, 0x3164, 0xFEFF, 0xFFA0),
    *(*range(0x115F, 0x1161), *range(0x17B4, 0x17B6), *range(0x180B, 0x1810)),
    *(*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070)),
    *(*range(0xFE00, 0xFE10), *range(0xFFF0, 0xFFF9), *range(0x1BCA0, 0x1BCA4)),
    *(*range(0x1D173, 0x1D17B), *range(0xE0000, 0xE1000)),
)
_IGNORE = dict.fromkeys(_IGNORED)

_Token = tuple[bytes, int, int]


@_host("NormalizeUTF8", limits=_UNICODE)
def normalize_utf8(input: Any, *, normalization_form: str | bytes) -> Any:
    """Text in one of Unicode's normal forms: NFC, NFKC, NFD or NFKD.

    Raises:
        MismatchError: There is no such form.
    """
    form: Any = as_bytes(normalization_form).decode().upper()
    if form not in ("NFC", "NFKC", "NFD", "NFKD"):
        raise MismatchError(f"Unicode has no normalization form '{form}'.")
    # What is no UTF-8 stays where text is composed, as in ICU; else it is U+FFFD.
    errors = "surrogateescape" if form.endswith("C") else "replace"
    return each(
        lambda s: raw(unicodedata.normalize(form, s.decode("utf-8", errors))), input
    )


@functools.cache
def _folded(character: str) -> str:
    """Returns Unicode's `NFKC_Casefold` of a character."""
    before, after = None, character
    while before != after:
        before = after
        after = unicodedata.normalize("NFKC", after.translate(_IGNORE).casefold())
    return after


@_host("CaseFoldUTF8", limits=_UNICODE)
def case_fold_utf8(input: Any) -> Any:
    """Text without differences of case, compatibility and invisible characters."""

    def fold(item: bytes) -> bytes:
        return raw(unicodedata.normalize("NFC", "".join(map(_folded, text(item)))))

    return each(fold, input)


def _tokens(rows: list[list[_Token]]) -> tuple[Any, ...]:
    """Returns the tokens of all rows with their places, and where rows begin."""
    flat = [token for row in rows for token in row]
    words = np.empty(len(flat), object)
    words[:] = [word for word, _, _ in flat]
    begins = np.array([begin for _, begin, _ in flat], np.int64)
    ends = np.array([end for _, _, end in flat], np.int64)
    splits = np.cumsum([0, *map(len, rows)], dtype=np.int64)
    return words, begins, ends, splits


@_host("RegexSplitWithOffsets")
def regex_split_with_offsets(
    input: Any, delim_regex_pattern: Any, keep_delim_regex_pattern: Any
) -> tuple[Any, ...]:
    """What is between the matches of a pattern, and the matches worth keeping.

    A match is what the pattern's first group matched.
    """
    delimiter, keep = delim_regex_pattern.item(), keep_delim_regex_pattern.item()

    def parts(item: bytes) -> Iterator[_Token]:
        at = 0
        for start, end, following in consumed(delimiter, item):
            if start > at:
                yield item[at:start], at, start
            if matches(keep, item[start:end]):
                yield item[start:end], start, end
            at = following
        if at < len(item):
            yield item[at:], at, len(item)

    return _tokens([list(parts(item)) for item in input.reshape(-1).tolist()])


@_host("WordpieceTokenizeWithOffsets")
def wordpiece_tokenize_with_offsets(
    input_values: Any,
    vocab_lookup_table: Table,
    *,
    suffix_indicator: str | bytes,
    max_bytes_per_word: int,
    max_chars_per_token: int,
    use_unknown_token: bool,
    unknown_token: str | bytes,
    split_unknown_characters: bool,
    output_row_partition_type: str,
) -> tuple[Any, ...]:
    """Words cut into pieces of a vocabulary, the longest first."""
    unknown = as_bytes(unknown_token) if use_unknown_token else None
    pieces = _Wordpieces(
        vocab_lookup_table,
        as_bytes(suffix_indicator),
        max_chars_per_token,
        unknown,
        split_unknown_characters,
    )

    def cut(word: bytes) -> list[_Token]:
        whole = word if unknown is None else unknown
        if len(word) > max_bytes_per_word:
            # It says where the token ends, not the word.
            return [(whole, 0, len(whole))]
        found = pieces.of(word)
        return [(whole, 0, len(word))] if found is None else found

    rows = [cut(word) for word in input_values.reshape(-1).tolist()]
    words, begins, ends, splits = _tokens(rows)
    lengths = output_row_partition_type == "row_lengths"
    return words, np.diff(splits) if lengths else splits, begins, ends


class _Wordpieces:
    """Cuts words into pieces.

    Args:
        vocabulary: A table whose keys are the pieces.
        suffix: What pieces begin with that don't begin a word.
        longest: Most characters of a piece; 0 or less: not known.
        unknown: What stands for a character that no piece begins with; `None`: it
            stands for itself.
        splits: Whether such characters stand alone; else they make the word unknown.
    """

    def __init__(
        self,
        vocabulary: Table,
        suffix: bytes,
        longest: int,
        unknown: bytes | None,
        splits: bool,
    ) -> None:
        self._known = vocabulary.entries
        self._suffix = suffix
        self._longest = longest
        self._unknown = unknown
        self._splits = splits

    def of(self, word: bytes) -> list[_Token] | None:
        """Returns the pieces and their places; `None` where they don't make it up."""
        ends = _ends_of_characters(word)
        found: list[_Token] = []
        first = 0
        while first < len(ends):
            start = ends[first - 1] if first else 0
            last = self._longest_piece(word, ends, first, start)
            if last is not None:
                piece = self._begun(start, word[start : ends[last]])
            elif self._splits:
                last = first
                piece = self._begun(start, self._unknown or word[start : ends[last]])
            else:
                return None
            found.append((piece, start, ends[last]))
            first = last + 1
        return found

    def _longest_piece(
        self, word: bytes, ends: list[int], first: int, start: int
    ) -> int | None:
        last = len(ends) - 1
        if self._longest > 0:
            last = min(last, first + self._longest - 1)
        for index in range(last, first - 1, -1):
            if self._begun(start, word[start : ends[index]]) in self._known:
                return index
        return None

    def _begun(self, start: int, piece: bytes) -> bytes:
        return piece if start == 0 else self._suffix + piece


def _ends_of_characters(word: bytes) -> list[int]:
    """Returns where each character ends, in bytes."""
    return [
        i for i in range(1, len(word) + 1) if i == len(word) or word[i] & 0xC0 != 0x80
    ]
