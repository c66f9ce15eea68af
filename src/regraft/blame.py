"""Whose code raised an error: that of the libraries, or the caller's own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

# What runs, besides Python's own modules, when no code of the caller does.
_LIBRARIES = frozenset(
    {
        *("regraft", "keras", "numpy", "h5py", "ml_dtypes", "optree", "google"),
        *("jax", "jaxlib", "opt_einsum", "torch", "scipy"),
    }
)


def ran_foreign_code(error: BaseException) -> bool:
    """Whether code of neither these libraries nor Python had a part in an error.

    It had one if it ran, or if a class of the caller was given arguments: of one
    whose `__init__` takes no such argument no line ever runs.
    """
    return any(_is_foreign(frame) for frame in _frames(error))


def _frames(error: BaseException) -> Iterator[FrameType]:
    """Yields the frames of an error, and of those it was raised in the place of."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        current = waiting.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        waiting += [current.__cause__, current.__context__]
        place = current.__traceback__
        while place is not None:
            yield place.tb_frame
            place = place.tb_next


def _is_foreign(frame: FrameType) -> bool:
    if _names_foreign(frame.f_globals.get("__name__")):
        return True
    owner = frame.f_locals.get("cls")
    return isinstance(owner, type) and _names_foreign(owner.__module__)


def _names_foreign(module: Any) -> bool:
    top = str(module).partition(".")[0]
    return top not in _LIBRARIES and top not in sys.stdlib_module_names
