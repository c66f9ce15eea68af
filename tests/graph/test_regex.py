"""Matches one after the other, each in what the last left, as RE2's FindAndConsume."""

from __future__ import annotations

import pytest

from regraft.graph.runtime.kernels.regex import consumed


@pytest.mark.parametrize(
    ("pattern", "text", "places"),
    [
        (rb"(\s+)", b"a  b c", [(1, 3, 3), (4, 5, 5)]),
        # Each rest begins anew: it has a start and a word's edge.
        (rb"(^a)", b"aab", [(0, 1, 1), (1, 2, 2)]),
        (rb"(\Aa)", b"aab", [(0, 1, 1), (1, 2, 2)]),
        (rb"(\ba)", b"aa", [(0, 1, 1), (1, 2, 2)]),
        (rb"(.\B)", b"ab c", [(0, 1, 1)]),
        # No edges: a set of others, and what is escaped.
        (rb"([^a])", b"abab", [(1, 2, 2), (3, 4, 4)]),
        (rb"(\[)\^?", b"[^[", [(0, 1, 2), (2, 3, 3)]),
        (rb"(\\b)", rb"\b\b", [(0, 2, 2), (2, 4, 4)]),
        # What is empty ends it, and a pattern without groups finds nothing.
        (rb"(a*)", b"aba", [(0, 1, 1)]),
        (rb"a", b"aaa", []),
    ],
)
def test_matches_follow_each_other(
    pattern: bytes, text: bytes, places: list[tuple[int, int, int]]
) -> None:
    assert list(consumed(pattern, text)) == places
