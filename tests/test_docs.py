"""Every Python block of the documentation runs, or says why it is not run.

The blocks of a page run one after another in a process of their own, in an empty
directory. A block after the comment `<!-- not run: reason -->` is left out.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from peer import fresh_process

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    path
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if "```python" in path.read_text()
]
BLOCK = re.compile(
    r"(?P<skip><!-- not run: (?P<reason>.+?) -->\n)?"
    r"^(?P<indent> *)```python\n(?P<code>.*?)^(?P=indent)```",
    re.MULTILINE | re.DOTALL,
)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_blocks_of_a_page_run(page: Path, tmp_path: Path) -> None:
    blocks = [m["code"] for m in BLOCK.finditer(page.read_text()) if not m["skip"]]
    script = f"import os; os.chdir({str(tmp_path)!r})\n" + "\n".join(blocks)
    # As a user has it: no backend configured anywhere.
    env = {"KERAS_BACKEND": "", "KERAS_HOME": os.fspath(tmp_path / "home")}
    fresh_process(script, env=env)


def test_every_page_of_the_documentation_is_in_its_navigation() -> None:
    config = (ROOT / "mkdocs.yml").read_text()
    pages = [path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")]
    assert not [page.as_posix() for page in pages if page.as_posix() not in config]
