"""The command line: `regraft show · verify · audit · run · convert · diff`."""

from __future__ import annotations

from regraft.cli.commands import app


def main() -> None:
    """Runs the command line."""
    app()
