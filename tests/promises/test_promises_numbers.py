"""Every promise of Keras 2's own tests is tested here, or has a reason why not."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
REASONS = TESTS.parent / "docs" / "promises.md"
COUNT = 139


def _in_docstrings() -> Iterator[int]:
    for path in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                found = re.match(r"Promises? ([^:]+):", ast.get_docstring(node) or "")
                if found:
                    yield from _numbers(found.group(1))


def _numbers(text: str) -> Iterator[int]:
    for first, last in re.findall(r"(\d+)(?: to (\d+))?", text):
        yield from range(int(first), int(last or first) + 1)


def _with_reasons() -> Iterator[int]:
    for found in re.finditer(r"^\| ([\d, to]+?) \|", REASONS.read_text(), re.M):
        yield from _numbers(found.group(1))


def test_every_promise_is_tested_or_has_a_reason() -> None:
    tested, excused = Counter(_in_docstrings()), Counter(_with_reasons())
    assert not tested.keys() & excused.keys()
    assert max(excused.values(), default=1) == 1
    assert sorted(tested.keys() | excused.keys()) == list(range(1, COUNT + 1))
