"""The peer's main loop: `python server.py LOG_FILE [MODULE_TO_BLOCK ...]`.

Reads requests from stdin, writes replies to what was stdout. All that libraries
print, also from C++, goes to the log file, and each reply carries what its call wrote.
"""

from __future__ import annotations

import importlib
import importlib.abc
import os
import sys
import traceback
from pathlib import Path
from types import TracebackType

_TESTS = Path(__file__).resolve().parent.parent
sys.path[0] = str(_TESTS)

from peer.channel import receive, send  # noqa: E402


class _Blocked(importlib.abc.MetaPathFinder):
    """Refuses to import some modules, as if they were not installed."""

    def __init__(self, names: list[str]) -> None:
        self._names = frozenset(names)

    def find_spec(self, fullname, path=None, target=None):
        if fullname.partition(".")[0] in self._names:
            raise ModuleNotFoundError(f"No module named {fullname!r} (blocked)")


def _without_server_frames(trace: TracebackType | None) -> TracebackType | None:
    return trace.tb_next if trace is not None else None


def _answer(request: tuple[str, tuple, dict]) -> dict:
    name, args, kwargs = request
    module, _, function = name.rpartition(".")
    try:
        call = getattr(importlib.import_module(f"peer.functions.{module}"), function)
        return {"value": call(*args, **kwargs)}
    except Exception as error:
        frames = _without_server_frames(error.__traceback__)
        return {
            "error": type(error).__name__,
            "message": str(error),
            "traceback": "".join(
                traceback.format_exception(type(error), error, frames)
            ),
        }


def main(log_path: str, blocked: list[str]) -> None:
    """Answers until stdin closes."""
    sys.meta_path.insert(0, _Blocked(blocked))
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb")
    log = os.open(log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    while True:
        try:
            request = receive(requests)
        except EOFError:
            return
        start = os.path.getsize(log_path)
        reply = _answer(request)
        sys.stdout.flush()
        sys.stderr.flush()
        with open(log_path, "rb") as log_file:
            log_file.seek(start)
            reply["output"] = log_file.read().decode(errors="replace")
        try:
            send(replies, reply)
        except Exception as error:  # A result that pickle refuses.
            message = f"The result cannot be pickled: {error}"
            send(
                replies,
                {
                    "error": "TypeError",
                    "message": message,
                    "traceback": "",
                    "output": reply["output"],
                },
            )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
