"""Which programs the peer is made of."""

from __future__ import annotations

import importlib
import os
import sys


def of(*modules: str) -> dict[str, str]:
    """Returns the version of each named module, after importing it."""
    return {name: importlib.import_module(name).__version__ for name in modules}


def python() -> tuple[int, ...]:
    """Returns the peer's Python version."""
    return tuple(sys.version_info[:3])


def echo(value, text=""):
    """Returns its argument, after printing a text from Python and from C."""
    print(text)
    os.write(2, text.encode())
    return value


def fail(message):
    """Raises a `ValueError`."""
    raise ValueError(message)


def die(status):
    """Ends the peer without an answer."""
    os._exit(status)
