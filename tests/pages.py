"""Parts of the documentation that programs write."""

from __future__ import annotations

from pathlib import Path

END = "<!-- end -->"


def write_part(page: Path, writer: str, body: str) -> None:
    """Replaces the part of a page that `writer` writes."""
    begin = f"<!-- begin: written by {writer} -->"
    before, _, rest = page.read_text().partition(begin)
    after = rest.partition(END)[2]
    page.write_text(f"{before}{begin}\n\n{body}\n\n{END}{after}")
